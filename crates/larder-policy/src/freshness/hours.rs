//! The hour of the day: changes are made by people and by schedules.
//!
//! Operational time (Lewis, Shedler, "Simulation of nonhomogeneous Poisson processes", 1979): the hazard is a rate times
//! a profile of 24 hours of mean 1, learned by expectation–maximisation from intervals: a change within an interval
//! is shared out over its hours in proportion to what was expected of each. One profile a class; keys that have changed
//! a few times get one of their own.

use super::special::given_some;
use crate::KeyHash;

const HOURS: usize = 24;
const HOUR: f64 = 3600.0;
/// Intervals longer than this say too little about hours.
const LONGEST: f64 = 36.0 * HOUR;

/// An interval on the clock (UTC, or the trace's own epoch), worked out once for all profiles that it is held against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// The whole hours before each end, and how much of the next.
    start: (i64, f64),
    end: (i64, f64),
    seconds: f64,
}

impl Span {
    /// From `start` to `end`, in seconds since the epoch.
    #[inline]
    pub(super) fn new(start: f64, end: f64) -> Self {
        Self { start: hours_at(start), end: hours_at(end), seconds: end - start }
    }

    /// Too short to have a mean.
    #[inline]
    fn is_moment(&self) -> bool {
        self.seconds.is_nan() || self.seconds <= 1e-3
    }

    /// From the hour in which it begins to that in which it ends.
    #[inline]
    fn steps(&self) -> i64 {
        self.end.0.saturating_sub(self.start.0)
    }

    /// The hours of the day that it touches if it ends so many steps on, with how much of each. Where it ends in the hour in which it begins, but
    /// days later, that is what it has more than these days.
    #[inline]
    fn parts(&self, steps: i64) -> impl Iterator<Item = (usize, f64)> {
        let Self { start: (first, from), end: (_, to), .. } = *self;
        (0..=steps).map(move |step| {
            let begin = if step == 0 { from } else { 0.0 };
            let end = if step == steps { to } else { 1.0 };
            (hour_of(first.wrapping_add(step)), end - begin)
        })
    }
}

/// A multiplier for each hour of the day.
pub(super) trait Hours {
    /// That of one hour.
    fn at(&self, hour: usize) -> f64;

    /// All of a day added up.
    fn day(&self) -> f64;

    /// Counts changes in an hour: some that came, or might have, and what was expected without a profile. Where that has to be rounded, `unit`, as
    /// good as drawn from [0, 1), is added before it is cut, so that on average nothing is lost of what is too small.
    fn count(&mut self, hour: usize, seen: f64, expected: f64, unit: f64);

    /// All hours of an interval are counted.
    fn settle(&mut self) {}

    /// The mean multiplier over an interval.
    #[inline]
    fn mean(&self, span: &Span) -> f64 {
        if span.is_moment() {
            return self.at(hour_of(span.start.0));
        }
        let (days, rest) = (span.steps() / HOURS as i64, span.steps() % HOURS as i64);
        let days = if days > 0 { days as f64 * self.day() } else { 0.0 };
        let rest: f64 = span.parts(rest).map(|(hour, part)| part * self.at(hour)).sum();
        let mean = (days + rest) * HOUR / span.seconds;
        if mean.is_nan() { 1.0 } else { mean.clamp(1e-3, 1e3) }
    }

    /// Learns from an interval in which `expected` changes had been expected, under whatever profile.
    fn observe(&mut self, span: &Span, expected: f64, changed: bool) {
        let is_useful = span.seconds > 0.0 && span.seconds <= LONGEST && expected > 0.0;
        if !is_useful {
            return;
        }
        let mean = self.mean(span);
        // What would have been expected without a profile.
        let flat = (expected / mean).min(3.0);
        let seen = if changed { given_some(expected).min(3.0) / mean } else { 0.0 };
        let share = HOUR / span.seconds;
        let unit = (KeyHash::mix(span.start.1.to_bits() ^ span.seconds.to_bits()).0 >> 11) as f64 * 2f64.powi(-53);
        for (hour, part) in span.parts(span.steps()) {
            let seen = if changed { seen * self.at(hour) } else { 0.0 };
            self.count(hour, seen * part * share, flat * part * share, unit);
        }
        self.settle();
    }
}

/// Those of the keys of a class: slow to believe, slow to forget, and of mean 1.
#[derive(Clone, Debug)]
pub(super) struct ClassHours {
    seen: [f64; HOURS],
    expected: [f64; HOURS],
    ratios: [f32; HOURS],
    /// What brings their mean to 1.
    scale: f32,
}

