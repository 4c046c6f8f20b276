//! Logits to probabilities.

/// Makes each row of `width` logits into probabilities, exp(z − max) / Σ exp(z − max): taking the largest away leaves
/// the quotient as it is and keeps exp from overflowing. Rows of nothing stay as they are.
pub fn rows(scores: &mut [f32], width: usize) {
    if width == 0 {
        return;
    }
    for row in scores.chunks_mut(width) {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.0;
        for score in row.iter_mut() {
            *score = (*score - largest).exp();
            sum += *score;
        }
        for score in row {
            *score /= sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_sums_to_one_and_large_logits_do_not_overflow() {
        let mut scores = [0.0, 0.0, 1000.0, 1000.0 - 3.0_f32.ln()];
        rows(&mut scores, 2);
        for (found, expected) in scores.iter().zip([0.5, 0.5, 0.75, 0.25]) {
            assert!((found - expected).abs() < 1e-4, "{scores:?}");
        }
        rows(&mut [], 0);
    }
}
