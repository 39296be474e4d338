//! The log against a naive model, and against every single damaged byte.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use tempfile::TempDir;

use super::log::Log;
use super::recover::Recovered;
use super::{OnDamage, Options, Write, segment};
use crate::remote::Name;
use crate::{Error, ErrorKind};

type Group = Vec<(Name, Option<Bytes>)>;

fn options(on_damage: OnDamage) -> Options {
    Options { segment_bytes: 1500, on_damage, ..Options::default() }
}

fn open(path: &Path) -> (Log, Recovered) {
    Log::open(path, &options(OnDamage::Refuse)).unwrap()
}

fn set_aside(path: &Path) -> (Log, Recovered) {
    Log::open(path, &options(OnDamage::SetAside)).unwrap()
}

fn refused(path: &Path) -> Error {
    match Log::open(path, &options(OnDamage::Refuse)) {
        Err(error) => error,
        Ok((_, recovered)) => panic!("opened, with {recovered:?}"),
    }
}

/// Appends a group, and what it should be when it is read again.
fn append(log: &mut Log, group: &Group) -> Vec<Write> {
    let writes: Vec<_> = group.iter().map(|(name, value)| (name, value.as_ref())).collect();
    let first = log.append(&writes).unwrap();
    let numbered = (first..).zip(group);
    numbered.map(|(sequence, (name, value))| Write { sequence, name: name.clone(), value: value.clone() }).collect()
}

/// Appends `count` writes one by one.
fn fill(log: &mut Log, count: usize) -> Vec<Write> {
    let group = |at: usize| vec![(Name::from(format!("key:{at}")), Some(Bytes::from(vec![1 + at as u8; 100])))];
    (0..count).flat_map(|at| append(log, &group(at))).collect()
}

fn files(path: &Path, kind: &str) -> Vec<PathBuf> {
    let names = super::folder::names(path).unwrap();
    names.iter().filter(|name| name.ends_with(kind)).map(|name| path.join(name)).collect()
}

fn copy(path: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in super::folder::names(path).unwrap() {
        fs::copy(path.join(&name), copy.path().join(&name)).unwrap();
    }
    copy
}

fn flip(path: &Path, at: u64) {
    let mut file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(at)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&[byte[0] ^ 0x10]).unwrap();
}

/// How a crash leaves a group whose append had not returned.
#[derive(Clone, Debug)]
enum Crash {
    /// The file ends at this share of it.
    Cut(f64),
    /// Of its sectors only some were written; true: this one was not.
    Sectors(Vec<bool>),
}

#[derive(Clone, Debug)]
enum Step {
    Append(Group),
    /// The sink has this share of what it does not have yet.
    Acknowledge(f64),
    Checkpoint,
    Crash(Group, Crash),
}

fn group() -> impl Strategy<Value = Group> {
    let value = prop_oneof![
        Just(None),
        prop::collection::vec(1u8.., 0..40).prop_map(Some),
        // Long enough for several sectors.
        (0usize..1500, 1u8..).prop_map(|(length, byte)| Some(vec![byte; length])),
    ];
    let write = ("[a-e]", value).prop_map(|(name, value)| (Name::from(name), value.map(Bytes::from)));
    prop::collection::vec(write, 1..5)
}

fn step() -> impl Strategy<Value = Step> {
    let crash = prop_oneof![
        (0.0..=1.0).prop_map(Crash::Cut),
        prop::collection::vec(any::<bool>(), 1..12).prop_map(Crash::Sectors)
    ];
    prop_oneof![
        4 => group().prop_map(Step::Append),
        2 => (0.0..=1.0).prop_map(Step::Acknowledge),
        1 => Just(Step::Checkpoint),
        2 => (group(), crash).prop_map(|(group, crash)| Step::Crash(group, crash)),
    ]
}

/// Leaves of what lies behind `from` what the crash leaves.
fn damage(path: &Path, from: usize, crash: &Crash) {
    let mut bytes = fs::read(path).unwrap();
    match crash {
        Crash::Cut(share) => bytes.truncate(from + ((bytes.len() - from) as f64 * share) as usize),
        Crash::Sectors(lost) => {
            let length = bytes.len();
            for (sector, _) in (from / 512..=length / 512).zip(lost.iter().cycle()).filter(|(_, lost)| **lost) {
                let range = (sector * 512).max(from)..((sector + 1) * 512).min(length);
                bytes[range].fill(0);
            }
        }
    }
    fs::write(path, bytes).unwrap();
}

