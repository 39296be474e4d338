//! Records what a service really saw, loads' latencies included, as a trace that `larder replay` and `larder freshness` read.
//! A cache records each read at its own time, whatever came of it: hits and misses, who waited for another's load, loads that failed. Where no
//! value is known, the size is 1 and the cost 0.
//!
//! [`Recorder::record`] is for the hot path: it hashes the key, and puts 32 bytes into a bounded queue that threads share with few
//! others; a thread of the recorder's own writes, to a file or to a [`Sink`] that instances share. A full queue loses events and
//! counts them. Keys leave as keyed hashes only.

mod file;
mod keys;
mod lanes;
mod stream;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use larder_policy::{Op, Time};
use larder_trace::Request;
use parking_lot::Mutex;

use crate::{Error, ErrorKind, bounds};
use file::{File, LEAST_BYTES, unwritten};
use keys::Keys;
use lanes::Lanes;
use stream::Stream;
pub use stream::{Batch, Sink};
use writer::Target;

/// The longest queue of events: half a GiB.
const MOST_QUEUE: usize = 1 << 24;

/// How to record.
#[derive(Clone)]
pub struct Options {
    /// The file never grows beyond so many bytes; recording ends before. 1 GiB by default. A sink has a limit of its own.
    pub max_bytes: u64,
    /// The share of the *keys* whose events are recorded, from 0 to 1, chosen by their hashes: a replay of them in a cache of that
    /// share of the size has about the hit ratio of the whole (Waldspurger et al., "Efficient MRC construction with SHARDS", FAST
    /// 2015). 1 by default.
    pub sample: f64,
    /// The secret under which keys are hashed. With the same one a key has the same hash after a restart; without one, which is
    /// the default, nobody can ever tell which key a hash stood for. Recorders that share a sink need the same one.
    pub key: Option<[u8; 16]>,
    /// Events that may wait to be written, 32 bytes each, at most 16,777,216; 65,536 by default.
    pub queue: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_bytes: 1 << 30, sample: 1.0, key: None, queue: 1 << 16 }
    }
}

impl Options {
    fn check(&self) -> Result<(), Error> {
        bounds::check("recorder: sample", self.sample, 0.0, 1.0)?;
        bounds::check("recorder: queue", self.queue, 0, MOST_QUEUE)
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { max_bytes, sample, key, queue } = self;
        // The secret must not get into logs.
        let key = key.map(|_| "…");
        f.debug_struct("Options")
            .field("max_bytes", max_bytes)
            .field("sample", sample)
            .field("key", &key)
            .field("queue", queue)
            .finish()
    }
}

/// Whose event it is: the key's text, or a number that stands for it. Use one of the two for a key, as their hashes differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    /// The key's text.
    Text(&'a str),
    /// The key itself, if it is a number, or a hash that is the same for as long as the recording lasts.
    Number(u64),
}

impl<'a> From<&'a str> for Key<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Key<'_> {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

/// One thing that happened.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Whose.
    pub key: Key<'a>,
    /// When, in microseconds of a clock that does not go back, since whatever epoch.
    pub at: u64,
    /// The value's size in bytes.
    pub size: u32,
    /// What was done.
    pub op: Op,
    /// The lifetime given; recorded in whole seconds, rounded up.
    pub ttl: Option<Duration>,
    /// How long the load took, in microseconds; 0 if there was none.
    pub cost: u32,
}

impl Event<'_> {
    fn request(&self, key: u64) -> Request {
        let seconds = |ttl: Duration| ttl.as_secs().saturating_add(u64::from(ttl.subsec_nanos() > 0));
        let ttl = self.ttl.map_or(0, |ttl| u32::try_from(seconds(ttl)).unwrap_or(u32::MAX));
        Request { at: Time(self.at), key, size: self.size, ttl, cost: self.cost, op: self.op }
    }
}

/// What became of the events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Recorded {
    /// Events in the file, or that the sink has: readable whatever becomes of this process.
    pub written: u64,
    /// Events lost because the queue was full, the file was full, the sink did not keep up, or writing had failed.
    pub dropped: u64,
    /// The file's length in bytes, or how many bytes the sink has been given.
    pub bytes: u64,
    /// Whether the file has reached its limit: nothing more is recorded.
    pub is_full: bool,
    /// Whether writing failed: nothing more is recorded. [`Recorder::finish`] says why.
    pub has_failed: bool,
}

/// Writes a trace of what happens. Shared by reference; dropping it ends the recording as [`finish`](Self::finish) does.
pub struct Recorder {
    shared: Arc<Shared>,
    keys: Keys,
    /// Hashes up to here are recorded.
    most: Option<u64>,
    thread: Mutex<Option<JoinHandle<Result<(), Error>>>>,
}

/// What the recorder and its thread share.
struct Shared {
    lanes: Lanes,
    /// Whether events are taken.
    is_open: AtomicBool,
    written: AtomicU64,
    bytes: AtomicU64,
    is_full: AtomicBool,
    has_failed: AtomicBool,
    /// Whether the thread is through: what waits from then on is lost.
    has_ended: AtomicBool,
}

