//! Write-behind in a process of its own that is killed, or that the system denies space and descriptors.
//!
//! The child is this test binary, run again. With `LARDER_SOAK` it kills 200 times, not 20.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // helpers outside `#[test]` functions fail the test just the same

use crate::support;

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use larder::behind::{Behind, Options, Sink, Write};
use larder::{Error, ErrorKind};
use parking_lot::Mutex;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const PATIENCE: Duration = Duration::from_secs(60);

/// Tasks of the child that append, each to keys of its own.
const CALLERS: usize = 4;

/// Keys of each.
const KEYS: u64 = 5;

/// A sink that is a file of lines; it survives the process that writes it.
struct Lines(Mutex<File>);

impl Lines {
    fn open(folder: &Path) -> Arc<Self> {
        let path = folder.join("sink.txt");
        let file = File::options().create(true).append(true).open(path).unwrap();
        // What a kill cut short is a line that means nothing.
        let lines = Self(Mutex::new(file));
        lines.0.lock().write_all(b"\n").unwrap();
        Arc::new(lines)
    }
}

impl Sink for Lines {
    fn write<'a>(&'a self, batch: &'a [Write]) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let text: String = batch.iter().map(line).collect();
            self.0.lock().write_all(text.as_bytes()).map_err(|e| Error::caused(ErrorKind::Sink, "no space", e))
        }
        .boxed()
    }
}

/// A write as a line, which says at its end that it is whole.
fn line(write: &Write) -> String {
    let value = write.value.as_ref().map_or("deleted", |value| std::str::from_utf8(value).unwrap());
    format!("{} {} {value} .\n", write.sequence, write.name)
}

/// The whole lines of a text: sequence, name, value.
fn parse(text: &str) -> impl Iterator<Item = (u64, String, String)> {
    text.lines().filter_map(|line| {
        let [sequence, name, value, "."] = line.split(' ').collect::<Vec<_>>()[..] else { return None };
        Some((sequence.parse().ok()?, name.to_owned(), value.to_owned()))
    })
}

/// Small segments, frequent checkpoints: a kill finds something going on everywhere.
fn options(coalesce: bool) -> Options {
    Options {
        segment_bytes: 2000,
        batch_writes: 16,
        flush_interval: Duration::from_millis(1),
        checkpoint_interval: Duration::from_millis(3),
        coalesce,
        ..Options::default()
    }
}

/// This binary again, as the child that does `what` in `folder`.
fn child(what: &str, folder: &Path) -> Command {
    // A process over its file size limit gets a signal first, which is to be ignored; a shell can say so, safe Rust cannot.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "--nocapture", "behind_kill::child_process"]);
    command.env("LARDER_CHILD", what).env("LARDER_FOLDER", folder).stdout(Stdio::piped());
    command
}

/// What the child does; it ends by being killed, or with success.
#[test]
#[ignore = "a part of the other tests, which run it in a process of its own"]
fn child_process() {
    let what = std::env::var("LARDER_CHILD").expect("run by another test");
    let folder = PathBuf::from(std::env::var("LARDER_FOLDER").expect("run by another test"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        match &*what {
            "append" => append_many(&folder, false, u64::MAX).await,
            "append coalesced" => append_many(&folder, true, u64::MAX).await,
            "append some" => append_many(&folder, false, 100).await,
            "file size" => run_out_of(Resource::Fsize, 6000, &folder).await,
            "full disk" => fill_the_disk(&folder).await,
            "descriptors" => run_out_of(Resource::Nofile, 0, &folder).await,
            other => panic!("what is {other}?"),
        }
    });
}

async fn append_many(folder: &Path, coalesce: bool, each: u64) {
    let behind = Behind::open(folder.join("log"), options(coalesce), Lines::open(folder)).await.unwrap();
    let run = std::process::id();
    let callers: Vec<_> = (0..CALLERS).map(|caller| tokio::spawn(append(behind.clone(), caller, run, each))).collect();
    for caller in callers {
        caller.await.unwrap();
    }
}

async fn append(behind: Behind, caller: usize, run: u32, most: u64) {
    for count in 0..most {
        let name = format!("{caller}:{}", count % KEYS);
        // The name is in the value, so that a value can be seen to be of its key.
        let value =
            (count % 7 != 6).then(|| format!("{name}/{run}/{count}/{}", "x".repeat((count * 37 % 300) as usize)));
        let value = value.map(bytes::Bytes::from);
        let sequence = behind.append(name.as_str().into(), value.clone()).await.unwrap();
        let text = line(&Write { sequence, name: name.into(), value });
        std::io::stdout().lock().write_all(text.as_bytes()).unwrap();
    }
}

