//! Triggers: when a round of incremental learning may train, and when its candidate may be deployed.
//!
//! ```text
//!  TriggerSpec (of a resource) ──Trigger::parse──▶ Trigger ──check──▶ Decision: fire, or wait, why and until when
//!                                                   ▲  ▲  ▲
//!                              TriggerState (kept) ─┘  │  └─ now (the caller's clock)
//!                                Observed (figures) ───┘
//! ```
//!
//! The job of a node calls [`Trigger::check`] whenever a figure has changed and when the last decision said to look
//! again; the manager calls [`TriggerSpec::problems`] before it takes a resource. Nothing here reads a clock, waits or
//! does I/O, but for the system's time zones.
//!
//! # What a trigger looks at
//!
//! | name | what it is |
//! | --- | --- |
//! | `newSamples` | samples since the last round's data |
//! | `samples` | all samples |
//! | `modelAge` | seconds since the deployed model was made |
//! | `drift` | the drift detector's score |
//! | `hardShare` | share of hard examples among what was inferred, 0 to 1 |
//! | `metrics.NAME` | a metric of the last evaluation, of the candidate: `metrics.accuracy`, `metrics.accuracy.class3` |
//! | `metrics.recent.NAME` | the same on the held-out rows alone that came since the evaluation before; `recent.NAME` is a metric as the others in the lines below too |
//! | `deployed.NAME` | the same of the deployed model, on the same data |
//! | `difference.NAME` | `metrics.NAME` less `deployed.NAME`: above 0 where the candidate has more |
//! | `relativeDifference.NAME` | that difference as a share of the deployed model's magnitude |
//!
//! A figure that is not known, not finite, or without meaning (a relative difference to 0) does not fire: the trigger
//! waits and says which it is.
//!
//! # Two ways to say it
//!
//! A **condition** compares one figure: `{metric: difference.accuracy, operator: '>', threshold: 0.1}`. Two numbers that
//! lie no further apart than `tolerance` (1e-9 by default) are equal, for every operator: 0.9 − 0.8 is at least 0.1.
//!
//! An **expression** is a subset of CEL, the Common Expression Language (<https://github.com/google/cel-spec>), without
//! anything that loops: the names above, numbers, `true` and `false`, `+ - * /`, `< <= > >= == !=`, `&& || !`, `? :`,
//! `has(metrics.NAME)`, and the functions `minutes(n)`, `hours(n)`, `days(n)` (seconds), `abs(x)`, `min(a, b)` and
//! `max(a, b)`. Metrics whose names are no identifiers are written `metrics["top-5"]`. Unlike CEL's, all numbers are
//! floating point (`newSamples * 2` is as good as `newSamples * 2.0`); as in CEL `==` is exact, and `a || b` holds where
//! `b` does, even if `a` is unknown. Types are checked when an expression is parsed. It is ASCII, of at most 1,024
//! characters and 32 levels; each part of it is evaluated at most once.
//!
//! # When
//!
//! In this order: outside of the daily **window** it waits for the opening; during the **cool-down** after it fired, for
//! its end; less than a **check period** after the figures were looked at last, for the next check. Only then are
//! figures looked at. A clock that was set back shortens no period and lengthens none beyond itself.
//!
//! The window is open whenever a clock on the wall of its time zone shows a time from `from` (included) to `to`
//! (excluded), past midnight where `to` is the earlier. So where clocks are set forward, what they skip of a window is
//! not there that day; where they are set back, the hour that comes twice is open twice.

#![forbid(unsafe_code)]

mod condition;
mod expression;
mod observed;
mod problem;
mod spec;
mod trigger;
mod window;

pub use expression::MAX_LENGTH;
pub use observed::{FigureName, Observed, Unknown, UnknownName};
pub use problem::{InvalidTrigger, Problem};
pub use spec::{Comparison, Condition, DailyWindow, TimeOfDay, TriggerSpec};
pub use trigger::{Cause, Decision, Trigger, TriggerState};
