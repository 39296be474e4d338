//! What audits found of late: a rate since the start would hide a bad hour behind a good month, and a good one behind a bad.

use std::collections::VecDeque;
use std::time::Duration;

use larder_policy::Time;
use larder_policy::freshness::Audited;

/// How far back it looks, and by how much farther at times.
const SPAN: Duration = Duration::from_secs(3600);
const EVERY: Duration = Duration::from_secs(300);

/// Sums at moments of the last hour, each a list by objective: at most a dozen, and one that is an hour old.
#[derive(Debug, Default)]
pub(crate) struct Recent(VecDeque<(Time, Vec<Audited>)>);

impl Recent {
    /// Remembers the sums so far, if it is time to.
    pub(crate) fn note(&mut self, now: Time, sums: impl FnOnce() -> Vec<Audited>) {
        if self.0.back().is_some_and(|(at, _)| now.since(*at) < EVERY) {
            return;
        }
        self.0.push_back((now, sums()));
        while self.0.get(1).is_some_and(|(at, _)| now.since(*at) >= SPAN) {
            self.0.pop_front();
        }
    }

    /// Of the sums so far, what came in the last hour, or since the start where that is later.
    pub(crate) fn of(&self, sums: &[Audited]) -> Vec<Audited> {
        let before = self.0.front().map_or(&[][..], |(_, sums)| sums);
        let before = before.iter().copied().chain(std::iter::repeat(Audited::default()));
        sums.iter().zip(before).map(|(&now, before)| now - before).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A million reads, of which audits that stand for a hundred each found a share stale.
    fn hour(sums: &mut Audited, stale: f64) {
        sums.reads += 1e6;
        sums.drawn += 1e6;
        sums.answered += 1e6;
        sums.stale += 1e6 * stale;
        sums.stale_squared += 100.0 * 1e6 * stale;
        sums.heaviest = 100.0;
    }

    #[test]
    fn a_bad_hour_shows_after_a_good_month_and_is_over_an_hour_later() {
        let (mut recent, mut sums) = (Recent::default(), Audited::default());
        let hours = |hours: u64| Time(hours * 3_600_000_000);
        for past in 0..720 {
            (0..12).for_each(|part| recent.note(Time(hours(past).0 + part * 300_000_000), || vec![sums]));
            hour(&mut sums, 0.005);
        }
        let late = |recent: &Recent, sums: Audited| recent.of(&[sums])[0].measured(0.01).unwrap();
        recent.note(hours(720), || vec![sums]);
        assert!(late(&recent, sums).high < 0.01);
        hour(&mut sums, 0.05);
        recent.note(hours(721), || vec![sums]);
        assert!(sums.measured(0.01).unwrap().high < 0.006, "the month hides it");
        let bad = late(&recent, sums);
        assert!(bad.low > 0.04 && (bad.rate - 0.05).abs() < 1e-9, "{bad:?}");
        hour(&mut sums, 0.005);
        recent.note(hours(722), || vec![sums]);
        assert!(late(&recent, sums).high < 0.01);
        assert!(recent.0.len() <= 13);
    }

    #[test]
    fn before_the_first_note_everything_is_recent() {
        let mut sums = Audited::default();
        hour(&mut sums, 0.5);
        assert_eq!(Recent::default().of(&[sums, sums]), [sums, sums]);
    }
}
