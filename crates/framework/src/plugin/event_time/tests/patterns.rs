//! Patterns: what is taken reads every time that it can write; the rest is refused when it is bound.

use std::fmt::Write as _;

use chrono::format::DelayedFormat;
use chrono::{FixedOffset, NaiveDateTime, Timelike};

use super::*;

fn refused(format: &str) -> Option<String> {
    bind(json!({ "field": "t", "format": format })).err().map(|problem| {
        assert_eq!(problem.path, "format", "{format}");
        assert!(!problem.help.is_empty(), "no remedy for {format}");
        problem.message
    })
}

#[test]
fn a_fraction_has_as_many_digits_as_stand_there() {
    let of = |format: &str, text: &str| time(json!({ "field": "t", "format": format }), json!({ "t": text }));
    for (text, millis) in [
        ("00:00:00.1", 100),
        ("00:00:00.123", 123),
        ("00:00:00.123456", 123),
        ("00:00:00.000999999999999", 0),
    ] {
        assert_eq!(of("%Y-%m-%d %H:%M:%S.%f", &format!("1970-01-01 {text}")), Ok(millis), "{text}");
        assert_eq!(of("%Y-%m-%d %H:%M:%S%.f", &format!("1970-01-01 {text}")), Ok(millis), "{text}");
    }
    assert_eq!(of("%Y-%m-%d %H:%M:%S,%f", "1970-01-01 00:00:01,5"), Ok(1500));
    assert_eq!(of("%Y%m%d%H%M%S%f", "19700101000001007"), Ok(1007));
    assert_eq!(of("%Y-%m-%d %H:%M:%S.%f%z", "1970-01-01 01:00:00.25+0100"), Ok(250));
    assert_eq!(of("%s.%f", "3.25"), Ok(3250));
    assert!(of("%Y-%m-%d %H:%M:%S.%f", "1970-01-01 00:00:00.").is_err());
}

#[test]
fn what_gives_no_time_or_would_be_passed_over_is_refused() {
    let no_day = "this pattern gives no time: it does not say which day";
    let half = "this pattern gives no time: the hour may be of the morning or of the evening";
    let part = "this pattern gives no time: a part of the time of day is missing";
    let passed = |what: &str| format!("`{what}` would be passed over");
    for (format, said) in [
        ("%Y-%m-%d %H:%M:%S %Z", passed("%Z")),
        ("%Z %Y-%m-%d", passed("%Z")),
        ("%H:%M:%S", no_day.to_owned()),
        ("%Y-%m", no_day.to_owned()),
        ("%m-%d %H:%M", no_day.to_owned()),
        ("%Y week %V", no_day.to_owned()),
        ("%A", no_day.to_owned()),
        ("%Y-%m-%d %I:%M", half.to_owned()),
        ("%Y-%m-%d %I", half.to_owned()),
        ("%Y-%m-%d :%M", part.to_owned()),
        ("%Y-%m-%d %H %S", part.to_owned()),
        ("%Y-%m-%d %H:%M.%f", part.to_owned()),
        ("%Y-%m-%d %p", part.to_owned()),
        ("%-d%-m%Y", "this pattern gives no time: what it writes it does not read back".to_owned()),
        ("%Y%-m%-d", "this pattern gives no time: what it writes it does not read back".to_owned()),
        ("yyyy-MM-dd", "`yyyy-MM-dd` is not a format of times".to_owned()),
    ] {
        assert_eq!(refused(format), Some(said), "{format}");
    }
    for format in [
        "%Y-%m-%d",
        "%d/%m/%y",
        "%Y%m%d",
        "%Y%j",
        "%G-W%V-%u",
        "%Y %U %a",
        "%F %T",
        "%D %r",
        "%c",
        "%+",
        "%s",
        "%e %b %Y %l:%M %P",
        "%Y-%m-%dT%H:%M:%SZ",
        "%Y-%m-%d %H:%M:%S CET",
        "%a %b %d %Y %H:%M:%S GMT%z (%Z",
        "%Y-%m-%d %z",
        "%Y-%m-%d %H:%M:%S %#z",
        "%Y-%m-%d %H:%M:%S%:z",
        "%Y-%m-%dT%H:%M:%S%.3f",
        "%Y-%m-%d %H:%M:%S,%3f",
        "%Y-%m-%d 100%% %H",
    ] {
        assert_eq!(refused(format), None, "{format}");
    }
}

/// One of the pieces that patterns are made of.
fn piece() -> impl Strategy<Value = String> {
    let specs = prop::sample::select(
        "Y C y q m b B h d e a A w u U W G g V j D x F v H k I l P p M S f .f .3f .6f 3f 6f R T X r Z z :z ::z c + s t n % -d -m -H -y _d 0e"
            .split(' ')
            .map(|spec| format!("%{spec}"))
            .collect::<Vec<_>>(),
    );
    let between = prop::sample::select(vec!["", "", " ", "-", "/", ":", ".", "T", "Z", " at ", "日"]);
    (specs, between).prop_map(|(spec, between)| format!("{spec}{between}"))
}

