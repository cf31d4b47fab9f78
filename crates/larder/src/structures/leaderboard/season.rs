//! Seasons: one board a period of the calendar, in UTC.

use std::fmt;
use std::sync::Arc;

use crate::error::Error;
use crate::structures::Ground;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
const WEEK_MS: u64 = 7 * DAY_MS;

/// When a new board begins. Periods are of the calendar, in UTC, as this process' clock has it: processes whose
/// clocks differ begin a season that much apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Season {
    /// Never: one board.
    Endless,
    /// With each hour: `2026-11-26T08`.
    Hourly,
    /// With each day: `2026-11-26`.
    Daily,
    /// With each Monday, as ISO 8601 counts weeks: `2026-W48`.
    Weekly,
    /// With each month: `2026-11`.
    Monthly,
    /// When you say so: see [`named`](Self::named).
    Named(Arc<str>),
}

impl Season {
    /// One that begins and ends when the program says so, by opening the board under another name: 1 to 64 of
    /// `A-Z a-z 0-9 _ . -`.
    pub fn named(name: impl Into<Arc<str>>) -> Season {
        Season::Named(name.into())
    }

    /// # Errors
    /// `Config` for a name that is none.
    pub(super) fn check(&self, ground: &Ground) -> Result<(), Error> {
        match self {
            Season::Named(name) => ground.shape("season", name).map(drop),
            _ => Ok(()),
        }
    }

    /// The period that this moment is in, or one that ended before it: so many `back`. It is kept until so many of those
    /// after it have ended.
    pub(super) fn period(&self, unix_ms: u64, back: u32, kept: u32) -> Period {
        let (back, kept) = (u64::from(back), u64::from(kept));
        // Of periods that are all as long: when this one began, when it ends, when it is forgotten.
        let alike = |length: u64| {
            let begun = (unix_ms / length).saturating_sub(back) * length;
            (begun, begun + length, begun + (1 + kept) * length)
        };
        let (name, ends_ms, expires_ms) = match self {
            Season::Endless => return Period::endless("all".to_owned()),
            Season::Named(name) => return Period::endless(format!("n-{name}")),
            Season::Hourly => {
                let (begun, ends, expires) = alike(HOUR_MS);
                (format!("{}T{:02}", Date::of(begun), begun / HOUR_MS % 24), ends, expires)
            }
            Season::Daily => {
                let (begun, ends, expires) = alike(DAY_MS);
                (Date::of(begun).to_string(), ends, expires)
            }
            Season::Weekly => {
                // The first of January 1970 was a Thursday: weeks that begin on Thursday, moved by four days. A
                // week has the year and the number that its Thursday has.
                let week = ((unix_ms + 3 * DAY_MS) / WEEK_MS).saturating_sub(back);
                let thursday = week * WEEK_MS;
                let date = Date::of(thursday);
                let number = date.day_of_year(thursday) / 7 + 1;
                let ends = thursday + 4 * DAY_MS;
                (format!("{:04}-W{number:02}", date.year), ends, ends + kept * WEEK_MS)
            }
            Season::Monthly => {
                let date = Date::of(unix_ms);
                let month = date.year * 12 + u64::from(date.month - 1);
                let month = month.saturating_sub(back).max(1970 * 12);
                let begins = |month: u64| days_before(month / 12, month % 12 + 1) * DAY_MS;
                let name = format!("{:04}-{:02}", month / 12, month % 12 + 1);
                (name, begins(month + 1), begins(month + 1 + kept))
            }
        };
        Period { name, ends_ms: Some(ends_ms), expires_ms: Some(expires_ms) }
    }
}

/// One season of one board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Period {
    pub(super) name: String,
    /// Milliseconds since 1970. `None`: by itself it never does.
    #[cfg_attr(not(test), allow(dead_code, reason = "what it is forgotten after"))]
    ends_ms: Option<u64>,
    /// When it is forgotten; milliseconds since 1970.
    pub(super) expires_ms: Option<u64>,
}

impl Period {
    fn endless(name: String) -> Period {
        Period { name, ends_ms: None, expires_ms: None }
    }
}

/// A day of the Gregorian calendar.
struct Date {
    year: u64,
    month: u8,
    day: u8,
}

impl Date {
    /// The day this moment is in. After Hinnant, "chrono-compatible low-level date algorithms" (2013),
    /// `civil_from_days`: years that begin in March, in eras of 400.
    fn of(unix_ms: u64) -> Date {
        let days = unix_ms / DAY_MS + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day_of_year = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        Date { year: era * 400 + year + later, month: month as u8, day: day as u8 }
    }

