//! What following keys through their days takes.

use std::time::Duration;

use super::Limits;
use crate::bounds::LONGEST_WAIT;
use crate::{Error, bounds};

/// The most keys that may be set to be followed: some ten GiB.
const MOST_KEYS: usize = 10_000_000;

/// How keys with a daily rhythm are found, and warmed.
#[derive(Clone, Debug, PartialEq)]
pub struct Daily {
    /// Keys followed, at most twice so many, about 300 bytes and the name each: those read most. Up to ten million.
    pub most_keys: usize,
    /// Reads in a quarter of an hour from which on a key is followed.
    pub least: u32,
    /// How long before its busy time a key is to be there, up to a day.
    pub lead: Duration,
    /// What each warming may take.
    pub limits: Limits,
}

impl Default for Daily {
    /// 10,000 keys with 20 reads in a quarter of an hour, there a quarter of an hour ahead.
    fn default() -> Self {
        let quarter = Duration::from_secs(900);
        Self { most_keys: 10_000, least: 20, lead: quarter, limits: Limits::default() }
    }
}

impl Daily {
    pub(crate) fn check(&self) -> Result<(), Error> {
        bounds::check("daily pre-warm: most_keys", self.most_keys, 1, MOST_KEYS)?;
        bounds::check("daily pre-warm: lead", self.lead, Duration::ZERO, LONGEST_WAIT)?;
        self.limits.check()
    }
}