/// Each takes some hundred syncs.
fn cases() -> u32 {
    if std::env::var_os("LARDER_SOAK").is_some_and(|soak| soak == "1") { 500 } else { 32 }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    /// Whatever is appended, acknowledged by the sink and cut off by crashes: what was acknowledged and the sink lacks
    /// is there at the next start, in order, and nothing else but what was being appended.
    #[test]
    fn nothing_acknowledged_is_lost_and_nothing_invented(steps in prop::collection::vec(step(), 1..30)) {
        let folder = tempfile::tempdir().unwrap();
        let (mut log, _) = open(folder.path());
        // All that was acknowledged; up to where the sink has it, and up to where a checkpoint says so for certain.
        let (mut model, mut acked, mut checkpointed) = (Vec::<Write>::new(), 0, 0);
        for step in steps {
            match step {
                Step::Append(group) => model.extend(append(&mut log, &group)),
                Step::Acknowledge(share) => {
                    let last = model.last().map_or(0, |write| write.sequence);
                    acked += ((last - acked) as f64 * share) as u64;
                    log.acknowledge(acked);
                }
                Step::Checkpoint => {
                    log.checkpoint().unwrap();
                    checkpointed = acked;
                }
                Step::Crash(group, crash) => {
                    let before = files(folder.path(), ".log").last().map(|path| (path.clone(), fs::metadata(path).unwrap().len()));
                    let torn = append(&mut log, &group);
                    drop(log);
                    let newest = files(folder.path(), ".log").pop().unwrap();
                    let from = before.filter(|(path, _)| *path == newest).map_or(segment::HEADER, |(_, length)| length as usize);
                    damage(&newest, from, &crash);
                    let (reopened, recovered) = open(folder.path());
                    log = reopened;
                    let expected: Vec<_> = model.iter().filter(|write| write.sequence > checkpointed).cloned().collect();
                    prop_assert!(recovered.writes.len() >= expected.len());
                    let (kept, extra) = recovered.writes.split_at(expected.len());
                    prop_assert_eq!(kept, expected);
                    prop_assert_eq!(extra, &torn[..extra.len()]);
                    prop_assert_eq!(recovered.lost, 0);
                    model.extend_from_slice(extra);
                    acked = checkpointed;
                }
            }
        }
        log.checkpoint().unwrap();
        drop(log);
        let (_, recovered) = open(folder.path());
        let expected: Vec<_> = model.into_iter().filter(|write| write.sequence > acked).collect();
        prop_assert_eq!(recovered.writes, expected);
        prop_assert_eq!(recovered.torn_bytes, 0);
    }
}

#[test]
fn a_cut_at_any_byte_leaves_the_writes_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path());
    let writes = fill(&mut log, 14);
    drop(log);
    let segments = files(folder.path(), ".log");
    let newest = segments.last().unwrap();
    let first = segment::first_of(newest.file_name().unwrap().to_str().unwrap(), "log").unwrap();
    let length = fs::metadata(newest).unwrap().len() as usize;
    let each = (length - segment::HEADER) / (15 - first as usize);
    for cut in segment::HEADER..=length {
        let copy = copy(folder.path());
        let file = File::options().write(true).open(copy.path().join(newest.file_name().unwrap())).unwrap();
        file.set_len(cut as u64).unwrap();
        let whole = first as usize - 1 + (cut - segment::HEADER) / each;
        let (mut log, recovered) = open(copy.path());
        assert_eq!(recovered.writes, writes[..whole], "cut at {cut}");
        assert_eq!(recovered.torn_bytes as usize, (cut - segment::HEADER) % each);
        // The log goes on as if nothing had been there.
        assert_eq!(fill(&mut log, 1)[0].sequence, whole as u64 + 1);
    }
}

#[test]
fn any_flipped_byte_is_refused_by_name_and_can_be_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path());
    let writes = fill(&mut log, 14);
    drop(log);
    let segments = files(folder.path(), ".log");
    assert!(segments.len() > 1);
    for segment in &segments {
        for at in 0..fs::metadata(segment).unwrap().len() {
            flip(segment, at);
            let error = refused(folder.path());
            assert_eq!(error.kind(), ErrorKind::Storage);
            assert!(error.to_string().starts_with(&format!("{}: byte ", segment.display())), "{error}");
            let copy = copy(folder.path());
            flip(segment, at);
            // Each takes a dozen syncs: some of each part of a record will do.
            if at % 41 != 0 {
                continue;
            }

            let (mut log, recovered) = set_aside(copy.path());
            let missing = writes.iter().filter(|write| !recovered.writes.contains(write)).count();
            assert!(recovered.writes.iter().all(|write| writes.contains(write)));
            assert!(recovered.writes.is_sorted_by_key(|write| write.sequence));
            assert!(at < segment::HEADER as u64 || missing == 1, "byte {at}: {missing} writes are missing");
            assert!(recovered.lost >= missing as u64);

            // No sequence is used twice, and once the sink has the rest, the log is sound again.
            let more = fill(&mut log, 1);
            assert!(more[0].sequence > 14);
            log.acknowledge(more[0].sequence);
            log.checkpoint().unwrap();
            drop(log);
            let (_, recovered) = open(copy.path());
            assert_eq!(recovered.writes, []);
            assert_eq!(files(copy.path(), ".damaged").len(), 1);
        }
    }
}

