//! The clock that wrote a local time: how far it is ahead of UTC, always or by the rules of a zone.

use chrono::{FixedOffset, MappedLocalTime, NaiveDateTime, Offset as _, TimeDelta, TimeZone as _};
use chrono_tz::{TZ_VARIANTS, Tz};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::clock::Millis;
use crate::config::Problem;

/// What becomes of a time that the clocks of a zone showed twice, or not at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Ambiguous {
    /// The earlier instant.
    Earlier,
    /// The later instant.
    Later,
    /// The row has no time.
    #[default]
    Reject,
}

#[derive(Debug)]
pub(super) enum Zone {
    Fixed(FixedOffset),
    Named(Tz, Ambiguous),
}

impl Zone {
    /// The clock that the settings name; UTC where they name none.
    pub(super) fn of(
        utc_offset: Option<&str>,
        zone: Option<&str>,
        ambiguous: Option<Ambiguous>,
    ) -> Result<Self, Problem> {
        if ambiguous.is_some() && zone.is_none() {
            return Err(Problem::new("ambiguous", "`ambiguous` has no effect without `zone`")
                .label("without the rules of a zone no time is shown twice")
                .help(
                    "name the zone of the clock, such as `zone: Europe/Berlin`, or take `ambiguous` away",
                ));
        }
        match (utc_offset, zone) {
            (None, None) => Ok(Self::Fixed(FixedOffset::east_opt(0).ok_or_else(no_offset)?)),
            (Some(text), None) => text.parse().map(Self::Fixed).map_err(|_| no_offset()),
            (None, Some(name)) => match name.parse() {
                Ok(zone) => Ok(Self::Named(zone, ambiguous.unwrap_or_default())),
                Err(_) => Err(no_zone(name)),
            },
            (Some(_), Some(_)) => Err(Problem::new("zone", "`utc_offset` and `zone` cannot stand together")
                .help("`zone` has the rules of summer time; `utc_offset` is the same all the year")),
        }
    }

    /// The instant at which the clock showed this, or why there is none.
    pub(super) fn instant(&self, local: NaiveDateTime) -> Result<Millis, String> {
        let behind = |offset: FixedOffset| {
            local.and_utc().timestamp_millis() - i64::from(offset.local_minus_utc()) * 1000
        };
        let (zone, ambiguous) = match self {
            Self::Fixed(offset) => return Ok(behind(*offset)),
            Self::Named(zone, ambiguous) => (zone, ambiguous),
        };
        let (first, second, how_often) = match zone.offset_from_local_datetime(&local) {
            MappedLocalTime::Single(offset) => return Ok(behind(offset.fix())),
            MappedLocalTime::Ambiguous(first, second) => (first.fix(), second.fix(), "twice"),
            MappedLocalTime::None => {
                // A day is more than any clock was ever put forward, and less than the time between two
                // changes.
                let day = TimeDelta::days(1);
                let offset =
                    |at: Option<NaiveDateTime>| at.map(|at| zone.offset_from_utc_datetime(&at).fix());
                match (offset(local.checked_sub_signed(day)), offset(local.checked_add_signed(day))) {
                    (Some(before), Some(after)) => (after, before, "at no time"),
                    _ => return Err("it is too far off".to_owned()),
                }
            }
        };
        match ambiguous {
            Ambiguous::Earlier => Ok(behind(first).min(behind(second))),
            Ambiguous::Later => Ok(behind(first).max(behind(second))),
            Ambiguous::Reject => Err(format!(
                "the clocks of {} showed it {how_often}; `ambiguous: earlier` or `later` takes one",
                zone.name()
            )),
        }
    }
}

fn no_offset() -> Problem {
    Problem::new("utc_offset", "this is not an offset from UTC").help("such as `+08:00`, or `-05:30`")
}

fn no_zone(name: &str) -> Problem {
    Problem::new("zone", format!("there is no time zone `{name}`"))
        .label("zones are named by place, such as `Europe/Berlin` or `Asia/Shanghai`")
        .suggest(name, TZ_VARIANTS.iter().map(|zone| zone.name()))
}
