//! Write-behind seen from outside: what the sink gets, and when, while things go wrong.
#![allow(clippy::unwrap_used)] // helpers outside `#[test]` functions fail the test just the same

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use larder::behind::{Behind, Fsync, Options, Sink, Stats, Write, dead_letters};
use larder::{Error, ErrorKind};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::sync::Semaphore;

use crate::support::reopen;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A sink that keeps what it gets, and does what it is told to.
struct Store {
    taken: Mutex<Vec<Write>>,
    calls: AtomicUsize,
    /// The next calls fail, with an error that may pass.
    failures: AtomicUsize,
    panics: AtomicBool,
    /// Names it never takes.
    refuses: &'static str,
    /// Each call needs one.
    permits: Semaphore,
}

impl Store {
    fn new() -> Arc<Self> {
        Self::refusing("nothing")
    }

    fn refusing(refuses: &'static str) -> Arc<Self> {
        Arc::new(Self {
            taken: Mutex::default(),
            calls: AtomicUsize::new(0),
            failures: AtomicUsize::new(0),
            panics: AtomicBool::new(false),
            refuses,
            permits: Semaphore::new(Semaphore::MAX_PERMITS),
        })
    }

    /// One that answers no call until [`open`](Self::open).
    fn closed() -> Arc<Self> {
        let store = Self::new();
        store.permits.forget_permits(Semaphore::MAX_PERMITS);
        store
    }

    fn open(&self) {
        self.permits.add_permits(Semaphore::MAX_PERMITS - self.permits.available_permits());
    }

    fn taken(&self) -> Vec<(u64, String)> {
        self.taken.lock().iter().map(|write| (write.sequence, text(write))).collect()
    }

    /// What a database would hold: of each name the write with the greatest sequence.
    fn state(&self) -> HashMap<String, String> {
        let mut taken = self.taken.lock().clone();
        taken.sort_by_key(|write| write.sequence);
        taken.iter().map(|write| (write.name.to_string(), text(write))).collect()
    }
}

fn text(write: &Write) -> String {
    write.value.as_ref().map_or("deleted".to_owned(), |value| String::from_utf8_lossy(value).into_owned())
}

impl Sink for Store {
    fn write<'a>(&'a self, batch: &'a [Write]) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            self.calls.fetch_add(1, SeqCst);
            self.permits.acquire().await.unwrap().forget();
            assert!(!self.panics.swap(false, SeqCst), "as told");
            if self.failures.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
                return Err(Error::new(ErrorKind::Sink, "as told"));
            }
            if batch.iter().any(|write| write.name.starts_with(self.refuses)) {
                return Err(Error::new(ErrorKind::Codec, "never"));
            }
            self.taken.lock().extend_from_slice(batch);
            Ok(())
        }
        .boxed()
    }
}

fn quick() -> Options {
    Options {
        flush_interval: Duration::from_millis(2),
        retry_first: Duration::from_millis(1),
        retry_longest: Duration::from_millis(5),
        ..Options::default()
    }
}

/// Nothing is flushed until there is a full batch or the log is shut down.
fn patient() -> Options {
    Options { flush_interval: Duration::from_secs(3600), ..quick() }
}

async fn open(folder: &TempDir, options: Options, sink: &Arc<Store>) -> Behind {
    reopen(folder.path(), options, sink.clone()).await
}

async fn append(behind: &Behind, name: &str, value: &str) -> Result<u64, Error> {
    behind.append(name.into(), Some(value.to_owned().into())).await
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what} does not come true"));
}

/// Every write is somewhere.
fn add_up(stats: &Stats) {
    let gone = stats.flushed + stats.coalesced + stats.dead_lettered + stats.pending_writes;
    assert_eq!(stats.appended + stats.recovered, gone, "{stats:?}");
}

#[tokio::test]
async fn the_sink_gets_everything_in_order() {
    let (folder, sink) = (tempfile::tempdir().unwrap(), Store::new());
    let behind = open(&folder, Options { coalesce: false, ..quick() }, &sink).await;
    let mut expected = Vec::new();
    for at in 0..50 {
        let value = format!("v{at}");
        expected.push((append(&behind, &format!("k{}", at % 3), &value).await.unwrap(), value));
    }
    expected.push((behind.append("k0".into(), None).await.unwrap(), "deleted".to_owned()));
    assert_eq!(behind.shutdown(PATIENCE).await.unwrap(), 0);
    assert_eq!(sink.taken(), expected);
    let stats = behind.stats();
    add_up(&stats);
    assert_eq!((stats.appended, stats.flushed, stats.pending_bytes, stats.oldest_pending), (51, 51, 0, None));
}

