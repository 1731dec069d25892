//! The time of a row from its fields: `time:` beside a source's `with:`.
//!
//! All is UTC unless the text or `utc_offset` says otherwise; there is no summer time in it. A leap second, `23:59:60`, is the second after it, as in
//! POSIX. Fractions below a millisecond are cut off.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMillisecondType};
use arrow_array::{Array, ArrayRef};
use arrow_buffer::ScalarBuffer;
use arrow_schema::{DataType, TimeUnit};
use chrono::format::{Item, Parsed, StrftimeItems, parse};
use chrono::{DateTime, FixedOffset, NaiveTime};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Input, Rejects, type_name};
use crate::batch::Batch;
use crate::clock::Millis;
use crate::config::Problem;

/// Times beyond this many milliseconds from 1970 are no dates (275,000 years).
const FARTHEST: Millis = 8_640_000_000_000_000;

/// Where the time of a row stands in its fields.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventTime {
    /// The field that has the time.
    pub field: Option<String>,
    /// In place of `field`, where the time stands in several: a text with fields in braces, such as `"2015-{month}-{day}"`.
    pub text: Option<String>,
    /// How it is written: `rfc3339` (such as `2026-01-31T09:30:00Z`), `epoch_ms`, `epoch_s`, or a pattern such as `"%Y-%m-%d %H:%M:%S"`. Default: `rfc3339`
    /// for text, `epoch_ms` for integers. A pattern without a time of day means midnight.
    pub format: Option<String>,
    /// How far the clock that wrote it is ahead of UTC, such as `+08:00`, where the text does not say so. Default: `+00:00`.
    pub utc_offset: Option<String>,
}

/// What the text of a time is made of.
enum From {
    Column(usize),
    /// Texts, each with the column behind it; then the rest.
    Template(Vec<(String, usize)>, String),
}

