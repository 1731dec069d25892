//! Patterns of times, such as `%Y-%m-%d %H:%M:%S`: chrono's, with three things beside it. `%f` is the
//! fraction of a second in as many digits as stand there, not a count of nanoseconds; an hour without minutes
//! is the full hour; and a pattern is tried when it is bound: it writes some times and reads them back. One
//! that could give no date, or would pass over a part of what is written, is refused before any row is read.

use std::fmt::Write as _;

use chrono::format::{DelayedFormat, Fixed, Item, Numeric, Pad, Parsed, StrftimeItems, parse_and_remainder};
use chrono::{FixedOffset, NaiveDate, NaiveDateTime, Timelike};

use crate::config::Problem;

/// A text that one of these describes is a time.
#[derive(Debug)]
pub(super) struct Pattern {
    parts: Vec<Part>,
}

/// What a pattern is made of.
#[derive(Debug)]
enum Part {
    /// chrono's items.
    Items { written: String, items: Vec<Item<'static>> },
    /// `%f`
    Fraction,
}

/// What a text says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// An instant, in milliseconds since 1970.
    Instant(i64),
    /// What a clock showed that does not say how far it is ahead of UTC.
    Local(NaiveDateTime),
}

impl Pattern {
    /// Reads a pattern, and tries it.
    ///
    /// # Errors
    /// Where it is none, or cannot be used.
    pub(super) fn new(pattern: &str) -> Result<Self, Problem> {
        let parts = parts(pattern);
        let items = || parts.iter().flat_map(Part::items);
        let fields = parts.iter().any(|part| matches!(part, Part::Fraction))
            || items().any(|item| matches!(item, Item::Numeric(..) | Item::Fixed(_)));
        if items().any(|item| *item == Item::Error) || !fields {
            return Err(Problem::new("format", format!("`{pattern}` is not a format of times"))
                .help("`rfc3339`, `epoch_s`, `epoch_ms`, `epoch_us`, `epoch_ns`, or a pattern such as `\"%Y-%m-%d %H:%M:%S\"`"));
        }
        let read = Self { parts };
        read.check()?;
        Ok(read)
    }

    /// True where what is read depends on how far the clock that wrote it is ahead of UTC.
    pub(super) fn is_local(&self) -> bool {
        let reading = samples().first().and_then(|sample| self.read(&self.write(sample)?));
        matches!(reading, Some(Reading::Local(_)))
    }

    /// What a text says; `None` where it is not of this pattern, or no time.
    pub(super) fn read(&self, text: &str) -> Option<Reading> {
        let parsed = self.parsed(text)?;
        if parsed.offset().is_some() || parsed.timestamp().is_some() {
            return parsed.to_datetime().ok().map(|time| Reading::Instant(time.timestamp_millis()));
        }
        parsed.to_naive_datetime_with_offset(0).ok().map(Reading::Local)
    }

    /// The fields of a text, with those of the time of day that follow from there being none: midnight, the
    /// full hour.
    fn parsed(&self, text: &str) -> Option<Parsed> {
        let (mut parsed, mut rest) = (Parsed::new(), text);
        for part in &self.parts {
            match part {
                Part::Items { items, .. } => {
                    rest = parse_and_remainder(&mut parsed, rest, items.iter()).ok()?;
                }
                Part::Fraction => {
                    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
                    let (fraction, behind) = rest.split_at(digits);
                    parsed.set_nanosecond(nanoseconds(fraction)?).ok()?;
                    rest = behind;
                }
            }
        }
        if !rest.is_empty() {
            return None;
        }
        let no_hour = parsed.hour_div_12().is_none() && parsed.hour_mod_12().is_none();
        let no_minute =
            parsed.minute().is_none() && parsed.second().is_none() && parsed.nanosecond().is_none();
        if no_minute && parsed.timestamp().is_none() {
            if no_hour {
                parsed.set_hour(0).ok()?;
            }
            parsed.set_minute(0).ok()?;
        }
        Some(parsed)
    }

    /// A time as the pattern writes it.
    fn write(&self, sample: &Sample) -> Option<String> {
        let mut text = String::new();
        for part in &self.parts {
            part.write(sample, &mut text)?;
        }
        Some(text)
    }

