//! The engine against simulated origins.

mod ahead;
mod grace;

use std::time::Duration;

use super::*;

/// Keys with Poisson changes and reads, and what the engine did with them.
struct Origin {
    rng: Rng,
    now: f64,
    keys: Vec<(f64, f64)>,
    /// Versions at the origin and in the cache.
    versions: Vec<(u64, u64)>,
    notice: f64,
    reads: u64,
    stale: u64,
    loads: u64,
    /// Reads that found nothing to serve.
    waits: u64,
}

impl Origin {
    /// Change rates over four orders of magnitude, reads over two.
    fn new(keys: usize, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let rate = |rng: &mut Rng, low: f64, decades: f64| low * 10f64.powf(decades * rng.unit());
        let keys: Vec<_> = (0..keys).map(|_| (rate(&mut rng, 1e-6, 4.0), rate(&mut rng, 1e-3, 2.0))).collect();
        let versions = vec![(1, 0); keys.len()];
        Self { rng, now: 1e6, keys, versions, notice: 0.0, reads: 0, stale: 0, loads: 0, waits: 0 }
    }

    fn run(&mut self, engine: &mut Engine, events: usize) {
        let total: f64 = self.keys.iter().map(|key| key.0 + key.1).sum();
        let mut sums = Vec::new();
        let mut sum = 0.0;
        for &(change, read) in &self.keys {
            sums.push((sum + change, sum + change + read));
            sum += change + read;
        }
        for _ in 0..events {
            self.now += -(1.0 - self.rng.unit()).ln() / total;
            let point = self.rng.unit() * total;
            let at = sums.partition_point(|(_, end)| *end <= point).min(sums.len() - 1);
            let now = Time((self.now * 1e6) as u64);
            let subject = engine.subject(KeyHash::mix(at as u64), "", 1, 0);
            if point < sums[at].0 {
                self.versions[at].0 += 1;
                if self.rng.unit() < self.notice {
                    engine.changed(subject, now);
                }
                continue;
            }
            self.reads += 1;
            let (origin, cached) = self.versions[at];
            let decision = engine.read(subject, now, cached > 0);
            if decision.is_served() && origin != cached {
                self.stale += 1;
            }
            let mut load = Loaded::new(now, Evidence::Digest(KeyHash::mix(origin).0));
            match decision {
                Decision::Serve => continue,
                Decision::Audit(audit) => load = load.audit(audit),
                Decision::Load | Decision::ServeAndRefresh => {}
            }
            self.loads += 1;
            self.waits += u64::from(decision == Decision::Load);
            engine.loaded(subject, now, load);
            self.versions[at].1 = origin;
        }
    }

    fn stale_rate(&self) -> f64 {
        self.stale as f64 / self.reads as f64
    }

    fn loads_a_read(&self) -> f64 {
        self.loads as f64 / self.reads as f64
    }
}

fn engine(share: f64) -> Engine {
    Engine::new(Freshness::stale_reads(share).unwrap().max_ttl(Duration::from_secs(1 << 40)), 1)
}

#[test]
fn the_objective_is_met() {
    for share in [0.005, 0.02] {
        let mut origin = Origin::new(2000, 3);
        let mut engine = engine(share);
        origin.run(&mut engine, 600_000);
        let realised = origin.stale_rate() / share;
        assert!((0.8..1.12).contains(&realised), "{share}: {realised}");
        let measured = engine.measured(None).unwrap();
        assert!((measured.low..=measured.high).contains(&origin.stale_rate()), "{measured:?}");
    }
}

#[test]
fn the_objective_is_met_where_popular_keys_change_more_often() {
    let mut origin = Origin::new(2000, 3);
    // Of twenty accesses one is a change, whatever the key.
    origin.keys.iter_mut().for_each(|(change, read)| *change = *read / 19.0);
    let mut engine = engine(0.02);
    origin.run(&mut engine, 400_000);
    let realised = origin.stale_rate() / 0.02;
    assert!((0.8..1.12).contains(&realised), "{realised}");
}

