//! `status.conditions` in the form that Kubernetes' tools know.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

/// A condition as observed at `now`; merge it with [`set_condition`].
pub fn condition(
    kind: &str,
    holds: bool,
    reason: &str,
    message: impl Into<String>,
    generation: Option<i64>,
    now: Timestamp,
) -> Condition {
    Condition {
        type_: kind.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        reason: reason.to_owned(),
        message: message.into(),
        observed_generation: generation,
        last_transition_time: Time(now),
    }
}

/// Put `new` among `conditions`. Its transition time is kept from the condition it replaces where the
/// status is the same, so that observing again what is known changes nothing.
pub fn set_condition(conditions: &mut Vec<Condition>, mut new: Condition) {
    match conditions.iter_mut().find(|old| old.type_ == new.type_) {
        Some(old) => {
            if old.status == new.status {
                new.last_transition_time = old.last_transition_time.clone();
            }
            *old = new;
        }
        None => conditions.push(new),
    }
}

/// Whether the condition `kind` is there and `True`.
pub fn is_true(conditions: &[Condition], kind: &str) -> bool {
    conditions.iter().any(|c| c.type_ == kind && c.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transition_time_moves_with_the_status_alone() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut conditions = Vec::new();
        set_condition(&mut conditions, condition("Ready", false, "NotFound", "no file", None, at(1)));
        set_condition(&mut conditions, condition("Ready", false, "Malformed", "bad row", None, at(2)));
        assert_eq!((conditions.len(), conditions[0].last_transition_time.0), (1, at(1)));
        assert_eq!(conditions[0].reason, "Malformed");
        set_condition(&mut conditions, condition("Ready", true, "Read", "", None, at(3)));
        assert_eq!(conditions[0].last_transition_time.0, at(3));
        assert!(is_true(&conditions, "Ready"));
    }
}
