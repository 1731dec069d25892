//! Aggregates: what a window keeps of its rows. The framework owns everything else: assignment of rows to
//! windows, keys, time, lateness, state, replay and firing.

use std::any::Any;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::Field;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::{BindContext, Input};
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
    /// One behind the other, from this row on; `From(0)` in the commonest case, where the whole batch is
    /// chosen.
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

    /// True where a state can be taken out of another again ([`AggregateState::remove`]): a sum, but not a
    /// minimum. It is asked once. Without it, overlapping windows are put together with two stacks of panes,
    /// which costs memory, not more time per row.
    fn removes(&self) -> bool {
        false
    }

    /// True where the number of rows is all it needs; `add`, `merge` and `remove` are then never called.
    fn only_counts(&self) -> bool {
        false
    }

    /// For each of [`fields`](Self::fields), true where the values of sets of rows that have no row in common
    /// add up to the value of all of them: a count or a sum, but no mean and no number of distinct values. A
    /// page adds up such columns alone.
    fn adds(&self) -> Vec<bool> {
        vec![false; self.fields().len()]
    }

    /// The version of what [`AggregateState::save`] writes: raise it where that changes, and what an older
    /// version of the program wrote is refused by name in place of being read as something else.
    fn version(&self) -> u32 {
        1
    }

    /// How many rows a key has in a result. Only aggregates of one row can stand side by side in one step.
    fn per_key(&self) -> PerKey {
        PerKey::One
    }
}

/// How many rows a key has in a result, and what tells them apart: [`Aggregate::per_key`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PerKey {
    /// One.
    One,
    /// One for each value of this column, which tells them apart as a field of the key would: the buckets of
    /// a histogram.
    Each(String),
    /// The first few in an order.
    Ranked(Ranked),
}

/// Rows that are the first few in an order, such as the three most frequent values.
///
/// A window that is given again may have another value at a place: that is what takes the place of the
/// earlier row, and not the row of the same value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranked {
    /// The column of whole numbers that says which place a row has, from 1 on.
    pub place: String,
    /// The column of what stands there.
    pub name: String,
}

/// The state of one pane, or of a window: one value per group. A group that was never added to holds the
/// neutral value (a sum of 0), however great its number. How many rows a group has, the framework counts
/// itself.
///
/// Laws, which [`testing::laws::aggregate`](crate::testing::laws::aggregate) checks for anybody's aggregate:
/// adding a batch equals adding its rows one by one; merging is associative, and merging an empty state
/// changes nothing; `remove` undoes `merge`; `merge_group` is `merge` for one group. Where values are of one
/// type and a group's result depends on them alone, implement [`Fold`](super::fold::Fold) instead.
pub trait AggregateState: Send {
    /// Adds the chosen rows. Called once per batch and pane: the hot path; it must not allocate per row.
    fn add(&mut self, batch: &RecordBatch, groups: Groups<'_>);

    /// Adds another state of the same aggregate, whose group `g` is group `into[g]` here (each number at most
    /// once; `other` has no group beyond `into`). Called when panes are put together to a window, and the
    /// windows of several partitions to one result.
    fn merge(&mut self, other: &dyn AggregateState, into: &[u32]);

    /// Takes another state out that was merged before with the same `from`. Called only where
    /// [`Aggregate::removes`].
    fn remove(&mut self, _other: &dyn AggregateState, _from: &[u32]) {}

    /// Adds what group `from` of another state of the same aggregate holds to group `into` here. Called when
    /// a row makes two sessions one, and when a session has rows of several partitions.
    fn merge_group(&mut self, other: &dyn AggregateState, from: u32, into: u32);

    /// Adds what a group holds to `bytes`, for [`load`](Self::load). Called when the state of a long window
    /// is written to its changelog; groups without a row are left out. See [`saved`](super::saved) for a
    /// form.
    fn save(&self, group: u32, bytes: &mut Vec<u8>);

    /// Makes a neutral group hold what was saved: `bytes` are those that one call of [`save`](Self::save)
    /// added. Called after a restart.
    ///
    /// # Errors
    /// `Fatal` where they are not what this version saves; see [`saved::read`](super::saved::read).
    fn load(&mut self, group: u32, bytes: &[u8]) -> Result<()>;

    /// Makes a group neutral again. Called when a session is over, before its number is given to another.
    fn reset(&mut self, group: u32);

    /// The results of `groups`; group `groups[i]` has `rows[i]` rows. It may have none: a key that
    /// `zero_fill` keeps.
    ///
    /// # Errors
    /// Only where a result cannot be represented (an overflow); it ends the run.
    fn finish(&self, groups: &[u32], rows: &[i64]) -> Result<Results>;

    /// The bytes held, for the cap on a window's state.
    fn bytes(&self) -> usize;

    /// For `merge` and `remove`, to reach the other state's own type.
    fn as_any(&self) -> &dyn Any;
}

/// What planning knows of rows that are results of windows: [`Sink::told`](super::Sink::told).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResultMeaning {
    /// The columns that tell the rows of one window apart: it has one row for each of their values.
    pub keys: Vec<String>,
    /// Such columns, by their names in the window, that are not among the columns any more: a window may have
    /// several rows of one value of `keys`.
    pub lost_keys: Vec<String>,
    /// The columns whose values add up over the keys of a window.
    pub over_keys: Vec<String>,
    /// Those whose values add up over windows as well: windows do not overlap.
    pub over_windows: Vec<String>,
    /// Where a window has the first few rows in an order, in place of one for each value of `keys`.
    pub ranked: Option<RankedMeaning>,
    /// The columns of numbers that the aggregate gives, in its order, without that of the places.
    pub values: Vec<String>,
    /// True where each key has windows of its own, of any length.
    pub sessions: bool,
}

