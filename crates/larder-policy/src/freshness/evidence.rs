//! What a load says about the value known before: whether it changed since, and when.

use super::flips::Flips;
use super::plan::Evidence;
use super::record::seconds;
use crate::Time;

/// What is known after a look at the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct News {
    /// Whether the value changed since the one known before was loaded; `None` where nothing can be said.
    pub(super) changed: Option<bool>,
    /// When it changed within that time, where the origin says so.
    pub(super) at: Option<Time>,
}

impl News {
    pub(super) const NONE: Self = Self { changed: None, at: None };
}

impl Evidence {
    /// When the value last changed, where the origin says so.
    pub(super) fn time(self) -> Option<Time> {
        match self {
            Self::ChangedAt(at) | Self::DigestAt(_, at) => Some(at),
            _ => None,
        }
    }

    /// What a load that began at `began` and ended `now` says of the value loaded at `before`, which is `None` where none is known. After a
    /// notice none is: a change is no surprise then. `told` is the time that the origin told of that value: by its own clock, which may differ from ours.
    pub(super) fn compare(self, before: Option<Time>, told: Time, began: Time, now: Time, flips: &mut Flips) -> News {
        let Some(since) = before else {
            if let Self::Digest(digest) | Self::DigestAt(digest, _) = self {
                flips.renew(digest);
            }
            return News::NONE;
        };
        // A value that was there before it was asked for is not made anew for each who asks, however often it changes; and who says of himself that
        // it changed, knows.
        let is_sure = self == Self::Changed || self.time().is_some_and(|at| at < began);
        let age = seconds(since, now);
        let changed = match self {
            Self::Unknown => return News::NONE,
            Self::Unchanged => false,
            Self::Changed => true,
            Self::ChangedAt(at) => at > told,
            Self::Digest(digest) | Self::DigestAt(digest, _) => {
                flips.differs(digest, if is_sure { f64::INFINITY } else { age })
            }
        };
        flips.look(changed && !is_sure, age);
        let at = self.time().filter(|&at| changed && at > since).map(|at| at.min(now));
        News { changed: Some(changed), at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(evidence: Evidence) -> (Option<bool>, Option<u64>) {
        let mut flips = Flips::default();
        flips.renew(7);
        let News { changed, at } = evidence.compare(Some(Time(100)), Time(90), Time(200), Time(210), &mut flips);
        (changed, at.map(|at| at.0))
    }

    #[test]
    fn a_time_tells_both_and_a_version_with_a_time_whether() {
        assert_eq!(compared(Evidence::Unknown), (None, None));
        assert_eq!(compared(Evidence::ChangedAt(Time(90))), (Some(false), None));
        assert_eq!(compared(Evidence::ChangedAt(Time(150))), (Some(true), Some(150)));
        // By a clock that is behind: it did change, and not before it was loaded.
        assert_eq!(compared(Evidence::ChangedAt(Time(95))), (Some(true), None));
        assert_eq!(compared(Evidence::ChangedAt(Time(500))), (Some(true), Some(210)));
        // The same version: the time was touched, not the value.
        assert_eq!(compared(Evidence::DigestAt(7, Time(150))), (Some(false), None));
        assert_eq!(compared(Evidence::DigestAt(8, Time(150))), (Some(true), Some(150)));
        // Another version with a time that cannot be: it did change, nobody knows when.
        assert_eq!(compared(Evidence::DigestAt(8, Time(50))), (Some(true), None));
    }

    #[test]
    fn of_a_first_value_nothing_is_said_but_its_digest_is_kept() {
        let mut flips = Flips::default();
        let first = Evidence::DigestAt(8, Time(150)).compare(None, Time(0), Time(200), Time(200), &mut flips);
        assert_eq!(first, News::NONE);
        let again = Evidence::Digest(8).compare(Some(Time(200)), Time(0), Time(300), Time(300), &mut flips);
        assert_eq!(again.changed, Some(false));
    }
}
