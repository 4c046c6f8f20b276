//! How often the cloud may be asked: so many requests per second, and such a share of all requests.
//!
//! Two token buckets (<https://en.wikipedia.org/wiki/Token_bucket>): time fills the one, requests fill the other.

use std::time::Instant;

use parking_lot::Mutex;

/// Tokens that the share's bucket holds at most, so that a quiet hour does not pay for a storm.
const SAVED: f64 = 10.0;

/// What may be spent; None: as much as is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Rates {
    /// Requests per second, above 0. As many may come at once as come in one second, and one at least.
    pub per_second: Option<f64>,
    /// Share of all requests, (0..1].
    pub share: Option<f64>,
}

/// A budget.
pub(super) struct Budget(Mutex<Tokens>);

struct Tokens {
    rates: Rates,
    timed: f64,
    filled: Instant,
    shared: f64,
}

impl Budget {
    pub fn new(rates: Rates) -> Self {
        let timed = rates.per_second.map_or(0.0, |rate| rate.max(1.0));
        // The first request may be asked about, whatever its share.
        Self(Mutex::new(Tokens { rates, timed, filled: Instant::now(), shared: 1.0 }))
    }

    /// A request has come, hard or not.
    pub fn earn(&self) {
        let mut tokens = self.0.lock();
        if let Some(share) = tokens.rates.share {
            tokens.shared = (tokens.shared + share).min(SAVED);
        }
    }

    /// Whether the cloud may be asked now; if so, that is spent.
    pub fn spend(&self, now: Instant) -> bool {
        let mut tokens = self.0.lock();
        if let Some(rate) = tokens.rates.per_second {
            let passed = now.saturating_duration_since(tokens.filled).as_secs_f64();
            tokens.filled = now;
            tokens.timed = (tokens.timed + passed * rate).min(rate.max(1.0));
        }
        let timed = tokens.rates.per_second.is_none() || tokens.timed >= 1.0;
        let shared = tokens.rates.share.is_none() || tokens.shared >= 1.0;
        if timed && shared {
            tokens.timed -= 1.0;
            tokens.shared -= 1.0;
        }
        timed && shared
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn without_rates_there_is_no_bound() {
        let budget = Budget::new(Rates::default());
        assert!((0..10_000).all(|_| budget.spend(Instant::now())));
    }

    #[test]
    fn time_fills_what_was_spent() {
        let budget = Budget::new(Rates { per_second: Some(10.0), share: None });
        let start = Instant::now();
        let spent =
            |after: u64| (0..100).filter(|_| budget.spend(start + Duration::from_millis(after))).count();
        assert_eq!(spent(0), 10);
        assert_eq!(spent(500), 5);
        assert_eq!(spent(60_000), 10);
    }

    #[test]
    fn requests_fill_their_share() {
        let budget = Budget::new(Rates { per_second: None, share: Some(0.25) });
        let spent = (0..1000).filter(|_| {
            budget.earn();
            budget.spend(Instant::now())
        });
        assert!((250..=251).contains(&spent.count()));
    }
}
