//! The bound: of all policies that serve so many stale reads, the one with the fewest loads, by knowing every write to come.
//!
//! A value loaded at a read can be served for nothing until it has been outdated for longer than the grace; each read after that is stale until the
//! next load, which has to come before what is served is too old, and at the first read after a write that was noticed. What a key's stale
//! reads cost for a number of loads is convex in that number (all these limits move forward with the load: the costs are Monge; Aggarwal, Schieber,
//! Tokuyama, "Finding a minimum-weight k-link path in graphs with the concave Monge property", 1994), so that a price of a load in stale reads, the
//! same for all keys, finds the fewest loads of all: the highest price within the budget, and a little more for the last of the budget.
//!
//! It holds for a cache that holds everything, and so for any.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use larder_policy::Time;

use super::score::{Act, Policy};
use super::workload::Workload;

/// Parts of a stale read: what is the same at a price is told apart by one of them a load.
const PARTS: u128 = 1 << 64;

/// Knows every write to come.
pub(super) struct Clairvoyant {
    /// Whether to load, by the read's number.
    is_due: Vec<bool>,
    next: usize,
}

/// A read, and what a load at it is good for: by place among the key's reads.
#[derive(Clone, Copy)]
struct Read {
    /// Its number among all reads.
    number: u32,
    /// The first read that would be stale, or `last`.
    stale: u32,
    /// The read at which there must be another load; the number of the key's reads where there is none.
    last: u32,
}

/// What a load costs: so many stale reads, and a part more before a read's number and a part less from there on.
#[derive(Clone, Copy)]
struct Price {
    stale_reads: u64,
    cheaper_from: u64,
}

impl Price {
    fn at(self, read: u32) -> u128 {
        let whole = u128::from(self.stale_reads) * PARTS;
        if u64::from(read) < self.cheaper_from { whole + 1 } else { whole.saturating_sub(1) }
    }
}

impl Clairvoyant {
    /// Spends at most a share `target` of the reads, and serves nothing at an age of `most`.
    pub(super) fn new(workload: &Workload, grace: Duration, most: Duration, target: f64) -> Self {
        let keys = reads(workload, grace, most);
        let budget = budget(target, workload.reads);
        let mut plan = Plan { is_due: vec![false; workload.reads as usize], ..Plan::default() };
        let mut spent = |stale_reads, cheaper_from| {
            keys.iter().map(|reads| plan.make(reads, Price { stale_reads, cheaper_from })).sum::<u64>()
        };
        // A load that is worth more than all reads is saved wherever it can be.
        let dearest = workload.reads + 1;
        let price = last_within(dearest, |price| spent(price, u64::MAX) <= budget);
        let from = match price < dearest {
            // At the next price some loads may as well be made as not: the earlier ones are not, as long as the budget lasts.
            true => last_within(workload.reads, |from| spent(price + 1, from) <= budget),
            false => u64::MAX,
        };
        spent(price + 1, from);
        Self { is_due: plan.is_due, next: 0 }
    }
}

impl Policy for Clairvoyant {
    fn read(&mut self, _: u32, _: Time, is_cached: bool) -> Act {
        let is_due = self.is_due[self.next];
        self.next += 1;
        if is_cached && !is_due { Act::Serve } else { Act::Load }
    }

    fn loaded(&mut self, _: u32, _: Time, _: Option<bool>) -> Option<Duration> {
        None
    }
}

/// The most stale reads of which the share is no more than the target.
fn budget(target: f64, reads: u64) -> u64 {
    let reads = reads as f64;
    let near = (target * reads).round();
    // The product may be a little off to either side.
    (if near / reads <= target { near } else { near - 1.0 }) as u64
}

/// The greatest number up to `most` that `is_within`, as all below it are and 0 is.
fn last_within(most: u64, mut is_within: impl FnMut(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, most);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if is_within(middle) { low = middle } else { high = middle - 1 }
    }
    low
}

/// The reads of each key.
fn reads(workload: &Workload, grace: Duration, most: Duration) -> Vec<Vec<Read>> {
    let mut lives: Vec<Life> = workload.keys.iter().map(|_| Life::default()).collect();
    let mut number = 0;
    for event in &workload.events {
        let Life { reads, writes } = &mut lives[event.key as usize];
        if event.is_write {
            writes.push(Write { at: event.at, is_noticed: event.is_noticed, first: reads.len() });
        } else {
            reads.push((event.at, number));
            number += 1;
        }
    }
    lives.iter().map(|life| life.limits(grace, most)).collect()
}

