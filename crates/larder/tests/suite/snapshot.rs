//! Snapshots: what is written is read, what is not whole is refused, and kill −9 leaves whole ones.
#![allow(clippy::unwrap_used)] // helpers outside #[test] functions; a failure is a failed test

use crate::support;

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Cursor};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use larder::prewarm::Days;
use larder::snapshot::{Kept, Newest, Reader, Snapshots, Writer};
use larder::{Error, ErrorKind};
use larder_policy::Rng;
use proptest::prelude::*;

const SCHEMA: u64 = 0x5eed;
const TAKEN: u64 = 1_700_000_000_000_000;

fn kept(name: &str) -> Kept {
    Kept { name: name.to_owned(), size: 100, cost: 2500, reads: 0.5, idle: 7, fresh_until: TAKEN + 9, days: None }
}

fn days() -> Option<Box<Days>> {
    let mut days = Days::new(TAKEN / 1_000_000);
    for hour in 0..240 {
        days.add(TAKEN / 1_000_000 + hour * 3600, (hour % 24) as u32);
    }
    Some(Box::new(days))
}

fn bytes_of(keys: &[Kept]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), SCHEMA, TAKEN).unwrap();
    keys.iter().for_each(|key| writer.push(key).unwrap());
    let (bytes, entries) = writer.finish().unwrap();
    assert_eq!(entries, keys.len() as u64);
    bytes
}

fn read(bytes: &[u8]) -> Result<Vec<Kept>, Error> {
    Reader::new(Cursor::new(bytes), SCHEMA)?.collect()
}

fn any_kept() -> impl Strategy<Value = Kept> {
    let numbers = (any::<u32>(), any::<u32>(), 0f32..1e9, any::<u64>(), any::<u64>());
    ("\\PC{0,40}", numbers, any::<bool>()).prop_map(|(name, (size, cost, reads, idle, fresh_until), followed)| {
        let days = followed.then(days).flatten();
        Kept { name, size, cost, reads, idle, fresh_until, days }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(keys in prop::collection::vec(any_kept(), 0..200)) {
        let bytes = bytes_of(&keys);
        let reader = Reader::new(Cursor::new(&bytes), SCHEMA).unwrap();
        prop_assert_eq!((reader.taken_at(), reader.entries()), (TAKEN, keys.len() as u64));
        prop_assert_eq!(reader.map(Result::unwrap).collect::<Vec<_>>(), keys);
    }

    /// A changed byte anywhere is noticed, and so is a part that is lost, moved or said twice.
    #[test]
    fn damage_is_refused_and_never_panics(
        keys in prop::collection::vec(any_kept(), 1..50),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 1..=255u8), 1..4),
        (from, to) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
    ) {
        let bytes = bytes_of(&keys);
        let mut changed = bytes.clone();
        for (at, flip) in &edits {
            changed[at.index(bytes.len())] ^= flip;
        }
        let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
        let lost = [&bytes[..from.min(to)], &bytes[from.max(to)..]].concat();
        let twice = [&bytes[..from.max(to)], &bytes[from.min(to)..]].concat();
        for damaged in [changed, lost, twice] {
            if damaged != bytes {
                prop_assert_eq!(read(&damaged).unwrap_err().kind(), ErrorKind::Codec);
            }
        }
    }

    #[test]
    fn garbage_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(read(&bytes).unwrap_err().kind(), ErrorKind::Codec);
    }
}

#[test]
fn a_snapshot_of_many_blocks_is_read_and_cut_anywhere_it_is_refused() {
    let keys: Vec<_> = (0..20_000).map(|key| kept(&format!("key:{key}"))).collect();
    let bytes = bytes_of(&keys);
    assert!(bytes.len() > 10 * (1 << 16));
    assert_eq!(read(&bytes).unwrap(), keys);
    let mut rng = Rng::new(1);
    let anywhere = (0..200).map(|_| rng.below(bytes.len() as u32) as usize);
    for cut in (0..200).chain(anywhere).chain(bytes.len() - 50..bytes.len()) {
        let error = read(&bytes[..cut]).unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Codec, "it is truncated".to_owned()), "{cut}");
    }
    let more = [&bytes[..], b"x"].concat();
    assert!(read(&more).unwrap_err().to_string().contains("damaged"));
    assert_eq!(read(&bytes_of(&[])).unwrap(), []);
}

#[test]
fn refusals_say_why() {
    let bytes = bytes_of(&[kept("a")]);
    let mut future = bytes.clone();
    future[8] = 7;
    let what = read(&future).unwrap_err().to_string();
    assert!(what.contains("format 7") && what.contains("newer larder"), "{what}");
    let what = Reader::new(Cursor::new(&bytes), 1).unwrap_err().to_string();
    assert!(what.contains("schema 0x5eed") && what.contains("0x1"), "{what}");
    assert!(read(b"time,key,size,op,ttl\n").unwrap_err().to_string().contains("no snapshot"));
}

