//! What settings may be: from the least that works to the most that can be meant. Far beyond, sums of times overflow and tables outgrow
//! any memory; who writes such a number has mistaken a unit, and is told so before the cache starts.
//!
//! Lifetimes have no upper end: they saturate, and the longest are for ever.

use std::fmt::Debug;
use std::time::Duration;

use crate::{Error, ErrorKind};

/// The least a time may be that somebody waits for.
pub const SHORTEST: Duration = Duration::from_millis(1);
/// The most a time may be that somebody waits for: a day.
pub const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);
/// The most a time may be for which others have to keep something: ten years.
pub const LONGEST_KEPT: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// The most that may be done at once, such as loads and calls.
pub const MOST_AT_ONCE: usize = 1_000_000;
/// The most that may wait in memory, in pieces.
pub const MOST_QUEUED: usize = 100_000_000;
/// The largest capacity, in entries or in bytes: a PiB.
pub const MOST_CAPACITY: u64 = 1 << 50;

/// A wait that a caller names has no setting to be refused in; longer than this is for ever. A moment farther off cannot be told on
/// every system.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Whether `value` lies between `least` and `most`; no number does not.
///
/// # Errors
/// [`ErrorKind::Config`], with the setting, its value and its limits.
pub fn check<T: PartialOrd + Debug>(setting: &str, value: T, least: T, most: T) -> Result<(), Error> {
    if value >= least && value <= most {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Config, format!("{setting} is {value:?}: it must be from {least:?} to {most:?}")))
}

/// Whether each is a time that somebody can wait for, from [`SHORTEST`] to [`LONGEST_WAIT`].
///
/// # Errors
/// As [`check`], with `of` before the setting.
pub fn waits(of: &str, times: &[(&str, Duration)]) -> Result<(), Error> {
    times.iter().try_for_each(|(name, time)| check(&format!("{of}: {name}"), *time, SHORTEST, LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_setting_its_value_and_its_limits() {
        let error = waits("remote tier", &[("deadline", SHORTEST), ("trust", Duration::MAX)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(
            error.to_string(),
            "remote tier: trust is 18446744073709551615.999999999s: it must be from 1ms to 86400s"
        );
        assert!(check("share", f64::NAN, 0.0, 1.0).is_err() && check("share", 1.0, 0.0, 1.0).is_ok());
    }
}
