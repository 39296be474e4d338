//! A hierarchical timer wheel (Varghese, Lauck 1987): entries by expiry, O(1) to schedule, cancel and expire.

use crate::Time;
use crate::slots::{NIL, Slot, SlotVec};

/// Log2 of the finest bucket's span in microseconds: 2^20 µs, about a second.
const TICK_BITS: u32 = 20;
/// Log2 of the buckets a level.
const LEVEL_BITS: u32 = 6;
const BUCKETS: usize = 1 << LEVEL_BITS;
/// Six levels of 64 buckets reach 2^56 µs, 2283 years; what lies beyond waits in the last bucket.
const LEVELS: usize = 6;
/// In place of the slot before: this is the first of a bucket's chain, whose number the lower bits are.
const FIRST: u32 = 1 << 31;
const UNSCHEDULED: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Node {
    expires: Time,
    /// The slot before it in its chain, `FIRST` with the bucket, or `UNSCHEDULED`.
    previous: u32,
    next: u32,
}

const _: () = assert!(size_of::<Node>() == 16);

impl Node {
    const IDLE: Self = Self { expires: Time(0), previous: UNSCHEDULED, next: NIL };

    fn is_scheduled(&self) -> bool {
        self.previous != UNSCHEDULED
    }
}

/// Nothing is allocated until the first entry is scheduled.
#[derive(Clone, Debug)]
pub(crate) struct Wheel {
    nodes: SlotVec<Node>,
    heads: Vec<u32>,
    /// Everything expiring before this tick has been reported.
    tick: u64,
    scheduled: usize,
}

impl Wheel {
    pub(crate) fn new(limit: Option<usize>) -> Self {
        Self { nodes: SlotVec::new(limit), heads: Vec::new(), tick: 0, scheduled: 0 }
    }