#[tokio::test]
async fn of_many_writes_to_a_key_the_sink_gets_the_last() {
    let (folder, sink) = (tempfile::tempdir().unwrap(), Store::new());
    let behind = open(&folder, patient(), &sink).await;
    for at in 0..60 {
        append(&behind, &format!("k{}", at % 3), &format!("v{at}")).await.unwrap();
    }
    assert_eq!(behind.shutdown(PATIENCE).await.unwrap(), 0);
    assert_eq!(sink.taken(), [(58, "v57".to_owned()), (59, "v58".to_owned()), (60, "v59".to_owned())]);
    add_up(&behind.stats());
    assert_eq!(behind.stats().coalesced, 57);
}

#[tokio::test]
async fn appends_that_come_together_are_all_acknowledged() {
    let (folder, sink) = (tempfile::tempdir().unwrap(), Store::new());
    let behind = open(&folder, quick(), &sink).await;
    let names: Vec<_> = (0..2000).map(|at| format!("k{at}")).collect();
    let mut sequences: Vec<_> =
        join_all(names.iter().map(|name| append(&behind, name, name))).await.into_iter().map(Result::unwrap).collect();
    sequences.sort_unstable();
    assert_eq!(sequences, Vec::from_iter(1..=2000));
    assert_eq!(behind.shutdown(PATIENCE).await.unwrap(), 0);
    assert_eq!(sink.state(), names.iter().map(|name| (name.clone(), name.clone())).collect());
}

#[tokio::test]
async fn a_reader_sees_its_own_write_until_the_sink_has_it() {
    let (folder, sink) = (tempfile::tempdir().unwrap(), Store::closed());
    let behind = open(&folder, quick(), &sink).await;
    append(&behind, "a", "1").await.unwrap();
    until("the sink is called", || sink.calls.load(SeqCst) == 1).await;
    append(&behind, "a", "2").await.unwrap();
    behind.append("b".into(), None).await.unwrap();
    assert_eq!(behind.pending("a"), Some(Some("2".into())));
    assert_eq!(behind.pending("b"), Some(None));
    assert_eq!(behind.pending("c"), None);
    assert!(behind.stats().oldest_pending.is_some());
    // The sink has the first write to `a`, and not the second.
    sink.permits.add_permits(1);
    until("the sink is called again", || sink.calls.load(SeqCst) == 2).await;
    assert_eq!(sink.taken(), [(1, "1".to_owned())]);
    assert_eq!(behind.pending("a"), Some(Some("2".into())));
    sink.open();
    until("the sink has it", || behind.stats().pending_writes == 0).await;
    assert_eq!((behind.pending("a"), behind.pending("b")), (None, None));
}

#[tokio::test]
async fn a_sink_that_fails_for_a_while_loses_nothing() {
    let (folder, sink) = (tempfile::tempdir().unwrap(), Store::new());
    sink.failures.store(20, SeqCst);
    sink.panics.store(true, SeqCst);
    let behind = open(&folder, Options { coalesce: false, ..quick() }, &sink).await;
    for at in 0..30 {
        append(&behind, "k", &at.to_string()).await.unwrap();
    }
    until("the sink has it", || behind.stats().pending_writes == 0).await;
    assert_eq!(sink.taken(), (0..30).map(|at| (at + 1, at.to_string())).collect::<Vec<_>>());
    assert_eq!(behind.stats().retried, 21);
    add_up(&behind.stats());
}

#[tokio::test]
async fn a_sink_that_hangs_is_asked_again() {
    let (folder, sink) = (tempfile::tempdir().unwrap(), Store::closed());
    let behind = open(&folder, Options { sink_timeout: Duration::from_millis(5), ..quick() }, &sink).await;
    append(&behind, "k", "v").await.unwrap();
    until("it is asked again", || sink.calls.load(SeqCst) > 2).await;
    sink.open();
    until("the sink has it", || behind.stats().pending_writes == 0).await;
    assert_eq!(sink.taken(), [(1, "v".to_owned())]);
}

#[tokio::test]
async fn what_the_sink_refuses_is_kept_and_holds_nothing_up() {
    let (folder, sink) = (tempfile::tempdir().unwrap(), Store::refusing("bad"));
    let behind = open(&folder, patient(), &sink).await;
    for name in ["good:1", "bad:1", "good:2", "bad:2"] {
        append(&behind, name, name).await.unwrap();
    }
    assert_eq!(behind.shutdown(PATIENCE).await.unwrap(), 0);
    assert_eq!(sink.taken(), [(1, "good:1".to_owned()), (3, "good:2".to_owned())]);
    let dead: Vec<_> = dead_letters(folder.path()).unwrap().iter().map(|write| (write.sequence, text(write))).collect();
    assert_eq!(dead, [(2, "bad:1".to_owned()), (4, "bad:2".to_owned())]);
    assert_eq!((behind.stats().dead_lettered, behind.pending("bad:1")), (2, None));
    add_up(&behind.stats());
    // They are out of the log, and still there.
    let behind = open(&folder, quick(), &sink).await;
    assert_eq!(behind.stats().recovered, 0);
    assert_eq!(dead_letters(folder.path()).unwrap().len(), 2);
}

