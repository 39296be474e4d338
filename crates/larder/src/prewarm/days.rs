//! Does a key keep hours? Reads by the hour of the day, even and odd days apart.
//!
//! A burst raises some hours of one day; a rhythm raises the same hours of all. So reads are counted in two times 24 bins, and the
//! two profiles are set against each other (split-half reliability; Spearman, Brown, 1910): they must be alike, hardly more
//! alike when shifted, and far from flat. What is older fades by half in a week, which also follows the change to summer time.

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// Days in which a count fades by half.
const HALF_LIFE: f32 = 7.0;
/// Days to watch before anything is said.
const LEAST_DAYS: u32 = 4;
/// Reads remembered, at least, in each of the two halves.
const LEAST_READS: f32 = 30.0;
/// The correlation of the halves' profiles (of the square roots, which gives counts one variance).
const ALIKE: f32 = 0.75;
/// How much more alike they may be when shifted: what is read every twelve hours is as alike shifted by twelve.
const SHIFTED: f32 = 0.05;
/// The busiest hour, in means.
const CONTRAST: f32 = 2.0;

/// When in the day a key is read, in UTC: 48 counts that fade.
#[derive(Clone, Debug, PartialEq)]
pub struct Days {
    reads: [[f32; 24]; 2],
    first_day: u32,
    last_day: u32,
}

impl Days {
    /// Nothing seen yet, from `now` on, in seconds of Unix time.
    pub fn new(now: u64) -> Self {
        let day = day(now);
        Self { reads: [[0.0; 24]; 2], first_day: day, last_day: day }
    }

    /// Notes reads at about `now`, in seconds of Unix time.
    pub fn add(&mut self, now: u64, reads: u32) {
        let day = day(now);
        if day > self.last_day {
            let fade = fade(day - self.last_day);
            self.reads.iter_mut().flatten().for_each(|count| *count *= fade);
            self.last_day = day;
        }
        let hour = (now % DAY / HOUR) as usize;
        self.reads[(day % 2) as usize][hour] += reads as f32;
    }

    /// The hours of the day, in UTC, at which its busy times begin; empty unless it keeps hours.
    pub fn rises(&self) -> Vec<u8> {
        if !self.has_rhythm() {
            return Vec::new();
        }
        let profile = self.profile();
        let peak = profile.iter().copied().fold(0.0, f32::max);
        let is_busy = |hour: usize| profile[hour % 24] >= peak / 2.0;
        (0..24).filter(|&hour| is_busy(hour) && !is_busy(hour + 23)).map(|hour| hour as u8).collect()
    }

    /// Whether it is read at the same hours each day.
    pub fn has_rhythm(&self) -> bool {
        let [even, odd] = &self.reads;
        let sum = |reads: &[f32; 24]| reads.iter().sum::<f32>();
        if self.last_day - self.first_day < LEAST_DAYS || sum(even).min(sum(odd)) < LEAST_READS {
            return false;
        }
        let profile = self.profile();
        let peak = profile.iter().copied().fold(0.0, f32::max);
        if peak < CONTRAST * sum(&profile) / 24.0 {
            return false;
        }
        let alike = correlation(even, odd, 0);
        alike >= ALIKE && (1..24).all(|shift| correlation(even, odd, shift) < alike + SHIFTED)
    }

    /// Reads a second in its busiest hour, on the days remembered.
    pub(super) fn busiest(&self) -> f32 {
        let peak = self.profile().into_iter().fold(0.0, f32::max);
        // What a read a day would have added up to.
        let fade = fade(1);
        let days = (self.last_day - self.first_day).saturating_add(1) as f32;
        peak * (1.0 - fade) / (1.0 - fade.powf(days)) / HOUR as f32
    }

    /// Reads remembered on a day, which is not before the last they came on.
    pub(super) fn total(&self, day: u32) -> f32 {
        self.reads.iter().flatten().sum::<f32>() * fade(self.unseen(day))
    }

    /// Days from the last reads to this one.
    pub(super) fn unseen(&self, day: u32) -> u32 {
        day.saturating_sub(self.last_day)
    }

    fn profile(&self) -> [f32; 24] {
        std::array::from_fn(|hour| self.reads[0][hour] + self.reads[1][hour])
    }

    pub(crate) fn reads(&self) -> &[[f32; 24]; 2] {
        &self.reads
    }

    pub(crate) fn first_day(&self) -> u32 {
        self.first_day
    }

    pub(crate) fn last_day(&self) -> u32 {
        self.last_day
    }

    /// None where the days are in the wrong order.
    pub(crate) fn from_parts(reads: [[f32; 24]; 2], first_day: u32, last_day: u32) -> Option<Self> {
        (first_day <= last_day).then_some(Self { reads, first_day, last_day })
    }
}

/// What is left of a count after so many days.
fn fade(days: u32) -> f32 {
    (-(days as f32) / HALF_LIFE).exp2()
}

pub(super) fn day(now: u64) -> u32 {
    u32::try_from(now / DAY).unwrap_or(u32::MAX)
}