#[test]
fn odd_keys_and_statistics_are_borne() {
    let mut writer = Writer::new(Vec::new(), SCHEMA, TAKEN).unwrap();
    let error = writer.push(&kept(&"k".repeat(70_000))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadKey);
    let odd = [f32::NAN, f32::INFINITY, -1.0].map(|reads| Kept { reads, ..kept("") });
    odd.iter().for_each(|key| writer.push(key).unwrap());
    let longest = kept(&"k".repeat(65_535));
    writer.push(&longest).unwrap();
    let read = read(&writer.finish().unwrap().0).unwrap();
    let without_reads = Kept { reads: 0.0, ..kept("") };
    assert_eq!(read, [without_reads.clone(), without_reads.clone(), without_reads, longest]);
}

fn sample() -> (PathBuf, Vec<Kept>) {
    let keys = vec![
        kept("product:17"),
        Kept { days: days(), ..kept("größe/☃") },
        Kept { size: u32::MAX, cost: 0, reads: 0.0, idle: u64::MAX, fresh_until: 0, ..kept("") },
    ];
    (Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/version-1.snapshot"), keys)
}

/// Once a version has been released its sample stays as it is.
#[test]
fn version_1_stays_readable() {
    let (path, keys) = sample();
    assert_eq!(read(&fs::read(path).unwrap()).unwrap(), keys);
}

#[test]
#[ignore = "writes the sample the test above reads; for a new version of the format, under a new name"]
fn write_the_sample() {
    let (path, keys) = sample();
    fs::write(path, bytes_of(&keys)).unwrap();
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    // Who writes holds a lock, whose file stays.
    names.retain(|name| !name.ends_with(".lock"));
    names.sort();
    names
}

fn names_in(newest: Newest) -> Option<Vec<String>> {
    newest.snapshot.map(|keys| keys.map(|key| key.unwrap().name).collect())
}

#[test]
fn three_generations_are_kept_and_the_newest_whole_one_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::new(folder.path().join("made/when/needed"), "products", SCHEMA).unwrap();
    assert!(names_in(snapshots.newest().unwrap()).is_none());
    let mut paths = Vec::new();
    for round in 0..5 {
        let written = snapshots.write(TAKEN, [kept(&format!("round:{round}"))]).unwrap();
        assert_eq!((written.entries, written.bytes), (1, fs::metadata(&written.path).unwrap().len()));
        paths.push(written.path);
    }
    let folder = paths[0].parent().unwrap();
    let names = ["products.0000000003.snapshot", "products.0000000004.snapshot", "products.0000000005.snapshot"];
    assert_eq!(files(folder), names);

    // The newest is damaged, the one before it from a larder to come.
    let mut bytes = fs::read(&paths[4]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&paths[4], &bytes).unwrap();
    let mut bytes = fs::read(&paths[3]).unwrap();
    bytes[8] = 9;
    fs::write(&paths[3], &bytes).unwrap();
    let newest = snapshots.newest().unwrap();
    let refused: Vec<_> = newest.refused.iter().map(|refused| refused.path.clone()).collect();
    assert_eq!(refused, [paths[4].clone(), paths[3].clone()]);
    assert!(newest.refused[1].error.to_string().contains("newer larder"));
    assert_eq!(names_in(newest).unwrap(), ["round:2"]);

    // Another cache's files, and what is none of ours, are left alone.
    fs::write(folder.join("products.0000000099.snapshot.bak"), "").unwrap();
    let other = Snapshots::new(folder, "products.0000000001", SCHEMA).unwrap();
    other.write(TAKEN, [kept("other")]).unwrap();
    let next = snapshots.write(TAKEN, [kept("next")]).unwrap();
    assert!(next.path.ends_with("products.0000000006.snapshot"));
    assert_eq!(names_in(snapshots.newest().unwrap()).unwrap(), ["next"]);
    assert_eq!(names_in(other.newest().unwrap()).unwrap(), ["other"]);
    assert_eq!(files(folder).len(), 5);
}

#[test]
fn a_write_that_fails_leaves_what_there_was() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::new(folder.path(), "s", SCHEMA).unwrap();
    snapshots.write(TAKEN, [kept("old")]).unwrap();
    let error = snapshots.write(TAKEN, [kept("new"), kept(&"k".repeat(70_000))]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadKey);
    assert_eq!(files(folder.path()), ["s.0000000001.snapshot"]);
    // What a process that was killed left behind does not matter.
    fs::write(folder.path().join("s.tmp"), "half").unwrap();
    snapshots.write(TAKEN, [kept("new")]).unwrap();
    assert_eq!(names_in(snapshots.newest().unwrap()).unwrap(), ["new"]);

    let nowhere = Snapshots::new(folder.path().join("s.0000000001.snapshot"), "s", SCHEMA).unwrap();
    assert_eq!(nowhere.write(TAKEN, []).unwrap_err().kind(), ErrorKind::Storage);
    for name in ["", "a/b", "..\\a"] {
        assert_eq!(Snapshots::new(folder.path(), name, SCHEMA).unwrap_err().kind(), ErrorKind::Config);
    }
}

