//! JSON to columns: one pass over each record, a visitor over the fields' names, and nothing allocated per
//! record.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow_schema::SchemaRef;
use chrono::DateTime;
use pipectl_framework::log::Records;
use pipectl_framework::plugin::{Decoded, Decoder, Error, Rejects, Result, RowMap};
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Unexpected, Visitor};
use serde::{Deserialize as _, Deserializer as _};

use serde_json::value::RawValue;

use super::fields::FieldType;
use super::nested::Look;
use super::path::Path;
use crate::columns::TextColumn;
use crate::format::excerpt;

/// The value of a field in the record that is being read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Slot {
    /// The record has not said anything of it yet.
    Missing,
    Null,
    /// Bytes of [`Slots::text`].
    Text(usize, usize),
    Integer(i64),
    Number(f64),
    Boolean(bool),
}

/// What one record says; used again for the next.
#[derive(Debug)]
struct Slots {
    values: Vec<Slot>,
    text: Vec<u8>,
}

/// Reads records into columns.
pub(super) struct JsonDecoder {
    schema: SchemaRef,
    fields: Vec<(String, FieldType)>,
    slots: Slots,
    /// The fields with a dotted name that no record has had so far.
    dotted: Vec<Dotted>,
}

/// A field `a.b`, which some write for `b` inside `a`.
struct Dotted {
    field: usize,
    meant: Path,
    look: Look,
    /// In how many records it has been looked for.
    records: usize,
}

/// In so many records a dotted name is looked for.
const MOST_LOOKS: usize = 10_000;

impl JsonDecoder {
    pub(super) fn new(schema: SchemaRef, fields: Vec<(String, FieldType)>) -> Self {
        let slots = Slots { values: vec![Slot::Missing; fields.len()], text: Vec::new() };
        let dotted = fields.iter().enumerate().filter_map(|(field, (name, _))| {
            let meant = Path::meant_by(name)?;
            Some(Dotted { field, look: Look::new(&meant), meant, records: 0 })
        });
        let dotted = dotted.collect();
        Self { schema, fields, slots, dotted }
    }

    /// Reads one record into the slots.
    fn read(&mut self, record: &[u8]) -> serde_json::Result<()> {
        self.slots.values.fill(Slot::Missing);
        self.slots.text.clear();
        let mut json = serde_json::Deserializer::from_slice(record);
        json.deserialize_map(ReadObject { fields: &self.fields, slots: &mut self.slots })?;
        json.end()
    }

    /// How many dotted names are looked for.
    #[cfg(test)]
    pub(super) fn looks_for(&self) -> usize {
        self.dotted.len()
    }

    /// Says once of a dotted name that records have no such field, and a value where the name looks as if it
    /// led.
    fn look_for_dotted(&mut self, record: &[u8]) {
        let Self { dotted, fields, slots, .. } = self;
        dotted.retain_mut(|Dotted { field, meant, look, records }| {
            *records += 1;
            if !matches!(slots.values.get(*field), Some(Slot::Missing)) || *records > MOST_LOOKS {
                return false;
            }
            let found = look.finds(record);
            if let (true, Some((name, _))) = (found, fields.get(*field)) {
                tracing::warn!(
                    "json: no field is called `{name}`, so it is null; there is a value at `{meant}`: to read that, write \
                     `{name}: {{ type: ..., path: \"{meant}\" }}`"
                );
            }
            !found
        });
    }
}

impl Decoder for JsonDecoder {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn record_names(&self) -> Vec<(String, String)> {
        let names = self.schema.fields().iter().map(|field| field.name().clone());
        names.map(|name| (name.clone(), name)).collect()
    }

    fn decode(&mut self, records: &Records, rejects: &mut Rejects) -> Result<Decoded> {
        let mut columns: Vec<Column> =
            self.fields.iter().map(|(_, t)| Column::new(*t, records.len())).collect();
        let mut rows = Vec::with_capacity(records.len());
        for (number, record) in records.values.iter().enumerate() {
            let Some(record) = record else {
                rejects.push(number, "the record has no value");
                continue;
            };
            match self.read(record) {
                Ok(()) => {
                    if !self.dotted.is_empty() {
                        self.look_for_dotted(record);
                    }
                    for (column, slot) in columns.iter_mut().zip(&self.slots.values) {
                        column.push(*slot, &self.slots.text);
                    }
                    rows.push(number as u32);
                }
                Err(e) => rejects.push(number, format!("{}: {}", at_column(&e), excerpt(record))),
            }
        }
        let rows = if rows.len() == records.len() { RowMap::Same } else { RowMap::Rows(rows) };
        let columns = columns.into_iter().map(Column::finish).collect::<std::result::Result<_, _>>();
        let columns = columns
            .and_then(|columns| RecordBatch::try_new(self.schema.clone(), columns))
            .map_err(|e| Error::fatal("JSON fields do not fit their columns").caused_by(e))?;
        Ok(Decoded { columns, rows })
    }
}

