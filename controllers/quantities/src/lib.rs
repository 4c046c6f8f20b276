//! Amounts with a unit, as people write them in a resource: memory sizes and periods of time. Below all that has
//! such amounts in its types: the resources, and what resources are made of.

#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

/// Why an amount was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{value}` is not a valid {what}: write it like {example}")]
pub struct InvalidQuantity {
    what: &'static str,
    value: String,
    example: &'static str,
}

/// An amount of memory in bytes, written as Kubernetes quantities are: `64Mi`, `1Gi`, `500M`, `4096`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemorySize(u64);

/// Suffixes, the largest first, so that writing finds the shortest form.
const MEMORY_UNITS: [(&str, u64); 8] = [
    ("Ti", 1 << 40),
    ("T", 1_000_000_000_000),
    ("Gi", 1 << 30),
    ("G", 1_000_000_000),
    ("Mi", 1 << 20),
    ("M", 1_000_000),
    ("Ki", 1 << 10),
    ("k", 1_000),
];

impl MemorySize {
    /// That many bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// That many mebibytes (2²⁰ bytes).
    pub const fn from_mebibytes(mebibytes: u64) -> Self {
        Self(mebibytes << 20)
    }

    /// In bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |(_, size): &&(&str, u64)| self.0 >= *size && self.0.is_multiple_of(*size);
        match MEMORY_UNITS.iter().find(whole) {
            Some((suffix, size)) => write!(f, "{}{suffix}", self.0 / size),
            None => write!(f, "{}", self.0),
        }
    }
}

impl FromStr for MemorySize {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let error = || InvalidQuantity {
            what: "amount of memory",
            value: text.chars().take(40).collect(),
            example: "`64Mi`, `1Gi`, `500M` or a number of bytes",
        };
        let (number, unit) = MEMORY_UNITS
            .iter()
            .find_map(|(suffix, size)| Some((text.strip_suffix(suffix)?, *size)))
            .unwrap_or((text, 1));
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(error());
        }
        number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).map(Self).ok_or_else(error)
    }
}

/// A length of time, written `500us`, `20ms`, `30s`, `2m`, `1h` or `7d`; whole microseconds, more than zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(Duration);

const SECOND: u64 = 1_000_000;
const DAY: u64 = 86_400 * SECOND;

/// Suffixes with their length in microseconds; `us` and `ms` before `m` and `s`, as they end like the latter.
const PERIOD_UNITS: [(&str, u64); 6] =
    [("us", 1), ("ms", 1_000), ("d", DAY), ("h", 3_600 * SECOND), ("m", 60 * SECOND), ("s", SECOND)];
/// More are written in hours.
const MOST_DAYS: u64 = 999;

impl Period {
    /// The longest period: 99,999 hours, more than eleven years.
    pub const MAX: Self = Self(Duration::from_secs(99_999 * 3600));

    /// That many seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// That many milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// As the standard library has it.
    pub const fn duration(self) -> Duration {
        self.0
    }

    /// In milliseconds, rounded up, so that no period is nothing.
    pub fn millis(self) -> u64 {
        self.micros().div_ceil(1_000)
    }

    /// In microseconds.
    pub fn micros(self) -> u64 {
        u64::try_from(self.0.as_micros()).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.micros();
        let whole = |unit: u64| micros.is_multiple_of(unit);
        match micros {
            m if whole(DAY) && m / DAY <= MOST_DAYS => write!(f, "{}d", m / DAY),
            m if whole(3_600 * SECOND) => write!(f, "{}h", m / (3_600 * SECOND)),
            m if whole(60 * SECOND) => write!(f, "{}m", m / (60 * SECOND)),
            m if whole(SECOND) => write!(f, "{}s", m / SECOND),
            m if whole(1_000) => write!(f, "{}ms", m / 1_000),
            m => write!(f, "{m}us"),
        }
    }
}

