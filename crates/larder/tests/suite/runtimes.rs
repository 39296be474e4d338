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