    fn check(&self) -> Result<(), Problem> {
        let mut seen: Vec<(Sample, String, Reading)> = Vec::new();
        for sample in samples() {
            let text = self.write(&sample).ok_or_else(|| self.unreadable(&sample, ""))?;
            let reading = self.read(&text).filter(|reading| sample.is(*reading));
            let reading = reading.ok_or_else(|| self.unreadable(&sample, &text))?;
            if self.runs_together(&sample) {
                return Err(self.unreadable(&sample, &text));
            }
            let alike = seen.iter().find(|(_, other, read)| *other != text && *read == reading);
            if let Some((other, ..)) = alike {
                return Err(self.passed_over(other, &sample));
            }
            seen.push((sample, text, reading));
        }
        Ok(())
    }

    /// True where a number whose digits may be more or fewer stands right before another: nobody can tell
    /// where it ends.
    fn runs_together(&self, sample: &Sample) -> bool {
        self.parts.windows(2).any(|pair| {
            let open = match pair.first() {
                Some(Part::Fraction) => true,
                Some(Part::Items { items, .. }) => match items.last() {
                    Some(Item::Numeric(number, pad)) => *number == Numeric::Timestamp || *pad != Pad::Zero,
                    _ => false,
                },
                None => false,
            };
            let mut behind = String::new();
            let written = pair.get(1).and_then(|part| part.write(sample, &mut behind));
            open && written.is_some() && behind.starts_with(|c: char| c.is_ascii_digit())
        })
    }

    /// The problem that the pattern does not read what it writes, with what it lacks.
    fn unreadable(&self, sample: &Sample, text: &str) -> Problem {
        let problem = |what: &str| Problem::new("format", format!("this pattern gives no time: {what}"));
        let parsed = self.parsed(text).unwrap_or_default();
        if parsed.hour_mod_12().is_some() && parsed.hour_div_12().is_none() {
            return problem("the hour may be of the morning or of the evening")
                .help("`%I` counts to 12: add `%p` for AM and PM, or write `%H` for hours up to 23");
        }
        let said = self.parsed(text).is_some() && parsed.timestamp().is_none();
        if said && parsed.to_naive_date().is_err() {
            return problem("it does not say which day")
                .help("a day is `%Y-%m-%d`, `%Y-%j`, or `%G-W%V-%u`; `%s` is seconds since 1970")
                .help("what the field lacks can be put to it: `text: \"2026-{FIELD}\"` in place of `field`");
        }
        if said && parsed.to_naive_time().is_err() {
            return problem("a part of the time of day is missing").help(
                "seconds need minutes, and minutes need hours: `%H:%M:%S`; with a fraction, `%H:%M:%S.%f`",
            );
        }
        problem("what it writes it does not read back")
            .label(format!("{} is written as {text:?}", sample.local.format("%Y-%m-%d %H:%M:%S%.3f")))
            .help("put something between numbers that may have fewer digits, or write them with zeros: `%d`, not `%-d`")
    }

    /// The problem that two times are written otherwise and read alike.
    fn passed_over(&self, one: &Sample, other: &Sample) -> Problem {
        let alone = |part: &Part, sample: &Sample| {
            let mut text = String::new();
            part.write(sample, &mut text).map(|()| text)
        };
        let differs = |part: &&Part| alone(part, one) != alone(part, other);
        let part = self.parts.iter().find(differs).map_or("", Part::written);
        let problem = Problem::new("format", format!("`{part}` would be passed over"));
        if part.ends_with('Z') {
            return problem
                .label("a name such as CET does not say how far its clock is ahead of UTC")
                .help("where it is always the same, write it as it stands, such as `%H:%M:%S CET`, and `zone: Europe/Berlin` or `utc_offset: +01:00` beside `format`")
                .help("a number such as +0100 is `%z`");
        }
        problem
            .label("what stands there would change nothing")
            .help("add what it belongs to: minutes need `%H`, and `%p` needs `%I`; a fraction needs `%S`")
    }
}

impl Part {
    fn written(&self) -> &str {
        match self {
            Self::Items { written, .. } => written,
            Self::Fraction => "%f",
        }
    }

    fn items(&self) -> &[Item<'static>] {
        match self {
            Self::Items { items, .. } => items,
            Self::Fraction => &[],
        }
    }

    /// `None` where it cannot be written.
    fn write(&self, sample: &Sample, text: &mut String) -> Option<()> {
        let (date, time) = (sample.local.date(), sample.local.time());
        let mut put = |items: &[Item<'static>]| {
            let items = items.iter();
            write!(text, "{}", DelayedFormat::new_with_offset(Some(date), Some(time), &sample.offset, items))
                .ok()
        };
        match self {
            // `%#z` is for reading alone.
            Self::Items { written, .. } if written == "%#z" => {
                put(&[Item::Fixed(Fixed::TimezoneOffsetColon)])
            }
            Self::Items { items, .. } => put(items),
            Self::Fraction => write!(text, "{:03}", sample.local.nanosecond() / 1_000_000).ok(),
        }
    }
}

