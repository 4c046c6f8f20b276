//! The order of samples: permutations that depend on a seed alone, and stay what they are in every later
//! version and on every platform, so that a split means the same samples for ever.
//!
//! Fisher–Yates from the last element down, with SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom
//! Number Generators, 2014) and Lemire's multiplication for a number below a bound: the upper half of
//! `random × bound`. Without rejection, the bias of a bound of `n` is below n / 2⁶⁴.

/// The numbers below `n`, shuffled.
pub fn permutation(n: u32, seed: u64) -> Vec<u32> {
    let mut random = SplitMix64(seed);
    let mut order: Vec<u32> = (0..n).collect();
    for last in (1..order.len()).rev() {
        let bound = last as u128 + 1;
        let other = (u128::from(random.next()) * bound) >> 64;
        order.swap(last, other as usize);
    }
    order
}

/// Train and test samples, each in file order: the first round(n · share) of the permutation are for testing,
/// but at least one sample of any is for training.
pub fn split(n: u32, test_share: f64, seed: u64) -> (Vec<u32>, Vec<u32>) {
    let held_out = (f64::from(n) * test_share).round() as u32;
    let held_out = held_out.min(n.saturating_sub(1));
    let mut test = permutation(n, seed);
    let mut train = test.split_off(held_out as usize);
    train.sort_unstable();
    test.sort_unstable();
    (train, test)
}

struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_generator_is_splitmix64() {
        // The reference implementation's first outputs for the seed 1234567.
        let mut random = SplitMix64(1_234_567);
        let outputs = [random.next(), random.next(), random.next()];
        assert_eq!(
            outputs,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn a_permutation_never_changes() {
        assert_eq!(permutation(8, 42), [4, 3, 2, 0, 7, 6, 1, 5]);
    }

    proptest! {
        #[test]
        fn every_sample_is_in_one_part(n in 1u32..300, share in 0f64..1.0, seed in any::<u64>()) {
            let (train, test) = split(n, share, seed);
            prop_assert!(!train.is_empty());
            let mut all = [train, test].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..n).collect::<Vec<_>>());
        }
    }
}