/// Changes expected in an hour that a multiplier of 1 counts for, and the most that are remembered.
const CLASS_SHRINK: f64 = 8.0;
const CLASS_MEMORY: f64 = 200.0;

impl Default for ClassHours {
    fn default() -> Self {
        Self { seen: [0.0; HOURS], expected: [0.0; HOURS], ratios: [1.0; HOURS], scale: 1.0 }
    }
}

impl Hours for ClassHours {
    #[inline]
    fn at(&self, hour: usize) -> f64 {
        f64::from(self.ratios[hour] * self.scale)
    }

    fn day(&self) -> f64 {
        HOURS as f64
    }

    #[inline]
    fn count(&mut self, hour: usize, seen: f64, expected: f64, _: f64) {
        let (mut seen, mut expected) = (self.seen[hour] + seen, self.expected[hour] + expected);
        if expected > CLASS_MEMORY {
            (seen, expected) = (seen * (CLASS_MEMORY / expected), CLASS_MEMORY);
        }
        (self.seen[hour], self.expected[hour]) = (seen, expected);
        self.ratios[hour] = ((seen + CLASS_SHRINK) / (expected + CLASS_SHRINK)) as f32;
    }

    fn settle(&mut self) {
        // Eight side by side: one after the other they would take longer than all the rest.
        let mut sums = [0.0; 8];
        for eight in self.ratios.chunks_exact(8) {
            sums.iter_mut().zip(eight).for_each(|(sum, ratio)| *sum += ratio);
        }
        self.scale = HOURS as f32 / sums.iter().sum::<f32>();
    }
}

/// Those of one key: a schedule shows within a few changes. There is one for every key that changes, so they are small.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyHours {
    /// In 1/512.
    seen: [u16; HOURS],
    /// In 1/16384.
    expected: [u16; HOURS],
}

const KEY_SHRINK: f64 = 0.15;
const KEY_MEMORY: f64 = 3.0;
const SEEN: f64 = 512.0;
const EXPECTED: f64 = 16384.0;
/// A change a day at the same hour, of which as many are expected in each hour.
const MOST_SEEN: f64 = 120.0;
const _: () = assert!(KEY_MEMORY * EXPECTED < u16::MAX as f64);
const _: () = assert!(MOST_SEEN * SEEN < u16::MAX as f64);

impl Hours for KeyHours {
    #[inline]
    fn at(&self, hour: usize) -> f64 {
        let (seen, expected) = (f64::from(self.seen[hour]) / SEEN, f64::from(self.expected[hour]) / EXPECTED);
        (seen + KEY_SHRINK) / (expected + KEY_SHRINK)
    }

    fn day(&self) -> f64 {
        (0..HOURS).map(|hour| self.at(hour)).sum()
    }

    #[inline]
    fn count(&mut self, hour: usize, seen: f64, expected: f64, unit: f64) {
        let mut seen = f64::from(self.seen[hour]) / SEEN + seen;
        let mut expected = f64::from(self.expected[hour]) / EXPECTED + expected;
        let keep = (KEY_MEMORY / expected).min(MOST_SEEN / seen);
        if keep < 1.0 {
            (seen, expected) = (seen * keep, expected * keep);
        }
        (self.seen[hour], self.expected[hour]) = ((seen * SEEN + unit) as u16, (expected * EXPECTED + unit) as u16);
    }
}

/// The whole hours before a time in seconds, and the part of the next. In whole numbers: without SSE 4.1 a floor is a call. A time
/// that is no number counts as midnight.
#[inline]
fn hours_at(at: f64) -> (i64, f64) {
    let hours = at / HOUR;
    let cut = hours as i64;
    let whole = if (cut as f64) > hours { cut.saturating_sub(1) } else { cut };
    (whole, hours - whole as f64)
}

