//! How a cache behaves, as plain data: what the builder and `larder.toml` fill in.

use std::time::Duration;

use larder_policy::freshness::Freshness;

use crate::bounds::LONGEST_WAIT;
use crate::{Error, ErrorKind, bounds};

/// What a reader may be served after writes, his own and others'. The stronger forms remember when each key was last written, or seen, of as many
/// keys as there is room for in memory, at least 229,376 and at most 917,504, within 40 to 80 bytes a key. Of those before them they know only
/// within groups: reads of the others in a group may find copies in the remote tier too old that are not, and ask the origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Consistency {
    /// Within the freshness objective, anything that was true. A read may follow another process's older copy.
    #[default]
    Eventual,
    /// After a write or a `changed` of this process, none of its reads sees anything older.
    ReadYourWrites,
    /// As the above, and no read sees anything older than what an earlier read of this process saw, by when the origin was asked. By its version
    /// too, where it gives one: what memory holds is served instead of an older one, as stale, for as long as it may be.
    MonotonicReads,
}

/// When an entry with a fixed lifetime is loaded anew before it ends. With a stale-rate objective the engine decides instead.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Refresh {
    /// At its end.
    #[default]
    AtEnd,
    /// By the first read after this share of its lifetime.
    Ahead(f64),
    /// At random, the likelier the nearer its end and the costlier its load, so that processes do not all load at once: XFetch of
    /// Vattani, Chierichetti and Lowenstein (VLDB 2015), with this β; 1 is a good one.
    Early(f64),
}

/// Everything about a cache's behaviour that is not its capacity or its stores. Timeouts and the pause are at most a day; lifetimes may be
/// as long as they like, the longest are for ever.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// How stale an answer may be.
    pub freshness: Freshness,
    /// The share by which lifetimes are shortened at random, so that what was loaded together does not end together.
    pub jitter: f64,
    /// For how long it is remembered that the origin has no such value.
    pub negative_ttl: Duration,
    /// For how long after its time a value is still served where the origin fails or is slow. With a stale-rate objective, the
    /// hard maximum ends this too, and so does always a value's [own](crate::Options::ttl).
    pub stale_if_error: Duration,
    /// After a failed load, for how long a stale value is served without trying again.
    pub error_pause: Duration,
    /// When entries are loaded ahead of their end.
    pub refresh: Refresh,
    /// A reader waits no longer than this if there is a stale value to serve meanwhile. None waits as for a missing one.
    pub soft_timeout: Option<Duration>,
    /// No reader waits longer; the load goes on and fills the cache.
    pub hard_timeout: Duration,
    /// A load that takes longer is given up.
    pub load_timeout: Duration,
    /// What reads see after writes.
    pub consistency: Consistency,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            freshness: Freshness::fixed_ttl(Duration::from_secs(300)),
            jitter: 0.1,
            negative_ttl: Duration::from_secs(10),
            stale_if_error: Duration::from_secs(3600),
            error_pause: Duration::from_secs(1),
            refresh: Refresh::AtEnd,
            soft_timeout: None,
            hard_timeout: Duration::from_secs(10),
            load_timeout: Duration::from_secs(60),
            consistency: Consistency::Eventual,
        }
    }
}

impl Refresh {
    /// How long before its end XFetch would load a value whose load took `cost`: −ln(u) × β × cost, `unit` being uniform in
    /// [0, 1).
    pub fn early(beta: f64, cost: Duration, unit: f64) -> Duration {
        Duration::from_micros((-(1.0 - unit).ln() * beta * cost.as_micros() as f64) as u64)
    }
}

impl Rules {
    /// A share of a span, from 0 to 1. The longest spans are beyond what a float can be turned back into: those stay whole.
    pub fn part_of(span: Duration, share: f64) -> Duration {
        Duration::try_from_secs_f64(span.as_secs_f64() * share.clamp(0.0, 1.0)).unwrap_or(span)
    }

    /// The lifetime of everything, or with another objective the hard maximum.
    pub fn ttl(&self) -> Duration {
        self.freshness.fixed().unwrap_or(self.freshness.most())
    }

    /// How long a reader waits for a load, who `has_stale` a value to serve instead or has none.
    pub(crate) fn patience(&self, has_stale: bool) -> Duration {
        match self.soft_timeout {
            Some(soft) if has_stale => soft.min(self.hard_timeout),
            _ => self.hard_timeout,
        }
    }

    /// Whether every value makes sense.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the one that does not.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |what: String| Err(Error::new(ErrorKind::Config, what));
        if !(0.0..1.0).contains(&self.jitter) {
            return wrong(format!("a jitter of {} is not at least 0 and below 1", self.jitter));
        }
        match self.refresh {
            Refresh::Ahead(share) if !(share > 0.0 && share <= 1.0) => {
                return wrong(format!(
                    "a refresh ahead after {share} of the lifetime: the share lies above 0 and up to 1"
                ));
            }
            Refresh::Early(beta) if !(beta > 0.0 && beta.is_finite()) => {
                return wrong(format!("an early refresh with β = {beta}: β is above 0, and 1 is a good one"));
            }
            _ => {}
        }
        for (name, time) in [("hard_timeout", self.hard_timeout), ("load_timeout", self.load_timeout)] {
            bounds::check(name, time, Duration::from_nanos(1), LONGEST_WAIT)?;
        }
        bounds::check("soft_timeout", self.soft_timeout.unwrap_or_default(), Duration::ZERO, LONGEST_WAIT)?;
        bounds::check("error_pause", self.error_pause, Duration::ZERO, LONGEST_WAIT)
    }
}
