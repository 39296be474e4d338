//! The demonstration, run for a second or a little longer: its figures fit together, and with the truth.
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
    outcome(options, &[], |_| true)
}

/// What a run prints for scripts, checked: of a longer one where the machine was too busy for there to be much to check.
fn outcome(options: &[&str], environment: &[(&str, &str)], is_enough: impl Fn(&Value) -> bool) -> Value {
    let runs = [1, 2, 4, 8, 16, 32].into_iter().map(|seconds| run(options, environment, seconds));
    let has_read = |outcome: &Value| {
        let ours = &outcome["arms"][0];
        number(&ours["reads"]) >= 200 && number(&ours["second_tier"]["reads"]) > 0
    };
    let mut enough = runs.filter(|outcome| has_read(outcome) && is_enough(outcome));
    let outcome = enough.next().expect("in half a minute there is enough to check");
    let arms = outcome["arms"].as_array().unwrap();
    assert_eq!(
        arms.iter().map(|arm| arm["arm"].as_str().unwrap()).collect::<Vec<_>>(),
        ["larder", "lru-tuned", "lru-300s"]
    );
    arms.iter().for_each(check);
    outcome
}

fn run(options: &[&str], environment: &[(&str, &str)], seconds: u64) -> Value {
    let mut command = command(options);
    command.args(["--json", "--rate", "4000", "--seconds", &seconds.to_string()]).envs(environment.iter().copied());
    // A busy machine's Redis may rest for a while or lose what it announced, and it is logged; a panic is told all the same.
    let output = command.env("LARDER_LOG", "off").output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// What holds for every arm of every run.
fn check(arm: &Value) {
    let reads = number(&arm["reads"]);
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
    let interval = |outcome: &Value| {
        let measured = &outcome["arms"][0]["measured"];
        Some([measured["low"].as_f64()?, measured["high"].as_f64()?])
    };
    // As soon as something was measured.
    let outcome = outcome(&[], &[], |outcome| interval(outcome).is_some_and(|[low, high]| high - low < 1.0));
    assert_eq!((number(&outcome["seed"]), &outcome["processes"]), (1, &2.into()));
    assert!(number(&outcome["changes"]) > 0);
    let arms = outcome["arms"].as_array().unwrap();
    assert_eq!(arms[0]["policy"], "learned");
    let [low, high] = interval(&outcome).unwrap();
    let truth = arms[0]["stale_rate"].as_f64().unwrap();
    // An interval of 95 % may miss the truth, but not by its own width.
    let width = high - low;
    assert!((low - width..=high + width).contains(&truth), "{truth} is far from {low} to {high}");
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
        (0..2001).map(|row| format!("{row},{},1,{}\n", row % 37, ["get", "get", "set"][row % 3])).collect();
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
    let outcome = outcome(&[], &[("PATH", nowhere.path().to_str().unwrap())], |_| true);
    assert_eq!((&outcome["second_tier"], outcome["remote_delay_ms"].as_f64()), (&"in process".into(), Some(1.0)));
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
    let options = ["--redis", &url];
    // Nobody vouches for it.
    let output = command(&options).arg("--json").output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("certificate") && !told.contains("hunter2"), "{told}");
    let outcome = outcome(&options, &[("SSL_CERT_FILE", &certificate)], |_| true);
    assert_eq!(outcome["second_tier"], "redis");
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
    // A port that the system hands out to nobody.
    let nobody = "127.0.0.1:1";
    let output = command(&["--redis", &format!("redis://ann:secret@{nobody}")]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains(&format!("no way to the Redis at {nobody}")) && !told.contains("secret"), "{told}");
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
