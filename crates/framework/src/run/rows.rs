//! Rows on their way through a chain: new, or read again to rebuild what a window or another step holds.

use std::fmt;

use crate::batch::{Batch, Partition};

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

/// Which rows or records they are, for a message: `on records 17 to 42 of orders[0]`.
#[derive(Debug)]
pub(super) struct Extent {
    partition: Partition,
    offsets: Option<(i64, i64)>,
}

impl Extent {
    pub(super) fn of(partition: &Partition, offsets: &[i64]) -> Self {
        let offsets = offsets.first().copied().zip(offsets.last().copied());
        Self { partition: partition.clone(), offsets }
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offsets {
            Some((first, last)) => write!(f, "on records {first} to {last} of {}", self.partition),
            None => write!(f, "on rows of {}", self.partition),
        }
    }
}