/// What is wrong with a record. Nearly all have one line, which needs no number.
pub(in crate::format) fn at_column(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line 1 column ") {
        Some((what, _)) if error.line() == 1 => format!("{what} at column {}", error.column().max(1)),
        _ => text,
    }
}

/// A column while it is being built.
pub(super) struct Column {
    cells: Cells,
    valid: Vec<bool>,
}

enum Cells {
    Text(TextColumn),
    Integer(Vec<i64>),
    Number(Vec<f64>),
    Boolean(Vec<bool>),
    Time(Vec<i64>),
}

impl Column {
    pub(super) fn new(field_type: FieldType, rows: usize) -> Self {
        let cells = match field_type {
            FieldType::Text => Cells::Text(TextColumn::with_capacity(rows, rows * 8)),
            FieldType::Integer => Cells::Integer(Vec::with_capacity(rows)),
            FieldType::Number => Cells::Number(Vec::with_capacity(rows)),
            FieldType::Boolean => Cells::Boolean(Vec::with_capacity(rows)),
            FieldType::Time => Cells::Time(Vec::with_capacity(rows)),
        };
        Self { cells, valid: Vec::with_capacity(rows) }
    }

    pub(super) fn push(&mut self, slot: Slot, text: &[u8]) {
        self.valid.push(!matches!(slot, Slot::Missing | Slot::Null));
        match &mut self.cells {
            Cells::Text(column) => column.push(match slot {
                Slot::Text(from, to) => text.get(from..to).unwrap_or_default(),
                _ => b"",
            }),
            Cells::Integer(column) | Cells::Time(column) => column.push(match slot {
                Slot::Integer(value) => value,
                _ => 0,
            }),
            Cells::Number(column) => column.push(match slot {
                Slot::Number(value) => value,
                _ => 0.0,
            }),
            Cells::Boolean(column) => column.push(matches!(slot, Slot::Boolean(true))),
        }
    }

    /// Takes away the cells behind the first `rows`.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.valid.truncate(rows);
        match &mut self.cells {
            Cells::Text(column) => column.truncate(rows),
            Cells::Integer(column) | Cells::Time(column) => column.truncate(rows),
            Cells::Number(column) => column.truncate(rows),
            Cells::Boolean(column) => column.truncate(rows),
        }
    }

    pub(super) fn finish(self) -> std::result::Result<ArrayRef, arrow_schema::ArrowError> {
        let nulls = self.valid.contains(&false).then(|| self.valid.into());
        Ok(match self.cells {
            Cells::Text(column) => Arc::new(column.finish(nulls)?),
            Cells::Integer(values) => Arc::new(Int64Array::try_new(values.into(), nulls)?),
            Cells::Number(values) => Arc::new(Float64Array::try_new(values.into(), nulls)?),
            Cells::Boolean(values) => Arc::new(BooleanArray::new(values.into(), nulls)),
            Cells::Time(values) => {
                Arc::new(TimestampMillisecondArray::try_new(values.into(), nulls)?.with_timezone("UTC"))
            }
        })
    }
}

/// Reads an object.
struct ReadObject<'a> {
    fields: &'a [(String, FieldType)],
    slots: &'a mut Slots,
}

impl<'de> Visitor<'de> for ReadObject<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> std::result::Result<(), A::Error> {
        let mut likely = 0;
        while let Some(found) = object.next_key_seed(ReadName { fields: self.fields, likely })? {
            let Some((index, (name, field_type))) = found.and_then(|i| Some((i, self.fields.get(i)?))) else {
                object.next_value::<IgnoredAny>()?;
                continue;
            };
            let value = object.next_value_seed(ReadValue {
                name,
                field_type: *field_type,
                text: &mut self.slots.text,
            })?;
            match self.slots.values.get_mut(index) {
                Some(slot @ Slot::Missing) => *slot = value,
                _ => return Err(A::Error::custom(format_args!("the field `{name}` is there twice"))),
            }
            likely = index + 1;
        }
        Ok(())
    }
}

/// Finds a name among the fields; the `likely` one is looked at first.
struct ReadName<'a> {
    fields: &'a [(String, FieldType)],
    likely: usize,
}

impl<'de> DeserializeSeed<'de> for ReadName<'_> {
    type Value = Option<usize>;

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> std::result::Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for ReadName<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E>(self, name: &str) -> std::result::Result<Self::Value, E> {
        match self.fields.get(self.likely) {
            Some((likely, _)) if likely == name => Ok(Some(self.likely)),
            _ => Ok(self.fields.iter().position(|(n, _)| n == name)),
        }
    }
}

