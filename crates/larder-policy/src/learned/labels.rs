//! Examples that wait for their outcome.
//!
//! At some decisions an entry's features are noted. Each span ends in an example: used, as soon as the key is used within it, or
//! not, once it is over; an entry used in one span says nothing about those after it. A hit only notes the moment; all learning is
//! done at misses, a few examples each, so that no hit waits for the model.

use std::collections::{BTreeMap, VecDeque};

use super::HORIZONS;
use super::features::{Example, Features};
use crate::Time;
use crate::index::Index;
use crate::slots::Slot;

const SPANS: usize = HORIZONS.len();

/// Most outcomes of one span to learn at one miss.
const BATCH: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Waiting {
    hash: u32,
    since: u32,
    features: Features,
}

// docs/learned.md counts them.
const _: () = assert!(size_of::<Waiting>() == 24);

impl Waiting {
    /// The spare byte of the features tells what became of its key.
    fn is(&self, what: u8) -> bool {
        self.features.0[15] == what
    }
}

/// Nothing yet.
const OPEN: u8 = 0;
/// It was used.
const USED: u8 = 1;
/// It will not be, as its value is no more.
const ENDED: u8 = 2;

#[derive(Clone, Debug)]
pub(crate) struct Labels {
    waiting: VecDeque<Waiting>,
    /// The number of the first that waits; they are numbered from 0, and wrap.
    first: u32,
    /// For each span, the number of the first whose span is not over.
    next: [u32; SPANS],
    /// Numbers of open ones by hash.
    index: Index,
    /// Used since the last miss: the number, and after how many accesses.
    used: Vec<(u32, u32)>,
    /// Until when those would have lived that left before, by number.
    ends: BTreeMap<u32, Time>,
    most: usize,
}

impl Labels {
    pub(crate) fn new(most: usize) -> Self {
        let (waiting, index, used) = (VecDeque::new(), Index::new(None), Vec::new());
        Self { waiting, first: 0, next: [0; SPANS], index, used, ends: BTreeMap::new(), most }
    }

    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// Notes the features of a key, unless it waits already or there are too many. Says whether it waits now.
    pub(crate) fn watch(&mut self, hash: u32, now: u32, features: Features) -> bool {
        if self.find(hash).is_some() {
            return true;
        }
        if self.waiting.len() >= self.most {
            return false;
        }
        let number = Slot(self.first.wrapping_add(self.waiting.len() as u32));
        let mut features = features;
        features.0[15] = OPEN;
        // By a quarter: about half of the most wait, and doubling would make room for twice as many.
        if self.waiting.len() == self.waiting.capacity() {
            self.waiting.reserve_exact((self.waiting.len() / 4).max(64).min(self.most - self.waiting.len()));
        }
        self.waiting.push_back(Waiting { hash, since: now, features });
        let (waiting, first) = (&self.waiting, self.first);
        self.index.insert(spread(hash), number, |slot| spread(waiting[slot.0.wrapping_sub(first) as usize].hash));
        true
    }

    /// A key was used. Had it ended by `at`, nobody would have hit.
    #[inline]
    pub(crate) fn on_use(&mut self, hash: u32, now: u32, at: Time) {
        let Some(slot) = self.find(hash) else { return };
        if !self.ends.is_empty() && self.ends.get(&slot.0).is_some_and(|&end| end <= at) {
            self.close(slot, ENDED);
            return;
        }
        let since = self.close(slot, USED);
        self.used.push((slot.0, now.wrapping_sub(since)));
    }

    /// A key that waits has left, and would have lived until then.
    pub(crate) fn end_at(&mut self, hash: u32, end: Time) {
        if let Some(slot) = self.find(hash) {
            self.ends.insert(slot.0, end);
        }
    }

    /// A key's value is no more: a use that comes could not have hit.
    pub(crate) fn end(&mut self, hash: u32) {
        if let Some(slot) = self.find(hash) {
            self.close(slot, ENDED);
        }
    }