/// As at a shutdown while the hourly one is being written, or when a new process begins before the old one has ended.
#[test]
fn two_at_once_come_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::new(folder.path(), "s", SCHEMA).unwrap();
    let write = &|name: &'static str| {
        let keys = (0..20_000).map(|key| kept(&format!("{name}{key:05}")));
        Snapshots::new(folder.path(), "s", SCHEMA).unwrap().write(TAKEN, keys).unwrap().entries
    };
    std::thread::scope(|scope| {
        let names = ["a", "bb", "ccc"];
        let written = names.map(|name| scope.spawn(move || write(name)));
        assert!(written.into_iter().all(|thread| thread.join().unwrap() == 20_000));
    });
    let newest = snapshots.newest().unwrap();
    assert!(newest.refused.is_empty(), "{:?}", newest.refused);
    assert_eq!((names_in(newest).unwrap().len(), files(folder.path()).len()), (20_000, 3));
}

const CHILDS_KEYS: u64 = 3000;

/// Snapshot `round` of the child below.
fn childs(round: u64) -> impl Iterator<Item = Kept> {
    (0..CHILDS_KEYS).map(move |key| kept(&format!("{round}:{key}")))
}

#[test]
#[ignore = "the tests below run and kill it"]
fn child_that_writes_until_it_is_killed() {
    let folder = std::env::var_os("LARDER_TEST_SNAPSHOTS").unwrap();
    let snapshots = Snapshots::new(folder, "s", SCHEMA).unwrap();
    let last = snapshots.newest().unwrap().snapshot.map_or(0, |reader| reader.taken_at());
    let rounds = std::env::var("LARDER_TEST_ROUNDS").map_or(u64::MAX, |rounds| rounds.parse().unwrap());
    for round in (last + 1..).take(rounds as usize) {
        snapshots.write(round, childs(round)).unwrap();
        println!("\nwritten {round}");
    }
}

/// Lets a child end, or ends it after a while, and says which snapshots it has acknowledged.
fn acknowledged_by(mut child: Child, kill_after: Option<Duration>) -> (Option<u64>, bool) {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut rounds = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("written ")?.parse::<u64>().ok());
    let mut acknowledged = None;
    if let Some(after) = kill_after {
        acknowledged = rounds.next();
        std::thread::sleep(after);
        child.kill().unwrap();
    }
    let acknowledged = rounds.last().or(acknowledged);
    (acknowledged, child.wait().unwrap().success())
}

/// What was acknowledged is there, and at most the one after it, whole; which one it is.
fn check_whole(snapshots: &Snapshots, folder: &Path, acknowledged: u64) -> u64 {
    let newest = snapshots.newest().unwrap();
    assert!(newest.refused.is_empty(), "{:?}", newest.refused);
    let last = newest.snapshot.as_ref().map_or(0, Reader::taken_at);
    assert!((acknowledged..=acknowledged + 1).contains(&last), "{last} after {acknowledged}");
    assert!(newest.snapshot.into_iter().flatten().map(Result::unwrap).eq(childs(last).take(if last > 0 {
        usize::MAX
    } else {
        0
    })));
    assert!(files(folder).len() <= 5);
    last
}

/// Killed before each write of the file, before and after its fsync, before and after it gets its name, before the folder's
/// fsync, before an old one leaves.
#[test]
fn kill_9_at_each_step_leaves_whole_snapshots() {
    if !support::can_trace() {
        return;
    }
    for step in ["write", "fsync", "rename", "unlink"] {
        let folder = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::new(folder.path(), "s", SCHEMA).unwrap();
        let (mut last, mut kills) = (0, 0);
        for when in 1..=if support::soak() { 200 } else { 12 } {
            let mut child = support::killed_at(step, when, "snapshot::child_that_writes_until_it_is_killed");
            child.env("LARDER_TEST_SNAPSHOTS", folder.path()).env("LARDER_TEST_ROUNDS", (when + 4).to_string());
            let (acknowledged, ended) = acknowledged_by(child.spawn().unwrap(), None);
            kills += u32::from(!ended);
            last = check_whole(&snapshots, folder.path(), acknowledged.unwrap_or(last));
        }
        assert!(kills >= 10 && last > 0, "{kills} kills at {step}, {last} snapshots");
    }
}

/// As many kills as fit into some seconds, each at another moment.
#[test]
fn kill_9_never_leaves_a_half_written_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::new(folder.path(), "s", SCHEMA).unwrap();
    let mut rng = Rng::new(3);
    let (start, mut kills, mut last, mut moments) = (Instant::now(), 0, 0, HashSet::new());
    while kills < 20 || start.elapsed() < Duration::from_secs(5) {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "snapshot::child_that_writes_until_it_is_killed", "--ignored", "--nocapture"])
            .env("LARDER_TEST_SNAPSHOTS", folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let moment = Duration::from_micros(u64::from(rng.below(20_000)));
        let (acknowledged, _) = acknowledged_by(child, Some(moment));
        kills += 1;
        moments.insert(folder.path().join("s.tmp").metadata().map_or(0, |file| file.len()));
        last = check_whole(&snapshots, folder.path(), acknowledged.unwrap());
    }
    println!("{kills} kills, {} moments of the writing, {last} snapshots", moments.len());
    assert!(moments.len() > 1, "no kill fell into the writing: {moments:?}");
}
