//! LRU's misses at every size at once, by stack distance.
//!
//! LRU keeps the most recently used: an access hits in every cache at least as large as the weight used since the
//! key's last access, its own included (Mattson, Gecsei, Slutz, Traiger 1970). Keys stand in a row by last access; a
//! Fenwick tree over the row sums the weight behind a key in logarithmic time (Bennett, Kruskal 1975).

use std::collections::{BinaryHeap, hash_map::Entry};

use larder_policy::{Access, KeyHash, Op, Weigh};

use super::fenwick::Fenwick;
use crate::hash::KeyMap;

/// Room in the row at first.
const LEAST_ROOM: usize = 1 << 12;

/// Exact stack distances of a trace, in memory proportional to its distinct keys (about 50 bytes each).
///
/// With objects weighed the distances are LRU's to the last access, deletes included. With bytes weighed they are
/// those of an LRU that may hold a part of an object at its end, which differs from a real one by less than one
/// object at a time.
#[derive(Debug)]
pub struct StackDistances {
    weigh: Weigh,
    keys: KeyMap<Place>,
    row: Fenwick,
    /// The next free position of the row.
    end: usize,
    /// Positions of free room that deletes left, the most recent on top.
    ///
    /// A cache that had the deleted key has room for one more: the next key that such a cache inserts fills it,
    /// and nothing below the hole moves. So the hole moves to where that key came from, or is gone if it is new.
    holes: BinaryHeap<(usize, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    position: usize,
    weight: u64,
}

impl StackDistances {
    /// Distances in objects or bytes.
    pub fn new(weigh: Weigh) -> Self {
        Self { weigh, keys: KeyMap::default(), row: Fenwick::new(LEAST_ROOM), end: 0, holes: BinaryHeap::new() }
    }

    /// Records an access. `Some(d)` hits in every cache of capacity `d` or more; `None`, of a new key or a delete,
    /// hits in none.
    pub fn access(&mut self, access: &Access) -> Option<u64> {
        if access.op == Op::Delete {
            self.delete(access.key);
            return None;
        }
        if self.end == self.row.len() {
            self.renumber();
        }
        let here = self.end;
        self.end += 1;
        let weight = u64::from(self.weigh.weight(access));
        let (old, stays) = match self.keys.entry(access.key.0) {
            Entry::Vacant(entry) => {
                entry.insert(Place { position: here, weight });
                (None, weight)
            }
            Entry::Occupied(mut entry) => {
                let old = *entry.get();
                // A resident keeps its weight on reads; a write replaces it.
                let stays = if access.op == Op::Set { weight } else { old.weight };
                entry.insert(Place { position: here, weight: stays });
                (Some(old), stays)
            }
        };
        let distance = old.map(|old| self.row.before(here) - self.row.before(old.position));
        self.row.add(here, stays);
        match old {
            Some(old) => self.leave(old),
            None => {
                if let Some((hole, width)) = self.holes.pop() {
                    self.row.remove(hole, width);
                }
            }
        }
        distance
    }

    /// Bytes allocated.
    pub fn bytes(&self) -> usize {
        self.row.len() * size_of::<u64>() + self.keys.capacity() * size_of::<(u64, Place)>()
    }

    /// Takes a key that moved to the top from its old place, which becomes the hole a hole above it moves to.
    fn leave(&mut self, old: Place) {
        match self.holes.peek() {
            Some(&(hole, width)) if hole > old.position => {
                self.row.remove(hole, width);
                self.holes.pop();
                self.holes.push((old.position, old.weight));
            }
            _ => self.row.remove(old.position, old.weight),
        }
    }

    fn delete(&mut self, key: KeyHash) {
        if let Some(Place { position, weight }) = self.keys.remove(&key.0) {
            self.holes.push((position, weight));
        }
    }

    /// Closes the gaps in the row, and makes it twice as long as what stands in it.
    fn renumber(&mut self) {
        let mut places: Vec<(usize, Option<u64>, u64)> =
            self.keys.iter().map(|(&key, place)| (place.position, Some(key), place.weight)).collect();
        places.extend(self.holes.drain().map(|(position, width)| (position, None, width)));
        places.sort_unstable_by_key(|&(position, ..)| position);
        self.row = Fenwick::new((places.len() * 2).max(LEAST_ROOM));
        self.end = places.len();
        for (position, (_, key, weight)) in places.into_iter().enumerate() {
            self.row.add(position, weight);
            match key {
                Some(key) => {
                    self.keys.insert(key, Place { position, weight });
                }
                None => self.holes.push((position, weight)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_policy::{Capacity, Lookup, PolicySpec, Shard, Time};
    use proptest::prelude::*;

    fn row(key: u64, op: Op) -> Access {
        Access { op, ..Access::get(KeyHash::mix(key), Time(0)) }
    }

    /// Hits of the kernel's own LRU, access by access.
    fn hits(rows: &[Access], capacity: u64) -> Vec<bool> {
        let capacity = Capacity::objects(capacity);
        let spec: PolicySpec = "lru".parse().unwrap();
        let mut shard: Shard<()> = Shard::new(capacity, spec.build(capacity, 1));
        let mut evicted = Vec::new();
        let replay = |access: &Access| {
            if access.op == Op::Delete {
                shard.remove(access.key);
                return false;
            }
            match shard.lookup(access) {
                Lookup::Hit(()) => true,
                Lookup::Miss(miss) => {
                    let plan = shard.plan(access, miss, None);
                    shard.insert(access, (), &plan, &mut evicted);
                    false
                }
            }
        };
        rows.iter().map(replay).collect()
    }

    fn check(rows: &[Access], capacities: impl Iterator<Item = u64>) {
        let mut stack = StackDistances::new(Weigh::Objects);
        let distances: Vec<_> = rows.iter().map(|access| stack.access(access)).collect();
        for capacity in capacities {
            let expected = hits(rows, capacity);
            let found: Vec<_> = distances.iter().map(|d| d.is_some_and(|d| d <= capacity)).collect();
            assert_eq!(found, expected, "capacity {capacity}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_lru_at_every_size(rows in prop::collection::vec((0u64..20, 0u8..10), 0..300)) {
            let op = |op| match op { 0 => Op::Delete, 1 | 2 => Op::Set, _ => Op::Get };
            let rows: Vec<_> = rows.into_iter().map(|(key, what)| row(key, op(what))).collect();
            check(&rows, 1..22);
        }
    }

    #[test]
    fn agrees_across_renumberings() {
        let mut rng = larder_policy::Rng::new(7);
        let rows: Vec<_> = (0..60_000)
            .map(|_| {
                // Squaring a uniform number makes some keys popular.
                let unit = rng.unit();
                let op = if rng.below(50) == 0 { Op::Delete } else { Op::Get };
                row((unit * unit * 3000.0) as u64, op)
            })
            .collect();
        check(&rows, [10, 100, 1000, 2500].into_iter());
    }

    #[test]
    fn bytes_are_summed() {
        let mut stack = StackDistances::new(Weigh::Bytes);
        let sized = |key, size| Access { size, ..row(key, Op::Get) };
        assert_eq!(stack.access(&sized(1, 100)), None);
        assert_eq!(stack.access(&sized(2, 10)), None);
        assert_eq!(stack.access(&sized(1, 100)), Some(110));
        assert_eq!(stack.access(&sized(1, 100)), Some(100));
        assert_eq!(stack.access(&Access { op: Op::Set, ..sized(2, 30) }), Some(110));
        assert_eq!(stack.access(&sized(1, 100)), Some(130));
    }
}
