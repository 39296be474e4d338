//! Runs a policy over a workload and scores what it served against the truth, which the policy never sees.

use std::time::Duration;

use larder_policy::{Access, Capacity, Evicted, Lookup, Op, PolicySpec, Shard, Time, Work};

use super::workload::{Event, Key};

/// Windows the worst stale rate is taken over.
pub(super) const WINDOWS: usize = 40;

/// What a policy does with a read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Act {
    Serve,
    /// Serve, and compare with the origin, which refreshes too.
    Audit,
    /// Serve, and load in the background.
    Refresh,
    Load,
}

/// Decides how long cached values are served.
pub(super) trait Policy {
    /// A read of `key` (its number); `is_cached` says whether its value is held.
    fn read(&mut self, key: u32, at: Time, is_cached: bool) -> Act;

    /// The value of `key` was loaded; `changed` compares it with the one held before, where there was one. Returns how long
    /// it is worth holding, if that is limited.
    fn loaded(&mut self, key: u32, at: Time, changed: Option<bool>) -> Option<Duration>;

    /// What the origin has of a key that is loaded next: the version, and when it last changed.
    fn told(&mut self, _version: u64, _changed: Time) {}

    /// For how much longer `key`, just served, is worth holding, where that differs from what the load said.
    fn worth(&self, _key: u32) -> Option<Duration> {
        None
    }

    /// The origin says that `key` changed.
    fn noticed(&mut self, _key: u32, _at: Time) {}
}

/// The store a replay runs with.
#[derive(Clone, Debug)]
pub(super) struct Store<'a> {
    /// How much it holds, and who leaves; `None` holds everything.
    pub(super) limit: Option<(Capacity, &'a PolicySpec)>,
    pub(super) seed: u64,
}

/// What was served and what it cost.
#[derive(Clone, Debug, Default)]
pub(super) struct Score {
    pub(super) reads: u64,
    pub(super) stale: u64,
    pub(super) loads: u64,
    pub(super) audits: u64,
    /// Reads and stale reads by window.
    pub(super) windows: Vec<(u64, u64)>,
    /// How long stale answers had been outdated, in seconds.
    pub(super) ages: Vec<f32>,
}

impl Score {
    pub(super) fn stale_rate(&self) -> f64 {
        self.stale as f64 / self.reads.max(1) as f64
    }

    pub(super) fn loads_a_read(&self) -> f64 {
        (self.loads + self.audits) as f64 / self.reads.max(1) as f64
    }

    pub(super) fn worst_window(&self) -> f64 {
        self.windows.iter().map(|&(reads, stale)| stale as f64 / reads.max(1) as f64).fold(0.0, f64::max)
    }

    /// A quantile of the ages of stale answers, in seconds; 0 without any.
    pub(super) fn stale_age(&mut self, quantile: f64) -> f64 {
        if self.ages.is_empty() {
            return 0.0;
        }
        let at = ((self.ages.len() - 1) as f64 * quantile).ceil() as usize;
        let (_, age, _) = self.ages.select_nth_unstable_by(at, f32::total_cmp);
        f64::from(*age)
    }
}

/// A value's state at the origin and in the cache.
#[derive(Clone, Copy, Default)]
struct State {
    is_held: bool,
    /// The key was held before, though perhaps no more.
    is_known: bool,
    /// A write came since the load, or since the value was last known.
    has_changed: bool,
    /// When the first of them came.
    changed: Time,
    /// The cache was told of a write.
    is_told: bool,
    /// Writes so far, and when the last came.
    version: u64,
    last: Time,
}

/// Replays `events`, of which `reads` are reads. A read is stale when the value served has been outdated for longer than
/// `grace`.
pub(super) fn score(
    events: &[Event],
    reads: u64,
    keys: &[Key],
    grace: Duration,
    store: &Store<'_>,
    policy: &mut dyn Policy,
) -> Score {
    let mut score = Score { windows: vec![(0, 0); WINDOWS], ..Score::default() };
    let mut cache = Cache::new(keys.len(), grace, store);
    for event in events {
        let before = score.stale;
        let window = (score.reads as usize * WINDOWS / reads.max(1) as usize).min(WINDOWS - 1);
        cache.answer(event, &keys[event.key as usize], policy, &mut score);
        score.windows[window].0 += u64::from(!event.is_write);
        score.windows[window].1 += score.stale - before;
    }
    score
}

/// What is held, with what became of it at the origin meanwhile.
pub(super) struct Cache {
    grace: Duration,
    states: Vec<State>,
    shard: Option<Shard<u32>>,
    evicted: Vec<Evicted<u32>>,
    work: Work<u32>,
}

impl Cache {
    /// Empty, for so many keys.
    pub(super) fn new(keys: usize, grace: Duration, store: &Store<'_>) -> Self {
        let shard =
            store.limit.as_ref().map(|(capacity, spec)| Shard::new(*capacity, spec.build(*capacity, store.seed)));
        let states = vec![State::default(); keys];
        Self { grace, states, shard, evicted: Vec::new(), work: Work::default() }
    }

