//! Lengths of time as people read them, in the words of kubectl's AGE column.

use k8s_openapi::jiff::Timestamp;

/// How long ago `then` was; nothing below zero.
pub fn since(then: Timestamp, now: Timestamp) -> String {
    written(now.as_second().saturating_sub(then.as_second()).max(0).unsigned_abs())
}

/// Seconds in at most two units, coarser the longer it is: `90s`, `5m12s`, `3h`, `3d4h`, `2y3d`.
pub fn written(seconds: u64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    const YEAR: u64 = 365 * DAY;
    let (unit, sign, next, next_sign, both_below) = match seconds {
        s if s < 2 * MINUTE => return format!("{s}s"),
        s if s < 3 * HOUR => (MINUTE, "m", 1, "s", 10 * MINUTE),
        s if s < 2 * DAY => (HOUR, "h", MINUTE, "m", 8 * HOUR),
        s if s < 2 * YEAR => (DAY, "d", HOUR, "h", 8 * DAY),
        _ => (YEAR, "y", DAY, "d", 8 * YEAR),
    };
    let rest = seconds % unit / next;
    if seconds < both_below && rest > 0 {
        format!("{}{sign}{rest}{next_sign}", seconds / unit)
    } else {
        format!("{}{sign}", seconds / unit)
    }
}

/// Milliseconds of work: `12ms`, `3.4s`, then as [`written`].
pub fn worked(millis: u64) -> String {
    match millis {
        0..1_000 => format!("{millis}ms"),
        1_000..100_000 => format!("{:.1}s", millis as f64 / 1_000.0),
        _ => written(millis / 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_kubectl_writes_them() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (312, "5m12s"),
            (601, "10m"),
            (3 * 3600, "3h"),
            (3 * 3600 + 120, "3h2m"),
            (9 * 3600 + 120, "9h"),
            (47 * 3600, "47h"),
            (3 * 86_400, "3d"),
            (3 * 86_400 + 4 * 3600, "3d4h"),
            (9 * 86_400 + 4 * 3600, "9d"),
            (2 * 365 * 86_400 + 86_400, "2y1d"),
        ] {
            assert_eq!(written(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn a_clock_that_is_ahead_gives_no_negative_age() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(since(at(100), at(90)), "0s");
    }

    #[test]
    fn work_is_given_to_a_tenth() {
        assert_eq!([worked(12), worked(3_440), worked(312_000)], ["12ms", "3.4s", "5m12s"]);
    }
}
