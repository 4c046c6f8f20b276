//! What the job is told, and what it sees: both from the caller, anew with each question.

use jiff::{SignedDuration, Timestamp};
use sedge_triggers::Trigger;

use crate::rows::Rows;

/// What the job's spec comes to. It may change from one question to the next; what is under way goes on with it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// When a round begins.
    pub train: Trigger,
    /// When its candidate is deployed.
    pub deploy: Trigger,
    /// Earlier rows beside a round's own.
    pub replay: Replay,
    /// Versions whose weights are kept: from 2 to 50, or the nearer of the two.
    pub keep: usize,
    /// How often a stage is tried.
    pub retries: Retries,
}

/// Earlier rows that a round mixes in.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Replay {
    /// Their share of all rows that the round trains on, from 0 to 0.9; more is taken for 0.9.
    pub share: f64,
    /// No more than so many.
    pub reservoir: u64,
}

/// How often a stage is tried before its round has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// Tries after the first.
    pub times: u32,
    /// The pause before the first of them; it doubles with each.
    pub first: SignedDuration,
    /// The longest pause.
    pub longest: SignedDuration,
}

impl Default for Retries {
    /// Three, after 1 s, 2 s and 4 s.
    fn default() -> Self {
        Self { times: 3, first: SignedDuration::from_secs(1), longest: SignedDuration::from_mins(5) }
    }
}

impl Retries {
    /// When the next try is made after `failures` that ended at `failed_at`; None: it was the last.
    pub(crate) fn again(&self, failures: u32, failed_at: Timestamp) -> Option<Timestamp> {
        if failures > self.times {
            return None;
        }
        let doubled = self.first.checked_mul(1 << failures.saturating_sub(1).min(20));
        let pause = doubled.unwrap_or(SignedDuration::MAX).min(self.longest);
        Some(failed_at.checked_add(pause).unwrap_or(Timestamp::MAX))
    }
}

impl Replay {
    /// Rows to mix in with `own`, where there are so many `earlier`.
    pub(crate) fn rows(&self, own: u64, earlier: u64) -> u64 {
        /// Whoever wants all to be earlier rows wants no new ones.
        const MOST: f64 = 0.9;
        if self.share.is_nan() || self.share <= 0.0 {
            return 0;
        }
        let share = self.share.min(MOST);
        let wanted = (own as f64 * share / (1.0 - share)).round() as u64;
        wanted.min(self.reservoir).min(earlier)
    }
}

/// What the caller sees. What it does not know is left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    /// Rows of the dataset that is trained on, as of now.
    pub rows: Rows,
    /// The drift detector's score of what came since the deployed version was trained.
    pub drift: Option<f64>,
    /// Share of hard examples in what was inferred, 0 to 1.
    pub hard_share: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let retries = Retries { times: 20, ..Retries::default() };
        let at = Timestamp::UNIX_EPOCH;
        let pause = |failures| retries.again(failures, at).map(|again| again.as_second());
        assert_eq!([1, 2, 3, 9, 10, 20].map(pause), [1, 2, 4, 256, 300, 300].map(Some));
        assert_eq!(pause(21), None);
        assert_eq!(Retries::default().again(4, at), None);
    }

    #[test]
    fn replay_is_a_share_of_all_rows_and_bounded() {
        let replay = |share, reservoir, earlier| Replay { share, reservoir }.rows(300, earlier);
        assert_eq!(replay(0.25, 1_000, 1_000), 100, "100 of 400");
        assert_eq!((replay(0.25, 40, 1_000), replay(0.25, 1_000, 7)), (40, 7));
        assert_eq!((replay(0.0, 9, 9), replay(f64::NAN, 9, 9), replay(7.0, 1 << 40, 1 << 40)), (0, 0, 2_700));
    }
}
