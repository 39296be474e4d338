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

/// A pattern with its traffic, and its weight among others.
pub(super) struct Part {
    pub(super) weight: f64,
    pub(super) pattern: Box<dyn Pattern>,
    pub(super) traffic: Traffic,
    /// Requests it gave so far.
    pub(super) index: u64,
}

/// The reader of a generated trace.
pub(super) struct Generated {
    parts: Vec<Part>,
    weight: f64,
    rate: f64,
    rng: Rng,
    index: u64,
    requests: u64,
    seconds: f64,
}

impl Generated {
    pub(super) fn boxed(parts: Vec<Part>, rate: f64, requests: u64, seed: u64) -> Result<Box<dyn Reader>, Error> {
        let weight = parts.iter().map(|p| p.weight).sum();
        if weight <= 0.0 {
            return Err(Error::option("the weights of a mix add up to 0"));
        }
        Ok(Box::new(Self { parts, weight, rate, rng: Rng::new(seed), index: 0, requests, seconds: 0.0 }))
    }

    fn next(&mut self) -> Request {
        let (seconds, chosen) = (self.seconds, self.choose());
        let Part { pattern, traffic, index, .. } = &mut self.parts[chosen];
        let key = pattern.key(Moment { index: *index, seconds }, &mut self.rng);
        *index += 1;
        let (op, at) = (traffic.op(&mut self.rng), Time((seconds * 1e6) as u64));
        let (size, ttl) = (traffic.size(key), traffic.ttl(key));
        self.index += 1;
        self.seconds += 1.0 / (self.rate * self.pace());
        // The parts' keys lie apart.
        let key = key.wrapping_add((chosen as u64) << 56);
        Request { at, key, size, ttl, cost: 0, op }
    }

    fn choose(&mut self) -> usize {
        if self.parts.len() == 1 {
            return 0;
        }
        let mut left = self.rng.unit() * self.weight;
        let of = |part: &Part| {
            left -= part.weight;
            left < 0.0
        };
        // Rounding may leave a crumb beyond the last.
        self.parts.iter().position(of).unwrap_or(self.parts.len() - 1)
    }

    /// The parts' mean, by weight.
    fn pace(&self) -> f64 {
        self.parts.iter().map(|p| p.weight * p.pattern.pace(self.seconds)).sum::<f64>() / self.weight
    }
}

impl Reader for Generated {
    fn read(&mut self, batch: &mut Vec<Request>, max: usize) -> Result<usize, Error> {
        let count = usize::try_from(self.requests - self.index).unwrap_or(usize::MAX).min(max);
        batch.extend((0..count).map(|_| self.next()));
        Ok(count)
    }

    fn carries(&self) -> Carries {
        let any = |has: fn(&Traffic) -> bool| self.parts.iter().any(|p| has(&p.traffic));
        Carries {
            times: true,
            sizes: any(|t| t.size != 1.0 || t.spread > 0.0),
            ops: any(|t| t.reads < 1.0),
            ttls: any(|t| !t.ttls.is_empty()),
            costs: false,
            judged: false,
        }
    }

    fn skipped(&self) -> Skipped {
        Skipped::default()
    }

    fn progress(&self) -> Progress {
        Progress { bytes: self.index, total: Some(self.requests) }
    }
}
