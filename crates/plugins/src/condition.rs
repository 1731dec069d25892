//! A condition on a row: a field has one of some values.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_buffer::BooleanBuffer;
use arrow_schema::DataType;
use hashbrown::HashSet;
use pipectl_framework::plugin::{Error, Input, Problem, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// Up to so many values are compared one by one; more are looked up.
const FEW: usize = 8;

/// A field has one of some values.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(crate) struct Condition {
    /// The field that is looked at: text, integer, number or boolean.
    pub(crate) field: String,
    /// The value that it must have. A value of a text field is written in quotes, such as `"1"`.
    equals: Option<Value>,
    /// The values of which it must have one; in place of `equals`.
    r#in: Option<Vec<Value>>,
    /// Takes the other rows instead. A null equals nothing, so these take it. Default: false.
    #[serde(default)]
    not: bool,
}

impl Condition {
    /// Finds its column; `what` is what needs the condition, for messages.
    pub(crate) fn bind(self, input: &Input, what: &str) -> std::result::Result<Matcher, Problem> {
        let column = input.column("field", &self.field)?;
        let written: Vec<(String, Value)> = match (self.equals, self.r#in) {
            (Some(value), None) => vec![("equals".to_owned(), value)],
            (None, Some(values)) => {
                values.into_iter().enumerate().map(|(i, v)| (format!("in[{i}]"), v)).collect()
            }
            (None, None) => {
                return Err(Problem::new("", format!("{what} needs `equals` or `in`"))
                    .help("write `equals: \"1\"`, or `in: [\"0\", \"1\"]`"));
            }
            (Some(_), Some(_)) => {
                return Err(Problem::new("equals", "`equals` and `in` cannot stand together")
                    .help("put the value into the list of `in`"));
            }
        };
        let wanted = match input.schema.field(column).data_type() {
            DataType::Utf8 => values(written, text).map(|texts| Wanted::Text(texts.into())),
            DataType::Int64 => values(written, integer).map(|integers| Wanted::Integer(integers.into())),
            DataType::Float64 => values(written, number).map(Wanted::Number),
            DataType::Boolean => values(written, boolean).map(Wanted::Boolean),
            other => {
                return Err(Problem::new("field", format!("field `{}` cannot be compared", self.field))
                    .label(format!("{} gives it as {other}", input.given_by))
                    .help(format!("{what} compares text, integers, numbers and booleans"))
                    .of_field(&self.field));
            }
        };
        let wanted = wanted.map_err(|problem| problem.of_field(&self.field))?;
        Ok(Matcher { column, wanted, not: self.not })
    }
}

/// A condition that is bound to its column.
pub(crate) struct Matcher {
    column: usize,
    wanted: Wanted,
    not: bool,
}

impl Matcher {
    /// The rows that meet the condition.
    ///
    /// # Errors
    /// Where the column is not of the type that was planned.
    pub(crate) fn rows(&self, batch: &RecordBatch) -> Result<BooleanBuffer> {
        let column = batch.column(self.column);
        let mut keep = self
            .wanted
            .matches(column)
            .ok_or_else(|| Error::fatal("a column is not of the type that was planned"))?;
        if let Some(nulls) = column.nulls() {
            keep = &keep & nulls.inner();
        }
        Ok(if self.not { !&keep } else { keep })
    }
}

/// The values as written, each read by `read`.
fn values<T>(
    written: Vec<(String, Value)>,
    read: fn(&Value) -> std::result::Result<T, &'static str>,
) -> Result<Vec<T>, Problem> {
    written.into_iter().map(|(path, value)| read(&value).map_err(|what| refuse(path, &value, what))).collect()
}

fn refuse(path: String, value: &Value, what: &str) -> Problem {
    let problem = Problem::new(path, format!("{value} is not {what}, as the field is"));
    match value {
        Value::Number(_) | Value::Bool(_) if what == "text" => {
            problem.help(format!("write it in quotes: \"{value}\""))
        }
        Value::Null => problem.help("a null equals nothing"),
        _ => problem,
    }
}

fn text(value: &Value) -> std::result::Result<String, &'static str> {
    value.as_str().map(str::to_owned).ok_or("text")
}

fn integer(value: &Value) -> std::result::Result<i64, &'static str> {
    value.as_i64().ok_or("an integer")
}

fn number(value: &Value) -> std::result::Result<f64, &'static str> {
    value.as_f64().ok_or("a number")
}

fn boolean(value: &Value) -> std::result::Result<bool, &'static str> {
    value.as_bool().ok_or("true or false")
}

/// Values of a type that can be looked up.
enum Set<T> {
    Few(Vec<T>),
    Many(HashSet<T, foldhash::fast::RandomState>),
}

impl<T: std::hash::Hash + Eq> From<Vec<T>> for Set<T> {
    fn from(values: Vec<T>) -> Self {
        if values.len() > FEW { Self::Many(values.into_iter().collect()) } else { Self::Few(values) }
    }
}

impl<T: std::hash::Hash + Eq> Set<T> {
    #[inline]
    fn has<Q: std::hash::Hash + Eq + ?Sized>(&self, value: &Q) -> bool
    where
        T: std::borrow::Borrow<Q>,
    {
        match self {
            Self::Few(values) => values.iter().any(|v| v.borrow() == value),
            Self::Many(values) => values.contains(value),
        }
    }
}

/// The values to keep, of the field's type.
enum Wanted {
    Text(Set<String>),
    Integer(Set<i64>),
    Number(Vec<f64>),
    Boolean(Vec<bool>),
}

impl Wanted {
    /// Which cells have one of the values; `None` where the column is of another type.
    #[expect(clippy::float_cmp, reason = "the file asks for this very number")]
    fn matches(&self, column: &ArrayRef) -> Option<BooleanBuffer> {
        let rows = column.len();
        Some(match self {
            Self::Text(wanted) => {
                let column = column.as_string_opt::<i32>()?;
                BooleanBuffer::collect_bool(rows, |row| wanted.has(column.value(row)))
            }
            Self::Integer(wanted) => {
                let cells = column.as_primitive_opt::<Int64Type>()?.values();
                BooleanBuffer::collect_bool(rows, |row| cells.get(row).is_some_and(|c| wanted.has(c)))
            }
            Self::Number(wanted) => {
                let cells = column.as_primitive_opt::<Float64Type>()?.values();
                BooleanBuffer::collect_bool(rows, |row| {
                    cells.get(row).is_some_and(|c| wanted.iter().any(|w| w == c))
                })
            }
            Self::Boolean(wanted) => {
                let cells = column.as_boolean_opt()?.values();
                BooleanBuffer::collect_bool(rows, |row| wanted.contains(&cells.value(row)))
            }
        })
    }
}