impl FromStr for Period {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let error = || InvalidQuantity {
            what: "period of time",
            value: text.chars().take(40).collect(),
            example: "`500us`, `20ms`, `30s`, `2m`, `1h` or `7d`, more than zero and at most 99999h",
        };
        let (number, unit) = PERIOD_UNITS
            .iter()
            .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, *unit)))
            .ok_or_else(error)?;
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(error());
        }
        let micros = number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).ok_or_else(error)?;
        let period = Self(Duration::from_micros(micros));
        if micros == 0 || period > Self::MAX { Err(error()) } else { Ok(period) }
    }
}

/// A type is written and read as text in resources. Its schema accepts nothing that it cannot read back: an
/// object that an API server has taken and a controller cannot read would stop that controller's watch.
#[macro_export]
macro_rules! serde_as_text {
    ($type:ty, $pattern:literal, at most $length:expr, $example:literal) => {
        impl ::serde::Serialize for $type {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $type {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <String as ::serde::Deserialize>::deserialize(deserializer)?.parse().map_err(::serde::de::Error::custom)
            }
        }

        impl ::schemars::JsonSchema for $type {
            fn schema_name() -> ::std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut ::schemars::SchemaGenerator) -> ::schemars::Schema {
                ::schemars::json_schema!({
                    "type": "string", "pattern": $pattern, "maxLength": $length, "example": $example,
                })
            }
        }
    };
}

// In each unit, as many digits as surely fit: in bytes into a u64, as a period into its longest.
serde_as_text!(
    MemorySize,
    "^([0-9]{1,19}|[0-9]{1,16}(k|Ki)|[0-9]{1,13}(M|Mi)|[0-9]{1,10}(G|Gi)|[0-9]{1,7}(T|Ti))$",
    at most 19,
    "256Mi"
);
serde_as_text!(
    Period,
    "^[1-9]([0-9]{0,9}(us|ms)|[0-9]{0,6}s|[0-9]{0,5}m|[0-9]{0,4}h|[0-9]{0,2}d)$",
    at most 12,
    "60s"
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn memory_is_read_in_binary_and_decimal_units() {
        for (text, bytes) in [("0", 0), ("4096", 4096), ("1Ki", 1024), ("1k", 1000), ("8Gi", 8 << 30)] {
            assert_eq!(text.parse::<MemorySize>().unwrap().bytes(), bytes, "{text}");
        }
    }

    #[test]
    fn amounts_without_a_meaning_are_refused() {
        for text in ["", "Mi", "-1", "1.5Gi", "1 Gi", "99999999999999999999", "99999999Ti"] {
            assert!(text.parse::<MemorySize>().is_err(), "{text}");
        }
        for text in ["", "s", "0s", "10", "-1s", "1.5s", "100000h", "99999999999999999999s"] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
    }

    #[test]
    fn periods_reach_from_microseconds_to_days() {
        for (text, micros, written) in [
            ("500us", 500, "500us"),
            ("1000us", 1_000, "1ms"),
            ("1500ms", 1_500_000, "1500ms"),
            ("90s", 90_000_000, "90s"),
            ("24h", 86_400_000_000, "1d"),
            ("7d", 604_800_000_000, "7d"),
            ("99984h", 359_942_400_000_000, "99984h"),
        ] {
            let period: Period = text.parse().unwrap();
            assert_eq!((period.micros(), period.to_string().as_str()), (micros, written), "{text}");
        }
        assert_eq!("1us".parse::<Period>().unwrap().millis(), 1, "no period is nothing");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(bytes: u64, micros in 1_u64..31_536_000_000_000) {
            let memory = MemorySize::from_bytes(bytes);
            prop_assert_eq!(memory.to_string().parse::<MemorySize>().unwrap(), memory);
            let period = Period(Duration::from_micros(micros));
            prop_assert_eq!(period.to_string().parse::<Period>().unwrap(), period);
        }
    }
}
