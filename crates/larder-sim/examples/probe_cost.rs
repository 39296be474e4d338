//! What a probe beside a shard costs an access: `cargo run --release -p larder-sim --example probe_cost`.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use larder_policy::experiment::{Measures, Probe};
use larder_policy::{Access, Capacity, KeyHash, PolicySpec, Rng, Time};

const OBJECTS: u64 = 65_536;
const ACCESSES: usize = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let control: PolicySpec = "lru".parse()?;
    let mut rng = Rng::new(1);
    let mut keys = Vec::with_capacity(ACCESSES);
    keys.resize_with(ACCESSES, || KeyHash::mix((4.0 * OBJECTS as f64 * rng.unit().powi(3)) as u64));
    for rate in [1.0 / 1024.0, 1.0 / 64.0, 1.0 / 16.0, 1.0] {
        let capacity = Capacity::objects(OBJECTS);
        let mut probe = Probe::new(capacity, rate, false, 1, |capacity| control.build(capacity, 1))?;
        let run = |_| {
            let start = Instant::now();
            for key in &keys {
                probe.record(black_box(&Access::get(*key, Time(0))), true, None);
            }
            let spent = start.elapsed().as_secs_f64() * 1e9 / ACCESSES as f64;
            // As with 64 shards alike.
            probe.end_slice(64 * ACCESSES as u64, Measures::default());
            spent
        };
        let best = (0..5).map(run).fold(f64::INFINITY, f64::min);
        println!(
            "ghosts of {:.2} % of the keys: {best:.1} ns an access, {} bytes a shard",
            rate * 100.0,
            probe.bytes()
        );
    }
    Ok(())
}