/// What happens to a key, in order.
#[derive(Default)]
struct Life {
    /// With their numbers among all reads.
    reads: Vec<(Time, u32)>,
    writes: Vec<Write>,
}

struct Write {
    at: Time,
    is_noticed: bool,
    /// The place of the first read after it.
    first: usize,
}

impl Life {
    fn limits(&self, grace: Duration, most: Duration) -> Vec<Read> {
        let Self { reads, writes } = self;
        let end = reads.len();
        // All of these only ever move forward.
        let (mut write, mut notice, mut outdated, mut old) = (0, 0, 0, 0);
        let read = |(at, &(loaded, number)): (usize, &(Time, u32))| {
            write = first(write..writes.len(), |place| writes[place].first > at);
            notice = first(notice.max(write)..writes.len(), |place| writes[place].is_noticed);
            old = first(old.max(at + 1)..end, |place| reads[place].0.since(loaded) >= most);
            outdated = writes.get(write).map_or(end, |write| {
                let is_over = |place: usize| grace.is_zero() || reads[place].0.since(write.at) > grace;
                first(outdated.max(write.first)..end, is_over)
            });
            let last = writes.get(notice).map_or(end, |write| write.first).min(old);
            Read { number, stale: outdated.min(last) as u32, last: last as u32 }
        };
        reads.iter().enumerate().map(read).collect()
    }
}

/// The first place that is the one; the end of the range where none is.
fn first(mut places: Range<usize>, is_it: impl Fn(usize) -> bool) -> usize {
    let end = places.end.max(places.start);
    places.find(|&place| is_it(place)).unwrap_or(end)
}

/// Which reads load, with what it takes to find out.
#[derive(Default)]
struct Plan {
    is_due: Vec<bool>,
    /// By place: the best next load, and what there is to pay after a load here.
    best: Vec<(usize, u128)>,
    /// Places of a next load, the nearest in front, with what there is to pay if it is there, the stale reads before it counted from the key's first.
    /// It falls from front to back: what is no better than a nearer place is never chosen.
    places: VecDeque<(usize, u128)>,
}

impl Plan {
    /// Marks the loads of a key that cost least, with its stale reads, and says how many those are.
    ///
    /// From the last read to the first: the best next load lies between the first read that would be stale and the last that can be without one, which
    /// both move backwards.
    fn make(&mut self, reads: &[Read], price: Price) -> u64 {
        let Self { is_due, best, places } = self;
        let end = reads.len();
        best.clear();
        best.resize(end, (end, 0));
        places.clear();
        places.push_back((end, end as u128 * PARTS));
        let mut nearest = end;
        for at in (0..end).rev() {
            let Read { stale, last, .. } = reads[at];
            while nearest > stale as usize {
                nearest -= 1;
                let cost = nearest as u128 * PARTS + price.at(reads[nearest].number) + best[nearest].1;
                while places.front().is_some_and(|&(_, other)| other >= cost) {
                    places.pop_front();
                }
                places.push_front((nearest, cost));
            }
            while places.back().is_some_and(|&(place, _)| place > last as usize) {
                places.pop_back();
            }
            if let Some(&(place, cost)) = places.back() {
                best[at] = (place, cost - u128::from(stale) * PARTS);
            }
        }
        reads.iter().for_each(|read| is_due[read.number as usize] = false);
        let (mut at, mut spent) = (0, 0);
        while let Some(read) = reads.get(at) {
            is_due[read.number as usize] = true;
            spent += best[at].0 as u64 - u64::from(read.stale);
            at = best[at].0;
        }
        spent
    }
}

#[cfg(test)]
mod tests {
    use larder_policy::{KeyHash, Op};
    use larder_trace::Request;
    use proptest::prelude::*;

    use super::super::score::{Store, score};
    use super::super::workload::{Reads, Trace};
    use super::*;
    use crate::Source;

    /// Loads where it is told to.
    struct Told(Vec<bool>, usize);

    impl Policy for Told {
        fn read(&mut self, _: u32, _: Time, is_cached: bool) -> Act {
            self.1 += 1;
            if is_cached && !self.0[self.1 - 1] { Act::Serve } else { Act::Load }
        }

