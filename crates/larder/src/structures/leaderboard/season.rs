//! Seasons: one board a period of the calendar, in UTC.

use std::fmt;
use std::sync::Arc;

use crate::error::Error;
use crate::structures::Ground;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

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

    /// The period that this moment is in, or one that ended before it: so many `back`.
    pub(super) fn period(&self, unix_ms: u64, back: u32) -> Period {
        let of = |length: u64| {
            let begun = (unix_ms / length).saturating_sub(back.into()) * length;
            (begun, begun + length)
        };
        let (text, ends_ms) = match self {
            Season::Endless => return Period { name: "all".into(), length_ms: 0, ends_ms: None },
            Season::Named(name) => {
                return Period { name: format!("n-{name}"), length_ms: 0, ends_ms: None };
            }
            Season::Hourly => {
                let (begun, ends) = of(HOUR_MS);
                (format!("{}T{:02}", Date::of(begun), begun / HOUR_MS % 24), ends)
            }
            Season::Daily => {
                let (begun, ends) = of(DAY_MS);
                (Date::of(begun).to_string(), ends)
            }
            Season::Weekly => {
                // The first of January 1970 was a Thursday: weeks that begin on Thursday, moved by four days. A
                // week has the year and the number that its Thursday has.
                let monday = (unix_ms + 3 * DAY_MS) / (7 * DAY_MS);
                let thursday = monday.saturating_sub(back.into()) * 7 * DAY_MS;
                let date = Date::of(thursday);
                let week = date.day_of_year(thursday) / 7 + 1;
                (format!("{:04}-W{week:02}", date.year), thursday + 4 * DAY_MS)
            }
            Season::Monthly => {
                let date = Date::of(unix_ms);
                let months =
                    (date.year * 12 + u64::from(date.month - 1)).saturating_sub(back.into());
                let begins = |months: u64| days_before(months / 12, months % 12 + 1) * DAY_MS;
                let (year, month) = (months / 12, months % 12 + 1);
                let (begun, ends) = (begins(months), begins(months + 1));
                return Period {
                    name: format!("{year:04}-{month:02}"),
                    length_ms: ends - begun,
                    ends_ms: Some(ends),
                };
            }
        };
        let length_ms = match self {
            Season::Hourly => HOUR_MS,
            Season::Daily => DAY_MS,
            _ => 7 * DAY_MS,
        };
        Period { name: text, length_ms, ends_ms: Some(ends_ms) }
    }
}

/// One season of one board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Period {
    pub(super) name: String,
    length_ms: u64,
    /// Milliseconds since 1970. `None`: by itself it never does.
    ends_ms: Option<u64>,
}

impl Period {
    /// When it is forgotten, that many of its own lengths after its end; milliseconds since 1970.
    pub(super) fn expires_ms(&self, kept: u32) -> Option<u64> {
        self.ends_ms.map(|ends| ends.saturating_add(self.length_ms.saturating_mul(kept.into())))
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
        season.period(secs * 1000, back).name
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

    /// 130 years of periods, and three of hours: each ends where the next begins, which has another name.
    #[test]
    fn periods_follow_one_another() {
        for season in [Season::Hourly, Season::Daily, Season::Weekly, Season::Monthly] {
            let mut now = 0;
            let mut last = season.period(now, 0);
            let years = if season == Season::Hourly { 3 } else { 130 };
            while now < years * 366 * DAY_MS {
                let ends = last.ends_ms.unwrap();
                assert_eq!(season.period(ends - 1, 0), last, "{season:?}");
                let next = season.period(ends, 0);
                assert_ne!(next.name, last.name);
                assert!(next.name > last.name, "they sort as they follow");
                assert_eq!(season.period(ends, 1), last, "{season:?}: one back");
                assert_eq!(next.ends_ms.unwrap() - next.length_ms, ends);
                (last, now) = (next, ends);
            }
        }
    }

    #[test]
    fn a_season_is_forgotten_so_many_of_its_lengths_after_its_end() {
        let week = Season::Weekly.period(1_795_680_000_000, 0);
        assert_eq!(week.ends_ms, Some(1_795_996_800_000), "Monday, the 30th of November 2026");
        assert_eq!(week.expires_ms(2), week.ends_ms.map(|ends| ends + 14 * DAY_MS));
        assert_eq!(Season::named("x").period(1, 0).expires_ms(2), None);
        assert_eq!(Season::Endless.period(1, 9).name, "all");
    }
}
