//! How long to wait before the next try: exponential, with full jitter, so that a thousand nodes whose
//! manager comes back do not all knock at once.

use std::time::Duration;

/// Waits that grow from `base` to `max`.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    base: Duration,
    max: Duration,
    tries: u32,
}

impl Backoff {
    pub(crate) const fn new(base: Duration, max: Duration) -> Self {
        Self { base, max, tries: 0 }
    }

    /// The next wait, by a number from a uniform distribution over [0, 1).
    pub(crate) fn next_with(&mut self, uniform: f64) -> Duration {
        let ceiling = self.base.saturating_mul(2_u32.saturating_pow(self.tries)).min(self.max);
        self.tries = self.tries.saturating_add(1);
        ceiling.mul_f64(uniform.clamp(0.0, 1.0))
    }

    /// The next wait.
    pub(crate) fn next(&mut self) -> Duration {
        self.next_with(rand::random())
    }

    /// After a session that lasted so long: begin anew if it was worth having. One that ends as soon as it
    /// begins, as when two dial under one name and displace each other, is a failed try.
    pub(crate) fn after(&mut self, session: Duration) {
        if session > self.max {
            self.tries = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_bound_and_begins_anew_after_a_session_that_lasted() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(500));
        let waits: Vec<_> = (0..5).map(|_| backoff.next_with(1.0).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 500, 500]);
        backoff.after(Duration::from_millis(500));
        assert_eq!(backoff.next_with(1.0).as_millis(), 500);
        backoff.after(Duration::from_millis(501));
        assert_eq!(backoff.next_with(0.5).as_millis(), 50);
    }

    #[test]
    fn many_tries_do_not_overflow() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        assert!((0..10_000).all(|_| backoff.next_with(0.999) <= Duration::from_secs(30)));
    }
}
