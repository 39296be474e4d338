//! What instances of a service record into a stream of a real Redis, read by the commands.
#![allow(clippy::unwrap_used)] // helpers outside #[test] functions; a failure is a failed test

#[path = "../../larder-redis/tests/support/server.rs"]
#[allow(dead_code, unreachable_pub, reason = "the servers of another crate's tests")]
mod server;

mod support {
    pub(crate) use crate::server;
}

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use larder::recorder::{Event, Options, Recorder};
use larder_redis::{RecordStream, RedisConfig};
use larder_sim::Source;
use larder_trace::Request;
use serde_json::Value;
use server::Server;

const PASSWORD: &str = "hunter2";
/// The most rows of a recorder's batch.
const BATCH: u64 = 4096;

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(words).stdin(Stdio::null()).env_remove("LARDER_LOG");
    command
}

fn run(words: &[&str]) -> Output {
    command(words).output().unwrap()
}

fn said(words: &[&str]) -> String {
    let output = run(words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The exit status and the message.
fn refused(words: &[&str]) -> (i32, String) {
    let output = run(words);
    assert!(output.stdout.is_empty(), "{words:?}");
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn options() -> Options {
    Options { queue: 1 << 18, key: Some([3; 16]), ..Options::default() }
}

fn streaming(config: RedisConfig, stream: &str) -> Recorder {
    Recorder::stream(Arc::new(RecordStream::new(config, stream, 10_000).unwrap()), options()).unwrap()
}

fn record<'a>(recorder: &Recorder, rows: impl Iterator<Item = &'a Request>) {
    let mut recorded = 0;
    for row in rows {
        let (at, size, op) = (row.at.0, row.size, row.op);
        recorder.record(&Event { key: row.key.into(), at, size, op, ttl: None, cost: row.cost });
        recorded += 1;
    }
    // The end waits for a while only: until then but one batch is left.
    let until = Instant::now() + Duration::from_secs(60);
    while recorder.recorded().written + BATCH <= recorded {
        assert!(Instant::now() < until, "{:?} of {recorded} rows", recorder.recorded());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(recorder.finish().unwrap().dropped, 0);
}

fn requests(trace: &str) -> Vec<Request> {
    let mut reader = Source::trace(trace, Default::default()).open().unwrap();
    let mut requests = Vec::new();
    while reader.read(&mut requests, 10_000).unwrap() > 0 {}
    requests
}

/// A server that asks for a password, and the URL that has it.
fn guarded() -> (Server, String) {
    let mut server = Server::start(&["--requirepass", PASSWORD]);
    server.login_with(PASSWORD);
    let url = format!("redis://:{PASSWORD}@127.0.0.1:{}", server.port);
    (server, url)
}

#[test]
fn instances_are_merged_by_time_and_train_a_model() {
    need_redis!();
    let (server, url) = guarded();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for day in 1..=3 {
        let rows = requests(&format!("gen:phase:requests=60_000/keys=3000/every=6_000/seed={day}"));
        // Three instances, of which the last was there for the second half alone; and the same in one file.
        let instance = |at: usize| if at < rows.len() / 2 { at % 2 } else { at % 3 };
        for number in 0..3 {
            let own = rows.iter().enumerate().filter(|(at, _)| instance(*at) == number).map(|(_, row)| row);
            record(&streaming(RedisConfig::single(&url).unwrap(), &format!("day{day}")), own);
        }
        record(&Recorder::create(path(&format!("file{day}.csv")), options()).unwrap(), rows.iter());
    }
    let streams = [1, 2, 3].map(|day| format!("{url}/0/day{day}"));
    said(&["convert", &streams[0], &path("day1.csv")]);
    let [streamed, filed] = ["day1.csv", "file1.csv"].map(|name| fs::read_to_string(path(name)).unwrap());
    assert!(streamed == filed && filed.lines().count() == 60_001, "the same rows in the same order");

    let out = path("recorded");
    let words = ["train", &streams[0], &streams[1], &streams[2], "--capacity", "1%,5%", "--holdout", "trace"];
    let card: Value = serde_json::from_str(&said(&[&words[..], &["--out", &out, "--json"]].concat())).unwrap();
    assert_eq!(card["held_out"].as_array().unwrap().len(), 12, "on other traces and in later time");
    let read = |name: &str| fs::read_to_string(Path::new(&out).join(name)).unwrap();
    let recipe: toml::Table = read("train.toml").parse().unwrap();
    let trace = &recipe["trace"][0];
    assert_eq!(trace["name"].as_str(), Some(&*format!("redis://127.0.0.1:{}/0/day1", server.port)));
    assert_eq!((trace["rows"].as_integer(), trace["sha256"].as_str().unwrap().len()), (Some(60_000), 64));
    assert!(![read("train.toml"), read("card.md")].concat().contains(PASSWORD));

    // The other commands come through the same door.
    let stats: Value = serde_json::from_str(&said(&["stats", &streams[0], "--json"])).unwrap();
    assert_eq!((stats["trace"].as_str(), stats["requests"].as_u64()), (Some("day1"), Some(60_000)));
    let replay = ["replay", &streams[0], "--capacity", "5%", "--report", &path("report"), "--json"];
    assert_eq!(said(&replay).lines().count(), 2);
    assert!(!fs::read_to_string(path("report/report.html")).unwrap().contains(PASSWORD));
    said(&["compare", &streams[0], &streams[1], "--policy", "lru,s3fifo", "--capacity", "5%"]);
    let (code, text) = refused(&["freshness", &streams[0]]);
    assert!(code == 1 && text.contains("day1: no row says that a value changed"), "{text}");
    let (code, text) = refused(&["compare", &streams[0], &streams[0]]);
    assert!(code == 2 && text.contains("two traces are named day1"), "{text}");
}

#[cfg(unix)]
#[test]
fn a_run_that_is_ended_leaves_no_copy_of_a_stream() {
    need_redis!();
    let (server, url) = guarded();
    let recorder = streaming(RedisConfig::single(&url).unwrap(), "reads");
    record(&recorder, requests("gen:zipf:requests=60_000/keys=20_000").iter());
    let temporary = tempfile::tempdir().unwrap();
    // It takes many seconds, and keeps the copy as long.
    let words = ["--policy", "learned,lhd,lirs,arc", "--capacity", "1%,2%,3%,4%,5%,6%,7%,8%,9%,10%", "--threads", "1"];
    let mut replay = command(&["replay", &format!("{url}/reads")]);
    replay.args(words);
    replay.env("TMPDIR", temporary.path()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut replay = replay.spawn().unwrap();
    // The spool has no name for long: it may be gone by the time it is looked at.
    let copies =
        || fs::read_dir(temporary.path()).unwrap().filter_map(|file| Some(file.unwrap().metadata().ok()?.len()));
    let until = Instant::now() + Duration::from_secs(60);
    while !copies().any(|bytes| bytes > 10) {
        if Instant::now() >= until {
            replay.kill().unwrap();
            panic!("nothing is copied");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(Command::new("kill").args(["-INT", &replay.id().to_string()]).status().unwrap().success());
    assert_eq!(replay.wait().unwrap().code(), Some(130));
    assert_eq!(copies().count(), 0);
    drop(server);
}

#[test]
fn what_cannot_be_read_is_said_and_where() {
    need_redis!();
    let (server, url) = guarded();
    let stats = |url: &str| {
        let (code, text) = refused(&["stats", url]);
        assert!(!text.contains(PASSWORD), "{text}");
        (code, text)
    };
    for url in [&url, &format!("{url}/3")] {
        let (code, text) = stats(url);
        assert!(code == 2 && text.contains("names no stream: give redis://"), "{text}");
    }
    for (url, what) in [
        (format!("redis://127.0.0.1:{}/traffic", server.port), "does not accept the login"),
        (format!("redis://:guess@127.0.0.1:{}/traffic", server.port), "does not accept the login"),
        ("redis://127.0.0.1:1/traffic".to_owned(), "refused"),
        (format!("{url}/traffic"), "no stream 'traffic'"),
    ] {
        let (code, text) = stats(&url);
        assert!(code == 1 && text.contains(what) && text.starts_with("error: redis://127.0.0.1:"), "{text}");
    }
    let add = |fields: &[&str]| -> String { server.tell(&[&["XADD", "traffic", "*"], fields].concat()).unwrap() };
    let batch = |data: &str| add(&["format", "1", "recorder", "a", "number", "1", "rows", "2", "data", data]);
    let csv = "time,key,size,op,ttl,cost\n1,2,3,get,,\n";
    for (id, what) in [
        (add(&["name", "k"]), "no field 'format'".to_owned()),
        (batch(&format!("{csv}2,2,3,got,,\n")), "line 3, byte".to_owned()),
        (batch("no header\n"), "expected the header".to_owned()),
        (batch("\u{28}"), "expected the header".to_owned()),
        (batch(csv), "not the 2 rows".to_owned()),
    ] {
        let (code, text) = stats(&format!("{url}/traffic"));
        assert!(code == 1 && text.contains(&what) && text.contains(&format!("entry {id} of")), "{text}");
        assert!(text.contains(&format!("XDEL traffic {id}")), "{text}");
        server.tell::<()>(&["XDEL", "traffic", &id]).unwrap();
    }
    batch(&format!("{csv}0.5,2,3,get,,\n"));
    assert!(said(&["stats", &format!("{url}/traffic")]).contains("traffic"));
}

#[cfg(feature = "tls")]
#[test]
fn a_stream_is_read_over_tls() {
    need_redis!();
    // As the command does.
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let mut server = Server::planned(&[]);
    let (certificate, key, root) = server.certify("own");
    let port = server::free_port();
    server.add_args(&["--tls-port", &port.to_string(), "--tls-cert-file", &certificate, "--tls-key-file", &key]);
    server.add_args(&["--tls-ca-cert-file", &certificate, "--tls-auth-clients", "no"]);
    server.run();
    let url = format!("rediss://localhost:{port}");
    let mut config = RedisConfig::single(&url).unwrap();
    config.certificates =
        Some(Arc::new(move || redis::TlsCertificates { client_tls: None, root_cert: Some(root.clone()) }));
    record(&streaming(config, "traffic"), requests("gen:zipf:requests=9_000/keys=100").iter());
    let url = format!("{url}/traffic");
    let (code, text) = refused(&["stats", &url]);
    assert!(code == 1 && text.contains("certificate"), "{text}");
    let output = command(&["stats", &url, "--json"]).env("SSL_CERT_FILE", &certificate).output().unwrap();
    let stats: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(stats["requests"].as_u64(), Some(9_000));
}

#[cfg(not(feature = "tls"))]
#[test]
fn tls_takes_a_build_that_speaks_it() {
    let (code, text) = refused(&["stats", "rediss://localhost/traffic"]);
    assert!(code == 2 && text.contains("feature `tls`"), "{text}");
}
