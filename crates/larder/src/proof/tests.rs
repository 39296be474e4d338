//! Caches driven through slices by hand.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use larder_policy::admission::Admission;
use larder_policy::eviction::Arrival;
use larder_policy::experiment::{Breach, Event, Won};
use larder_policy::freshness::Audited;
use larder_policy::{Access, Capacity, KeyHash, Policy, PolicySpec, Rng, Time};

use tokio::sync::oneshot;

use super::Control;
use crate::report::ControlReport;
use crate::sync::Mutex;
use crate::{Builder, Cache, Clock, Fetched, Freshness, Options};

const CAPACITY: u64 = 2000;
/// Keys of the traffic for each entry there may be.
const KEYS: f64 = 10.0;

struct Service {
    cache: Cache<u64, u64>,
    clock: Clock,
    rng: Rng,
    keys: f64,
}

impl Service {
    fn new(control: Control, change: impl FnOnce(Builder<u64, u64>) -> Builder<u64, u64>) -> Self {
        Self::with_clock(control, |builder, _| change(builder))
    }

    fn with_clock(control: Control, change: impl FnOnce(Builder<u64, u64>, Clock) -> Builder<u64, u64>) -> Self {
        let clock = Clock::manual(Time(1_000_000));
        // Slices end when the test says so.
        let control =
            control.slice(Duration::from_secs(3600)).with(|settings| settings.cool_down = Duration::from_secs(60));
        let freshness = Freshness::fixed_ttl(Duration::from_secs(24 * 3600));
        let builder = Cache::builder().capacity(CAPACITY).clock(clock.clone()).seed(7).freshness(freshness);
        let cache = change(builder.control(control), clock.clone()).build().unwrap();
        let keys = KEYS * cache.stats().capacity as f64;
        Self { cache, clock, rng: Rng::new(3), keys }
    }

    /// A slice of cache-aside reads with a skewed popularity; what happened, and the hit ratio.
    fn slice(&mut self, reads: u32) -> (Option<Event>, f64) {
        let mut hits = 0;
        for _ in 0..reads {
            let key = (self.rng.unit().powi(4) * self.keys) as u64;
            match self.cache.local(&key) {
                Some(_) => hits += 1,
                None => self.cache.insert_local(key, key, Options::new().tag((key % 64).to_string())),
            }
        }
        self.clock.advance(Duration::from_secs(1));
        (self.cache.inner.store.end_slice(), f64::from(hits) / f64::from(reads))
    }

    fn control(&self) -> ControlReport {
        self.cache.report().control.unwrap()
    }
}

/// Once full, lets one newcomer in a hundred in, whoever it is.
struct Closed(u32);

impl Admission for Closed {
    fn record(&mut self, _: &Access, _: bool) {}

    fn admit(&mut self, _: &Arrival, victim: Option<KeyHash>) -> bool {
        self.0 += 1;
        victim.is_none() || self.0.is_multiple_of(100)
    }

    fn bytes(&self) -> usize {
        0
    }
}

fn poisoned(capacity: Capacity, seed: u64) -> Policy {
    let mut policy = "fifo".parse::<PolicySpec>().unwrap().build(capacity, seed);
    policy.admission = Some(Box::new(Closed(0)));
    policy
}

#[tokio::test]
async fn a_policy_that_is_its_own_control_gains_nothing() {
    let mut service = Service::new(Control::beside("lru"), |builder| builder.policy("lru"));
    (0..40).for_each(|_| _ = service.slice(5000));
    let control = service.control();
    assert_eq!((control.state, control.treated, control.rollbacks), ("adopted", 1, 0));
    // One segment, all keys sampled: the ghost is the cache itself.
    assert_eq!((control.gain, control.low, control.high), (0.0, 0.0, 0.0));
    assert!(control.refusals.is_empty(), "{:?}", control.refusals);
    assert!((control.hit_ratio - control.control_hit_ratio).abs() < 1e-12 && control.hit_ratio > 0.3);
    service.cache.validate();
}

