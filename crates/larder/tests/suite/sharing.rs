//! Instances of one service share what they learned, and no read is the worse for it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use larder::remote::{Faults, InProcess, names};
use larder::report::SharingReport;
use larder::{Cache, Clock, Control, ErrorKind, Freshness, ModelStore, Sharing, Time};
use tokio::time::{Instant, sleep};

const LOOK: Duration = Duration::from_secs(1);
/// A look comes up to a quarter early, and never late.
const LEASE: Duration = Duration::from_secs(3);

fn cache(store: impl ModelStore) -> Cache<u64, u64> {
    Cache::builder()
        .name("shared")
        .capacity(200)
        .segments(1)
        .control(Control::none())
        .share_models(store)
        .sharing(Sharing { look: LOOK, publish: LEASE, lease: LEASE })
        .seed(1)
        .build()
        .unwrap()
}

/// Reads of few keys often and many seldom, as a service has them.
async fn work(cache: &Cache<u64, u64>, reads: u32) {
    traffic(cache, reads, 7).await;
}

/// Other reads of the same kind for each seed: some miss, so that there is something to learn.
async fn traffic(cache: &Cache<u64, u64>, reads: u32, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    for _ in 0..reads {
        let key = (1000.0 * rng.f64().powi(3)) as u64;
        assert_eq!(cache.get_with(&key, async move || Ok::<_, Infallible>(key + 1)).await.unwrap(), key + 1);
    }
}

fn sharing(cache: &Cache<u64, u64>) -> SharingReport {
    cache.report().sharing.unwrap()
}

async fn looks(times: u32) {
    sleep(LOOK * times).await;
}

#[tokio::test(start_paused = true)]
async fn a_fresh_instance_takes_over_what_another_learned() {
    let store = InProcess::new(1 << 20);
    let one = cache(store.clone());
    looks(3).await;
    let before = sharing(&one);
    assert!(
        !before.leads && before.published == 0 && before.generation.is_none(),
        "nothing is learned yet: {before:?}"
    );
    work(&one, 20_000).await;
    looks(2).await;
    let published = sharing(&one);
    assert!(published.leads && published.published == 1, "{published:?}");

    let two = cache(store.clone());
    looks(1).await;
    let taken = sharing(&two);
    assert_eq!((taken.adopted, taken.generation, &taken.fingerprint), (1, Some(1), &published.fingerprint));
    assert!(taken.age.unwrap() >= 1.0 && !taken.leads);
    // What the model says of a key that nobody has read is now the other's word.
    let logits = |cache: &Cache<u64, u64>| cache.explain(&4711).score.unwrap().logits;
    let unshared: Cache<u64, u64> = Cache::builder().capacity(200).segments(1).seed(1).build().unwrap();
    assert_ne!(logits(&two), logits(&unshared));
    // One of a namespace of its own learns from nobody.
    let other: Cache<u64, u64> = Cache::builder().name("other").capacity(200).share_models(store).build().unwrap();
    looks(5).await;
    assert_eq!(sharing(&other).adopted, 0);
}

#[tokio::test(start_paused = true)]
async fn one_publishes_at_a_time_and_when_it_is_gone_another_does() {
    let store = InProcess::new(1 << 20);
    let (one, two) = (cache(store.clone()), cache(store.clone()));
    work(&one, 20_000).await;
    work(&two, 20_000).await;
    for round in 0..8 {
        looks(1).await;
        traffic(&one, 500, round).await;
        traffic(&two, 500, round + 100).await;
    }
    // Until the last generation is published and taken over.
    looks(5).await;
    let (first, second) = (sharing(&one), sharing(&two));
    assert!(first.leads != second.leads, "{first:?} {second:?}");
    let (leader, other) = if first.leads { (one, two) } else { (two, one) };
    assert!(sharing(&leader).published > 1 && sharing(&other).published == 0);
    assert_eq!(sharing(&leader).generation, sharing(&other).generation);
    drop(leader);
    for round in 0..5 {
        looks(1).await;
        traffic(&other, 500, round + 200).await;
    }
    let heir = sharing(&other);
    assert!(heir.leads && heir.published == 1 && heir.outrun == 0, "{heir:?}");
}

