//! Writing through and behind the cache, and what readers see then.
#![allow(clippy::unwrap_used, reason = "outside of test functions, but in tests alone")]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use larder::behind::{self, Behind, Sink, Write};
use larder::remote::{Faults, InProcess};
use larder::{Cache, Consistency, Error, ErrorKind, Options, codec};
use parking_lot::Mutex;

use crate::support::reopen;

/// A database of one table.
#[derive(Clone, Default)]
struct Database(Arc<Table>);

#[derive(Default)]
struct Table {
    rows: Mutex<std::collections::BTreeMap<String, String>>,
    fails: AtomicBool,
    /// What it is to be given it never takes.
    refuses: AtomicBool,
}

impl Database {
    fn row(&self, name: &str) -> Option<String> {
        self.0.rows.lock().get(name).cloned()
    }

    fn fail(&self, fails: bool) {
        self.0.fails.store(fails, Ordering::SeqCst);
    }
}

impl Sink for Database {
    fn write<'a>(&'a self, batch: &'a [Write]) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            if self.0.fails.load(Ordering::SeqCst) {
                return Err(Error::new(ErrorKind::Sink, "the database is down"));
            }
            if self.0.refuses.load(Ordering::SeqCst) {
                return Err(Error::new(ErrorKind::Codec, "against a rule"));
            }
            let mut rows = self.0.rows.lock();
            for Write { name, value, .. } in batch {
                match value {
                    Some(bytes) => rows.insert(name.to_string(), String::from_utf8(bytes.to_vec()).unwrap()),
                    None => rows.remove(&**name),
                };
            }
            Ok(())
        }
        .boxed()
    }
}

fn builder() -> larder::Builder<String, String> {
    Cache::builder().name("users").capacity(100).policy("lru").codec(codec::Plain)
}

fn text(text: &str) -> String {
    text.to_owned()
}

