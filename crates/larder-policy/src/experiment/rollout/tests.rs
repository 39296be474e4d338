//! The rollout on made-up counts: a host whose treated shards gain, lose, or get slow.

use super::super::counts::{BUCKETS, Measures, Trials, Weighed};
use super::super::latencies::Latencies;
use super::super::refusal::Refusal;
use super::*;
use crate::Rng;
use crate::freshness::Audited;

const SHARDS: usize = 64;
const REQUESTS: u64 = 1000;

/// What treated shards are like beside the others.
#[derive(Clone, Copy, Default)]
struct Treated {
    /// Hits gained of 1000 accesses.
    gain: f64,
    /// Factor less 1.
    slower: f64,
    loads: f64,
    stale: f64,
}

struct Host {
    experiment: Experiment,
    shards: usize,
    rng: Rng,
    slices: u64,
    treated: Treated,
    /// Stale answers of the control beyond the usual.
    control_stale: f64,
    /// Hits that the control gains over its own ghosts.
    control_gain: f64,
    /// Hits by which a shard's gain differs from slice to slice.
    noise: f64,
}

impl Host {
    fn new(treated: Treated, seed: u64) -> Self {
        Self::with(treated, Settings::new(SHARDS, seed))
    }

    fn with(treated: Treated, settings: Settings) -> Self {
        let guardrails = Guardrails { stale: Some(0.01), ..Guardrails::default() };
        let (seed, shards) = (settings.seed, settings.shards);
        let experiment = Experiment::new(Settings { guardrails, ..settings }).unwrap();
        let (control_stale, control_gain, noise) = (0.0, 0.0, 4.0);
        Self { experiment, shards, rng: Rng::new(seed), slices: 0, treated, control_stale, control_gain, noise }
    }

    fn shard(&mut self, shard: usize) -> ShardSlice {
        let Treated { gain, slower, loads, stale } = match self.experiment.arm(shard) {
            Arm::Treatment => self.treated,
            Arm::Control => Treated { stale: self.control_stale, gain: self.control_gain, ..Treated::default() },
        };
        let (noise, rng) = (self.noise, &mut self.rng);
        let mut wobble = |size: f64| size * (rng.unit() - 0.5) * 12f64.sqrt();
        let weighed = |requests: f64| Weighed { requests: requests.max(0.0).round() as u64, ..Weighed::default() };
        let accesses = weighed(REQUESTS as f64);
        let (hits, ghost_hits) = (weighed(700.0 + gain + wobble(noise)), weighed(700.0));
        // Shards differ, and each stays what it is.
        let own = 1.0 + shard as f64 / self.shards as f64;
        let found = weighed(200.0 * (0.005 + stale) + wobble(1.0)).requests as f64;
        let mut measures = Measures {
            origin_loads: weighed(300.0 * own * (1.0 + loads) + wobble(5.0)).requests,
            audited: Audited { reads: 200.0, stale: found, stale_squared: found, heaviest: 1.0, ..Audited::default() },
            latencies: Latencies::default(),
        };
        for _ in 0..50 {
            measures.latencies.add(Duration::from_secs_f64(own * (1.0 + slower) * (0.05 + wobble(0.01))));
        }
        ShardSlice {
            accesses,
            hits,
            tail: Trials { accesses, hits, ghost_hits },
            turnovers: 0.5,
            // Many keys, each asked for a few times.
            sketch: [4; BUCKETS],
            measures,
            ..ShardSlice::default()
        }
    }

    /// One slice; what happened, and in which slice.
    fn step(&mut self) -> Option<(u64, Event)> {
        let slice: Vec<ShardSlice> = (0..self.shards).map(|shard| self.shard(shard)).collect();
        self.slices += 1;
        let event = self.experiment.end_slice(self.now(), &slice)?;
        Some((self.slices, event))
    }

    fn now(&self) -> Time {
        Time(self.slices * 10_000_000)
    }

    fn run(&mut self, slices: u64) -> Vec<(u64, Event)> {
        (0..slices).filter_map(|_| self.step()).collect()
    }

