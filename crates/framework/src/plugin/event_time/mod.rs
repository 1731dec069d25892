//! The time of a row from its fields: `time:` beside a source's `with:`.
//!
//! All is UTC unless the text, `utc_offset` or `zone` says otherwise. A leap second, `23:59:60`, is the
//! second after it, as in POSIX. Fractions below a millisecond are cut off.

mod epoch;
mod pattern;
#[cfg(test)]
mod tests;
mod zone;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMillisecondType};
use arrow_array::{Array, ArrayRef};
use arrow_buffer::ScalarBuffer;
use arrow_schema::{DataType, TimeUnit};
use chrono::DateTime;
use schemars::JsonSchema;
use serde::Deserialize;

use self::epoch::{Epoch, FARTHEST, in_range};
use self::pattern::{Pattern, Reading};
use self::zone::{Ambiguous, Zone};
use super::{Input, Rejects, type_name};
use crate::batch::Batch;
use crate::clock::Millis;
use crate::config::Problem;

/// Where the time of a row stands in its fields.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventTime {
    /// The field that has the time.
    pub field: Option<String>,
    /// In place of `field`, where the time stands in several: a text with fields in braces, such as
    /// `"2015-{month}-{day}"`.
    pub text: Option<String>,
    /// How it is written: `rfc3339` (such as `2026-01-31T09:30:00Z`), `epoch_s`, `epoch_ms`, `epoch_us`,
    /// `epoch_ns`, or a pattern such as `"%Y-%m-%d %H:%M:%S"`. Default: `rfc3339` for text, `epoch_ms` for
    /// integers. A pattern without a time of day means midnight.
    pub format: Option<String>,
    /// How far the clock that wrote it is ahead of UTC, such as `+08:00`, where the text does not say so.
    /// Default: `+00:00`.
    pub utc_offset: Option<String>,
    /// In place of `utc_offset`, the zone of the clock, with its summer time: such as `Asia/Shanghai`.
    pub zone: Option<String>,
    /// What becomes of a time that the clocks of `zone` showed twice, or not at all: `earlier`, `later`, or
    /// `reject` (default), which leaves the row without a time.
    ambiguous: Option<Ambiguous>,
}

/// What the text of a time is made of.
enum From {
    Column(usize),
    /// Texts, each with the column behind it; then the rest.
    Template(Vec<(String, usize)>, String),
}

enum Format {
    Rfc3339,
    Epoch(Epoch),
    Pattern(Pattern),
}

/// Gives rows the time that their fields say. Made by [`EventTime::bind`].
pub struct Stamper {
    from: From,
    format: Format,
    zone: Zone,
    /// What was asked for, for messages.
    name: String,
}

impl EventTime {
    /// Finds the columns; gives their names as well.
    ///
    /// # Errors
    /// A [`Problem`] with the path inside `time:`.
    pub fn bind(self, input: &Input) -> Result<(Stamper, Vec<String>), Problem> {
        let zone = Zone::of(self.utc_offset.as_deref(), self.zone.as_deref(), self.ambiguous)?;
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
        let local = matches!(&format, Format::Pattern(pattern) if pattern.is_local());
        for (key, written) in [("zone", &self.zone), ("utc_offset", &self.utc_offset)] {
            if written.is_some() && !local {
                return Err(Problem::new(key, format!("`{key}` has no effect here"))
                    .label("what is read says itself which instant it is")
                    .help("take it away"));
            }
        }
        Ok((Stamper { from, format, zone, name }, reads))
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
    match data_type {
        DataType::Utf8 => match written {
            None | Some("rfc3339") => Ok(Format::Rfc3339),
            Some(written) => match Epoch::of(written) {
                Some(epoch) => Ok(Format::Epoch(epoch)),
                None => Pattern::new(written).map(Format::Pattern),
            },
        },
        DataType::Int64 | DataType::Float64 => {
            Epoch::of(written.unwrap_or("epoch_ms")).map(Format::Epoch).ok_or_else(|| {
                Problem::new("format", format!("{name} is a number")).help(
                    "`epoch_ms` for milliseconds since 1970, `epoch_s` for seconds, `epoch_us`, `epoch_ns`",
                )
            })
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => match written {
            None => Ok(Format::Epoch(Epoch::Millis)),
            Some(_) => Err(Problem::new("format", format!("{name} is a time already"))
                .label("how it is written has been read by the source")
                .help("take `format` away")),
        },
        _ => Err(Problem::new("field", format!("{name} cannot be a time"))
            .label(format!("it is {}", type_name(data_type)))),
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
        let (From::Column(column), Format::Epoch(Epoch::Millis)) = (&self.from, &self.format) else {
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
                let Format::Epoch(epoch) = self.format else { return Err(self.wrong("a number")) };
                if let Some(integers) = millis(column) {
                    let number = integers.get(row).copied().unwrap_or_default();
                    return epoch.of_integer(number).ok_or_else(|| self.wrong(&number.to_string()));
                }
                let number = column.as_primitive_opt::<Float64Type>().map_or(f64::NAN, |n| n.value(row));
                epoch.of_number(number).ok_or_else(|| self.wrong(&number.to_string()))
            }
        }
    }

    fn read(&self, text: &str) -> Result<Millis, String> {
        let time = match &self.format {
            Format::Rfc3339 => DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_millis()),
            Format::Epoch(epoch) => epoch.of_text(text),
            Format::Pattern(pattern) => match pattern.read(text) {
                Some(Reading::Instant(millis)) => Some(millis),
                Some(Reading::Local(local)) => {
                    Some(self.zone.instant(local).map_err(|why| format!("{}: {why}", self.wrong(text)))?)
                }
                None => None,
            },
        };
        time.and_then(in_range).ok_or_else(|| self.wrong(text))
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