        fn loaded(&mut self, _: u32, _: Time, _: Option<bool>) -> Option<Duration> {
            None
        }
    }

    fn workload(rows: &[(u64, u64, bool)], notices: f64) -> Workload {
        let request = |&(at, key, is_write): &(u64, u64, bool)| Request {
            at: Time(at * 1_000_000),
            key,
            op: if is_write { Op::Set } else { Op::Get },
            ..Request::default()
        };
        let rows: Vec<Request> = rows.iter().map(request).collect();
        Trace::read(&Source::requests("t", rows), &()).unwrap().workload(Reads::AsIs, notices, 1)
    }

    /// Whether anything is served at an age of `most`.
    fn is_too_old(workload: &Workload, is_due: &[bool], most: Duration) -> bool {
        let mut loaded = vec![None; workload.keys.len()];
        let reads = workload.events.iter().filter(|event| !event.is_write);
        reads.zip(is_due).any(|(event, is_due)| {
            let at = loaded[event.key as usize].filter(|_| !is_due).unwrap_or(event.at);
            loaded[event.key as usize] = Some(at);
            event.at.since(at) >= most
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn no_choice_of_loads_is_better(
            rows in prop::collection::vec((0u64..30, 0u64..2, 0u8..5), 1..20),
            grace in 0u64..6,
            most in prop_oneof![Just(1u64 << 40), 3u64..20],
            notices in prop_oneof![Just(0.0), Just(0.3)],
            target in 0.0f64..0.7,
        ) {
            // At most ten reads: all their subsets can be tried.
            let mut reads = 0;
            let rows: Vec<(u64, u64, bool)> = rows
                .into_iter()
                .map(|(at, key, what)| {
                    reads += u32::from(what < 3 && reads < 10);
                    (at, key, what >= 3 || reads > 9)
                })
                .collect();
            let workload = workload(&rows, notices);
            let (grace, most) = (Duration::from_secs(grace), Duration::from_secs(most));
            let store = Store { limit: None, seed: 1 };
            let run = |policy: &mut dyn Policy| {
                let score = score(&workload.events, workload.reads, &workload.keys, grace, &store, policy);
                (score.loads, score.stale)
            };
            let budget = (0..=workload.reads).filter(|&stale| stale as f64 <= target * workload.reads as f64).max().unwrap();
            let fewest = (0u32..1 << workload.reads)
                .filter_map(|chosen| {
                    let is_due: Vec<bool> = (0..workload.reads).map(|read| chosen >> read & 1 == 1).collect();
                    let too_old = is_too_old(&workload, &is_due, most);
                    let (loads, stale) = run(&mut Told(is_due, 0));
                    (!too_old && stale <= budget).then_some(loads)
                })
                .min();
            let mut bound = Clairvoyant::new(&workload, grace, most, target);
            prop_assert!(!is_too_old(&workload, &bound.is_due, most));
            let (loads, stale) = run(&mut bound);
            prop_assert!(stale <= budget, "{} of {}", stale, budget);
            prop_assert_eq!(Some(loads), fewest);
        }
    }

    /// A policy that served so many stale reads is a target for as many.
    #[test]
    fn the_share_of_so_many_reads_is_a_budget_of_as_many() {
        for reads in 1u64..300 {
            for stale in 0..reads {
                assert_eq!(budget(stale as f64 / reads as f64, reads), stale, "{stale} of {reads}");
            }
        }
        assert_eq!((budget(0.099, 10), budget(0.199, 10), budget(0.5, 0)), (0, 1, 0));
    }

    #[test]
    fn the_budget_is_spent_to_the_last() {
        // Twenty versions of one key, three reads of each: a load each, or three stale reads.
        let rows: Vec<_> = (0..80u64).map(|at| (at, 1, at % 4 == 0)).collect();
        let workload = workload(&rows, 0.0);
        let forever = Duration::from_secs(1 << 40);
        for saved in 0..20u64 {
            let target = (3 * saved) as f64 / 60.0;
            let bound = Clairvoyant::new(&workload, Duration::ZERO, forever, target);
            assert_eq!(bound.is_due.iter().filter(|due| **due).count() as u64, 20 - saved);
        }
        assert_eq!(workload.keys[0].hash, KeyHash::mix(1));
    }
}
