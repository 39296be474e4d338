//! What is in the log and not yet with the sink, in order and by name.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;

use super::gate::Room;
use super::{Options, Write};
use crate::remote::Name;
use crate::sync::{AtomicU64, Mutex, Ordering::Relaxed};

/// A coalesced batch looks at most this many times as many writes as it may have: what it looks at stays under a lock.
const COALESCED: usize = 8;

/// The queue between the log and the flusher.
#[derive(Default)]
pub(super) struct Pending {
    inner: Mutex<Inner>,
    /// Changed only under the lock; read without it by those who look up a name, most of whom find nothing.
    writes: AtomicU64,
    /// Something came, or became durable.
    pub(super) arrived: Notify,
}

#[derive(Default)]
struct Inner {
    queue: VecDeque<Entry>,
    /// Of each name the last write, in the queue or on its way to the sink.
    latest: HashMap<Name, (u64, Option<Bytes>), ahash::RandomState>,
    /// The sink may have writes up to this sequence.
    durable: u64,
    bytes: u64,
    /// When the first write on its way to the sink came.
    oldest_taken: Option<Instant>,
}

/// A write that waits.
pub(super) struct Entry {
    pub(super) write: Write,
    pub(super) bytes: usize,
    pub(super) since: Instant,
    /// An earlier process left it: nobody knows for how long it has waited.
    pub(super) is_recovered: bool,
    /// Given back with the entry.
    pub(super) _room: Room,
}

/// What goes to the sink next.
pub(super) struct Batch {
    /// In order; with coalescing, one a name.
    pub(super) writes: Vec<Write>,
    entries: Vec<Entry>,
}

/// When there is a batch.
pub(super) enum Next {
    /// Once something comes.
    Empty,
    /// Then, or once more has come.
    At(Instant),
    /// Now.
    Ready,
}

impl Pending {
    /// Adds writes in the order of their sequences, all durable up to `durable`.
    pub(super) fn push(&self, entries: impl IntoIterator<Item = Entry>, durable: u64) {
        let mut inner = self.inner.lock();
        for entry in entries {
            inner.bytes += entry.bytes as u64;
            inner.latest.insert(entry.write.name.clone(), (entry.write.sequence, entry.write.value.clone()));
            inner.queue.push_back(entry);
            self.writes.fetch_add(1, Relaxed);
        }
        inner.durable = durable;
        drop(inner);
        self.arrived.notify_one();
    }

    /// The last write to `name` that the sink may not have: a value, or none if it deletes.
    pub(super) fn latest(&self, name: &str) -> Option<Option<Bytes>> {
        if self.writes.load(Relaxed) == 0 {
            return None;
        }
        self.inner.lock().latest.get(name).map(|(_, value)| value.clone())
    }

    /// Whether a batch is full, or when its first write has waited long enough.
    pub(super) fn next(&self, options: &Options) -> Next {
        let inner = self.inner.lock();
        match inner.queue.front().filter(|entry| entry.write.sequence <= inner.durable) {
            None => Next::Empty,
            Some(_) if inner.queue.len() >= options.batch_writes => Next::Ready,
            Some(_) if inner.bytes >= options.batch_bytes as u64 => Next::Ready,
            Some(entry) => Next::At(entry.since + options.flush_interval),
        }
    }

    /// The next batch; none if nothing durable waits. It counts as pending until [`done`](Self::done).
    pub(super) fn take(&self, options: &Options) -> Option<Batch> {
        let mut batch = Batch { writes: Vec::new(), entries: Vec::new() };
        let (mut bytes, mut places) = (0, HashMap::<Name, usize, ahash::RandomState>::default());
        let mut inner = self.inner.lock();
        while batch.writes.len() < options.batch_writes
            && batch.entries.len() < options.batch_writes.saturating_mul(COALESCED)
            && bytes < options.batch_bytes
        {
            if inner.queue.front().is_none_or(|entry| entry.write.sequence > inner.durable) {
                break;
            }
            let Some(entry) = inner.queue.pop_front() else { break };
            match places.get(&entry.write.name).filter(|_| options.coalesce) {
                Some(&place) => batch.writes[place] = entry.write.clone(),
                None => {
                    places.insert(entry.write.name.clone(), batch.writes.len());
                    batch.writes.push(entry.write.clone());
                }
            }
            bytes += entry.bytes;
            batch.entries.push(entry);
        }
        inner.oldest_taken = batch.entries.first().map(|entry| entry.since);
        drop(inner);
        // A write that replaced an earlier one stands in its place; no sink should see sequences go back.
        batch.writes.sort_unstable_by_key(|write| write.sequence);
        (!batch.entries.is_empty()).then_some(batch)
    }

    /// The batch is with the sink, or with the dead letters.
    pub(super) fn done(&self, batch: Batch) {
        let mut inner = self.inner.lock();
        for Entry { write, bytes, .. } in &batch.entries {
            inner.bytes -= *bytes as u64;
            if inner.latest.get(&write.name).is_some_and(|(sequence, _)| *sequence == write.sequence) {
                inner.latest.remove(&write.name);
            }
        }
        self.writes.fetch_sub(batch.entries.len() as u64, Relaxed);
        inner.oldest_taken = None;
        drop(inner);
        // Room is given back with the entries, outside the lock.
        drop(batch);
    }

    /// How many writes, how many bytes, and for how long the oldest has waited.
    pub(super) fn size(&self) -> (u64, u64, Option<Duration>) {
        let inner = self.inner.lock();
        let oldest = inner.oldest_taken.or(inner.queue.front().map(|entry| entry.since));
        (self.writes.load(Relaxed), inner.bytes, oldest.map(|since| since.elapsed()))
    }
}

impl Batch {
    /// The last sequence in it.
    pub(super) fn last(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.write.sequence)
    }

    /// Whether the first has waited for longer than `long`, or may have.
    pub(super) fn waited(&self, long: Duration) -> bool {
        self.entries.first().is_some_and(|entry| entry.is_recovered || entry.since.elapsed() > long)
    }

    /// The names of what an earlier process left.
    pub(super) fn recovered(&self) -> impl Iterator<Item = Name> {
        self.entries.iter().filter(|entry| entry.is_recovered).map(|entry| entry.write.name.clone())
    }

    /// Writes of which a later one in the batch makes another call needless.
    pub(super) fn coalesced(&self) -> u64 {
        (self.entries.len() - self.writes.len()) as u64
    }
}
