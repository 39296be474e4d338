//! What a user asks for: how stale an answer may be, instead of numbers of seconds.

use std::time::Duration;

use crate::{Error, ErrorKind};

/// A freshness objective.
///
/// ```
/// use std::time::Duration;
/// use larder_policy::freshness::Freshness;
///
/// // At most 1 % of reads stale by more than 30 s, and nothing older than 6 hours.
/// let prices = Freshness::stale_reads(0.01)?.older_than(Duration::from_secs(30)).max_ttl(Duration::from_secs(6 * 3600));
/// // The same for everything, but a tighter one for keys that begin with `price:`.
/// let all = Freshness::stale_reads(0.05)?.with_prefix("price:", prices);
/// // What you have today.
/// let today = Freshness::fixed_ttl(Duration::from_secs(300));
/// # Ok::<(), larder_policy::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Freshness {
    pub(super) goal: Goal,
    pub(super) grace: Duration,
    pub(super) least: Duration,
    pub(super) most: Duration,
    pub(super) starting: Option<Duration>,
    /// What a load costs in units of what a reader's wait for it costs; infinite where waiting is free.
    pub(super) loads_per_wait: f64,
    /// Loads a byte and second.
    pub(super) rent: f64,
    pub(super) prefixes: Vec<(String, Freshness)>,
}

/// What is to be kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Goal {
    /// At most this share of reads stale.
    StaleReads(f64),
    /// Everything lives this long.
    FixedTtl(Duration),
    /// A value lives for this share of the time it had gone unchanged.
    ShareOfAge(f64),
    /// Nothing stale: served only under a lease that a notice would end.
    NeverStale,
}

/// The hard maximum where none is given.
const MOST: Duration = Duration::from_secs(24 * 3600);

impl Freshness {
    /// At most this share of reads may be stale, such as 0.01.
    ///
    /// # Errors
    /// The share is not above 0 and below 1. For none at all there is [`Freshness::never_stale`].
    pub fn stale_reads(share: f64) -> Result<Self, Error> {
        if share > 0.0 && share < 1.0 {
            return Ok(Self::new(Goal::StaleReads(share)));
        }
        let message =
            format!("a share of {share} stale reads is not above 0 and below 1; for none at all take never_stale");
        Err(Error::new(ErrorKind::BadValue, message))
    }

    /// Every value lives this long, whatever is known; between a [`min_ttl`](Self::min_ttl) and a [`max_ttl`](Self::max_ttl) where they are given.
    pub fn fixed_ttl(ttl: Duration) -> Self {
        Self { most: ttl.max(MOST), ..Self::new(Goal::FixedTtl(ttl)) }
    }

    /// Each value lives for this share of the time for which the origin's had not changed when it was loaded, such as 0.1: what has been
    /// the same for long is expected to stay so (the Alex protocol, Cate 1992; HTTP's heuristic of RFC 9111, 4.2.2). A value whose changes are
    /// not known has not changed since its key was first loaded, so give a [`min_ttl`](Self::min_ttl) as well: the first lifetime is 0 without.
    ///
    /// # Errors
    /// The share is not above 0, or not finite.
    pub fn share_of_age(share: f64) -> Result<Self, Error> {
        if share > 0.0 && share.is_finite() {
            return Ok(Self::new(Goal::ShareOfAge(share)));
        }
        let message = format!("a lifetime of {share} times a value's age is not above 0: take one such as 0.1");
        Err(Error::new(ErrorKind::BadValue, message))
    }

    /// No read may be stale: a value is served only under a lease, which the origin ends with a notice when it changes. None stands in for an
    /// origin that fails.
    pub fn never_stale() -> Self {
        Self::new(Goal::NeverStale)
    }

    /// A read counts as stale only when the value has been outdated for longer than this.
    #[must_use]
    pub fn older_than(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// No value is served when older than this, whatever is foreseen. One day where it is not given.
    #[must_use]
    pub fn max_ttl(self, most: Duration) -> Self {
        Self { most, least: self.least.min(most), ..self }
    }

    /// Every value is served at least this long, which limits the origin's load and not the staleness.
    #[must_use]
    pub fn min_ttl(self, least: Duration) -> Self {
        Self { least: least.min(self.most), ..self }
    }

    /// The lifetime of everything until enough is known to do better.
    #[must_use]
    pub fn starting_ttl(self, ttl: Duration) -> Self {
        Self { starting: Some(ttl), ..self }
    }

    /// Where a load costs so many times what a reader's wait for it costs: a read past its value's lifetime is served that value while it is refreshed,
    /// instead of waiting, where the wait is worth more than the stale reads that this adds. They are part of the objective.
    #[must_use]
    pub fn refresh_ahead(self, loads_per_wait: f64) -> Self {
        Self { loads_per_wait, ..self }
    }

    /// What memory costs, in loads a byte and second: entries that will not be read again leave when it exceeds their worth.
    #[must_use]
    pub fn rent(self, loads_per_byte_second: f64) -> Self {
        Self { rent: loads_per_byte_second, ..self }
    }

    /// Another objective for keys that begin with `prefix`. Of several that fit, the longest counts.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<String>, freshness: Self) -> Self {
        self.prefixes.push((prefix.into(), freshness));
        self
    }

    /// The hard maximum.
    pub fn most(&self) -> Duration {
        self.most
    }

    /// How old a value under a key of this text may be, at most, that is served for want of another; 0 where none may be stale.
    pub fn most_old(&self, text: &str) -> Duration {
        self.place_by_prefix(text).map_or(self, |at| &self.prefixes[at].1).most_old_here()
    }

