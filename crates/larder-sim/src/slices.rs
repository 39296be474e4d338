//! A replay cut into slices.

/// Where slices end: as many as asked for, or one a request where there are fewer, as equal as can be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slices {
    requests: u64,
    slices: u64,
    done: u64,
}

impl Slices {
    pub(crate) fn new(requests: u64, slices: u64) -> Self {
        Self { requests: requests.max(1), slices: slices.max(1), done: 0 }
    }

    /// Counts a request, and says whether a slice ends with it.
    pub(crate) fn end(&mut self) -> bool {
        let ended = |done: u64| u128::from(done) * u128::from(self.slices) / u128::from(self.requests);
        let before = ended(self.done);
        self.done += 1;
        ended(self.done) > before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_slices_as_asked_for_and_as_equal_as_can_be() {
        for (requests, asked, made) in [(199, 100, 100), (100, 100, 100), (1000, 7, 7), (5, 8, 5), (3, 1, 1), (0, 4, 0)]
        {
            let mut slices = Slices::new(requests, asked);
            let ends: Vec<u64> = (1..=requests).filter(|_| slices.end()).collect();
            assert_eq!((ends.len(), ends.last().copied().unwrap_or(0)), (made, requests), "{requests} in {asked}");
            let lengths: Vec<u64> = ends.iter().zip([0].iter().chain(&ends)).map(|(end, start)| end - start).collect();
            assert!(lengths.iter().max() <= lengths.iter().min().map(|least| least + 1).as_ref(), "{lengths:?}");
        }
    }
}
