//! What one instance was told about a value's last change, another learns from.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use larder::remote::InProcess;
use larder::{Cache, Clock, Fetched, Freshness, Rules, Tier, Time, codec};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn who_reads_a_value_from_the_remote_tier_learns_when_it_changed() {
    let clock = Clock::manual(Time(1_000_000_000_000));
    let store = Arc::new(InProcess::new(1 << 20));
    let [loads, reads]: [Cache<u64, u64>; 2] = std::array::from_fn(|_| {
        let freshness = Freshness::stale_reads(0.01).unwrap().max_ttl(MINUTE);
        // With a seed, as a read drawn for an audit asks the origin.
        let builder = Cache::builder().capacity(100).clock(clock.clone()).seed(1);
        let rules = Rules { freshness, jitter: 0.0, ..Rules::default() };
        builder.rules(rules).remote(store.clone(), codec::MessagePack).build().unwrap()
    });
    for (version, ago) in [(1, 60 * MINUTE), (2, Duration::from_secs(5)), (2, 70 * Duration::from_secs(1))] {
        let changed_at = Duration::from_micros(clock.now().0) - ago;
        let load = async move || Ok::<_, Infallible>(Fetched::from(version).changed_at(changed_at));
        let found = loads.find_with(&1, load).await.unwrap();
        assert_eq!((found.value, found.tier), (version, Tier::Origin));
        tokio::time::sleep(Duration::from_millis(1)).await;
        let found = reads.find_with(&1, async || Ok::<_, Infallible>(Fetched::from(0))).await.unwrap();
        assert_eq!((found.value, found.tier), (version, Tier::Remote));
        clock.advance(MINUTE + Duration::from_secs(5));
        tokio::time::advance(MINUTE + Duration::from_secs(5)).await;
    }
    let evidence = reads.explain(&1).lifetime.unwrap().evidence.unwrap();
    assert_eq!((evidence.looks, evidence.changes), (2, 1));
}