/// Reads the value of a field.
pub(super) struct ReadValue<'a> {
    pub(super) name: &'a str,
    pub(super) field_type: FieldType,
    /// Where the bytes of a text go.
    pub(super) text: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for ReadValue<'_> {
    type Value = Slot;

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> std::result::Result<Slot, D::Error> {
        if !matches!(self.field_type, FieldType::Integer | FieldType::Time) {
            return json.deserialize_any(self);
        }
        let written = <&RawValue>::deserialize(json)?.get();
        if written == "null" {
            return Ok(Slot::Null);
        }
        let (expected, name) = (self.field_type.expected(), self.name);
        let wanted = format_args!("{expected} for the field `{name}`");
        if self.field_type == FieldType::Time && written.starts_with('"') {
            let read = serde_json::Deserializer::from_str(written).deserialize_str(self);
            return read.map_err(|_| D::Error::custom(unlike(written, wanted)));
        }
        integer(written, wanted).map(Slot::Integer).map_err(D::Error::custom)
    }
}

/// An integer as it is written: `-0` is one, which `serde_json` gives as a float, and one beyond 64 bits is
/// named. `wanted` is what it should be, for messages.
pub(in crate::format) fn integer(
    written: &str,
    wanted: impl fmt::Display,
) -> std::result::Result<i64, String> {
    written.parse().map_err(|_| match Written::of(written) {
        Written::Whole => format!("{} is beyond 64 bits: expected {wanted}", short(written)),
        _ => unlike(written, wanted),
    })
}

/// What is said of a value that is not what it should be.
pub(in crate::format) fn unlike(written: &str, wanted: impl fmt::Display) -> String {
    format!("expected {wanted}, found {}", Written::of(written))
}

/// The beginning of what is written, where it is long.
pub(in crate::format) fn short(written: &str) -> Cow<'_, str> {
    match written.char_indices().nth(40) {
        Some((end, _)) => Cow::Owned(format!("{}...", written.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(written),
    }
}

/// A value as it is written, for messages.
pub(super) enum Written<'a> {
    /// A number of digits.
    Whole,
    Other(&'a str),
    List,
    Object,
}

impl<'a> Written<'a> {
    pub(super) fn of(json: &'a str) -> Self {
        let digits = json.strip_prefix('-').unwrap_or(json);
        match json.as_bytes().first() {
            Some(b'[') => Self::List,
            Some(b'{') => Self::Object,
            _ if digits.bytes().all(|byte| byte.is_ascii_digit()) => Self::Whole,
            _ => Self::Other(json),
        }
    }
}

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("a number"),
            Self::Other(json) => f.write_str(&short(json)),
            Self::List => f.write_str("a list"),
            Self::Object => f.write_str("an object"),
        }
    }
}

impl Visitor<'_> for ReadValue<'_> {
    type Value = Slot;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.field_type.expected();
        write!(f, "{what} for the field `{}`", self.name)
    }

    fn visit_unit<E>(self) -> std::result::Result<Slot, E> {
        Ok(Slot::Null)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> std::result::Result<Slot, E> {
        match self.field_type {
            FieldType::Boolean => Ok(Slot::Boolean(value)),
            _ => Err(E::invalid_type(Unexpected::Bool(value), &self)),
        }
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> std::result::Result<Slot, E> {
        match self.field_type {
            FieldType::Number => Ok(Slot::Number(value as f64)),
            _ => Err(E::invalid_type(Unexpected::Signed(value), &self)),
        }
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> std::result::Result<Slot, E> {
        match self.field_type {
            FieldType::Number => Ok(Slot::Number(value as f64)),
            _ => Err(E::invalid_type(Unexpected::Unsigned(value), &self)),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> std::result::Result<Slot, E> {
        match self.field_type {
            FieldType::Number => Ok(Slot::Number(value)),
            _ => Err(E::invalid_type(Unexpected::Float(value), &self)),
        }
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> std::result::Result<Slot, E> {
        match self.field_type {
            FieldType::Text => {
                let from = self.text.len();
                self.text.extend_from_slice(value.as_bytes());
                Ok(Slot::Text(from, self.text.len()))
            }
            FieldType::Time => match DateTime::parse_from_rfc3339(value) {
                Ok(time) => Ok(Slot::Integer(time.timestamp_millis())),
                Err(_) => Err(E::invalid_value(Unexpected::Str(&short(value)), &self)),
            },
            _ => Err(E::invalid_type(Unexpected::Str(&short(value)), &self)),
        }
    }
}