#[test]
fn it_loads_less_than_one_lifetime_for_all_that_is_as_stale() {
    let mut origin = Origin::new(2000, 3);
    let mut learned = engine(0.01);
    origin.run(&mut learned, 500_000);
    let (mut short, mut long) = (1.0f64, 1e6f64);
    let mut fixed = 1.0;
    for _ in 0..12 {
        let ttl = (short * long).sqrt();
        let mut other = Origin::new(2000, 3);
        other.run(&mut Engine::new(Freshness::fixed_ttl(Duration::from_secs_f64(ttl)), 1), 500_000);
        if other.stale_rate() <= origin.stale_rate() {
            (short, fixed) = (ttl, other.loads_a_read());
        } else {
            long = ttl;
        }
    }
    let ratio = origin.loads_a_read() / fixed;
    assert!(ratio < 0.8, "{ratio}: {} beside {fixed}", origin.loads_a_read());
}

#[test]
fn notices_make_it_cheaper() {
    let loads = |notice| {
        let mut origin = Origin::new(1000, 5);
        origin.notice = notice;
        let mut engine = engine(0.01);
        origin.run(&mut engine, 300_000);
        let share = engine.classes.all[0].notices.share();
        assert!((share - notice).abs() < 0.1, "{notice}: {share}");
        assert!(origin.stale_rate() < 0.0135, "{notice}: {}", origin.stale_rate());
        origin.loads_a_read()
    };
    let (none, half, most) = (loads(0.0), loads(0.5), loads(0.9));
    assert!(half < 0.85 * none && most < 0.6 * none, "{none} {half} {most}");
}

#[test]
fn a_fixed_lifetime_is_exact() {
    let ttl = Duration::from_secs(300);
    let starved = Freshness::stale_reads(0.01).unwrap().starting_ttl(ttl);
    for freshness in [Freshness::fixed_ttl(ttl), starved] {
        let mut engine = Engine::new(freshness, 1);
        let subject = engine.subject(KeyHash(7), "", 1, 0);
        let second = |at: u64| Time(at * 1_000_000);
        assert_eq!(engine.read(subject, second(10), false), Decision::Load);
        engine.loaded(subject, second(10), Loaded::new(second(10), Evidence::Changed));
        for at in 10..310 {
            assert_eq!(engine.read(subject, second(at), true), Decision::Serve, "{at}");
        }
        assert_eq!(engine.read(subject, second(310), true), Decision::Load);
    }
}

#[test]
fn a_share_of_the_age_is_exact_suspended_or_not() {
    let second = |at: u64| Time(at * 1_000_000);
    let rule = Freshness::share_of_age(0.1).unwrap().min_ttl(Duration::from_secs(5));
    let mut suspended = engine(0.01);
    suspended.suspend(Some(&rule));
    for mut engine in [Engine::new(rule, 1), suspended] {
        let subject = engine.subject(KeyHash(7), "", 1, 0);
        // Known for 5 s, then for 1005, then changed 16 s ago.
        let lives = [
            (10, 5_000, Evidence::Unchanged),
            (15, 5_000, Evidence::Unchanged),
            (1015, 100_500, Evidence::Unchanged),
            (1116, 5_000, Evidence::ChangedAt(second(1100))),
            (1200, 10_000, Evidence::Unchanged),
        ];
        for (at, millis, evidence) in lives {
            assert_eq!(engine.read(subject, second(at), true), Decision::Load, "{at}");
            let lifetime = Duration::from_millis(millis);
            assert_eq!(engine.loaded(subject, second(at), Loaded::new(second(at), evidence)).logical, lifetime, "{at}");
            let last = Time(second(at).0 + millis * 1000 - 1);
            assert!(engine.read(subject, last, true).is_served(), "{at}");
        }
        assert_eq!(engine.read(subject, second(1210), true), Decision::Load);
    }
}

