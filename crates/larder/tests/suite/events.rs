//! Every change of state is told, as a structured event.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder::remote::{Faults, InProcess};
use larder::report::ModelReport;
use larder::{Cache, Control, Sharing, codec};
use larder_policy::learned::features::{BINS, WEIGHTS};
use larder_policy::learned::{HORIZONS, Prior};
use larder_policy::{PolicySpec, Rng};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

/// Where events are written to.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<u8>>>);

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Told {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Told {
    /// Hears this thread while the guard lives.
    fn listen() -> (Self, DefaultGuard) {
        let told = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_writer(told.clone())
            .with_ansi(false)
            .without_time()
            .finish();
        (told, tracing::subscriber::set_default(subscriber))
    }

    /// What was told since the last call.
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

#[track_caller]
fn assert_told(told: &str, level: &str, parts: &[&str]) {
    let is_it = |line: &&str| line.trim_start().starts_with(level) && parts.iter().all(|part| line.contains(part));
    assert!(told.lines().any(|line| is_it(&line)), "no {level} with {parts:?} in\n{told}");
}

#[tokio::test(start_paused = true)]
async fn the_breaker_and_the_epochs_tell_what_happens_to_them() {
    let (told, _listening) = Told::listen();
    let store = InProcess::new(1 << 20);
    let other: Cache<u64, u64> =
        Cache::builder().name("told").capacity(10).remote(store.clone(), codec::MessagePack).build().unwrap();
    let store = Arc::new(store);
    let cache: Cache<u64, u64> =
        Cache::builder().name("told").capacity(10).remote(store.clone(), codec::MessagePack).build().unwrap();
    let read = async |key: u64| cache.get_with(&key, async move || Ok::<_, io::Error>(key)).await.unwrap();
    read(0).await;
    told.take();

    store.set_faults(Faults { down: true, ..Faults::default() });
    for key in 1..20 {
        read(key).await;
    }
    assert_told(&told.take(), "WARN", &["the remote tier rests", r#"breaker="open""#, "cache=told", "error="]);
    store.set_faults(Faults::default());
    tokio::time::sleep(Duration::from_secs(10)).await;
    let now = told.take();
    assert_told(&now, "DEBUG", &["the remote tier is tried", r#"breaker="half-open""#, "cache=told"]);
    assert_told(&now, "INFO", &["the remote tier is back", r#"breaker="closed""#, "cache=told"]);

    store.set_faults(Faults { cut: true, ..Faults::default() });
    store.set_faults(Faults::default());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_told(&told.take(), "WARN", &["invalidations were lost", "cache=told"]);
    assert_eq!(cache.report().epochs.doubts, 1);

    other.clear().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let now = told.take();
    assert_told(&now, "INFO", &["everything was cleared", r#"source="local""#]);
    assert_told(&now, "INFO", &["everything was cleared", r#"source="remote""#]);
}

#[tokio::test(start_paused = true)]
async fn an_experiment_tells_who_is_asked_to_decide() {
    let (told, _listening) = Told::listen();
    let builder = Cache::<u64, u64>::builder().name("tried").capacity(100).segments(4).policy("lru");
    let cache = builder.control(Control::beside("fifo")).build().unwrap();
    assert!(cache.roll_back());
    assert_told(&told.take(), "WARN", &["the policy is rolled back", r#"cache="tried""#, "breach="]);
    assert!(cache.resume());
    assert_told(&told.take(), "INFO", &["resumed by hand", "cache=tried"]);
    let alone: Cache<u64, u64> = Cache::builder().name("alone").capacity(100).control(Control::none()).build().unwrap();
    assert!(!alone.resume() && !alone.roll_back() && told.take().is_empty());
}

#[tokio::test]
async fn a_hold_out_that_can_never_be_compared_with_is_told_at_once() {
    let (told, _listening) = Told::listen();
    let build = |share| {
        let control = Control::beside("lru").holdout(share);
        let cache: Cache<u64, u64> = Cache::builder().name("told").capacity(1000).control(control).build().unwrap();
        (told.take(), cache.report().control.unwrap().arms.unwrap().refusals)
    };
    // Of 64 parts a twentieth are four.
    let (why, refusals) = build(0.05);
    assert_told(&why, "WARN", &["hold-out is too small", "cache=told", "the control arm has 4 shards, and needs 8"]);
    assert!(refusals.iter().any(|why| why.contains("4 shards")), "{refusals:?}");
    let (why, refusals) = build(0.125);
    assert!(!why.contains("hold-out") && !refusals.iter().any(|why| why.contains("shards")), "{why} {refusals:?}");
}

#[tokio::test(start_paused = true)]
async fn instances_tell_who_publishes_and_what_is_taken_over() {
    let (told, _listening) = Told::listen();
    let (look, store) = (Duration::from_secs(1), InProcess::new(1 << 20));
    let cache = |name: &str| -> Cache<u64, u64> {
        let builder = Cache::builder().name(name).namespace("both").capacity(200).segments(1).control(Control::none());
        let sharing = Sharing { look, publish: look * 3, lease: look * 3 };
        builder.share_models(store.clone()).sharing(sharing).seed(1).build().unwrap()
    };
    let one = cache("one");
    for at in 0..20_000u64 {
        // Low keys are read more often.
        let key = at * 7919 % 1000;
        let key = key * key / 1000;
        one.get_with(&key, async move || Ok::<_, io::Error>(key)).await.unwrap();
    }
    tokio::time::sleep(look * 8).await;
    let now = told.take();
    assert_told(&now, "INFO", &["this instance publishes what the service learned", r#"cache="one""#]);
    assert_told(&now, "INFO", &["what was learned is published", r#"cache="one""#, "generation=1"]);
    let _other = cache("other");
    tokio::time::sleep(look * 2).await;
    assert_told(&told.take(), "INFO", &["a shared model is taken over", r#"cache="other""#, "generation="]);
}

/// A model that is sure of the opposite of what comes true.
fn of_other_traffic() -> Arc<Prior> {
    let ages = BINS * HORIZONS.len();
    let rising = |place: usize| if place < ages { 0.3 * (place / HORIZONS.len()) as f32 } else { 0.0 };
    Arc::new(Prior::new(&(0..WEIGHTS * HORIZONS.len()).map(rising).collect::<Vec<_>>(), 1e5, "{}").unwrap())
}

/// A cache of `size` under the learned policy that begins with `prior`, and what it said while keys were read, low ones more often, 2,000 reads
/// between two looks of its upkeep.
async fn watched(told: &Told, size: u64, prior: Arc<Prior>) -> (ModelReport, String) {
    let policy = "learned".parse::<PolicySpec>().unwrap().with_prior(prior);
    let make = move |capacity, seed| policy.build(capacity, seed);
    let cache: Cache<u64, u64> =
        Cache::builder().name("watched").capacity(size).segments(1).policy_with(make).seed(1).build().unwrap();
    let mut rng = Rng::new(1);
    for at in 0..40_000 {
        if at % 2000 == 0 {
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        let key = (4.0 * size as f64 * rng.unit().powi(4)) as u64;
        cache.get_with(&key, async move || Ok::<_, io::Error>(key)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    (cache.report().model.unwrap(), told.take())
}

#[tokio::test(start_paused = true)]
async fn a_model_that_drifts_is_told() {
    let (told, _listening) = Told::listen();
    for (prior, drifts) in [(of_other_traffic(), 1), (Arc::new(Prior::general().unwrap()), 0)] {
        let (model, heard) = watched(&told, 200, prior).await;
        assert_eq!(model.drifts, drifts, "{model:?}");
        match drifts {
            0 => assert!(!heard.contains("drifts") && model.drift < 0.5, "{model:?} {heard}"),
            _ => assert_told(
                &heard,
                "WARN",
                &["the model drifts", "begins anew as LRU", r#"cache="watched""#, "drifts=1"],
            ),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_that_steps_back_is_told_and_when_it_ranks_again() {
    let (told, _listening) = Told::listen();
    const BACK: &str = "the model steps back: LRU ranks";
    const AGAIN: &str = "the model ranks again";
    // In the larger cache it is away for longer than from one look to the next, in the smaller it is back before anybody has looked.
    for (size, on_duty) in [(1000, "on_duty=0"), (200, "on_duty=1")] {
        let (model, heard) = watched(&told, size, of_other_traffic()).await;
        assert_eq!((model.retreats, model.on_duty), (1, 1), "{model:?}");
        assert_told(&heard, "WARN", &[BACK, r#"cache="watched""#, on_duty, "parts=1", "retreats=1"]);
        assert_eq!(heard.matches(BACK).count(), 1, "{heard}");
        let again = heard.find(AGAIN);
        assert_eq!(again.is_some(), size == 1000, "{heard}");
        assert!(again.is_none_or(|again| Some(again) > heard.find(BACK)), "{heard}");
    }
    // Who is right is left at work.
    let (model, heard) = watched(&told, 1000, Arc::new(Prior::general().unwrap())).await;
    assert!(model.retreats == 0 && !heard.contains(BACK) && !heard.contains(AGAIN), "{model:?} {heard}");
}