#[tokio::test]
async fn what_is_void_is_void_for_the_control_too() {
    let mut service = Service::new(Control::beside("lru"), |builder| builder.policy("lru"));
    for slice in 0..40u64 {
        service.slice(5000);
        service.cache.remove_tag(&slice.to_string()).await.unwrap();
        for key in (slice..CAPACITY).step_by(64) {
            service.cache.changed(&key).await.unwrap();
        }
    }
    let control = service.control();
    assert_eq!((control.gain, control.low, control.high), (0.0, 0.0, 0.0));
    // One of them may hold what the other refused.
    let service = Service::new(Control::beside("lru"), |builder| builder.policy_with(poisoned));
    let local = |key: u64| service.cache.local(&key).is_some();
    for slice in 0..10 {
        for key in 1000 * slice..1000 * (slice + 1) {
            let was_here = local(key);
            service.cache.insert_local(key, key, Options::default());
            service.cache.changed(&key).await.unwrap();
            assert!(!was_here && !local(key));
        }
        service.clock.advance(Duration::from_secs(1));
        service.cache.inner.store.end_slice();
    }
    let control = service.control();
    assert_eq!((control.hit_ratio, control.control_hit_ratio), (0.0, 0.0), "{control:?}");
}

#[tokio::test]
async fn the_gain_is_what_two_caches_differ_by() {
    let run = |policy: &'static str, segments: usize, seed: u64| {
        let mut service = Service::new(Control::beside("lru"), |builder| {
            let capacity = CAPACITY * segments as u64;
            builder.policy(policy).segments(segments).capacity(capacity).seed(seed)
        });
        // The traffic of eight segments is eight times as much.
        (0..40).for_each(|_| _ = service.slice(3000 * segments as u32));
        service.control()
    };
    // Of six intervals of 95 % two miss with a probability of 3 %.
    let mut missed = 0;
    for (segments, seed) in [(1, 1), (8, 1), (8, 2)] {
        let (ours, control) = (run("s3fifo", segments, seed), run("lru", segments, seed));
        let truth = ours.hit_ratio - control.hit_ratio;
        assert!(truth > 0.05 && ours.low > 0.0, "{truth} {ours:?}");
        assert!((ours.gain - truth).abs() < 0.005, "{segments}: {} for {truth}", ours.gain);
        missed += u32::from(!(ours.low..=ours.high).contains(&truth));
        missed += u32::from(!(control.low..=control.high).contains(&0.0));
    }
    assert!(missed <= 1, "{missed} of 6 intervals miss");
}

/// Reads through a loader that answers a thousand reads later.
async fn with_slow_loads(policy: &str) -> ControlReport {
    // Of one that is rolled back nothing is told: none is, however much worse.
    let control = Control::beside("lru").with(|settings| settings.guardrails.hit_ratio = 1.0);
    let mut service = Service::new(control, |builder| builder.policy(policy));
    let under_way = Arc::new(Mutex::new(VecDeque::<(u32, oneshot::Sender<()>)>::new()));
    for now in 0..160_000 {
        let next = || under_way.lock().pop_front_if(|(due, _)| *due <= now);
        while let Some((_, answer)) = next() {
            answer.send(()).unwrap();
            tokio::task::yield_now().await;
        }
        let key = (service.rng.unit().powi(4) * service.keys) as u64;
        let (cache, under_way) = (service.cache.clone(), under_way.clone());
        let load = async move || {
            let (answer, answered) = oneshot::channel();
            under_way.lock().push_back((now + 1000, answer));
            answered.await.unwrap();
            Ok::<_, Infallible>(key)
        };
        tokio::spawn(async move { cache.get_with(&key, load).await });
        // The reader opens the load, and the load begins.
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        service.clock.advance(Duration::from_micros(100));
        if now % 4000 == 3999 {
            service.cache.inner.store.end_slice();
        }
    }
    service.control()
}

#[tokio::test]
async fn the_gain_is_right_where_many_wait_for_a_load() {
    let control = with_slow_loads("lru").await;
    assert_eq!((control.gain, control.low, control.high), (0.0, 0.0, 0.0));
    for policy in ["s3fifo", "fifo"] {
        let ours = with_slow_loads(policy).await;
        let truth = ours.hit_ratio - control.hit_ratio;
        assert!(truth.abs() > 0.01 && (ours.gain - truth).abs() < 0.005, "{policy}: {} for {truth}", ours.gain);
    }
}

