//! The `cast` transform: texts to integers, numbers, or true and false, and back to texts.

use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, Float64Builder, Int64Builder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use pipectl_framework::plugin::{
    Batch, BoundTransform, Error, Input, Problem, Reads, Rejects, Result, Transform, TransformPlugin,
};
use pipectl_framework::register;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Map;

use crate::typed::{integer, number, truth};

/// Gives fields another type. Every cell of a CSV file is text; sums and means need numbers.
///
/// A cell that cannot be what it should is not usable: see `on_error`. An empty text becomes null, and a null
/// stays one.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Cast {
    /// The fields, each with its type: `integer`, `number`, `boolean` (true or false) or `text`.
    fields: Map<String, serde_json::Value>,
}

register!(transform: Cast);

impl TransformPlugin for Cast {
    const NAME: &'static str = "cast";
    const SUMMARY: &'static str = "texts to integers, numbers, or true and false";
    const EXAMPLE: &'static str = "\
- transform: cast
  with: { fields: { price: number, quantity: integer } }
";

    fn bind(self, input: &Input) -> Result<BoundTransform, Problem> {
        let mut fields: Vec<Arc<Field>> = input.schema.fields().iter().cloned().collect();
        let mut casts = Vec::new();
        for (name, kind) in &self.fields {
            let path = format!("fields.{name}");
            let column = input.column(&path, name)?;
            let to = match kind.as_str() {
                Some("integer") => To::Integer,
                Some("number") => To::Number,
                Some("boolean") => To::Boolean,
                Some("text") => To::Text,
                other => {
                    let names = ["integer", "number", "boolean", "text"];
                    let problem = Problem::new(path, format!("`{}` is not a type", other.unwrap_or("this")))
                        .label(format!("the types are: {}", names.join(", ")));
                    return Err(problem.suggest(other.unwrap_or(""), names));
                }
            };
            let from = input.schema.field(column).data_type();
            let usable = match to {
                To::Text => {
                    matches!(from, DataType::Utf8 | DataType::Int64 | DataType::Float64 | DataType::Boolean)
                }
                To::Number => matches!(from, DataType::Utf8 | DataType::Int64 | DataType::Float64),
                _ => *from == DataType::Utf8 || *from == to.data_type(),
            };
            if !usable {
                return Err(Problem::new(path, format!("field `{name}` cannot become {}", to.name()))
                    .label(format!("{} gives it as {from}", input.given_by))
                    .of_field(name));
            }
            if let Some(field) = fields.get_mut(column).filter(|f| *f.data_type() != to.data_type()) {
                *field = Arc::new(Field::new(name, to.data_type(), true));
                casts.push((column, to));
            }
        }
        let schema = Arc::new(Schema::new(fields));
        let reads = Reads::AndPasses(self.fields.keys().cloned().collect());
        let cast = |column: &usize| casts.iter().any(|(of, _)| of == column);
        let origins = (0..schema.fields().len()).map(|column| (!cast(&column)).then_some(column)).collect();
        Ok(BoundTransform { schema: schema.clone(), reads, origins, body: Box::new(Casts { casts, schema }) })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    Integer,
    Number,
    Boolean,
    Text,
}

impl To {
    fn data_type(self) -> DataType {
        match self {
            Self::Integer => DataType::Int64,
            Self::Number => DataType::Float64,
            Self::Boolean => DataType::Boolean,
            Self::Text => DataType::Utf8,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::Boolean => "true or false",
            Self::Text => "text",
        }
    }
}

struct Casts {
    casts: Vec<(usize, To)>,
    schema: SchemaRef,
}

impl Transform for Casts {
    fn apply(&self, batch: Batch, rejects: &mut Rejects) -> Result<Batch> {
        let mut columns = batch.columns().columns().to_vec();
        let mut wrong = vec![false; batch.rows()];
        for (index, to) in &self.casts {
            let column = cast(batch.column(*index), *to, |row, cell| {
                // A row is rejected once, for the first of its cells.
                if !std::mem::replace(&mut wrong[row], true) {
                    let name = self.schema.field(*index).name();
                    rejects.push(row, format!("`{name}` is not {}: {:?}", to.name(), excerpt(cell)));
                }
            });
            columns[*index] = column;
        }
        let broken = |e| Error::fatal("cast columns do not fit their schema").caused_by(e);
        let columns = RecordBatch::try_new(self.schema.clone(), columns).map_err(broken)?;
        let cast = batch.with_columns(columns).map_err(broken)?;
        if !wrong.contains(&true) {
            return Ok(cast);
        }
        let keep: BooleanArray = wrong.iter().map(|wrong| Some(!wrong)).collect();
        cast.filter(&keep).map_err(broken)
    }
}

fn excerpt(cell: &str) -> String {
    cell.chars().take(80).collect()
}

/// The column as another type; `wrong` is told of each cell that cannot be.
fn cast(column: &ArrayRef, to: To, mut wrong: impl FnMut(usize, &str)) -> ArrayRef {
    macro_rules! parse {
        ($builder:expr, $texts:expr, $read:expr) => {{
            let mut builder = $builder;
            for (row, text) in $texts.iter().enumerate() {
                let value = text.filter(|text| !text.is_empty()).and_then(|text| {
                    let value = $read(text);
                    if value.is_none() {
                        wrong(row, text);
                    }
                    value
                });
                builder.append_option(value);
            }
            Arc::new(builder.finish())
        }};
    }
    match (column.as_string_opt::<i32>(), to) {
        (Some(texts), To::Integer) => parse!(Int64Builder::new(), texts, integer),
        (Some(texts), To::Number) => parse!(Float64Builder::new(), texts, number),
        (Some(texts), To::Boolean) => parse!(BooleanBuilder::new(), texts, truth),
        (None, To::Number) => match column.as_primitive_opt::<Int64Type>() {
            Some(integers) => Arc::new(integers.unary::<_, Float64Type>(|n| n as f64)),
            None => column.clone(),
        },
        (None, To::Text) => texts(column),
        _ => column.clone(),
    }
}

fn texts(column: &ArrayRef) -> ArrayRef {
    let mut builder = StringBuilder::new();
    for row in 0..column.len() {
        if column.is_null(row) {
            builder.append_null();
        } else if let Some(integers) = column.as_primitive_opt::<Int64Type>() {
            builder.append_value(integers.value(row).to_string());
        } else if let Some(numbers) = column.as_primitive_opt::<Float64Type>() {
            builder.append_value(numbers.value(row).to_string());
        } else {
            builder.append_value(if column.as_boolean().value(row) { "true" } else { "false" });
        }
    }
    Arc::new(builder.finish())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::format::testing::{batch, input, say, texts as cells};
    use pipectl_framework::plugin::row_to_json;

    fn cast_of(rows: &Batch, with: Value) -> (Vec<Value>, Vec<String>) {
        let cast: Cast = serde_json::from_value(with).unwrap();
        let bound = cast.bind(&input(rows)).unwrap();
        let mut rejects = Rejects::default();
        let out = bound.body.apply(rows.clone(), &mut rejects).unwrap();
        let rows = (0..out.rows()).map(|row| row_to_json(out.columns(), row)).collect();
        (rows, rejects.rows().iter().map(|r| format!("{}: {}", r.row, r.reason)).collect())
    }

    #[test]
    fn cells_become_what_they_say_and_others_are_rejected() {
        let rows = batch(vec![
            ("a", cells(&[Some("1"), Some("x"), None, Some(""), Some("-9223372036854775808"), Some("1.5")])),
            ("b", cells(&[Some("1.5e3"), Some("y"), Some("2"), Some("true"), Some("nan"), Some("0")])),
        ]);
        let (given, rejected) = cast_of(&rows, json!({ "fields": { "a": "integer", "b": "number" } }));
        assert_eq!(given, [json!({ "a": 1, "b": 1500.0 }), json!({ "a": null, "b": 2.0 })]);
        assert_eq!(
            rejected,
            [
                "1: `a` is not an integer: \"x\"",
                "5: `a` is not an integer: \"1.5\"",
                "3: `b` is not a number: \"true\"",
                "4: `b` is not a number: \"nan\"",
            ]
        );
        let (back, _) = cast_of(
            &batch(vec![("n", Arc::new(arrow_array::Int64Array::from(vec![Some(7), None])))]),
            json!({ "fields": { "n": "text" } }),
        );
        assert_eq!(back, [json!({ "n": "7" }), json!({ "n": null })]);
    }

    #[test]
    fn a_type_that_is_not_there_is_a_problem_at_its_field() {
        let rows = batch(vec![("a", cells(&[Some("1")]))]);
        let cast: Cast = serde_json::from_value(json!({ "fields": { "a": "integr" } })).unwrap();
        let problem = say(cast.bind(&input(&rows)));
        assert_eq!((problem.path.as_str(), problem.message.as_str()), ("fields.a", "`integr` is not a type"));
        assert_eq!(problem.help, ["did you mean `integer`?"]);
    }
}
