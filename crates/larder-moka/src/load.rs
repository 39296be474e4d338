//! A reader's load, whatever its closure is: called at most once, and boxed only where it is needed. So a hit allocates nothing, and
//! what a miss does, moka's part included, is compiled once and not for every closure that loads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;
use std::{future, thread};

use larder::{BoxError, Error, ErrorKind, Fetched};

use crate::atomic::{AtomicU64, Ordering};

/// What a loader says: an error that there is no such value is an answer, and no failure of the origin.
pub(crate) fn said<V, T: Into<Fetched<V>>, E: Into<BoxError>>(result: Result<T, E>) -> Result<Fetched<V>, Error> {
    match result.map(Into::into).map_err(Error::from_loader) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Fetched::absent()),
        said => said,
    }
}

/// What a load comes to, or what it panicked with.
pub(crate) async fn caught<F: Future + Unpin>(mut load: F) -> thread::Result<F::Output> {
    future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut load).poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

/// How many loads were cancelled with their readers.
#[derive(Default)]
pub(crate) struct Cancelled(AtomicU64);

/// A load that is cancelled if this is dropped and not at its [`end`](Self::end).
pub(crate) struct Leads<'a>(&'a AtomicU64);

impl Cancelled {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn leads(&self) -> Leads<'_> {
        Leads(&self.0)
    }
}

impl Leads<'_> {
    pub(crate) fn end(self) {
        std::mem::forget(self);
    }
}

impl Drop for Leads<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What may be taken once. `L` is a load that has not begun.
pub(crate) struct Once<'a, L> {
    make: &'a mut (dyn FnMut() -> Option<L> + Send),
    is_taken: bool,
}

impl<'a, L> Once<'a, L> {
    pub(crate) fn new(make: &'a mut (dyn FnMut() -> Option<L> + Send)) -> Self {
        Self { make, is_taken: false }
    }

    pub(crate) fn take(&mut self) -> Option<L> {
        self.is_taken = true;
        (self.make)()
    }

    pub(crate) fn is_taken(&self) -> bool {
        self.is_taken
    }
}