/// A pattern, cut behind each of its letters.
fn parts(pattern: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = pattern;
    while !rest.is_empty() {
        let end = match rest.strip_prefix('%') {
            None => rest.find('%').unwrap_or(rest.len()),
            Some(behind) => behind
                .char_indices()
                .find(|(_, c)| !matches!(c, '-' | '_' | '0' | '.' | ':' | '#' | '3' | '6' | '9'))
                .map_or(rest.len(), |(at, c)| 1 + at + c.len_utf8()),
        };
        let (written, behind) = rest.split_at(end);
        let items: Vec<Item<'static>> = StrftimeItems::new(written).map(Item::to_owned).collect();
        parts.push(match items[..] {
            [Item::Numeric(Numeric::Nanosecond, _)] => Part::Fraction,
            _ => Part::Items { written: written.to_owned(), items },
        });
        rest = behind;
    }
    parts
}

/// The digits behind the point as nanoseconds; what is less is cut off.
fn nanoseconds(fraction: &str) -> Option<i64> {
    if fraction.is_empty() {
        return None;
    }
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    Some(digits.fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
}

/// A time that a pattern is tried on.
#[derive(Debug, Clone, Copy)]
struct Sample {
    local: NaiveDateTime,
    offset: FixedOffset,
}

impl Sample {
    /// True where this is what was written, but for what a pattern may leave out: milliseconds, seconds,
    /// minutes, hours.
    fn is(&self, reading: Reading) -> bool {
        let (read, written) = match reading {
            Reading::Local(local) => {
                (local.and_utc().timestamp_millis(), self.local.and_utc().timestamp_millis())
            }
            Reading::Instant(millis) => {
                // Cut where the clock shows whole days.
                let ahead = i64::from(self.offset.local_minus_utc()) * 1000;
                (millis + ahead, self.local.and_utc().timestamp_millis())
            }
        };
        [1, 1000, 60_000, 3_600_000, 86_400_000]
            .iter()
            .any(|unit| read == written - written.rem_euclid(*unit))
    }
}

/// Times that differ in each part, and such as are written in an unusual way: midnight, noon, days of another
/// year's week.
fn samples() -> Vec<Sample> {
    let hours = |hours: i32| FixedOffset::east_opt(hours * 3600);
    let sample =
        |(year, month, day): (i32, u32, u32), (hour, minute, second, milli): (u32, u32, u32, u32), ahead| {
            let local =
                NaiveDate::from_ymd_opt(year, month, day)?.and_hms_milli_opt(hour, minute, second, milli)?;
            Some(Sample { local, offset: hours(ahead)? })
        };
    let samples = [
        sample((2026, 1, 31), (9, 30, 7, 123), 0),
        sample((2026, 1, 31), (9, 30, 7, 123), 1),
        sample((2026, 1, 31), (9, 30, 7, 123), -5),
        sample((2026, 1, 31), (9, 30, 7, 124), 0),
        sample((2026, 1, 31), (9, 30, 8, 123), 0),
        sample((2026, 1, 31), (9, 31, 7, 123), 0),
        sample((2026, 1, 31), (10, 30, 7, 123), 0),
        sample((2026, 1, 31), (21, 30, 7, 123), 0),
        sample((2026, 1, 30), (9, 30, 7, 123), 0),
        sample((2026, 3, 31), (9, 30, 7, 123), 0),
        sample((2027, 1, 31), (9, 30, 7, 123), 0),
        sample((1999, 1, 31), (9, 30, 7, 123), 0),
        sample((2026, 1, 11), (1, 1, 1, 1), 0),
        sample((2026, 11, 1), (1, 11, 0, 10), 0),
        sample((2024, 2, 29), (12, 0, 59, 999), 0),
        sample((2025, 12, 29), (0, 0, 0, 1), 0),
        sample((2027, 1, 1), (23, 59, 59, 100), 0),
        sample((2026, 12, 31), (23, 30, 0, 0), -5),
        sample((2000, 1, 1), (0, 0, 0, 0), 0),
        sample((2005, 2, 3), (4, 5, 6, 7), 0),
        sample((2027, 1, 1), (0, 30, 0, 0), 14),
    ];
    samples.into_iter().flatten().collect()
}