/// Zeros in the middle are no torn end: what follows says that they had been written.
#[test]
fn zeros_before_an_acknowledged_write_are_damage() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path());
    let writes = append(&mut log, &vec![(Arc::from("large"), Some(Bytes::from(vec![7; 1200])))]);
    let last = append(&mut log, &vec![(Arc::from("small"), None)]);
    drop(log);
    let segment = &files(folder.path(), ".log")[0];
    let mut bytes = fs::read(segment).unwrap();
    bytes[512..1024].fill(0);
    fs::write(segment, bytes).unwrap();
    assert!(refused(folder.path()).to_string().contains("byte 28: damaged"));
    let recovered = set_aside(folder.path()).1;
    assert_eq!((recovered.writes, recovered.lost as usize), (last, writes.len()));
}

#[test]
fn damage_to_what_the_sink_has_is_no_matter() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path());
    let writes = fill(&mut log, 5);
    log.acknowledge(3);
    log.checkpoint().unwrap();
    drop(log);
    flip(&files(folder.path(), ".log")[0], 100);
    assert_eq!(open(folder.path()).1.writes, writes[3..]);
}

#[test]
fn a_missing_segment_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path());
    let writes = fill(&mut log, 40);
    drop(log);
    let segments = files(folder.path(), ".log");
    for gone in &segments[..segments.len() - 1] {
        let copy = copy(folder.path());
        fs::remove_file(copy.path().join(gone.file_name().unwrap())).unwrap();
        assert!(refused(copy.path()).to_string().contains("missing"));
        let recovered = set_aside(copy.path()).1;
        assert_eq!(recovered.lost as usize, writes.len() - recovered.writes.len());
    }
}

#[test]
fn a_damaged_checkpoint_is_refused_and_can_be_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path());
    let writes = fill(&mut log, 5);
    log.acknowledge(3);
    log.checkpoint().unwrap();
    drop(log);
    let checkpoint = folder.path().join("checkpoint");
    for at in 0..fs::metadata(&checkpoint).unwrap().len() {
        flip(&checkpoint, at);
        assert!(refused(folder.path()).to_string().contains("checkpoint: byte 0"));
        assert_eq!(set_aside(folder.path()).1.writes, writes);
        flip(&checkpoint, at);
    }
    assert_eq!(open(folder.path()).1.writes, writes[3..]);
}

#[test]
fn a_log_knows_which_it_is() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let identity = open(folder.path()).0.identity();
    std::thread::sleep(std::time::Duration::from_millis(1));
    assert!(open(other.path()).0.identity() > identity, "one made later");
    assert_eq!(open(folder.path()).0.identity(), identity, "opened again it is the same");
    flip(&folder.path().join("identity"), 3);
    assert!(refused(folder.path()).to_string().contains("identity: byte 0"));
    assert_ne!(set_aside(folder.path()).0.identity(), identity);
    open(folder.path());
}

#[test]
fn a_later_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut header = segment::header(1, 5)[..24].to_vec();
    header[8] = 2;
    header.extend(crc32c::crc32c(&header).to_le_bytes());
    fs::write(folder.path().join(segment::name(1, "log")), header).unwrap();
    assert!(refused(folder.path()).to_string().contains("version 2"));
}

#[test]
fn sequences_go_on_when_the_sink_has_everything() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..4 {
        let (mut log, recovered) = open(folder.path());
        assert_eq!(recovered.writes, []);
        let writes = fill(&mut log, 20);
        assert_eq!(writes[0].sequence, round * 20 + 1);
        log.acknowledge(writes[19].sequence);
        log.checkpoint().unwrap();
        assert_eq!(files(folder.path(), ".log").len(), 1);
    }
}

#[test]
fn two_logs_cannot_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = open(folder.path());
    assert!(refused(folder.path()).to_string().contains("another process"));
    drop(log);
    open(folder.path());
}

#[test]
fn a_value_that_is_a_log_is_a_value() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path());
    fill(&mut log, 3);
    let inner = fs::read(&files(folder.path(), ".log")[0]).unwrap();
    // A record from this very segment, inside a value in the next one, of which the end is cut off.
    append(&mut log, &vec![(Arc::from("padding"), Some(Bytes::from(vec![7; 1400])))]);
    append(&mut log, &vec![(Arc::from("log"), Some(Bytes::from(inner)))]);
    drop(log);
    let newest = files(folder.path(), ".log").pop().unwrap();
    let length = fs::metadata(&newest).unwrap().len();
    File::options().write(true).open(&newest).unwrap().set_len(length - 1).unwrap();
    let sequences: Vec<_> = open(folder.path()).1.writes.iter().map(|write| write.sequence).collect();
    assert_eq!(sequences, [1, 2, 3, 4]);
}
