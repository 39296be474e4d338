//! Durable write-behind: a write is acknowledged once a local log has it, and reaches its [`Sink`] later, in batches.
//!
//! [`Behind::append`] returns when the write would survive `kill -9` and a power cut. A task gives the writes to the sink in
//! the order of the log, tries again while the sink fails, and keeps what the sink refuses for good in a file
//! ([`dead_letters`]). What the sink has is recorded now and then; after a crash it is offered again what came since. So each
//! acknowledged write reaches the sink **at least once**, and writes to one key in their order (but for those offered again).
//!
//! What is outstanding is bounded: `append` waits for room, then fails with `Overloaded`. A reader that must see its own write
//! asks [`Behind::pending`].
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use futures_util::future::{BoxFuture, FutureExt as _};
//! use larder::Error;
//! use larder::behind::{Behind, Options, Sink, Write};
//!
//! struct Database;
//!
//! impl Sink for Database {
//!     fn write<'a>(&'a self, batch: &'a [Write]) -> BoxFuture<'a, Result<(), Error>> {
//!         async move {
//!             for write in batch {
//!                 println!("{} {:?}", write.name, write.value);
//!             }
//!             Ok(())
//!         }
//!         .boxed()
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Error> {
//! # let folder = tempfile::tempdir().unwrap();
//! let behind = Behind::open(folder.path(), Options::default(), Arc::new(Database)).await?;
//! behind.append("user:1".into(), Some("Ada".into())).await?;
//! assert_eq!(behind.shutdown(Duration::from_secs(5)).await?, 0);
//! # Ok(())
//! # }
//! ```
//!
//! # The folder
//!
//! Values lie there as they are given, and go to the sink so: whoever may not read them there must not read the disk.
//!
//! `*.log` are segments of the log, `identity` says when it was made, `checkpoint` what the sink has, `*.dead` hold what it refused, `*.damaged` what could
//! not be read in full, `lock` keeps a second process out.
//!
//! A write that was cut off by a crash was never acknowledged, and is cut off the file at the next start. Anything else that is
//! not as it was written stops the start with an error that names the file and the byte, unless the sink has those writes
//! already. [`OnDamage::SetAside`] is the way out. Two things cannot be told from a crash: a newest segment that somebody cut
//! short, and damage to its very last group of writes if a value there holds a whole sector (512 bytes) of zeros.
//!
//! # When the disk fails
//!
//! Appends fail with `Storage`, and work again when the disk does. A write whose append failed is not in the log, unless
//! the process ends before the log was repaired: then it may be, as with any database.

mod checkpoint;
mod flusher;
mod folder;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod gate;
mod hearers;
mod identity;
mod log;
mod options;
mod pending;
mod record;
mod recover;
mod scan;
mod segment;
mod stats;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::{oneshot, watch};

pub use self::options::{Fsync, OnDamage, Options};
pub use self::stats::Stats;

use self::flusher::{Flusher, Stop};
use self::gate::{Gate, closed};
use self::hearers::Hearers;
pub(crate) use self::hearers::{Hearer, News};
use self::log::Log;
use self::pending::{Entry, Pending};
use self::recover::Recovered;
use self::stats::Counters;
use self::writer::{Append, Command, Writer};
use crate::bounds::FOR_EVER;
use crate::remote::Name;
use crate::{Error, ErrorKind};

/// How long the last checkpoint may take after a shutdown's deadline.
pub(crate) const CLOSING: Duration = Duration::from_secs(1);

/// One write, as the sink gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Its place in the log. Later writes have greater ones, over restarts too; some numbers may be left out.
    pub sequence: u64,
    /// The key.
    pub name: Name,
    /// The value; none deletes the key.
    pub value: Option<Bytes>,
}

/// Where the writes go in the end: a database, another service.
pub trait Sink: Send + Sync + 'static {
    /// Which log the writes are of, told once before the first batch: when it was made, in microseconds since the Unix epoch. A log that
    /// is opened again is the same; one begun anew, its sequences too, is another. Together with `sequence` it names a write for ever.
    fn begin(&self, log: u64) {
        let _ = log;
    }

    /// Takes a batch, in the order of `sequence`. One call at a time.
    ///
    /// It must be idempotent: the same writes may come again, in other batches, after a crash, after an error, or after a call
    /// was dropped because it took too long ([`Options::sink_timeout`]) or the log was shut down. The last writer by `sequence`
    /// wins; a sink that stores the sequence beside the value and ignores lower ones has all it needs.
    ///
    /// # Errors
    /// While [`Error::is_retryable`], the batch is offered again, for ever, and later ones wait. With any other error nothing of
    /// the batch need be done: its writes are then offered one by one, and those refused again go to the dead letters. A panic
    /// counts as an error that may pass.
    fn write<'a>(&'a self, batch: &'a [Write]) -> BoxFuture<'a, Result<(), Error>>;
}

/// A write-behind log; clones share it. When the last is dropped, the log closes and the sink gets nothing more: what is left
/// stays for the next start. [`shutdown`](Self::shutdown) gives the sink time, and says when the log is closed.
#[derive(Clone)]
pub struct Behind(Arc<Handle>);

/// What the clones share. The flusher and the writer do not hold it, so they see its end.
struct Handle {
    gate: Arc<Gate>,
    shared: Arc<Shared>,
    log: mpsc::Sender<Command>,
    stop: watch::Sender<Stop>,
    /// True once the log is closed.
    closed: watch::Receiver<bool>,
}

/// What the handle, the flusher and the writer share.
struct Shared {
    pending: Pending,
    counters: Counters,
    hearers: Hearers,
}

