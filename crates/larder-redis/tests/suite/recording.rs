//! Recorders of several instances write to one stream of a real server, and a reader has each event once, whatever breaks.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use crate::{need_redis, support};

use std::collections::HashSet;
use std::convert::Infallible;
use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use larder::recorder::{Event, Options, Recorder};
use larder::{Cache, ErrorKind};
use larder_policy::Op;
use larder_redis::{RecordReader, RecordStream, RedisConfig};
use larder_trace::{Input, Request, open_input};
use support::proxy::{Accident, Proxy, Way};
use support::server::Server;
use support::{RECOVERY, eventually};
use tokio::time::timeout;

const STREAM: &str = "traffic";
const PLENTY: u64 = 10_000;
const FRAME: u64 = 4096;

fn config(url: &str) -> RedisConfig {
    RedisConfig::single(url).unwrap()
}

fn options() -> Options {
    Options { key: Some([7; 16]), queue: 1 << 20, ..Options::default() }
}

fn recorder(url: &str) -> Recorder {
    Recorder::stream(Arc::new(RecordStream::new(config(url), STREAM, PLENTY).unwrap()), options()).unwrap()
}

fn record(recorder: &Recorder, ats: impl IntoIterator<Item = u64>) {
    for at in ats {
        recorder.record(&Event { key: (at % 50).into(), at, size: 7, op: Op::Get, ttl: None, cost: 3 });
    }
}

/// What lies in the stream, a list of requests for each batch, and how many batches are missing.
async fn read(url: &str) -> (Vec<Vec<Request>>, u64) {
    let mut reader = RecordReader::open(&config(url), STREAM).await.unwrap();
    let mut batches = Vec::new();
    while let Some((id, batch)) = reader.next().await.unwrap() {
        let input = Input::new(&id, Cursor::new(batch.bytes), None).unwrap();
        let rows: Vec<_> = open_input(input, &Default::default()).unwrap().into_iter().map(Result::unwrap).collect();
        assert_eq!(rows.len() as u32, batch.rows);
        assert!(rows.is_sorted_by_key(|row| row.at));
        batches.push(rows);
    }
    (batches, reader.missing())
}