    /// Lets one thing happen, as `policy` decides, and adds what came of it to `score`.
    pub(super) fn answer(&mut self, event: &Event, key: &Key, policy: &mut dyn Policy, score: &mut Score) {
        let Self { grace, shard, evicted, work, .. } = self;
        let state = &mut self.states[event.key as usize];
        if event.is_write {
            (state.version, state.last) = (state.version + 1, event.at);
            if !state.has_changed {
                (state.has_changed, state.changed) = (true, event.at);
            }
            if event.is_noticed {
                state.is_told = true;
                state.is_held = false;
                policy.noticed(event.key, event.at);
                if let Some(shard) = shard {
                    shard.remove(key.hash);
                }
            }
            return;
        }
        score.reads += 1;
        let access = Access { key: key.hash, at: event.at, size: key.size, cost: 0, op: Op::Get };
        if let Some(shard) = shard {
            shard.tick(event.at, work);
            work.expired.clear();
        }
        let miss = match shard.as_mut().map(|shard| shard.lookup(&access)) {
            Some(Lookup::Miss(miss)) => {
                state.is_held = false;
                Some(miss)
            }
            _ => None,
        };
        let act = policy.read(event.key, event.at, state.is_held);
        if act != Act::Load && state.is_held {
            let outdated = event.at.since(state.changed);
            if state.has_changed && (outdated > *grace || grace.is_zero()) {
                score.stale += 1;
                score.ages.push(outdated.as_secs_f32());
            }
        }
        match act {
            Act::Serve if state.is_held => {
                if let (Some(shard), Some(worth)) = (shard, policy.worth(event.key)) {
                    shard.expire_at(key.hash, event.at.plus(worth));
                }
                return;
            }
            Act::Audit => score.audits += 1,
            _ => score.loads += 1,
        }
        // What the cache was told of is no surprise, and says nothing of what it was not told.
        let changed = (state.is_known && !state.is_told).then_some(state.has_changed);
        policy.told(state.version, state.last.max(key.first));
        let worth = policy.loaded(event.key, event.at, changed);
        let (version, last) = (state.version, state.last);
        *state = State { is_held: true, is_known: true, version, last, ..State::default() };
        match (shard, miss) {
            (Some(shard), Some(miss)) => {
                let mut plan = shard.plan(&access, miss, None);
                plan.ttl = worth;
                shard.insert(&access, event.key, &plan, evicted);
                evicted.clear();
            }
            // A reload of what is resident: the new value begins a new life.
            (Some(shard), None) => {
                if let Some(worth) = worth {
                    shard.expire_at(key.hash, event.at.plus(worth));
                }
            }
            (None, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use larder_policy::KeyHash;

    use super::*;

    /// Serves for a fixed number of seconds.
    struct Fixed(u64, Vec<Time>);

    impl Policy for Fixed {
        fn read(&mut self, key: u32, at: Time, is_cached: bool) -> Act {
            let is_young = at < self.1[key as usize].plus(Duration::from_secs(self.0));
            if is_cached && is_young { Act::Serve } else { Act::Load }
        }

        fn loaded(&mut self, key: u32, at: Time, _: Option<bool>) -> Option<Duration> {
            self.1[key as usize] = at;
            None
        }
    }

    fn event(second: u64, is_write: bool, is_noticed: bool) -> Event {
        Event { at: Time(second * 1_000_000), key: 0, is_write, is_noticed }
    }

    fn run(events: &[Event], grace: u64) -> Score {
        let key = Key { hash: KeyHash(1), size: 1, first: Time(0), last: Time(0), writes: 0, reads: 0 };
        let reads = events.iter().filter(|event| !event.is_write).count() as u64;
        let store = Store { limit: None, seed: 1 };
        score(events, reads, &[key], Duration::from_secs(grace), &store, &mut Fixed(10, vec![Time(0)]))
    }

    #[test]
    fn stale_reads_are_those_after_a_write_and_before_a_load() {
        let read = |second| event(second, false, false);
        let write = |second| event(second, true, false);
        let events = [read(1), read(2), write(3), read(4), write(5), read(6), read(11), read(12)];
        let mut score = run(&events, 0);
        assert_eq!((score.reads, score.loads, score.stale), (6, 2, 2));
        assert_eq!([score.stale_age(0.0), score.stale_age(1.0)], [1.0, 3.0]);
        assert_eq!(run(&events, 1).stale, 1, "outdated by 1 s is within a grace of 1 s");
        assert_eq!(run(&events, 3).stale, 0);
        assert!((score.worst_window() - 1.0).abs() < 1e-9, "windows of one read");
    }

    /// Serves whatever is there; holding pays for ten seconds after a read.
    struct Renting;

    impl Policy for Renting {
        fn read(&mut self, _: u32, _: Time, is_cached: bool) -> Act {
            if is_cached { Act::Serve } else { Act::Load }
        }

        fn loaded(&mut self, _: u32, _: Time, _: Option<bool>) -> Option<Duration> {
            Some(Duration::from_secs(10))
        }

        fn worth(&self, _: u32) -> Option<Duration> {
            Some(Duration::from_secs(10))
        }
    }

    #[test]
    fn reads_renew_what_a_store_holds() {
        let key = Key { hash: KeyHash(1), size: 1, first: Time(0), last: Time(0), writes: 0, reads: 0 };
        let events = [1, 8, 15, 24, 40, 41].map(|second| event(second, false, false));
        let lru = "lru".parse().unwrap();
        let store = Store { limit: Some((Capacity::objects(10), &lru)), seed: 1 };
        let score = score(&events, 6, &[key], Duration::ZERO, &store, &mut Renting);
        assert_eq!((score.reads, score.loads), (6, 2), "gone at 34 s");
    }

    #[test]
    fn what_is_noticed_is_not_served() {
        let events = [event(1, false, false), event(2, true, true), event(3, false, false)];
        let score = run(&events, 0);
        assert_eq!((score.loads, score.stale), (2, 0));
    }
}
