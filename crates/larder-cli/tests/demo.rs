//! The demonstration, run for a second: its figures fit together, and with the truth.
#![allow(clippy::unwrap_used)] // helpers outside #[test] functions; a failure is a failed test

#[path = "../../larder-redis/tests/support/server.rs"]
#[allow(dead_code, unreachable_pub, reason = "the servers of another crate's tests")]
mod server;

#[cfg(feature = "tls")]
mod support {
    pub(crate) use crate::server;
}

use std::process::Command;

use serde_json::Value;
#[cfg(feature = "tls")]
use server::Server;

fn command(options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.arg("demo").args(options).env_remove("LARDER_LOG");
    command
}

fn demo(options: &[&str]) -> Value {
    outcome(command(options).args(["--json", "--seconds", "1", "--rate", "4000"]))
}

/// What a run prints for scripts, checked.
fn outcome(command: &mut Command) -> Value {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    // On a busy machine a Redis may rest for a while.
    let is_clean = errors.lines().all(|line| line.is_empty() || line.contains("the remote tier rests"));
    assert!(output.status.success() && is_clean, "{errors}");
    let mut outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
    let arms = outcome["arms"].as_array_mut().unwrap();
    assert_eq!(
        arms.iter().map(|arm| arm["arm"].as_str().unwrap()).collect::<Vec<_>>(),
        ["larder", "lru-tuned", "lru-300s"]
    );
    for arm in arms {
        check(arm);
    }
    outcome
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// What holds for every arm of every run.
fn check(arm: &Value) {
    let reads = number(&arm["reads"]);
    assert!(reads > 0, "{arm:#}");
    assert_eq!(number(&arm["errors"]), 0, "{arm:#}");
    let tiers = ["memory", "second_tier", "origin"].map(|tier| number(&arm[tier]["reads"]));
    assert_eq!(tiers.iter().sum::<u64>(), reads, "{arm:#}");
    assert!(number(&arm["loads"]) < reads, "a cache saves loads: {arm:#}");
    let stale = number(&arm["stale"]) as f64 / reads as f64;
    assert!((arm["stale_rate"].as_f64().unwrap() - stale).abs() < 1e-12, "{arm:#}");
    assert!(arm["all"]["p50_us"].as_f64().unwrap() <= arm["all"]["p99_us"].as_f64().unwrap());
}

#[test]
fn the_engines_interval_reaches_the_truth_and_the_control_is_another_way() {
    let outcome = demo(&[]);
    assert_eq!((number(&outcome["seed"]), &outcome["processes"]), (1, &2.into()));
    assert!(number(&outcome["changes"]) > 0);
    let arms = outcome["arms"].as_array().unwrap();
    assert_eq!(arms[0]["policy"], "learned");
    let measured = &arms[0]["measured"];
    let [low, high] = ["low", "high"].map(|end| measured[end].as_f64().unwrap());
    let truth = arms[0]["stale_rate"].as_f64().unwrap();
    // An interval of 95 % may miss the truth, but not by its own width.
    let width = high - low;
    assert!((low - width..=high + width).contains(&truth), "{truth} is far from {low} to {high}");
    assert!(width < 1.0, "something was measured");
    for control in &arms[1..] {
        assert!(control["policy"] == "lru" && control["measured"].is_null(), "{control:#}");
    }
    assert_eq!((arms[2]["ttl"].as_f64(), number(&arms[2]["reads"])), (Some(300.0), number(&arms[0]["reads"])));
    assert!(arms[1]["ttl"].as_f64().unwrap() < 300.0);
}

#[test]
fn one_worker_is_enough() {
    demo(&["--workers", "1", "--capacity", "1", "--trace", "gen:zipf:keys=50"]);
}

#[test]
fn a_trace_of_ones_own_is_sent_with_its_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.csv");
    let rows: String =
        (0..2000).map(|row| format!("{row},{},1,{}\n", row % 37, ["get", "get", "set"][row % 3])).collect();
    std::fs::write(&path, format!("time,key,size,op\n{rows}")).unwrap();
    // No network: some thousand reads within the second, so that the writes are many.
    let outcome = demo(&["--trace", path.to_str().unwrap(), "--origin-delay", "0s", "--remote-delay", "0s"]);
    assert_eq!((&outcome["trace"], number(&outcome["rows"])), (&"own".into(), 37));
    let reads = number(&outcome["arms"][0]["reads"]);
    assert!(number(&outcome["changes"]) + 1 >= reads / 2, "a third of the trace writes: {outcome:#}");
}

#[test]
fn a_trace_without_reads_is_refused() {
    let output = command(&["--trace", "gen:zipf:reads=0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("has no reads"));
}

#[test]
fn without_a_redis_server_the_second_tier_lives_in_the_process_and_it_says_so() {
    let nowhere = tempfile::tempdir().unwrap();
    let outcome = outcome(command(&["--json", "--seconds", "1", "--rate", "4000"]).env("PATH", nowhere.path()));
    assert_eq!((&outcome["second_tier"], outcome["remote_delay_ms"].as_f64()), (&"in process".into(), Some(1.0)));
    assert!(number(&outcome["arms"][0]["second_tier"]["reads"]) > 0, "{outcome:#}");
    let output = command(&["--seconds", "1", "--rate", "400"]).env("PATH", nowhere.path()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("within this process, 1ms away, for there is no redis-server on the path"), "{told}");
    // Whoever names a delay gets that, Redis or not.
    let near = demo(&["--remote-delay", "0s"]);
    assert_eq!((&near["second_tier"], near["remote_delay_ms"].as_f64()), (&"in process".into(), Some(0.0)));
}

#[cfg(feature = "tls")]
#[test]
fn a_redis_is_reached_over_tls() {
    need_redis!();
    let mut server = Server::planned(&["--requirepass", "hunter2"]);
    let (certificate, key, _) = server.certify("own");
    let port = server::free_port();
    server.add_args(&["--tls-port", &port.to_string(), "--tls-cert-file", &certificate, "--tls-key-file", &key]);
    server.add_args(&["--tls-ca-cert-file", &certificate, "--tls-auth-clients", "no"]);
    server.run();
    server.login_with("hunter2");
    let url = format!("rediss://:hunter2@localhost:{port}");
    let options = ["--redis", &url, "--json", "--seconds", "1", "--rate", "4000"];
    // Nobody vouches for it.
    let output = command(&options).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("certificate") && !told.contains("hunter2"), "{told}");
    let outcome = outcome(command(&options).env("SSL_CERT_FILE", &certificate));
    assert_eq!(outcome["second_tier"], "redis");
    assert!(number(&outcome["arms"][0]["second_tier"]["reads"]) > 0, "{outcome:#}");
    assert!(server.tell::<u64>(&["DBSIZE"]).unwrap() > 0, "its rows are in the server that was named");
}

#[cfg(not(feature = "tls"))]
#[test]
fn tls_takes_a_build_that_speaks_it() {
    let output = command(&["--redis", "rediss://localhost"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("feature `tls`"));
}

#[test]
fn a_redis_that_is_not_there_is_named() {
    // Nothing listens on the port of a socket that is gone.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let output = command(&["--redis", &format!("redis://ann:secret@{free}")]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains(&format!("no way to the Redis at {free}")) && !told.contains("secret"), "{told}");
    assert_eq!(told.lines().count(), 2, "each link complains: {told}");
    for (wrong, says) in [
        (&["--redis", "http://x"][..], "redis://"),
        (&["--redis", "redis://x", "--remote-delay", "1ms"], "cannot be used"),
    ] {
        let output = command(wrong).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(says), "{wrong:?}");
    }
}