/// Appends until the system denies more, is allowed more again, and goes on.
async fn run_out_of(resource: Resource, amount: u64, folder: &Path) {
    let limit = |most| setrlimit(resource, Rlimit { current: most, ..getrlimit(resource) }).unwrap();
    let before = getrlimit(resource).current;
    // One segment, longer than the file may be, or many, for which there is no descriptor.
    let segment_bytes = if amount > 0 { 1 << 20 } else { 1000 };
    // The sink gets nothing yet, or it would be denied too.
    let options =
        Options { segment_bytes, batch_writes: 1000, flush_interval: Duration::from_secs(3600), ..options(false) };
    let behind = Behind::open(folder.join("log"), options, Lines::open(folder)).await.unwrap();
    limit(Some(amount));
    let (mut failed, mut acknowledged) = (0, 0);
    for count in 0..60 {
        if failed == 3 {
            limit(before);
        }
        let value = format!("{count}/{}", "x".repeat(400));
        let outcome = behind.append("k".into(), Some(value.clone().into())).await;
        match outcome {
            Ok(sequence) => {
                acknowledged += 1;
                let text = line(&Write { sequence, name: "k".into(), value: Some(value.into()) });
                std::io::stdout().lock().write_all(text.as_bytes()).unwrap();
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
                failed += 1;
            }
        }
    }
    assert_eq!((failed, acknowledged), (3, 57), "the limit is reached, and left when there is space again");
    assert_eq!(behind.stats().failed, 3);
}

/// A sink that is down.
struct Down(AtomicBool);

impl Sink for Down {
    fn write<'a>(&'a self, _: &'a [Write]) -> BoxFuture<'a, Result<(), Error>> {
        let is_down = self.0.load(SeqCst);
        async move { if is_down { Err(Error::new(ErrorKind::Sink, "down")) } else { Ok(()) } }.boxed()
    }
}

/// Appends until the disk is full, and until it takes more again, once the sink has what is there.
async fn fill_the_disk(folder: &Path) {
    let sink = Arc::new(Down(AtomicBool::new(false)));
    let short = Duration::from_millis(5);
    let options = Options { segment_bytes: 20_000, retry_first: short, retry_longest: short, ..options(false) };
    let behind = Behind::open(folder.join("log"), options, sink.clone()).await.unwrap();
    let append = || behind.append("k".into(), Some(vec![7; 1000].into()));
    append().await.unwrap();
    while !folder.join("log/checkpoint").exists() {
        tokio::time::sleep(short).await;
    }
    sink.0.store(true, SeqCst);
    let error = loop {
        if let Err(error) = append().await {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
    // What is left of it is another's.
    let mut other = File::create(folder.join("other")).unwrap();
    while other.write_all(&[7; 4096]).is_ok() {}
    sink.0.store(false, SeqCst);
    let taken = async {
        while append().await.is_err() {
            tokio::time::sleep(short).await;
        }
    };
    tokio::time::timeout(PATIENCE, taken).await.expect("it takes more");
}

/// What a folder's log still holds is given to its sink; then everything the sink ever got.
fn finish(folder: &Path, coalesce: bool) -> Vec<(u64, String, String)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let behind = support::reopen(&folder.join("log"), options(coalesce), Lines::open(folder)).await;
        assert_eq!(behind.stats().lost, 0);
        assert_eq!(behind.shutdown(PATIENCE).await.unwrap(), 0);
    });
    parse(&String::from_utf8_lossy(&fs::read(folder.join("sink.txt")).unwrap())).collect()
}

/// Starts the child again and again, and kills it a random while after it began to acknowledge, or before.
fn kill(times: usize, coalesce: bool) {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    let mut seed = 0x9e37_79b9_u64;
    for round in 0..times {
        let what = if coalesce { "append coalesced" } else { "append" };
        let mut child = child(what, folder.path()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (begins, begun) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            let mut stdout = BufReader::new(stdout);
            while stdout.read_line(&mut text).unwrap() > 0 {
                if parse(&text).next().is_some() {
                    let _ = begins.send(());
                }
            }
            text
        });
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Every fourth dies while it opens the log; the others up to a fifth of a second later.
        let most = if round % 4 == 3 { 15_000 } else { 200_000 };
        if round % 4 < 3 {
            begun.recv_timeout(PATIENCE).unwrap();
        }
        std::thread::sleep(Duration::from_micros((seed >> 33) % most));
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged.extend(parse(&reader.join().unwrap()));
    }
    assert!(acknowledged.len() > times, "the children did something: {}", acknowledged.len());
    check_all_taken(folder.path(), &acknowledged, coalesce);
}