    fn treated(&self) -> usize {
        (0..self.shards).filter(|&shard| self.experiment.arm(shard) == Arm::Treatment).count()
    }
}

#[test]
fn a_better_policy_climbs_and_is_adopted_but_for_the_hold_out() {
    let mut host = Host::new(Treated { gain: 5.0, ..Treated::default() }, 1);
    let events = host.run(200);
    let shares: Vec<f64> = events
        .iter()
        .filter_map(|(_, event)| if let Event::Ramped { share } = event { Some(*share) } else { None })
        .collect();
    assert_eq!(shares, [0.05, 0.25, 0.5]);
    let Some((_, Event::Adopted { won: Won::HitRatio { effect } })) = events.last() else { panic!("{events:?}") };
    assert!((effect - 0.005).abs() < 0.001, "{effect}");
    assert_eq!((host.experiment.state(), host.treated()), (State::Adopted, SHARDS - 4));
    let report = host.experiment.report();
    assert!(report.refusals.contains(&Refusal::FewShards { arm: Arm::Control, shards: 4 }), "{:?}", report.refusals);
}

#[test]
fn sixteen_shards_are_enough_for_a_conclusion() {
    for seed in 0..5 {
        let end = |treated: Treated| Host::with(treated, Settings::new(16, seed)).run(300).pop();
        let better = end(Treated { gain: 5.0, ..Treated::default() });
        assert!(matches!(better, Some((_, Event::Adopted { .. }))), "{better:?}");
        let equal = end(Treated::default());
        assert!(matches!(equal, Some((_, Event::Ramped { .. }))), "{equal:?}");
    }
    // And too few are told so at once.
    let error = Experiment::new(Settings::new(8, 1)).err().unwrap().to_string();
    assert!(error.contains("8 shards") && error.contains("concluded"), "{error}");
}

#[test]
fn a_policy_that_is_on_from_the_start_is_judged_by_its_own_ghosts() {
    let settings = |seed| Settings { adopted: true, holdout: 0.0, ..Settings::new(SHARDS, seed) };
    let mut host = Host::with(Treated { gain: 5.0, ..Treated::default() }, settings(1));
    assert_eq!((host.experiment.state(), host.treated()), (State::Adopted, SHARDS));
    assert_eq!(host.run(100), []);
    let (gain, refusals) = host.experiment.own_gain();
    assert!(refusals.is_empty(), "{refusals:?}");
    assert!((gain.estimate - 0.005).abs() < 0.0005 && gain.anytime.low > 0.0, "{gain:?}");
    assert!((gain.hit_ratio - 0.705).abs() < 0.001 && (gain.control() - 0.7).abs() < 0.001, "{gain:?}");

    let mut host = Host::with(Treated { gain: -30.0, ..Treated::default() }, settings(2));
    let events = host.run(20);
    let [(_, Event::RolledBack { breach: Breach::HitRatio { .. }, .. })] = events[..] else { panic!("{events:?}") };
    assert_eq!(host.treated(), 0);
    // Where nothing is treated there is nothing to say.
    let (gain, refusals) = host.experiment.own_gain();
    assert!(!refusals.is_empty() && gain.counted == 0 && gain.anytime.high >= 0.0, "{gain:?}");
    host.treated = Treated::default();
    host.experiment.resume();
    assert_eq!((host.experiment.state(), host.treated()), (State::Adopted, SHARDS));
    assert_eq!(host.run(100), []);
    let (gain, _) = host.experiment.own_gain();
    assert!(gain.anytime.low < 0.0 && gain.anytime.high > 0.0, "{gain:?}");
}

#[test]
fn a_poisoned_policy_is_rolled_back_within_20_slices_and_tried_again_later() {
    let mut host = Host::new(Treated { gain: -30.0, ..Treated::default() }, 2);
    let events = host.run(40);
    let [(began, Event::Ramped { .. }), (ended, Event::RolledBack { breach, until })] = events[..] else {
        panic!("{events:?}")
    };
    assert!(matches!(breach, Breach::HitRatio { at_most } if at_most < -0.005), "{breach:?}");
    assert!(ended - began <= 20, "{events:?}");
    assert_eq!((host.treated(), host.experiment.rollbacks()), (0, 1));
    // An hour of ten-second slices, then a new baseline; the second cool-down is twice as long.
    assert_eq!(until, Time(ended * 10_000_000).plus(Duration::from_secs(3600)));
    let events = host.run(450);
    assert_eq!(events[0], (ended + 360, Event::Restarted));
    let Some((at, Event::RolledBack { until, .. })) = events.last() else { panic!("{events:?}") };
    assert_eq!(*until, Time(at * 10_000_000).plus(Duration::from_secs(7200)));
}