#[tokio::test(start_paused = true)]
async fn what_the_gate_refuses_is_counted_and_the_old_model_stays() {
    let store = InProcess::new(1 << 20);
    let one = cache(store.clone());
    work(&one, 20_000).await;
    looks(2).await;
    let name = names::models("shared");
    let [good] = &store.fetch(&name, 0).await.unwrap()[..] else { panic!("one generation") };
    let good = good.clone();
    drop(one);
    sleep(LEASE * 2).await;

    let two = cache(store.clone());
    looks(1).await;
    let before = sharing(&two);
    assert_eq!((before.adopted, before.generation), (1, Some(1)));
    let flipped = |at: usize| {
        let mut bytes = good.bytes.to_vec();
        bytes[at] ^= 1;
        Bytes::from(bytes)
    };
    let cases = [
        Bytes::new(),
        good.bytes.slice(..good.bytes.len() / 2),
        flipped(good.bytes.len() / 2),
        flipped(7),
        Bytes::from_static(b"LARDERM1 is another kind of thing"),
        vec![0; larder::sharing::MOST_BYTES + 1].into(),
    ];
    let refusals = cases.len() as u64;
    for bytes in cases {
        assert!(store.lead(&name, 1, LEASE).await.unwrap());
        store.publish(&name, 1, bytes).await.unwrap().unwrap();
        looks(2).await;
        work(&two, 100).await;
    }
    let after = sharing(&two);
    assert_eq!((after.refused, after.adopted), (refusals, 1));
    assert_eq!((after.generation, &after.fingerprint), (before.generation, &before.fingerprint), "the old model stays");
    // Of three kept, the two newest damaged, a fresh instance takes the third.
    assert!(store.lead(&name, 1, LEASE).await.unwrap());
    for bytes in [good.bytes.clone(), flipped(40), flipped(50)] {
        store.publish(&name, 1, bytes).await.unwrap().unwrap();
    }
    let three = cache(store.clone());
    looks(1).await;
    let taken = sharing(&three);
    assert_eq!((taken.refused, taken.adopted, &taken.fingerprint), (2, 1, &before.fingerprint));
}

/// Row 23: a publisher that stalls.
#[tokio::test(start_paused = true)]
async fn row_23_a_store_of_models_that_hangs_or_fails_harms_no_read() {
    let store = Arc::new(InProcess::new(1 << 20));
    let cache = cache(store.clone());
    work(&cache, 20_000).await;
    looks(2).await;
    let before = sharing(&cache);
    assert!(before.leads && before.failed == 0, "{before:?}");
    for faults in [Faults { hangs: true, ..Faults::default() }, Faults { down: true, ..Faults::default() }] {
        store.set_faults(faults);
        let failed = sharing(&cache).failed;
        sleep(Duration::from_secs(20)).await;
        let asked = Instant::now();
        work(&cache, 1000).await;
        assert_eq!(asked.elapsed(), Duration::ZERO, "no read waits");
        let after = sharing(&cache);
        assert!(after.failed >= failed + 2 && !after.leads, "{after:?}");
        assert_eq!(after.generation, before.generation, "what is known goes on");
    }
    store.set_faults(Faults::default());
    looks(5).await;
    work(&cache, 1000).await;
    looks(5).await;
    let well = sharing(&cache);
    assert!(well.leads && well.published > before.published, "{well:?}");
}

#[tokio::test(start_paused = true)]
async fn classes_of_keys_are_shared_too() {
    let (store, clock) = (InProcess::new(1 << 20), Clock::manual(Time(1_000_000_000)));
    let alone = || {
        Cache::<String, u64>::builder()
            .name("classes")
            .capacity(200)
            .segments(1)
            .policy("lru")
            .freshness(Freshness::stale_reads(0.01).unwrap())
            .digest(|value| *value)
            .clock(clock.clone())
            .seed(1)
    };
    let instance = || {
        let sharing = Sharing { look: LOOK, publish: LEASE, lease: LEASE };
        alone().share_models(store.clone()).sharing(sharing).build().unwrap()
    };
    let one = instance();
    // Every second each price is another.
    for second in 0..600u64 {
        for key in 0..5 {
            one.get_with(&format!("price:{key}"), async move || Ok::<_, Infallible>(second)).await.unwrap();
        }
        clock.advance(Duration::from_secs(1));
        sleep(Duration::from_secs(1)).await;
    }
    let published = one.report().sharing.unwrap();
    assert!(published.leads && published.published > 1, "{published:?}");
    let two = instance();
    looks(1).await;
    assert!(two.report().sharing.unwrap().adopted >= 1);
    // The lifetime of a price that nobody has read.
    let lifetime = async |cache: &Cache<String, u64>| {
        cache.get_with("price:new", async || Ok::<_, Infallible>(0)).await.unwrap();
        cache.report().ttls.sum
    };
    let (told, untold) = (lifetime(&two).await, lifetime(&alone().build().unwrap()).await);
    assert!(told * 4.0 < untold, "{told} {untold}");
}

#[tokio::test]
async fn times_that_do_not_fit_are_refused() {
    let build = |sharing: Sharing| {
        let store = InProcess::new(1 << 20);
        Cache::<u64, u64>::builder().capacity(10).share_models(store).sharing(sharing).build().unwrap_err()
    };
    let short = build(Sharing { lease: LOOK, look: LOOK, publish: LOOK });
    assert!(short.kind() == ErrorKind::Config && short.to_string().contains("longer"), "{short}");
    let none = build(Sharing { look: Duration::ZERO, ..Sharing::default() });
    assert!(none.to_string().contains("from 1ms"), "{none}");
}
