//! The arithmetic of the host's graphs, for each floating-point element that weights are made of.

use half::slice::HalfFloatSliceExt as _;
use half::{bf16, f16};

use crate::nn::Element;

/// A floating-point element.
pub trait Float: Element {
    /// `over = (1 − t)·over + t·from`, element by element; both are of one length. With `t` in [0, 1] no value is
    /// beyond the larger of the two, so finite values stay finite.
    fn lerp_over(over: &mut [Self], from: &[Self], t: f32);

    /// How many values are NaN or infinite.
    fn non_finite(values: &[Self]) -> usize;
}

/// Elements that are converted at a time.
const BLOCK: usize = 256;

macro_rules! float {
    ($($float:ty, $bits:ty, exponent = $exponent:literal, $lerp_over:ident;)*) => {$(
        impl Float for $float {
            fn lerp_over(over: &mut [Self], from: &[Self], t: f32) {
                $lerp_over(over, from, t.into());
            }

            fn non_finite(values: &[Self]) -> usize {
                // All bits of the exponent set is what NaN and infinities have in common. Its lowest bit, added to a
                // full exponent, carries into the sign's place, and added to any other does not.
                const EXPONENT: $bits = $exponent;
                const CARRY: $bits = EXPONENT & EXPONENT.wrapping_neg();
                const LANES: usize = 32;
                let (blocks, rest) = values.as_chunks::<LANES>();
                let count = |values: &[Self]| values.iter().filter(|value| !value.is_finite()).count();
                let mut found = count(rest);
                for block in blocks {
                    // Blocks without any are the rule: they cost three operations a value and one branch.
                    let carries =
                        block.iter().fold(0, |carries, value| carries | ((value.to_bits() & EXPONENT) + CARRY));
                    if carries >> (<$bits>::BITS - 1) != 0 {
                        found += count(block);
                    }
                }
                found
            }
        }
    )*};
}

float! {
    f16, u16, exponent = 0x7c00, widened;
    bf16, u16, exponent = 0x7f80, widened;
    f32, u32, exponent = 0x7f80_0000, in_f32;
    f64, u64, exponent = 0x7ff0_0000_0000_0000, in_f64;
}

macro_rules! lerp_over {
    ($name:ident, $float:ty) => {
        fn $name(over: &mut [$float], from: &[$float], t: $float) {
            let mix = |y: $float, x: $float| (1.0 - t) * y + t * x;
            // Blocks of a fixed size let the compiler drop the bounds checks and use vector registers.
            const LANES: usize = 16;
            let (over_blocks, over_rest) = over.as_chunks_mut::<LANES>();
            let (from_blocks, from_rest) = from.as_chunks::<LANES>();
            for (over, from) in over_blocks.iter_mut().zip(from_blocks) {
                for lane in 0..LANES {
                    over[lane] = mix(over[lane], from[lane]);
                }
            }
            for (over, from) in over_rest.iter_mut().zip(from_rest) {
                *over = mix(*over, *from);
            }
        }
    };
}
lerp_over!(in_f32, f32);
lerp_over!(in_f64, f64);

/// In f32, rounded to the nearest: the mean of two 16-bit values needs more bits than they have.
fn widened<T: Copy>(over: &mut [T], from: &[T], t: f32)
where
    [T]: half::slice::HalfFloatSliceExt,
{
    let (mut wide, mut wide_from) = ([0.0_f32; BLOCK], [0.0_f32; BLOCK]);
    for (over, from) in over.chunks_mut(BLOCK).zip(from.chunks(BLOCK)) {
        let (wide, wide_from) = (&mut wide[..over.len()], &mut wide_from[..over.len()]);
        over.convert_to_f32_slice(wide);
        from.convert_to_f32_slice(wide_from);
        in_f32(wide, wide_from, t);
        over.convert_from_f32_slice(wide);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn special<T: Float>(of: fn(f64) -> T) -> Vec<T> {
        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 65504.0, 0.0, -0.0, 6e-8, 1.0].map(of).to_vec()
    }

    #[test]
    fn what_is_not_finite_is_counted_in_every_type() {
        assert_eq!(f16::non_finite(&special(f16::from_f64)), 3);
        assert_eq!(bf16::non_finite(&special(bf16::from_f64)), 3);
        assert_eq!(f32::non_finite(&special(|value| value as f32)), 3);
        assert_eq!(f64::non_finite(&special(|value| value)), 3);
        // In whole blocks as well as in the rest.
        assert_eq!(f16::non_finite(&special(f16::from_f64).repeat(33)), 99);
        assert_eq!(f64::non_finite(&[f64::MAX; 100]), 0);
    }

    #[test]
    fn halves_are_mixed_in_more_bits_than_they_have() {
        // Half way between neighbours: what their own arithmetic would lose.
        let mut over = [f16::from_f32(1000.0); 300];
        f16::lerp_over(&mut over, &[f16::from_f32(1001.0); 300], 0.5);
        assert_eq!(over, [f16::from_f32(1000.5); 300]);
        let mut over = [bf16::MAX];
        bf16::lerp_over(&mut over, &[bf16::MIN], 0.5);
        assert_eq!(over, [bf16::ZERO]);
    }

    proptest! {
        #[test]
        fn every_half_is_finite_or_counted(bits in proptest::collection::vec(any::<u16>(), 0..100)) {
            let values: Vec<f16> = bits.iter().copied().map(f16::from_bits).collect();
            let expected = values.iter().filter(|value| !value.is_finite()).count();
            prop_assert_eq!(f16::non_finite(&values), expected);
            let values: Vec<bf16> = bits.into_iter().map(bf16::from_bits).collect();
            let expected = values.iter().filter(|value| !value.is_finite()).count();
            prop_assert_eq!(bf16::non_finite(&values), expected);
        }
    }
}
