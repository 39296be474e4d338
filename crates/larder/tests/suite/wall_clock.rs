//! Row 12: I1. The machine's wall clock is moved under a running process, by libfaketime: hours and years, ahead and back. Lifetimes go on as
//! if nothing had happened.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use crate::support;

use std::convert::Infallible;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use larder::remote::InProcess;
use larder::{Cache, Freshness, Rules, codec};
use tokio::time::sleep;

const TTL: Duration = Duration::from_millis(300);
/// Between the origin's answer and a reader's look at the clock on a busy machine.
const SLACK: Duration = Duration::from_millis(500);
/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(60);
const YEAR: i64 = 365 * 24 * 3600;

#[test]
fn row_12_the_wall_clock_is_moved() {
    let within = ["-m", "-f", "+0d", "sh", "-c", "echo $LD_PRELOAD"];
    if !support::works("faketime", &within) {
        return;
    }
    let library = String::from_utf8(Command::new("faketime").args(within).output().unwrap().stdout).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shift");
    fs::write(&file, "+0\n").unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "wall_clock::child_whose_clock_is_moved"])
        .env("LD_PRELOAD", library.trim())
        .env("FAKETIME_TIMESTAMP_FILE", &file)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .status();
    assert!(status.unwrap().success(), "it failed under a clock that is moved");
}

fn wall() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

#[test]
#[ignore = "the test above runs it, under a clock it can move"]
fn child_whose_clock_is_moved() {
    let file = PathBuf::from(std::env::var_os("FAKETIME_TIMESTAMP_FILE").expect("run by another test"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(InProcess::new(1 << 20));
        let rules = Rules {
            jitter: 0.0,
            freshness: Freshness::fixed_ttl(TTL),
            stale_if_error: Duration::ZERO,
            ..Rules::default()
        };
        let caches: Vec<Cache<u64, u64>> = (0..2)
            .map(|_| {
                let builder = Cache::builder().capacity(100).rules(rules.clone());
                builder.remote(store.clone(), codec::MessagePack).build().unwrap()
            })
            .collect();
        let (start, began) = (wall(), Instant::now());
        for shift in [0, 3600, -3600, 10 * YEAR, -10 * YEAR, 0] {
            fs::write(&file, format!("{shift:+}\n")).unwrap();
            sleep(Duration::from_millis(20)).await;
            assert!((wall() - start - shift).abs() < 60, "the wall clock is not moved by {shift} s");
            let counted = || {
                let counts = caches.iter().map(|cache| cache.stats().counts);
                counts.fold((0, 0), |(hits, loads), counts| (hits + counts.hits, loads + counts.loads))
            };
            let (from, before) = (Instant::now(), counted());
            // For some lifetimes, and until something was served and something ended.
            while from.elapsed() < 3 * TTL || counted().0 <= before.0 + 20 || counted().1 <= before.1 {
                assert!(from.elapsed() < PATIENCE, "{before:?}, then {:?} with the clock at {shift}", counted());
                for cache in &caches {
                    let asked = began.elapsed();
                    let load = move || async move { Ok::<_, Infallible>(began.elapsed().as_micros() as u64) };
                    let answer = Duration::from_micros(cache.get_with(&1, load).await.unwrap());
                    assert!(
                        asked.saturating_sub(answer) <= TTL + SLACK,
                        "{:?} old at {shift}",
                        asked.saturating_sub(answer)
                    );
                }
                sleep(Duration::from_millis(5)).await;
            }
        }
        caches.iter().for_each(Cache::validate);
    });
}
