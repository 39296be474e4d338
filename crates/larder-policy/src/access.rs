//! The vocabulary of a request: who is asked for, when, how large, and what is done with it.

use std::time::Duration;

/// A key as the kernel sees it: 64 well-mixed bits.
///
/// The kernel treats the hash as the key's identity, so whoever makes it decides how safe that is: a service hashes
/// with a secret seed and compares the real key in `V`; a replay mixes a trace's 64-bit key with [`KeyHash::mix`],
/// which is a bijection and so never collides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash(pub u64);

impl KeyHash {
    /// Mixes a 64-bit key into a hash, one to one (the finaliser of MurmurHash3, variant 13 of Stafford 2011).
    #[inline]
    pub const fn mix(key: u64) -> Self {
        let x = (key ^ (key >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self(x ^ (x >> 31))
    }
}

/// A moment in microseconds since an epoch the caller chooses; the kernel only compares and subtracts moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Time(pub u64);

impl Time {
    /// The moment `span` later; saturates at the end of time.
    #[inline]
    pub const fn plus(self, span: Duration) -> Self {
        let micros = span.as_micros();
        let micros = if micros > u64::MAX as u128 { u64::MAX } else { micros as u64 };
        Self(self.0.saturating_add(micros))
    }

    /// The span since `earlier`; zero when the clock went back.
    #[inline]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// What a request does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Op {
    /// A read of the cached value.
    #[default]
    Get,
    /// The origin's value changed, and the new one is written to the cache.
    Set,
    /// The value is invalidated.
    Delete,
}

/// One request, as every part of the kernel sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Who is asked for.
    pub key: KeyHash,
    /// When; the kernel has no other clock.
    pub at: Time,
    /// The value's size in bytes, 1 where unknown.
    pub size: u32,
    /// What a load of this value costs, in microseconds of latency; 0 where unknown.
    pub cost: u32,
    /// What is done.
    pub op: Op,
}

// Accesses are copied through every policy of a replay: two of them should fit a cache line.
const _: () = assert!(size_of::<Access>() <= 32);

impl Access {
    /// A read of `key` at `at`, of one byte and of unknown cost.
    #[inline]
    pub const fn get(key: KeyHash, at: Time) -> Self {
        Self { key, at, size: 1, cost: 0, op: Op::Get }
    }
}
