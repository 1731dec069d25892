//! Transforms: pure functions from batch to batch.

use arrow_schema::SchemaRef;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::{Input, Rejects};
use crate::batch::Batch;
use crate::config::Problem;
use crate::error::Result;

/// Does the work of a transform. One object per chain, which cannot change: what it gives for a row depends
/// on that row alone. After a fault or a restart rows are read again, and whatever it had kept of them would
/// be of another time.
pub trait Transform: Send + Sync {
    /// Called once per batch, in the order of the source. Gives the rows that go on, with the schema that
    /// [`BoundTransform`] promised. Rows may be left out (counted as `filtered`) or rejected (see
    /// [`Rejects`]), and a row's time and offset stay with it ([`Batch::filter`] and [`Batch::take`] see to
    /// that).
    ///
    /// # Errors
    /// Any error ends this try of the chain; a `Fatal` one ends the run. A bad *row* is not an error: reject
    /// it.
    fn apply(&self, batch: Batch, rejects: &mut Rejects) -> Result<Batch>;
}

/// Which columns of its input a step looks at; planning tells the source, which then need not read the
/// others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reads {
    /// It may look at any column.
    All,
    /// It looks at these, and passes the others through.
    AndPasses(Vec<String>),
    /// It looks at these, and nothing behind it sees any other.
    Only(Vec<String>),
}

/// A transform that planning has bound to its input.
pub struct BoundTransform {
    /// The schema of what it gives.
    pub schema: SchemaRef,
    /// Which columns it looks at.
    pub reads: Reads,
    /// For each column of `schema` the column of its input that it holds unchanged, by index; `None` for one
    /// that is made here. Whether several workers can share a window is told from it: a topic that is keyed
    /// by `gender` is keyed by what `gender` is renamed to, and not by what is made of it.
    pub origins: Vec<Option<usize>>,
    /// The object that does the work.
    pub body: Box<dyn Transform>,
}

/// The configuration of a transform: what stands in its `with:`.
pub trait TransformPlugin: DeserializeOwned + JsonSchema + 'static {
    /// The name in the file.
    const NAME: &'static str;
    /// One line for `pipectl plugins`.
    const SUMMARY: &'static str;
    /// A step in YAML, as `- transform: ...`, that `describe` prints and a test binds.
    const EXAMPLE: &'static str;

    /// Called while planning, before anything has started. Finds the columns and makes the transform.
    ///
    /// # Errors
    /// A [`Problem`] with the path of the offending value; all problems of the file are shown together.
    fn bind(self, input: &Input) -> Result<BoundTransform, Problem>;
}
