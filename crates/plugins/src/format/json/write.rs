//! Columns to JSON.

use std::io::Write as _;

use arrow_array::TimestampMillisecondArray;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMillisecondType};
use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray};
use chrono::{DateTime, SecondsFormat};
use pipectl_framework::plugin::{
    Batch, Encoded, Encoder, Error, Input, Problem, Reads, RecordMap, Rejects, Result,
};

use super::{KeyColumn, Times, type_name};
use crate::columns::TextColumn;
use crate::format::{NonFinite, written};

/// Writes rows as JSON objects.
#[derive(Debug)]
pub(crate) struct RowWriter {
    columns: Vec<Named>,
    times: Times,
    non_finite: NonFinite,
}

#[derive(Debug)]
struct Named {
    index: usize,
    name: String,
    /// `{"name":` or `,"name":`.
    lead: Vec<u8>,
}

/// A column with its type found out, once a batch.
enum Cells<'a> {
    Text(&'a StringArray),
    Integer(&'a Int64Array),
    Number(&'a Float64Array),
    Boolean(&'a BooleanArray),
    Time(&'a TimestampMillisecondArray),
}

impl<'a> Cells<'a> {
    fn of(column: &'a ArrayRef) -> Option<Self> {
        column
            .as_string_opt::<i32>()
            .map(Self::Text)
            .or_else(|| column.as_primitive_opt::<Int64Type>().map(Self::Integer))
            .or_else(|| column.as_primitive_opt::<Float64Type>().map(Self::Number))
            .or_else(|| column.as_boolean_opt().map(Self::Boolean))
            .or_else(|| column.as_primitive_opt::<TimestampMillisecondType>().map(Self::Time))
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Text(column) => column.is_null(row),
            Self::Integer(column) => column.is_null(row),
            Self::Number(column) => column.is_null(row),
            Self::Boolean(column) => column.is_null(row),
            Self::Time(column) => column.is_null(row),
        }
    }
}

impl RowWriter {
    /// A writer of every column of `input`.
    pub(crate) fn of_all(input: &Input, times: Times, non_finite: NonFinite) -> Result<Self, Problem> {
        Self::new(input, (0..input.schema.fields().len()).collect(), times, non_finite)
    }

    /// A writer of the columns at `columns` of `input`, in that order.
    ///
    /// # Errors
    /// Where a column has a type that JSON has no form for.
    pub(super) fn new(
        input: &Input,
        columns: Vec<usize>,
        times: Times,
        non_finite: NonFinite,
    ) -> Result<Self, Problem> {
        for index in &columns {
            let field = input.schema.field(*index);
            if type_name(field.data_type()) == "of another type" {
                return Err(Problem::new("", format!("column `{}` cannot be written as JSON", field.name()))
                    .label(format!("its type is {}", field.data_type()))
                    .help("leave it out with a `select`")
                    .of_field(field.name()));
            }
        }
        let named = |(place, index): (usize, usize)| {
            let name = input.schema.fields().get(index).map_or("", |f| f.name().as_str());
            let lead = format!("{}{}:", if place == 0 { '{' } else { ',' }, serde_json::Value::from(name));
            Named { index, name: name.to_owned(), lead: lead.into_bytes() }
        };
        Ok(Self { columns: columns.into_iter().enumerate().map(named).collect(), times, non_finite })
    }

    /// Calls `row` with the number and the bytes of each row, or with the reason why it cannot be written.
    ///
    /// # Errors
    /// Those of `row`, and where the batch is not the planned one.
    pub(crate) fn write(
        &self,
        batch: &Batch,
        mut row: impl FnMut(usize, std::result::Result<&[u8], String>) -> Result<()>,
    ) -> Result<()> {
        let cells: Option<Vec<Cells<'_>>> =
            self.columns.iter().map(|c| batch.columns().columns().get(c.index).and_then(Cells::of)).collect();
        let cells = cells.ok_or_else(|| Error::fatal("a column is not of the type that was planned"))?;
        let mut object = Vec::with_capacity(128);
        for number in 0..batch.rows() {
            object.clear();
            let written = self.columns.iter().zip(&cells).try_for_each(|(named, cells)| {
                object.extend_from_slice(&named.lead);
                self.cell(&mut object, cells, number).map_err(|why| format!("column `{}` {why}", named.name))
            });
            object.extend_from_slice(if self.columns.is_empty() { b"{}" } else { b"}" });
            row(number, written.map(|()| object.as_slice()))?;
        }
        Ok(())
    }

    /// Rejects the rows that cannot be written.
    pub(crate) fn unusable(&self, batch: &Batch, rejects: &mut Rejects) -> Result<()> {
        // Most batches have none: numbers and times are looked at by themselves.
        let columns = batch.columns().columns();
        let suspect = |named: &Named| match columns.get(named.index).and_then(Cells::of) {
            Some(Cells::Number(column)) => {
                self.non_finite == NonFinite::Reject
                    && column.iter().flatten().any(|value| !value.is_finite())
            }
            Some(Cells::Time(column)) => {
                self.times == Times::Rfc3339
                    && column.iter().flatten().any(|value| !FOUR_DIGITS.contains(&value))
            }
            _ => false,
        };
        if !self.columns.iter().any(suspect) {
            return Ok(());
        }
        self.write(batch, |row, object| {
            if let Err(reason) = object {
                rejects.push(row, reason);
            }
            Ok(())
        })
    }

    fn cell(&self, object: &mut Vec<u8>, cells: &Cells<'_>, row: usize) -> std::result::Result<(), String> {
        if cells.is_null(row) {
            object.extend_from_slice(b"null");
            return Ok(());
        }
        let written = match cells {
            Cells::Text(column) => serde_json::to_writer(object, column.value(row)),
            Cells::Integer(column) => serde_json::to_writer(object, &column.value(row)),
            Cells::Number(column) => match column.value(row) {
                value if value.is_finite() => serde_json::to_writer(object, &value),
                value => match self.non_finite {
                    NonFinite::Reject => {
                        let name = NonFinite::name(value);
                        return Err(format!(
                            "is {name}, for which JSON has no number: `non_finite: null` or `text` writes it"
                        ));
                    }
                    NonFinite::Null => serde_json::to_writer(object, &()),
                    NonFinite::Text => serde_json::to_writer(object, NonFinite::name(value)),
                },
            },
            Cells::Boolean(column) => serde_json::to_writer(object, &column.value(row)),
            Cells::Time(column) => match (self.times, column.value(row)) {
                (Times::Millis, value) => serde_json::to_writer(object, &value),
                (Times::Rfc3339, value) => {
                    let time = rfc3339(value)
                        .ok_or_else(|| format!("has a year without four digits: {value} ms since 1970"))?;
                    return write!(object, "\"{time}\"").map_err(|e| e.to_string());
                }
            },
        };
        written.map_err(|e| e.to_string())
    }
}

/// The times, in milliseconds, of the years 0 to 9999.
const FOUR_DIGITS: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

/// A time as RFC 3339 text; `None` outside the years 0 to 9999.
pub(crate) fn rfc3339(millis: i64) -> Option<String> {
    let text = DateTime::from_timestamp_millis(millis)?.to_rfc3339_opts(SecondsFormat::Millis, true);
    text.starts_with(|c: char| c.is_ascii_digit()).then_some(text)
}

/// Writes rows as records.
pub(super) struct JsonEncoder {
    writer: RowWriter,
    all: bool,
    key: Option<KeyColumn>,
}

impl JsonEncoder {
    /// `all` says that every column is written.
    pub(super) fn new(writer: RowWriter, all: bool, key: Option<KeyColumn>) -> Self {
        Self { writer, all, key }
    }
}

impl Encoder for JsonEncoder {
    fn reads(&self) -> Reads {
        if self.all {
            return Reads::All;
        }
        let mut names: Vec<String> = self.writer.columns.iter().map(|c| c.name.clone()).collect();
        names.extend(
            self.key
                .iter()
                .map(|k| k.name.clone())
                .filter(|k| !self.writer.columns.iter().any(|c| c.name == *k)),
        );
        Reads::Only(names)
    }

    fn keyed_by(&self) -> Option<&str> {
        let key = self.key.as_ref()?;
        self.writer.columns.iter().any(|c| c.name == key.name).then_some(key.name.as_str())
    }

    fn record_names(&self) -> Vec<(String, String)> {
        self.writer.columns.iter().map(|column| (column.name.clone(), column.name.clone())).collect()
    }

    fn encode(&mut self, batch: &Batch, rejects: &mut Rejects) -> Result<Encoded> {
        let mut values = TextColumn::with_capacity(batch.rows(), batch.rows() * 64);
        let mut kept = Vec::new();
        let mut rejected = false;
        self.writer.write(batch, |row, object| {
            kept.push(object.is_ok());
            match object {
                Ok(object) => values.push(object),
                Err(reason) => {
                    rejected = true;
                    rejects.push(row, reason);
                }
            }
            Ok(())
        })?;
        let filtered;
        let batch = if rejected {
            filtered = batch
                .filter(&BooleanArray::from(kept))
                .map_err(|e| Error::fatal("rejected rows could not be left out").caused_by(e))?;
            &filtered
        } else {
            batch
        };
        Ok(Encoded {
            keys: self.key.as_ref().map(|key| key.keys(batch)).transpose()?,
            values: written(values)?,
            timestamps: batch.times().values().clone(),
            headers: Vec::new(),
            rows: RecordMap::OneEach,
        })
    }
}
