//! Recordings, read and replayed by those who are to read and replay them.
#![allow(clippy::unwrap_used)] // helpers outside #[test] functions; a failure is a failed test

use std::collections::{HashMap, HashSet};
use std::io::{BufRead as _, BufReader};
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use larder::recorder::{Batch, Event, Options, Recorder, Sink};
use larder::{Error, ErrorKind};
use larder_policy::{Op, Rng};
use larder_sim::freshness::{FreshnessExperiment, Reads, Told};
use larder_sim::{Experiment, Lifetimes, Source, Weigh};
use larder_trace::{Reader as _, Request, open};

const KEY: Option<[u8; 16]> = Some([7; 16]);

fn read(path: &Path) -> Vec<Request> {
    open(path, &Default::default()).unwrap().into_iter().map(Result::unwrap).collect()
}

fn event<'a>(name: &'a str, row: &Request) -> Event<'a> {
    let ttl = (row.ttl > 0).then(|| Duration::from_secs(u64::from(row.ttl)));
    Event { key: name.into(), at: row.at.0, size: row.size, op: row.op, ttl, cost: row.cost }
}

fn get(key: &str, at: u64) -> Event<'_> {
    Event { key: key.into(), at, size: 100, op: Op::Get, ttl: None, cost: 1500 }
}

/// Records and waits where the queue is full, so that nothing is lost.
fn record_all(recorder: &Recorder, rows: &[Request]) {
    for (done, row) in (0u64..).zip(rows) {
        recorder.record(&event(&format!("key:{}", row.key), row));
        while done - recorder.recorded().written.min(done) > 10_000 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Rows with everything a recording carries.
fn rows(count: u64) -> Vec<Request> {
    let mut rng = Rng::new(5);
    let mut rows: Vec<Request> = open(format!("gen:zipf:alpha=0.9/keys=3000/requests={count}"), &Default::default())
        .unwrap()
        .into_iter()
        .map(Result::unwrap)
        .collect();
    for (index, row) in (0..).zip(&mut rows) {
        row.at.0 = 1_700_000_000_000_000 + index * 37;
        row.size = 1 + (row.key % 5000) as u32;
        (row.ttl, row.cost) = (rng.below(3) * 60, rng.below(90_000));
        row.op = [Op::Get, Op::Get, Op::Get, Op::Set, Op::Delete][rng.below(5) as usize];
    }
    rows
}

#[test]
fn what_is_recorded_is_read_back_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let rows = rows(20_000);
    for ending in ["csv", "csv.zst", "csv.gz"] {
        let path = folder.path().join(format!("t.{ending}"));
        let recorder = Recorder::create(&path, Options { key: KEY, ..Options::default() }).unwrap();
        record_all(&recorder, &rows);
        let recorded = recorder.finish().unwrap();
        assert_eq!((recorded.written, recorded.dropped, recorded.is_full), (20_000, 0, false));
        assert_eq!(recorded.bytes, std::fs::metadata(&path).unwrap().len());

        let trace = open(&path, &Default::default()).unwrap();
        assert_eq!(trace.format(), "larder");
        let carries = trace.carries();
        assert!(carries.times && carries.sizes && carries.ops && carries.ttls && carries.costs);
        let read = read(&path);
        // Keys are hashes, one for each; all else is what it was.
        let names: HashMap<u64, u64> = rows.iter().zip(&read).map(|(row, read)| (row.key, read.key)).collect();
        assert_eq!(names.values().collect::<HashSet<_>>().len(), names.len());
        assert!(names.iter().all(|(key, hash)| key != hash));
        let renamed: Vec<_> = rows.iter().map(|row| Request { key: names[&row.key], ..*row }).collect();
        assert_eq!(read, renamed, "{ending}");
    }
}

#[test]
fn a_recording_replays_as_the_traffic_would() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv.zst");
    let rows = rows(30_000);
    let recorder = Recorder::create(&path, Options { key: KEY, ..Options::default() }).unwrap();
    record_all(&recorder, &rows);
    recorder.finish().unwrap();

    let experiment = Experiment {
        policies: ["lru", "learned-cost"].map(|policy| policy.parse().unwrap()).to_vec(),
        capacities: vec!["200".parse().unwrap()],
        weigh: Weigh::Objects,
        seed: 1,
        threads: NonZeroUsize::MIN,
        gets_only: false,
        lifetimes: Lifetimes::Ignored,
    };
    let misses = |mut source: Source| -> Vec<u64> {
        let outcome = experiment.run(&mut source, &()).unwrap();
        outcome.cells.iter().map(|cell| cell.record.misses).collect()
    };
    let (lived, replayed) = (misses(Source::requests("lived", rows)), misses(Source::trace(&path, Default::default())));
    assert!(lived.len() == 2 && lived[0] > 1000, "{lived:?}");
    // LRU sees the same keys under other names. The learned policy samples by hash, so it may differ a little.
    assert_eq!(replayed[0], lived[0]);
    assert!(replayed[1].abs_diff(lived[1]) * 50 < lived[1], "{lived:?} {replayed:?}");
}

