//! How often something is read: one number that fades.

use std::time::Duration;

/// Reads a second, each read fading by half within a half-life: eight bytes an entry, right at any moment without a timer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    reads: f32,
    /// Seconds since an epoch of the caller's.
    at: u32,
}

impl Rate {
    /// Notes `count` reads at `now`, in seconds since an epoch of the caller's that is the same for all calls.
    #[inline]
    pub fn add(&mut self, count: u32, now: u32, half_life: Duration) {
        let half_life = seconds(half_life);
        // Weighed so that a steady rate is its own mean: the integral of 2^(-t/h) is h/ln 2.
        let weight = std::f32::consts::LN_2 / half_life;
        self.reads = self.faded(now, half_life) + count as f32 * weight;
        self.at = self.at.max(now);
    }

    /// Reads a second as of `now`.
    #[inline]
    pub fn at(self, now: u32, half_life: Duration) -> f32 {
        self.faded(now, seconds(half_life))
    }

    /// A clock that goes back does not make it grow.
    fn faded(self, now: u32, half_life: f32) -> f32 {
        let age = now.saturating_sub(self.at) as f32;
        self.reads * (-age / half_life).exp2()
    }
}

fn seconds(half_life: Duration) -> f32 {
    half_life.as_secs_f32().max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_steady_rate_is_found_and_fades_by_half() {
        let mut rate = Rate::default();
        for now in (0..20 * 3600).step_by(10) {
            rate.add(5, now, HOUR);
        }
        let end = 20 * 3600;
        assert!((rate.at(end, HOUR) - 0.5).abs() < 0.005, "{rate:?}");
        assert!((rate.at(end + 3600, HOUR) / rate.at(end, HOUR) - 0.5).abs() < 1e-4);
    }

    #[test]
    fn clocks_that_go_back_and_half_lives_of_nothing_are_borne() {
        let mut rate = Rate::default();
        rate.add(1, 1000, HOUR);
        let before = rate.at(1000, HOUR);
        rate.add(1, 10, HOUR);
        assert!(rate.at(0, HOUR) <= 2.0 * before);
        rate.add(u32::MAX, u32::MAX, Duration::ZERO);
        assert!(rate.at(u32::MAX, Duration::ZERO).is_finite());
    }
}