    /// Says what became of one that waits; since when it did.
    #[inline]
    fn close(&mut self, slot: Slot, what: u8) -> u32 {
        let waiting = &mut self.waiting[slot.0.wrapping_sub(self.first) as usize];
        self.index.remove(spread(waiting.hash), slot);
        waiting.features.0[15] = what;
        waiting.since
    }

    /// Hands out what has become of those that wait. `horizons` are the ends of the spans, in accesses, rising.
    #[inline]
    pub(crate) fn settle(&mut self, now: u32, horizons: [f32; SPANS], mut learn: impl FnMut(Example)) {
        for (number, after) in self.used.drain(..) {
            let at = number.wrapping_sub(self.first) as usize;
            let Some(waiting) = self.waiting.get(at) else { continue };
            for (span, horizon) in horizons.into_iter().enumerate() {
                // Told already that it was not used in this span.
                if self.next[span].wrapping_sub(self.first) as usize > at {
                    continue;
                }
                let used = after as f32 <= horizon;
                learn(Example { features: waiting.features, span: span as u8, used });
                if used {
                    break;
                }
            }
        }
        for (span, horizon) in horizons.into_iter().enumerate() {
            for _ in 0..BATCH {
                let at = self.next[span].wrapping_sub(self.first) as usize;
                let Some(waiting) = self.waiting.get(at) else { break };
                if waiting.is(OPEN) && (now.wrapping_sub(waiting.since) as f32) < horizon {
                    break;
                }
                self.next[span] = self.next[span].wrapping_add(1);
                if !waiting.is(USED) {
                    learn(Example { features: waiting.features, span: span as u8, used: false });
                }
            }
        }
        while !self.waiting.is_empty() && self.next.iter().all(|&next| next != self.first) {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        if let Some(waiting) = self.waiting.front()
            && waiting.is(OPEN)
        {
            self.index.remove(spread(waiting.hash), Slot(self.first));
        }
        self.waiting.pop_front();
        if !self.ends.is_empty() {
            self.ends.remove(&self.first);
        }
        self.first = self.first.wrapping_add(1);
    }

    #[inline]
    fn find(&self, hash: u32) -> Option<Slot> {
        let is_it = |slot: Slot| self.waiting[slot.0.wrapping_sub(self.first) as usize].hash == hash;
        self.index.find(spread(hash), is_it)
    }

    pub(crate) fn bytes(&self) -> usize {
        let used = self.used.capacity() * size_of::<(u32, u32)>();
        // Nodes are two thirds full.
        let ends = self.ends.len() * size_of::<(u32, Time)>() * 3 / 2;
        self.waiting.capacity() * size_of::<Waiting>() + self.index.bytes() + used + ends
    }

    pub(crate) fn validate(&self) {
        let open = self.waiting.iter().filter(|waiting| waiting.is(OPEN)).count();
        assert_eq!(open, self.index.len(), "who waits, and who can be found");
        assert!(self.waiting.len() <= self.most && self.ends.len() <= self.waiting.len());
        for next in self.next {
            assert!(next.wrapping_sub(self.first) as usize <= self.waiting.len(), "a span's place is out of range");
        }
    }
}

/// The index takes its tag from the high bits and its bucket from the low ones.
#[inline]
fn spread(hash: u32) -> u64 {
    crate::KeyHash::mix(u64::from(hash)).0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn settle(labels: &mut Labels, now: u32) -> Vec<(u8, u8, bool)> {
        let mut out = Vec::new();
        labels.settle(now, [10.0, 20.0, 40.0, 80.0], |example| {
            out.push((example.features.0[0], example.span, example.used));
        });
        labels.validate();
        out
    }

    fn features(name: u8) -> Features {
        let mut bins = [0; 16];
        bins[0] = name;
        Features(bins)
    }

    #[test]
    fn an_outcome_is_told_span_by_span() {
        let mut labels = Labels::new(4);
        assert!(labels.watch(1, 100, features(1)));
        assert!(labels.watch(2, 100, features(2)));
        assert!(labels.watch(1, 105, features(9)), "waits already");
        labels.on_use(1, 107, Time(0));
        assert_eq!(settle(&mut labels, 108), [(1, 0, true)]);
        assert_eq!(settle(&mut labels, 111), [(2, 0, false)]);
        labels.on_use(2, 130, Time(0));
        assert_eq!(settle(&mut labels, 131), [(2, 1, false), (2, 2, true)]);
        assert_eq!(settle(&mut labels, 500), []);
        assert_eq!(labels.waiting.len(), 0);
    }

    #[test]
    fn whose_value_ended_counts_as_not_used_though_its_key_comes_again() {
        let mut labels = Labels::new(4);
        assert!(labels.watch(1, 100, features(1)));
        labels.end(1);
        labels.on_use(1, 105, Time(0));
        labels.end(7);
        assert_eq!(settle(&mut labels, 106), [(1, 0, false), (1, 1, false), (1, 2, false), (1, 3, false)]);
        assert!(labels.waiting.is_empty() && labels.watch(1, 107, features(2)));
        // What left before its end, is read before it, and after.
        assert!(labels.watch(3, 107, features(3)));
        labels.end_at(1, Time(50));
        labels.end_at(3, Time(50));
        labels.on_use(3, 108, Time(49));
        labels.on_use(1, 109, Time(50));
        assert_eq!(
            settle(&mut labels, 110),
            [(3, 0, true), (2, 0, false), (2, 1, false), (2, 2, false), (2, 3, false)]
        );
        assert!(labels.waiting.is_empty() && labels.ends.is_empty());
    }

    #[test]
    fn who_is_never_used_counts_in_every_span() {
        let mut labels = Labels::new(4);
        labels.watch(7, 0, features(7));
        assert_eq!(settle(&mut labels, 79), [(7, 0, false), (7, 1, false), (7, 2, false)]);
        assert_eq!(settle(&mut labels, 80), [(7, 3, false)]);
        assert!(labels.find(7).is_none());
    }

    #[test]
    fn no_more_than_asked_for_wait() {
        let mut labels = Labels::new(2);
        assert_eq!([1, 2, 3].map(|hash| labels.watch(hash, 0, features(0))), [true, true, false]);
    }

    proptest! {
        #[test]
        fn agrees_with_a_list(steps in prop::collection::vec((0u32..8, 0u32..15, 0u8..3), 1..300)) {
            let ends = [10.0f32, 20.0, 40.0, 80.0];
            let mut labels = Labels::new(64);
            // Who waits: hash, since, the first span not told.
            let mut model: Vec<(u32, u32, usize)> = Vec::new();
            let mut now = 0;
            for (hash, pause, step) in steps {
                now += pause;
                let (mut told, mut expected) = (Vec::new(), Vec::new());
                match step {
                    0 => {
                        labels.watch(hash, now, features(hash as u8));
                        if model.iter().all(|waiting| waiting.0 != hash) {
                            model.push((hash, now, 0));
                        }
                    }
                    1 => {
                        labels.on_use(hash, now, Time(0));
                        if let Some(at) = model.iter().position(|waiting| waiting.0 == hash) {
                            let (_, since, span) = model.remove(at);
                            for (span, end) in ends.into_iter().enumerate().skip(span) {
                                let used = (now - since) as f32 <= end;
                                expected.push((hash as u8, span as u8, used));
                                if used {
                                    break;
                                }
                            }
                        }
                    }
                    _ => {}
                }
                for waiting in &mut model {
                    while waiting.2 < 4 && (now - waiting.1) as f32 >= ends[waiting.2] {
                        expected.push((waiting.0 as u8, waiting.2 as u8, false));
                        waiting.2 += 1;
                    }
                }
                model.retain(|waiting| waiting.2 < 4);
                // Twice, as one settling is bounded and a used one may bar the way.
                for _ in 0..2 {
                    labels.settle(now, ends, |example| told.push((example.features.0[0], example.span, example.used)));
                }
                labels.validate();
                told.sort_unstable();
                expected.sort_unstable();
                prop_assert_eq!(told, expected);
            }
        }
    }
}