impl Shared {
    fn new(lanes: Lanes) -> Self {
        Self {
            lanes,
            is_open: AtomicBool::new(true),
            written: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            is_full: AtomicBool::new(false),
            has_failed: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
        }
    }

    fn recorded(&self) -> Recorded {
        let Shared { lanes, written, bytes, is_full, has_failed, has_ended, .. } = self;
        let late = if has_ended.load(Ordering::Acquire) { lanes.waiting() } else { 0 };
        Recorded {
            written: written.load(Ordering::Relaxed),
            dropped: lanes.dropped() + late,
            bytes: bytes.load(Ordering::Relaxed),
            is_full: is_full.load(Ordering::Relaxed),
            has_failed: has_failed.load(Ordering::Relaxed),
        }
    }
}

impl Recorder {
    /// Begins a recording in larder's CSV; the path's ending says how it is compressed (`.csv`, `.csv.zst`, `.csv.gz`). Events come in the order of
    /// their times, but for reads whose load took longer than about a second: they stand where it ended.
    ///
    /// # Errors
    /// `Config`: an option is out of range, or there is a file of that name: a recording is never overwritten. `Storage`: the
    /// file cannot be created.
    pub fn create(path: impl AsRef<Path>, options: Options) -> Result<Self, Error> {
        let path = path.as_ref();
        options.check()?;
        if options.max_bytes < LEAST_BYTES {
            let what = format!("a recording of {} bytes; give at least {LEAST_BYTES}", options.max_bytes);
            return Err(Error::new(ErrorKind::Config, what));
        }
        if path == Path::new("-") {
            let what = "a recording goes to a file: '-' would be stdout, which is the service's own";
            return Err(Error::new(ErrorKind::Config, what));
        }
        // Of processes that begin at once, one has the name.
        match std::fs::File::create_new(path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let what = format!("{} exists: move it away, or record under another name", path.display());
                return Err(Error::new(ErrorKind::Config, what));
            }
            // Told by who opens it again.
            _ => {}
        }
        let trace = larder_trace::create(path, Some("larder")).map_err(unwritten)?;
        let path = path.to_owned();
        Self::begin(&options, |shared| Ok(File::new(shared, trace, path, options.max_bytes)))
    }

    /// Begins a recording that goes to a sink, in batches: one that instances of a service share, such as `larder_redis::RecordStream`.
    /// While the sink fails 64 batches wait, then batches are dropped.
    ///
    /// # Errors
    /// `Config`: an option is out of range, or no [`key`](Options::key) is given, under which all instances hash alike. `Sink`: no thread
    /// could be started.
    pub fn stream(sink: Arc<dyn Sink>, options: Options) -> Result<Self, Error> {
        options.check()?;
        if options.key.is_none() {
            let what = "recorders that share a sink must hash keys alike: give them all one secret in `Options::key`";
            return Err(Error::new(ErrorKind::Config, what));
        }
        Self::begin(&options, |shared| Stream::begin(shared, sink))
    }

    fn begin<T: Target + Send + 'static>(
        options: &Options,
        target: impl FnOnce(Arc<Shared>) -> Result<T, Error>,
    ) -> Result<Self, Error> {
        let keys = Keys::new(options.key)?;
        let shared = Arc::new(Shared::new(Lanes::new(options.queue)));
        let target = target(shared.clone())?;
        let thread = std::thread::Builder::new().name("larder-recorder".to_owned()).spawn({
            let shared = shared.clone();
            move || writer::run(&shared, target)
        });
        let thread = thread.map_err(|e| Error::caused(ErrorKind::Storage, "the recorder's thread did not start", e))?;
        // A share of 1 takes the largest hash too, a share of 0 takes none.
        let most = (options.sample > 0.0).then_some((options.sample * u64::MAX as f64) as u64);
        Ok(Self { shared, keys, most, thread: Mutex::new(Some(thread)) })
    }

    /// Records an event, or counts it as dropped. Never waits.
    #[inline]
    pub fn record(&self, event: &Event<'_>) {
        let key = self.keys.hash(event.key);
        if self.most.is_none_or(|most| key > most) {
            return;
        }
        if self.shared.is_open.load(Ordering::Relaxed) {
            self.shared.lanes.push(event.request(key));
        } else {
            self.shared.lanes.drop_one();
        }
    }

    /// What became of the events so far.
    pub fn recorded(&self) -> Recorded {
        self.shared.recorded()
    }

    /// Ends the recording: writes what waits and ends the file. Waits for the disk, or up to five seconds for the sink; the second call
    /// does nothing.
    ///
    /// # Errors
    /// `Storage` or `Sink`: writing failed, now or earlier; what was written before is readable.
    pub fn finish(&self) -> Result<Recorded, Error> {
        self.shared.is_open.store(false, Ordering::Release);
        if let Some(thread) = self.thread.lock().take() {
            thread.thread().unpark();
            match thread.join() {
                Ok(result) => result?,
                Err(_) => return Err(Error::new(ErrorKind::Storage, "the recorder's thread panicked")),
            }
        }
        Ok(self.recorded())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            tracing::warn!(%error, "a recording did not end well");
        }
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("recorded", &self.recorded()).finish_non_exhaustive()
    }
}
