//! The `json` format: a record's value is a JSON object, a row; or several, with `rows`.
//!
//! | type | column | JSON |
//! |---|---|---|
//! | `text` | text | a string |
//! | `integer` | 64 bits | a number without fraction |
//! | `number` | floating point | any number |
//! | `boolean` | true or false | `true`, `false` |
//! | `time` | milliseconds, UTC | milliseconds since 1970 as a number, or RFC 3339 text |
//!
//! Reading, a field that is missing or `null` is a null, fields that are not asked for are passed over, and a
//! value of another type makes the record a reject: nothing is converted silently. Writing, nulls are written
//! as `null`, and a number that JSON has no form for (NaN, infinity) makes the row a reject, unless
//! `non_finite` says otherwise.
//!
//! Where all fields are members of the record and are what they say, [`read`] makes columns of them in one
//! pass. Paths, `rows`, `coerce` and `exact` are for [`nested`].

mod fields;
mod nested;
mod path;
mod read;
mod tree;
mod value;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::{Field, Schema};
use indexmap::IndexMap;
use pipectl_framework::plugin::{Decoder, Encoder, FormatPlugin, Input, Problem};
use pipectl_framework::register;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{KeyColumn, NonFinite, type_name};
pub(crate) use fields::FieldSpec;
use fields::{FieldType, LongField};
use nested::NestedDecoder;
use path::{Path, Root, Step};
use read::JsonDecoder;
pub(super) use read::{at_column, integer, short, unlike};
use value::Reading;
use write::JsonEncoder;
pub(crate) use write::{RowWriter, rfc3339};

/// One JSON object a record, a row; or rows of a list in it.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Json {
    /// The fields with their types: `text`, `integer`, `number`, `boolean` or `time`; or with more, as in `{
    /// type: integer, path: "$.order.id", coerce: true }`. Needed for reading; for writing, the columns to
    /// write in this order. Default when writing: all columns.
    #[schemars(with = "Option<BTreeMap<String, FieldSpec>>")]
    fields: Option<IndexMap<String, FieldSpec>>,
    /// Where the elements are that rows are made of, when reading, such as `$.items[*]`. A field without a
    /// `path` is a member of the element then; paths begin with `@` for the element, or `$` for the record.
    /// Default: the record is a row.
    #[serde(default)]
    rows: Option<String>,
    /// How times are written: `millis`, milliseconds since 1970 (default), or `rfc3339`, such as
    /// `2025-11-11T00:00:00.000Z`. Both are read.
    #[serde(default)]
    times: Times,
    /// What becomes of a row with a number that JSON has no form for (NaN, infinity), when writing: `reject`
    /// (default) leaves it to the sink's `on_error`, `null` writes `null`, `text` writes `"NaN"`,
    /// `"Infinity"` or `"-Infinity"`.
    #[serde(default)]
    non_finite: NonFinite,
}

