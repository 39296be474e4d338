//! Learned lifetimes.

use super::*;

/// With the objective, the rate that audits measure covers the rate of stale answers, which the test knows.
#[tokio::test]
async fn the_measured_stale_rate_covers_the_truth() {
    let mut covered = 0;
    for seed in 0..10 {
        let (truth, measured) = simulate(seed).await;
        assert!(measured.high > 0.0 && measured.low <= measured.rate && measured.rate <= measured.high);
        covered += u32::from((measured.low..=measured.high).contains(&truth));
        assert!(truth < 0.15, "seed {seed}: {truth} of the answers were stale, and 0.05 were allowed");
    }
    assert!(covered >= 9, "{covered} of 10 intervals of 95 % hold the truth");
}

/// 100 keys that change at random, read once a second in all for half a day. The share of stale answers, and what was measured.
async fn simulate(seed: u64) -> (f64, larder::StaleRate) {
    const READS: u64 = 40_000;
    let clock = clock();
    let freshness = Freshness::stale_reads(0.05).unwrap();
    let cache = attach(fixed(&clock).freshness(freshness).digest(|value| *value).seed(seed));
    let mut random = fastrand::Rng::with_seed(seed);
    let versions: Arc<[AtomicU64]> = (0..100).map(|_| AtomicU64::new(0)).collect();
    let mut stale = 0;
    for _ in 0..READS {
        clock.advance(Duration::from_secs(1));
        // Key 0 changes every 500 s, key 99 every 50,000 s.
        let changed = random.usize(..100);
        if random.f64() < 100.0 / (500.0 + 500.0 * changed as f64) {
            versions[changed].fetch_add(1, SeqCst);
        }
        let at = (random.f64() * random.f64() * 100.0) as usize;
        let origin = versions.clone();
        let load = move || ok(origin[at].load(SeqCst));
        let value = cache.get_with(&format!("row:{at}"), load).await.unwrap();
        stale += u64::from(value != versions[at].load(SeqCst));
        // Audits and renewals happen at once, for their loads do not wait.
        tokio::task::yield_now().await;
    }
    let stats = cache.stats();
    assert!(stats.counts.audits > 20 && stats.counts.hits > READS / 10, "{stats:?}");
    (stale as f64 / READS as f64, stats.stale_rate.unwrap())
}

/// Reads a key once a second, so often, and says how many audits there were. Readers who wait get a value from the origin, audits what
/// `audited` makes of it.
async fn read_and_audit(cache: &Cache, clock: &Clock, reads: u64, audited: fn() -> io::Result<Option<u64>>) -> u64 {
    let (is_awaited, audits) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    for _ in 0..reads {
        clock.advance(Duration::from_secs(1));
        let (awaited, counted) = (is_awaited.clone(), audits.clone());
        let load = move || async move {
            if awaited.load(SeqCst) {
                return Ok(Some(1));
            }
            counted.fetch_add(1, SeqCst);
            audited()
        };
        is_awaited.store(true, SeqCst);
        cache.get_with("k", load).await.unwrap();
        is_awaited.store(false, SeqCst);
        tokio::task::yield_now().await;
    }
    audits.load(SeqCst)
}

#[tokio::test]
async fn an_audit_that_finds_nothing_tells_of_a_stale_read() {
    let clock = clock();
    let cache = attach(learned(&clock));
    assert!(read_and_audit(&cache, &clock, 20_000, || Ok(None)).await > 5);
    let measured = cache.stats().stale_rate.unwrap();
    assert!(measured.rate > 0.5, "every audit found one: {measured:?}");
}

#[tokio::test]
async fn audits_that_come_to_nothing_do_not_lower_the_measured_rate() {
    let clock = clock();
    let cache = attach(learned(&clock));
    assert!(read_and_audit(&cache, &clock, 20_000, || Ok(None)).await > 5);
    let before = cache.stats();
    let failed = read_and_audit(&cache, &clock, 40_000, || Err(io::Error::other("the origin is down"))).await;
    let after = cache.stats();
    assert!(failed > 5 && after.counts.audits == before.counts.audits, "{after:?}");
    // One that never ends leaves nothing to the others of its key.
    let endless = || async {
        std::future::pending::<()>().await;
        ok(1).await
    };
    cache.get_with("k", || ok(1)).await.unwrap();
    for _ in 0..200_000 {
        cache.get_with("k", endless).await.unwrap();
        tokio::task::yield_now().await;
    }
    let last = cache.stats();
    let [before, after, last] = [before, after, last].map(|stats| stats.stale_rate.unwrap().rate);
    assert!(after > before / 2.0 && last > after / 2.0, "{before}, {after}, and {last}");
}

#[tokio::test]
async fn what_is_deleted_again_and_again_does_not_look_immutable() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let clock = clock();
    let cache = attach(learned(&clock));
    for _ in 0..20 {
        for key in ["row:kept", "row:deleted"] {
            assert_eq!(cache.get_with(key, || ok(1)).await.unwrap(), 1);
        }
        clock.advance(DAY);
        let absent = || async { Ok::<_, io::Error>(None::<u64>) };
        assert_eq!(cache.get_with("row:deleted", absent).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    cache.get_with("row:deleted", || ok(1)).await.unwrap();
    cache.get_with("row:kept", || ok(1)).await.unwrap();
    let lifetime = async |key| cache.moka().get(key).await.unwrap().lifetime();
    let (kept, deleted) = (lifetime("row:kept").await, lifetime("row:deleted").await);
    assert!(2 * deleted < kept, "{deleted:?} and {kept:?}");
}

#[tokio::test]
async fn a_loaders_own_lifetime_is_the_longest() {
    let clock = clock();
    let cache = attach(fixed(&clock).freshness(Freshness::stale_reads(0.01).unwrap()));
    let short = || async {
        let options = larder_moka::Options::new().ttl(Duration::from_secs(1)).version(7);
        Ok::<_, io::Error>(Fetched::from(1).with(options))
    };
    cache.get_with("k", short).await.unwrap();
    clock.advance(Duration::from_secs(1));
    assert_eq!(cache.get_with("k", || ok(2)).await.unwrap(), 2);
}
