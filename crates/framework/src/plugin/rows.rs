//! Rows as JSON, and back: for tests, dead letters and wherever speed is not the point.

use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Float64Builder, Int64Builder, StringBuilder, TimestampMillisecondBuilder,
};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMillisecondType};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, SchemaRef};
use serde_json::{Map, Value};

/// One row as a JSON object with a member per column; a time is its number of milliseconds since 1970, and a
/// number that JSON has no form for its name: `NaN`, `Infinity` or `-Infinity`.
pub fn row_to_json(columns: &RecordBatch, row: usize) -> Value {
    let mut object = Map::new();
    for (field, column) in columns.schema_ref().fields().iter().zip(columns.columns()) {
        object.insert(field.name().clone(), cell(column, row));
    }
    Value::Object(object)
}

fn cell(column: &ArrayRef, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
        DataType::Float64 => match column.as_primitive::<Float64Type>().value(row) {
            number if number.is_finite() => number.into(),
            number if number.is_nan() => "NaN".into(),
            number => if number > 0.0 { "Infinity" } else { "-Infinity" }.into(),
        },
        DataType::Boolean => column.as_boolean().value(row).into(),
        DataType::Timestamp(..) => {
            column.as_primitive_opt::<TimestampMillisecondType>().map_or(Value::Null, |t| t.value(row).into())
        }
        other => format!("({other})").into(),
    }
}

/// Rows of `schema` from JSON objects; a member that is missing is null.
///
/// # Errors
/// Where a member is of another type than its column, where it is null and the column may not be, or where an
/// object has a member that is no column.
pub fn rows_from_json(schema: &SchemaRef, rows: &[Value]) -> Result<RecordBatch, ArrowError> {
    for row in rows {
        let members =
            row.as_object().ok_or_else(|| ArrowError::JsonError(format!("{row} is not an object")))?;
        if let Some(name) = members.keys().find(|name| schema.index_of(name).is_err()) {
            return Err(ArrowError::JsonError(format!("there is no column `{name}`")));
        }
    }
    let columns = schema
        .fields()
        .iter()
        .map(|field| column(field.name(), field.data_type(), rows))
        .collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(schema.clone(), columns)
}

fn column(name: &str, data_type: &DataType, rows: &[Value]) -> Result<ArrayRef, ArrowError> {
    let wrong = |value: &Value| ArrowError::JsonError(format!("`{name}` is {data_type}, and {value} is not"));
    macro_rules! build {
        ($builder:expr, $get:expr) => {{
            let mut builder = $builder;
            for row in rows {
                match &row[name] {
                    Value::Null => builder.append_null(),
                    value => builder.append_value($get(value).ok_or_else(|| wrong(value))?),
                }
            }
            Ok(Arc::new(builder.finish()))
        }};
    }
    match data_type {
        DataType::Utf8 => build!(StringBuilder::new(), Value::as_str),
        DataType::Int64 => build!(Int64Builder::new(), Value::as_i64),
        DataType::Float64 => build!(Float64Builder::new(), Value::as_f64),
        DataType::Boolean => build!(BooleanBuilder::new(), Value::as_bool),
        DataType::Timestamp(_, zone) => {
            build!(TimestampMillisecondBuilder::new().with_timezone_opt(zone.clone()), Value::as_i64)
        }
        other => Err(ArrowError::JsonError(format!("a column of type {other} cannot be made from JSON"))),
    }
}
