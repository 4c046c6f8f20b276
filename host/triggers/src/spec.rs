//! A trigger as a resource has it: serde and JSON schema. What the schema cannot say, [`TriggerSpec::problems`] does.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Time;
use schemars::JsonSchema;
use sedge_quantities::{Period, serde_as_text};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// When something may begin: by an expression or a condition, one of the two.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "has(self.expression) != has(self.condition)", "message": "write an expression or a condition, one of the two"},
]))]
pub struct TriggerSpec {
    /// In a subset of CEL, e.g. `newSamples >= 500 || (drift > 0.25 && modelAge > days(1))`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1_024))]
    pub expression: Option<String>,
    /// One figure, compared to a threshold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
    /// Figures are looked at no more often than this. 1s by default.
    #[serde(default = "default_check_period")]
    pub check_period: Period,
    /// The time of day at which it may fire; absent, at any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<DailyWindow>,
    /// After it has fired it does not for so long; absent, it may at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cool_down: Option<Period>,
}

/// One figure, compared to a threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Condition {
    /// `newSamples`, `samples`, `modelAge` (seconds), `drift`, `hardShare`, or a metric by its name: of the last
    /// evaluation `metrics.accuracy`, of the deployed model `deployed.accuracy`, the first less the second
    /// `difference.accuracy`, or as a share of the second `relativeDifference.accuracy`.
    #[schemars(length(min = 1, max = 300))]
    pub metric: String,
    /// How it compares.
    pub operator: Comparison,
    /// To what.
    pub threshold: f64,
    /// Two numbers no further apart are equal, for every operator. 1e-9 by default.
    #[serde(default = "default_tolerance")]
    #[schemars(range(min = 0.0))]
    pub tolerance: f64,
}

/// How a figure compares to a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Comparison {
    /// Above.
    #[serde(rename = ">")]
    Above,
    /// At least.
    #[serde(rename = ">=")]
    AtLeast,
    /// Below.
    #[serde(rename = "<")]
    Below,
    /// At most.
    #[serde(rename = "<=")]
    AtMost,
    /// Equal, within the tolerance.
    #[serde(rename = "==")]
    Equal,
    /// Not equal, by more than the tolerance.
    #[serde(rename = "!=")]
    NotEqual,
}

/// A time of each day, by the clocks of a time zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DailyWindow {
    /// It opens, e.g. `22:00`.
    pub from: TimeOfDay,
    /// It closes, e.g. `06:00`: the next day's where that is not after `from`.
    pub to: TimeOfDay,
    /// A name of the IANA time zone database, e.g. `Europe/Berlin`, or `UTC`.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$"))]
    pub time_zone: String,
}

/// A time of day to the minute, written `06:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay(Time);

/// Why a time of day was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not a time of day: write it like 06:00 or 22:30, from 00:00 to 23:59")]
pub struct InvalidTimeOfDay(String);

impl TimeOfDay {
    /// As jiff has it.
    pub const fn time(self) -> Time {
        self.0
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0.hour(), self.0.minute())
    }
}

impl FromStr for TimeOfDay {
    type Err = InvalidTimeOfDay;

    fn from_str(text: &str) -> Result<Self, InvalidTimeOfDay> {
        let two = |digits: &str| {
            (digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
        };
        let time =
            text.split_once(':').and_then(|(hour, minute)| Time::new(two(hour)?, two(minute)?, 0, 0).ok());
        time.map(Self).ok_or_else(|| InvalidTimeOfDay(text.chars().take(40).collect()))
    }
}

serde_as_text!(TimeOfDay, "^([01][0-9]|2[0-3]):[0-5][0-9]$", at most 5, "06:00");

const fn default_check_period() -> Period {
    Period::from_secs(1)
}

const fn default_tolerance() -> f64 {
    1e-9
}
