//! What can be set, with defaults that suit a service.

use std::time::Duration;

use crate::bounds::{LONGEST_WAIT, MOST_QUEUED};
use crate::{Error, ErrorKind, bounds};

/// The longest segment of a log, in bytes: a TiB.
const MOST_SEGMENT: u64 = 1 << 40;

/// When a write counts as durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fsync {
    /// Once the disk has it: it survives a power cut. Writes that come together share one `fdatasync`.
    #[default]
    Always,
    /// Once the operating system has it: it survives the end of the process, by `kill -9` too. A power cut takes what was
    /// written since the last `fdatasync`, one in each such interval, and a disk error that the system reports at a sync may
    /// take as much. The sink is given only what has been synced.
    Interval(Duration),
}

/// What to do about a log that a crash cannot have left like this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDamage {
    /// Do not start; the error names the file and the byte.
    #[default]
    Refuse,
    /// Go on with every write that can be read, and count what is missing ([`Stats::lost`](super::Stats::lost)). A damaged
    /// segment keeps its bytes: once the sink has the rest of it, its name ends in `.damaged`. Leave this on until then.
    SetAside,
}

/// Settings of a write-behind log. Times are at most a day, numbers of writes at most 100 million.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// A segment of the log is closed at this size, in bytes, and deleted once the sink has all of it; at most 1 TiB. 16 MiB.
    pub segment_bytes: u64,
    /// Most bytes of writes that the sink does not have yet, in memory and as much again on disk; at most 4 GiB. 64 MiB.
    pub max_pending_bytes: usize,
    /// Most writes that the sink does not have yet. 100,000.
    pub max_pending_writes: usize,
    /// How long an append waits for room before it fails with `Overloaded`; none: for ever. 5 s.
    pub max_wait: Option<Duration>,
    /// Most writes in one call of the sink. 512.
    pub batch_writes: usize,
    /// A batch is closed once it has this many bytes; at most 4 GiB. 1 MiB.
    pub batch_bytes: usize,
    /// How long a write waits for others to share its batch. 100 ms.
    pub flush_interval: Duration,
    /// Whether the sink gets only the last of several writes to one key that are in the same batch. True.
    pub coalesce: bool,
    /// A call of the sink that takes longer is dropped and tried again. 30 s.
    pub sink_timeout: Duration,
    /// The first wait after a failure; it doubles up to the longest, with up to as much again at random. 50 ms.
    pub retry_first: Duration,
    /// The longest wait after a failure, without what is added at random. 5 s.
    pub retry_longest: Duration,
    /// How often what the sink has is recorded; after a crash it is offered again what came since. 1 s.
    pub checkpoint_interval: Duration,
    /// When a write counts as durable. Always.
    pub fsync: Fsync,
    /// What to do about a damaged log. Refuse.
    pub on_damage: OnDamage,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 16 << 20,
            max_pending_bytes: 64 << 20,
            max_pending_writes: 100_000,
            max_wait: Some(Duration::from_secs(5)),
            batch_writes: 512,
            batch_bytes: 1 << 20,
            flush_interval: Duration::from_millis(100),
            coalesce: true,
            sink_timeout: Duration::from_secs(30),
            retry_first: Duration::from_millis(50),
            retry_longest: Duration::from_secs(5),
            checkpoint_interval: Duration::from_secs(1),
            fsync: Fsync::Always,
            on_damage: OnDamage::Refuse,
        }
    }
}

impl Options {
    /// # Errors
    /// `Config`: a setting with which nothing could be written.
    pub(super) fn check(&self) -> Result<(), Error> {
        let wrong = |what: &str| Err(Error::new(ErrorKind::Config, format!("write-behind: {what}")));
        bounds::check("write-behind: max_pending_bytes", self.max_pending_bytes, 1, u32::MAX as usize)?;
        bounds::check("write-behind: max_pending_writes", self.max_pending_writes, 1, MOST_QUEUED)?;
        bounds::check("write-behind: batch_writes", self.batch_writes, 1, MOST_QUEUED)?;
        bounds::check("write-behind: batch_bytes", self.batch_bytes, 1, u32::MAX as usize)?;
        bounds::check("write-behind: segment_bytes", self.segment_bytes, 1, MOST_SEGMENT)?;
        if self.retry_first.is_zero() || self.retry_longest < self.retry_first {
            return wrong("retry_first must be above zero and at most retry_longest");
        }
        let interval = match self.fsync {
            Fsync::Always => LONGEST_WAIT,
            Fsync::Interval(interval) => interval,
        };
        for (name, time) in [("sink_timeout", self.sink_timeout), ("the interval of fsync", interval)] {
            bounds::check(&format!("write-behind: {name}"), time, Duration::from_nanos(1), LONGEST_WAIT)?;
        }
        let waits = [
            ("max_wait", self.max_wait.unwrap_or_default()),
            ("flush_interval", self.flush_interval),
            ("retry_longest", self.retry_longest),
            ("checkpoint_interval", self.checkpoint_interval),
        ];
        for (name, time) in waits {
            bounds::check(&format!("write-behind: {name}"), time, Duration::ZERO, LONGEST_WAIT)?;
        }
        Ok(())
    }
}

/// What an error about damage ends with.
pub(super) fn way_out() -> &'static str {
    "restore the file, or start once with OnDamage::SetAside, which goes on without what cannot be read"
}
