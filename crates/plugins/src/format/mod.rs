//! Formats: bytes of a record to columns, and back.
//!
//! | format | a record is | reading gives |
//! |---|---|---|
//! | [`text`] | the text of one column | one column |
//! | [`json`] | a JSON object | the columns named by `fields`; a row, or with `rows` several |
//! | [`pairs`] | the counts of one window, `[{"0":5},{"2":1}]` | a row per pair: `key`, `count` |

#[cfg(test)]
mod fuzz_tests;
mod json;
mod non_finite;
mod pairs;
mod text;

use crate::columns::TextColumn;
use arrow_array::BinaryArray;
use arrow_array::cast::AsArray;
use arrow_schema::DataType;
use pipectl_framework::plugin::{Batch, Error, Input, Problem, Result, head};

pub(crate) use json::{FieldSpec, Json, RowWriter, Times, rfc3339};
pub(crate) use non_finite::NonFinite;

/// The column that records take their keys from.
#[derive(Debug, Clone)]
struct KeyColumn {
    index: usize,
    name: String,
}

impl KeyColumn {
    /// Column `key` of `input`, which must be text.
    fn bind(input: &Input, key: Option<usize>) -> Result<Option<Self>, Problem> {
        let Some(index) = key else { return Ok(None) };
        let name = input.schema.fields().get(index).map_or("", |f| f.name().as_str());
        let index = input.text_column("", name)?;
        Ok(Some(Self { index, name: name.to_owned() }))
    }

    /// The keys of a batch; shares its memory.
    fn keys(&self, batch: &Batch) -> Result<BinaryArray> {
        text(batch, self.index).map(|column| BinaryArray::from(column.clone()))
    }
}

/// A text column of a batch.
fn text(batch: &Batch, index: usize) -> Result<&arrow_array::StringArray> {
    let column = batch.columns().columns().get(index).and_then(|c| c.as_string_opt::<i32>());
    column.ok_or_else(|| Error::fatal("a column is not the text that was planned"))
}

/// The values of records.
fn written(values: TextColumn) -> Result<BinaryArray> {
    values.finish_binary().map_err(|e| {
        Error::fatal("the records of one batch are too large together")
            .caused_by(e)
            .remedy("write fewer columns, or shorter ones")
    })
}

/// The name of a column's type in a file.
pub(crate) fn type_name(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Utf8 => "text",
        DataType::Int64 => "integer",
        DataType::Float64 => "number",
        DataType::Boolean => "boolean",
        DataType::Timestamp(..) => "time",
        _ => "of another type",
    }
}

/// Text of a record for a message: short, and on one line.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    let shown = head(bytes, 80);
    let dots = if shown.len() < bytes.len() { "..." } else { "" };
    format!("{:?}{dots}", String::from_utf8_lossy(shown))
}

#[cfg(test)]
mod round_trip;
#[cfg(test)]
pub(crate) mod testing;