#[test]
fn a_suspended_objective_owes_nothing_and_comes_back_wiser() {
    let ttl = Duration::from_secs(3000);
    let run = |engine: &mut Engine, origin: &mut Origin, events: usize| {
        let (before, reads, stale) = (engine.audited(), origin.reads, origin.stale);
        origin.run(engine, events);
        let truth = (origin.stale - stale) as f64 / (origin.reads - reads) as f64;
        (truth, (engine.audited() - before).share(3.0).unwrap())
    };
    let mut origin = Origin::new(2000, 3);
    let mut engine = engine(0.01);
    engine.suspend(Some(&Freshness::fixed_ttl(ttl)));
    let (truth, (_, low, high)) = run(&mut engine, &mut origin, 300_000);
    // As stale as such a lifetime is, whatever the objective; audits alone add loads.
    let mut fixed = Origin::new(2000, 3);
    fixed.run(&mut Engine::new(Freshness::fixed_ttl(ttl), 1), 300_000);
    assert!(truth > 0.03 && (truth / fixed.stale_rate() - 1.0).abs() < 0.1, "{truth} {}", fixed.stale_rate());
    assert!((low..=high).contains(&truth), "{low}..{high} {truth}");
    let loads = origin.loads_a_read() / fixed.loads_a_read();
    assert!((0.95..1.1).contains(&loads), "{loads}");

    engine.suspend(None);
    let (truth, (_, low, high)) = run(&mut engine, &mut origin, 300_000);
    assert!((0.8..1.2).contains(&(truth / 0.01)), "{truth}");
    assert!((low..=high).contains(&truth), "{low}..{high} {truth}");
}

#[test]
fn another_objective_is_kept_to_at_once_and_the_first_again() {
    let (own, other) = (Freshness::stale_reads(0.01).unwrap(), Freshness::stale_reads(0.05).unwrap());
    let objectives = [(&other, 0.05), (&own, 0.01)];
    // Reads, stale ones and loads under each objective. One run strays by a tenth and more, so there are several.
    let mut sums = [(0, 0, 0); 2];
    for seed in 3..8 {
        let mut origin = Origin::new(2000, seed);
        let mut engine = engine(0.01);
        origin.run(&mut engine, 300_000);
        for ((freshness, _), sum) in objectives.iter().zip(&mut sums) {
            engine.keep_to(freshness);
            let (before, reads, stale, loaded) = (engine.audited(), origin.reads, origin.stale, origin.loads);
            origin.run(&mut engine, 300_000);
            let (reads, stale) = (origin.reads - reads, origin.stale - stale);
            *sum = (sum.0 + reads, sum.1 + stale, sum.2 + origin.loads - loaded);
            let truth = stale as f64 / reads as f64;
            let (_, low, high) = (engine.audited() - before).share(3.0).unwrap();
            assert!((low..=high).contains(&truth), "{seed}: {low}..{high} {truth}");
        }
    }
    for ((_, share), (reads, stale, _)) in objectives.iter().zip(&sums) {
        let truth = *stale as f64 / *reads as f64;
        assert!((0.85..1.15).contains(&(truth / share)), "{truth} for {share}");
    }
    let loads = sums.map(|(reads, _, loads)| loads as f64 / reads as f64);
    assert!(loads[0] < 0.8 * loads[1], "{loads:?}");
}

#[test]
fn prefixes_keep_their_objective_or_have_that_of_the_other() {
    let ttl = |seconds| Freshness::fixed_ttl(Duration::from_secs(seconds));
    let own = ttl(100).with_prefix("a:", ttl(10)).with_prefix("b:", ttl(20));
    let mut engine = Engine::new(own.clone(), 1);
    let second = |at: u64| Time(at * 1_000_000);
    let lifetimes = |engine: &mut Engine| {
        ["a:1", "b:1", "c:1"].map(|key| {
            let subject = engine.subject(KeyHash::mix(key.as_bytes()[0].into()), key, 1, 0);
            engine.loaded(subject, second(1), Loaded::new(second(1), Evidence::Unknown)).logical.as_secs()
        })
    };
    assert_eq!(lifetimes(&mut engine), [10, 20, 100]);
    engine.keep_to(&ttl(7).with_prefix("b:", ttl(5)));
    assert_eq!(lifetimes(&mut engine), [10, 5, 7]);
    engine.keep_to(&own);
    assert_eq!(lifetimes(&mut engine), [10, 20, 100]);
}

