//! Permutations that depend on a seed alone, and stay what they are in every later version and on every platform.
//!
//! Fisher–Yates from the last element down, with SplitMix64 and Lemire's multiplication for a number below a bound: the
//! upper half of `random × bound`. Without rejection, the bias of a bound of `n` is below n / 2⁶⁴.

use crate::split::mix;

/// The rows, shuffled.
pub fn shuffle(rows: &mut [u32], seed: u64) {
    let mut state = seed;
    for last in (1..rows.len()).rev() {
        let random = mix(state);
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let other = (u128::from(random) * (last as u128 + 1)) >> 64;
        rows.swap(last, other as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permutation_never_changes() {
        let mut rows: Vec<u32> = (0..8).collect();
        shuffle(&mut rows, 42);
        assert_eq!(rows, [4, 3, 2, 0, 7, 6, 1, 5]);
    }
}
