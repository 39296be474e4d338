//! LIRS: those whose last two uses lie close together stay; the others pass through a small queue.
//!
//! Jiang, Zhang, "LIRS: an efficient low inter-reference recency set replacement policy", SIGMETRICS 2002. As the
//! reference implementation does, and the paper does not: a hit on a queued resident that has left the stack demotes
//! the bottom of the stack too, and the stack is limited to twice the capacity by dropping the keys gone longest.
//! Deviations: a demoted resident may push the queue over its share while there is room; when the queue holds one
//! entry, a hit on it does not evict it.

use super::{Arrival, Eviction, Fate, Removal, Setup, slots};
use crate::list::{Links, List, UNLINKED};
use crate::params::Param;
use crate::slots::SlotVec;
use crate::{Access, Reuse, Slot};

pub(super) const PARAMS: &[Param] =
    &[Param { name: "queue", default: 0.01, least: 0.0, most: 1.0, about: "share of the capacity for the queue" }];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Status {
    /// Low inter-reference recency: resident, in the stack.
    Low,
    /// High inter-reference recency: resident, in the queue, perhaps in the stack.
    High,
    /// A ghost, in the stack and among the gone.
    Gone,
}

/// A key the policy knows.
#[derive(Clone, Copy)]
struct Node {
    weight: u32,
    status: Status,
    in_stack: bool,
}

/// The stack S, the queue Q of high residents, and the gone in the order they went.
pub(crate) struct Lirs {
    nodes: SlotVec<Node>,
    stack_links: Links,
    /// Of the queue and the gone: a slot is on at most one of them.
    queue_links: Links,
    stack: List,
    queue: List,
    gone: List,
    /// Ghosts the shard is still to be told of.
    forgotten: Vec<Slot>,
    stack_weight: u64,
    low_weight: u64,
    queue_weight: u64,
    capacity: u64,
    low_limit: u64,
    queue_limit: u64,
    queue_share: f64,
}

impl Lirs {
    pub(crate) fn new(setup: &Setup<'_>) -> Self {
        let mut policy = Self {
            nodes: SlotVec::new(None),
            stack_links: Links::new(None),
            queue_links: Links::new(None),
            stack: List::default(),
            queue: List::default(),
            gone: List::default(),
            forgotten: Vec::new(),
            stack_weight: 0,
            low_weight: 0,
            queue_weight: 0,
            capacity: 0,
            low_limit: 0,
            queue_limit: 0,
            queue_share: setup.params.value("queue"),
        };
        policy.on_resize(setup.capacity, setup.objects);
        policy
    }

    fn weight(&self, slot: Slot) -> u64 {
        u64::from(self.nodes[slot].weight)
    }

    fn push_stack(&mut self, slot: Slot) {
        self.stack.push_front(&mut self.stack_links, slot);
        self.stack_weight += self.weight(slot);
        self.nodes[slot].in_stack = true;
    }

    fn leave_stack(&mut self, slot: Slot) {
        self.stack.remove(&mut self.stack_links, slot);
        self.stack_weight -= self.weight(slot);
        self.nodes[slot].in_stack = false;
    }

    fn push_queue(&mut self, slot: Slot) {
        self.nodes[slot].status = Status::High;
        self.queue.push_front(&mut self.queue_links, slot);
        self.queue_weight += self.weight(slot);
    }

    fn leave_queue(&mut self, slot: Slot) {
        self.queue.remove(&mut self.queue_links, slot);
        self.queue_weight -= self.weight(slot);
    }

    fn become_low(&mut self, slot: Slot) {
        self.nodes[slot].status = Status::Low;
        self.low_weight += self.weight(slot);
    }

    /// Drops a key that has gone.
    fn drop_gone(&mut self, slot: Slot) {
        self.gone.remove(&mut self.queue_links, slot);
        self.leave_stack(slot);
        self.forgotten.push(slot);
    }

    /// Keeps a low resident at the bottom of the stack; the top stays whatever it is.
    fn prune(&mut self) {
        while let Some(bottom) = self.stack.back() {
            match self.nodes[bottom].status {
                Status::Low => break,
                _ if self.stack.front() == Some(bottom) => break,
                Status::High => self.leave_stack(bottom),
                Status::Gone => self.drop_gone(bottom),
            }
        }
    }

    /// Moves low residents from the bottom of the stack to the queue until `weight` more fits among the low.
    fn make_low_room(&mut self, weight: u64) {
        while self.low_weight + weight > self.low_limit {
            let Some(bottom) = self.stack.back().filter(|&slot| self.nodes[slot].status == Status::Low) else { break };
            self.low_weight -= self.weight(bottom);
            self.leave_stack(bottom);
            self.push_queue(bottom);
            self.prune();
        }
    }

    fn limit_stack(&mut self) {
        while self.stack_weight > self.capacity.saturating_mul(2)
            && let Some(oldest) = self.gone.back()
        {
            self.drop_gone(oldest);
        }
    }
}

impl Eviction for Lirs {
    fn on_arrive(&mut self, newcomer: &Arrival) {
        if let Some(ghost) = newcomer.ghost {
            self.stack.move_to_front(&mut self.stack_links, ghost);
        }
    }

    fn victim(&mut self, _: Option<&Arrival>) -> Option<Slot> {
        if self.queue.is_empty() {
            self.prune();
        }
        self.queue.back().or(self.stack.back())
    }

