//! The `filter` transform: the rows whose field has one of some values.

use arrow_array::BooleanArray;
use pipectl_framework::plugin::{
    Batch, BoundTransform, Error, Input, Problem, Reads, Rejects, Result, Transform, TransformPlugin,
};
use pipectl_framework::register;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::condition::{Condition, Matcher};

/// The rows whose field has one of some values.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
struct Filter(Condition);

register!(transform: Filter);

impl TransformPlugin for Filter {
    const NAME: &'static str = "filter";
    const SUMMARY: &'static str = "the rows whose field has one of some values";
    const EXAMPLE: &'static str = "\
- transform: filter
  with: { field: gender, in: [\"0\", \"1\"] }
";

    fn bind(self, input: &Input) -> Result<BoundTransform, Problem> {
        let field = self.0.field.clone();
        Ok(BoundTransform {
            schema: input.schema.clone(),
            reads: Reads::AndPasses(vec![field]),
            origins: (0..input.schema.fields().len()).map(Some).collect(),
            body: Box::new(Keep(self.0.bind(input, "a filter")?)),
        })
    }
}

struct Keep(Matcher);

impl Transform for Keep {
    fn apply(&self, batch: Batch, _rejects: &mut Rejects) -> Result<Batch> {
        let keep = self.0.rows(batch.columns())?;
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
    use serde_json::{Value, json};

    use super::*;
    use crate::format::testing::{batch, input, say, texts};

    fn filter(with: Value) -> Filter {
        serde_json::from_value(with).unwrap()
    }

    /// The offsets of the rows that are kept.
    fn kept(rows: &Batch, with: Value) -> Vec<i64> {
        let bound = filter(with).bind(&input(rows)).unwrap();
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

    #[test]
    fn both_zeros_are_one_value() {
        let cells = vec![Some(0.0), Some(-0.0), None, Some(1.0), Some(-0.0)];
        let rows = batch(vec![("n", Arc::new(Float64Array::from(cells)))]);
        for zero in [json!(0), json!(0.0), json!(-0.0)] {
            assert_eq!(kept(&rows, json!({ "field": "n", "equals": zero })), [0, 1, 4], "{zero}");
            assert_eq!(kept(&rows, json!({ "field": "n", "in": [1, zero] })), [0, 1, 3, 4], "{zero}");
            assert_eq!(kept(&rows, json!({ "field": "n", "equals": zero, "not": true })), [2, 3], "{zero}");
        }
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
