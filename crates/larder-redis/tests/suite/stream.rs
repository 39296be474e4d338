//! Write-behind into a stream of a real server: nothing acknowledged is lost, nothing is there twice, whoever is killed.
//!
//! The writer is this test binary, run again.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use crate::{need_redis, support};

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use larder::behind::{Behind, Options, Sink, Write};
use larder::{Error, ErrorKind};
use larder_redis::{RedisConfig, StreamOptions, StreamSink};
use support::proxy::{Accident, Proxy};
use support::server::Server;
use support::{RECOVERY, eventually, unhurried};
use tokio::runtime::Handle;

const STREAM: &str = "writes";
const PATIENCE: Duration = Duration::from_secs(60);
/// Each ends with a kill of the writer; the server dies in every third.
const ROUNDS: usize = 9;

fn sink(url: &str, options: StreamOptions) -> Arc<StreamSink> {
    Arc::new(StreamSink::new(unhurried(url), STREAM, options, &Handle::current()).unwrap())
}

/// Small batches, late checkpoints: much is sent again.
fn options() -> Options {
    Options {
        batch_writes: 16,
        flush_interval: Duration::from_millis(1),
        checkpoint_interval: Duration::from_millis(200),
        retry_first: Duration::from_millis(5),
        retry_longest: Duration::from_millis(50),
        coalesce: false,
        ..Options::default()
    }
}

async fn open(folder: &Path, url: &str) -> Behind {
    Behind::open(folder, options(), sink(url, StreamOptions::default())).await.unwrap()
}

/// What the stream holds: an id's sequence, the name, the value.
fn entries(server: &Server) -> Vec<(u64, String, Option<String>)> {
    type Entry = (String, Vec<String>);
    let entries = loop {
        match server.tell::<Vec<Entry>>(&["XRANGE", STREAM, "-", "+"]) {
            // One that was killed listens before it has read its file.
            Err(error) if error.code() == Some("LOADING") => std::thread::sleep(Duration::from_millis(1)),
            answer => break answer.unwrap(),
        }
    };
    let entry = |(id, fields): Entry| {
        let sequence = id.split_once('-').unwrap().1.parse().unwrap();
        assert_eq!(fields[0], "name");
        (sequence, fields[1].clone(), fields.get(3).cloned())
    };
    entries.into_iter().map(entry).collect()
}

fn write(sequence: u64, value: Option<&str>) -> Write {
    Write { sequence, name: format!("k{}", sequence % 5).as_str().into(), value: value.map(|v| v.to_owned().into()) }
}

async fn offer(sink: &StreamSink, batch: &[Write]) -> Error {
    let mut error = None;
    eventually("the sink is connected", RECOVERY, async || {
        error = sink.write(batch).await.err();
        sink.state().connected
    })
    .await;
    error.unwrap_or_else(|| Error::new(ErrorKind::NotFound, "taken"))
}

/// Appends until it is killed, and says what was acknowledged.
#[test]
#[ignore = "a part of another test, which runs it in a process of its own"]
fn child_process() {
    let folder = PathBuf::from(std::env::var("LARDER_FOLDER").expect("run by another test"));
    let url = std::env::var("LARDER_URL").expect("run by another test");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let behind = open(&folder, &url).await;
        for count in 0_u64.. {
            let value = (count % 7 != 6).then(|| format!("{}/{count}", std::process::id()));
            let name = format!("k{}", count % 5);
            let sequence = behind.append(name.as_str().into(), value.clone().map(Into::into)).await.unwrap();
            let text = format!("{sequence} {name} {} .\n", value.unwrap_or_default());
            std::io::stdout().lock().write_all(text.as_bytes()).unwrap();
        }
    });
}

