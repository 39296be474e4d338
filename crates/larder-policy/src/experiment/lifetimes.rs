//! Whether lifetimes on trial are better than the control's: as fresh as they must be, at the price of fewer loads.

use super::arms::Arm;
use super::guardrails::{Breach, LEAST_SLICES, spent};
use super::rollout::Won;
use super::trial::{Tally, Trial};

/// The share of stale answers that lifetimes on trial are held to, by their objective: who steers for it is over it half of the time.
const OVER: f64 = 1.2;

/// The share of stale answers up to which lifetimes on trial are fresh enough under an objective.
pub fn fresh_enough(objective: f64) -> f64 {
    OVER * objective
}

impl Trial {
    /// Which lifetimes are better by now; `None` while that is open. `most` is the share of stale answers that there may be, `before` a trial of the
    /// same shards before the treatment. To be asked after each slice: it looks after 8, 16, 32, … of them.
    ///
    /// Loads are compared with those of a control that is fresh enough too; one that surely is not is no alternative.
    pub fn better_lifetimes(&self, before: Option<&Self>, most: f64, alpha: f64) -> Option<Result<Won, Breach>> {
        let slices = self.counted();
        if slices < LEAST_SLICES || !slices.is_power_of_two() || !self.refuse_arms(before).is_empty() {
            return None;
        }
        // A third for each claim that may be wrong: the control is stale, loads are fewer, loads are more. Who is stale passes as fresh with a third, too.
        let alpha = spent(alpha, LEAST_SLICES, slices) / 3.0;
        let [ours, control] = [Arm::Treatment, Arm::Control].map(|arm| self.stale_share(arm, alpha));
        let (ours, control) = (ours?, control?);
        if ours.interval.high > most {
            return None;
        }
        if control.interval.low > most {
            return Some(Ok(Won::Stale { rate: ours.rate, control: control.rate }));
        }
        let loads = self.compare_by(before, 0.0, Tally::loads)?;
        if loads.p_less < alpha {
            return Some(Ok(Won::OriginLoads { saved: -loads.change()?, p: loads.p_less }));
        }
        (loads.p_more < alpha && control.interval.high <= most).then_some(Err(Breach::OriginLoads { p: loads.p_more }))
    }
}