/// Patterns that say a time, with what is left out of it: from the milliseconds (1) up to the hours.
fn complete() -> impl Strategy<Value = (String, i64)> {
    let day = prop::sample::select(vec![
        "%Y-%m-%d",
        "%F",
        "%d.%m.%Y",
        "%m/%d/%y",
        "%e %B %Y",
        "%Y%m%d",
        "%Y-%j",
        "%G-W%V-%u",
        "%A, %d %b %Y",
        "%D",
        "%Y/%-m/%-d",
    ]);
    let of_day = prop::sample::select(vec![
        ("", 86_400_000),
        (" %H", 3_600_000),
        ("T%H:%M", 60_000),
        (" %H:%M:%S", 1000),
        (" %T", 1000),
        (" %I:%M %p", 60_000),
        (" %r", 1000),
        ("T%H:%M:%S.%f", 1),
        (" %H:%M:%S,%3f", 1),
        (" %H:%M:%S%.f", 1),
        (" %-H:%-M:%-S", 1000),
        (" %k:%M", 60_000),
    ]);
    let offset = prop::sample::select(vec!["", " %z", "%:z", " %z (%Z", " UTC", " 日"]);
    (day, of_day, offset).prop_map(|(day, (of_day, unit), offset)| (format!("{day}{of_day}{offset}"), unit))
}

/// A time, written by chrono but for `%f`, which we have our own meaning of.
fn write(pattern: &str, local: NaiveDateTime, offset: FixedOffset) -> String {
    let pattern = pattern.replace("%f", &format!("{:03}", local.nanosecond() / 1_000_000));
    let items = chrono::format::StrftimeItems::new(&pattern);
    let mut text = String::new();
    let (date, time) = (Some(local.date()), Some(local.time()));
    write!(text, "{}", DelayedFormat::new_with_offset(date, time, &offset, items)).unwrap();
    text
}

/// From 1970 until 2068, so that two digits say which year.
fn at() -> impl Strategy<Value = (NaiveDateTime, FixedOffset)> {
    (0i64..3_120_000_000_000, -12i32..=14).prop_map(|(millis, hours)| {
        let local = chrono::DateTime::from_timestamp_millis(millis).unwrap().naive_utc();
        (local, FixedOffset::east_opt(hours * 3600).unwrap())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Whatever is taken reads what it writes, cut to some unit.
    #[test]
    fn any_pattern_is_right_or_refused(pieces in prop::collection::vec(piece(), 1..7), (local, offset) in at()) {
        let pattern: String = pieces.concat();
        if refused(&pattern).is_none() {
            let text = write(&pattern, local, offset);
            let read = time(json!({ "field": "t", "format": pattern }), json!({ "t": text }));
            let read = read.map_err(|e| TestCaseError::fail(format!("{pattern}: {e}")))?;
            let local = local.and_utc().timestamp_millis();
            let ahead = i64::from(offset.local_minus_utc()) * 1000;
            let cut = |time: i64| [1, 1000, 60_000, 3_600_000, 86_400_000].iter().any(|unit| read + time == local - local.rem_euclid(*unit));
            prop_assert!(cut(0) || cut(ahead), "{pattern}: {text} gives {read}");
        }
    }

    /// Whatever says a time is taken, and exact.
    #[test]
    fn complete_patterns_are_taken((pattern, unit) in complete(), (local, offset) in at()) {
        let text = write(&pattern, local, offset);
        let read = time(json!({ "field": "t", "format": pattern }), json!({ "t": text }));
        let local = local.and_utc().timestamp_millis();
        let ahead = if pattern.contains('z') { i64::from(offset.local_minus_utc()) * 1000 } else { 0 };
        prop_assert_eq!(read, Ok(local - local.rem_euclid(unit) - ahead), "{}: {}", pattern, text);
    }

    /// The same with a name of a zone that decides nothing, without the year, or without the half of the day.
    #[test]
    fn what_a_pattern_lacks_is_told((pattern, _) in complete()) {
        if !pattern.contains('z') {
            prop_assert_eq!(refused(&format!("{pattern} %Z")), Some("`%Z` would be passed over".to_owned()));
        }
        for part in ["%Y", "%G", " %p"] {
            if pattern.contains(part) {
                prop_assert!(refused(&pattern.replace(part, "")).is_some(), "{} without {}", pattern, part);
            }
        }
    }

    /// No text makes a pattern panic.
    #[test]
    fn any_text_is_a_pattern_or_none(pattern in "\\PC{0,12}|(%[-_0.:#369]{0,2}\\PC){1,5}", text in "\\PC{0,20}") {
        if bind(json!({ "field": "t", "format": pattern })).is_ok() {
            let _ = time(json!({ "field": "t", "format": pattern }), json!({ "t": text }));
        }
    }
}
