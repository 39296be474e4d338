//! The origin: a SQLite file with real rows, which change while they are read.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant, SystemTime};

use larder::Fetched;
use larder_policy::Rng;
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::traffic::{CLASSES, Changes, Row, Traffic};
use crate::failure::Failure;

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = OFF;
    CREATE TABLE item (
        key TEXT PRIMARY KEY, version INTEGER NOT NULL, changed_at INTEGER NOT NULL, body TEXT NOT NULL
    ) WITHOUT ROWID;";

/// How often the writer looks for what is due.
const PACE: Duration = Duration::from_millis(5);

/// A row as the service caches it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Item {
    pub(super) version: u32,
    pub(super) body: String,
}

/// A database in a folder that is removed with it.
pub(super) struct Origin {
    folder: TempDir,
    idle: Mutex<Vec<Connection>>,
    /// Each row's version in the file: the truth.
    versions: Vec<AtomicU32>,
    /// The network, there and back.
    delay: Duration,
}

impl Origin {
    /// A file with all rows of `traffic`, as old as rows are that change at their rate.
    pub(super) fn new(traffic: &Traffic, delay: Duration, seed: u64) -> Result<Self, Failure> {
        let folder = tempfile::tempdir().map_err(|e| Failure::Failed(format!("no folder for the database: {e}")))?;
        let versions = traffic.keys.iter().map(|_| AtomicU32::new(0)).collect();
        let origin = Self { folder, idle: Mutex::default(), versions, delay };
        let mut database = origin.connection()?;
        database.execute_batch(SCHEMA)?;
        let transaction = database.transaction()?;
        {
            let mut insert = transaction.prepare("INSERT INTO item VALUES (?1, 0, ?2, ?3)")?;
            let (mut rng, now) = (Rng::new(seed), since_epoch());
            for (class, rows) in CLASSES.iter().zip(&traffic.classes) {
                for &row in rows {
                    let age = class.every.mul_f64(-(1.0 - rng.unit()).ln());
                    let changed_at = now.saturating_sub(age).as_micros() as i64;
                    insert.execute(params![&*traffic.keys[row as usize], changed_at, body(row, 0)])?;
                }
            }
        }
        transaction.commit()?;
        origin.give_back(database);
        Ok(origin)
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.versions.len()
    }

    /// The row's version in the file.
    pub(super) fn version(&self, row: Row) -> u32 {
        self.versions[row as usize].load(Ordering::Acquire)
    }

    /// Reads a row across the network.
    pub(super) async fn load(self: Arc<Self>, key: Arc<str>) -> Result<Fetched<Item>, larder::BoxError> {
        let half = self.delay / 2;
        pause(half).await;
        let row = tokio::task::spawn_blocking(move || self.read(&key)).await??;
        pause(half).await;
        Ok(row)
    }

    fn read(&self, key: &str) -> Result<Fetched<Item>, rusqlite::Error> {
        let database = match self.idle().pop() {
            Some(database) => database,
            None => self.connection()?,
        };
        let found = database
            .prepare_cached("SELECT version, changed_at, body FROM item WHERE key = ?1")?
            .query_row([key], |row| {
                let item = Item { version: row.get(0)?, body: row.get(2)? };
                let changed_at = Duration::from_micros(row.get::<_, i64>(1)?.unsigned_abs());
                Ok(Fetched::from(item).changed_at(changed_at))
            })
            .optional()?;
        self.give_back(database);
        Ok(found.unwrap_or_else(Fetched::absent))
    }

    /// Changes rows from `start` until told to stop: those whose time has come, and those that come in through `asked`. Returns how
    /// many changed.
    pub(super) fn change(
        &self,
        traffic: &Traffic,
        asked: &mpsc::Receiver<Row>,
        start: Instant,
        seed: u64,
        stop: &AtomicBool,
    ) -> Result<u64, Failure> {
        let mut changes = Changes::new(traffic, seed);
        let mut database = self.connection()?;
        let mut written = vec![0; self.len()];
        let mut changed = 0;
        loop {
            // Asked first: what came in before the end is still done.
            let is_last = stop.load(Ordering::Relaxed);
            let now = start.elapsed().as_secs_f64();
            let due: Vec<Row> = std::iter::from_fn(|| changes.until(now)).chain(asked.try_iter()).collect();
            if !due.is_empty() {
                self.write(&mut database, traffic, &due, &mut written)?;
                changed += due.len() as u64;
            }
            if is_last {
                return Ok(changed);
            }
            std::thread::sleep(PACE);
        }
    }

    /// Changes rows; one may be due twice. `written` are the versions in the file, which has this one writer.
    fn write(
        &self,
        database: &mut Connection,
        traffic: &Traffic,
        due: &[Row],
        written: &mut [u32],
    ) -> Result<(), Failure> {
        let transaction = database.transaction()?;
        {
            let mut update = transaction
                .prepare_cached("UPDATE item SET version = ?2, changed_at = ?3, body = ?4 WHERE key = ?1")?;
            for &row in due {
                let version = &mut written[row as usize];
                *version += 1;
                let changed_at = since_epoch().as_micros() as i64;
                update.execute(params![&*traffic.keys[row as usize], *version, changed_at, body(row, *version)])?;
            }
        }
        transaction.commit()?;
        due.iter().for_each(|&row| self.versions[row as usize].store(written[row as usize], Ordering::Release));
        Ok(())
    }

    fn connection(&self) -> Result<Connection, rusqlite::Error> {
        let database = Connection::open(self.path())?;
        database.busy_timeout(Duration::from_secs(5))?;
        Ok(database)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("origin.sqlite")
    }

    fn give_back(&self, database: Connection) {
        self.idle().push(database);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        // A list of idle connections is whole whatever happened to whoever held it.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a row says: some 200 bytes that differ by row and version.
fn body(row: Row, version: u32) -> String {
    format!("{{\"row\":{row},\"version\":{version},\"text\":\"{}\"}}", "lorem ipsum ".repeat(12))
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn rows_change_and_are_read_as_they_are() {
        let traffic = Traffic::read(Path::new("gen:uniform:keys=50"), 1000, 1).unwrap();
        let origin = Arc::new(Origin::new(&traffic, Duration::ZERO, 1).unwrap());
        let (ask, asked) = mpsc::channel();
        ask.send(3).unwrap();
        ask.send(3).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (origin, traffic, stop_it) = (&origin, &traffic, &stop);
            let writer = scope.spawn(move || origin.change(traffic, &asked, Instant::now(), 1, stop_it));
            while origin.version(3) < 2 {
                std::thread::sleep(PACE);
            }
            stop.store(true, Ordering::Relaxed);
            assert!(writer.join().unwrap().unwrap() >= 2);
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for row in [3, 7] {
            let key = traffic.keys[row as usize].clone();
            let read = runtime.block_on(origin.clone().load(key)).unwrap();
            let cache = larder::Cache::<u32, Item>::builder().capacity(1).build().unwrap();
            let load = || async move { Ok::<_, std::io::Error>(read) };
            let item = runtime.block_on(cache.get_with(&row, load)).unwrap();
            assert_eq!(item, Item { version: origin.version(row), body: body(row, origin.version(row)) });
        }
    }
}