impl Behind {
    /// Opens the log in `folder`, or makes one, and begins to give the sink what is in it. Needs a tokio runtime with its timer.
    ///
    /// # Errors
    /// `Config`: a setting is wrong. `Storage`: another process has the log, it cannot be read or written, or it is damaged.
    pub async fn open(folder: impl AsRef<Path>, options: Options, sink: Arc<dyn Sink>) -> Result<Self, Error> {
        options.check()?;
        let folder = folder.as_ref().to_owned();
        let options = Arc::new(options);
        let opening = Arc::clone(&options);
        let opened = tokio::task::spawn_blocking(move || Log::open(&folder, &opening)).await;
        let (log, recovered) =
            opened.map_err(|error| Error::caused(ErrorKind::Storage, "write-behind: opening was cut off", error))??;
        sink.begin(log.identity());
        let gate = Gate::new(&options);
        let shared = Arc::new(Shared {
            pending: Pending::default(),
            counters: Counters::new(&recovered),
            hearers: Hearers::default(),
        });
        shared.pending.push(entries(recovered, &gate), log.durable());

        let (commands, receiver) = mpsc::channel();
        let (stop, stopped) = watch::channel(Stop::No);
        let (closing, closed) = watch::channel(false);
        let writer = Writer::new(log, Arc::clone(&options), Arc::clone(&shared), receiver);
        std::thread::Builder::new()
            .name("larder-behind".to_owned())
            .spawn(move || {
                writer.run();
                closing.send_replace(true);
            })
            .map_err(|error| Error::caused(ErrorKind::Storage, format!("write-behind: no thread: {error}"), error))?;
        let flusher = Flusher { sink, options, shared: Arc::clone(&shared), log: commands.clone(), stop: stopped };
        tokio::spawn(flusher.run());
        Ok(Self(Arc::new(Handle { gate, shared, log: commands, stop, closed })))
    }

    /// Appends a write, a deletion if there is no value, and returns its sequence once it is durable. If the caller stops
    /// waiting, the write may or may not be in the log.
    ///
    /// # Errors
    /// `Overloaded`: the sink does not keep up and there was no room within [`Options::max_wait`]. `Storage`: the disk failed.
    /// `Config`: the write is larger than all that may be outstanding. `Closed`: the log is shut down.
    pub async fn append(&self, name: Name, value: Option<Bytes>) -> Result<u64, Error> {
        let bytes = record::length(name.len(), value.as_ref().map_or(0, Bytes::len));
        let room = self.0.gate.enter(bytes).await?;
        let (reply, answer) = oneshot::channel();
        self.0.log.send(Command::Append(Append { name, value, room, reply })).map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// The last durable write to `name` that the sink may not have yet: the value, or `Some(None)` if it deletes the key.
    /// `None`: the sink has everything. A read that must not go back asks here before it asks the sink's store.
    pub fn pending(&self, name: &str) -> Option<Option<Bytes>> {
        self.0.shared.pending.latest(name)
    }

    /// From now on `hearer` is told what becomes of writes. What comes back is to be run: it tells what it missed since the log was opened.
    pub(crate) fn tell(&self, hearer: Hearer) -> BoxFuture<'static, ()> {
        self.0.shared.hearers.add(hearer)
    }

    /// How many writes the sink has refused; counted before anybody is told.
    pub(crate) fn refusals(&self) -> u64 {
        self.0.shared.counters.dead.load(Ordering::Relaxed)
    }

    /// What has been done so far, and what is outstanding.
    pub fn stats(&self) -> Stats {
        self.0.shared.counters.stats(&self.0.shared.pending)
    }

    /// Takes no more writes, gives the sink what it can by the deadline, and closes the log. Says how many writes are left in
    /// the log for the next start. Returns when another process may open the log, at the latest a second after the deadline.
    ///
    /// # Errors
    /// `Timeout`: the disk does not let the log be closed. Nothing acknowledged is lost.
    pub async fn shutdown(&self, deadline: Duration) -> Result<u64, Error> {
        let Handle { gate, shared, log, stop, closed } = &*self.0;
        let end = tokio::time::Instant::now() + deadline.min(FOR_EVER);
        gate.close();
        // Appends that got in before are acknowledged, and flushed too.
        let (reply, answer) = oneshot::channel();
        if log.send(Command::Barrier(reply)).is_ok() {
            // Without an answer there is no time left, or the log is closed already.
            let _ = tokio::time::timeout_at(end, answer).await;
        }
        stop.send_if_modified(|stop| {
            let first = *stop == Stop::No;
            if first {
                *stop = Stop::By(end);
            }
            first
        });
        let mut closed = closed.clone();
        match tokio::time::timeout_at(end + CLOSING, closed.wait_for(|closed| *closed)).await {
            Ok(_) => Ok(shared.pending.size().0),
            Err(_) => {
                Err(Error::new(ErrorKind::Timeout, "write-behind: the disk does not answer, the log is not closed"))
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.gate.close();
        self.stop.send_replace(Stop::Now);
    }
}

impl std::fmt::Debug for Behind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Behind").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// The writes that the sink of the log in `folder` refused, in the order of their sequences. Their files (`*.dead`) stay until
/// somebody deletes them. The log may be open or not.
///
/// # Errors
/// `Storage`: a file cannot be read, or is damaged.
pub fn dead_letters(folder: impl AsRef<Path>) -> Result<Vec<Write>, Error> {
    log::dead_letters(folder.as_ref())
}

fn entries(recovered: Recovered, gate: &Arc<Gate>) -> impl Iterator<Item = Entry> {
    let since = Instant::now();
    recovered.writes.into_iter().map(move |write| {
        let bytes = record::length(write.name.len(), write.value.as_ref().map_or(0, Bytes::len));
        Entry { write, bytes, since, is_recovered: true, _room: gate.admit(bytes) }
    })
}