/// A folder in the place of the file that is to be written: the disk refuses it until it is gone.
#[tokio::test]
async fn dead_letters_and_checkpoints_wait_for_the_disk() {
    let (folder, sink) = (tempfile::tempdir().unwrap(), Store::refusing("bad"));
    let options = Options { checkpoint_interval: Duration::from_millis(1), ..quick() };
    let behind = open(&folder, options.clone(), &sink).await;
    let in_the_way = ["00000000000000000001.dead.new", "checkpoint.new"].map(|name| folder.path().join(name));
    in_the_way.iter().for_each(|path| std::fs::create_dir(path).unwrap());
    append(&behind, "bad", "1").await.unwrap();
    append(&behind, "good", "2").await.unwrap();
    until("keeping it is tried again", || behind.stats().retried > 3).await;
    assert_eq!((behind.stats().dead_lettered, behind.pending("bad")), (0, Some(Some("1".into()))));
    std::fs::remove_dir(&in_the_way[0]).unwrap();
    until("both are done with", || behind.stats().pending_writes == 0).await;
    assert_eq!((dead_letters(folder.path()).unwrap().len(), sink.taken().len()), (1, 1));
    until("the checkpoint is tried again", || behind.stats().failed_syncs > 3).await;
    std::fs::remove_dir(&in_the_way[1]).unwrap();
    assert_eq!(behind.shutdown(PATIENCE).await.unwrap(), 0);
    assert_eq!(open(&folder, options, &sink).await.stats().recovered, 0);
}

#[tokio::test]
async fn a_full_log_holds_appends_back() {
    let (folder, sink) = (tempfile::tempdir().unwrap(), Store::closed());
    let options = Options { max_pending_writes: 10, max_wait: Some(Duration::from_millis(20)), ..quick() };
    let behind = open(&folder, options, &sink).await;
    for at in 0..10 {
        append(&behind, &at.to_string(), "v").await.unwrap();
    }
    assert_eq!(append(&behind, "one too many", "v").await.unwrap_err().kind(), ErrorKind::Overloaded);
    assert_eq!(behind.stats().pending_writes, 10);
    sink.open();
    until("there is room", || behind.stats().pending_writes == 0).await;
    append(&behind, "now", "v").await.unwrap();
    assert_eq!(behind.shutdown(PATIENCE).await.unwrap(), 0);
    assert_eq!(sink.taken().len(), 11);
}

#[tokio::test]
async fn bytes_are_bounded_and_room_comes_back() {
    let (folder, sink) = (tempfile::tempdir().unwrap(), Store::new());
    let behind = open(&folder, Options { max_pending_bytes: 4000, max_wait: None, ..quick() }, &sink).await;
    let error = append(&behind, "k", &"v".repeat(4000)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Config, false));
    let most = AtomicUsize::new(0);
    join_all((0..200).map(|at| {
        let (behind, most) = (&behind, &most);
        async move {
            append(behind, &at.to_string(), &"v".repeat(1000)).await.unwrap();
            most.fetch_max(behind.stats().pending_bytes as usize, SeqCst);
        }
    }))
    .await;
    assert!(most.into_inner() <= 4000);
    assert_eq!(behind.shutdown(PATIENCE).await.unwrap(), 0);
    assert_eq!(sink.taken().len(), 200);
}

#[tokio::test]
async fn a_caller_who_gives_up_leaves_the_log_in_order() {
    let (folder, sink) = (tempfile::tempdir().unwrap(), Store::new());
    let behind = open(&folder, Options { max_pending_writes: 4, ..quick() }, &sink).await;
    for at in 0..200 {
        // Polled once: some are in the channel by then, some wait for room.
        let _ = append(&behind, &format!("gone {at}"), "v").now_or_never();
    }
    append(&behind, "after", "v").await.unwrap();
    assert_eq!(behind.shutdown(PATIENCE).await.unwrap(), 0);
    add_up(&behind.stats());
    assert_eq!(sink.taken().len() as u64, behind.stats().appended);
    assert!(sink.state().contains_key("after"));
}

