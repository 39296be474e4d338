//! The hour of the day: changes are made by people and by schedules.
//!
//! Operational time (Lewis, Shedler, "Simulation of nonhomogeneous Poisson processes", 1979): the hazard is a rate times
//! a profile of 24 hours of mean 1, learned by expectation–maximisation from intervals: a change within an interval
//! is shared out over its hours in proportion to what was expected of each. One profile a class; keys that have changed
//! a few times get one of their own.

use super::special::given_some;

const HOURS: usize = 24;
const HOUR: f64 = 3600.0;
/// Intervals longer than this say too little about hours.
const LONGEST: f64 = 36.0 * HOUR;

/// Changes seen and expected by hour of the day (UTC, or the trace's own epoch).
#[derive(Clone, Debug)]
pub(super) struct Hours {
    seen: [f32; HOURS],
    expected: [f32; HOURS],
    /// The profile's integral from midnight, in hours, the last being that of a day.
    sum: [f32; HOURS + 1],
    /// Changes expected in an hour that a multiplier of 1 counts for.
    shrink: f32,
    /// The most changes expected in an hour that are remembered.
    memory: f32,
    /// Whether the profile is scaled to a mean of 1.
    is_scaled: bool,
}

impl Hours {
    /// For the keys of a class: slow to believe, slow to forget.
    pub(super) fn of_class() -> Self {
        Self::new(8.0, 200.0, true)
    }

    /// For one key: a schedule shows within a few changes.
    pub(super) fn of_key() -> Self {
        Self::new(0.15, 3.0, false)
    }

    fn new(shrink: f32, memory: f32, is_scaled: bool) -> Self {
        let mut hours =
            Self { seen: [0.0; HOURS], expected: [0.0; HOURS], sum: [0.0; HOURS + 1], shrink, memory, is_scaled };
        hours.resum();
        hours
    }

    /// The mean multiplier from `start` to `end`, in seconds since the epoch.
    pub(super) fn mean(&self, start: f64, end: f64) -> f64 {
        let span = end - start;
        if span.is_nan() || span <= 1e-3 {
            return f64::from(self.at(hour_of(hours_at(start).0)));
        }
        let mean = (self.integral(end) - self.integral(start)) * HOUR / span;
        if mean.is_nan() { 1.0 } else { mean.clamp(1e-3, 1e3) }
    }

    /// Learns from an interval in which `expected` changes had been expected, under whatever profile.
    pub(super) fn observe(&mut self, start: f64, end: f64, expected: f64, changed: bool) {
        let span = end - start;
        let is_useful = span > 0.0 && span <= LONGEST && expected > 0.0;
        if !is_useful {
            return;
        }
        let mean = self.mean(start, end);
        // What would have been expected without a profile.
        let flat = (expected / mean).min(3.0);
        let seen = if changed { given_some(expected).min(3.0) } else { 0.0 };
        let mut at = start;
        while at < end {
            let (whole, _) = hours_at(at);
            let next = (whole + 1) as f64 * HOUR;
            let part = (next.min(end) - at) / span;
            let hour = hour_of(whole);
            self.seen[hour] += (seen * part * f64::from(self.at(hour)) / mean) as f32;
            self.expected[hour] += (flat * part) as f32;
            if self.expected[hour] > self.memory {
                let keep = self.memory / self.expected[hour];
                (self.seen[hour], self.expected[hour]) = (self.seen[hour] * keep, self.memory);
            }
            at = next;
        }
        self.resum();
    }

    fn at(&self, hour: usize) -> f32 {
        self.sum[hour + 1] - self.sum[hour]
    }

    fn integral(&self, at: f64) -> f64 {
        let (whole, within) = hours_at(at);
        let (days, hour) = (whole.div_euclid(HOURS as i64) as f64, hour_of(whole));
        days * f64::from(self.sum[HOURS]) + f64::from(self.sum[hour]) + within * f64::from(self.at(hour))
    }

    fn resum(&mut self) {
        // All at once: the divisions are most of what an observation costs.
        let ratios: [f32; HOURS] =
            std::array::from_fn(|hour| (self.seen[hour] + self.shrink) / (self.expected[hour] + self.shrink));
        let scale = if self.is_scaled { HOURS as f32 / ratios.iter().sum::<f32>() } else { 1.0 };
        let mut sum = [0.0; HOURS + 1];
        for hour in 0..HOURS {
            sum[hour + 1] = sum[hour] + ratios[hour] * scale;
        }
        self.sum = sum;
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

    #[test]
    fn a_daily_schedule_is_found() {
        // Changes at half past nine, seen by looking every two hours.
        let mut hours = Hours::of_key();
        for look in 0..12 * 30 {
            let (start, end) = (f64::from(look) * 2.0 * HOUR, f64::from(look + 1) * 2.0 * HOUR);
            let changed = look % 12 == 4;
            let expected = 2.0 / 24.0 * hours.mean(start, end);
            hours.observe(start, end, expected, changed);
        }
        let day = 24.0 * HOUR * 40.0;
        let (nine, noon) =
            (hours.mean(day + 9.0 * HOUR, day + 10.0 * HOUR), hours.mean(day + 12.0 * HOUR, day + 14.0 * HOUR));
        assert!(nine > 5.0 && noon < 0.3, "{nine} {noon}");
        // A mean over whole days has no hour.
        let days = hours.mean(0.0, 48.0 * HOUR);
        let sum: f64 = (0..24).map(|hour| hours.mean(f64::from(hour) * HOUR, f64::from(hour + 1) * HOUR)).sum();
        assert!((days - sum / 24.0).abs() < 1e-3, "{days} {sum}");
    }

    #[test]
    fn without_a_schedule_it_stays_flat() {
        let mut hours = Hours::of_class();
        let mut rng = crate::Rng::new(9);
        for look in 0..20_000 {
            let start = f64::from(look) * 1000.0;
            let expected = 0.1 * hours.mean(start, start + 1000.0);
            hours.observe(start, start + 1000.0, expected, rng.unit() < 1.0 - (-0.1f64).exp());
        }
        for hour in 0..24 {
            let mean = hours.mean(f64::from(hour) * HOUR, f64::from(hour + 1) * HOUR);
            assert!((0.75..1.35).contains(&mean), "{hour}: {mean}");
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
        let mut hours = Hours::of_class();
        for (start, end) in [(0.0, 0.0), (5.0, 1.0), (0.0, 1e18), (f64::NAN, 1.0), (0.0, f64::INFINITY)] {
            hours.observe(start, end, 1.0, true);
            assert!(hours.mean(start, end) > 0.0);
        }
    }
}