    /// Whether any entry has an expiry; lets the hot path skip the look.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.scheduled == 0
    }

    /// When `slot` expires, if it does.
    #[inline]
    pub(crate) fn expiry(&self, slot: Slot) -> Option<Time> {
        self.nodes.get(slot).filter(|node| node.is_scheduled()).map(|node| node.expires)
    }

    /// Sets or moves the expiry of `slot`.
    pub(crate) fn schedule(&mut self, slot: Slot, expires: Time) {
        if self.heads.is_empty() {
            self.heads = vec![NIL; LEVELS * BUCKETS];
        }
        while self.nodes.len() <= slot.0 as usize {
            self.nodes.put(Slot(self.nodes.len() as u32), Node::IDLE);
        }
        self.cancel(slot);
        self.nodes[slot].expires = expires;
        self.link(slot);
        self.scheduled += 1;
    }

    /// Forgets the expiry of `slot`, if it has one.
    #[inline]
    pub(crate) fn cancel(&mut self, slot: Slot) {
        if !self.is_idle() && self.expiry(slot).is_some() {
            self.unlink(slot);
        }
    }

    fn unlink(&mut self, slot: Slot) {
        let Node { previous, next, .. } = self.nodes[slot];
        if previous & FIRST != 0 {
            self.heads[(previous & !FIRST) as usize] = next;
        } else {
            self.nodes[Slot(previous)].next = next;
        }
        if next != NIL {
            self.nodes[Slot(next)].previous = previous;
        }
        self.nodes[slot].previous = UNSCHEDULED;
        self.scheduled -= 1;
    }

    /// Unschedules everything that expired at or before `now`, up to one tick late, and reports it in `expired`. A
    /// clock that goes back is ignored.
    pub(crate) fn advance(&mut self, now: Time, expired: &mut Vec<Slot>) {
        let target = now.0 >> TICK_BITS;
        if target <= self.tick {
            return;
        }
        let from = std::mem::replace(&mut self.tick, target);
        if self.scheduled == 0 {
            return;
        }
        for level in 0..LEVELS {
            let shift = level as u32 * LEVEL_BITS;
            let (first, last) = (from >> shift, target >> shift);
            if first == last && level > 0 {
                break;
            }
            // Buckets passed since `from`; a lap at most.
            let passed = (last - first).min(BUCKETS as u64 - 1);
            for step in 0..=passed {
                let bucket = level * BUCKETS + ((first + step) as usize & (BUCKETS - 1));
                self.empty(bucket, expired);
            }
        }
    }

    pub(crate) fn set_limit(&mut self, limit: Option<usize>) {
        self.nodes.set_limit(limit);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.nodes.bytes() + self.heads.capacity() * size_of::<u32>()
    }

    pub(crate) fn validate(&self) {
        let mut seen = 0;
        for (bucket, &head) in self.heads.iter().enumerate() {
            let (mut previous, mut at) = (FIRST | bucket as u32, head);
            while at != NIL {
                let node = self.nodes[Slot(at)];
                assert_eq!(node.previous, previous, "slot {at} is misfiled");
                (previous, at) = (at, node.next);
                seen += 1;
            }
        }
        assert_eq!(seen, self.scheduled, "the wheel counts wrong");
    }

    /// Takes every entry out of a bucket: those whose tick has passed have expired, the others go to a finer bucket.
    fn empty(&mut self, bucket: usize, expired: &mut Vec<Slot>) {
        let mut at = std::mem::replace(&mut self.heads[bucket], NIL);
        while at != NIL {
            let slot = Slot(at);
            at = self.nodes[slot].next;
            if self.nodes[slot].expires.0 >> TICK_BITS < self.tick {
                self.nodes[slot].previous = UNSCHEDULED;
                self.scheduled -= 1;
                expired.push(slot);
            } else {
                self.link(slot);
            }
        }
    }

    fn link(&mut self, slot: Slot) {
        let due = (self.nodes[slot].expires.0 >> TICK_BITS).max(self.tick);
        // The finest level on which the expiry lies within a lap of now.
        let ahead = due ^ self.tick;
        let level = (ahead.checked_ilog2().unwrap_or(0) / LEVEL_BITS).min(LEVELS as u32 - 1);
        let bucket = level as usize * BUCKETS + ((due >> (level * LEVEL_BITS)) as usize & (BUCKETS - 1));
        let head = std::mem::replace(&mut self.heads[bucket], slot.0);
        if head != NIL {
            self.nodes[Slot(head)].previous = slot.0;
        }
        let node = &mut self.nodes[slot];
        (node.previous, node.next) = (FIRST | bucket as u32, head);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// Steps from microseconds to decades: nothing expires early, nothing is more than a tick late.
        #[test]
        fn agrees_with_a_map(steps in prop::collection::vec((0u32..16, 0u8..4, 0u32..50, any::<u16>()), 1..200)) {
            let mut wheel = Wheel::new(None);
            let mut model: BTreeMap<u32, Time> = BTreeMap::new();
            let mut now = Time(0);
            for (slot, step, magnitude, mantissa) in steps {
                let span = (u64::from(mantissa) << magnitude) >> 8;
                match step {
                    0 => { wheel.cancel(Slot(slot)); model.remove(&slot); }
                    1 => {
                        now = Time(now.0.saturating_add(span).min(1 << 60));
                        let mut expired = Vec::new();
                        wheel.advance(now, &mut expired);
                        for slot in expired {
                            let expiry = model.remove(&slot.0);
                            prop_assert!(expiry.is_some_and(|at| at <= now), "{slot:?} left early: {expiry:?}, now {now:?}");
                        }
                        prop_assert!(model.values().all(|at| at.0 >> TICK_BITS >= now.0 >> TICK_BITS), "late at {now:?}: {model:?}");
                    }
                    _ => {
                        let at = Time(now.0.saturating_add(span));
                        wheel.schedule(Slot(slot), at);
                        model.insert(slot, at);
                    }
                }
                wheel.validate();
                prop_assert_eq!(wheel.expiry(Slot(slot)), model.get(&slot).copied());
                prop_assert_eq!(wheel.is_idle(), model.is_empty());
            }
        }
    }
}
