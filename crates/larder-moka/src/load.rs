//! A reader's load, whatever its closure is: called at most once, and boxed only where it is needed. So a hit allocates nothing, and
//! what a miss does, moka's part included, is compiled once and not for every closure that loads.

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
