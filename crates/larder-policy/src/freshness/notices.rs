//! How many writes are noticed: all, some, none; nobody is trusted to say so, it is counted.
//!
//! A change found by a reload that no notice had announced is a miss; f = noticed / (noticed + missed). A noticed change
//! is an exact observation of the whole rate; what threatens freshness is the rest, (1 − f)·λ, by thinning of a Poisson
//! process.

/// Counts of a class, slowly forgotten.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Notices {
    noticed: f64,
    missed: f64,
}

const MOST: f64 = 500.0;

impl Notices {
    /// A notice came.
    pub(super) fn noticed(&mut self) {
        self.noticed += 1.0;
        self.forget();
    }

    /// A change was found that nobody had announced; `changes` of them are expected.
    pub(super) fn missed(&mut self, changes: f64) {
        self.missed += changes.clamp(1.0, 3.0);
        self.forget();
    }

    /// The share of changes that are noticed; 0 until the first notice.
    pub(super) fn share(self) -> f64 {
        self.noticed / (self.noticed + self.missed + 1.0)
    }

    fn forget(&mut self) {
        let sum = self.noticed + self.missed;
        if sum > MOST {
            (self.noticed, self.missed) = (self.noticed * MOST / sum, self.missed * MOST / sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_counted() {
        let mut notices = Notices::default();
        assert_eq!(notices.share(), 0.0);
        for _ in 0..2000 {
            notices.noticed();
            notices.missed(0.1);
        }
        assert!((notices.share() - 0.5).abs() < 0.01);
    }
}
