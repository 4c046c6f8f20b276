//! A trigger that holds together, and its decisions.

use jiff::{SignedDuration, Timestamp};
use sedge_quantities::Period;
use serde::{Deserialize, Serialize};

use crate::condition::Rule;
use crate::expression::Expression;
use crate::observed::{Observed, Unknown};
use crate::problem::{InvalidTrigger, Problem};
use crate::spec::TriggerSpec;
use crate::window::Window;

/// A trigger, ready to be checked.
#[derive(Debug, Clone)]
pub struct Trigger {
    test: Test,
    check_period: SignedDuration,
    cool_down: Option<Period>,
    window: Option<Window>,
}

#[derive(Debug, Clone)]
enum Test {
    Expression(Expression),
    Rule(Rule),
}

/// What a trigger remembers from check to check. Who keeps it on disk keeps check period and cool-down over a restart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TriggerState {
    /// When figures were looked at last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checked_at: Option<Timestamp>,
    /// When it fired last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fired_at: Option<Timestamp>,
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Begin.
    Fire {
        /// Why, with the figures; a sentence.
        reason: String,
    },
    /// Do not.
    Wait {
        /// What for.
        cause: Cause,
        /// Why, with the figures; a sentence.
        reason: String,
        /// When to look again at the latest; earlier where a figure changes.
        again: Timestamp,
    },
}

/// What a trigger waits for. A candidate is kept out where its figures do not hold, and kept waiting elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The daily window is closed; no figure was looked at.
    Window,
    /// It fired lately; no figure was looked at.
    CoolDown,
    /// Figures were looked at lately; none was looked at now.
    CheckPeriod,
    /// The figures do not hold.
    Unmet,
    /// A figure is not known, or has no meaning.
    Unknown,
}

impl TriggerSpec {
    /// All that is wrong with it, what its schema says included.
    pub fn problems(&self) -> Vec<Problem> {
        match Trigger::parse(self) {
            Ok(_) => Vec::new(),
            Err(InvalidTrigger(problems)) => problems,
        }
    }
}

impl Trigger {
    /// # Errors
    /// All that is wrong with `spec`.
    pub fn parse(spec: &TriggerSpec) -> Result<Self, InvalidTrigger> {
        let mut problems = Vec::new();
        let test = match (&spec.expression, &spec.condition) {
            (Some(expression), None) => match Expression::parse(expression) {
                Ok(expression) => Some(Test::Expression(expression)),
                Err(message) => {
                    problems.push(Problem::new("expression", message));
                    None
                }
            },
            (None, Some(condition)) => Rule::parse(condition, &mut problems).map(Test::Rule),
            (None, None) => {
                problems
                    .push(Problem::new("expression", "must be there, or a condition: write one of the two"));
                None
            }
            (Some(_), Some(_)) => {
                let message = "must not be there beside an expression: write one of the two";
                problems.push(Problem::new("condition", message));
                None
            }
        };
        let window = spec.window.as_ref().and_then(|window| Window::parse(window, &mut problems));
        match test {
            Some(test) if problems.is_empty() => {
                Ok(Self { test, check_period: signed(spec.check_period), cool_down: spec.cool_down, window })
            }
            _ => Err(InvalidTrigger(problems)),
        }
    }

    /// Whether to begin at `now`, with these figures. Remembers in `state` that they were looked at, and that it fired.
    pub fn check(&self, state: &mut TriggerState, observed: &Observed, now: Timestamp) -> Decision {
        // What lies ahead was written by a clock that has been set back.
        let past = |at: Option<Timestamp>| at.map(|at| at.min(now));
        (state.checked_at, state.fired_at) = (past(state.checked_at), past(state.fired_at));

        if let Some(decision) = self.held_back(*state, now) {
            return decision;
        }
        state.checked_at = Some(now);
        let judged = match &self.test {
            Test::Expression(expression) => expression.judge(observed, now),
            Test::Rule(rule) => rule.judge(observed, now),
        };
        let (cause, reason) = match judged {
            Ok((true, reason)) => {
                state.fired_at = Some(now);
                return Decision::Fire { reason };
            }
            Ok((false, reason)) => (Cause::Unmet, reason),
            Err(Unknown(reason)) => (Cause::Unknown, reason),
        };
        Decision::Wait { cause, reason, again: self.not_before(after(now, self.check_period)) }
    }

    /// The decision that no figure changes.
    fn held_back(&self, state: TriggerState, now: Timestamp) -> Option<Decision> {
        if let Some(window) = &self.window
            && !window.is_open(now)
        {
            let again = window.opens_after(now).unwrap_or(Timestamp::MAX);
            let reason =
                format!("outside of the daily window {window}, which opens at {}", window.shown(again));
            return Some(Decision::Wait { cause: Cause::Window, reason, again });
        }
        if let (Some(cool_down), Some(fired_at)) = (self.cool_down, state.fired_at) {
            let end = after(fired_at, signed(cool_down));
            if now < end {
                let reason =
                    format!("it fired at {fired_at:.0}, and does not again for {cool_down}, until {end:.0}");
                let again = self.not_before(end);
                return Some(Decision::Wait { cause: Cause::CoolDown, reason, again });
            }
        }
        let next = after(state.checked_at?, self.check_period);
        (now < next).then(|| Decision::Wait {
            cause: Cause::CheckPeriod,
            reason: format!("figures are looked at again at {next:.3}"),
            again: self.not_before(next),
        })
    }

    /// `at`, or the window's opening after it.
    fn not_before(&self, at: Timestamp) -> Timestamp {
        match &self.window {
            Some(window) if !window.is_open(at) => window.opens_after(at).unwrap_or(Timestamp::MAX),
            _ => at,
        }
    }
}

fn signed(period: Period) -> SignedDuration {
    // The longest period is eleven years.
    SignedDuration::try_from(period.duration()).unwrap_or(SignedDuration::MAX)
}

fn after(at: Timestamp, duration: SignedDuration) -> Timestamp {
    at.checked_add(duration).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
#[path = "trigger_tests.rs"]
mod tests;