#[test]
fn slow_loading_and_stale_policies_are_rolled_back_for_that() {
    let harm = |treated: Treated| {
        let mut host = Host::new(treated, 3);
        let events = host.run(120);
        let breach = events
            .iter()
            .find_map(|(_, event)| if let Event::RolledBack { breach, .. } = event { Some(*breach) } else { None });
        breach.unwrap_or_else(|| panic!("{events:?}"))
    };
    assert!(matches!(harm(Treated { slower: 0.15, ..Treated::default() }), Breach::Latency { .. }));
    assert!(matches!(harm(Treated { loads: 0.1, ..Treated::default() }), Breach::OriginLoads { .. }));
    assert!(matches!(harm(Treated { stale: 0.02, ..Treated::default() }), Breach::Stale { .. }));
}

#[test]
fn lifetimes_win_by_loads_and_staleness() {
    let end = |treated: Treated, control_stale: f64, seed: u64| {
        let mut host = Host::with(treated, Settings { lifetimes: true, ..Settings::new(SHARDS, seed) });
        host.control_stale = control_stale;
        let events = host.run(300);
        events.into_iter().find(|(_, event)| !matches!(event, Event::Ramped { .. })).map(|(_, event)| event)
    };
    // Fewer loads, both fresh enough.
    let saving = Treated { loads: -0.05, ..Treated::default() };
    match end(saving, 0.0, 1) {
        Some(Event::Adopted { won: Won::OriginLoads { saved, p } }) => {
            assert!((saved - 0.05).abs() < 0.01 && p < 0.05, "{saved} {p}");
        }
        other => panic!("{other:?}"),
    }
    // None at all: what is saved entirely is saved too.
    let saving = Treated { loads: -1.1, ..Treated::default() };
    match end(saving, 0.0, 6) {
        Some(Event::Adopted { won: Won::OriginLoads { saved, .. } }) => assert_eq!(saved, 1.0),
        other => panic!("{other:?}"),
    }
    // More loads, for which fewer are stale than of a control that is not fresh enough.
    let fresher = Treated { loads: 0.2, ..Treated::default() };
    let Some(Event::Adopted { won: Won::Stale { rate, control } }) = end(fresher, 0.02, 2) else { panic!() };
    assert!(rate < 0.01 && control > 0.02, "{rate} {control}");
    // The same beside a control that is, and a little more beside one that is.
    let breach = |event| if let Some(Event::RolledBack { breach, .. }) = event { Some(breach) } else { None };
    assert!(matches!(breach(end(fresher, 0.0, 3)), Some(Breach::OriginLoads { .. })));
    let dearer = Treated { loads: 0.015, ..Treated::default() };
    assert!(matches!(breach(end(dearer, 0.0, 4)), Some(Breach::OriginLoads { .. })));
    // Staler than may be, with loads saved.
    let stale = Treated { loads: -0.2, stale: 0.01, ..Treated::default() };
    assert!(matches!(breach(end(stale, 0.0, 5)), Some(Breach::Stale { .. })));
    // No difference: nothing is said. Of 5 at a level of 5 %, one may err.
    let claimed = (10..15).filter(|&seed| end(Treated::default(), 0.0, seed).is_some()).count();
    assert!(claimed <= 1, "{claimed}");
}

#[test]
fn a_slightly_worse_policy_is_found_out_at_the_last_step() {
    let mut host = Host::new(Treated { gain: -3.0, ..Treated::default() }, 4);
    let events = host.run(200);
    let last = events.iter().find_map(|(_, event)| match event {
        Event::RolledBack { breach, .. } => Some(*breach),
        _ => None,
    });
    assert!(matches!(last, Some(Breach::Worse { effect }) if effect < 0.0), "{events:?}");
}

