//! What a segment counts while its control decides.

use larder_policy::experiment::Arm;

use crate::stats::Counts;

/// The turns of a control, told from a segment's counts before and after: no read does anything for it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turns {
    /// In those that are over.
    over: Counts,
    /// What had been counted when the present one began.
    began: Option<Counts>,
}

impl Turns {
    /// From now on `arm` decides; `counts` is what has been counted so far.
    pub(crate) fn change(&mut self, arm: Arm, counts: Counts) {
        self.over = self.control(counts);
        self.began = (arm == Arm::Control).then_some(counts);
    }

    /// What was counted while the control decided.
    pub(crate) fn control(&self, counts: Counts) -> Counts {
        let mut sum = self.over;
        if let Some(began) = self.began {
            sum += counts - began;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_control_decided_counts() {
        let counts = |hits| Counts { hits, ..Counts::default() };
        let mut turns = Turns::default();
        assert_eq!(turns.control(counts(5)), counts(0));
        turns.change(Arm::Control, counts(10));
        turns.change(Arm::Control, counts(13));
        assert_eq!(turns.control(counts(17)), counts(7));
        turns.change(Arm::Treatment, counts(18));
        turns.change(Arm::Control, counts(30));
        assert_eq!(turns.control(counts(31)), counts(9));
    }
}
