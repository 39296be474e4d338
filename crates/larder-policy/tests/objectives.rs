//! Objectives as arms: shards whose engines keep to one or the other, before an origin whose keys change at random.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use larder_policy::experiment::{Arm, Breach, Event, Experiment, Guardrails, Settings, ShardSlice, Won};
use larder_policy::freshness::{Audited, Decision, Engine, Evidence, Freshness, Loaded};
use larder_policy::{KeyHash, Rng, Time};

const SHARDS: usize = 64;
const KEYS: usize = 12;
/// Of all shards, in a slice.
const READS: usize = 1000;
/// The mean time between reads.
const GAP: f64 = 0.004;

struct Row {
    /// Changes a second.
    rate: f64,
    /// How much of the traffic it has.
    weight: f64,
    changed: f64,
    version: u64,
    cached: Option<u64>,
}

struct Shard {
    engine: Engine,
    rows: Vec<Row>,
    loads: u64,
    reads: u64,
    stale: u64,
}

/// The treatment keeps to `own`, the control to `other`; the experiment's verdict within so many slices, if it says one.
fn run(own: f64, other: f64, most: f64, seed: u64) -> Option<Event> {
    let [own, other] = [own, other].map(|share| Freshness::stale_reads(share).unwrap());
    let guardrails = Guardrails { stale: Some(most), origin_loads: 1.0, ..Guardrails::default() };
    let (ramp, settings) = (vec![0.5], Settings::new(SHARDS, seed));
    let settings = Settings { holdout: 0.0, ramp, baseline: 6, step: 6, guardrails, lifetimes: true, ..settings };
    let mut experiment = Experiment::new(settings).unwrap();
    let mut rng = Rng::new(seed);
    let shard = |at: usize, rng: &mut Rng| {
        let row = |_| {
            let (rate, weight) = (10f64.powf(-3.0 + 3.0 * rng.unit()), 10f64.powf(rng.unit()));
            Row { rate, weight, changed: 0.0, version: 0, cached: None }
        };
        let rows = (0..KEYS).map(row).collect();
        let mut engine = Engine::new(own.clone(), seed ^ at as u64);
        engine.keep_to(&other);
        Shard { engine, rows, loads: 0, reads: 0, stale: 0 }
    };
    let mut shards: Vec<Shard> = (0..SHARDS).map(|at| shard(at, &mut rng)).collect();
    let mut arms = [Arm::Control; SHARDS];
    let mut now = 1e6;
    for _ in 0..30 {
        for _ in 0..READS {
            now += -(1.0 - rng.unit()).ln() * GAP;
            let at = rng.below(SHARDS as u32) as usize;
            shards[at].read(now, at, &mut rng);
        }
        let slices: Vec<ShardSlice> = shards.iter_mut().map(Shard::slice).collect();
        let event = experiment.end_slice(Time((now * 1e6) as u64), &slices);
        if let Some(Event::Adopted { .. } | Event::RolledBack { .. }) = event {
            return event;
        }
        for (shard, (stood, arm)) in
            shards.iter_mut().zip(arms.iter_mut().zip((0..SHARDS).map(|at| experiment.arm(at))))
        {
            if std::mem::replace(stood, arm) != arm {
                shard.engine.keep_to(if arm == Arm::Treatment { &own } else { &other });
            }
        }
    }
    None
}

impl Shard {
    fn read(&mut self, now: f64, shard: usize, rng: &mut Rng) {
        let total: f64 = self.rows.iter().map(|row| row.weight).sum();
        let mut point = rng.unit() * total;
        let drawn = self.rows.iter().position(|row| {
            point -= row.weight;
            point < 0.0
        });
        let at = drawn.unwrap_or(KEYS - 1);
        let row = &mut self.rows[at];
        // Whether it has changed since it was last looked at, at whatever moment.
        if rng.unit() < -(-row.rate * (now - row.changed)).exp_m1() {
            row.version += 1;
        }
        row.changed = now;
        let time = Time((now * 1e6) as u64);
        let subject = self.engine.subject(KeyHash::mix((shard * KEYS + at) as u64), "", 1, 0);
        let decision = self.engine.read(subject, time, row.cached.is_some());
        self.reads += 1;
        self.stale += u64::from(decision.is_served() && row.cached != Some(row.version));
        let load = Loaded::new(time, Evidence::Digest(KeyHash::mix(row.version).0));
        let load = match decision {
            Decision::Serve => return,
            Decision::Audit(audit) => load.audit(audit),
            Decision::ServeAndRefresh | Decision::Load => load,
        };
        self.loads += 1;
        row.cached = Some(row.version);
        self.engine.loaded(subject, time, load);
    }

    fn slice(&mut self) -> ShardSlice {
        let mut slice = ShardSlice::default();
        slice.accesses.requests = std::mem::take(&mut self.reads);
        slice.measures.origin_loads = std::mem::take(&mut self.loads);
        // The host knows of each read what audits know of a few.
        let stale = std::mem::take(&mut self.stale) as f64;
        slice.measures.audited = Audited {
            reads: slice.accesses.requests as f64,
            stale,
            stale_squared: stale,
            heaviest: 1.0,
            ..Audited::default()
        };
        slice
    }
}

#[test]
fn two_equal_objectives_are_called_different_no_more_often_than_the_level() {
    let runs = 200;
    let events: Vec<Event> = (0..runs).filter_map(|seed| run(0.05, 0.05, 0.2, seed)).collect();
    // 5 % and the guardrails' 1 % of 200 are 12; two standard deviations are 7.
    assert!(events.len() < 19, "{} of {runs}: {events:?}", events.len());
}

#[test]
fn a_laxer_objective_wins_by_loads_and_a_stricter_one_by_freshness() {
    let runs = 20;
    let laxer: Vec<_> = (0..runs).map(|seed| run(0.1, 0.05, 0.2, seed)).collect();
    let saves = |event: &&Option<Event>| matches!(event, Some(Event::Adopted { won: Won::OriginLoads { saved, .. } }) if *saved > 0.05);
    assert!(laxer.iter().filter(saves).count() >= 16, "{laxer:?}");
    assert!(!laxer.iter().any(|event| matches!(event, Some(Event::RolledBack { .. }))), "{laxer:?}");
    let stricter: Vec<_> = (0..runs).map(|seed| run(0.02, 0.2, 0.05, seed)).collect();
    let fresher = |event: &&Option<Event>| matches!(event, Some(Event::Adopted { won: Won::Stale { .. } }));
    assert!(stricter.iter().filter(fresher).count() >= 16, "{stricter:?}");
}

#[test]
fn one_that_is_staler_than_may_be_is_rolled_back() {
    let rolled_back = |seed: &u64| matches!(run(0.2, 0.02, 0.05, *seed), Some(Event::RolledBack { breach: Breach::Stale { at_least }, .. }) if at_least > 0.05);
    let count = (0..20).filter(rolled_back).count();
    assert!(count >= 18, "{count} of 20");
}
