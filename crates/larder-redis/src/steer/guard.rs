//! Whether steering misses more than the server's own eviction would: a small cache without values, run as Redis would run it.
//!
//! The same test as the learned policy's own guard (`larder-policy`, `learned/guard.rs`), but of what the Redis really answered, so that
//! it also sees an index that is wrong, keys that others evict, and processes that get in each other's way. What ends or is taken out by a
//! write is nobody's loss, so the ghost has the ends of the values and hears of what was taken out.

use larder_policy::experiment::ghost_rate;
use larder_policy::{Access, Capacity, Evicted, KeyHash, Lookup, PolicySpec, Sample, Shard, Time, Work};

/// Standard deviations, and the share of the ghost's misses, by which steering may be worse.
const SURE: f64 = 5.0;
const MARGIN: f64 = 0.01;
/// Turnovers of the ghost until a trial counts half.
const HALF_LIFE: f64 = 16.0;
/// Turnovers of the first retreat; each further one is twice as long, up to so many doublings.
const RETREAT: f64 = 4.0;
const DOUBLINGS: u32 = 8;

/// What the Redis answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Hit,
    /// It has what we did not know of: it says nothing of how we steer.
    Adopted,
    Miss,
}

/// What the ghost knows of a resident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Known,
    /// When it ends is not known.
    Unknown,
}

pub(super) struct Guard {
    ghost: Shard<Life>,
    evicted: Vec<Evicted<Life>>,
    sample: Sample,
    /// Trials that only the Redis lost, or only the ghost; misses of the ghost. They fade.
    lost: f64,
    won: f64,
    misses: f64,
    fade: f64,
    objects: f64,
    /// Misses of the ghost until it judges: as many as it has objects, while the limit is found.
    young: f64,
    /// Misses of the ghost until steering is tried again.
    away: f64,
    retreats: u32,
}

impl Guard {
    /// Beside a directory of `objects` names within `limit` bytes; `residents` are in the Redis now, until their ends.
    pub(super) fn new(
        control: &PolicySpec,
        limit: u64,
        objects: usize,
        seed: u64,
        residents: impl Iterator<Item = (KeyHash, Option<Time>)>,
        now: Time,
    ) -> Option<Self> {
        let rate = ghost_rate(objects as f64);
        let sample = Sample::new(rate, seed).ok()?;
        let capacity = Capacity::bytes(((limit as f64 * rate) as u64).max(1));
        let ghost = Shard::new(capacity, control.build(capacity, seed));
        let size = u32::try_from(limit / objects.max(1) as u64).unwrap_or(u32::MAX);
        let objects = (objects as f64 * rate).max(1.0);
        let fade = 0.5_f64.powf(1.0 / (HALF_LIFE * objects));
        let mut guard = Self {
            ghost,
            evicted: Vec::new(),
            sample,
            lost: 0.0,
            won: 0.0,
            misses: 0.0,
            fade,
            objects,
            young: objects,
            away: 0.0,
            retreats: 0,
        };
        for (key, end) in residents.filter(|&(key, _)| sample.takes(key)) {
            guard.ask(&Access { size, ..Access::get(key, now) }, end);
        }
        Some(guard)
    }

    /// Whether the ghost has it; it gets what it has not.
    fn ask(&mut self, access: &Access, end: Option<Time>) -> bool {
        let Lookup::Miss(miss) = self.ghost.lookup(access) else { return true };
        let mut plan = self.ghost.plan(access, miss, None);
        plan.ttl = end.map(|end| end.since(access.at));
        let life = if end.is_some() { Life::Known } else { Life::Unknown };
        self.ghost.insert(access, life, &plan, &mut self.evicted);
        self.evicted.clear();
        false
    }

    /// Notes what the Redis answered, and when what it has or is given now ends.
    pub(super) fn note(&mut self, access: &Access, end: Option<Time>, seen: Seen) {
        if !self.sample.takes(access.key) {
            return;
        }
        if seen == Seen::Miss && self.ghost.peek(access.key) == Some(&Life::Unknown) {
            // It may have come to its end.
            self.ghost.remove(access.key);
            self.ask(access, end);
            return;
        }
        let ghost_hit = self.ask(access, end);
        if self.young > 0.0 {
            self.young -= f64::from(u8::from(!ghost_hit));
            return;
        }
        for count in [&mut self.lost, &mut self.won, &mut self.misses] {
            *count *= self.fade;
        }
        self.misses += f64::from(u8::from(!ghost_hit));
        match (seen, ghost_hit) {
            (Seen::Miss, true) => self.lost += 1.0,
            (Seen::Hit, false) => self.won += 1.0,
            _ => {}
        }
        if self.away > 0.0 {
            self.away -= f64::from(u8::from(!ghost_hit));
            if self.away <= 0.0 {
                (self.lost, self.won) = (0.0, 0.0);
            }
        } else {
            let behind = self.lost - self.won;
            if behind > SURE * (self.lost + self.won).sqrt() && behind > MARGIN * self.misses {
                self.away = RETREAT * self.objects * f64::from(1 << self.retreats.min(DOUBLINGS));
                self.retreats += 1;
            }
        }
    }

    /// A write or an invalidation has taken it out.
    pub(super) fn gone(&mut self, key: KeyHash) {
        if self.sample.takes(key) {
            self.ghost.remove(key);
        }
    }

    /// It was written again, and lives until then.
    pub(super) fn ends(&mut self, key: KeyHash, end: Time) {
        if self.sample.takes(key) && self.ghost.expire_at(key, end) {
            self.ghost.peek_mut(key).into_iter().for_each(|life| *life = Life::Known);
        }
    }

