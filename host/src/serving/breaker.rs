//! Whether the cloud is asked: not while it does not answer.
//!
//! ```text
//!  closed ──a request fails──▶ open ──wait──▶ half-open ──it answers──▶ closed
//!                               ▲                │ it does not
//!                               └────────────────┘ and the next wait is longer
//! ```
//! One request that is not answered in time opens it: a cloud that is gone costs one deadline, once. Whether it is
//! back is tried in the background ([`super::offload`]), so that no client waits for that.

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Where it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum State {
    /// The cloud is asked.
    #[default]
    Closed,
    /// It is not.
    Open,
    /// It is being tried.
    HalfOpen,
}

/// The breaker of one cloud.
#[derive(Default)]
pub(super) struct Breaker {
    state: Mutex<State>,
    opened: Notify,
}

impl Breaker {
    pub fn state(&self) -> State {
        *self.state.lock()
    }

    /// The cloud did not answer.
    pub fn trip(&self) {
        *self.state.lock() = State::Open;
        self.opened.notify_one();
    }

    /// It is being tried, if it is still open.
    pub fn begin_trial(&self) -> bool {
        let mut state = self.state.lock();
        let open = *state == State::Open;
        if open {
            *state = State::HalfOpen;
        }
        open
    }

    /// What the trial came to. A request that failed meanwhile counts more than a trial that did not.
    pub fn end_trial(&self, answered: bool) {
        let mut state = self.state.lock();
        if *state == State::HalfOpen {
            *state = if answered { State::Closed } else { State::Open };
        }
    }

    /// It is another cloud.
    pub fn reset(&self) {
        *self.state.lock() = State::Closed;
    }

    /// Returns when it has opened since this last returned. For one caller at a time.
    pub async fn opened(&self) {
        self.opened.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_with_a_failure_and_closes_with_a_trial_that_is_answered() {
        let breaker = Breaker::default();
        assert!(!breaker.begin_trial());
        breaker.trip();
        assert!(breaker.begin_trial() && breaker.state() == State::HalfOpen);
        breaker.end_trial(false);
        assert_eq!(breaker.state(), State::Open);
        assert!(breaker.begin_trial());
        breaker.end_trial(true);
        assert_eq!(breaker.state(), State::Closed);
    }

    #[test]
    fn a_failure_during_the_trial_keeps_it_open() {
        let breaker = Breaker::default();
        breaker.trip();
        assert!(breaker.begin_trial());
        breaker.trip();
        breaker.end_trial(true);
        assert_eq!(breaker.state(), State::Open);
    }
}