#[test]
fn an_equal_policy_is_never_rolled_back_in_1000_slices() {
    for seed in 0..3 {
        let mut host = Host::new(Treated::default(), 10 + seed);
        let events = host.run(1000);
        assert!(events.iter().all(|(_, event)| !matches!(event, Event::RolledBack { .. })), "{events:?}");
        assert_eq!(host.experiment.state(), State::Ramping { step: 2 }, "nothing is claimed: {events:?}");
    }
}

#[test]
fn a_person_can_roll_back_and_resume() {
    let mut host = Host::new(Treated::default(), 5);
    host.run(30);
    assert!(host.treated() > 0);
    let now = host.now();
    host.experiment.roll_back(now, Breach::Asked);
    assert_eq!(host.treated(), 0);
    let cooling = host.experiment.state();
    // Asked twice, it is not off for twice as long.
    host.experiment.roll_back(now, Breach::Asked);
    assert_eq!((host.experiment.state(), host.experiment.rollbacks()), (cooling, 1));
    assert_eq!(host.run(5), []);
    host.experiment.resume();
    assert_eq!(host.experiment.state(), State::Baseline);
}

#[test]
fn lost_requests_and_dominant_keys_are_no_base_for_a_conclusion() {
    let mut host = Host::new(Treated { gain: 5.0, ..Treated::default() }, 6);
    while host.experiment.state() != (State::Ramping { step: 2 }) {
        host.step();
    }
    let mut refusals = Vec::new();
    for _ in 0..30 {
        let mut slice: Vec<ShardSlice> = (0..SHARDS).map(|shard| host.shard(shard)).collect();
        for (shard, slice) in slice.iter_mut().enumerate() {
            let lost = 50 * u64::from(host.experiment.arm(shard) == Arm::Treatment);
            slice.accesses.requests -= lost;
            slice.tail.accesses.requests -= lost;
        }
        slice[7].hottest = 0.9;
        host.slices += 1;
        let now = host.now();
        host.experiment.end_slice(now, &slice);
        let report = host.experiment.report();
        assert_eq!(report.better(), None);
        refusals.extend(report.refusals);
    }
    assert!(refusals.iter().any(|refusal| matches!(refusal, Refusal::Mismatch { .. })), "{refusals:?}");
    assert!(refusals.iter().any(|refusal| matches!(refusal, Refusal::DominantKey { share } if *share > 0.01)));
    assert!(refusals.iter().all(|refusal| !refusal.to_string().is_empty()));
}

#[test]
fn a_quiet_night_is_no_evidence() {
    for seed in 0..20 {
        let settings = Settings { adopted: true, holdout: 0.0, ..Settings::new(SHARDS, seed) };
        let mut host = Host::with(Treated::default(), settings);
        let quiet: Vec<_> = (0..SHARDS).map(|_| ShardSlice { turnovers: 0.5, ..ShardSlice::default() }).collect();
        let mut events: Vec<_> = (0..200).filter_map(|_| host.experiment.end_slice(host.now(), &quiet)).collect();
        for _ in 0..30 {
            let mut slice: Vec<ShardSlice> = (0..SHARDS).map(|shard| host.shard(shard)).collect();
            for slice in &mut slice {
                // Half a percentage point for all shards together.
                slice.hits.requests = slice.hits.requests - 70 + u64::from(host.rng.below(140));
                slice.tail.hits = slice.hits;
            }
            host.slices += 1;
            events.extend(host.experiment.end_slice(host.now(), &slice));
        }
        assert!(!events.iter().any(|event| matches!(event, Event::RolledBack { .. })), "{seed}: {events:?}");
    }
}

#[test]
fn one_treated_shard_that_is_stale_is_found() {
    let settings = Settings { ramp: vec![0.01, 0.5], step: u64::MAX, ..Settings::new(SHARDS, 7) };
    let mut host = Host::with(Treated { stale: 0.5, ..Treated::default() }, settings);
    let events = host.run(200);
    assert!(
        events.iter().any(|(_, event)| matches!(event, Event::RolledBack { breach: Breach::Stale { .. }, .. })),
        "{events:?}"
    );
}

