//! What surrounds a key in a generated request: its time, operation, size and lifetime.

use larder_policy::{KeyHash, Op, Rng, Time};

use super::{Moment, Pattern, Values};
use crate::{Carries, Error, Progress, Reader, Request, Skipped, parse};

/// How requests are dressed. Sizes and lifetimes are functions of the key: an object keeps them.
pub(super) struct Traffic {
    /// Requests a second.
    pub(super) rate: f64,
    /// Share of gets.
    pub(super) reads: f64,
    /// Share of deletes; sets have the rest.
    pub(super) deletes: f64,
    /// Mean size in bytes.
    pub(super) size: f64,
    /// Standard deviation of the sizes' logarithm.
    pub(super) spread: f64,
    /// Lifetimes in seconds, each with the share of keys up to and including it.
    pub(super) ttls: Vec<(u32, f64)>,
}

impl Traffic {
    pub(super) fn new(values: &Values) -> Result<Self, Error> {
        let ttl = parse::cap(values.whole("ttl")?);
        Ok(Self {
            rate: values.positive("rate")?,
            reads: values.share("reads")?,
            deletes: 0.0,
            size: values.positive("size")?,
            spread: values.number("spread")?,
            ttls: if ttl > 0 { vec![(ttl, 1.0)] } else { Vec::new() },
        })
    }

    fn op(&self, rng: &mut Rng) -> Op {
        if self.reads >= 1.0 {
            return Op::Get;
        }
        match rng.unit() {
            u if u < self.reads => Op::Get,
            u if u < self.reads + self.deletes => Op::Delete,
            _ => Op::Set,
        }
    }

    fn size(&self, key: u64) -> u32 {
        let mut size = self.size;
        if self.spread > 0.0 {
            // Box & Muller's normal deviate of two hashes of the key; the mean of the log-normal stays `size`.
            let radius = libm::sqrt(-2.0 * libm::log(1.0 - drawn(key, 1)));
            let normal = radius * libm::cos(std::f64::consts::TAU * drawn(key, 2));
            size *= libm::exp(self.spread * normal - self.spread * self.spread / 2.0);
        }
        // A float beyond the range becomes its end.
        size.max(1.0) as u32
    }

    fn ttl(&self, key: u64) -> u32 {
        match &*self.ttls {
            [] => 0,
            [(ttl, _)] => *ttl,
            ttls => {
                let u = drawn(key, 3);
                ttls.iter().find(|(_, share)| u < *share).or(ttls.last()).map_or(0, |(ttl, _)| *ttl)
            }
        }
    }
}

/// The key's own number in [0, 1) for one `purpose`, independent of its numbers for others.
fn drawn(key: u64, purpose: u64) -> f64 {
    Rng::new(KeyHash::mix(key).0 ^ KeyHash::mix(purpose).0).unit()
}

/// The reader of a generated trace.
pub(super) struct Generated {
    pattern: Box<dyn Pattern>,
    traffic: Traffic,
    rng: Rng,
    index: u64,
    requests: u64,
    seconds: f64,
}

impl Generated {
    pub(super) fn new(pattern: Box<dyn Pattern>, traffic: Traffic, requests: u64, seed: u64) -> Self {
        Self { pattern, traffic, rng: Rng::new(seed), index: 0, requests, seconds: 0.0 }
    }

    fn next(&mut self) -> Request {
        let Self { pattern, traffic, rng, index, seconds, .. } = self;
        let key = pattern.key(Moment { index: *index, seconds: *seconds }, rng);
        let (op, at) = (traffic.op(rng), Time((*seconds * 1e6) as u64));
        *index += 1;
        *seconds += 1.0 / (traffic.rate * pattern.pace(*seconds));
        Request { at, key, size: traffic.size(key), ttl: traffic.ttl(key), cost: 0, op }
    }
}

impl Reader for Generated {
    fn read(&mut self, batch: &mut Vec<Request>, max: usize) -> Result<usize, Error> {
        let count = usize::try_from(self.requests - self.index).unwrap_or(usize::MAX).min(max);
        batch.extend((0..count).map(|_| self.next()));
        Ok(count)
    }

    fn carries(&self) -> Carries {
        let Traffic { reads, size, spread, ttls, .. } = &self.traffic;
        let sizes = *size != 1.0 || *spread > 0.0;
        Carries { times: true, sizes, ops: *reads < 1.0, ttls: !ttls.is_empty(), costs: false }
    }

    fn skipped(&self) -> Skipped {
        Skipped::default()
    }

    fn progress(&self) -> Progress {
        Progress { bytes: self.index, total: Some(self.requests) }
    }
}
