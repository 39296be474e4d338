//! What the freshness engine costs: `cargo run --release -p larder-sim --example freshness_cost`.

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use larder_policy::freshness::{Decision, Engine, Evidence, Freshness, Loaded};
use larder_policy::{KeyHash, Rng, Time};

const KEYS: u64 = 4096;

fn main() -> Result<(), Box<dyn Error>> {
    let mut engine = Engine::new(Freshness::stale_reads(0.01)?.max_ttl(Duration::from_secs(1 << 40)), 1);
    let subjects: Vec<_> = (0..KEYS).map(|key| engine.subject(KeyHash::mix(key), "", 1, 0)).collect();
    let mut rng = Rng::new(1);
    let mut second = 0;
    let mut update = |engine: &mut Engine, rng: &mut Rng| {
        second += 1;
        let now = Time(second * 1_000_000);
        let at = rng.below(KEYS as u32);
        // Keys change at very different rates.
        let evidence = if rng.unit() < f64::from(at % 64) / 100.0 { Evidence::Changed } else { Evidence::Unchanged };
        black_box(engine.loaded(subjects[at as usize], now, Loaded::new(now, evidence)));
    };
    (0..200_000).for_each(|_| update(&mut engine, &mut rng));
    let updates = best_of(1_000_000, || update(&mut engine, &mut rng));
    let now = Time((second + 1) * 1_000_000);
    let mut served = 0u64;
    let reads = best_of(4_000_000, || {
        let decision = engine.read(subjects[rng.below(KEYS as u32) as usize], now, true);
        served += u64::from(decision != Decision::Load);
    });
    black_box(served);
    println!("a decision at a read: {reads:.1} ns; an update after a load: {updates:.1} ns");
    println!("{:.0} bytes a key", engine.bytes() as f64 / KEYS as f64);
    Ok(())
}

/// Nanoseconds a call, the best of five runs.
fn best_of(calls: u32, mut call: impl FnMut()) -> f64 {
    let run = |_| {
        let start = Instant::now();
        (0..calls).for_each(|_| call());
        start.elapsed().as_secs_f64() * 1e9 / f64::from(calls)
    };
    (0..5).map(run).fold(f64::INFINITY, f64::min)
}