#[test]
fn settings_out_of_range_are_refused() {
    let good = || Settings::new(SHARDS, 1);
    for bad in [
        Settings { shards: 1, ..good() },
        Settings { holdout: 1.0, ..good() },
        Settings { shards: 1, holdout: 0.05, adopted: true, ..good() },
        Settings { ramp: vec![], ..good() },
        Settings { ramp: vec![0.5, 0.25], ..good() },
        Settings { alpha: 0.0, ..good() },
        Settings { alpha: 0.5, ..good() },
        Settings { guardrails: Guardrails { alpha: 0.5, ..Guardrails::default() }, ..good() },
        // The first look spends half: less than the smallest p-value that permutations give.
        Settings { guardrails: Guardrails { alpha: 0.0002, ..Guardrails::default() }, ..good() },
        Settings { guardrails: Guardrails { p99: f64::NAN, ..Guardrails::default() }, ..good() },
        Settings { lifetimes: true, ..good() },
    ] {
        assert_eq!(Experiment::new(bad).unwrap_err().kind(), ErrorKind::BadValue);
    }
    let guardrails = Guardrails { alpha: 1e-5, ..Guardrails::default() };
    let error = Experiment::new(Settings { guardrails, ..good() }).unwrap_err().to_string();
    assert!(error.contains("guardrails' alpha is 0.00001") && error.contains("0.0002"), "{error}");
}

#[test]
fn harm_is_found_under_every_alpha_that_is_taken() {
    for alpha in [0.0003, 0.01, 0.2, 0.43, 0.44, 0.499] {
        let guardrails = Guardrails { alpha, ..Guardrails::default() };
        let mut experiment = Host::new(Treated { gain: -30.0, ..Treated::default() }, 2);
        experiment.experiment = Experiment::new(Settings { guardrails, ..Settings::new(SHARDS, 2) }).unwrap();
        let events = experiment.run(60);
        let is_breach = |(_, event): &(u64, Event)| matches!(event, Event::RolledBack { breach: Breach::HitRatio { at_most }, .. } if *at_most < -0.005);
        assert!(events.iter().any(is_breach), "{alpha}: {events:?}");
    }
}

#[test]
fn harm_is_found_under_every_horizon() {
    for horizon in [0, 1, 7, 8, 9, 1000, u64::MAX] {
        let settings = Settings { adopted: true, holdout: 0.0, horizon, ..Settings::new(SHARDS, 2) };
        let events = Host::with(Treated { gain: -60.0, ..Treated::default() }, settings).run(40);
        assert!(matches!(events[..], [(_, Event::RolledBack { .. })]), "{horizon}: {events:?}");
    }
}

#[test]
fn harm_that_comes_late_is_found_in_the_last_step_of_a_ramp_too() {
    for harm in [Treated { slower: 0.5, ..Treated::default() }, Treated { loads: 0.5, ..Treated::default() }] {
        let mut host = Host::new(Treated::default(), 7);
        host.run(1200);
        let last = State::Ramping { step: host.experiment.settings.ramp.len() - 1 };
        assert_eq!(host.experiment.state(), last, "nobody can tell the arms apart");
        host.treated = harm;
        let events = host.run(120);
        assert!(matches!(events.first(), Some((_, Event::RolledBack { .. }))), "{events:?}");
    }
}

/// A new watch has to find out about the control again, and sooner finds that loads rose.
#[test]
fn loads_for_which_less_is_stale_are_excused_until_the_control_is_fresh() {
    let settings = Settings { lifetimes: true, adopted: true, holdout: 0.5, ..Settings::new(SHARDS, 8) };
    let mut host = Host::with(Treated::default(), settings);
    // Little beyond what may be: eight slices, after which a watch looks for the first time, do not tell.
    host.control_stale = 0.0055;
    assert_eq!(host.run(150), []);
    host.treated.loads = 0.5;
    assert_eq!(host.run(800), []);
    host.control_stale = 0.0;
    let events = host.run(300);
    assert!(
        matches!(events.first(), Some((_, Event::RolledBack { breach: Breach::OriginLoads { .. }, .. }))),
        "{events:?}"
    );
}

