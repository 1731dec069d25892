//! The `select` transform: some columns, in an order, under a name.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{Schema, SchemaRef};
use pipectl_framework::plugin::{
    Batch, BoundTransform, Error, Input, Problem, Reads, Rejects, Result, Transform, TransformPlugin,
};
use pipectl_framework::register;
use schemars::JsonSchema;
use serde::Deserialize;

/// Some columns of each row.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Select {
    /// The columns that go on, in this order. All others are left out, and a source that can leave them
    /// unread does.
    fields: Vec<String>,
    /// New names for some of them, as `{ old: new }`. Default: none.
    #[serde(default)]
    rename: BTreeMap<String, String>,
}

register!(transform: Select);

impl TransformPlugin for Select {
    const NAME: &'static str = "select";
    const SUMMARY: &'static str = "some columns, in an order, under other names";
    const EXAMPLE: &'static str = "\
- transform: select
  with: { fields: [gender, province], rename: { gender: sex } }
";

    fn bind(self, input: &Input) -> Result<BoundTransform, Problem> {
        if self.fields.is_empty() {
            return Err(Problem::new("fields", "at least one field is needed"));
        }
        let mut columns = Vec::with_capacity(self.fields.len());
        let mut fields = Vec::with_capacity(self.fields.len());
        for (place, name) in self.fields.iter().enumerate() {
            let path = format!("fields[{place}]");
            let index = input.column(&path, name)?;
            let given = self.rename.get(name).unwrap_or(name);
            if fields.iter().any(|f: &arrow_schema::Field| f.name() == given) {
                return Err(Problem::new(path, format!("the field `{given}` is there twice")));
            }
            columns.push(index);
            fields.push(input.schema.field(index).clone().with_name(given));
        }
        if let Some(name) = self.rename.keys().find(|name| !self.fields.contains(name)) {
            return Err(Problem::new(
                format!("rename.{name}"),
                format!("`{name}` is not among the `fields`"),
            )
            .suggest(name, self.fields.iter().map(String::as_str)));
        }
        let schema = Arc::new(Schema::new(fields));
        let origins = columns.iter().copied().map(Some).collect();
        let body = Box::new(Project { columns, schema: schema.clone() });
        Ok(BoundTransform { schema, reads: Reads::Only(self.fields), origins, body })
    }
}

struct Project {
    columns: Vec<usize>,
    schema: SchemaRef,
}

impl Transform for Project {
    fn apply(&self, batch: Batch, _rejects: &mut Rejects) -> Result<Batch> {
        let broken = |e| Error::fatal("a batch has not the columns that were planned").caused_by(e);
        let options = RecordBatchOptions::new().with_row_count(Some(batch.rows()));
        let given = batch.columns().columns();
        let columns = self.columns.iter().filter_map(|i| given.get(*i).cloned()).collect();
        let columns =
            RecordBatch::try_new_with_options(self.schema.clone(), columns, &options).map_err(broken)?;
        batch.with_columns(columns).map_err(broken)
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use serde_json::json;

    use super::*;
    use crate::format::testing::{batch, input, say, texts};

    fn select(with: serde_json::Value) -> Select {
        serde_json::from_value(with).unwrap()
    }

    fn rows() -> Batch {
        let column = |cell| texts(&[Some(cell), None]);
        batch(vec![("a", column("1")), ("b", column("2")), ("c", column("3"))])
    }

    #[test]
    fn the_columns_come_in_the_order_asked_with_time_and_origin() {
        let batch = rows();
        let with = json!({ "fields": ["c", "a"], "rename": { "a": "x" } });
        let bound = select(with).bind(&input(&batch)).unwrap();
        assert_eq!(bound.reads, Reads::Only(vec!["c".into(), "a".into()]));
        let out = bound.body.apply(batch.clone(), &mut Rejects::default()).unwrap();
        assert_eq!(out.schema(), bound.schema);
        assert_eq!(out.schema().fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>(), ["c", "x"]);
        let cells: Vec<_> = (0..2).map(|c| out.column(c).as_string::<i32>().value(0)).collect();
        assert_eq!(cells, ["3", "1"]);
        assert_eq!(
            (out.times().values(), &out.origin().offsets),
            (batch.times().values(), &batch.origin().offsets)
        );
    }

    #[test]
    fn what_is_not_there_is_a_problem_with_a_place() {
        let path = |with| say(select(with).bind(&input(&rows()))).path;
        assert_eq!(path(json!({ "fields": [] })), "fields");
        assert_eq!(path(json!({ "fields": ["a", "x"] })), "fields[1]");
        assert_eq!(path(json!({ "fields": ["a", "a"] })), "fields[1]");
        assert_eq!(path(json!({ "fields": ["a", "b"], "rename": { "b": "a" } })), "fields[1]");
        assert_eq!(path(json!({ "fields": ["a"], "rename": { "b": "x" } })), "rename.b");
    }
}