#[test]
fn nothing_stale_under_leases() {
    let mut engine = Engine::new(Freshness::never_stale(), 1);
    let subject = engine.subject(KeyHash(7), "", 1, 0);
    let second = |at: u64| Time(at * 1_000_000);
    engine.loaded(subject, second(1), Loaded::new(second(1), Evidence::Unknown));
    assert_eq!(engine.read(subject, second(1), true), Decision::Load, "no lease");
    let leased = Loaded::new(second(1), Evidence::Unknown).lease(Duration::from_secs(60));
    engine.loaded(subject, second(1), leased);
    assert_eq!(engine.read(subject, second(60), true), Decision::Serve);
    assert_eq!(engine.read(subject, second(61), true), Decision::Load);
    assert_eq!(engine.failed(subject, second(61)), Decision::Load, "nothing stands in");
    engine.loaded(subject, second(70), leased);
    engine.changed(subject, second(71));
    assert_eq!(engine.read(subject, second(71), true), Decision::Load);
}

#[test]
fn a_late_load_does_not_bring_an_old_value_back() {
    let mut engine = engine(0.01);
    let subject = engine.subject(KeyHash(7), "", 1, 0);
    engine.loaded(subject, Time(10), Loaded::new(Time(10), Evidence::Digest(1)));
    engine.changed(subject, Time(30));
    engine.loaded(subject, Time(40), Loaded::new(Time(20), Evidence::Digest(1)));
    assert_eq!(engine.read(subject, Time(41), true), Decision::Load);
    engine.loaded(subject, Time(50), Loaded::new(Time(42), Evidence::Digest(2)));
    assert!(engine.read(subject, Time(51), true).is_served());
}

#[test]
fn an_origin_that_fails_is_served_from_what_is_there() {
    let mut engine = Engine::new(Freshness::stale_reads(0.01).unwrap().max_ttl(Duration::from_secs(100)), 1);
    let subject = engine.subject(KeyHash(7), "", 1, 0);
    engine.loaded(subject, Time(0), Loaded::new(Time(0), Evidence::Digest(1)));
    assert_eq!(engine.failed(subject, Time(99_000_000)), Decision::Serve);
    assert_eq!(engine.failed(subject, Time(100_000_000)), Decision::Load);
    let looks = engine.looks;
    engine.loaded(subject, Time(100_000_000), Loaded::new(Time(100_000_000), Evidence::Digest(2)));
    assert_eq!(engine.looks, looks, "an outage teaches nothing");
    engine.recovered();
    engine.loaded(subject, Time(200_000_000), Loaded::new(Time(200_000_000), Evidence::Digest(3)));
    assert_eq!(engine.looks, looks + 1);
}

#[test]
fn a_clock_that_stands_or_goes_back_is_borne() {
    let mut engine = engine(0.01);
    let mut rng = Rng::new(1);
    for at in 0..50_000u64 {
        let now = match at % 3 {
            0 => Time(1_000_000),
            1 => Time(u64::from(rng.below(u32::MAX)) << rng.below(32)),
            _ => Time(0),
        };
        let subject = engine.subject(KeyHash::mix(at % 17), "", rng.below(1000), 0);
        let mut load = Loaded::new(now, if rng.below(2) == 0 { Evidence::Changed } else { Evidence::Unchanged });
        match engine.read(subject, now, rng.below(8) > 0) {
            Decision::Audit(audit) => load = load.audit(audit),
            Decision::Load => {}
            _ => continue,
        }
        let lifetimes = engine.loaded(subject, now, load);
        assert!(
            lifetimes.logical <= Duration::from_secs(1 << 40) && lifetimes.physical <= Duration::from_secs(1 << 40)
        );
        if rng.below(10) == 0 {
            engine.changed(subject, now);
        }
    }
}

#[test]
fn objectives_go_by_prefix() {
    let tight = Freshness::stale_reads(0.001).unwrap();
    let tightest = Freshness::fixed_ttl(Duration::from_secs(1));
    let freshness =
        Freshness::stale_reads(0.1).unwrap().with_prefix("price:", tight).with_prefix("price:now:", tightest);
    let mut engine = Engine::new(freshness, 1);
    let mut group = |text: &str| {
        let subject = engine.subject(KeyHash::mix(text.len() as u64), text, 1, 0);
        engine.classes.all[usize::from(subject.class().0)].group
    };
    assert_eq!([group("user:1"), group("price:eur"), group("price:now:eur")], [0, 1, 2]);
}