/// A level that is spent once for good would let guardrails fall asleep.
#[test]
fn harm_that_comes_late_is_found_as_soon() {
    let settings = Settings { adopted: true, holdout: 0.5, ..Settings::new(SHARDS, 7) };
    for harm in [
        Treated { gain: -30.0, ..Treated::default() },
        Treated { slower: 0.5, ..Treated::default() },
        Treated { loads: 0.5, ..Treated::default() },
    ] {
        let mut host = Host::with(Treated::default(), settings.clone());
        // Twelve horizons.
        assert_eq!(host.run(1200), []);
        host.treated = harm;
        let events = host.run(120);
        assert!(matches!(events[..], [(_, Event::RolledBack { .. })]), "{events:?}");
    }
}

/// Too little to be found in a horizon, however often one begins.
#[test]
fn small_harm_that_goes_on_is_found_in_the_long_run() {
    let settings = Settings { adopted: true, holdout: 0.5, ..Settings::new(SHARDS, 7) };
    for harm in [Treated { gain: -5.04, ..Treated::default() }, Treated { stale: 0.0052, ..Treated::default() }] {
        let mut host = Host::with(harm, settings.clone());
        let events = host.run(6400);
        let Some((at, Event::RolledBack { .. })) = events.first() else { panic!("{events:?}") };
        assert!(*at > 200, "a horizon had found it: {events:?}");
    }
}

#[test]
fn a_baseline_that_is_no_use_says_why() {
    let mut host = Host::new(Treated::default(), 9);
    host.control_gain = 3.0;
    assert_eq!(host.run(100), []);
    let is_told = |host: &Host| {
        host.experiment.report().refusals.iter().any(|why| matches!(why, Refusal::Biased { gain } if *gain > 0.002))
    };
    assert!(host.experiment.state() == State::Baseline && is_told(&host), "{:?}", host.experiment.report().refusals);
    host.control_gain = 0.0;
    assert!(matches!(host.run(60)[..], [(_, Event::Ramped { .. }), ..]) && !is_told(&host));
}

#[test]
fn a_baseline_of_few_requests_is_not_thought_biased_for_that() {
    // With an error of 0.17 points half of the baselines seem to be off by more than 0.1.
    let ramped = (0..20).filter(|&seed| {
        let mut host = Host::new(Treated::default(), seed);
        host.noise = 60.0;
        matches!(host.run(20)[..], [(20, Event::Ramped { .. })])
    });
    assert!(ramped.count() >= 18);
}

#[test]
fn harm_is_found_in_an_early_step_that_lasts() {
    let settings = Settings { step: u64::MAX, ..Settings::new(SHARDS, 9) };
    let mut host = Host::with(Treated::default(), settings);
    host.run(3000);
    assert_eq!(host.experiment.state(), State::Ramping { step: 0 });
    host.treated.loads = 0.5;
    let events = host.run(120);
    assert!(matches!(events.first(), Some((_, Event::RolledBack { .. }))), "{events:?}");
}

#[test]
fn cool_downs_are_short_again_after_what_lasted() {
    let mut host = Host::with(Treated::default(), Settings { adopted: true, holdout: 0.0, ..Settings::new(SHARDS, 2) });
    let cool_down = |host: &mut Host| {
        let State::CoolingDown { until } = host.experiment.state() else { panic!("not rolled back") };
        let wait = until.since(host.now()).as_secs();
        host.experiment.resume();
        wait
    };
    let mut waits = Vec::new();
    for _ in 0..9 {
        let now = host.now();
        host.experiment.roll_back(now, Breach::Asked);
        waits.push(cool_down(&mut host) / 3600);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
    // Its burn-in does not count.
    assert_eq!(host.run(6410), []);
    let now = host.now();
    host.experiment.roll_back(now, Breach::Asked);
    assert_eq!(cool_down(&mut host), 3600);
    assert_eq!(host.experiment.rollbacks(), 10);
}