#[tokio::test]
async fn a_write_through_reaches_the_origin_first_and_is_kept() {
    let database = Database::default();
    let cache = builder().write_through(database.clone()).build().unwrap();
    cache.put(text("1"), text("Ada")).await.unwrap();
    assert_eq!((database.row("users:1"), cache.local("1")), (Some(text("Ada")), Some(text("Ada"))));
    database.fail(true);
    let error = cache.put(text("1"), text("Bob")).await.unwrap_err();
    assert_eq!(
        (error.kind(), cache.local("1")),
        (ErrorKind::Sink, Some(text("Ada"))),
        "what was not written is not kept"
    );
    database.fail(false);
    cache.delete("1").await.unwrap();
    assert_eq!((database.row("users:1"), cache.local("1")), (None, None));
    let error = builder().build().unwrap().put(text("1"), text("x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let error = cache.put(text("a\nb"), text("x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadKey);
}

#[tokio::test]
async fn what_is_written_stays_written_though_the_remote_tier_cannot_hold_it() {
    let (database, remote) = (Database::default(), InProcess::new(1 << 20));
    let cache = builder().remote(remote, codec::Plain).write_through(database.clone()).build().unwrap();
    cache.put(text("1"), text("Ada")).await.unwrap();
    let many = (0..70).fold(Options::new(), |options, tag| options.tag(format!("tag{tag}")));
    cache.put_with(text("1"), text("Bob"), many.clone()).await.unwrap();
    assert_eq!((database.row("users:1"), cache.local("1")), (Some(text("Bob")), Some(text("Bob"))));
    // Who only keeps it is told.
    assert_eq!(cache.insert_with(text("1"), text("Eve"), many).await.unwrap_err().kind(), ErrorKind::Codec);
}

#[test]
fn threads_that_may_wait_write_to_the_same_origin() {
    let database = Database::default();
    let cache = builder().write_through(database.clone()).build().unwrap();
    cache.blocking().put(text("1"), text("Ada")).unwrap();
    assert_eq!((database.row("users:1"), cache.local("1")), (Some(text("Ada")), Some(text("Ada"))));
    cache.blocking().delete("1").unwrap();
    assert_eq!((database.row("users:1"), cache.local("1")), (None, None));
}

#[tokio::test]
async fn a_write_behind_is_read_back_before_the_origin_has_it_and_survives_a_restart() {
    let (folder, database) = (tempfile::tempdir().unwrap(), Database::default());
    let options = behind::Options { retry_first: Duration::from_millis(5), ..Default::default() };
    let log = Behind::open(folder.path(), options.clone(), Arc::new(database.clone())).await.unwrap();
    database.fail(true);
    let cache = builder().write_behind(log).build().unwrap();
    for key in 0..300 {
        cache.put(key.to_string(), format!("v{key}")).await.unwrap();
    }
    cache.delete("7").await.unwrap();
    // Long evicted, and the origin knows nothing of it.
    assert_eq!((cache.local("0"), database.row("users:0")), (None, None));
    let old = || async { Ok::<_, Infallible>(text("what the origin has")) };
    assert_eq!(cache.get_with("0", old).await.unwrap(), "v0");
    assert_eq!(cache.get_with("7", old).await.unwrap_err().kind(), ErrorKind::NotFound);
    let load = |_| async { Ok::<_, Infallible>(std::collections::HashMap::<String, String>::new()) };
    assert_eq!(cache.get_many_with([text("1"), text("7")], load).await.unwrap().len(), 1);
    assert!(!cache.close(Duration::from_secs(1)).await, "the sink takes nothing");
    assert_eq!(cache.put(text("x"), text("y")).await.unwrap_err().kind(), ErrorKind::Closed);
    drop(cache);
    database.fail(false);
    let log = reopen(folder.path(), options, Arc::new(database.clone())).await;
    let cache = builder().write_behind(log).build().unwrap();
    assert!(cache.close(Duration::from_secs(5)).await);
    assert_eq!((database.row("users:299"), database.row("users:7")), (Some(text("v299")), None));
    assert_eq!(database.0.rows.lock().len(), 299);
}

#[tokio::test]
async fn what_is_deleted_behind_does_not_come_back_by_the_remote_tier() {
    let (folder, database) = (tempfile::tempdir().unwrap(), Database::default());
    let options = behind::Options { retry_first: Duration::from_millis(5), ..Default::default() };
    let log = Behind::open(folder.path(), options, Arc::new(database.clone())).await.unwrap();
    let store = Arc::new(InProcess::new(1 << 20));
    let here = builder().remote(store.clone(), codec::Plain).write_behind(log.clone()).build().unwrap();
    let there = builder().remote(Arc::new(InProcess::clone(&store)), codec::Plain).build().unwrap();
    let load = |database: &Database| {
        let row = database.row("users:1");
        move || async move { row.ok_or_else(|| Error::new(ErrorKind::NotFound, "no such row")) }
    };
    database.0.rows.lock().insert(text("users:1"), text("old"));
    database.fail(true);
    here.delete("1").await.unwrap();
    // The row is still there, and so another process brings it back.
    assert_eq!(there.get_with("1", load(&database)).await.unwrap(), "old");
    assert_eq!(here.get_with("1", load(&database)).await.unwrap_err().kind(), ErrorKind::NotFound);
    database.fail(false);
    let flushed = async {
        while log.pending("users:1").is_some() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Word of it is on its way.
        while there.local("1").is_some() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), flushed).await.unwrap();
    for cache in [&here, &there] {
        let gone = cache.get_with("1", load(&database)).await;
        assert_eq!(gone.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

/// What others loaded while this process was down is from before the writes that it left: they are told, whether the sink gets these before
/// the cache is there or after.
#[tokio::test]
async fn what_a_process_left_in_its_log_outdates_what_others_loaded_meanwhile() {
    for is_first in [true, false] {
        let (folder, database) = (tempfile::tempdir().unwrap(), Database::default());
        let options = behind::Options { retry_first: Duration::from_millis(5), ..Default::default() };
        let open = || reopen(folder.path(), options.clone(), Arc::new(database.clone()));
        database.0.rows.lock().insert(text("users:1"), text("old"));
        database.fail(true);
        let before = builder().write_behind(open().await).build().unwrap();
        before.put(text("1"), text("new")).await.unwrap();
        assert!(!before.close(Duration::from_secs(1)).await);
        drop(before);

        let store = Arc::new(InProcess::new(1 << 20));
        let there = builder().remote(Arc::new(InProcess::clone(&store)), codec::Plain).build().unwrap();
        let load = |database: &Database| {
            let row = database.row("users:1").unwrap();
            move || async move { Ok::<_, Infallible>(row) }
        };
        assert_eq!(there.get_with("1", load(&database)).await.unwrap(), "old");
        let log = open().await;
        let build = || builder().remote(store.clone(), codec::Plain).write_behind(log.clone()).build().unwrap();
        let here = is_first.then(build);
        database.fail(false);
        let flushed = async {
            while log.pending("users:1").is_some() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), flushed).await.unwrap();
        let here = here.unwrap_or_else(build);
        assert_eq!(here.get_with("1", load(&database)).await.unwrap(), "new", "{is_first}");
        until_not(&there, "old").await;
        assert_eq!(there.get_with("1", load(&database)).await.unwrap(), "new", "{is_first}");
    }
}

/// Returns once the cache holds something else for `1`, of which word is on its way.
async fn until_not(cache: &Cache<String, String>, value: &str) {
    let wait = async {
        while cache.local("1").is_some_and(|held| held == value) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap();
}

#[tokio::test]
async fn what_the_sink_refuses_is_forgotten_here_and_elsewhere() {
    for is_shared in [true, false] {
        let (folder, database) = (tempfile::tempdir().unwrap(), Database::default());
        let options = behind::Options { retry_first: Duration::from_millis(5), ..Default::default() };
        let log = Behind::open(folder.path(), options, Arc::new(database.clone())).await.unwrap();
        let store = InProcess::new(1 << 20);
        let process = || match is_shared {
            true => builder().remote(store.clone(), codec::Plain),
            false => builder(),
        };
        let (here, there) = (process().write_behind(log.clone()).build().unwrap(), process().build().unwrap());
        let old = || async { Ok::<_, Infallible>(text("old")) };
        database.fail(true);
        here.put(text("1"), text("new")).await.unwrap();
        assert_eq!(there.get_with("1", old).await.unwrap(), if is_shared { "new" } else { "old" });
        database.0.refuses.store(true, Ordering::SeqCst);
        database.fail(false);
        let refused = async {
            while log.pending("users:1").is_some() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), refused).await.unwrap();
        assert_eq!((log.stats().dead_lettered, here.local("1")), (1, None));
        until_not(&there, "new").await;
        for cache in [&here, &there] {
            assert_eq!(cache.get_with("1", old).await.unwrap(), "old");
        }
    }
}

/// The clock stands still: time passes only where everybody waits.
#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn closing_takes_no_longer_than_it_may_though_the_disk_hangs() {
    let (folder, database) = (tempfile::tempdir().unwrap(), Database::default());
    let options = behind::Options { checkpoint_interval: Duration::from_secs(3600), ..Default::default() };
    let log = Behind::open(folder.path(), options, Arc::new(database.clone())).await.unwrap();
    let cache = builder().write_behind(log.clone()).build().unwrap();
    // Who opens it to write waits for who reads it.
    let checkpoint = folder.path().join("checkpoint.new");
    assert!(std::process::Command::new("mkfifo").arg(&checkpoint).status().unwrap().success());
    cache.put(text("1"), text("Ada")).await.unwrap();
    while log.pending("users:1").is_some() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (within, began) = (Duration::from_secs(5), tokio::time::Instant::now());
    assert!(!cache.close(within).await);
    assert!(began.elapsed() <= within + Duration::from_millis(1), "{:?}", began.elapsed());
    drop(std::fs::File::open(&checkpoint));
}

/// A remote tier that keeps what it has whatever is written: a replica that lags.
struct Lagging(Arc<InProcess>);

impl larder::remote::RemoteStore for Lagging {
    fn capabilities(&self) -> larder::remote::Capabilities {
        Default::default()
    }

    fn get<'a>(&'a self, names: &'a [larder::remote::Name]) -> BoxFuture<'a, Result<Vec<Option<bytes::Bytes>>, Error>> {
        self.0.get(names)
    }

    fn put<'a>(&'a self, items: &'a [larder::remote::Item]) -> BoxFuture<'a, Result<larder::remote::Filled, Error>> {
        async move { Ok(larder::remote::Filled { kept: items.len(), not_admitted: 0 }) }.boxed()
    }

    fn invalidate<'a>(&'a self, _: &'a [larder::remote::Notice]) -> BoxFuture<'a, Result<(), Error>> {
        async { Ok(()) }.boxed()
    }

    fn listen(&self) -> tokio::sync::broadcast::Receiver<larder::remote::Invalidation> {
        tokio::sync::broadcast::channel(1).1
    }
}

/// A cache whose remote tier holds an old value of one key and will not let go of it.
async fn behind_a_replica(consistency: Consistency) -> (Cache<String, String>, Arc<InProcess>) {
    let store = InProcess::new(1 << 20);
    let writer = builder().remote(store.clone(), codec::Plain).build().unwrap();
    writer.insert(text("1"), text("old")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let link = Arc::new(store);
    let cache = builder().consistency(consistency).remote(Lagging(link.clone()), codec::Plain).build().unwrap();
    (cache, link)
}

async fn read(cache: &Cache<String, String>, origin: &'static str) -> String {
    cache.get_with("1", move || async move { Ok::<_, Infallible>(text(origin)) }).await.unwrap()
}

#[tokio::test]
async fn eventual_reads_may_follow_an_older_copy_and_the_others_must_not() {
    for (consistency, expected) in
        [(Consistency::Eventual, "old"), (Consistency::ReadYourWrites, "new"), (Consistency::MonotonicReads, "new")]
    {
        let (cache, _link) = behind_a_replica(consistency).await;
        assert_eq!(read(&cache, "unasked").await, "old");
        cache.changed("1").await.unwrap();
        assert_eq!(read(&cache, "new").await, expected, "{consistency:?}");
    }
}

#[tokio::test]
async fn monotonic_reads_do_not_go_back_after_an_eviction() {
    for (consistency, expected) in
        [(Consistency::Eventual, "old"), (Consistency::ReadYourWrites, "old"), (Consistency::MonotonicReads, "newer")]
    {
        let (cache, link) = behind_a_replica(consistency).await;
        // While the replica cannot be asked, a read goes to the origin and sees something newer; it is no write of this process.
        link.set_faults(Faults { down: true, ..Faults::default() });
        assert_eq!(read(&cache, "new").await, "new");
        link.set_faults(Faults::default());
        cache.resize(0);
        cache.resize(100);
        assert_eq!(read(&cache, "newer").await, expected, "{consistency:?}");
    }
}
