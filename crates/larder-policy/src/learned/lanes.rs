//! Four floats at a time: the few functions a score is made of. No fused operations and none of the platform's own functions, so that
//! the bits are the same everywhere.

use wide::{f32x4, u32x4};

use super::features::TOP;

/// `e^x` to a relative error of 1e-3, `x` kept within ±40: the power of two by the exponent's bits, the rest by a cubic
/// (Schraudolph 1999).
#[inline(always)]
pub(crate) fn exp(x: f32x4) -> f32x4 {
    // Adding this leaves the nearest integer in the lowest bits.
    const ROUND: f32x4 = f32x4::splat(12_582_912.0);
    let power = x.fast_min(f32x4::splat(40.0)).fast_max(f32x4::splat(-40.0)) * f32x4::splat(std::f32::consts::LOG2_E);
    let rounded = power + ROUND;
    let rest = power - (rounded - ROUND);
    let exponent: u32x4 = bytemuck::cast(rounded);
    let scale: f32x4 = bytemuck::cast((exponent << 23_u32) + u32x4::splat(1.0f32.to_bits()));
    let cubic =
        (rest * f32x4::splat(0.055_504) + f32x4::splat(0.240_227)) * rest + f32x4::splat(std::f32::consts::LN_2);
    scale * (cubic * rest + f32x4::splat(1.0))
}

/// The logistic function.
#[inline(always)]
pub(crate) fn logistic(x: f32x4) -> f32x4 {
    f32x4::splat(1.0) / (f32x4::splat(1.0) + exp(-x))
}

/// Numbers that are not negative, at half powers of two: 0 is 0, 1 is 2, 2 is 3, 3 is 4, 5 is 5, 7 is 6, 11 is 7, and so on to 62. A
/// float's exponent and the first bit of its fraction are just that.
#[inline(always)]
pub(crate) fn half_log2(numbers: f32x4) -> [u8; 4] {
    const ONE: u32 = 1.0f32.to_bits() >> 22;
    // What would overflow the bins is cut off first, and with it what is not a number.
    let most = f32x4::splat((1u64 << (TOP / 2)) as f32);
    let bits: u32x4 = bytemuck::cast(numbers.fast_min(most).fast_max(f32x4::splat(0.0)) + f32x4::splat(1.0));
    let bins: u32x4 = (bits >> 22_u32) - u32x4::splat(ONE);
    bins.to_array().map(|bin| bin as u8)
}

const ONE: u32 = 1.0f32.to_bits();
/// Bits of a float's fraction that a compact number lacks.
const LOST: u32 = 12;

/// A number from 0 to 2³² in sixteen bits, to one part in 4096 of itself and one: five bits of exponent, eleven of fraction.
#[inline(always)]
pub(crate) fn compact(number: f32) -> u16 {
    let bits = (number.max(0.0) + 1.0).to_bits() - ONE;
    ((bits + (1 << (LOST - 1))) >> LOST).min(u32::from(u16::MAX)) as u16
}

/// The number that [`compact`] was given, or nearly.
#[inline(always)]
pub(crate) fn expand(compact: u16) -> f32 {
    f32::from_bits((u32::from(compact) << LOST) + ONE) - 1.0
}

/// Numbers in the middle of a bin of [`half_log2`].
#[inline(always)]
pub(crate) fn middle(bins: [u8; 4]) -> f32x4 {
    f32x4::new(bins.map(|bin| f32::from_bits((u32::from(bin) << 22) + (1 << 21) + ONE) - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bins_are_half_powers_of_two() {
        assert_eq!(half_log2(f32x4::new([0.0, 1.0, 2.0, 3.0])), [0, 2, 3, 4]);
        assert_eq!(half_log2(f32x4::new([5.0, 7.0, 11.0, 15.0])), [5, 6, 7, 8]);
        let [huge, infinite, small, odd] = half_log2(f32x4::new([1e30, f32::INFINITY, -1e-9, f32::NAN]));
        assert_eq!([huge, infinite, small], [TOP, TOP, 0]);
        assert!(odd <= TOP);
    }

    #[test]
    fn the_middle_of_a_bin_is_in_it() {
        for bin in 0..=TOP {
            assert_eq!(half_log2(middle([bin; 4])), [bin; 4]);
        }
    }

    #[test]
    fn what_is_compact_ends_at_both_ends() {
        assert_eq!([0.0, -1.0, f32::NAN].map(compact), [0; 3]);
        assert_eq!([1e12, f32::INFINITY].map(compact), [u16::MAX; 2]);
        assert_eq!([0, u16::MAX].map(|number| expand(number) as u64), [0, 4_293_918_720]);
    }

    proptest! {
        #[test]
        fn compact_numbers_are_close(number in prop_oneof![0.0f32..100.0, 0.0f32..4.2e9]) {
            let back = expand(compact(number));
            prop_assert!((back - number).abs() <= (number + 1.0) / 4096.0, "{back}");
        }

        #[test]
        fn bins_rise(a in 0.0f32..1e12, b in 0.0f32..1e12) {
            let bins = half_log2(f32x4::new([a.min(b), a.max(b), 0.0, 0.0]));
            prop_assert!(bins[0] <= bins[1]);
        }

        #[test]
        fn exp_is_close(x in -40.0f32..40.0) {
            let truth = f64::from(x).exp();
            prop_assert!((f64::from(exp(f32x4::splat(x)).to_array()[2]) / truth - 1.0).abs() < 1e-3);
        }

        #[test]
        fn logistic_is_a_probability(x in any::<f32>()) {
            let p = logistic(f32x4::splat(x)).to_array()[1];
            prop_assert!(x.is_nan() || (0.0..=1.0).contains(&p), "{p}");
        }
    }
}
