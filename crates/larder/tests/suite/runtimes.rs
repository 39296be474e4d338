//! Caches beside runtimes that are not theirs, or that nobody runs.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::convert::Infallible;
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{Thread, current, park};
use std::time::Duration;

use larder::{Cache, ErrorKind};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// An executor that knows nothing of tokio.
fn run<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(answer) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return answer;
        }
        park();
    }
}

#[test]
fn a_cache_of_its_own_runtime_is_read_under_any_executor() {
    let hard = Duration::from_millis(100);
    let cache: Cache<u64, u64> = Cache::builder().capacity(10).timeouts(None, hard).build().unwrap();
    assert_eq!(run(cache.get_with(&1, || async { Ok::<_, Infallible>(1) })).unwrap(), 1);
    let hang = || async { pending::<Result<u64, Infallible>>().await };
    assert_eq!(run(cache.get_with(&2, hang)).unwrap_err().kind(), ErrorKind::Timeout);
    let load = |keys: Vec<u64>| async move { Ok::<_, Infallible>(keys.into_iter().map(|key| (key, key)).collect()) };
    assert_eq!(run(cache.get_many_with::<_, _, u64, _>([3, 4], load)).unwrap().len(), 2);
    assert!(run(cache.close(Duration::from_secs(1))));
}

async fn one() -> Result<u64, Infallible> {
    Ok(1)
}

fn builder() -> larder::Builder<u64, u64> {
    Cache::builder().capacity(10)
}

fn on_one_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn who_waits_while_the_runtime_ends_gets_an_error() {
    for round in 0..10 {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let cache = runtime.block_on(async { builder().build().unwrap() });
        let end = std::sync::atomic::AtomicBool::new(false);
        let read = |is_blocking: bool| {
            // A thread that panics fails the scope.
            while !end.load(std::sync::atomic::Ordering::Relaxed) {
                let slow = || async {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    Err::<u64, _>("down")
                };
                let blocking = || -> Result<u64, &str> { Err("down") };
                let many = |_: Vec<u64>| async { Err::<std::collections::HashMap<u64, u64>, _>("down") };
                match is_blocking {
                    true => cache.blocking().get_with(&1, blocking).unwrap_err(),
                    false => run(cache.get_with(&1, slow)).unwrap_err(),
                };
                run(cache.get_many_with([1], many)).unwrap_err();
            }
        };
        std::thread::scope(|threads| {
            for is_blocking in [true, true, false, false] {
                threads.spawn(move || read(is_blocking));
            }
            std::thread::sleep(Duration::from_millis(20));
            runtime.shutdown_timeout(Duration::from_secs(5));
            std::thread::sleep(Duration::from_millis(20));
            end.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        assert!(run(cache.get_with(&2, one)).is_err(), "round {round}");
    }
}

#[test]
fn a_thread_that_may_block_may_do_so_beside_a_runtime_of_one_thread() {
    on_one_thread().block_on(async {
        let cache = builder().build().unwrap();
        let aside = cache.clone();
        let read = move || aside.blocking().get_with(&1, || Ok::<_, Infallible>(1));
        assert_eq!(tokio::task::spawn_blocking(read).await.unwrap().unwrap(), 1);
        let outer = cache.clone();
        let nested = move || {
            let inner = outer.clone();
            outer.blocking().get_with(&2, move || inner.blocking().get_with(&3, || Ok::<_, Infallible>(3)))
        };
        assert_eq!(tokio::task::spawn_blocking(nested).await.unwrap().unwrap(), 3);
        // This one runs the others.
        let here = || cache.blocking().get_with(&4, || Ok::<_, Infallible>(4));
        assert_eq!(here().unwrap_err().kind(), ErrorKind::Config);
        let local = cache.clone();
        let task = async move { local.blocking().get_with(&4, || Ok::<_, Infallible>(4)) };
        let task = tokio::spawn(task).await.unwrap();
        assert_eq!(task.unwrap_err().kind(), ErrorKind::Config);
    });
}

#[test]
fn a_local_set_is_not_stopped() {
    for runtime in [on_one_thread(), tokio::runtime::Runtime::new().unwrap()] {
        let read = async {
            let cache = builder().build().unwrap();
            tokio::task::spawn_local(async move { cache.blocking().get_with(&1, || Ok::<_, Infallible>(1)) })
                .await
                .unwrap()
        };
        let local = tokio::task::LocalSet::new();
        assert_eq!(local.block_on(&runtime, read).unwrap_err().kind(), ErrorKind::Config);
    }
}

#[test]
fn a_runtime_without_timers_is_good_enough_to_read_in_and_not_to_build_in() {
    let cache = builder().build().unwrap();
    let bare = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(bare.block_on(cache.get_with(&1, one)).unwrap(), 1);
    let inner = cache.clone();
    assert_eq!(
        bare.block_on(async { tokio::spawn(async move { inner.get_with(&2, one).await }).await }).unwrap().unwrap(),
        1
    );
    let error = bare.block_on(async { builder().build() }).unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("enable_time"), "{error}");
}