enum Format {
    Rfc3339,
    /// So many milliseconds make one.
    Epoch {
        millis: i64,
    },
    Pattern(Vec<Item<'static>>),
}

/// Gives rows the time that their fields say. Made by [`EventTime::bind`].
pub struct Stamper {
    from: From,
    format: Format,
    offset: FixedOffset,
    /// What was asked for, for messages.
    name: String,
}

impl EventTime {
    /// Finds the columns; gives their names as well.
    ///
    /// # Errors
    /// A [`Problem`] with the path inside `time:`.
    pub fn bind(self, input: &Input) -> Result<(Stamper, Vec<String>), Problem> {
        let offset = match &self.utc_offset {
            None => FixedOffset::east_opt(0),
            Some(text) => text.parse().ok(),
        };
        let offset = offset.ok_or_else(|| {
            Problem::new("utc_offset", "this is not an offset from UTC").help("such as `+08:00`, or `-05:30`")
        })?;
        let (from, reads, name) = match (self.field, self.text) {
            (Some(field), None) => {
                (From::Column(input.column("field", &field)?), vec![field.clone()], format!("`{field}`"))
            }
            (None, Some(text)) => {
                let (from, reads) = template(&text, input)?;
                (from, reads, format!("`{text}`"))
            }
            (None, None) => {
                return Err(Problem::new("", "`time` needs `field` or `text`")
                    .help("name the field that has the time, such as `time: { field: created_at }`"));
            }
            (Some(_), Some(_)) => {
                return Err(Problem::new("text", "`field` and `text` cannot stand together")
                    .help("put the field into the text, in braces"));
            }
        };
        let data_type = match &from {
            From::Column(column) => input.schema.field(*column).data_type().clone(),
            From::Template(..) => DataType::Utf8,
        };
        let format = format(self.format.as_deref(), &data_type, &name)?;
        Ok((Stamper { from, format, offset, name }, reads))
    }
}

fn template(text: &str, input: &Input) -> Result<(From, Vec<String>), Problem> {
    let (mut parts, mut reads, mut rest) = (Vec::new(), Vec::new(), text);
    while let Some((before, behind)) = rest.split_once('{') {
        let (name, behind) = behind
            .split_once('}')
            .ok_or_else(|| Problem::new("text", "a brace is open").help("write a field as `{month}`"))?;
        parts.push((before.to_owned(), input.text_column("text", name)?));
        reads.push(name.to_owned());
        rest = behind;
    }
    if reads.is_empty() {
        return Err(Problem::new("text", "there is no field in it").help("write a field as `{month}`"));
    }
    Ok((From::Template(parts, rest.to_owned()), reads))
}

fn format(written: Option<&str>, data_type: &DataType, name: &str) -> Result<Format, Problem> {
    let number = matches!(data_type, DataType::Int64 | DataType::Float64);
    let format = match (written, data_type) {
        (_, DataType::Timestamp(TimeUnit::Millisecond, _)) | (None | Some("epoch_ms"), _)
            if *data_type != DataType::Utf8 =>
        {
            Format::Epoch { millis: 1 }
        }
        (Some("epoch_ms"), _) => Format::Epoch { millis: 1 },
        (Some("epoch_s"), _) => Format::Epoch { millis: 1000 },
        (None | Some("rfc3339"), DataType::Utf8) => Format::Rfc3339,
        (Some(pattern), DataType::Utf8) => {
            let items: Vec<Item<'static>> = StrftimeItems::new(pattern).map(Item::to_owned).collect();
            let fields = items.iter().any(|item| matches!(item, Item::Numeric(..) | Item::Fixed(_)));
            if items.contains(&Item::Error) || !fields {
                return Err(Problem::new("format", format!("`{pattern}` is not a format of times"))
                    .help("`rfc3339`, `epoch_ms`, `epoch_s`, or a pattern such as `\"%Y-%m-%d %H:%M:%S\"`"));
            }
            Format::Pattern(items)
        }
        (Some(_), _) if number => {
            return Err(Problem::new("format", format!("{name} is a number"))
                .help("`epoch_ms` for milliseconds since 1970, `epoch_s` for seconds"));
        }
        _ => Format::Epoch { millis: 1 },
    };
    if number || matches!(data_type, DataType::Utf8 | DataType::Timestamp(TimeUnit::Millisecond, _)) {
        Ok(format)
    } else {
        Err(Problem::new("field", format!("{name} cannot be a time"))
            .label(format!("it is {}", type_name(data_type))))
    }
}

impl Stamper {
    /// The rows with their times. Those without one are left out, and rejected.
    ///
    /// # Errors
    /// Never for what stands in a row; only where the columns are not those that were planned.
    pub fn stamp(&self, batch: &Batch, rejects: &mut Rejects) -> crate::error::Result<Batch> {
        let broken = |e| crate::error::Error::fatal("rows could not be given their times").caused_by(e);
        if let Some(times) = self.as_they_are(batch) {
            return batch.clone().with_times(times.into()).map_err(broken);
        }
        let (mut times, mut rows) = (Vec::with_capacity(batch.rows()), Vec::new());
        let mut text = String::new();
        for row in 0..batch.rows() {
            match self.time(batch, row, &mut text) {
                Ok(time) => {
                    times.push(time);
                    rows.push(row as u32);
                }
                Err(reason) => rejects.push(row, reason),
            }
        }
        if rows.len() == batch.rows() {
            return batch.clone().with_times(times.into()).map_err(broken);
        }
        let kept = batch.take(&rows.into()).map_err(broken)?;
        kept.with_times(times.into()).map_err(broken)
    }

    /// The values of a column that holds nothing but milliseconds: no row is looked at but for the range.
    fn as_they_are(&self, batch: &Batch) -> Option<ScalarBuffer<Millis>> {
        let (From::Column(column), Format::Epoch { millis: 1 }) = (&self.from, &self.format) else {
            return None;
        };
        let column = batch.column(*column);
        let times = millis(column)?;
        let fit = column.null_count() == 0 && times.iter().all(|t| (-FARTHEST..=FARTHEST).contains(t));
        fit.then(|| times.clone())
    }