    /// From 0; of the day that this moment is in.
    fn day_of_year(&self, unix_ms: u64) -> u64 {
        unix_ms / DAY_MS - days_before(self.year, 1)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// Days from 1970 to the first of a month, 1 to 12; `days_from_civil` of the same source.
fn days_before(year: u64, month: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year / 400, year % 400);
    let days = of_era * 365 + of_era / 4 - of_era / 100 + (153 * month + 2) / 5;
    (era * 146_097 + days).saturating_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds since 1970, by `date -u -d .. +%s`.
    const DATES: [(u64, &str, &str); 12] = [
        (0, "1970-01-01T00", "1970-W01"),
        (951_782_399, "2000-02-28T23", "2000-W09"),
        (951_782_400, "2000-02-29T00", "2000-W09"),
        (1_104_537_600, "2005-01-01T00", "2004-W53"),
        (1_230_768_000, "2009-01-01T00", "2009-W01"),
        (1_262_304_000, "2010-01-01T00", "2009-W53"),
        (1_293_926_399, "2011-01-01T23", "2010-W52"),
        (1_419_811_199, "2014-12-28T23", "2014-W52"),
        (1_419_811_200, "2014-12-29T00", "2015-W01"),
        (1_609_459_199, "2020-12-31T23", "2020-W53"),
        (1_735_689_599, "2024-12-31T23", "2025-W01"),
        (1_795_680_000, "2026-11-26T08", "2026-W48"),
    ];

    fn name(season: &Season, secs: u64, back: u32) -> String {
        season.period(secs * 1000, back, 1).name
    }

    #[test]
    fn known_dates_are_in_known_periods() {
        for (secs, hour, week) in DATES {
            assert_eq!(name(&Season::Hourly, secs, 0), hour);
            assert_eq!(name(&Season::Daily, secs, 0), hour[..10]);
            assert_eq!(name(&Season::Monthly, secs, 0), hour[..7]);
            assert_eq!(name(&Season::Weekly, secs, 0), week);
        }
    }

    /// 130 years of periods, and three of hours: each ends where the next begins, which has another name, and one that
    /// is kept for so many is there until those have ended.
    #[test]
    fn periods_follow_one_another() {
        for season in [Season::Hourly, Season::Daily, Season::Weekly, Season::Monthly] {
            let mut now = 0;
            let mut last = season.period(now, 0, 1);
            let years = if season == Season::Hourly { 3 } else { 130 };
            while now < years * 366 * DAY_MS {
                let ends = last.ends_ms.unwrap();
                assert_eq!(season.period(ends - 1, 0, 1), last, "{season:?}");
                let next = season.period(ends, 0, 1);
                assert!(next.name > last.name, "they sort as they follow");
                assert_eq!(season.period(ends, 1, 1), last, "{season:?}: one back");
                assert_eq!(last.expires_ms, next.ends_ms, "{season:?}: kept for one more");
                assert_eq!(season.period(ends - 1, 0, 0).expires_ms, Some(ends));
                (last, now) = (next, ends);
            }
        }
    }

    /// April was gone on the last day of May: it had been kept for as long as it had been, thirty days.
    #[test]
    fn a_month_is_kept_for_the_whole_of_the_next() {
        let april = Season::Monthly.period(1_776_000_000_000, 0, 1);
        assert_eq!(april.name, "2026-04");
        let june = Season::Monthly.period(1_782_000_000_000, 0, 0);
        assert_eq!(june.name, "2026-06");
        assert_eq!(april.expires_ms, Season::Monthly.period(1_782_000_000_000, 1, 0).ends_ms);
        assert_eq!(april.expires_ms, Some(1_780_272_000_000), "the first of June 2026");
    }

    #[test]
    fn nobody_goes_back_before_the_beginning() {
        for season in [Season::Hourly, Season::Daily, Season::Weekly, Season::Monthly] {
            let first = season.period(0, 0, 1);
            for back in [30_000, u32::MAX] {
                assert!(season.period(1_795_680_000_000, back, 1000).name >= first.name);
            }
            assert_eq!(season.period(1_795_680_000_000, u32::MAX, 1).name, first.name);
        }
        assert_eq!(Season::named("x").period(1, 5, 2).expires_ms, None);
        assert_eq!(Season::Endless.period(1, 9, 1).name, "all");
    }
}
