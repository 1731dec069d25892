//! `count-by-key`, and `count`: how many rows there are.

use std::any::Any;
use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field};
use pipectl_framework::plugin::{
    Aggregate, AggregateState, BindContext, BoundWindow, Groups, Input, Problem, Result, Results,
    WindowPlugin,
};
use pipectl_framework::register;
use schemars::JsonSchema;
use serde::Deserialize;

/// Counts the rows of each key.
///
/// A result has the columns `window_start`, `window_end`, `key` (text) and `count` (integer). A row without a
/// value in the key column (null) counts under a key of its own, null, which is not the empty text.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CountByKey {}

register!(window: CountByKey);

impl WindowPlugin for CountByKey {
    const NAME: &'static str = "count-by-key";
    const SUMMARY: &'static str = "counts the rows of each key in a window";
    const EXAMPLE: &'static str =
        "- window: count-by-key\n  with: { key: gender, size: 1s, slide: 1s, zero_fill: seen }";
    const NEEDS_KEY: bool = true;

    fn bind(self, _input: &Input, _context: &BindContext<'_>) -> Result<BoundWindow, Problem> {
        Ok(BoundWindow { reads: Vec::new(), aggregate: Box::new(Count { name: "count".to_owned() }) })
    }
}

/// Counts rows: all of them, or those of each key.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CountRows {
    /// The name of the result's column. Default: `count`.
    r#as: Option<String>,
}

register!(window: CountRows);

impl WindowPlugin for CountRows {
    const NAME: &'static str = "count";
    const SUMMARY: &'static str = "counts the rows in a window, of each key if there is one";
    const EXAMPLE: &'static str = "- window: count\n  with: { size: 1s }";

    fn bind(self, _input: &Input, _context: &BindContext<'_>) -> Result<BoundWindow, Problem> {
        let name = self.r#as.unwrap_or_else(|| "count".to_owned());
        Ok(BoundWindow { reads: Vec::new(), aggregate: Box::new(Count { name }) })
    }
}

/// The aggregate: a number of rows, which the framework counts itself.
#[derive(Debug, Clone)]
struct Count {
    name: String,
}

impl Aggregate for Count {
    fn fields(&self) -> Vec<Field> {
        vec![Field::new(&self.name, DataType::Int64, false)]
    }

    fn state(&self) -> Box<dyn AggregateState> {
        Box::new(NoState)
    }

    fn removes(&self) -> bool {
        true
    }

    fn only_counts(&self) -> bool {
        true
    }

    fn adds(&self) -> Vec<bool> {
        vec![true]
    }
}

struct NoState;

impl AggregateState for NoState {
    fn add(&mut self, _: &RecordBatch, _: Groups<'_>) {}

    fn merge(&mut self, _: &dyn AggregateState, _: &[u32]) {}

    fn merge_group(&mut self, _: &dyn AggregateState, _: u32, _: u32) {}

    fn save(&self, _: u32, _: &mut Vec<u8>) {}

    fn load(&mut self, _: u32, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn reset(&mut self, _: u32) {}

    fn finish(&self, _: &[u32], rows: &[i64]) -> Result<Results> {
        Ok(Results::each(vec![Arc::new(Int64Array::from(rows.to_vec()))]))
    }

    fn bytes(&self) -> usize {
        0
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
