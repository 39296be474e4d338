//! Replays a fixed workload with one policy, to be counted by valgrind; `cargo xtask instructions` runs it.
//!
//! `instructions POLICY REQUESTS` replays the first so many requests: the difference of two runs is the replay alone.
#![forbid(unsafe_code)]

use anyhow::{Context, Result};
use larder_benches::Replay;
use larder_trace::{Options, Reader, open};

/// 500 000 requests for 100 000 keys whose popularity follows Zipf's law.
const WORKLOAD: &str = "gen:zipf:alpha=0.9/keys=100000/requests=500000/seed=1";

/// A tenth of the keys.
const OBJECTS: u64 = 10_000;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let policy = arguments.next().context("name a policy")?.parse()?;
    let count: usize = arguments.next().context("give a number of requests")?.parse()?;
    let mut requests = Vec::new();
    let mut trace = open(WORKLOAD, &Options::default())?;
    while trace.read(&mut requests, 1 << 16)? > 0 {}
    let mut replay = Replay::new(&policy, OBJECTS);
    replay.run(&requests[..count.min(requests.len())]);
    println!("{} requests, {} misses", replay.requests, replay.misses);
    Ok(())
}
