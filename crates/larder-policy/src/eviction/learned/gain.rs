//! What a hit on a resident is worth, in two bytes.

use super::Objective;
use crate::Access;

/// What a hit gains per unit of weight, to one part in 256: the upper half of a float. The default is nobody's.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Gain(u16);

impl Gain {
    pub(super) fn new(objective: Objective, access: &Access, weight: u32) -> Self {
        let gain = match objective {
            Objective::Objects => 1,
            Objective::Bytes => access.size.max(1),
            Objective::Cost => access.cost.max(1),
        };
        Self::nearest(gain as f32 / weight.max(1) as f32)
    }

    /// The same entry at another weight.
    pub(super) fn reweighed(self, objective: Objective, from: u32, to: u32) -> Self {
        let (from, to) = (from.max(1) as f32, to.max(1) as f32);
        match objective {
            Objective::Bytes => self,
            Objective::Objects => Self::nearest(1.0 / to),
            Objective::Cost => Self::nearest(self.get() * (from / to)),
        }
    }

    #[inline(always)]
    pub(super) fn get(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }

    /// What a hit gains in all, of so heavy an entry.
    #[inline(always)]
    pub(super) fn times(self, weight: u32) -> f32 {
        self.get() * weight as f32
    }

    fn nearest(gain: f32) -> Self {
        Self((gain.to_bits().saturating_add(1 << 15) >> 16).max(1) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gains_are_close_and_never_nobodys() {
        for gain in [1.0, 1e-30f32, 1.0 / u32::MAX as f32, 0.3, 12345.0, u32::MAX as f32] {
            assert!((Gain::nearest(gain).get() / gain - 1.0).abs() <= 1.0 / 256.0, "{gain}");
        }
        assert_ne!(Gain::nearest(0.0), Gain::default());
    }

    #[test]
    fn each_objective_has_its_gain() {
        let access = Access { size: 8, cost: 32, ..Access::get(crate::KeyHash::mix(1), crate::Time(0)) };
        let gains = |objective| {
            let gain = Gain::new(objective, &access, 4);
            [gain, gain.reweighed(objective, 4, 16)].map(Gain::get)
        };
        assert_eq!(gains(Objective::Objects), [0.25, 0.0625]);
        assert_eq!(gains(Objective::Bytes), [2.0, 2.0]);
        assert_eq!(gains(Objective::Cost), [8.0, 2.0]);
    }
}