#[tokio::test]
async fn a_poisoned_policy_is_rolled_back_and_may_come_again() {
    let mut service = Service::new(Control::beside("lru"), |builder| builder.policy_with(poisoned));
    let rolled_back = (0..20).position(|_| matches!(service.slice(5000).0, Some(Event::RolledBack { .. })));
    assert!(rolled_back.is_some(), "{:?}", service.control());
    let control = service.control();
    assert_eq!((control.state, control.treated, control.rollbacks), ("cooling-down", 0, 1));
    assert!(control.last_breach.as_deref().is_some_and(|why| why.contains("hit ratio")), "{control:?}");
    assert_eq!(control.resumes_in, Some(60.0));
    // The entries stayed, and the control does better with them.
    assert_eq!(service.cache.stats().entries, CAPACITY as usize);
    (0..10).for_each(|_| _ = service.slice(5000));
    assert_eq!(service.control().treated, 0);
    assert!(service.cache.resume());
    assert_eq!((service.control().state, service.control().treated), ("adopted", 1));
    service.cache.validate();
}

#[tokio::test]
async fn whoever_is_asked_to_rolls_back_and_resumes() {
    let mut service = Service::new(Control::beside("lru"), |builder| builder.policy("sieve"));
    service.slice(1000);
    assert!(service.cache.roll_back());
    let control = service.control();
    assert_eq!((control.state, control.last_breach.as_deref()), ("cooling-down", Some("somebody asked for it")));
    // The cool-down is over by itself.
    let restarted = (0..70).any(|_| matches!(service.slice(10).0, Some(Event::Restarted)));
    assert!(restarted && service.control().state == "adopted");
    let none = Service::new(Control::none(), |builder| builder);
    assert!(!none.cache.roll_back() && !none.cache.resume());
    assert!(none.cache.report().control.is_none() && none.cache.inner.store.end_slice().is_none());
}

#[tokio::test]
async fn a_careful_start_goes_by_steps() {
    let mut service = Service::new(Control::beside("lru").holdout(0.05).ramped(), |builder| {
        builder.policy("s3fifo").capacity(16 * CAPACITY)
    });
    assert_eq!((service.control().state, service.control().treated, service.control().parts), ("baseline", 0, 64));
    let mut shares = Vec::new();
    let mut adopted = false;
    for _ in 0..400 {
        match service.slice(20_000).0 {
            Some(Event::Ramped { share }) => shares.push(share),
            Some(Event::Adopted { won: Won::HitRatio { effect } }) => {
                assert!(effect > 0.0);
                adopted = true;
                break;
            }
            Some(other) => panic!("{other:?}: {:?}", service.control()),
            None => {}
        }
    }
    assert_eq!(shares, [0.05, 0.25, 0.5]);
    let control = service.control();
    assert!(adopted, "{control:?}");
    // ⌈0.05 · 64⌉ stay with the control.
    assert_eq!((control.state, control.treated), ("adopted", 60));
    assert!(control.arms.is_some());
}

#[tokio::test]
async fn other_sizes_are_what_other_caches_hit() {
    let run = |capacity: u64| {
        let mut service = Service::new(Control::beside("lru"), |builder| builder.policy("lru").capacity(capacity));
        service.keys = KEYS * CAPACITY as f64;
        (0..60).for_each(|_| _ = service.slice(5000));
        service.control()
    };
    let sizes = run(CAPACITY).sizes;
    for scale in [0.5, 1.0, 2.0] {
        let foreseen = sizes.iter().find(|size| size.scale == scale).unwrap().hit_ratio;
        let truth = run((CAPACITY as f64 * scale) as u64).hit_ratio;
        // A quarter of the keys is sampled.
        assert!((foreseen - truth).abs() < 0.02, "{scale}: {foreseen} for {truth}");
    }
}

#[tokio::test]
async fn what_a_control_cannot_be_is_refused() {
    let build = |control: Control| Cache::<u64, u64>::builder().capacity(100).control(control).build();
    let error = build(Control::beside("best")).unwrap_err();
    assert!(error.to_string().contains("best"), "{error}");
    let error = build(Control::beside("lru").holdout(1.5)).unwrap_err();
    assert!(error.to_string().contains("hold-out"), "{error}");
    assert!(build(Control::beside("belady")).is_err());
}

