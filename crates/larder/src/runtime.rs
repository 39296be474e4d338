//! Where a cache's tasks run: in the runtime it was built in, or in a small one of its own.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{Thread, current, park_timeout};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};
use tokio::task::{JoinHandle, JoinSet, coop, try_id};
use tokio::time::{sleep_until, timeout_at};

use crate::{Error, ErrorKind, bounds};

/// A runtime of one thread that does not get to a task in so long is run by nobody.
const SILENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) enum Home {
    Guest(Handle),
    /// `Some` until it is dropped.
    Own(Option<Runtime>, Handle),
}

impl Home {
    /// The runtime this is called in, or one of its own with one thread.
    pub(crate) fn find() -> Result<Self, Error> {
        if let Ok(handle) = Handle::try_current() {
            // There is no other way to ask.
            return match catch_unwind(|| drop(tokio::time::sleep(Duration::ZERO))) {
                Ok(()) => Ok(Self::Guest(handle)),
                Err(_) => {
                    let what = "the runtime that the cache is built in has no timers: call enable_time or enable_all on its builder";
                    Err(Error::new(ErrorKind::Config, what))
                }
            };
        }
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("larder").enable_all().build();
        let runtime = runtime.map_err(|error| {
            Error::caused(ErrorKind::Config, format!("no thread could be started for the cache: {error}"), error)
        })?;
        let handle = runtime.handle().clone();
        Ok(Self::Own(Some(runtime), handle))
    }

    /// Starts a task that nobody waits for. All are of one type: the runtime's part of a task is compiled once, and not for each
    /// kind of task of each kind of cache.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let task: BoxFuture<'static, ()> = Box::pin(task);
        self.handle().spawn(task);
    }

    pub(crate) fn handle(&self) -> &Handle {
        match self {
            Self::Guest(handle) | Self::Own(_, handle) => handle,
        }
    }

    /// The answer, if it comes until `end`.
    pub(crate) async fn until<T>(&self, end: tokio::time::Instant, answer: impl Future<Output = T>) -> Option<T> {
        let is_at_home = try_id().is_some() && Handle::try_current().is_ok_and(|here| here.id() == self.handle().id());
        if is_at_home && MAY_BLOCK.try_with(|()| ()).is_err() {
            return timeout_at(end, answer).await.ok();
        }
        // Elsewhere a task here keeps the time: there may be no timers, and those of a runtime panic once that has ended.
        let mut answer = pin!(answer);
        if let Some(answer) = answer.as_mut().now_or_never() {
            return Some(answer);
        }
        let mut timer = JoinSet::new();
        timer.spawn_on(async move { sleep_until(end).await }, self.handle());
        tokio::select! {
            biased;
            answer = &mut answer => Some(answer),
            // Else the runtime has ended, and all that is waited for with it.
            Some(Ok(())) = timer.join_next() => None,
        }
    }

    /// Waits for `future` on a thread that may be blocked.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> Result<T, Error> {
        self.wait_for(pin!(future))
    }

    /// Compiled once for all futures of the same answer.
    fn wait_for<T>(&self, future: Pin<&mut dyn Future<Output = T>>) -> Result<T, Error> {
        let runs = Handle::try_current().ok().filter(|_| is_run()).map(|current| current.runtime_flavor());
        match runs {
            None => {
                let is_single = self.handle().runtime_flavor() == RuntimeFlavor::CurrentThread;
                let silence = if is_single { SILENCE } else { bounds::FOR_EVER };
                MAY_BLOCK.sync_scope((), || wait_for_others(self.handle(), future, silence))
            }
            Some(RuntimeFlavor::MultiThread) => {
                let mut future = Some(future);
                let waited = catch_unwind(AssertUnwindSafe(|| {
                    tokio::task::block_in_place(|| future.take().map(|future| self.handle().block_on(future)))
                }));
                match waited {
                    Ok(Some(answer)) => Ok(answer),
                    Err(panic) if future.is_none() => resume_unwind(panic),
                    _ => Err(would_stop("a blocking call in a LocalSet would stop it: use the async face there")),
                }
            }
            Some(_) => Err(would_stop(
                "a blocking call inside a runtime of one thread would stop it: use the async face there",
            )),
        }
    }
}

fn would_stop(what: &str) -> Error {
    Error::new(ErrorKind::Config, what)
}

tokio::task_local! {
    /// The thread is one that may block: no runtime stands still meanwhile.
    static MAY_BLOCK: ();
}

/// Whether a runtime runs what calls this. It gives that a budget, of 128 steps, and none to what it has on its threads for blocking.
fn is_run() -> bool {
    let mut context = Context::from_waker(Waker::noop());
    (0..=256).any(|_| !coop::has_budget_remaining() || pin!(coop::consume_budget()).poll(&mut context).is_pending())
}

/// Waits for what tasks of a runtime do; those of a runtime of one thread stand still unless another thread runs it.
fn wait_for_others<T>(
    runtime: &Handle,
    mut future: Pin<&mut dyn Future<Output = T>>,
    silence: Duration,
) -> Result<T, Error> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let _timers = runtime.enter();
    let waker = Waker::from(Arc::new(Unpark(current())));
    let mut sign: Option<(JoinHandle<()>, Instant)> = None;
    loop {
        if let Poll::Ready(answer) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Ok(answer);
        }
        match &sign {
            Some((_, asked)) if asked.elapsed() < silence => {}
            Some((task, _)) if !task.is_finished() => {
                let what = "the cache was built in a runtime of one thread that nobody runs, so that nothing is loaded: \
                            run it, or build the cache outside of it";
                return Err(Error::new(ErrorKind::Config, what));
            }
            _ => sign = Some((runtime.spawn(async {}), Instant::now())),
        }
        park_timeout(silence);
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // The last handle to a cache may go inside one of its own tasks, where waiting for them is forbidden.
        if let Self::Own(runtime, _) = self
            && let Some(runtime) = runtime.take()
        {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn nobody_waits_for_a_runtime_that_nobody_runs() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let brief = Duration::from_millis(10);
        assert_eq!(wait_for_others(runtime.handle(), pin!(ready(1)), brief).unwrap(), 1);
        let error = wait_for_others(runtime.handle(), pin!(pending::<()>()), brief).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        // While another thread runs it, as long as it takes.
        let (end, ended) = oneshot::channel::<()>();
        let handle = runtime.handle().clone();
        let runs = std::thread::spawn(move || runtime.block_on(ended));
        let task = handle.spawn(async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            7
        });
        assert_eq!(wait_for_others(&handle, pin!(task), Duration::from_secs(30)).unwrap().unwrap(), 7);
        end.send(()).unwrap();
        runs.join().unwrap().unwrap();
    }
}
