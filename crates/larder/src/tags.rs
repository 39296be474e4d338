//! Tags that were removed: whatever was loaded before counts no more, if it has one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use larder_policy::Time;
use parking_lot::RwLock;

use crate::remote::Name;

/// How many are told apart. Beyond, the older half becomes one moment, before which no value with a tag counts, whatever its tag:
/// more is loaded anew than had to be, and nothing that was removed is served.
const MOST: usize = 1 << 16;

#[derive(Default)]
pub(crate) struct Tags {
    inner: RwLock<Inner>,
    /// The latest moment given to a write that is later than its clock: a removal after it is no earlier.
    ahead: AtomicU64,
    /// The longest lifetime given to a value with a tag (µs).
    longest: AtomicU64,
    /// How many removals there were.
    removals: AtomicU64,
    /// How often removals were taken together.
    widened: AtomicU64,
}

#[derive(Default)]
struct Inner {
    removed: HashMap<Name, Time>,
    /// Of those not told apart any more, the last.
    all: Option<Time>,
}

impl Tags {
    pub(crate) fn remove(&self, tag: &Name, now: Time) {
        let mut inner = self.inner.write();
        let now = now.max(Time(self.ahead.load(Ordering::Relaxed)));
        // Clocks are read outside the lock: a removal may come here before an earlier one of the same tag.
        let at = inner.removed.entry(tag.clone()).or_insert(now);
        *at = now.max(*at);
        if inner.removed.len() > MOST {
            inner.widen();
            self.widened.fetch_add(1, Ordering::Relaxed);
        }
        self.removals.fetch_add(1, Ordering::Relaxed);
    }

    /// How many removals there were: who counts no more than another has seen none that the other has not.
    pub(crate) fn removals(&self) -> u64 {
        self.removals.load(Ordering::Relaxed)
    }

    /// Whether one of `tags` was removed at or after `as_of`.
    pub(crate) fn are_removed(&self, tags: &[Name], as_of: Time) -> bool {
        !tags.is_empty() && {
            let inner = self.inner.read();
            inner.all.is_some_and(|at| as_of <= at)
                || tags.iter().any(|tag| inner.removed.get(tag).is_some_and(|&at| as_of <= at))
        }
    }

    /// From when what is written `now` counts: it follows every removal of `tags` that it finds, even one of the same microsecond.
    pub(crate) fn after(&self, tags: &[Name], now: Time) -> Time {
        if tags.is_empty() {
            return now;
        }
        let inner = self.inner.read();
        let removed = tags.iter().filter_map(|tag| inner.removed.get(tag).copied()).max().max(inner.all);
        let at =
            removed.filter(|removed| now <= *removed).map_or(now, |removed| removed.plus(Duration::from_micros(1)));
        if at > now {
            self.ahead.fetch_max(at.0, Ordering::Relaxed);
        }
        at
    }

    /// A value with a tag lives so long.
    pub(crate) fn outlive(&self, lifetime: Duration) {
        self.longest.fetch_max(u64::try_from(lifetime.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Takes removals together that are so long ago, and longer than any value with a tag was to live: nothing so old is resident.
    pub(crate) fn age(&self, now: Time, longest: Duration) {
        let longest = longest.saturating_add(Duration::from_micros(self.longest.load(Ordering::Relaxed)));
        let Inner { removed, all } = &mut *self.inner.write();
        removed.retain(|_, at| {
            let is_recent = now.since(*at) < longest;
            if !is_recent {
                *all = (*all).max(Some(*at));
            }
            is_recent
        });
    }

    /// How often so many tags were removed that older removals were taken together.
    pub(crate) fn widened(&self) -> u64 {
        self.widened.load(Ordering::Relaxed)
    }
}

impl Inner {
    #[cold]
    fn widen(&mut self) {
        let mut times: Vec<Time> = self.removed.values().copied().collect();
        let middle = times.len() / 2;
        let (_, &mut last, _) = times.select_nth_unstable(middle);
        self.removed.retain(|_, at| *at > last);
        self.all = self.all.max(Some(last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(number: usize) -> Name {
        number.to_string().into()
    }

    #[test]
    fn more_than_can_be_told_apart_void_more_and_never_less() {
        let (tags, many) = (Tags::default(), 3 * MOST);
        for number in 0..many {
            tags.remove(&tag(number), Time(number as u64));
            assert!(tags.are_removed(&[tag(number)], Time(number as u64)));
        }
        for number in (0..many).step_by(97) {
            assert!(tags.are_removed(&[tag(number)], Time(number as u64)), "{number} was removed");
        }
        let inner = tags.inner.read();
        assert!(inner.removed.len() <= MOST && tags.widened() > 0);
        let all = inner.all.unwrap();
        assert!(all.0 < many as u64 - MOST as u64 / 4, "the newest are still told apart");
        drop(inner);
        // What was loaded since counts, and so does what has no tag.
        assert!(!tags.are_removed(&[tag(1)], Time(many as u64)) && !tags.are_removed(&[], Time(0)));
        assert!(!tags.are_removed(&["never".into()], Time(all.0 + 1)) && tags.are_removed(&["never".into()], all));
    }

    #[test]
    fn removals_at_one_moment_are_all_remembered() {
        let tags = Tags::default();
        (0..=MOST).for_each(|number| tags.remove(&tag(number), Time(7)));
        assert!((0..=MOST).all(|number| tags.are_removed(&[tag(number)], Time(7))));
        assert!(!tags.are_removed(&[tag(0)], Time(8)) && tags.inner.read().removed.is_empty());
    }

    #[test]
    fn a_write_and_a_removal_of_one_moment_keep_their_order() {
        let (tags, own, now) = (Tags::default(), [tag(1)], Time(7));
        assert_eq!(tags.after(&own, now), now, "nothing was removed");
        for _ in 0..3 {
            tags.remove(&tag(1), now);
            let written = tags.after(&own, now);
            assert!(!tags.are_removed(&own, written));
            tags.remove(&tag(1), now);
            assert!(tags.are_removed(&own, written));
        }
        assert_eq!((tags.after(&[], now), tags.after(&[tag(2)], now)), (now, now));
        assert_eq!(tags.after(&own, Time(99)), Time(99));
    }

    #[test]
    fn what_is_too_old_to_matter_takes_no_memory() {
        let (tags, longest) = (Tags::default(), Duration::from_micros(10));
        tags.remove(&tag(3), Time(5));
        tags.remove(&tag(0), Time(9));
        tags.remove(&tag(0), Time(8));
        tags.age(Time(14), longest);
        assert_eq!(tags.inner.read().removed.len(), 2);
        tags.age(Time(15), longest);
        assert_eq!(tags.inner.read().removed.len(), 1);
        assert!(tags.are_removed(&[tag(3)], Time(5)) && tags.are_removed(&[tag(0)], Time(9)));
        assert!(!tags.are_removed(&[tag(3)], Time(6)) && !tags.are_removed(&[tag(0)], Time(10)));
        // Unless something lives longer.
        tags.outlive(Duration::from_micros(100));
        tags.age(Time(118), longest);
        assert_eq!(tags.inner.read().removed.len(), 1);
        tags.age(Time(119), longest);
        assert_eq!(tags.inner.read().removed.len(), 0);
    }
}
