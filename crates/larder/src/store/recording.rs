//! What the recorder is told: a row for each read, whatever comes of it, and for each write and removal.

use std::borrow::Borrow;
use std::time::Duration;

use larder_policy::{KeyHash, Op, Time};

use super::Store;
use crate::flight::{Flight, Reads};
use crate::key::Key;
use crate::recorder::{Event, Recorder};
use crate::segment::Segment;

impl<K, V> Store<K, V>
where
    K: Key + Clone,
    V: Clone,
{
    #[inline]
    pub(super) fn record<Q: Key + ?Sized>(
        &self,
        key: &Q,
        op: Op,
        at: Time,
        size: u32,
        cost: u32,
        ttl: Option<Duration>,
    ) {
        if let Some(recorder) = &self.recorder {
            write_down(recorder, key, op, at, size, cost, ttl);
        }
    }

    /// The size and the cost that a read is recorded with which no load answers.
    pub(super) fn recorded_as<Q>(&self, segment: &Segment<K, V>, hash: KeyHash, key: &Q) -> (u32, u32)
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        let entry = self.recorder.as_ref().and_then(|_| segment.kernel.peek(hash));
        entry.filter(|entry| entry.key.borrow() == key).map_or((1, 0), |entry| (entry.size, entry.cost))
    }

    /// A read waits for a flight, and is recorded when that has landed; under the segment's lock.
    pub(super) fn record_later(&self, flight: &Flight<K, V>, at: Time) {
        if self.recorder.is_some() {
            flight.reads.lock().at.push(at);
        }
    }

    /// What its reads are recorded with, as far as is known.
    pub(super) fn tell(&self, flight: &Flight<K, V>, size: u32, cost: u32, ttl: Option<Duration>) {
        if self.recorder.is_some() {
            let mut reads = flight.reads.lock();
            (reads.size, reads.cost, reads.ttl) = (size, cost, ttl);
        }
    }

    /// As they are recorded where the answer is a value that is not kept.
    pub(crate) fn tell_unkept(&self, flight: &Flight<K, V>, value: Option<&V>) {
        if self.recorder.is_some() {
            self.tell(flight, self.weigh(&flight.key, value), 0, None);
        }
    }

    /// Records the reads that waited for a flight, which nobody joins any more, each at its own time.
    pub(crate) fn record_reads(&self, flight: &Flight<K, V>) {
        if self.recorder.is_some() {
            let Reads { at, size, cost, ttl } = std::mem::take(&mut *flight.reads.lock());
            at.into_iter().for_each(|at| self.record(&flight.key, Op::Get, at, size, cost, ttl));
        }
    }
}

#[cold]
fn write_down<Q: Key + ?Sized>(
    recorder: &Recorder,
    key: &Q,
    op: Op,
    at: Time,
    size: u32,
    cost: u32,
    ttl: Option<Duration>,
) {
    recorder.record(&Event { key: key.text().as_ref().into(), at: at.0, size, op, ttl, cost });
}
