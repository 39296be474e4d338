//! Whether steering misses more than the server's own eviction would: a small cache without values, run as Redis would run it.
//!
//! The same test as the learned policy's own guard (`larder-policy`, `learned/guard.rs`), but of what the Redis really answered, so that
//! it also sees an index that is wrong, keys that others evict, and processes that get in each other's way.

use larder_policy::experiment::{Ghost, ghost_rate};
use larder_policy::{Access, Capacity, KeyHash, PolicySpec, Sample};

/// Standard deviations, and the share of the ghost's misses, by which steering may be worse.
const SURE: f64 = 5.0;
const MARGIN: f64 = 0.01;
/// Turnovers of the ghost until a trial counts half.
const HALF_LIFE: f64 = 16.0;
/// Turnovers of the first retreat; each further one is twice as long, up to so many doublings.
const RETREAT: f64 = 4.0;
const DOUBLINGS: u32 = 8;

pub(super) struct Guard {
    ghost: Ghost,
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
    /// Beside a directory of `objects` names within `limit` bytes; `residents` are in the Redis now.
    pub(super) fn new(
        control: &PolicySpec,
        limit: u64,
        objects: usize,
        seed: u64,
        residents: impl Iterator<Item = KeyHash>,
        now: larder_policy::Time,
    ) -> Option<Self> {
        let rate = ghost_rate(objects as f64);
        let sample = Sample::new(rate, seed).ok()?;
        let capacity = Capacity::bytes(((limit as f64 * rate) as u64).max(1));
        let mut ghost = Ghost::new(capacity, control.build(capacity, seed));
        let size = u32::try_from(limit / objects.max(1) as u64).unwrap_or(u32::MAX);
        for key in residents.filter(|&key| sample.takes(key)) {
            ghost.ask(&Access { size, ..Access::get(key, now) }, None);
        }
        let objects = (objects as f64 * rate).max(1.0);
        let fade = 0.5_f64.powf(1.0 / (HALF_LIFE * objects));
        Some(Self {
            ghost,
            sample,
            lost: 0.0,
            won: 0.0,
            misses: 0.0,
            fade,
            objects,
            young: objects,
            away: 0.0,
            retreats: 0,
        })
    }

    /// Notes what the Redis answered.
    pub(super) fn note(&mut self, access: &Access, hit: bool) {
        if !self.sample.takes(access.key) {
            return;
        }
        let ghost_hit = self.ghost.ask(access, None);
        if self.young > 0.0 {
            self.young -= f64::from(u8::from(!ghost_hit));
            return;
        }
        for count in [&mut self.lost, &mut self.won, &mut self.misses] {
            *count *= self.fade;
        }
        self.misses += f64::from(u8::from(!ghost_hit));
        match (hit, ghost_hit) {
            (false, true) => self.lost += 1.0,
            (true, false) => self.won += 1.0,
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

    /// Whether the server should be left alone for now.
    pub(super) fn retreats(&self) -> bool {
        self.away > 0.0
    }

    /// How often it had to.
    pub(super) fn count(&self) -> u32 {
        self.retreats
    }

    /// The directory's limit is another one.
    pub(super) fn resize(&mut self, limit: u64) {
        let limit = ((limit as f64 * self.sample.rate()) as u64).max(1);
        if limit != self.ghost.capacity().limit {
            self.ghost.resize(limit);
        }
    }

    /// Whether it was made for a directory of another size.
    pub(super) fn is_outgrown(&self, objects: usize) -> bool {
        let now = objects as f64 * self.sample.rate();
        now > self.objects * 2.0 || now * 2.0 < self.objects
    }
}

#[cfg(test)]
mod tests {
    use larder_policy::Time;

    use super::*;

    fn guard() -> Guard {
        let residents = (0..100).map(KeyHash::mix);
        Guard::new(&"lru".parse().unwrap(), 10_000, 100, 1, residents, Time(0)).unwrap()
    }

    fn get(key: u64, at: u64) -> Access {
        Access { size: 100, ..Access::get(KeyHash::mix(key), Time(at)) }
    }

    #[test]
    fn a_redis_that_loses_what_lru_keeps_is_left_alone_for_a_while() {
        let mut guard = guard();
        (0..100).for_each(|at| guard.note(&get(500 + at, at), false));
        let mut until = 0;
        while !guard.retreats() {
            guard.note(&get(until % 50, until), until % 2 == 0);
            until += 1;
            assert!(until < 400, "it never retreats");
        }
        assert_eq!(guard.count(), 1);
        for at in 0..500 {
            guard.note(&get(1_000 + at, at), false);
        }
        assert!(!guard.retreats(), "it tries again");
    }

    #[test]
    fn as_good_as_the_control_is_good_enough() {
        let mut guard = guard();
        let mut control = self::guard();
        for at in 0..50_000_u64 {
            let access = get(KeyHash::mix(at).0 % 200, at);
            let hit = control.ghost.ask(&access, None);
            // Now and then one of the two has luck.
            guard.note(&access, hit ^ (at % 97 == 0));
            assert!(!guard.retreats());
        }
    }
}