#[tokio::test]
async fn instances_record_into_one_stream() {
    need_redis!();
    let server = Server::start(&[]);
    let recorders = [0, 1].map(|_| Arc::new(recorder(&server.url())));
    for recorder in &recorders {
        let cache = Cache::builder().capacity(100).segments(1).recorder(recorder.clone()).build().unwrap();
        for key in 0..9000u64 {
            cache.get_with(&(key % 300), async move || Ok::<_, Infallible>(key)).await.unwrap();
        }
        // On a runtime of one thread, which this blocks.
        let recorded = recorder.finish().unwrap();
        assert_eq!((recorded.dropped, recorded.has_failed), (0, false));
        assert!(recorded.written >= 9000 && recorded.bytes > 0, "{recorded:?}");
    }
    let (batches, missing) = read(&server.url()).await;
    let written: u64 = recorders.iter().map(|recorder| recorder.recorded().written).sum();
    assert_eq!((batches.iter().flatten().count() as u64, missing), (written, 0));
    // Keys are hashes that agree between instances.
    let keys: HashSet<u64> = batches.iter().flatten().map(|row| row.key).collect();
    assert!(keys.len() == 300 && keys.iter().all(|&key| key > 1 << 20), "{}", keys.len());
    // As redis-cli shows an entry.
    let [id, fields]: [redis::Value; 2] =
        server.tell::<Vec<[redis::Value; 2]>>(&["XRANGE", STREAM, "-", "+", "COUNT", "1"]).unwrap().pop().unwrap();
    assert!(matches!(id, redis::Value::BulkString(_)));
    let fields: Vec<Vec<u8>> = redis::from_redis_value(fields).unwrap();
    let names: Vec<_> = fields.iter().step_by(2).map(|name| str::from_utf8(name).unwrap()).collect();
    assert_eq!(names, ["format", "recorder", "number", "rows", "data"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_meanwhile_loses_and_repeats_nothing() {
    need_redis!();
    let server = Server::start(&[]);
    let proxy = Proxy::before(server.address()).await;
    // At first there is nobody.
    proxy.set(Way { refuse: true, ..Way::default() });
    let recorder = recorder(&proxy.url());
    record(&recorder, 0..2 * FRAME);
    proxy.set(Way::default());
    eventually("the first arrive", RECOVERY, async || recorder.recorded().written >= FRAME).await;
    for round in 1..5 {
        // The server's next answer is not heard: mostly that it has the batch.
        proxy.accident(Accident::Close);
        record(&recorder, round * 2 * FRAME..(round + 1) * 2 * FRAME);
        eventually("it is not heard", RECOVERY, async || proxy.has_happened()).await;
    }
    let recorded = recorder.finish().unwrap();
    assert_eq!((recorded.written, recorded.dropped), (10 * FRAME, 0));
    let (batches, missing) = read(&server.url()).await;
    let ats: Vec<u64> = batches.iter().flatten().map(|row| row.at.0).collect();
    assert!(missing == 0 && ats == (0..10 * FRAME).collect::<Vec<_>>(), "{missing} {}", ats.len());
    let length: usize = server.tell(&["XLEN", STREAM]).unwrap();
    assert!(length > batches.len(), "something was sent again: {length}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_gone_costs_events_and_they_are_counted() {
    need_redis!();
    let mut server = Server::start(&[]);
    let recorder = recorder(&server.url());
    record(&recorder, 0..FRAME);
    eventually("the first batch arrives", RECOVERY, async || recorder.recorded().written == FRAME).await;
    server.kill();
    // More than wait for it.
    let offered = 80 * FRAME;
    record(&recorder, FRAME..offered);
    eventually("some are dropped", RECOVERY, async || recorder.recorded().dropped > 0).await;
    let error = recorder.finish().unwrap_err();
    assert!(error.kind() == ErrorKind::Sink && error.to_string().contains("did not reach the sink"), "{error}");
    let recorded = recorder.recorded();
    assert_eq!((recorded.written, recorded.written + recorded.dropped), (FRAME, offered));
    assert!(recorded.has_failed);
}

#[tokio::test]
async fn the_stream_is_trimmed_and_what_is_missing_is_told() {
    need_redis!();
    let server = Server::start(&[]);
    let sink = Arc::new(RecordStream::new(config(&server.url()), STREAM, 8).unwrap());
    let recorder = Recorder::stream(sink, options()).unwrap();
    record(&recorder, 0..40 * FRAME);
    assert_eq!(recorder.finish().unwrap().written, 40 * FRAME);
    let length: u64 = server.tell(&["XLEN", STREAM]).unwrap();
    assert!((8..12).contains(&length), "{length}");
    let (batches, missing) = read(&server.url()).await;
    assert_eq!((batches.len() as u64, missing), (length, 0), "what was trimmed is no gap");
    let third: Vec<(String, Vec<Vec<u8>>)> = server.tell(&["XRANGE", STREAM, "-", "+", "COUNT", "3"]).unwrap();
    server.tell::<()>(&["XDEL", STREAM, &third[2].0]).unwrap();
    assert_eq!(read(&server.url()).await.1, 1);
}

#[tokio::test]
async fn whoever_may_do_no_more_than_it_needs_can_record_and_read() {
    need_redis!();
    let server = Server::start(&[]);
    let user = |name: &str, commands: &[&str]| {
        let words = ["ACL", "SETUSER", name, "on", ">secret", "~traffic"];
        server.tell::<()>(&[&words[..], commands].concat()).unwrap();
        format!("redis://{name}:secret@127.0.0.1:{}", server.port)
    };
    let writer = recorder(&user("writer", &["+xadd", "+ping", "+time"]));
    record(&writer, 0..100);
    assert_eq!(writer.finish().unwrap().written, 100);
    assert_eq!(read(&user("reader", &["+type", "+xrange", "+xrevrange"])).await.0.len(), 1);
}

#[tokio::test]
async fn a_reader_does_not_wait_for_ever() {
    need_redis!();
    let server = Server::start(&[]);
    let recorder = recorder(&server.url());
    record(&recorder, 0..100);
    recorder.finish().unwrap();
    let mut config = config(&server.url());
    config.answer_within = Duration::from_millis(200);
    let mut reader = RecordReader::open(&config, STREAM).await.unwrap();
    server.freeze();
    let answer = timeout(RECOVERY, reader.next()).await.expect("it gives up by itself");
    assert!(answer.unwrap_err().is_retryable());
}

#[tokio::test]
async fn what_is_no_recording_is_refused_by_name() {
    need_redis!();
    let server = Server::start(&["--requirepass", "secret"]);
    let server = {
        let mut server = server;
        server.login_with("secret");
        server
    };
    let url = format!("redis://:secret@127.0.0.1:{}", server.port);
    let refused = async |url: &str| RecordReader::open(&config(url), STREAM).await.unwrap_err();
    for wrong in [server.url(), url.replace("secret", "guess")] {
        let error = refused(&wrong).await;
        assert!(error.to_string().contains("does not accept the login"), "{error}");
        assert!(!error.to_string().contains("guess"));
    }
    let error = refused(&url).await;
    assert!(error.kind() == ErrorKind::NotFound && error.to_string().contains("no stream 'traffic'"), "{error}");
    server.tell::<()>(&["SADD", STREAM, "x"]).unwrap();
    assert!(refused(&url).await.to_string().contains("is a set, no stream"));
    server.tell::<()>(&["DEL", STREAM]).unwrap();
    server.tell::<()>(&["XADD", STREAM, "MAXLEN", "0", "1-1", "a", "b"]).unwrap();
    assert!(refused(&url).await.to_string().contains("is empty"));

    for (id, fields, what) in [
        ("7-1", &["name", "k", "value", "v"][..], "it has no field 'format'"),
        ("7-2", &["format", "2", "data", "x"], "of the format '2'"),
        ("7-3", &["format", "1", "recorder", "zz", "number", "1", "rows", "1", "data", "x"], "'recorder' is no number"),
        ("7-4", &["format", "1", "recorder", "aa", "number", "1", "rows", "5000000000", "data", "x"], "too many rows"),
    ] {
        server.tell::<()>(&[&["XADD", STREAM, id][..], fields].concat()).unwrap();
        let mut reader = RecordReader::open(&config(&url), STREAM).await.unwrap();
        let error = reader.next().await.unwrap_err();
        let text = error.to_string();
        assert!(error.kind() == ErrorKind::Codec && text.contains(what), "{text}");
        // As it says.
        assert!(text.contains(&format!("XDEL traffic {id}")), "{text}");
        server.tell::<()>(&["XDEL", STREAM, id]).unwrap();
    }
    let gone = RecordReader::open(&config("redis://127.0.0.1:1"), STREAM).await.unwrap_err();
    assert!(gone.is_retryable() && gone.to_string().contains("refused"), "{gone}");
    for (stream, most) in [("", 5), ("s", 0)] {
        assert_eq!(RecordStream::new(config(&url), stream, most).unwrap_err().kind(), ErrorKind::Config);
    }
}
