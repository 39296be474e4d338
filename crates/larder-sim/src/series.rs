//! Counts over the course of a trace whose length is not known in advance.

/// Windows are merged in pairs when there are this many, so a series ends with between half of it and all of it.
const MOST: usize = 200;

/// Rows in a window at first.
const FINEST: u64 = 256;

/// Counts in windows of equally many rows. Two series fed the same rows have the same windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    width: u64,
    counts: Vec<u64>,
    /// Rows in the last window.
    filled: u64,
}

impl Default for Series {
    fn default() -> Self {
        Self { width: FINEST, counts: vec![0], filled: 0 }
    }
}

impl Series {
    /// How many rows fit into the current window: at least one.
    pub fn room(&self) -> usize {
        // A window's width only exceeds `usize` after more rows than a `usize` counts.
        usize::try_from(self.width - self.filled).unwrap_or(usize::MAX)
    }

    /// Adds `count` over the next `rows` rows, which must fit into the [`room`](Self::room).
    pub fn push(&mut self, rows: usize, count: u64) {
        if let Some(last) = self.counts.last_mut() {
            *last += count;
        }
        self.filled += rows as u64;
        if self.filled < self.width {
            return;
        }
        if self.counts.len() == MOST {
            self.counts = self.counts.chunks(2).map(|pair| pair.iter().sum()).collect();
            self.width *= 2;
        }
        self.counts.push(0);
        self.filled = 0;
    }

    /// Rows a window.
    pub fn width(&self) -> u64 {
        self.width
    }

    /// The counts of the windows with any rows, in order; the last may cover fewer rows.
    pub fn counts(&self) -> &[u64] {
        let windows = self.counts.len() - usize::from(self.filled == 0);
        &self.counts[..windows]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn windows_sum_up_whatever_the_steps(steps in prop::collection::vec(1usize..5000, 1..200)) {
            let mut series = Series::default();
            let mut rows = 0u64;
            for step in steps {
                let mut rest = step;
                while rest > 0 {
                    let part = rest.min(series.room());
                    series.push(part, part as u64);
                    rest -= part;
                }
                rows += step as u64;
            }
            // Each row counts 1 here, so every window but the last holds its width.
            prop_assert_eq!(series.counts().iter().sum::<u64>(), rows);
            let whole = &series.counts()[..series.counts().len() - 1];
            prop_assert!(whole.iter().all(|&count| count == series.width()));
            prop_assert!(series.counts().len() <= MOST);
            prop_assert!(rows < FINEST * MOST as u64 || series.counts().len() >= MOST / 2);
        }
    }
}
