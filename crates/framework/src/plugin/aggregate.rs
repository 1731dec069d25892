//! Aggregates: what a window keeps of its rows. The framework owns everything else: assignment of rows to windows, keys,
//! time, lateness, state, replay and firing.

use std::any::Any;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::Field;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::{Input, Reads};
use crate::config::Problem;
use crate::error::Result;

/// The rows of a batch by group: `ids[i]` is the group of row `rows[i]`, a dense number below `count`.
#[derive(Debug, Clone, Copy)]
pub struct Groups<'a> {
    /// The group of each chosen row.
    pub ids: &'a [u32],
    /// The chosen rows, in rising order; `None` where all rows of the batch are chosen.
    pub rows: Option<&'a [u32]>,
    /// How many groups there are: every id is below it.
    pub count: usize,
}

/// An aggregate that planning has bound to its input; makes the state of each pane.
pub trait Aggregate: Send + Sync {
    /// The columns that it adds to a result, in order.
    fn fields(&self) -> Vec<Field>;

    /// An empty state.
    fn state(&self) -> Box<dyn AggregateState>;
}

/// The state of one pane: one value per group. A group that was never added to holds the neutral value (a count of 0).
///
/// Laws, which `testing` checks for anybody's aggregate: adding a batch equals adding its rows one by one; merging is associative,
/// and merging an empty state changes nothing; `remove` undoes `merge`.
pub trait AggregateState: Send {
    /// Adds the chosen rows. Called once per batch and pane: the hot path; it must not allocate per row.
    fn add(&mut self, batch: &RecordBatch, groups: Groups<'_>);

    /// Adds another state of the same aggregate, over the same groups. Called when panes are put together to a window.
    fn merge(&mut self, other: &dyn AggregateState);

    /// Takes another state out that was merged before. Gives false, and does nothing, where that cannot be done (a minimum).
    fn remove(&mut self, other: &dyn AggregateState) -> bool;

    /// The result columns for the groups `groups`, one row each, in the order of [`Aggregate::fields`].
    ///
    /// # Errors
    /// Only where a result cannot be represented (an overflow); the window's step rejects it.
    fn finish(&self, groups: &[u32]) -> Result<Vec<ArrayRef>>;

    /// True where `group` holds the neutral value.
    fn is_neutral(&self, group: u32) -> bool;

    /// Back to empty, keeping the memory.
    fn clear(&mut self);

    /// The bytes held, for metrics and caps.
    fn bytes(&self) -> usize;

    /// For `merge` and `remove`, to reach the other state's own type.
    fn as_any(&self) -> &dyn Any;
}

/// A window that planning has bound to its input.
pub struct BoundWindow {
    /// The column of the key.
    pub key: usize,
    /// Which columns the key and the aggregate look at.
    pub reads: Reads,
    /// The aggregate.
    pub aggregate: Box<dyn Aggregate>,
}

/// The configuration of a window: what stands in its `with:` beside the framework's own keys (`size`, `slide`, `zero_fill`, ...).
pub trait WindowPlugin: DeserializeOwned + JsonSchema + 'static {
    /// The name in the file.
    const NAME: &'static str;
    /// One line for `pipectl plugins`.
    const SUMMARY: &'static str;
    /// A step in YAML, as `- window: ...`, that `describe` prints and a test binds.
    const EXAMPLE: &'static str;

    /// Called while planning, before anything has started.
    ///
    /// # Errors
    /// A [`Problem`] with the path of the offending value.
    fn bind(self, input: &Input) -> Result<BoundWindow, Problem>;
}