    fn time(&self, batch: &Batch, row: usize, text: &mut String) -> Result<Millis, String> {
        match &self.from {
            From::Template(parts, rest) => {
                text.clear();
                for (before, column) in parts {
                    text.push_str(before);
                    let column = batch.column(*column).as_string::<i32>();
                    if column.is_null(row) {
                        return Err(format!("it has no time: a field of {} is null", self.name));
                    }
                    text.push_str(column.value(row));
                }
                text.push_str(rest);
                self.read(text)
            }
            From::Column(column) => {
                let column = batch.column(*column);
                if column.is_null(row) {
                    return Err(format!("it has no time: {} is null", self.name));
                }
                if let Some(texts) = column.as_string_opt::<i32>() {
                    return self.read(texts.value(row));
                }
                let scale = if let Format::Epoch { millis } = self.format { millis } else { 1 };
                let number = match (millis(column), column.as_primitive_opt::<Float64Type>()) {
                    (Some(integers), _) => {
                        let number = integers.get(row).copied().unwrap_or_default();
                        return epoch(number, scale).ok_or_else(|| self.wrong(&number.to_string()));
                    }
                    (None, Some(numbers)) => numbers.value(row),
                    (None, None) => f64::NAN,
                };
                self.of_number(number, scale).ok_or_else(|| self.wrong(&number.to_string()))
            }
        }
    }

    /// A number is the decimal that it is nearest to: 4.004 s are 4004 ms, though the binary number is less.
    fn of_number(&self, number: f64, scale: i64) -> Option<Millis> {
        let scale = scale as f64;
        let (nearest, below) = ((number * scale).round(), (number * scale).floor());
        let millis = if (nearest / scale).to_bits() == number.to_bits() { nearest } else { below };
        (millis.abs() <= FARTHEST as f64).then_some(millis as Millis)
    }

    /// A decimal as it is written; with an exponent it is read as a number.
    fn of_text(&self, text: &str, scale: i64) -> Option<Millis> {
        let shift = if scale == 1000 { 3 } else { 0 };
        decimal(text, shift).or_else(|| text.parse().ok().and_then(|number| self.of_number(number, scale)))
    }

    fn read(&self, text: &str) -> Result<Millis, String> {
        let time = match &self.format {
            Format::Rfc3339 => DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_millis()),
            Format::Epoch { millis } => match text.parse() {
                Ok(number) => epoch(number, *millis),
                Err(_) => self.of_text(text, *millis),
            },
            Format::Pattern(items) => self.by_pattern(items, text),
        };
        time.filter(|t| (-FARTHEST..=FARTHEST).contains(t)).ok_or_else(|| self.wrong(text))
    }

    fn by_pattern(&self, items: &[Item<'static>], text: &str) -> Option<Millis> {
        let mut parsed = Parsed::new();
        parse(&mut parsed, text, items.iter()).ok()?;
        if let Ok(time) = parsed.to_datetime() {
            return Some(time.timestamp_millis());
        }
        let time = match parsed.to_naive_datetime_with_offset(0) {
            Ok(time) => time,
            Err(_) if parsed.hour_mod_12().is_none() && parsed.timestamp().is_none() => {
                parsed.to_naive_date().ok()?.and_time(NaiveTime::MIN)
            }
            Err(_) => return None,
        };
        Some(time.and_utc().timestamp_millis() - i64::from(self.offset.local_minus_utc()) * 1000)
    }

    fn wrong(&self, text: &str) -> String {
        let shown: String = text.chars().take(80).collect();
        format!("{} is not a time: {shown:?}", self.name)
    }
}

/// The values of a column of integers or of times.
fn millis(column: &ArrayRef) -> Option<&ScalarBuffer<Millis>> {
    match column.as_primitive_opt::<Int64Type>() {
        Some(integers) => Some(integers.values()),
        None => {
            column.as_primitive_opt::<TimestampMillisecondType>().map(arrow_array::PrimitiveArray::values)
        }
    }
}

/// A decimal times ten to the power of `shift`; what is left behind the point is cut off towards the past. `None` where it is none, or too far off.
fn decimal(text: &str, shift: usize) -> Option<Millis> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let are_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !are_digits(whole) || !are_digits(fraction) {
        return None;
    }
    let mut millis: Millis = 0;
    let mut behind = fraction.bytes();
    let mut moved = 0;
    let mut next = || {
        moved += 1;
        (moved <= shift).then(|| behind.next().unwrap_or(b'0'))
    };
    for digit in whole.bytes().chain(std::iter::from_fn(&mut next)) {
        millis = millis.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
    }
    let cut = behind.any(|digit| digit != b'0');
    let millis = if negative { -millis - i64::from(cut) } else { millis };
    (-FARTHEST..=FARTHEST).contains(&millis).then_some(millis)
}

