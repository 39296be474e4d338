//! What the freshness engine costs: `cargo run --release -p larder-sim --example freshness_cost`.
//!
//! On a busy machine count instructions instead: `valgrind --tool=callgrind target/release/examples/freshness_cost 1`, then
//! `callgrind_annotate --inclusive=yes` and divide what `hot`, `cold` and `update` took by the calls printed.

use std::error::Error;
use std::time::{Duration, Instant};

use larder_policy::freshness::{Decision, Engine, Evidence, Freshness, Loaded, Subject};
use larder_policy::{KeyHash, Rng, Time};

const KEYS: u32 = 4096;
/// Reads of a run: each value is read about 240 times.
const READS: u32 = 1_000_000;
const COLD: u32 = 20_000;
const UPDATES: u32 = 20_000;

struct Cache {
    engine: Engine,
    subjects: Vec<Subject>,
    /// When each was last loaded.
    loaded: Vec<Time>,
    rng: Rng,
    now: Time,
    served: u64,
}

impl Cache {
    fn load(&mut self, at: u32) {
        // Keys change at very different rates, once in two hours to once in five days.
        let age = self.now.since(std::mem::replace(&mut self.loaded[at as usize], self.now)).as_secs_f64();
        let is_changed = self.rng.unit() < -(-age * f64::from(1 + at % 64) / 432_000.0).exp_m1();
        let evidence = if is_changed { Evidence::Changed } else { Evidence::Unchanged };
        let subject = &mut self.subjects[at as usize];
        subject.handle = self.engine.loaded(*subject, self.now, Loaded::new(self.now, evidence)).handle;
    }

    fn read(&mut self) {
        let at = self.rng.below(KEYS) as usize;
        self.served += u64::from(self.engine.read(self.subjects[at], self.now, true) != Decision::Load);
    }
}

/// Everything is loaded; then each value is read every 4 ms.
#[inline(never)]
fn hot(cache: &mut Cache) {
    for _ in 0..READS {
        cache.now = Time(cache.now.0 + 1);
        cache.read();
    }
}

/// Each value is read every 40 s: the experts are asked each time.
#[inline(never)]
fn cold(cache: &mut Cache) {
    for _ in 0..COLD {
        cache.now = Time(cache.now.0 + 10_000);
        cache.read();
    }
}

/// A load a second.
#[inline(never)]
fn update(cache: &mut Cache) {
    for _ in 0..UPDATES {
        cache.now = Time(cache.now.0 + 1_000_000);
        let at = cache.rng.below(KEYS);
        cache.load(at);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let runs: u32 = std::env::args().nth(1).map_or(Ok(10), |runs| runs.parse())?;
    let mut engine = Engine::new(Freshness::stale_reads(0.01)?.max_ttl(Duration::from_secs(1 << 40)), 1);
    let subjects = (0..KEYS).map(|key| engine.subject(KeyHash::mix(key.into()), "", 1, 0)).collect();
    let loaded = vec![Time(1_000_000); KEYS as usize];
    let mut cache = Cache { engine, subjects, loaded, rng: Rng::new(1), now: Time(1_000_000), served: 0 };
    for (name, calls, call) in
        [("update", UPDATES, update as fn(&mut Cache)), ("hot", READS, hot), ("cold", COLD, cold)]
    {
        cache.served = 0;
        let mut best = f64::INFINITY;
        for _ in 0..runs {
            for subject in &mut cache.subjects {
                // Nothing is learned from so short a life.
                let load = Loaded::new(cache.now, Evidence::Unknown);
                subject.handle = cache.engine.loaded(*subject, cache.now, load).handle;
            }
            cache.loaded.fill(cache.now);
            let start = Instant::now();
            call(&mut cache);
            best = best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(calls));
        }
        let served = 100.0 * cache.served as f64 / f64::from(calls) / f64::from(runs);
        println!("{name}: {best:.1} ns a call, {calls} calls a run, {served:.1} % of them served");
    }
    println!("{:.0} bytes a key", cache.engine.bytes() as f64 / f64::from(KEYS));
    Ok(())
}
