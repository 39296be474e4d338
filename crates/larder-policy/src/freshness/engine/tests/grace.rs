//! What is published where outdated values are borne for a while, beside the truth.

use super::*;

const GRACE: f64 = 30.0;
const KEYS: u64 = 1500;
const SPAN: f64 = 4.0 * 86_400.0;

/// A feed: each change is followed by six reads within seconds, so that what is read when it has changed has mostly changed just now. The share of stale
/// reads, and what is published of it.
fn feed(evidence: fn(u64, Time) -> Evidence, seed: u64) -> (f64, Measured) {
    let mut rng = Rng::new(seed);
    let mut wait = |mean: f64| -mean * (1.0 - rng.unit()).ln();
    let mut events = Vec::new();
    for key in 0..KEYS {
        let mut at = wait(3600.0);
        while at < SPAN {
            events.push((at, key, false));
            at += wait(3600.0);
        }
        let mut at = wait(4.0 * 3600.0);
        while at < SPAN {
            events.push((at, key, true));
            events.extend((0..6).map(|_| (at + wait(10.0), key, false)));
            at += wait(4.0 * 3600.0);
        }
    }
    events.sort_by(|one, other| one.0.total_cmp(&other.0));
    let freshness = Freshness::stale_reads(0.01).unwrap().max_ttl(Duration::from_secs(1 << 40));
    let mut engine = Engine::new(freshness.older_than(Duration::from_secs_f64(GRACE)), seed);
    // Of each key its version, when it last changed, and when the value held was first outdated; none is held at first.
    let mut keys = vec![(1u64, Time(0), None::<Option<f64>>); KEYS as usize];
    let (mut reads, mut stale) = (0.0, 0.0);
    for (at, key, is_change) in events {
        let now = Time(1_000_000_000 + (at * 1e6) as u64);
        let (version, last, held) = &mut keys[key as usize];
        if is_change {
            (*version, *last) = (*version + 1, now);
            *held = held.map(|outdated| outdated.or(Some(at)));
            continue;
        }
        reads += 1.0;
        let subject = engine.subject(KeyHash::mix(key), "", 1, 0);
        let decision = engine.read(subject, now, held.is_some());
        if decision.is_served() && held.flatten().is_some_and(|outdated| at - outdated > GRACE) {
            stale += 1.0;
        }
        let mut load = Loaded::new(now, evidence(*version, *last));
        match decision {
            Decision::Serve => continue,
            Decision::Audit(audit) => load = load.audit(audit),
            Decision::Load | Decision::ServeAndRefresh => {}
        }
        engine.loaded(subject, now, load);
        *held = Some(None);
    }
    (stale / reads, engine.measured(None).unwrap())
}

#[test]
fn without_times_of_change_the_interval_bounds_the_truth() {
    for seed in 1..=4 {
        let (truth, measured) = feed(|version, _| Evidence::Digest(KeyHash::mix(version).0), seed);
        assert!((measured.low..=measured.high).contains(&truth), "{truth} {measured:?}");
        assert!(!measured.is_certifiable || (measured.high <= 0.01) == (truth <= 0.01), "{truth} {measured:?}");
    }
}

#[test]
fn times_of_change_are_measured_by() {
    for seed in 1..=4 {
        let (truth, measured) = feed(|_, last| Evidence::ChangedAt(last), seed);
        assert!((measured.low..=measured.high).contains(&truth), "{truth} {measured:?}");
    }
}

#[test]
fn reads_whose_origin_fails_are_no_part_of_anything() {
    let mut engine = engine(0.01);
    let subject = engine.subject(KeyHash(7), "", 1, 0);
    for second in 1..3000u64 {
        let now = Time(second * 1_000_000);
        if engine.read(subject, now, true).is_served() {
            continue;
        }
        // For half an hour the origin is down.
        if (600..2400).contains(&second) {
            assert!(engine.failed(subject, now).is_served());
            engine.unserved(subject);
        } else {
            engine.recovered();
            engine.loaded(subject, now, Loaded::new(now, Evidence::Digest(second)));
        }
        match second {
            599 => assert!(engine.audited().reads > 590.0, "all count: {:?}", engine.audited()),
            2399 => assert!(engine.audited().reads < 700.0, "none of these: {:?}", engine.audited()),
            _ => {}
        }
    }
}

#[test]
fn a_start_earns_nothing_for_later() {
    let start = Duration::from_secs(1 << 30);
    let freshness = Freshness::stale_reads(0.01).unwrap().max_ttl(2 * start);
    let before = Engine::new(freshness.clone(), 1).groups[0].controller.threshold();
    let mut engine = Engine::new(freshness.starting_ttl(start), 1);
    Origin::new(10, 2).run(&mut engine, 20_000);
    assert_eq!(engine.groups[0].controller.threshold(), before);
}