#[test]
fn flipping_values_leave_the_objective_alone() {
    let mut engine = engine(0.01);
    let subject = engine.subject(KeyHash(7), "", 1, 0);
    let mut loads = 0;
    for at in 1..5000u64 {
        let now = Time(at * 1_000_000);
        if engine.read(subject, now, at > 1) != Decision::Serve {
            loads += 1;
            engine.loaded(subject, now, Loaded::new(now, Evidence::Digest(100 + loads % 2)));
        }
    }
    assert_eq!(engine.flipping().map(|(_, keys)| keys).sum::<u32>(), 1);
    assert!(loads < 1000, "{loads}");
    assert!(engine.audited().reads < 1000.0, "its reads are no part of what is measured: {:?}", engine.audited());
}

/// How many keys are marked after loads every 25 ms that each find the value changed.
fn marked_by(evidence: impl Fn(Time, u64) -> Evidence) -> u32 {
    let mut engine = engine(0.01);
    let subject = engine.subject(KeyHash::mix(1), "feed:1", 1, 0);
    for load in 0..40 {
        let began = Time(1_000_000_000 + 25_000 * load);
        engine.read(subject, began, load > 0);
        engine.loaded(subject, began.plus(Duration::from_millis(20)), Loaded::new(began, evidence(began, load)));
    }
    engine.flipping().map(|(_, keys)| keys).sum()
}

#[test]
fn a_value_that_stood_before_it_was_asked_for_does_not_flip() {
    let ago = |began: Time, millis: u64| Time(began.0 - 1000 * millis);
    assert_eq!(marked_by(|_, load| Evidence::Digest(load)), 1);
    // Who says so himself knows.
    assert_eq!(marked_by(|_, _| Evidence::Changed), 0);
    // The time of the answer is no time of a change.
    assert_eq!(marked_by(|began, _| Evidence::ChangedAt(began.plus(Duration::from_millis(10)))), 1);
    assert_eq!(marked_by(|began, _| Evidence::ChangedAt(ago(began, 10))), 0);
    // Nor where clocks differ, so that now and then it seems to have changed while it was asked for.
    assert_eq!(marked_by(|began, load| Evidence::ChangedAt(ago(began, 100 * (load % 7)))), 0);
}

#[test]
fn an_audit_in_the_moment_of_the_load_is_answered() {
    let mut engine = engine(0.01);
    let (subject, now) = (engine.subject(KeyHash(7), "", 1, 0), Time(1_000_000));
    for at in 0..100_000 {
        let changed = if at < 50_000 { Evidence::Unchanged } else { Evidence::Changed };
        let load = Loaded::new(now, changed);
        match engine.read(subject, now, at > 0) {
            Decision::Audit(audit) => _ = engine.loaded(subject, now, load.audit(audit)),
            Decision::Load => _ = engine.loaded(subject, now, load),
            _ => {}
        }
    }
    let Audited { drawn, answered, stale, .. } = engine.audited();
    assert!(
        drawn > 0.0 && answered == drawn && (0.2..0.8).contains(&(stale / drawn)),
        "{stale} of {drawn}, {answered}"
    );
}

#[test]
fn memory_is_bounded_and_runs_repeat() {
    let run = |seed| {
        let mut engine = engine(0.01).with_most_keys(100);
        let mut origin = Origin::new(1000, seed);
        origin.run(&mut engine, 20_000);
        assert!(engine.records.len() <= 100 && engine.index.len() == engine.records.len());
        (origin.loads, origin.stale)
    };
    assert_eq!(run(1), run(1));
}