#[tokio::test]
async fn who_chose_a_classical_policy_keeps_it() {
    let control = |policy: &str| {
        let cache: Cache<u64, u64> = Cache::builder().capacity(100).policy(policy).build().unwrap();
        cache.report().control.map(|control| control.policy)
    };
    assert_eq!(control("learned").as_deref(), Some("wtinylfu"));
    assert_eq!(control("lru"), None);
}

/// A slice of reads through the loader, of keys of which half change every ten seconds; what happened.
async fn read_through(cache: &Cache<u64, u64>, clock: &Clock, rng: &mut Rng) -> Option<Event> {
    for _ in 0..2000 {
        let key = (rng.unit() * 1000.0) as u64;
        let origin = clock.clone();
        let every = if key.is_multiple_of(2) { 10_000_000 } else { 1 << 60 };
        let version = move || (origin.now().0 + key * 7919) / every;
        cache.get_with(&key, move || async move { Ok::<_, Infallible>(Fetched::from(version())) }).await.unwrap();
        clock.advance(Duration::from_micros(500));
        // Audits run beside the reads.
        tokio::task::yield_now().await;
    }
    cache.inner.store.end_slice()
}

#[tokio::test]
async fn lifetimes_on_trial_win_where_the_control_is_stale_or_loads_too_often() {
    let trial = async |control: Control| {
        let clock = Clock::manual(Time(1_000_000));
        // More than the objective, so that a short trial can tell.
        let control = control.ramped().slice(Duration::from_secs(3600));
        let control = control.with(|settings| settings.guardrails.stale = Some(0.1));
        let builder = Cache::builder().capacity(4096).segments(64).policy("lru").clock(clock.clone()).seed(7);
        let builder = builder.digest(|value: &u64| *value);
        let cache = builder.freshness(Freshness::stale_reads(0.02).unwrap()).control(control).build().unwrap();
        let (mut rng, mut before) = (Rng::new(3), None);
        for _ in 0..400 {
            match read_through(&cache, &clock, &mut rng).await {
                Some(Event::Ramped { .. }) | None => before = cache.report().control,
                Some(event) => return (event, before.unwrap(), cache.report().control.unwrap()),
            }
        }
        panic!("nothing was said: {before:?}")
    };
    // As stale as half of ten seconds in thirty.
    let (event, before, report) = trial(Control::beside("lru").ttl(Duration::from_secs(30))).await;
    let Event::Adopted { won: Won::Stale { rate, control } } = event else { panic!("{event:?} {report:?}") };
    assert!(rate < 0.06 && control > 0.15, "{rate} {control}");
    assert_eq!((report.state, report.ttl), ("adopted", Some(30.0)));
    // Fresh enough, and all that does not change is loaded ten times a second.
    let stale = before.arms.unwrap().control_stale.unwrap();
    assert!(stale.low > 0.1 && stale.is_certifiable, "{stale:?}");
    let (event, before, report) = trial(Control::beside("lru").ttl(Duration::from_millis(100))).await;
    let Event::Adopted { won: Won::OriginLoads { saved, .. } } = event else { panic!("{event:?} {report:?}") };
    assert!(saved > 0.3, "{saved}");
    let arms = before.arms.unwrap();
    let loads = arms.origin_loads.unwrap();
    assert!(arms.stale.unwrap().rate < 0.06 && loads.change < -0.3 && loads.p_less < 0.01, "{arms:?}");
    // What changes lives a fiftieth of ten seconds at most, and what does not is looked at again and again.
    let alex = Freshness::share_of_age(0.02).unwrap();
    let (event, before, report) = trial(Control::beside("lru").freshness(alex)).await;
    let Event::Adopted { won: Won::OriginLoads { saved, .. } } = event else { panic!("{event:?} {report:?}") };
    assert!(saved > 0.1 && before.arms.unwrap().control_stale.unwrap().high < 0.1, "{saved} {report:?}");
    assert_eq!((report.ttl, report.age_share), (None, Some(0.02)));
}