#[test]
fn killed_writers_and_servers_lose_nothing_and_repeat_nothing() {
    need_redis!();
    // What it has acknowledged is on its disk.
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeMap::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "stream::child_process"])
            .env("LARDER_FOLDER", folder.path())
            .env("LARDER_URL", server.url())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let (says, said) = std::sync::mpsc::channel();
        let tell = move |_: &String| _ = says.send(());
        let reader = std::thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).inspect(tell).collect::<Vec<_>>()
        });
        let length = || entries(&server).len();
        let before = length();
        // Until something of this round has arrived, and a while more.
        for _ in 0..1000 {
            if length() > before {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(length() > before, "nothing arrives in round {round}");
        for _ in 0..20 {
            said.recv_timeout(PATIENCE).unwrap();
        }
        std::thread::sleep(Duration::from_millis(fastrand::u64(..150)));
        if round % 3 == 1 {
            server.kill();
            server.run();
            std::thread::sleep(Duration::from_millis(fastrand::u64(..300)));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for line in reader.join().unwrap() {
            let [sequence, name, value, "."] = line.split(' ').collect::<Vec<_>>()[..] else { continue };
            let value = (!value.is_empty()).then(|| value.to_owned());
            acknowledged.insert(sequence.parse::<u64>().unwrap(), (name.to_owned(), value));
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let behind = open(folder.path(), &server.url()).await;
        assert_eq!(behind.shutdown(PATIENCE).await.unwrap(), 0);
    });
    let arrived = entries(&server);
    assert!(acknowledged.len() > 100, "the writers did something: {}", acknowledged.len());
    assert!(arrived.is_sorted_by(|one, two| one.0 < two.0), "in the order of the log, none twice");
    let arrived: BTreeMap<_, _> =
        arrived.into_iter().map(|(sequence, name, value)| (sequence, (name, value))).collect();
    for (sequence, write) in &acknowledged {
        assert_eq!(arrived.get(sequence), Some(write), "{sequence} is lost or another");
    }
    // What a kill kept from being told may be there beside them: at most one a round.
    assert!(arrived.len() <= acknowledged.len() + ROUNDS, "{} of {}", arrived.len(), acknowledged.len());
}

#[tokio::test]
async fn an_answer_that_is_lost_repeats_nothing() {
    need_redis!();
    let server = Server::start(&[]);
    let proxy = Proxy::before(server.address()).await;
    let folder = tempfile::tempdir().unwrap();
    let behind = open(folder.path(), &proxy.url()).await;
    behind.append("first".into(), Some("1".into())).await.unwrap();
    eventually("the first arrives", RECOVERY, async || behind.stats().pending_writes == 0).await;
    for round in 0..5 {
        // What the server says next is not heard: mostly that it has added the writes.
        proxy.accident(Accident::Close);
        for count in 0..20 {
            behind.append(format!("{round}:{count}").as_str().into(), Some("x".into())).await.unwrap();
        }
        eventually("all arrive", RECOVERY, async || behind.stats().pending_writes == 0).await;
        assert!(proxy.has_happened());
    }
    assert!(behind.stats().retried > 0, "something was sent again");
    assert_eq!(behind.shutdown(PATIENCE).await.unwrap(), 0);
    let arrived: Vec<_> = entries(&server).into_iter().map(|(sequence, ..)| sequence).collect();
    assert_eq!(arrived, (1..=101).collect::<Vec<u64>>());
}

#[tokio::test]
async fn what_was_there_is_not_added_again_even_when_it_is_trimmed() {
    need_redis!();
    let server = Server::start(&[]);
    let sink = sink(&server.url(), StreamOptions { max_len: Some(100), ..StreamOptions::default() });
    sink.begin(7);
    let batch: Vec<_> = (1..=1000).map(|sequence| write(sequence, Some("v"))).collect();
    assert_eq!(offer(&sink, &batch).await.kind(), ErrorKind::NotFound);
    let length: u64 = server.tell(&["XLEN", STREAM]).unwrap();
    assert!((100..300).contains(&length), "about 100 are kept: {length}");
    // All of it again, with one more, as after a crash.
    server.tell::<()>(&["XTRIM", STREAM, "MAXLEN", "0"]).unwrap();
    let again: Vec<_> = (500..=1001).map(|sequence| write(sequence, None)).collect();
    sink.write(&again).await.unwrap();
    assert_eq!(entries(&server), [(1001, "k1".to_owned(), None)]);
}

#[tokio::test]
async fn a_stream_is_one_logs_and_a_log_begun_anew_goes_on() {
    need_redis!();
    let server = Server::start(&[]);
    let [old, new] = [7, 8].map(|log| {
        let sink = sink(&server.url(), StreamOptions::default());
        sink.begin(log);
        sink
    });
    assert_eq!(offer(&old, &[write(1, Some("a")), write(2, Some("b"))]).await.kind(), ErrorKind::NotFound);
    // The folder was lost: sequences begin at 1 again, and are no repetition.
    assert_eq!(offer(&new, &[write(1, Some("c"))]).await.kind(), ErrorKind::NotFound);
    let error = old.write(&[write(3, Some("d"))]).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("a stream of its own"), "{error}");
    let values: Vec<_> = entries(&server).into_iter().map(|(_, _, value)| value.unwrap()).collect();
    assert_eq!(values, ["a", "b", "c"]);
    // Somebody else's key is an error that may pass, not a loss.
    server.tell::<()>(&["DEL", STREAM]).unwrap();
    server.tell::<()>(&["SET", STREAM, "theirs"]).unwrap();
    assert!(new.write(&[write(2, None)]).await.unwrap_err().is_retryable());
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    let runtime = Handle::current();
    let single = || RedisConfig::single("redis://127.0.0.1:1").unwrap();
    let error = StreamSink::new(single(), "", StreamOptions::default(), &runtime).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let cluster = RedisConfig::cluster(&["redis://127.0.0.1:1"]).unwrap();
    let waits = StreamOptions { replicas: 1, ..StreamOptions::default() };
    assert_eq!(StreamSink::new(cluster, "s", waits, &runtime).unwrap_err().kind(), ErrorKind::Config);
    // As a cache that writes through would call it.
    let sink = StreamSink::new(single(), "s", StreamOptions::default(), &runtime).unwrap();
    assert_eq!(sink.write(&[write(0, None)]).await.unwrap_err().kind(), ErrorKind::Config);
}
