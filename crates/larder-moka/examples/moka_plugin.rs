//! A service's moka cache of users, with larder looking after it: `cargo run --release -p larder-moka --example moka_plugin`.
//!
//! The origin changes some rows every few seconds and others hardly ever. One lifetime for all is too long for the first and too short
//! for the second; told how many stale answers are acceptable, larder learns one for each row.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use larder_moka::{Clock, Freshness, Held, Plugin, future};
use larder_policy::Time;

const ROWS: usize = 1000;
const READS: u64 = 200_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), larder_moka::Error> {
    let learned = Freshness::stale_reads(0.02)?.max_ttl(Duration::from_secs(6 * 3600));
    println!("{:<22}{:>12}{:>16}{:>10}", "", "hit ratio", "origin loads", "stale");
    for (name, freshness) in [
        ("one lifetime, 60 s", Freshness::fixed_ttl(Duration::from_secs(60))),
        ("one lifetime, 600 s", Freshness::fixed_ttl(Duration::from_secs(600))),
        ("learned, 2 % stale", learned),
    ] {
        serve(name, freshness).await?;
    }
    Ok(())
}

async fn serve(name: &str, freshness: Freshness) -> Result<(), larder_moka::Error> {
    // The day passes faster than it would; a service leaves this out.
    let clock = Clock::manual(Time(0));

    // What changes in a service, beside `Held` around the value:
    let plugin = Plugin::builder().freshness(freshness).digest_by_hash().clock(clock.clone()).build()?;
    let moka: moka::future::Cache<u64, Held<u64>> =
        moka::future::Cache::builder().max_capacity(10_000).expire_after(plugin.expiry()).build();
    let users = future::Cache::attach(moka, plugin);

    let origin: Arc<[AtomicU64]> = (0..ROWS).map(|_| AtomicU64::new(0)).collect();
    let mut random = fastrand::Rng::with_seed(1);
    let mut stale = 0;
    for _ in 0..READS {
        clock.advance(Duration::from_millis(100));
        // Row 0 changes every 10 s in the mean, row 999 every 10,000 s.
        let changing = random.usize(..ROWS);
        if random.f64() < 100.0 / (10.0 + 10.0 * changing as f64) {
            origin[changing].fetch_add(1, Relaxed);
        }
        let row = (random.f64() * random.f64() * ROWS as f64) as usize;
        let rows = origin.clone();
        let user =
            users.get_with(&(row as u64), move || async move { Ok::<_, io::Error>(rows[row].load(Relaxed)) }).await?;
        stale += u64::from(user != origin[row].load(Relaxed));
        tokio::task::yield_now().await;
    }
    let stats = users.stats();
    let share = 100.0 * stale as f64 / READS as f64;
    println!("{name:<22}{:>11.1}%{:>16}{share:>9.2}%", 100.0 * stats.counts.hit_ratio(), stats.counts.loads);
    if let Some(rate) = stats.stale_rate {
        let [rate, low, high] = [rate.rate, rate.low, rate.high].map(|share| 100.0 * share);
        println!("{:<22}measured by {} audits: {rate:.2}% [{low:.2}, {high:.2}]", "", stats.counts.audits);
    }
    Ok(())
}
