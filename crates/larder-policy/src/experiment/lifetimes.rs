//! Whether lifetimes on trial are better than the control's: as fresh as they must be, at the price of fewer loads.

use super::arms::Arm;
use super::guardrails::{Breach, LEAST_SLICES, spent};
use super::rollout::Won;
use super::trial::{Tally, Trial};

/// What the trial says by now; `None` while that is open. `most` is the share of stale answers that there may be. To be asked after each slice:
/// it looks after 8, 16, 32, … slices.
///
/// Loads are compared with those of a control that is fresh enough too; one that surely is not is no alternative.
pub(crate) fn verdict(trial: &Trial, before: Option<&Trial>, most: f64, alpha: f64) -> Option<Result<Won, Breach>> {
    let slices = trial.counted();
    if slices < LEAST_SLICES || !slices.is_power_of_two() || !trial.refuse_arms(before).is_empty() {
        return None;
    }
    // Half of it for either way to be wrong.
    let alpha = spent(alpha, slices) / 2.0;
    let [ours, control] = [Arm::Treatment, Arm::Control].map(|arm| trial.stale_share(arm, alpha));
    let (ours, control) = (ours?, control?);
    if ours.interval.high > most {
        return None;
    }
    if control.interval.low > most {
        return Some(Ok(Won::Stale { rate: ours.rate, control: control.rate }));
    }
    let loads = trial.compare_by(before, 0.0, Tally::loads_an_access)?;
    if loads.p_less < alpha {
        return Some(Ok(Won::OriginLoads { saved: -loads.change()?, p: loads.p_less }));
    }
    (loads.p_more < alpha && control.interval.high <= most).then_some(Err(Breach::OriginLoads { p: loads.p_more }))
}
