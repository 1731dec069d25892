//! The `json` format: a record's value is one flat JSON object, a row.
//!
//! | type | column | JSON |
//! |---|---|---|
//! | `text` | text | a string |
//! | `integer` | 64 bits | a number without fraction |
//! | `number` | floating point | any number |
//! | `boolean` | true or false | `true`, `false` |
//! | `time` | milliseconds, UTC | milliseconds since 1970 as a number, or RFC 3339 text |
//!
//! Reading, a field that is missing or `null` is a null, fields that are not asked for are passed over, and a value of
//! another type makes the record a reject: nothing is converted silently. Writing, nulls are written as `null`, and a
//! number that JSON has no form for (NaN, infinity) makes the row a reject, unless `non_finite` says otherwise.

mod read;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, TimeUnit};
use indexmap::IndexMap;
use pipectl_framework::plugin::{Decoder, Encoder, FormatPlugin, Input, Problem};
use pipectl_framework::register;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{KeyColumn, NonFinite, type_name};
use read::JsonDecoder;
use write::JsonEncoder;
pub(crate) use write::{RowWriter, rfc3339};

/// One flat JSON object a record.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Json {
    /// The fields with their types: `text`, `integer`, `number`, `boolean` or `time`. Needed for reading; for writing, the columns to
    /// write in this order. Default when writing: all columns.
    #[schemars(with = "Option<BTreeMap<String, FieldType>>")]
    fields: Option<IndexMap<String, FieldType>>,
    /// How times are written: `millis`, milliseconds since 1970 (default), or `rfc3339`, such as `2025-11-11T00:00:00.000Z`. Both
    /// are read.
    #[serde(default)]
    times: Times,
    /// What becomes of a row with a number that JSON has no form for (NaN, infinity), when writing: `reject` (default) leaves it to the sink's
    /// `on_error`, `null` writes `null`, `text` writes `"NaN"`, `"Infinity"` or `"-Infinity"`.
    #[serde(default)]
    non_finite: NonFinite,
}

impl Json {
    /// Reads these fields.
    pub(crate) fn of_fields(fields: IndexMap<String, FieldType>) -> Self {
        Self { fields: Some(fields), ..Self::default() }
    }
}

/// The type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FieldType {
    Text,
    Integer,
    Number,
    Boolean,
    Time,
}

impl FieldType {
    fn data_type(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Integer => DataType::Int64,
            Self::Number => DataType::Float64,
            Self::Boolean => DataType::Boolean,
            Self::Time => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
        }
    }
}

/// How times are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Times {
    /// Milliseconds since 1970.
    #[default]
    Millis,
    /// RFC 3339 in UTC.
    Rfc3339,
}

register!(format: Json);

impl FormatPlugin for Json {
    const NAME: &'static str = "json";
    const SUMMARY: &'static str = "one flat JSON object a record";
    const EXAMPLE: &'static str = "json: { fields: { user_id: integer, gender: text } }";

    fn decoder(self) -> Result<Box<dyn Decoder>, Problem> {
        let fields = self.fields.filter(|f| !f.is_empty()).ok_or_else(|| {
            Problem::new("", "reading JSON needs the fields with their types")
                .help("write `format: { json: { fields: { user_id: integer, gender: text } } }`")
        })?;
        let columns = fields.iter().map(|(name, t)| Field::new(name, t.data_type(), true));
        let schema = Arc::new(Schema::new(columns.collect::<Vec<_>>()));
        Ok(Box::new(JsonDecoder::new(schema, fields.into_iter().collect())))
    }

    fn encoder(self, input: &Input, key: Option<usize>) -> Result<Box<dyn Encoder>, Problem> {
        let writer = match &self.fields {
            None => RowWriter::of_all(input, self.times, self.non_finite)?,
            Some(fields) => {
                let columns = fields.iter().map(|(name, t)| column(input, name, *t));
                RowWriter::new(input, columns.collect::<Result<_, _>>()?, self.times, self.non_finite)?
            }
        };
        Ok(Box::new(JsonEncoder::new(writer, self.fields.is_none(), KeyColumn::bind(input, key)?)))
    }
}

/// The column of a field that is to be written, which must have the type that is said.
fn column(input: &Input, name: &str, wanted: FieldType) -> Result<usize, Problem> {
    let path = format!("fields.{name}");
    let index = input.column(&path, name)?;
    let given = input.schema.field(index).data_type();
    if *given == wanted.data_type() {
        return Ok(index);
    }
    Err(Problem::new(path, format!("field `{name}` is not {}", type_name(&wanted.data_type())))
        .label(format!("{} gives it as {}", input.given_by, type_name(given)))
        .of_field(name))
}

#[cfg(test)]
mod tests;