/// The sink gets everything that was acknowledged, in order, and nothing else.
fn check_all_taken(folder: &Path, acknowledged: &[(u64, String, String)], coalesce: bool) {
    let taken = finish(folder, coalesce);

    // Nothing invented: a sequence is one write, and a value belongs to its key.
    let mut writes = BTreeMap::new();
    for (sequence, name, value) in taken.iter().chain(acknowledged) {
        assert!(value == "deleted" || value.split('/').next() == Some(name), "{value} at {name}");
        let known = writes.entry(*sequence).or_insert((name, value));
        assert_eq!(*known, (name, value), "two writes with the sequence {sequence}");
    }
    // Order: a sink that heeds sequences never goes back, and one that has a write has had those of the key before it.
    let mut newest = HashMap::<&str, u64>::new();
    let mut first_seen = Vec::new();
    for (sequence, name, _) in &taken {
        let newest = newest.entry(name).or_default();
        if *sequence > *newest {
            first_seen.push(*sequence);
            *newest = *sequence;
        }
    }
    // Nothing lost.
    let got: std::collections::HashSet<_> = taken.iter().map(|(sequence, ..)| *sequence).collect();
    for (sequence, name, value) in acknowledged {
        let lost = if coalesce { newest.get(&**name) < Some(sequence) } else { !got.contains(sequence) };
        assert!(!lost, "lost {sequence} {name} {value}");
    }
    if !coalesce {
        // Whatever came for the first time came in its order.
        assert_eq!(first_seen.len(), got.len());
    }
    eprintln!(
        "{} acknowledged, {} to the sink, {} of them again",
        acknowledged.len(),
        taken.len(),
        taken.len() - got.len()
    );
}

fn kills() -> usize {
    if support::soak() { 200 } else { 20 }
}

/// Killed before each write to a segment, before and after its fdatasync, before and after a checkpoint's fsync and its rename, before a segment
/// leaves.
#[test]
fn kill_minus_nine_at_each_step_loses_nothing_acknowledged() {
    if !support::can_trace() {
        return;
    }
    for step in ["write", "fdatasync", "fsync", "rename", "unlink"] {
        let folder = tempfile::tempdir().unwrap();
        let (mut acknowledged, mut killed) = (Vec::new(), 0);
        for when in 1..=if support::soak() { 200 } else { 10 } {
            let mut child = support::killed_at(step, when, "behind_kill::child_process");
            child.env("LARDER_CHILD", "append some").env("LARDER_FOLDER", folder.path());
            let output = child.output().unwrap();
            killed += u32::from(!output.status.success());
            acknowledged.extend(parse(&String::from_utf8_lossy(&output.stdout)));
        }
        assert!(
            killed >= 5 && acknowledged.len() > 10,
            "{killed} kills at {step}, {} acknowledged",
            acknowledged.len()
        );
        check_all_taken(folder.path(), &acknowledged, false);
    }
}

#[test]
fn kill_minus_nine_loses_nothing_acknowledged() {
    kill(kills(), false);
}

#[test]
fn kill_minus_nine_loses_no_last_write_of_a_key() {
    kill(kills(), true);
}

/// There is no portable way to a disk that is full. A limit on the size of a file cuts a write short and fails the next one as
/// a full disk does (`EFBIG` for `ENOSPC`).
#[test]
fn a_full_disk_fails_appends_and_loses_nothing() {
    denied("file size");
}

/// A full disk is left full by nothing but what the sink does not have yet.
#[test]
fn a_full_disk_takes_more_once_the_sink_has_what_is_there() {
    const MOUNT: [&str; 6] =
        ["-r", "-m", "sh", "-c", "mount -t tmpfs -o size=256k tmpfs \"$LARDER_FOLDER\" && exec \"$@\"", "sh"];
    let folder = tempfile::tempdir().unwrap();
    if !support::works("unshare", &["-r", "-m", "mount", "-t", "tmpfs", "tmpfs", folder.path().to_str().unwrap()]) {
        return;
    }
    let inner = child("full disk", folder.path());
    let mut command = Command::new("unshare");
    command.args(MOUNT).arg(inner.get_program()).args(inner.get_args());
    command.env("LARDER_CHILD", "full disk").env("LARDER_FOLDER", folder.path()).stdout(Stdio::piped());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn without_descriptors_appends_fail_and_nothing_is_lost() {
    denied("descriptors");
}

fn denied(what: &str) {
    let folder = tempfile::tempdir().unwrap();
    let output = child(what, folder.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let acknowledged: Vec<_> = parse(&text).collect();
    assert_eq!(acknowledged.len(), 57);
    assert_eq!(finish(folder.path(), false), acknowledged);
}
