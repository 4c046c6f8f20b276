//! How long calls take of late.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What takes no longer than this is quick: some times what it takes to hand a call to another thread and back.
const QUICK: Duration = Duration::from_micros(250);
/// A call moves the estimate by so much of the difference.
const SHARE: u64 = 8;
/// One call counts as at most so many times the estimate: a single one that was interrupted says little.
const OUTLIER: u64 = 4;

/// An estimate of how long a call takes.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// 0: nothing is known.
    nanoseconds: AtomicU64,
}

impl Pace {
    /// A call took that long. Two at once may count as one.
    pub fn took(&self, time: Duration) {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1);
        let estimate = match self.nanoseconds.load(Relaxed) {
            0 => time,
            estimate => {
                let time = time.min(estimate.saturating_mul(OUTLIER));
                estimate - estimate / SHARE + time / SHARE
            }
        };
        self.nanoseconds.store(estimate.max(1), Relaxed);
    }

    /// Whether calls are quick.
    pub fn is_quick(&self) -> bool {
        let estimate = self.nanoseconds.load(Relaxed);
        estimate > 0 && u128::from(estimate) <= QUICK.as_nanos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(pace: &Pace, calls: usize, micros: u64) -> bool {
        (0..calls).for_each(|_| pace.took(Duration::from_micros(micros)));
        pace.is_quick()
    }

    #[test]
    fn one_slow_call_does_not_make_a_quick_plugin_slow_and_some_do() {
        let pace = Pace::default();
        assert!(!pace.is_quick());
        // The first is cold.
        assert!(!after(&pace, 1, 5_000));
        assert!(after(&pace, 50, 20));
        assert!(after(&pace, 1, 100_000));
        assert!(!after(&pace, 20, 1_000));
        assert!(!after(&pace, 1, u64::MAX / 1_000));
    }
}