    /// The same of a key that this is the objective of.
    pub(super) fn most_old_here(&self) -> Duration {
        if self.goal == Goal::NeverStale { Duration::ZERO } else { self.most }
    }

    /// Which of the prefixes with an objective of their own `text` falls under.
    pub(super) fn place_by_prefix(&self, text: &str) -> Option<usize> {
        let prefixes = self.prefixes.iter().enumerate();
        let fitting = prefixes.filter(|(_, (prefix, _))| text.starts_with(prefix.as_str()));
        fitting.max_by_key(|(_, (prefix, _))| prefix.len()).map(|(at, _)| at)
    }

    /// The longest hard maximum of any key, those with an objective of their own included.
    pub fn longest(&self) -> Duration {
        self.prefixes.iter().map(|(_, own)| own.longest()).fold(self.most, Duration::max)
    }

    /// The share of reads that may be stale, where that is the objective.
    pub fn objective(&self) -> Option<f64> {
        match self.goal {
            Goal::StaleReads(share) => Some(share),
            _ => None,
        }
    }

    /// For what share of the time it had gone unchanged a value lives, where that is the rule.
    pub fn age_share(&self) -> Option<f64> {
        match self.goal {
            Goal::ShareOfAge(share) => Some(share),
            _ => None,
        }
    }

    /// Whether lifetimes are by one rule for all keys, a fixed one or a share of the age, and nothing is foreseen.
    pub fn is_rule(&self) -> bool {
        self.prefixes.is_empty() && matches!(self.goal, Goal::FixedTtl(_) | Goal::ShareOfAge(_))
    }

    /// How long a value lives that had gone unchanged for so long when it was loaded, where a rule says so; `None` under an objective and a lease.
    pub(super) fn by_rule(&self, unchanged: Duration) -> Option<Duration> {
        let ttl = match self.goal {
            Goal::FixedTtl(ttl) => ttl,
            Goal::ShareOfAge(share) => {
                Duration::try_from_secs_f64(unchanged.as_secs_f64() * share).unwrap_or(Duration::MAX)
            }
            Goal::StaleReads(_) | Goal::NeverStale => return None,
        };
        Some(ttl.clamp(self.least, self.most))
    }

    /// Prefixes of keys that have an objective of their own.
    pub fn prefixes(&self) -> impl Iterator<Item = &str> {
        self.prefixes.iter().map(|(prefix, _)| prefix.as_str())
    }

    /// These prefixes, each with its objective, in the order in which they were given.
    pub fn by_prefix(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.prefixes.iter().map(|(prefix, own)| (prefix.as_str(), own))
    }

    /// The lifetime of everything, where that is all there is to it.
    pub fn fixed(&self) -> Option<Duration> {
        match self.goal {
            Goal::FixedTtl(_) if self.prefixes.is_empty() => self.by_rule(Duration::ZERO),
            _ => None,
        }
    }

    fn new(goal: Goal) -> Self {
        Self {
            goal,
            grace: Duration::ZERO,
            least: Duration::ZERO,
            most: MOST,
            starting: None,
            loads_per_wait: f64::INFINITY,
            rent: 0.0,
            prefixes: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_checked() {
        for share in [0.0, 1.0, -0.1, 2.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Freshness::stale_reads(share).unwrap_err().kind(), ErrorKind::BadValue, "{share}");
        }
        assert!(Freshness::stale_reads(1e-6).is_ok());
    }

    #[test]
    fn a_share_of_the_age_is_a_rule_with_ends() {
        for share in [0.0, -0.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Freshness::share_of_age(share).unwrap_err().kind(), ErrorKind::BadValue, "{share}");
        }
        let secs = Duration::from_secs;
        let tenth = Freshness::share_of_age(0.1).unwrap().min_ttl(secs(5)).max_ttl(secs(60));
        let lifetimes = [0, 100, 10_000].map(|unchanged| tenth.by_rule(secs(unchanged)).unwrap());
        assert_eq!(lifetimes, [secs(5), secs(10), secs(60)]);
        assert_eq!(Freshness::share_of_age(2.0).unwrap().by_rule(Duration::MAX), Some(MOST));
        assert_eq!((tenth.age_share(), tenth.fixed(), tenth.objective()), (Some(0.1), None, None));
        assert_eq!(Freshness::fixed_ttl(secs(7)).by_rule(secs(100)), Some(secs(7)));
        assert_eq!(Freshness::never_stale().by_rule(secs(100)), None);
        assert!(tenth.is_rule() && !Freshness::never_stale().is_rule());
        assert!(!Freshness::fixed_ttl(secs(7)).with_prefix("a:", tenth).is_rule());
    }

    #[test]
    fn the_maximum_wins_over_the_minimum() {
        let secs = Duration::from_secs;
        let odd = Freshness::never_stale().min_ttl(secs(100)).max_ttl(secs(10));
        assert!(odd.least <= odd.most && odd.most == secs(10));
        assert!(Freshness::fixed_ttl(secs(1_000_000)).most >= secs(1_000_000));
        let fixed = Freshness::fixed_ttl(secs(5));
        assert_eq!((fixed.fixed(), odd.fixed()), (Some(secs(5)), None));
        let both = fixed.with_prefix("price:", odd.max_ttl(secs(1_000_000)));
        assert_eq!((both.fixed(), both.most(), both.longest()), (None, MOST, secs(1_000_000)));
        let within =
            [1, 300, 9000].map(|ttl| Freshness::fixed_ttl(secs(ttl)).max_ttl(secs(600)).min_ttl(secs(60)).fixed());
        assert_eq!(within, [60, 300, 600].map(|ttl| Some(secs(ttl))));
    }
}