#[test]
fn lifetimes_can_be_replayed_on_a_recording() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv.zst");
    let rows = rows(20_000);
    let recorder = Recorder::create(&path, Options { key: KEY, ..Options::default() }).unwrap();
    record_all(&recorder, &rows);
    recorder.finish().unwrap();

    let experiment = FreshnessExperiment {
        objective: 0.05,
        grace: Duration::ZERO,
        max_ttl: Duration::from_secs(3600),
        policies: vec!["static".parse().unwrap(), "clairvoyant".parse().unwrap()],
        reads: Reads::AsIs,
        notices: 0.0,
        told: Told::default(),
        capacity: None,
        evict: "lru".parse().unwrap(),
        rent: 0.0,
        seeds: vec![1],
    };
    let counts = |source: Source| -> Vec<_> {
        let outcome = experiment.run(&source, &()).unwrap();
        outcome.runs.iter().map(|run| (run.record.reads, run.record.stale_reads, run.record.loads)).collect()
    };
    let (lived, replayed) = (counts(Source::requests("lived", rows)), counts(Source::trace(&path, Default::default())));
    assert!(lived.len() == 2 && lived[0].0 > 10_000 && lived[0].2 > lived[1].2, "{lived:?}");
    // Whoever knows the truth needs the same loads; the other samples keys by their names.
    assert_eq!(replayed[1], lived[1]);
    let of = |counts: &[(u64, u64, u64)]| (counts[0].0, counts[0].2 / 100);
    assert!(of(&replayed).0 == of(&lived).0 && of(&replayed).1.abs_diff(of(&lived).1) <= 1, "{replayed:?} {lived:?}");
}

#[test]
fn the_file_never_exceeds_its_limit_and_says_when_it_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let rows = rows(60_000);
    for (ending, max_bytes) in [("csv", 100_000), ("csv.zst", 100_000), ("csv.gz", 100_000), ("csv", 13_000)] {
        let path = folder.path().join(format!("{max_bytes}.{ending}"));
        let recorder = Recorder::create(&path, Options { max_bytes, key: KEY, ..Options::default() }).unwrap();
        let mut offered = 0;
        for row in rows.iter().cycle() {
            recorder.record(&event(&row.key.to_string(), row));
            offered += 1;
            if offered % 1000 == 0 {
                std::thread::sleep(Duration::from_micros(200));
            }
            if recorder.recorded().is_full {
                break;
            }
        }
        let recorded = recorder.finish().unwrap();
        assert!(recorded.is_full && recorded.written > 0);
        assert_eq!(recorded.written + recorded.dropped, offered);
        let length = std::fs::metadata(&path).unwrap().len();
        // Nearly all of it is used.
        assert!(length <= max_bytes && length + 9000 > max_bytes, "{length} of {max_bytes}");
        assert_eq!(read(&path).len() as u64, recorded.written, "{ending}");
    }
}

#[test]
fn what_the_queue_cannot_hold_is_dropped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    let recorder = Recorder::create(&path, Options { queue: 16, ..Options::default() }).unwrap();
    let events = 50_000;
    (0..events).for_each(|at| recorder.record(&get("k", at)));
    let recorded = recorder.finish().unwrap();
    assert!(recorded.dropped > 0, "{recorded:?}");
    assert_eq!(recorded.written + recorded.dropped, events);
    assert_eq!(read(&path).len() as u64, recorded.written);
    // After the end everything is dropped, and nothing waits.
    recorder.record(&get("k", events));
    assert_eq!(recorder.recorded().dropped, recorded.dropped + 1);
    assert_eq!(recorder.finish().unwrap().written, recorded.written);
}

#[test]
fn threads_record_into_one_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    let recorder = Recorder::create(&path, Options::default()).unwrap();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let recorder = &recorder;
            scope.spawn(move || {
                // Less than what is written at once, which is what is put into order.
                for _ in 0..1000 {
                    let at = start.elapsed().as_micros() as u64;
                    recorder.record(&Event { size: thread, ..get("k", at) });
                }
            });
        }
    });
    let recorded = recorder.finish().unwrap();
    assert_eq!((recorded.written, recorded.dropped), (4000, 0));
    let read = read(&path);
    assert!(read.is_sorted_by_key(|row| row.at));
    assert!((0..4).all(|thread| read.iter().filter(|row| row.size == thread).count() == 1000));
}

