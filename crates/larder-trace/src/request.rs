//! One row of a trace.

use larder_policy::{Access, KeyHash, Op, Time};

/// One request of a trace, as every reader yields it and every writer takes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// When, in microseconds since the trace's own epoch; the request's index times a second where a source has none.
    pub at: Time,
    /// The key's 64-bit number; text keys are hashed on reading.
    pub key: u64,
    /// The value's size in bytes, 1 where unknown. Where rows of a log do not tell it, that of the key's last row that does, or before any does a
    /// guess: the mean of the keys known so far.
    pub size: u32,
    /// The lifetime the origin gave, in seconds; 0 where none is given.
    pub ttl: u32,
    /// What the load cost, in microseconds; 0 where unknown.
    pub cost: u32,
    /// What is done.
    pub op: Op,
}

// Batches of requests are broadcast to every policy of a replay: keep two to a cache line.
const _: () = assert!(size_of::<Request>() <= 32);

impl Request {
    /// The access the kernel sees: the key mixed into a hash, one to one.
    #[inline]
    pub const fn access(&self) -> Access {
        Access { key: KeyHash::mix(self.key), at: self.at, size: self.size, cost: self.cost, op: self.op }
    }
}