#[tokio::test]
async fn one_worker_thread_is_enough() {
    // `tokio::test` has one thread for the callers, the flusher and the sink. Nothing here may wait for the disk on it.
    let (folder, sink) = (tempfile::tempdir().unwrap(), Store::new());
    let options = Options { max_pending_writes: 3, max_wait: None, batch_writes: 2, segment_bytes: 200, ..quick() };
    let behind = open(&folder, options, &sink).await;
    let names: Vec<_> = (0..100).map(|at| at.to_string()).collect();
    let appends = join_all(names.iter().map(|name| append(&behind, name, name)));
    let done = tokio::time::timeout(PATIENCE, appends).await.expect("no deadlock");
    assert!(done.iter().all(Result::is_ok));
    assert_eq!(behind.shutdown(PATIENCE).await.unwrap(), 0);
    assert_eq!(sink.state().len(), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_under_load_loses_nothing_acknowledged() {
    let (folder, sink) = (tempfile::tempdir().unwrap(), Store::new());
    let behind = open(&folder, Options { coalesce: false, batch_writes: 8, ..quick() }, &sink).await;
    let callers: Vec<_> = (0..4)
        .map(|caller| {
            let behind = behind.clone();
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                loop {
                    let value = format!("{caller}:{}", acknowledged.len());
                    match append(&behind, &format!("k{caller}"), &value).await {
                        Ok(sequence) => acknowledged.push((sequence, value)),
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::Closed);
                            return acknowledged;
                        }
                    }
                }
            })
        })
        .collect();
    until("it is under load", || sink.taken.lock().len() > 100).await;
    // From here on the sink answers nobody: something must be left.
    sink.permits.forget_permits(Semaphore::MAX_PERMITS);
    until("more is acknowledged", || behind.stats().pending_writes > 30).await;
    let left = behind.shutdown(Duration::from_millis(50)).await.unwrap();
    assert!(left >= 20, "{left} left");

    let mut acknowledged = Vec::new();
    for caller in callers {
        acknowledged.extend(caller.await.unwrap());
    }
    acknowledged.sort();
    drop(behind);
    sink.open();
    let behind = open(&folder, Options { coalesce: false, ..quick() }, &sink).await;
    assert!(behind.stats().recovered >= left);
    assert_eq!(behind.shutdown(PATIENCE).await.unwrap(), 0);
    let mut taken = sink.taken();
    taken.sort();
    taken.dedup();
    assert_eq!(taken, acknowledged);
}

#[tokio::test]
async fn a_log_that_is_shut_down_takes_nothing_and_can_be_opened_again() {
    let (folder, sink) = (tempfile::tempdir().unwrap(), Store::new());
    let behind = open(&folder, quick(), &sink).await;
    assert_eq!(behind.shutdown(PATIENCE).await.unwrap(), 0);
    assert_eq!(behind.shutdown(PATIENCE).await.unwrap(), 0);
    assert_eq!(append(&behind, "k", "v").await.unwrap_err().kind(), ErrorKind::Closed);
    let again = open(&folder, quick(), &sink).await;
    append(&again, "k", "v").await.unwrap();
}

#[tokio::test]
async fn a_log_that_is_dropped_keeps_what_it_has() {
    let (folder, sink) = (tempfile::tempdir().unwrap(), Store::new());
    let behind = open(&folder, patient(), &sink).await;
    append(&behind, "k", "v").await.unwrap();
    drop(behind);
    // The lock goes with the thread, a little later.
    let behind = open(&folder, quick(), &sink).await;
    assert_eq!((behind.stats().recovered, behind.pending("k")), (1, Some(Some("v".into()))));
    assert_eq!(behind.shutdown(PATIENCE).await.unwrap(), 0);
    assert_eq!(sink.taken(), [(1, "v".to_owned())]);
}

#[tokio::test]
async fn with_an_interval_the_sink_waits_for_the_disk() {
    let (folder, sink) = (tempfile::tempdir().unwrap(), Store::new());
    let options = Options { fsync: Fsync::Interval(Duration::from_secs(3600)), ..quick() };
    let behind = open(&folder, options, &sink).await;
    append(&behind, "k", "v").await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(sink.calls.load(SeqCst), 0);
    assert_eq!(behind.pending("k"), Some(Some("v".into())));
    assert_eq!(behind.shutdown(PATIENCE).await.unwrap(), 0);
    drop(behind);
    let behind = open(&folder, Options { fsync: Fsync::Interval(Duration::from_millis(2)), ..quick() }, &sink).await;
    append(&behind, "k", "w").await.unwrap();
    until("the interval passes", || sink.taken.lock().len() == 2).await;
}

#[tokio::test]
async fn settings_with_which_nothing_works_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for options in [
        Options { max_pending_bytes: 0, ..quick() },
        Options { max_pending_writes: 0, ..quick() },
        Options { batch_writes: 0, ..quick() },
        Options { retry_first: Duration::from_secs(9), ..quick() },
        Options { sink_timeout: Duration::ZERO, ..quick() },
    ] {
        let error = Behind::open(folder.path(), options, Store::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