#[inline]
fn hour_of(whole: i64) -> usize {
    whole.rem_euclid(HOURS as i64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour_at(hour: u8) -> Span {
        Span::new(f64::from(hour) * HOUR, f64::from(hour + 1) * HOUR)
    }

    #[test]
    fn a_daily_schedule_is_found() {
        // Changes at half past nine, seen by looking every two hours.
        let mut hours = KeyHours::default();
        for look in 0..12 * 30 {
            let (start, end) = (f64::from(look) * 2.0 * HOUR, f64::from(look + 1) * 2.0 * HOUR);
            let changed = look % 12 == 4;
            let expected = 2.0 / 24.0 * hours.mean(&Span::new(start, end));
            hours.observe(&Span::new(start, end), expected, changed);
        }
        let day = 24.0 * HOUR * 40.0;
        let (nine, noon) = (
            hours.mean(&Span::new(day + 9.0 * HOUR, day + 10.0 * HOUR)),
            hours.mean(&Span::new(day + 12.0 * HOUR, day + 14.0 * HOUR)),
        );
        assert!(nine > 5.0 && noon < 0.3, "{nine} {noon}");
        // A mean over whole days has no hour.
        let days = hours.mean(&Span::new(0.0, 48.0 * HOUR));
        let sum: f64 = (0..24).map(|hour| hours.mean(&hour_at(hour))).sum();
        assert!((days - sum / 24.0).abs() < 1e-3, "{days} {sum}");
    }

    #[test]
    fn a_schedule_is_not_unlearned() {
        // A change at nine each day, seen by looking every hour.
        let mut hours = KeyHours::default();
        let mut learned = [0.0; 3];
        for look in 0..24 * 150 {
            let span = Span::new(f64::from(look) * HOUR, f64::from(look + 1) * HOUR);
            let expected = hours.mean(&span) / 24.0;
            hours.observe(&span, expected, look % 24 == 9);
            if let Some(at) = [20, 50, 149].iter().position(|day| look == day * 24 + 23) {
                learned[at] = hours.at(9);
            }
        }
        assert!(learned[1] >= 0.9 * learned[0] && learned[2] >= 0.9 * learned[0], "{learned:?}");
    }

    #[test]
    fn what_is_too_small_to_show_counts_in_the_long_run() {
        // A change in 1e5 looks, none of which is expected to find one.
        let mut hours = KeyHours::default();
        let mut rng = crate::Rng::new(3);
        for look in 0..3_000_000 {
            let start = f64::from(look) * 97.0;
            hours.observe(&Span::new(start, start + 97.0), 1e-5, rng.unit() < 1e-5);
        }
        let mean = (0..HOURS).map(|hour| hours.at(hour)).sum::<f64>() / HOURS as f64;
        assert!((0.6..1.8).contains(&mean), "{mean}");
    }

    #[test]
    fn without_a_schedule_it_stays_flat() {
        let mut hours = ClassHours::default();
        let mut rng = crate::Rng::new(9);
        for look in 0..20_000 {
            let start = f64::from(look) * 1000.0;
            let span = Span::new(start, start + 1000.0);
            let expected = 0.1 * hours.mean(&span);
            hours.observe(&span, expected, rng.unit() < 1.0 - (-0.1f64).exp());
        }
        for hour in 0..24 {
            let mean = hours.mean(&hour_at(hour));
            assert!((0.75..1.35).contains(&mean), "{hour}: {mean}");
        }
    }

    #[test]
    fn an_interval_goes_round_the_days() {
        let mut hours = KeyHours::default();
        hours.count(10, 5.0, 1.0, 0.5);
        let lone = hours.at(10);
        assert!(lone > 4.0 && hours.at(11) == 1.0);
        // From half past ten, over so many hours: how much of them lies between ten and eleven.
        for (length, within) in
            [(0.25, 0.25), (1.0, 0.5), (23.5, 0.5), (23.75, 0.75), (24.0, 1.0), (36.0, 1.5), (47.75, 1.75)]
        {
            let span = Span::new(10.5 * HOUR, (10.5 + length) * HOUR);
            let mean = (within * lone + length - within) / length;
            assert!((hours.mean(&span) - mean).abs() < 1e-9, "{length}: {} {mean}", hours.mean(&span));
        }
    }

    #[test]
    fn hours_are_whole_before_and_after_the_epoch() {
        let cases = [(0.0, 0, 0), (3599.0, 0, 0), (3600.0, 1, 1), (90_000.0, 25, 1), (-1.0, -1, 23), (f64::NAN, 0, 0)];
        for (at, whole, hour) in cases {
            assert_eq!((hours_at(at).0, hour_of(whole)), (whole, hour), "{at}");
        }
        assert!((hours_at(-1.0).1 - 3599.0 / 3600.0).abs() < 1e-12);
    }

    #[test]
    fn extremes_are_borne() {
        let (mut of_class, mut of_key) = (ClassHours::default(), KeyHours::default());
        let ends = [0.0, 1.0, 5.0, 1e5, 1e18, -1e18, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        for (start, end) in ends.iter().flat_map(|start| ends.map(|end| (*start, end))) {
            let span = Span::new(start, end);
            for expected in [0.0, 1e-300, 1.0, 1e300, f64::NAN] {
                of_class.observe(&span, expected, true);
                of_key.observe(&span, expected, true);
            }
            assert!(of_class.mean(&span) > 0.0 && of_key.mean(&span) > 0.0, "{start} {end}");
        }
    }
}