#[test]
fn a_sample_holds_whole_keys() {
    let folder = tempfile::tempdir().unwrap();
    let of = |sample: f64, name: &str| {
        let path = folder.path().join(name);
        let recorder = Recorder::create(&path, Options { sample, key: KEY, ..Options::default() }).unwrap();
        for round in 0..3 {
            (0..4000).for_each(|key| recorder.record(&get(&format!("key:{key}"), round * 4000 + key)));
        }
        assert_eq!(recorder.finish().unwrap().dropped, 0);
        let mut counts = HashMap::new();
        read(&path).iter().for_each(|row| *counts.entry(row.key).or_insert(0) += 1);
        counts
    };
    let tenth = of(0.1, "tenth.csv");
    assert!(tenth.values().all(|count| *count == 3));
    // Six standard deviations of a binomial(4000, 0.1) are 114.
    assert!(tenth.len().abs_diff(400) < 114, "{}", tenth.len());
    // The larger sample holds the smaller one.
    let half = of(0.5, "half.csv");
    assert!(tenth.keys().all(|key| half.contains_key(key)));
    assert_eq!((of(1.0, "all.csv").len(), of(0.0, "none.csv").len()), (4000, 0));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    for options in [
        Options { sample: 1.5, ..Options::default() },
        Options { sample: f64::NAN, ..Options::default() },
        Options { max_bytes: 10, ..Options::default() },
    ] {
        let error = Recorder::create(&path, options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    }
    std::fs::write(&path, "precious").unwrap();
    assert!(Recorder::create(&path, Options::default()).unwrap_err().to_string().contains("exists"));
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    let error = Recorder::create(folder.path().join("no/t.csv"), Options::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(Recorder::create("-", Options::default()).unwrap_err().to_string().contains("stdout"));
    assert!(!format!("{:?}", Options { key: KEY, ..Options::default() }).contains("7, 7"));
}

#[test]
fn of_recorders_that_begin_at_once_one_has_the_file() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..100 {
        let (path, begin) = (folder.path().join(format!("{round}.csv")), Barrier::new(4));
        let create = || {
            begin.wait();
            Recorder::create(&path, Options::default())
        };
        let made = std::thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(create));
            threads.map(|thread| thread.join().unwrap())
        });
        assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1, "round {round}");
    }
}

/// A sink with a mind of its own.
struct Odd(fn() -> BoxFuture<'static, Result<(), Error>>);

impl Sink for Odd {
    fn append<'a>(&'a self, _: &'a Batch) -> BoxFuture<'a, Result<(), Error>> {
        self.0()
    }
}

/// `larder-redis` tests a sink that works, and one that breaks.
#[test]
fn a_sink_that_panics_or_never_answers_stops_nobody() {
    let shared = Options { key: KEY, ..Options::default() };
    let error = Recorder::stream(Arc::new(Odd(|| unreachable!())), Options::default()).unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("one secret"), "{error}");
    let never: fn() -> BoxFuture<'static, Result<(), Error>> = || std::future::pending().boxed();
    for (sink, why) in [(Odd(|| panic!("as told")), "panicked"), (Odd(never), "longer than 5s")] {
        let recorder = Recorder::stream(Arc::new(sink), shared.clone()).unwrap();
        (0..10_000).for_each(|at| recorder.record(&get("k", at)));
        let error = recorder.finish().unwrap_err();
        assert!(error.kind() == ErrorKind::Sink && error.to_string().contains(why), "{error}");
        let recorded = recorder.recorded();
        assert_eq!((recorded.written, recorded.dropped, recorded.has_failed), (0, 10_000, true));
    }
}

#[test]
#[ignore = "the test below runs and kills it"]
fn child_that_records_until_it_is_killed() {
    let path = std::env::var_os("LARDER_TEST_RECORDING").unwrap();
    let recorder = Recorder::create(path, Options { key: KEY, ..Options::default() }).unwrap();
    let mut told = 0;
    for at in 0u64.. {
        recorder.record(&get(&format!("key:{}", at % 1000), at));
        let written = recorder.recorded().written;
        if written > told {
            println!("written {written}");
            told = written;
        }
        if at % 100 == 0 {
            std::thread::sleep(Duration::from_micros(300));
        }
    }
}

#[test]
fn kill_9_leaves_a_recording_that_reads_up_to_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    for (round, ending) in ["csv", "csv.zst", "csv.gz", "csv.zst", "csv.zst", "csv.gz"].iter().enumerate() {
        let path = folder.path().join(format!("{round}.{ending}"));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "recorder::child_that_records_until_it_is_killed", "--ignored", "--nocapture"])
            .env("LARDER_TEST_RECORDING", &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut written = 0;
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // The name of the test stands before the first.
        let counts = lines.map_while(Result::ok).filter_map(|line| Some(line.rsplit_once("written ")?.1.to_owned()));
        for count in counts.take(1 + round) {
            written = count.parse().unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();

        let mut trace = open(&path, &Default::default()).unwrap();
        let mut read = Vec::new();
        let ended = loop {
            match trace.read(&mut read, 512) {
                Ok(0) => break None,
                Ok(_) => {}
                Err(error) => break Some(error),
            }
        };
        assert!(written > 0 && read.len() >= written, "{ending}: {} of {written}, {ended:?}", read.len());
        assert!(read.windows(2).all(|pair| pair[1].at.0 > pair[0].at.0));
        assert!(read.iter().all(|row| (row.size, row.cost) == (100, 1500)));
    }
}