fn epoch(number: i64, scale: i64) -> Option<Millis> {
    number.checked_mul(scale).filter(|t| (-FARTHEST..=FARTHEST).contains(t))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_schema::{Field, Schema};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::batch::{Origin, Partition};
    use crate::plugin::rows_from_json;

    fn input() -> Input {
        let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
        let fields = [
            ("t", DataType::Utf8),
            ("d", DataType::Utf8),
            ("i", DataType::Int64),
            ("n", DataType::Float64),
            ("b", DataType::Boolean),
            ("at", time),
        ];
        let fields: Vec<Field> = fields.into_iter().map(|(name, t)| Field::new(name, t, true)).collect();
        Input { schema: Arc::new(Schema::new(fields)), given_by: "the test".into() }
    }

    fn bind(time: Value) -> Result<(Stamper, Vec<String>), Problem> {
        serde_json::from_value::<EventTime>(time).unwrap().bind(&input())
    }

    /// The time of a row with these fields, or why it has none.
    fn time(time: Value, row: Value) -> Result<Millis, String> {
        let columns = rows_from_json(&input().schema, &[row]).unwrap();
        let origin = Origin { partition: Partition::new("t", 0), offsets: vec![0].into(), replay: false };
        let batch = Batch::new(columns, vec![-1].into(), origin).unwrap();
        let (stamper, _) = bind(time).unwrap_or_else(|p| panic!("{p:?}"));
        let mut rejects = Rejects::default();
        let stamped = stamper.stamp(&batch, &mut rejects).unwrap();
        match stamped.times().first() {
            Some(time) => Ok(*time),
            None => Err(rejects.rows()[0].reason.clone()),
        }
    }

    #[test]
    fn texts_in_every_format() {
        let rfc = |text: &str| time(json!({ "field": "t" }), json!({ "t": text }));
        assert_eq!(rfc("1970-01-01T00:00:01Z"), Ok(1000));
        assert_eq!(rfc("1970-01-01T08:00:01.0019+08:00"), Ok(1001));
        assert_eq!(rfc("1969-12-31T23:59:59.9999Z"), Ok(-1));
        assert_eq!(rfc("9999-12-31T23:59:59Z"), Ok(253_402_300_799_000));
        assert_eq!(rfc("2016-12-31T23:59:60Z"), rfc("2017-01-01T00:00:00Z"), "a leap second");
        assert_eq!(rfc("2015-11-11").unwrap_err(), "`t` is not a time: \"2015-11-11\"");
        let of =
            |format: &str, text: &str| time(json!({ "field": "t", "format": format }), json!({ "t": text }));
        assert_eq!(of("%Y-%m-%d %H:%M:%S", "1970-01-02 00:00:00"), Ok(86_400_000));
        assert_eq!(of("%Y-%m-%d", "1970-01-02"), Ok(86_400_000));
        assert_eq!(of("%d/%b/%Y:%H:%M:%S %z", "02/Jan/1970:08:00:00 +0800"), Ok(86_400_000));
        assert_eq!(
            of("%Y-%m-%d %H:%M", "1970-13-01 00:00").unwrap_err(),
            "`t` is not a time: \"1970-13-01 00:00\""
        );
        assert_eq!(of("%Y-%m-%d %H", "1970-01-01 07").unwrap_err(), "`t` is not a time: \"1970-01-01 07\"");
        assert_eq!(of("epoch_ms", "-5"), Ok(-5));
        assert_eq!(of("epoch_s", "1.5"), Ok(1500));
        assert_eq!(of("epoch_s", "4.004"), Ok(4004));
        assert_eq!(of("epoch_s", "-0.0005"), Ok(-1));
        assert_eq!(of("epoch_s", "1.5e3"), Ok(1_500_000));
        assert_eq!(of("epoch_ms", "7.9"), Ok(7));
        assert_eq!(of("epoch_s", "9e99").unwrap_err(), "`t` is not a time: \"9e99\"");
        assert_eq!(of("epoch_s", "NaN").unwrap_err(), "`t` is not a time: \"NaN\"");
    }

    #[test]
    fn numbers_times_several_fields_and_offsets() {
        assert_eq!(time(json!({ "field": "i" }), json!({ "i": 7 })), Ok(7));
        assert_eq!(time(json!({ "field": "i", "format": "epoch_s" }), json!({ "i": -7 })), Ok(-7000));
        assert!(time(json!({ "field": "i", "format": "epoch_s" }), json!({ "i": i64::MAX })).is_err());
        assert!(time(json!({ "field": "i" }), json!({ "i": i64::MAX })).is_err());
        assert_eq!(time(json!({ "field": "n", "format": "epoch_s" }), json!({ "n": 0.25 })), Ok(250));
        assert_eq!(time(json!({ "field": "at" }), json!({ "at": 42 })), Ok(42));
        let parts = json!({ "text": "2015-{t}-{d}", "format": "%Y-%m-%d", "utc_offset": "+08:00" });
        assert_eq!(time(parts.clone(), json!({ "t": "11", "d": "1" })), Ok(1_446_307_200_000));
        assert_eq!(
            time(parts, json!({ "t": "11" })).unwrap_err(),
            "it has no time: a field of `2015-{t}-{d}` is null"
        );
        assert_eq!(time(json!({ "field": "i" }), json!({})).unwrap_err(), "it has no time: `i` is null");
        assert_eq!(bind(json!({ "text": "{t}{d}" })).unwrap().1, ["t", "d"]);
    }

    proptest! {
        /// Every millisecond, written as seconds with a fraction, as text and as a number.
        #[test]
        fn seconds_with_a_fraction_are_exact(millis in -9_000_000_000_000i64..9_000_000_000_000, more in "[0-9]{0,4}") {
            let sign = if millis < 0 { "-" } else { "" };
            let text = format!("{sign}{}.{:03}", millis.abs() / 1000, millis.abs() % 1000);
            let of = json!({ "field": "t", "format": "epoch_s" });
            prop_assert_eq!(time(of.clone(), json!({ "t": text })), Ok(millis));
            let number: f64 = text.parse().unwrap();
            prop_assert_eq!(time(json!({ "field": "n", "format": "epoch_s" }), json!({ "n": number })), Ok(millis));
            let past = i64::from(millis < 0 && more.bytes().any(|digit| digit != b'0'));
            prop_assert_eq!(time(of, json!({ "t": format!("{text}{more}") })), Ok(millis - past));
        }
    }

    #[test]
    fn what_cannot_be_is_a_problem_at_its_place() {
        let problem = |time: Value| {
            let problem = bind(time).err().unwrap();
            (problem.path, problem.message)
        };
        let at = |path: &str, message: &str| (path.to_owned(), message.to_owned());
        assert_eq!(problem(json!({ "field": "x" })), at("field", "unknown field `x`"));
        assert_eq!(problem(json!({ "field": "b" })), at("field", "`b` cannot be a time"));
        assert_eq!(problem(json!({ "field": "i", "format": "rfc3339" })), at("format", "`i` is a number"));
        assert_eq!(
            problem(json!({ "field": "t", "format": "iso" })),
            at("format", "`iso` is not a format of times")
        );
        assert_eq!(
            problem(json!({ "field": "t", "format": "%Q" })),
            at("format", "`%Q` is not a format of times")
        );
        assert_eq!(problem(json!({ "text": "{t" })), at("text", "a brace is open"));
        assert_eq!(problem(json!({ "text": "{i}" })), at("text", "field `i` is not text"));
        assert_eq!(problem(json!({ "text": "t" })), at("text", "there is no field in it"));
        assert_eq!(
            problem(json!({ "field": "t", "utc_offset": "CST" })),
            at("utc_offset", "this is not an offset from UTC")
        );
        assert_eq!(problem(json!({})), at("", "`time` needs `field` or `text`"));
    }
}
