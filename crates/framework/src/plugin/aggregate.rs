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

/// Chosen rows of a batch, each with its group: a dense number that stands for a key.
#[derive(Debug, Clone, Copy)]
pub struct Groups<'a> {
    /// The group of each chosen row.
    pub ids: &'a [u32],
    /// Which rows are chosen: as many as there are `ids`.
    pub rows: Rows<'a>,
    /// How many groups there are: every id is below it.
    pub count: usize,
}

/// Which rows of a batch an aggregate is to add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows<'a> {
    /// One behind the other, from this row on; `From(0)` in the commonest case, where the whole batch is chosen.
    From(usize),
    /// These, in rising order.
    Listed(&'a [u32]),
}

impl Groups<'_> {
    /// Each chosen row with its group.
    ///
    /// ```
    /// use pipectl_framework::plugin::{Groups, Rows};
    /// let groups = Groups { ids: &[7, 8], rows: Rows::From(3), count: 9 };
    /// assert_eq!(groups.iter().collect::<Vec<_>>(), [(3, 7), (4, 8)]);
    /// let groups = Groups { ids: &[7, 8], rows: Rows::Listed(&[0, 5]), count: 9 };
    /// assert_eq!(groups.iter().collect::<Vec<_>>(), [(0, 7), (5, 8)]);
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (usize, u32)> + '_ {
        self.ids.iter().enumerate().map(|(i, group)| match self.rows {
            Rows::From(first) => (first + i, *group),
            Rows::Listed(rows) => (rows[i] as usize, *group),
        })
    }
}

/// An aggregate that planning has bound to its input; makes the state of each pane.
pub trait Aggregate: Send + Sync {
    /// The columns that it adds to a result, in order.
    fn fields(&self) -> Vec<Field>;

    /// An empty state.
    fn state(&self) -> Box<dyn AggregateState>;
}

/// The state of one pane, or of a window: one value per group. A group that was never added to holds the neutral value (a count of
/// 0), however great its number.
///
/// Laws, which `testing` checks for anybody's aggregate: adding a batch equals adding its rows one by one; merging is associative,
/// and merging an empty state changes nothing; `remove` undoes `merge`.
pub trait AggregateState: Send {
    /// Adds the chosen rows. Called once per batch and pane: the hot path; it must not allocate per row.
    fn add(&mut self, batch: &RecordBatch, groups: Groups<'_>);

    /// Adds another state of the same aggregate, whose group `g` is group `into[g]` here (each number at most once; `other` has no group beyond
    /// `into`). Called when panes are put together to a window, and the windows of several partitions to one result.
    fn merge(&mut self, other: &dyn AggregateState, into: &[u32]);

    /// Takes another state out that was merged before with the same `from`. Gives false, and does nothing, where that cannot be
    /// done (a minimum); the framework then merges the panes of every window anew.
    fn remove(&mut self, other: &dyn AggregateState, from: &[u32]) -> bool;

    /// The results of `groups`.
    ///
    /// # Errors
    /// Only where a result cannot be represented (an overflow); it ends the run.
    fn finish(&self, groups: &[u32]) -> Result<Results>;

    /// True where no row is in `group`, so that a result without zero fill leaves it out.
    fn is_empty(&self, group: u32) -> bool;

    /// Back to empty, keeping the memory.
    fn clear(&mut self);

    /// The bytes held, for metrics and caps.
    fn bytes(&self) -> usize;

    /// For `merge` and `remove`, to reach the other state's own type.
    fn as_any(&self) -> &dyn Any;
}

/// What a closed window yields.
#[derive(Debug)]
pub struct Results {
    /// The group of each row; `None` where there is one row for each group asked for, in that order. An aggregate may give fewer rows (the
    /// ten greatest keys) or more (several quantiles of a key).
    pub groups: Option<Vec<u32>>,
    /// The columns, in the order of [`Aggregate::fields`], all of the same length.
    pub columns: Vec<ArrayRef>,
}

impl Results {
    /// One row for each group asked for, in that order.
    pub fn each(columns: Vec<ArrayRef>) -> Self {
        Self { groups: None, columns }
    }
}

/// A column of the input that is a key, and its name in the results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyColumn {
    /// The column's index in the input.
    pub column: usize,
    /// Its name in the results, where it is text. With a single key that is `key`, so that a chain that follows needs no
    /// change when another column is counted.
    pub name: String,
}

/// A window that planning has bound to its input.
pub struct BoundWindow {
    /// The columns that make the key, each text, integer, or true or false; with none, all rows are one group.
    pub keys: Vec<KeyColumn>,
    /// Which columns the keys and the aggregate look at.
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
