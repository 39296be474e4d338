//! What of a hit's instructions goes into metrics, counted by valgrind: `cargo run -p larder --example metrics_cost`.
//!
//! The program runs itself under callgrind without reads and with them: the difference is the reads. Code that was inlined is told by the file it
//! came from; counted are those of `telemetry`, and of std's thread-locals and cells, which nothing else on this path uses.

use std::collections::HashMap;
use std::error::Error;
use std::hint::black_box;
use std::process::Command;

use larder::{Cache, Control};

const ENTRIES: u64 = 10_000;
const READS: u64 = 1_000_000;
const METRICS: [&str; 3] = ["larder/src/telemetry/", "std/src/thread/local.rs", "core/src/cell.rs"];

/// Every read is a hit of a fresh value.
fn read(reads: u64) -> Result<(), Box<dyn Error>> {
    let cache: Cache<u64, u64> =
        Cache::builder().capacity(2 * ENTRIES).policy("lru").control(Control::none()).seed(1).build()?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    for key in 0..ENTRIES {
        runtime.block_on(cache.insert(key, key))?;
    }
    let hits = (0..reads).filter(|at| cache.local(black_box(&(at * 7919 % ENTRIES))).is_some()).count();
    assert_eq!(hits as u64, reads);
    Ok(())
}

/// Instructions in all, and those that come from the files of metrics.
fn count(reads: u64) -> Result<(u64, u64), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("counts");
    let status = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind", &format!("--callgrind-out-file={}", file.display())])
        .arg(std::env::current_exe()?)
        .arg(reads.to_string())
        .status()
        .map_err(|error| format!("valgrind is needed, and cannot be run: {error}"))?;
    assert!(status.success());
    let (mut files, mut current, mut called) = (HashMap::new(), String::new(), false);
    let (mut all, mut of_metrics) = (0, 0);
    for line in std::fs::read_to_string(file)?.lines() {
        if let Some((kind @ ("fl" | "fi" | "fe" | "cfi" | "cfl"), file)) = line.split_once('=') {
            let (id, name) = file.split_once(' ').unwrap_or((file, ""));
            let name = files.entry(id.to_owned()).or_insert_with(|| name.to_owned());
            if !kind.starts_with('c') {
                current.clone_from(name);
            }
        } else if line.starts_with("calls=") {
            // The next line is what the callee costs, which is counted there.
            called = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            let cost: u64 = line.split(' ').nth(1).unwrap_or("0").parse()?;
            if !std::mem::take(&mut called) {
                all += cost;
                of_metrics += if METRICS.iter().any(|part| current.contains(part)) { cost } else { 0 };
            }
        }
    }
    Ok((all, of_metrics))
}

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(reads) = std::env::args().nth(1) {
        return read(reads.parse()?);
    }
    let (idle, busy) = (count(0)?, count(READS)?);
    let each = |busy: u64, idle: u64| busy.saturating_sub(idle) as f64 / READS as f64;
    println!("instructions a hit: {:.1}, of these {:.1} for metrics", each(busy.0, idle.0), each(busy.1, idle.1));
    Ok(())
}
