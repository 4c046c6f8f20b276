//! The formulas, each over the scores of one sample.

/// The mean; of none: not a number.
pub fn mean(scores: &[f64]) -> f64 {
    scores.iter().sum::<f64>() / scores.len() as f64
}

/// −Σ p·ln p / ln n, from 0 (certain) to 1 (a guess). A probability of 0 adds nothing, which is the limit of p·ln p;
/// with one class or none there is nothing to be uncertain of.
pub fn entropy(probabilities: &[f64]) -> f64 {
    if probabilities.len() < 2 {
        return 0.0;
    }
    let sum: f64 = probabilities.iter().filter(|p| **p != 0.0).map(|p| p * p.ln()).sum();
    -sum / (probabilities.len() as f64).ln()
}

/// How far the two largest lie apart; 1 with one class or none.
pub fn margin(probabilities: &[f64]) -> f64 {
    let (mut first, mut second) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
    for &p in probabilities {
        if p > first {
            (first, second) = (p, first);
        } else if p > second {
            second = p;
        }
    }
    if probabilities.len() < 2 { 1.0 } else { first - second }
}

/// The share of scores that are at most `bound`; of none: 0.
pub fn share_at_most(scores: &[f64], bound: f64) -> f64 {
    if scores.is_empty() {
        return 0.0;
    }
    scores.iter().filter(|score| **score <= bound).count() as f64 / scores.len() as f64
}

/// exp(x) / Σ exp(x), from the largest down, so that nothing overflows.
pub fn softmax(scores: &mut [f64]) {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for score in &mut *scores {
        *score = (*score - largest).exp();
        sum += *score;
    }
    for score in scores {
        *score /= sum;
    }
}

/// The number `at` of a sequence from a uniform distribution over [0, 1): SplitMix64 (Steele, Lea, Flood: Fast
/// Splittable Pseudorandom Number Generators, 2014) at that place.
pub fn uniform(seed: u64, at: u64) -> f64 {
    let state = seed.wrapping_add(at.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    // As many bits as an f64 tells apart.
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}