#[test]
fn what_the_store_let_go_of_is_still_evidence() {
    let mut engine = engine(0.01);
    let subject = engine.subject(KeyHash(7), "", 1, 0);
    let hour = |at: u64| Time(at * 3_600_000_000);
    let mut load = |at: u64, digest: u64| {
        assert_eq!(engine.read(subject, hour(at), false), Decision::Load);
        engine.loaded(subject, hour(at), Loaded::new(hour(at), Evidence::Digest(digest)));
        engine.looks
    };
    assert_eq!([load(1, 5), load(2, 5), load(3, 6)], [0, 1, 2]);
    // A notice has told of the change: nothing is to be learned from finding it.
    engine.changed(subject, hour(4));
    engine.read(subject, hour(5), false);
    engine.loaded(subject, hour(5), Loaded::new(hour(5), Evidence::Digest(7)));
    assert_eq!(engine.looks, 2);
}

#[test]
fn a_hot_value_is_not_served_after_a_notice_or_once_it_is_gone() {
    let mut engine = engine(0.01);
    let subject = engine.subject(KeyHash(7), "", 1, 0);
    let at = |millis: u64| Time(1_000_000 + millis * 1000);
    let warm = |engine: &mut Engine, from: u64| {
        engine.loaded(subject, at(from), Loaded::new(at(from), Evidence::Unchanged));
        for millis in 1..50 {
            assert!(engine.read(subject, at(from + millis), true).is_served(), "{millis}");
        }
    };
    engine.read(subject, at(0), false);
    warm(&mut engine, 0);
    engine.changed(subject, at(50));
    assert_eq!(engine.read(subject, at(50), true), Decision::Load);
    warm(&mut engine, 60);
    assert_eq!(engine.read(subject, at(111), false), Decision::Load);
    assert_eq!(engine.read(subject, at(111), true), Decision::Load, "it was gone: what is there now was not loaded");
}

#[test]
fn reads_renew_what_memory_is_worth() {
    let secs = Duration::from_secs;
    let read_twice = |rent: f64| {
        let freshness = Freshness::stale_reads(0.01).unwrap().max_ttl(secs(10_000)).rent(rent);
        let mut engine = Engine::new(freshness, 1);
        let subject = engine.subject(KeyHash(7), "", 100, 0);
        engine.read(subject, Time(1_000_000), false);
        let lifetimes = engine.loaded(subject, Time(1_000_000), Loaded::new(Time(1_000_000), Evidence::Changed));
        engine.read(subject, Time(2_000_000), true);
        (lifetimes, engine.worth(subject))
    };
    let (free, renewed) = read_twice(0.0);
    assert_eq!((free.physical, renewed), (secs(10_000), None), "free memory needs no renewing");
    let (cheap, renewed) = read_twice(1e-9);
    assert_eq!(cheap.physical, (3 * cheap.logical).min(secs(10_000)), "what has long expired leaves");
    assert_eq!(renewed.unwrap().as_secs(), (cheap.physical - secs(1)).as_secs());
    let (dear, _) = read_twice(1.0);
    assert_eq!(dear.physical, Duration::ZERO);
}

#[test]
fn what_comes_back_from_another_cache_is_no_second_look() {
    let secs = |seconds: u64| Time(seconds * 1_000_000);
    let mut engine = engine(0.01);
    let subject = engine.subject(KeyHash(7), "", 1, 0);
    let load = |engine: &mut Engine, began: u64, now: u64, version: u64| {
        engine.read(subject, secs(now), false);
        engine.loaded(subject, secs(now), Loaded::new(secs(began), Evidence::Digest(version)));
        let record = engine.record(subject.key).unwrap();
        (record.changes.looks, record.changes.seen, record.cached.loaded(), record.cached.served_stale)
    };
    assert_eq!(load(&mut engine, 1, 1, 1), (0, 0, Some(secs(1)), 0.0));
    engine.records[0].cached.served_stale = 0.5;
    // Memory let go of it; the tier still has it. Nobody asked the origin since.
    assert_eq!(load(&mut engine, 1, 60, 1), (0, 0, Some(secs(1)), 0.5));
    // Another process asked at second 40; what happened since then is not known.
    assert_eq!(load(&mut engine, 40, 70, 1), (1, 0, Some(secs(40)), 0.0));
    let exposure = engine.records[0].changes.rate.beta();
    assert_eq!(load(&mut engine, 70, 70, 1), (2, 0, Some(secs(70)), 0.0));
    assert!(engine.records[0].changes.rate.beta() > exposure);
    // An older copy, of another version, is no change and no change back.
    assert_eq!(load(&mut engine, 30, 80, 0), (2, 0, Some(secs(30)), 0.0));
    assert!(!engine.records[0].flips.is_marked());
}