    /// Nothing was noted for a while: the ghost has to get up to date before it judges again.
    pub(super) fn rest(&mut self) {
        self.young = self.objects;
    }

    /// Time has passed, and the directory's limit may be another one.
    pub(super) fn pass(&mut self, limit: u64, now: Time) {
        self.ghost.tick(now, &mut Work::default());
        let limit = ((limit as f64 * self.sample.rate()) as u64).max(1);
        if limit != self.ghost.capacity().limit {
            self.ghost.resize(limit, &mut self.evicted);
            self.evicted.clear();
        }
    }

    /// Whether the server should be left alone for now.
    pub(super) fn retreats(&self) -> bool {
        self.away > 0.0
    }

    /// How often it had to.
    pub(super) fn count(&self) -> u32 {
        self.retreats
    }

    /// Whether it was made for a directory of another size.
    pub(super) fn is_outgrown(&self, objects: usize) -> bool {
        let now = objects as f64 * self.sample.rate();
        now > self.objects * 2.0 || now * 2.0 < self.objects
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use larder_policy::Rng;

    use super::*;

    const NEVER: Option<Time> = Some(Time(1 << 50));

    fn guard(limit: u64) -> Guard {
        let objects = limit / 100;
        let residents = (0..objects).map(|key| (KeyHash::mix(key), NEVER));
        Guard::new(&"lru".parse().unwrap(), limit, objects as usize, 1, residents, Time(0)).unwrap()
    }

    fn get(key: u64, at: u64) -> Access {
        Access { size: 100, ..Access::get(KeyHash::mix(key), Time(at)) }
    }

    fn seen(hit: bool) -> Seen {
        if hit { Seen::Hit } else { Seen::Miss }
    }

    #[test]
    fn a_redis_that_loses_what_lru_keeps_is_left_alone_for_a_while() {
        let mut guard = guard(10_000);
        (0..100).for_each(|at| guard.note(&get(500 + at, at), NEVER, Seen::Miss));
        let mut until = 0;
        while !guard.retreats() {
            guard.note(&get(until % 50, until), NEVER, seen(until % 2 == 0));
            until += 1;
            assert!(until < 400, "it never retreats");
        }
        assert_eq!(guard.count(), 1);
        for at in 0..500 {
            guard.note(&get(1_000 + at, at), NEVER, Seen::Miss);
        }
        assert!(!guard.retreats(), "it tries again");
    }

    #[test]
    fn as_good_as_the_control_is_good_enough() {
        let mut guard = guard(10_000);
        let mut control = self::guard(10_000);
        for at in 0..50_000_u64 {
            let access = get(KeyHash::mix(at).0 % 200, at);
            let hit = control.ask(&access, NEVER);
            // Now and then one of the two has luck.
            guard.note(&access, NEVER, seen(hit ^ (at % 97 == 0)));
            assert!(!guard.retreats());
        }
    }

    #[test]
    fn what_ends_at_a_time_that_is_not_known_and_what_is_adopted_is_not_judged() {
        let mut guard = guard(10_000);
        (0..100).for_each(|at| guard.note(&get(500 + at, at), NEVER, Seen::Miss));
        for at in 100..10_000 {
            guard.note(&get(at % 50, at), None, Seen::Adopted);
            guard.gone(get(at % 50, at).key);
            guard.note(&get(at % 50, at), None, Seen::Hit);
            guard.note(&get(at % 50, at), None, Seen::Miss);
        }
        assert!(!guard.retreats());
        guard.won = 0.0;
        (0..400).for_each(|at| guard.note(&get(1_000 + at, at), None, Seen::Adopted));
        assert!(guard.won == 0.0);
    }

    /// Requests (Zipf 0.9) of a Redis that runs the control itself: how often the guard retreats, and at how many requests it is away. Where
    /// it is not `told` of ends and of what is taken out, it takes both for evictions.
    fn retreats(ttl: u64, invalidated: f64, told: bool) -> (u32, u32) {
        const KEYS: usize = 10_000;
        // So few that the ghost has all of them, and no luck with its sample.
        const ROOM: u64 = 100_000;
        let mut sum = 0.0;
        let chances: Vec<f64> = (1..=KEYS)
            .map(|rank| {
                sum += (rank as f64).powf(-0.9);
                sum
            })
            .collect();
        let mut rng = Rng::new(7);
        let (mut redis, mut guard) = (self::guard(ROOM), self::guard(ROOM));
        let mut away = 0;
        for at in 0..100_000 {
            let drawn = rng.unit() * sum;
            let access = get(chances.partition_point(|&chance| chance < drawn) as u64, at);
            if rng.unit() < invalidated {
                redis.gone(access.key);
                if told {
                    guard.gone(access.key);
                }
                continue;
            }
            let end = Some(access.at.plus(Duration::from_micros(ttl)));
            let hit = redis.ask(&access, end);
            guard.note(&access, if told { end } else { NEVER }, seen(hit));
            if at % 1_000 == 0 {
                redis.pass(ROOM, access.at);
                guard.pass(ROOM, access.at);
            }
            away += u32::from(guard.retreats());
        }
        (guard.count(), away)
    }

    #[test]
    fn what_ends_or_is_invalidated_is_no_loss() {
        const LONG: u64 = 1 << 40;
        for (ttl, invalidated) in [(10_000, 0.0), (4_000, 0.0), (LONG, 0.02), (LONG, 0.05), (4_000, 0.05)] {
            assert_eq!(retreats(ttl, invalidated, true), (0, 0), "{ttl}, {invalidated}");
            let without = retreats(ttl, invalidated, false);
            assert!(without.0 > 0, "{ttl}, {invalidated}: {without:?}");
        }
    }
}