impl Json {
    /// Reads these fields; with `rows`, of each element that it leads to.
    pub(crate) fn of_fields(fields: IndexMap<String, FieldSpec>, rows: Option<String>) -> Self {
        Self { fields: Some(fields), rows, ..Self::default() }
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
    const SUMMARY: &'static str = "a JSON object a record, or a list of rows in it";
    const EXAMPLE: &'static str = "json: { fields: { user_id: integer, gender: text } }";

    fn decoder(self) -> Result<Box<dyn Decoder>, Problem> {
        let fields = self.fields.filter(|f| !f.is_empty()).ok_or_else(|| {
            Problem::new("", "reading JSON needs the fields with their types")
                .help("write `format: { json: { fields: { user_id: integer, gender: text } } }`")
        })?;
        let columns = fields.iter().map(|(name, spec)| Field::new(name, spec.field_type().data_type(), true));
        let schema = Arc::new(Schema::new(columns.collect::<Vec<_>>()));
        let flat = |(name, spec): (&String, &FieldSpec)| match spec {
            FieldSpec::Type(field_type) => Some((name.clone(), *field_type)),
            FieldSpec::Long(_) => None,
        };
        match (fields.iter().map(flat).collect::<Option<Vec<_>>>(), &self.rows) {
            (Some(fields), None) => Ok(Box::new(JsonDecoder::new(schema, fields))),
            _ => {
                let rows = self.rows.as_deref().map(rows_path).transpose()?;
                let fields = fields.iter().map(|(name, spec)| reading(name, spec, rows.is_some()));
                let fields = fields.collect::<Result<_, _>>()?;
                Ok(Box::new(NestedDecoder::new(schema, fields, rows)))
            }
        }
    }

    fn encoder(self, input: &Input, key: Option<usize>) -> Result<Box<dyn Encoder>, Problem> {
        if self.rows.is_some() {
            return Err(Problem::new("rows", "`rows` is for reading")
                .help("remove it: each row is written as a record of its own"));
        }
        let writer = match &self.fields {
            None => RowWriter::of_all(input, self.times, self.non_finite)?,
            Some(fields) => {
                let columns = fields.iter().map(|(name, spec)| column(input, name, spec));
                RowWriter::new(input, columns.collect::<Result<_, _>>()?, self.times, self.non_finite)?
            }
        };
        Ok(Box::new(JsonEncoder::new(writer, self.fields.is_none(), KeyColumn::bind(input, key)?)))
    }
}

/// The path of what rows are made of.
fn rows_path(text: &str) -> Result<Path, Problem> {
    let path = Path::parse(text).map_err(|wrong| wrong.at("rows"))?;
    if path.root == Root::Element {
        return Err(Problem::new("rows", "`rows` begins at the record")
            .part(0, 1)
            .help("write `$`: `@` is what `rows` leads to"));
    }
    if !path.steps.contains(&Step::Every) {
        return Err(Problem::new("rows", format!("`{text}` is one value, and rows are made of several"))
            .help(format!("for the elements of a list write `{path}[*]`")));
    }
    Ok(path)
}

/// How a field is read, and where it stands.
fn reading(name: &str, spec: &FieldSpec, rows: bool) -> Result<(Reading, Path), Problem> {
    let long = match spec {
        FieldSpec::Long(long) => long.clone(),
        FieldSpec::Type(field_type) => {
            LongField { field_type: *field_type, path: None, coerce: false, exact: false }
        }
    };
    if long.exact && long.field_type != FieldType::Number {
        return Err(Problem::new(format!("fields.{name}.exact"), "`exact` is for the type `number`")
            .help("remove it: nothing else is rounded"));
    }
    let root = if rows { Root::Element } else { Root::Record };
    let path = match &long.path {
        Some(text) => field_path(text, &format!("fields.{name}.path"), rows)?,
        None => Path { root, steps: vec![Step::Name(name.to_owned())] },
    };
    let LongField { field_type, coerce, exact, .. } = long;
    Ok((Reading { name: name.to_owned(), field_type, coerce, exact }, path))
}

/// The path of a field, which is one value.
fn field_path(text: &str, place: &str, rows: bool) -> Result<Path, Problem> {
    let path = Path::parse(text).map_err(|wrong| wrong.at(place))?;
    if path.root == Root::Element && !rows {
        return Err(Problem::new(place, "`@` is an element that a row is made of, and there are no `rows:`")
            .part(0, 1)
            .help("write `$` for the record, or say by `rows: \"$.items[*]\"` what rows are made of"));
    }
    if path.steps.contains(&Step::Every) {
        let star = text.find('*').unwrap_or(0);
        return Err(Problem::new(place, "a field is one value, and `*` gives several")
            .part(star, star + 1)
            .help("write one index, such as `[0]`; `rows:` beside `fields:` makes a row of each element"));
    }
    Ok(path)
}

/// The column of a field that is to be written, which must have the type that is said.
fn column(input: &Input, name: &str, spec: &FieldSpec) -> Result<usize, Problem> {
    let path = format!("fields.{name}");
    if let FieldSpec::Long(LongField { path: written, coerce, exact, .. }) = spec
        && (written.is_some() || *coerce || *exact)
    {
        return Err(Problem::new(path, "`path`, `coerce` and `exact` are for reading")
            .help(format!("write the type alone: `{name}: {}`", type_name(&spec.field_type().data_type()))));
    }
    let wanted = spec.field_type();
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
mod cases_tests;
#[cfg(test)]
mod nested_tests;
#[cfg(test)]
mod tests;
