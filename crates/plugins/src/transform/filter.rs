//! The `filter` transform: the rows whose field has one of some values.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_buffer::BooleanBuffer;
use arrow_schema::DataType;
use hashbrown::HashSet;
use pipectl_framework::plugin::{
    Batch, BoundTransform, Error, Input, Problem, Reads, Rejects, Result, Transform, TransformPlugin,
};
use pipectl_framework::register;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// Up to so many values are compared one by one; more are looked up.
const FEW: usize = 8;

/// The rows whose field has one of some values.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Filter {
    /// The field that is looked at: text, integer, number or boolean.
    field: String,
    /// The value that it must have. A value of a text field is written in quotes, such as `"1"`.
    equals: Option<Value>,
    /// The values of which it must have one; in place of `equals`.
    r#in: Option<Vec<Value>>,
    /// Keeps the other rows instead. A null equals nothing, so these keep it. Default: false.
    #[serde(default)]
    not: bool,
}

register!(transform: Filter);

impl TransformPlugin for Filter {
    const NAME: &'static str = "filter";
    const SUMMARY: &'static str = "the rows whose field has one of some values";
    const EXAMPLE: &'static str = "\
- transform: filter
  with: { field: gender, in: [\"0\", \"1\"] }
";

    fn bind(self, input: &Input) -> Result<BoundTransform, Problem> {
        let column = input.column("field", &self.field)?;
        let written: Vec<(String, Value)> = match (self.equals, self.r#in) {
            (Some(value), None) => vec![("equals".to_owned(), value)],
            (None, Some(values)) => {
                values.into_iter().enumerate().map(|(i, v)| (format!("in[{i}]"), v)).collect()
            }
            (None, None) => {
                return Err(Problem::new("", "a filter needs `equals` or `in`")
                    .help("write `equals: \"1\"`, or `in: [\"0\", \"1\"]`"));
            }
            (Some(_), Some(_)) => {
                return Err(Problem::new("equals", "`equals` and `in` cannot stand together")
                    .help("put the value into the list of `in`"));
            }
        };
        let wanted = match input.schema.field(column).data_type() {
            DataType::Utf8 => Wanted::Text(values(written, text)?.into()),
            DataType::Int64 => Wanted::Integer(values(written, integer)?.into()),
            DataType::Float64 => Wanted::Number(values(written, number)?),
            DataType::Boolean => Wanted::Boolean(values(written, boolean)?),
            other => {
                return Err(Problem::new("field", format!("field `{}` cannot be compared", self.field))
                    .label(format!("{} gives it as {other}", input.given_by))
                    .help("a filter compares text, integers, numbers and booleans"));
            }
        };
        Ok(BoundTransform {
            schema: input.schema.clone(),
            reads: Reads::AndPasses(vec![self.field]),
            body: Box::new(Keep { column, wanted, not: self.not }),
        })
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

struct Keep {
    column: usize,
    wanted: Wanted,
    not: bool,
}

impl Transform for Keep {
    fn apply(&mut self, batch: Batch, _rejects: &mut Rejects) -> Result<Batch> {
        let column = batch.column(self.column);
        let mut keep = self
            .wanted
            .matches(column)
            .ok_or_else(|| Error::fatal("a column is not of the type that was planned"))?;
        if let Some(nulls) = column.nulls() {
            keep = &keep & nulls.inner();
        }
        if self.not {
            keep = !&keep;
        }
        if keep.count_set_bits() == batch.rows() {
            return Ok(batch);
        }
        batch
            .filter(&BooleanArray::new(keep, None))
            .map_err(|e| Error::fatal("rows could not be left out").caused_by(e))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Float64Array, Int64Array};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::format::testing::{batch, input, say, texts};

    fn filter(with: Value) -> Filter {
        serde_json::from_value(with).unwrap()
    }

    /// The offsets of the rows that are kept.
    fn kept(rows: &Batch, with: Value) -> Vec<i64> {
        let mut bound = filter(with).bind(&input(rows)).unwrap();
        assert_eq!(bound.schema, rows.schema());
        let out = bound.body.apply(rows.clone(), &mut Rejects::default()).unwrap();
        assert_eq!(out.times().to_vec(), out.origin().offsets.iter().map(|o| o * 1000).collect::<Vec<_>>());
        out.origin().offsets.to_vec()
    }

    fn rows() -> Batch {
        batch(vec![
            ("t", texts(&[Some("0"), Some("1"), None, Some("2"), Some("")])),
            ("i", Arc::new(Int64Array::from(vec![Some(0), Some(1), None, Some(2), Some(-1)]))),
            ("n", Arc::new(Float64Array::from(vec![Some(0.0), Some(1.5), None, Some(2.0), Some(f64::NAN)]))),
            ("b", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, Some(true), Some(false)]))),
        ])
    }

    #[test]
    fn each_type_by_value_by_list_and_the_others() {
        let rows = rows();
        assert_eq!(kept(&rows, json!({ "field": "t", "equals": "1" })), [1]);
        assert_eq!(kept(&rows, json!({ "field": "t", "in": ["0", "", "x"] })), [0, 4]);
        assert_eq!(kept(&rows, json!({ "field": "t", "in": ["0", ""], "not": true })), [1, 2, 3]);
        assert_eq!(kept(&rows, json!({ "field": "t", "in": [] })), [0; 0]);
        assert_eq!(kept(&rows, json!({ "field": "t", "in": [], "not": true })), [0, 1, 2, 3, 4]);
        assert_eq!(kept(&rows, json!({ "field": "i", "in": [0, -1] })), [0, 4]);
        assert_eq!(kept(&rows, json!({ "field": "n", "in": [2, 1.5] })), [1, 3]);
        assert_eq!(kept(&rows, json!({ "field": "b", "equals": true })), [0, 3]);
        assert_eq!(kept(&rows, json!({ "field": "b", "equals": true, "not": true })), [1, 2, 4]);
    }

    proptest! {
        #[test]
        fn it_keeps_what_a_loop_would_keep(
            cells in prop::collection::vec(prop::option::of("[ab]{0,2}"), 0..100),
            wanted in prop::collection::vec("[ab]{0,2}", 0..12),
            not in any::<bool>(),
            skip in 0usize..10,
        ) {
            let rows = batch(vec![("t", texts(&cells))]);
            let skip = skip.min(rows.rows());
            let rows = rows.slice(skip, rows.rows() - skip);
            let expected: Vec<i64> = (skip..cells.len())
                .filter(|i| cells[*i].as_ref().is_some_and(|c| wanted.contains(c)) != not).map(|i| i as i64).collect();
            prop_assert_eq!(kept(&rows, json!({ "field": "t", "in": wanted, "not": not })), expected);
        }
    }

    #[test]
    fn values_of_another_type_are_problems_with_a_place() {
        let problem = |with| say(filter(with).bind(&input(&rows())));
        let number = problem(json!({ "field": "t", "in": ["0", 1] }));
        assert_eq!(
            (number.path.as_str(), number.message.as_str()),
            ("in[1]", "1 is not text, as the field is")
        );
        assert_eq!(number.help, ["write it in quotes: \"1\""]);
        assert_eq!(
            problem(json!({ "field": "i", "equals": 1.5 })).message,
            "1.5 is not an integer, as the field is"
        );
        assert_eq!(problem(json!({ "field": "b", "equals": "true" })).path, "equals");
        assert_eq!(problem(json!({ "field": "x", "equals": 1 })).path, "field");
        assert_eq!(problem(json!({ "field": "t" })).message, "a filter needs `equals` or `in`");
        assert_eq!(problem(json!({ "field": "t", "in": [], "equals": "x" })).path, "equals");
    }
}