/// What is known of rows that are the first few in an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankedMeaning {
    /// The column of the places, from 1 on; `None` where it is not among the columns any more, or rows were
    /// left out on the way, so that a place may be without its row.
    pub place: Option<String>,
    /// The column of what stands at a place; `None` likewise.
    pub name: Option<String>,
    /// True where a window may give its result again, with another row at a place.
    pub again: bool,
}

impl ResultMeaning {
    /// The same for columns under other names, each before and now; those that are not among them are gone.
    #[must_use]
    pub fn renamed(self, names: &[(String, String)]) -> Self {
        let now = |name: &String| names.iter().find(|(before, _)| before == name).map(|(_, now)| now.clone());
        let all = |columns: &[String]| columns.iter().filter_map(now).collect();
        let lost = self.keys.iter().filter(|key| now(key).is_none()).cloned();
        Self {
            keys: all(&self.keys),
            lost_keys: self.lost_keys.iter().cloned().chain(lost).collect(),
            over_keys: all(&self.over_keys),
            over_windows: all(&self.over_windows),
            ranked: self.ranked.map(|ranked| RankedMeaning {
                place: ranked.place.as_ref().and_then(now),
                name: ranked.name.as_ref().and_then(now),
                again: ranked.again,
            }),
            values: all(&self.values),
            sessions: self.sessions,
        }
    }
}

/// What a closed window yields.
#[derive(Debug)]
pub struct Results {
    /// Which of the groups asked for each row belongs to: an index into `groups`, not a group. `None` where
    /// there is one row for each, in that order. An aggregate may give fewer rows than groups, or more (the
    /// ten greatest of each key).
    pub rows: Option<Vec<u32>>,
    /// The columns, in the order of [`Aggregate::fields`], all of the same length.
    pub columns: Vec<ArrayRef>,
}

impl Results {
    /// One row for each group asked for, in that order.
    pub fn each(columns: Vec<ArrayRef>) -> Self {
        Self { rows: None, columns }
    }
}

/// An aggregate that planning has bound to its input.
pub struct BoundWindow {
    /// The columns that the aggregate looks at; planning adds those of the keys.
    pub reads: Vec<String>,
    /// The aggregate.
    pub aggregate: Box<dyn Aggregate>,
}

/// The configuration of a window: what stands in its `with:` beside the framework's own settings (`key`,
/// `size`, `slide`, `zero_fill`, ...). It works in every kind of window, alone or beside others in an
/// `aggregates` step.
pub trait WindowPlugin: DeserializeOwned + JsonSchema + 'static {
    /// The name in the file.
    const NAME: &'static str;
    /// One line for `pipectl plugins`.
    const SUMMARY: &'static str;
    /// A step in YAML, as `- window: ...`, that `describe` prints and a test binds.
    const EXAMPLE: &'static str;
    /// True where the step makes no sense without a `key`.
    const NEEDS_KEY: bool = false;

    /// Called while planning, before anything has started.
    ///
    /// # Errors
    /// A [`Problem`] with the path of the offending value.
    fn bind(self, input: &Input, context: &BindContext<'_>) -> Result<BoundWindow, Problem>;
}
