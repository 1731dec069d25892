//! Rows on their way through a chain: new, or read again to rebuild what a window or another step holds.

use std::fmt;
use std::sync::Arc;

use crate::batch::{Batch, Lines, Partition};

/// Rows that come for the first time since they were last committed. Whatever writes rows takes these, and no
/// others.
#[derive(Debug)]
pub(super) struct NewRows(Batch);

/// Rows that were dealt with before, and are read again. They reach steps that hold state; nothing is written
/// for them.
#[derive(Debug)]
pub(super) struct AgainRows(Batch);

/// What a step is given. Only [`Rows::of`] makes the one or the other.
#[derive(Debug)]
pub(super) enum Rows {
    New(NewRows),
    Again(AgainRows),
}

impl Rows {
    /// The rows of a batch, by what its source says of them.
    pub(super) fn of(batch: Batch) -> Self {
        if batch.origin().replay { Self::Again(AgainRows(batch)) } else { Self::New(NewRows(batch)) }
    }

    pub(super) fn batch(&self) -> &Batch {
        match self {
            Self::New(NewRows(batch)) | Self::Again(AgainRows(batch)) => batch,
        }
    }

    pub(super) fn into_batch(self) -> Batch {
        match self {
            Self::New(NewRows(batch)) | Self::Again(AgainRows(batch)) => batch,
        }
    }
}

impl NewRows {
    pub(super) fn batch(&self) -> &Batch {
        &self.0
    }
}

impl AgainRows {
    pub(super) fn batch(&self) -> &Batch {
        &self.0
    }
}

/// Which rows or records they are, for a message: `on records 17 to 42 of orders[0]`,
/// `on the rows from a.csv:2 to a.csv:9`.
#[derive(Debug)]
pub(super) struct Extent {
    partition: Partition,
    offsets: Option<(i64, i64)>,
    lines: Option<Arc<Lines>>,
}

impl Extent {
    pub(super) fn of(batch: &Batch) -> Self {
        let origin = batch.origin();
        Self { lines: batch.lines().cloned(), ..Self::of_records(&origin.partition, &origin.offsets) }
    }

    pub(super) fn of_records(partition: &Partition, offsets: &[i64]) -> Self {
        let offsets = offsets.first().copied().zip(offsets.last().copied());
        Self { partition: partition.clone(), offsets, lines: None }
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.offsets, &self.lines) {
            (Some((first, last)), Some(lines)) => {
                write!(f, "on the rows from {} to {}", lines.place(first), lines.place(last))
            }
            (Some((first, last)), None) => write!(f, "on records {first} to {last} of {}", self.partition),
            (None, _) => write!(f, "on rows of {}", self.partition),
        }
    }
}
