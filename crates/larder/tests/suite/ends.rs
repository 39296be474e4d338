//! What has ended stays to stand in where the origin fails, and is not kept for that.

use std::convert::Infallible;
use std::future::ready;
use std::time::Duration;

use larder::{Cache, Clock, Control, Fetched, Freshness, Options, Rules, Time};

/// Half of the reads are skewed, of values that live for a day; half go round a loop that takes longer than its values live.
async fn misses(policy: &str, stale_if_error: Duration) -> u64 {
    let clock = Clock::manual(Time(1_795_000_000_000_000));
    let day = Duration::from_secs(24 * 3600);
    let rules = Rules { jitter: 0.0, stale_if_error, freshness: Freshness::fixed_ttl(day), ..Rules::default() };
    let cache: Cache<u64, u64> = Cache::builder()
        .policy(policy)
        .control(Control::none())
        .rules(rules)
        .clock(clock.clone())
        .seed(7)
        .segments(1)
        .capacity(1000)
        .build()
        .unwrap();
    let mut rng = fastrand::Rng::with_seed(7);
    for at in 0..150_000u64 {
        clock.advance(Duration::from_millis(1));
        let (key, ttl) = match at % 2 {
            0 => ((10_000.0 * rng.f64().powi(4)) as u64, day),
            _ => ((1 << 40) | (at / 2 % 1000), Duration::from_millis(1800)),
        };
        let load = move || ready(Ok::<_, Infallible>(Fetched::from(key).with(Options::new().ttl(ttl))));
        cache.get_with(&key, load).await.unwrap();
    }
    cache.validate();
    cache.stats().counts.misses
}

#[tokio::test]
async fn what_stands_in_after_its_end_is_not_kept_for_that() {
    let hour = Duration::from_secs(3600);
    let (without, with) = (misses("learned", Duration::ZERO).await, misses("learned", hour).await);
    let lru = misses("lru", hour).await;
    assert!(
        with <= without + without / 50 && with < lru,
        "{with} misses, {without} where nothing stands in, LRU {lru}"
    );
}