#[tokio::test]
async fn lifetimes_that_turn_out_stale_are_taken_back() {
    let clock = Clock::manual(Time(1_000_000));
    let control = Control::beside("lru").ttl(Duration::from_secs(1)).slice(Duration::from_secs(3600));
    // Far below the objective that lifetimes are chosen by: as if the model were wrong.
    let control = control.with(|settings| settings.guardrails.stale = Some(0.01));
    let builder = Cache::builder().capacity(4096).segments(8).policy("lru").clock(clock.clone()).seed(7);
    let builder = builder.digest(|value: &u64| *value);
    let cache = builder.freshness(Freshness::stale_reads(0.2).unwrap()).control(control).build().unwrap();
    let mut rng = Rng::new(3);
    let mut breach = None;
    for _ in 0..200 {
        if let Some(Event::RolledBack { breach: why, .. }) = read_through(&cache, &clock, &mut rng).await {
            breach = Some(why);
            break;
        }
    }
    assert!(matches!(breach, Some(Breach::Stale { at_least }) if at_least > 0.01), "{breach:?}");
    // From now on everything lives for a second: of ten, less than a tenth is stale.
    let audited = |cache: &Cache<u64, u64>| cache.report().freshness.measured.unwrap().rate;
    let before = audited(&cache);
    for _ in 0..100 {
        read_through(&cache, &clock, &mut rng).await;
    }
    assert!(audited(&cache) < before, "{before}");
    assert_eq!(cache.report().control.unwrap().treated, 0);
}

#[tokio::test]
async fn one_objective_is_tried_beside_another() {
    let trial = async |own: f64, control: f64, most: Option<f64>| {
        let clock = Clock::manual(Time(1_000_000));
        let control = Control::beside("lru").freshness(Freshness::stale_reads(control).unwrap()).ramped();
        let control = control.slice(Duration::from_secs(3600)).with(|settings| settings.guardrails.stale = most);
        let builder = Cache::builder().capacity(4096).segments(64).policy("lru").clock(clock.clone()).seed(7);
        let builder = builder.digest(|value: &u64| *value).freshness(Freshness::stale_reads(own).unwrap());
        let cache = builder.control(control).build().unwrap();
        let (mut rng, mut before) = (Rng::new(3), None);
        for _ in 0..400 {
            match read_through(&cache, &clock, &mut rng).await {
                Some(Event::Ramped { .. }) | None => before = cache.report().control,
                Some(event) => return (event, before.unwrap(), cache.report().control.unwrap()),
            }
        }
        panic!("nothing was said: {before:?}")
    };
    // Staler by what was asked for, and that many loads fewer.
    let (event, before, after) = trial(0.15, 0.02, Some(0.3)).await;
    let Event::Adopted { won: Won::OriginLoads { saved, .. } } = event else { panic!("{event:?} {before:?}") };
    assert_eq!((before.objective, before.ttl), (Some(0.02), None));
    let arms = before.arms.unwrap();
    let (loads, stale, control) = (arms.origin_loads.unwrap(), arms.stale.unwrap(), arms.control_stale.unwrap());
    let (low, high) = (loads.low.unwrap(), loads.high.unwrap());
    assert!(saved > 0.1 && low <= loads.change && loads.change <= high && high < 0.0, "{loads:?}");
    assert!(stale.high < 0.3 && control.high < 0.3 && stale.low <= stale.rate, "{arms:?}");
    assert_eq!((after.state, after.treated), ("adopted", 64));
}

#[tokio::test]
async fn a_rollback_brings_the_controls_objective_back() {
    let clock = Clock::manual(Time(1_000_000));
    let share = |share: f64| Freshness::stale_reads(share).unwrap();
    let control = Control::beside("lru").freshness(share(0.02)).slice(Duration::from_secs(3600));
    let control = control.with(|settings| settings.guardrails.stale = Some(0.05));
    let builder = Cache::builder().capacity(4096).segments(8).policy("lru").clock(clock.clone()).seed(7);
    let builder = builder.digest(|value: &u64| *value).freshness(share(0.2));
    let cache = builder.control(control).build().unwrap();
    let mut rng = Rng::new(3);
    let mut breach = None;
    for _ in 0..400 {
        if let Some(Event::RolledBack { breach: why, .. }) = read_through(&cache, &clock, &mut rng).await {
            breach = Some(why);
            break;
        }
    }
    assert!(matches!(breach, Some(Breach::Stale { at_least }) if at_least > 0.05), "{breach:?}");
    assert_eq!(cache.report().control.unwrap().treated, 0);
    let audited = || {
        cache.inner.store.lock_all().fold(Audited::default(), |mut sum, segment| {
            sum += segment.engine.as_ref().unwrap().audited();
            sum
        })
    };
    let before = audited();
    for _ in 0..150 {
        read_through(&cache, &clock, &mut rng).await;
    }
    let after = audited() - before;
    assert!(after.stale / after.reads < 0.05, "{after:?}");
}

