//! Where a cache's tasks run: in the runtime it was built in, or in a small one of its own.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{Thread, current, park_timeout};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};
use tokio::task::JoinHandle;

use crate::{Error, ErrorKind};

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
            return Ok(Self::Guest(handle));
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

    /// What `make` makes, such as a timeout, has its timers here where the caller is in no runtime.
    pub(crate) fn timed<T>(&self, make: impl FnOnce() -> T) -> T {
        let _timers = Handle::try_current().is_err().then(|| self.handle().enter());
        make()
    }

    /// Waits for `future` on a thread that may be blocked.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> Result<T, Error> {
        self.wait_for(pin!(future))
    }

    /// Compiled once for all futures of the same answer.
    fn wait_for<T>(&self, future: Pin<&mut dyn Future<Output = T>>) -> Result<T, Error> {
        match Handle::try_current().map(|current| current.runtime_flavor()) {
            Err(_) if self.handle().runtime_flavor() == RuntimeFlavor::CurrentThread => {
                wait_for_others(self.handle(), future, SILENCE)
            }
            Err(_) => Ok(self.handle().block_on(future)),
            Ok(RuntimeFlavor::MultiThread) => Ok(tokio::task::block_in_place(|| self.handle().block_on(future))),
            Ok(_) => {
                let what = "a blocking call inside a runtime of one thread would stop it: use the async face there";
                Err(Error::new(ErrorKind::Config, what))
            }
        }
    }
}

/// Waits for what tasks of a runtime of one thread do, which stand still unless another thread runs it.
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
