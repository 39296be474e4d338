//! What a learned policy learns from, kept from a replay: training data.

use larder_policy::Rng;
use larder_policy::learned::Example;

/// Which training examples a replay keeps.
#[derive(Clone, Copy, Debug)]
pub struct Collecting {
    /// Most examples kept of a cell's earlier and of its later part each; of more, a uniform sample is kept.
    pub most: usize,
    /// The share of a trace's rows that is its earlier part.
    pub earlier: f64,
}

/// Examples of one cell, in the order of their outcomes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examples {
    /// Whose outcome was known before the trace's later part began.
    pub earlier: Vec<Example>,
    /// The rest.
    pub later: Vec<Example>,
}

/// Takes a cell's examples while it runs.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    /// Rows of the earlier part that are yet to come.
    left: usize,
    in_later: bool,
    parts: [Reservoir; 2],
}

impl Recorder {
    pub(crate) fn new(collecting: &Collecting, rows: u64, seed: u64) -> Self {
        let reservoir = |part| Reservoir::new(collecting.most, seed.wrapping_add(part));
        // `as` saturates, and a share is within the rows.
        let left = (rows as f64 * collecting.earlier) as usize;
        Self { left, in_later: left == 0, parts: [reservoir(0), reservoir(1)] }
    }

    /// How many rows may pass before [`take`](Self::take) must be called: at least one.
    pub(crate) fn room(&self) -> usize {
        if self.in_later { usize::MAX } else { self.left }
    }

    /// Takes what `rows` more rows brought.
    pub(crate) fn take(&mut self, rows: usize, examples: impl Iterator<Item = Example>) {
        let part = &mut self.parts[usize::from(self.in_later)];
        examples.for_each(|example| part.push(example));
        self.left = self.left.saturating_sub(rows);
        self.in_later = self.left == 0;
    }

    pub(crate) fn finish(self) -> Examples {
        let [earlier, later] = self.parts.map(Reservoir::finish);
        Examples { earlier, later }
    }
}

/// A uniform sample of a stream (Vitter 1985, algorithm R) that remembers the order.
#[derive(Clone, Debug)]
struct Reservoir {
    kept: Vec<(u64, Example)>,
    most: usize,
    seen: u64,
    rng: Rng,
}

impl Reservoir {
    fn new(most: usize, seed: u64) -> Self {
        Self { kept: Vec::new(), most, seen: 0, rng: Rng::new(seed) }
    }

    fn push(&mut self, example: Example) {
        let number = self.seen;
        self.seen += 1;
        if self.kept.len() < self.most {
            self.kept.push((number, example));
            return;
        }
        let place = (self.rng.unit() * self.seen as f64) as usize;
        if let Some(kept) = self.kept.get_mut(place) {
            *kept = (number, example);
        }
    }

    fn finish(mut self) -> Vec<Example> {
        self.kept.sort_unstable_by_key(|&(number, _)| number);
        self.kept.into_iter().map(|(_, example)| example).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_policy::learned::Features;

    fn numbered(number: u8) -> Example {
        Example { features: Features([number; 16]), span: 0, used: false }
    }

    fn numbers(examples: &[Example]) -> Vec<u8> {
        examples.iter().map(|example| example.features.0[0]).collect()
    }

    #[test]
    fn the_parts_are_split_at_the_row() {
        let mut recorder = Recorder::new(&Collecting { most: 100, earlier: 0.7 }, 10, 1);
        assert_eq!(recorder.room(), 7);
        recorder.take(4, [1, 2].map(numbered).into_iter());
        assert_eq!(recorder.room(), 3);
        recorder.take(3, [3].map(numbered).into_iter());
        assert_eq!(recorder.room(), usize::MAX);
        recorder.take(3, [4, 5].map(numbered).into_iter());
        let examples = recorder.finish();
        assert_eq!((numbers(&examples.earlier), numbers(&examples.later)), (vec![1, 2, 3], vec![4, 5]));
    }

    #[test]
    fn a_sample_is_uniform_and_in_order() {
        let mut counts = [0u32; 100];
        for seed in 0..2000 {
            let mut reservoir = Reservoir::new(10, seed);
            (0..100).for_each(|number| reservoir.push(numbered(number)));
            let kept = numbers(&reservoir.finish());
            assert!(kept.len() == 10 && kept.is_sorted());
            kept.iter().for_each(|&number| counts[usize::from(number)] += 1);
        }
        // Five standard deviations of a binomial(2000, 0.1) are 67.
        assert!(counts.iter().all(|count| count.abs_diff(200) < 67), "{counts:?}");
    }
}