/// Takes its time over each access.
struct Slow(Clock);

impl Admission for Slow {
    fn record(&mut self, _: &Access, _: bool) {
        self.0.advance(Duration::from_micros(50));
    }

    fn admit(&mut self, _: &Arrival, _: Option<KeyHash>) -> bool {
        true
    }

    fn bytes(&self) -> usize {
        0
    }
}

#[tokio::test]
async fn a_policy_that_slows_reads_down_is_rolled_back_for_that() {
    let mut service = Service::with_clock(Control::beside("lru").ramped(), |builder, clock| {
        let slow = move |capacity, seed| {
            let mut policy = "lru".parse::<PolicySpec>().unwrap().build(capacity, seed);
            policy.admission = Some(Box::new(Slow(clock.clone())));
            policy
        };
        builder.policy_with(slow).capacity(16 * CAPACITY)
    });
    // Only hits are timed here, one in 64: a part needs a hundred.
    let breach = (0..60).find_map(|_| match service.slice(200_000).0 {
        Some(Event::RolledBack { breach, .. }) => Some(breach),
        _ => None,
    });
    assert!(matches!(breach, Some(Breach::Latency { .. })), "{breach:?} {:?}", service.control());
}

#[tokio::test]
async fn a_control_with_lifetimes_of_its_own_is_checked() {
    let refused = |own: Freshness, control: Control| {
        let builder = Cache::<u64, u64>::builder().capacity(100).freshness(own).control(control);
        builder.build().unwrap_err().to_string()
    };
    let share = |share: f64| Freshness::stale_reads(share).unwrap();
    let both = Control::beside("lru").ttl(Duration::from_secs(5)).freshness(share(0.1));
    assert!(refused(share(0.05), both).contains("either"));
    let strange = Control::beside("lru").freshness(share(0.1).with_prefix("a:", share(0.2)));
    assert!(refused(share(0.05).with_prefix("b:", share(0.2)), strange).contains("'a:'"));
    let fixed = Freshness::fixed_ttl(Duration::from_secs(9));
    assert!(refused(fixed.clone(), Control::beside("lru").freshness(share(0.1))).contains("stale_reads"));
    // One lifetime for all is one, however it is said.
    let control = |control: Control| {
        let cache = Cache::<u64, u64>::builder().capacity(100).freshness(share(0.05)).control(control).build().unwrap();
        let control = cache.report().control.unwrap();
        (control.ttl, control.age_share, control.objective)
    };
    assert_eq!(control(Control::beside("lru").freshness(fixed)), (Some(9.0), None, None));
    assert_eq!(control(Control::beside("lru").freshness(share(0.1))), (None, None, Some(0.1)));
    let alex = Freshness::share_of_age(0.2).unwrap();
    assert_eq!(control(Control::beside("lru").freshness(alex)), (None, Some(0.2), None));
}

#[tokio::test]
async fn a_control_with_a_lifetime_needs_an_objective() {
    let builder =
        Cache::<u64, u64>::builder().capacity(100).control(Control::beside("lru").ttl(Duration::from_secs(5)));
    let error = builder.build().unwrap_err();
    assert!(error.to_string().contains("stale_reads"), "{error}");
}

#[tokio::test]
async fn what_ghosts_of_small_entries_cost() {
    let metadata = async |control: Control| {
        let builder = Cache::builder().capacity_bytes(1 << 20, |_, _| 64).segments(1).seed(1);
        let cache: Cache<u64, u64> = builder.control(control).build().unwrap();
        for key in 0..200_000 {
            cache.insert_local(key, key, crate::Options::new());
        }
        let stats = cache.stats();
        stats.metadata_bytes as f64 / stats.entries as f64
    };
    let cost = metadata(Control::default()).await - metadata(Control::none()).await;
    assert!((350.0..450.0).contains(&cost), "Control's documentation says some 400 bytes an entry: {cost}");
}
