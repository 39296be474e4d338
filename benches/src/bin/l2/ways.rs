//! The ways to run a full Redis that are set beside each other.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use larder::remote::{Name, envelope};
use larder_benches::SEED;
use larder_policy::{Access, Capacity, Inserted, KeyHash, Lookup, PolicySpec, Shard, Time};

use larder_benches::server::SPEED;

/// Longer than any run, by the servers' clock.
pub(crate) const LONG: Duration = Duration::from_secs(30 * 86_400);
/// Turnovers that the most valuable key's life is longer than the least valuable one's.
const SPREAD: f64 = 2.0;
/// A life that would change by less of that is left as it is.
const LAZY: f64 = 0.1;

/// How it is decided who leaves.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Way {
    /// By the server.
    Lru,
    Lfu {
        decay_time: u32,
        log_factor: u32,
    },
    /// By larder, under `allkeys-lru`.
    Steered(&'static str),
    /// By the server, of what larder's policy would have let in.
    Admission,
    /// By the server's `volatile-ttl`: what larder's policy values more gets a longer life.
    Retention,
}

impl Way {
    /// What the server is told.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        let policy = match self {
            Self::Lfu { .. } => "allkeys-lfu",
            Self::Retention => "volatile-ttl",
            Self::Lru | Self::Steered(_) | Self::Admission => "allkeys-lru",
        };
        let mut settings = vec![("maxmemory-policy", policy.to_owned())];
        if let Self::Lfu { decay_time, log_factor } = self {
            settings.push(("lfu-decay-time", decay_time.to_string()));
            settings.push(("lfu-log-factor", log_factor.to_string()));
        }
        settings
    }

    pub(crate) fn adviser(&self, bytes: u64) -> Result<Option<Adviser>> {
        Ok(match self {
            Self::Admission => Some(Adviser::new("learned", bytes, false)?),
            Self::Retention => Some(Adviser::new("learned:refuse=0", bytes, true)?),
            Self::Lru | Self::Lfu { .. } | Self::Steered(_) => None,
        })
    }
}

/// Larder's policy beside a Redis that it cannot take keys out of.
pub(crate) struct Adviser {
    mind: Mutex<Mind>,
    retains: bool,
    start: Instant,
}

struct Mind {
    shard: Shard<Retained>,
    /// Bytes filled so far.
    filled: u64,
}

/// When a key is to leave, by the servers' clock in ms since the start.
#[derive(Clone, Copy, Debug, Default)]
struct Retained(f64);

/// What to do about a key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Advice {
    /// Do not store it.
    Refuse,
    /// Store it for so long; of what is stored, change its life.
    Keep(Duration),
    /// Nothing changes.
    Leave,
}

impl Adviser {
    fn new(policy: &str, bytes: u64, retains: bool) -> Result<Self> {
        let capacity = Capacity::bytes(bytes);
        let shard = Shard::new(capacity, policy.parse::<PolicySpec>()?.build(capacity, SEED));
        Ok(Self { mind: Mutex::new(Mind { shard, filled: 0 }), retains, start: Instant::now() })
    }

    /// A key was read, or is being filled after a miss.
    pub(crate) fn advise(&self, name: &Name, size: usize, hit: bool) -> Advice {
        let elapsed = self.start.elapsed();
        let at = Time(elapsed.as_micros() as u64);
        let access = Access { size: size as u32 + 200, ..Access::get(KeyHash::mix(envelope::fingerprint(name)), at) };
        // A poisoned lock has failed the run already.
        let mut mind = self.mind.lock().unwrap_or_else(PoisonError::into_inner);
        let Mind { shard, filled } = &mut *mind;
        if !hit {
            shard.remove(access.key);
            *filled += u64::from(access.size);
        }
        let missed = match shard.lookup(&access) {
            Lookup::Hit(_) => None,
            Lookup::Miss(miss) => Some(miss),
        };
        if let Some(miss) = missed {
            let plan = shard.plan(&access, miss, None);
            let inserted = shard.insert(&access, Retained::default(), &plan, &mut Vec::new());
            if !hit && matches!(inserted, Inserted::Refused(..)) {
                return Advice::Refuse;
            }
        }
        if !self.retains {
            return if hit { Advice::Leave } else { Advice::Keep(LONG) };
        }
        let worth = f64::from(shard.explain(&access).map_or(0.0, |explanation| explanation.worth));
        let now = elapsed.as_secs_f64() * 1000.0 * f64::from(SPEED);
        let turnover = now * shard.capacity().limit as f64 / *filled.max(&mut 1) as f64;
        let until = now + SPREAD * worth * turnover;
        let Some(retained) = shard.peek_mut(access.key) else { return Advice::Leave };
        if hit && (until - retained.0).abs() < LAZY * SPREAD * turnover {
            return Advice::Leave;
        }
        retained.0 = until;
        let life = (LONG.as_secs_f64() + (until - now) / 1000.0).clamp(1.0, 2.0 * LONG.as_secs_f64());
        Advice::Keep(Duration::from_secs_f64(life))
    }
}