    fn on_insert(&mut self, slot: Slot, newcomer: &Arrival) {
        let weight = u64::from(newcomer.weight);
        if newcomer.ghost.is_some() {
            self.stack_weight = self.stack_weight - self.weight(slot) + weight;
            self.nodes[slot].weight = newcomer.weight;
            self.make_low_room(weight);
            self.gone.remove(&mut self.queue_links, slot);
            self.become_low(slot);
        } else {
            self.nodes.put(slot, Node { weight: newcomer.weight, status: Status::High, in_stack: false });
            self.queue_links.put(slot, UNLINKED);
            self.push_stack(slot);
            if self.low_weight + weight <= self.low_limit {
                self.become_low(slot);
            } else {
                self.push_queue(slot);
            }
        }
        self.limit_stack();
    }

    fn on_hit(&mut self, slot: Slot, _: &Access, _: Reuse) -> Option<Slot> {
        let Node { status, in_stack, .. } = self.nodes[slot];
        let mut surplus = None;
        if status == Status::Low {
            self.stack.move_to_front(&mut self.stack_links, slot);
            self.prune();
        } else if in_stack {
            self.stack.move_to_front(&mut self.stack_links, slot);
            self.leave_queue(slot);
            self.make_low_room(self.weight(slot));
            self.become_low(slot);
        } else {
            self.queue.move_to_front(&mut self.queue_links, slot);
            self.make_low_room(self.weight(slot));
            self.push_stack(slot);
            if self.queue_weight > self.queue_limit {
                surplus = self.queue.back().filter(|&oldest| oldest != slot);
            }
        }
        self.limit_stack();
        surplus.or_else(|| self.forget())
    }

    fn on_reweigh(&mut self, slot: Slot, from: u32, to: u32) {
        self.nodes[slot].weight = to;
        let shift = |total: &mut u64| *total = *total - u64::from(from) + u64::from(to);
        if self.nodes[slot].in_stack {
            shift(&mut self.stack_weight);
        }
        match self.nodes[slot].status {
            Status::Low => shift(&mut self.low_weight),
            _ => shift(&mut self.queue_weight),
        }
    }

    fn on_remove(&mut self, slot: Slot, why: Removal) -> Fate {
        let Node { status, in_stack, .. } = self.nodes[slot];
        if status == Status::High {
            self.leave_queue(slot);
        } else {
            self.low_weight -= self.weight(slot);
        }
        if status == Status::High && in_stack && why == Removal::Evicted {
            self.nodes[slot].status = Status::Gone;
            self.gone.push_front(&mut self.queue_links, slot);
            return Fate::Ghost;
        }
        if in_stack {
            self.leave_stack(slot);
            self.prune();
        }
        Fate::Gone
    }

    fn forget(&mut self) -> Option<Slot> {
        self.forgotten.pop()
    }

    fn most_ghosts(&self, objects: usize) -> usize {
        objects.saturating_mul(2)
    }

    fn on_resize(&mut self, capacity: u64, objects: Option<usize>) {
        self.capacity = capacity;
        self.queue_limit = ((capacity as f64 * self.queue_share) as u64).max(1);
        self.low_limit = capacity.saturating_sub(self.queue_limit);
        let slots = slots(self, objects);
        self.nodes.set_limit(slots);
        self.stack_links.set_limit(slots);
        self.queue_links.set_limit(slots);
        self.limit_stack();
    }

    fn bytes(&self) -> usize {
        let forgotten = self.forgotten.capacity() * size_of::<Slot>();
        self.nodes.bytes() + self.stack_links.bytes() + self.queue_links.bytes() + forgotten
    }

    fn validate(&self, residents: usize, ghosts: usize) {
        self.stack.validate(&self.stack_links);
        self.queue.validate(&self.queue_links);
        self.gone.validate(&self.queue_links);
        assert_eq!(self.gone.len(), ghosts);
        assert!(self.forgotten.is_empty(), "the shard was not told what to forget");
        let stack: Vec<_> = self.stack.iter(&self.stack_links).map(|slot| self.nodes[slot]).collect();
        let low = stack.iter().filter(|node| node.status == Status::Low);
        assert_eq!(low.clone().count() + self.queue.len(), residents);
        assert_eq!(self.low_weight, low.map(|node| u64::from(node.weight)).sum::<u64>());
        assert_eq!(self.stack_weight, stack.iter().map(|node| u64::from(node.weight)).sum::<u64>());
        assert_eq!(stack.iter().filter(|node| node.status == Status::Gone).count(), self.gone.len());
        assert!(stack.iter().all(|node| node.in_stack));
        let queue = self.queue.iter(&self.queue_links).map(|slot| self.weight(slot));
        assert_eq!(self.queue_weight, queue.sum::<u64>());
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Cache;

    #[test]
    fn who_returns_soon_takes_the_place_of_the_bottom() {
        // Two low, one in the queue.
        let mut cache = Cache::objects("lirs", 3);
        assert_eq!(cache.read("abcd"), "c");
        assert_eq!(cache.read("c"), "d", "c was in the stack: it is low now, and `a` is demoted to the queue");
        assert_eq!(cache.read("e"), "a");
        assert_eq!(cache.residents(), "bce");
    }

    #[test]
    fn a_loop_longer_than_the_cache_still_hits() {
        // LRU misses every time.
        let lirs = Cache::objects("lirs", 3).read(&"abcd".repeat(10)).len();
        let lru = Cache::objects("lru", 3).read(&"abcd".repeat(10)).len();
        assert_eq!(lru, 37);
        assert!(lirs < 25, "{lirs}");
    }
}