/// Pearson's, of the square roots, the second profile shifted by some hours; 0 where one is flat.
fn correlation(a: &[f32; 24], b: &[f32; 24], shift: usize) -> f32 {
    let (a, b) = (a.map(f32::sqrt), b.map(f32::sqrt));
    let mean = |values: &[f32; 24]| values.iter().sum::<f32>() / 24.0;
    let (mean_a, mean_b) = (mean(&a), mean(&b));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for hour in 0..24 {
        let (x, y) = (a[hour] - mean_a, b[(hour + shift) % 24] - mean_b);
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    let scale = (aa * bb).sqrt();
    if scale > 0.0 { ab / scale } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use larder_policy::Rng;

    use super::*;

    const START: u64 = 1_700_006_400;

    /// A Poisson number (Knuth, "Seminumerical Algorithms", 3.4.1), by a normal one where the mean is large.
    fn poisson(mean: f64, rng: &mut Rng) -> u32 {
        if mean > 30.0 {
            let normal = (0..12).map(|_| rng.unit()).sum::<f64>() - 6.0;
            return (mean + normal * mean.sqrt()).max(0.0).round() as u32;
        }
        let (limit, mut product, mut count) = ((-mean).exp(), rng.unit(), 0);
        while product > limit {
            product *= rng.unit();
            count += 1;
        }
        count
    }

    /// Two weeks of reads, at a rate an hour that `rate` gives for each hour.
    fn watched(rng: &mut Rng, mut rate: impl FnMut(u64, &mut Rng) -> f64) -> Days {
        let mut days = Days::new(START);
        for hour in 0..14 * 24 {
            let mean = rate(hour, rng);
            days.add(START + hour * HOUR, poisson(mean, rng));
        }
        days
    }

    /// How many of `keys` are found to have a rhythm.
    fn found(keys: u32, seed: u64, mut make: impl FnMut(&mut Rng) -> Days) -> u32 {
        let mut rng = Rng::new(seed);
        (0..keys).map(|_| u32::from(make(&mut rng).has_rhythm())).sum()
    }

    #[test]
    fn noise_is_seldom_taken_for_a_rhythm() {
        const KEYS: u32 = 4000;
        let steady = found(KEYS, 1, |rng| {
            let mean = 0.5 + 20.0 * rng.unit();
            watched(rng, |_, _| mean)
        });
        // Flashes at any hour, thirty times the usual, some hours long.
        let bursts = found(KEYS, 2, |rng| {
            let mut left = 0;
            watched(rng, |_, rng| {
                if rng.unit() < 0.03 {
                    left = 1 + rng.below(6);
                }
                left = left.saturating_sub(1);
                if left > 0 { 60.0 } else { 2.0 }
            })
        });
        // A rate that wanders.
        let wanders = found(KEYS, 3, |rng| {
            let mut level = 1.0f64;
            watched(rng, |_, rng| {
                level = (level + 0.3 * (rng.unit() - 0.5)).clamp(-2.0, 4.0);
                level.exp()
            })
        });
        // On for eighteen hours, off for eighteen.
        let other_period = found(KEYS, 4, |rng| {
            let phase = u64::from(rng.below(36));
            watched(rng, |hour, _| if (hour + phase) % 36 < 18 { 20.0 } else { 1.0 })
        });
        println!("of {KEYS} each: steady {steady}, bursts {bursts}, wanders {wanders}, other period {other_period}");
        assert!(steady * 1000 <= KEYS, "steady: {steady}");
        assert!(bursts * 200 <= KEYS, "bursts: {bursts}");
        assert!(wanders * 200 <= KEYS, "wanders: {wanders}");
        assert!(other_period * 200 <= KEYS, "other period: {other_period}");
    }

    #[test]
    fn rhythms_are_found_with_the_hour_they_begin() {
        const KEYS: u32 = 1000;
        let office = |hour: u64| (9..18).contains(&(hour % 24));
        let working = found(KEYS, 5, |rng| watched(rng, |hour, _| if office(hour) { 12.0 } else { 1.0 }));
        // Weekdays alone; a job at three in the morning; the evening's swell.
        let weekdays =
            found(KEYS, 6, |rng| watched(rng, |hour, _| if office(hour) && hour / 24 % 7 < 5 { 12.0 } else { 1.0 }));
        let nightly = found(KEYS, 7, |rng| watched(rng, |hour, _| if hour % 24 == 3 { 40.0 } else { 0.3 }));
        let swell = found(KEYS, 8, |rng| {
            watched(rng, |hour, _| 8.0 * (1.1 + (std::f64::consts::TAU * (hour as f64 - 20.0) / 24.0).cos()).powi(2))
        });
        let each_twelve = found(KEYS, 11, |rng| watched(rng, |hour, _| if hour % 12 == 8 { 30.0 } else { 0.3 }));
        println!(
            "of {KEYS} each: working hours {working}, weekdays {weekdays}, nightly {nightly}, swell {swell}, twice a day {each_twelve}"
        );
        assert!([working, weekdays, nightly, swell, each_twelve].iter().all(|found| *found * 100 >= KEYS * 95));

        let mut rng = Rng::new(9);
        let days = watched(&mut rng, |hour, _| if office(hour) { 60.0 } else { 1.0 });
        assert_eq!(days.rises(), [9]);
        assert!((days.busiest() * 60.0 - 1.0).abs() < 0.15, "{}", days.busiest() * 60.0);
        let twice = watched(&mut rng, |hour, _| if matches!(hour % 24, 0..3 | 12..14) { 60.0 } else { 1.0 });
        assert_eq!(twice.rises(), [0, 12]);
        assert_eq!(watched(&mut rng, |_, _| 60.0).rises(), [0u8; 0]);
    }

    #[test]
    fn a_rhythm_that_ends_is_forgotten() {
        let mut rng = Rng::new(10);
        let mut days = watched(&mut rng, |hour, _| if hour % 24 == 3 { 60.0 } else { 0.3 });
        assert!(days.has_rhythm());
        for hour in 14 * 24..50 * 24 {
            days.add(START + hour * HOUR, poisson(5.0, &mut rng));
        }
        assert!(!days.has_rhythm());
    }

    #[test]
    fn odd_times_are_borne() {
        let mut days = Days::new(u64::MAX);
        for now in [0, u64::MAX, START] {
            days.add(now, u32::MAX);
        }
        assert!(days.rises().is_empty() && days.total(0).is_finite());
    }
}
