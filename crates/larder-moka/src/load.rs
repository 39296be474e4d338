//! A reader's load, whatever its closure is: called at most once, and boxed only where it is needed. So a hit allocates nothing, and
//! what a miss does, moka's part included, is compiled once and not for every closure that loads.

use larder::{BoxError, Error, ErrorKind, Fetched};

/// What a loader says: an error that there is no such value is an answer, and no failure of the origin.
pub(crate) fn said<V, T: Into<Fetched<V>>, E: Into<BoxError>>(result: Result<T, E>) -> Result<Fetched<V>, Error> {
    match result.map(Into::into).map_err(Error::from_loader) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Fetched::absent()),
        said => said,
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
