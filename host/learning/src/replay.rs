//! A uniform sample of earlier rows, by the job's seed: the same at each asking, with nothing to keep.

use std::collections::BTreeMap;

use crate::rows::Rows;

/// At most `count` of the rows before `ends` that `may` be taken, each with the same chance, sorted, by source: algorithm R
/// of Vitter (see the crate's docs). It looks at each row once.
pub fn sample(
    seed: u64,
    count: u64,
    ends: &Rows,
    mut may: impl FnMut(&str, u64) -> bool,
) -> BTreeMap<String, Vec<u64>> {
    let capacity = usize::try_from(count).unwrap_or(usize::MAX);
    let mut kept: Vec<(&str, u64)> = Vec::new();
    let mut offered = 0_u64;
    for (source, end) in ends.iter() {
        for row in (0..end).filter(|row| may(source, *row)) {
            if kept.len() < capacity {
                kept.push((source, row));
            } else if let Some(place) = kept.get_mut(below(seed, offered, offered + 1)) {
                *place = (source, row);
            }
            offered += 1;
        }
    }
    kept.sort_unstable();
    let mut by_source = BTreeMap::<String, Vec<u64>>::new();
    for (source, row) in kept {
        match by_source.get_mut(source) {
            Some(rows) => rows.push(row),
            None => drop(by_source.insert(source.to_owned(), vec![row])),
        }
    }
    by_source
}

/// The number `at` of a sequence over [0, `bound`), by multiplying a random fraction: Lemire, *Fast Random Integer
/// Generation in an Interval* (2019), whose bias is below 2⁻³² here.
fn below(seed: u64, at: u64, bound: u64) -> usize {
    let drawn = u128::from(mixed(seed ^ mixed(at)));
    usize::try_from((drawn * u128::from(bound)) >> 64).unwrap_or(usize::MAX)
}

/// SplitMix64 (Steele, Lea, Flood: *Fast Splittable Pseudorandom Number Generators*, 2014) at that place.
pub fn mixed(at: u64) -> u64 {
    let state = at.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_row_has_the_same_chance() {
        // 2,000 samples of 10 of 100 rows: each row in 200, with a standard deviation of √(2000·0.1·0.9) = 13.4.
        let mut counts = [0_u32; 100];
        for seed in 0..2_000 {
            let drawn = sample(seed, 10, &Rows::of_one(100), |_, _| true);
            drawn[""].iter().for_each(|row| counts[*row as usize] += 1);
        }
        // Five standard deviations; one row in 1.7 million lies further out.
        assert!(counts.iter().all(|count| (133..=267).contains(count)), "{counts:?}");
    }

    #[test]
    fn fewer_rows_than_asked_for_are_all_taken_and_held_out_ones_never() {
        assert_eq!(sample(1, 10, &Rows::of_one(3), |_, _| true)[""], [0, 1, 2]);
        let odd = sample(1, 10, &Rows::of_one(1_000), |_, row| row % 2 == 1);
        assert!(odd[""].len() == 10 && odd[""].iter().all(|row| row % 2 == 1));
        assert!(sample(1, 0, &Rows::of_one(9), |_, _| true).is_empty());
    }

    proptest! {
        #[test]
        fn a_sample_is_of_distinct_rows_that_there_are_and_the_same_again(
            seed: u64, count in 0_u64..50, a in 0_u64..80, b in 0_u64..80,
        ) {
            let ends = Rows::try_from(BTreeMap::from([("a".to_owned(), a), ("b".to_owned(), b)])).unwrap();
            let drawn = sample(seed, count, &ends, |_, _| true);
            prop_assert_eq!(drawn.values().map(Vec::len).sum::<usize>() as u64, count.min(a + b));
            for (source, rows) in &drawn {
                prop_assert!(rows.windows(2).all(|pair| pair[0] < pair[1]));
                prop_assert!(rows.iter().all(|row| *row < ends.of(source)));
            }
            prop_assert_eq!(sample(seed, count, &ends, |_, _| true), drawn);
        }
    }
}