#[test]
fn the_first_read_of_a_key_ends_no_gap() {
    let mut engine = engine(0.01);
    let read = |engine: &mut Engine, key: u64, seconds: u64| {
        let subject = engine.subject(KeyHash::mix(key), "page:1", 1, 0);
        engine.read(subject, Time(seconds * 1_000_000), false);
        engine.record(subject.key).unwrap().reads.rate()
    };
    // Keys that are read each hundred seconds.
    for key in 0..50 {
        for at in 0..3 {
            read(&mut engine, key, 1000 * key + 100 * at);
        }
    }
    let young = read(&mut engine, 99, 100_000);
    assert!((young / 0.01 - 1.0).abs() < 0.01, "what its class does: {young}");
    let known = read(&mut engine, 99, 100_100);
    assert!((known / 0.01 - 1.0).abs() < 0.01, "{known}");
}

#[test]
fn profiles_of_forgotten_keys_are_used_again() {
    let mut engine = engine(0.05).with_most_keys(64);
    // One key after another, each of which changes at each of five reads.
    for read in 0..5000 {
        let now = Time((read + 1) * 60_000_000);
        let subject = engine.subject(KeyHash::mix(read / 5), "", 1, 0);
        engine.read(subject, now, false);
        engine.loaded(subject, now, Loaded::new(now, Evidence::Digest(read)));
    }
    assert!((1..=64).contains(&engine.hours.len()), "{}", engine.hours.len());
}

#[test]
fn an_audit_that_the_origin_does_not_answer_certifies_nothing() {
    let mut engine = engine(0.05);
    let subject = engine.subject(KeyHash(7), "", 1, 0);
    let mut audits = 0;
    for at in 1..200_000 {
        let now = Time(at * 1_000_000);
        let mut load = Loaded::new(now, Evidence::Unknown);
        match engine.read(subject, now, at > 1) {
            Decision::Serve => continue,
            Decision::Audit(audit) => (load, audits) = (load.audit(audit), audits + 1),
            Decision::Load | Decision::ServeAndRefresh => {}
        }
        engine.loaded(subject, now, load);
    }
    assert!(audits > 20);
    assert!(engine.measured(None).is_none_or(|measured| !measured.is_certifiable), "{:?}", engine.measured(None));
}

#[test]
fn reads_served_by_a_starting_lifetime_are_not_said_to_be_fresh() {
    let start = Duration::from_secs(1 << 30);
    let mut engine = Engine::new(Freshness::stale_reads(0.01).unwrap().max_ttl(2 * start).starting_ttl(start), 1);
    let mut origin = Origin::new(10, 2);
    origin.run(&mut engine, 20_000);
    assert!(origin.stale_rate() > 0.1);
    assert_eq!(engine.audited().reads, 10.0, "but the first of each key, which was loaded");
}

#[test]
fn changes_are_seen_by_whatever_clock_their_times_are_told() {
    for skew in [-600, -60, 0, 60, 600] {
        let second = |seconds: u64| Time(1_000_000 * seconds);
        let mut engine = engine(0.01);
        let subject = engine.subject(KeyHash(7), "", 1, 0);
        for load in 0..200 {
            let now = second(1_000_000 + 5 * load);
            // It changes every 20 s.
            let changed = Time(second(1_000_000 + load / 4 * 20).0.saturating_add_signed(skew * 1_000_000));
            engine.read(subject, now, load > 0);
            engine.loaded(subject, now, Loaded::new(now, Evidence::ChangedAt(changed)));
            // What was announced is no surprise, and the next time is compared all the same.
            if load == 100 {
                engine.changed(subject, now);
            }
        }
        let seen = engine.records[0].changes.seen;
        assert!((48..=51).contains(&seen), "{skew} s: {seen} changes");
    }
}
