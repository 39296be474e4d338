//! What spares most reads the experts: for a while after a look at a value's hazard, its mean so far holds.
//!
//! A hot value is read many times in a life. The experts are asked at growing ages; between them a read costs one
//! comparison, and its chance of being stale follows from the mean hazard at the last of them. A reload is only ever decided
//! by the experts.

use super::record::seconds;
use super::rule::Hazard;
use crate::Time;

/// From one look to the next an age grows by this factor, or by this share of the foreseen lifetime if that is more.
const FACTOR: f64 = 1.5;
const LEAST_STEP: f64 = 1.0 / 32.0;
/// Seconds to the next look at most: surges come fast, and a value read once in a while can afford a look each time.
const MOST_STEP: f64 = 30.0;

/// What a look at the hazard said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checkpoint {
    /// Until when it holds.
    until: Time,
    /// Changes a second.
    hazard: f32,
    /// The controller's era at the look.
    era: u32,
}

impl Checkpoint {
    /// Answers nothing.
    pub(super) const NONE: Self = Self { until: Time(0), hazard: 0.0, era: 0 };

    /// A look at the hazard of a value loaded at `loaded`. The rule reloads at an age of `reach` seconds if the hazard stays
    /// as it is; `lifetime` is what was foreseen at the load.
    pub(super) fn new(loaded: Time, hazard: Hazard, reach: f64, lifetime: f64, era: u32) -> Self {
        let Hazard { expected, age } = hazard;
        let next = (FACTOR * age).max(age + LEAST_STEP * lifetime).min(age + MOST_STEP).min(reach);
        let is_sound = age > 0.0 && age < next && reach > age;
        if !is_sound {
            return Self::NONE;
        }
        Self { until: Time(loaded.0.saturating_add((next * 1e6) as u64)), hazard: (expected / age) as f32, era }
    }

    /// The chance that the value, loaded at `loaded`, is stale; `None` where the experts must be asked.
    #[inline]
    pub(super) fn stale(&self, loaded: Time, now: Time, era: u32) -> Option<f64> {
        if now >= self.until || now < loaded || era != self.era {
            return None;
        }
        let expected = f64::from(self.hazard) * seconds(loaded, now);
        // Padé's approximant of 1 − e^−Λ, within 0.2 % up to the greatest chance ever served.
        Some(expected / (1.0 + expected * (0.5 + expected / 12.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chance_is_that_of_a_constant_hazard() {
        let loaded = Time(5_000_000);
        for hazard in [1e-6, 1e-3, 6e-3] {
            let checkpoint = Checkpoint::new(loaded, Hazard { expected: hazard * 100.0, age: 100.0 }, 1e9, 1e4, 7);
            for age in [0.0, 1.0, 50.0, 129.0, 700.0] {
                let now = Time(loaded.0 + (age * 1e6) as u64);
                let exact = Hazard { expected: hazard * age, age }.stale();
                match checkpoint.stale(loaded, now, 7) {
                    Some(stale) => assert!((stale - exact).abs() <= 2e-2 * exact, "{hazard} {age}: {stale} {exact}"),
                    None => assert_eq!(age, 700.0, "{hazard}"),
                }
            }
        }
    }

    #[test]
    fn it_ends_at_the_next_look() {
        let (loaded, hazard) = (Time(1_000_000), Hazard { expected: 0.01, age: 10.0 });
        let at = |age: f64| Time(loaded.0 + (age * 1e6) as u64);
        let holds = |checkpoint: Checkpoint, age: f64, era: u32| checkpoint.stale(loaded, at(age), era).is_some();
        let grown = Checkpoint::new(loaded, hazard, 1e9, 20.0, 1);
        assert!(holds(grown, 14.9, 1) && !holds(grown, 15.1, 1), "by the factor");
        assert!(!holds(grown, 12.0, 2), "the threshold has fallen");
        assert_eq!(grown.stale(loaded, Time(0), 1), None, "the clock went back");
        let near = Checkpoint::new(loaded, hazard, 12.0, 1e4, 1);
        assert!(holds(near, 11.9, 1) && !holds(near, 12.1, 1), "the rule reloads");
        let far = Checkpoint::new(loaded, hazard, 1e9, 640.0, 1);
        assert!(holds(far, 29.9, 1) && !holds(far, 30.1, 1), "a share of the lifetime");
        let long = Checkpoint::new(loaded, hazard, 1e9, 1e6, 1);
        assert!(holds(long, 39.9, 1) && !holds(long, 40.1, 1), "not for long");
        for odd in [f64::NAN, 0.0, -1.0] {
            assert!(!holds(Checkpoint::new(loaded, Hazard { expected: 0.1, age: odd }, 1e9, 1e9, 1), 0.0, 1));
            assert!(!holds(Checkpoint::new(loaded, hazard, odd, 1e9, 1), 5.0, 1));
        }
    }
}
