//! What makes the log outlive its process: a journal that keeps each commit, all of it or nothing.
//!
//! The log itself stays in memory; a journal is told of each commit before its records become visible, and
//! gives everything back when the log is opened again. So there is one implementation of topics, groups and
//! transactions, with or without a journal.

use std::fmt;

use crate::error::{Error, Result};
use crate::log::Position;

/// A topic as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptTopic {
    /// The name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: u32,
    /// True where only the last record of each key need be kept.
    pub compacted: bool,
}

/// A batch of one partition as it is kept. Its bytes are the log's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptBatch {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset of its first record; unique in the partition.
    pub first: i64,
    /// The records.
    pub bytes: Vec<u8>,
}

/// A batch that is dropped, or the end of a partition: (topic, partition, offset).
pub type Spot = (String, i32, i64);

/// What changes together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// New topics, and topics that are compacted from now on.
    pub topics: Vec<KeptTopic>,
    /// New batches.
    pub batches: Vec<KeptBatch>,
    /// The offset that the next record of a partition gets, for those that have new batches.
    pub ends: Vec<Spot>,
    /// Positions of groups, each in the place of the one before for its group and partition.
    pub positions: Vec<(String, Position)>,
    /// Batches that nobody needs any more, by their first offset.
    pub dropped: Vec<Spot>,
}

impl Change {
    /// True where nothing changes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Keeps what a log holds. Owned by one log of one process.
pub trait Journal: Send + fmt::Debug {
    /// Everything that is kept, as one change of an empty log; batches in the order of their offsets. Called
    /// once, first.
    ///
    /// # Errors
    /// `Fatal` where it cannot be read, or is not what this version writes.
    fn load(&mut self) -> Result<Change>;

    /// Keeps a change. When it returns, the change is durable. Where it fails, all of it is or nothing;
    /// [`settle`](Self::settle) is called next, and tells.
    ///
    /// # Errors
    /// `Retry` where it may work later, such as where the disk is full; `Fatal`.
    fn commit(&mut self, change: &Change) -> Result<()>;

    /// Whether the change whose commit failed is durable all the same. Afterwards the journal can commit
    /// again.
    ///
    /// # Errors
    /// As those of [`commit`](Self::commit): it is still not known, and this is called again before anything
    /// else.
    fn settle(&mut self) -> Result<bool>;
}

/// Bytes of batches: a column after the other, little-endian.
pub(super) mod bytes {
    use arrow_array::BinaryArray;

    use super::{Error, Result};

    pub(in super::super) fn put_numbers(bytes: &mut Vec<u8>, numbers: &[i64]) {
        bytes.extend_from_slice(&(numbers.len() as u32).to_le_bytes());
        numbers.iter().for_each(|n| bytes.extend_from_slice(&n.to_le_bytes()));
    }

    /// Each cell as its length, or -1 for null, and its bytes.
    pub(in super::super) fn put_cells(bytes: &mut Vec<u8>, cells: &BinaryArray) {
        for cell in cells {
            let length = cell.map_or(-1, |cell| cell.len() as i32);
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(cell.unwrap_or_default());
        }
    }

    /// A text with its length.
    pub(in super::super) fn put_text(bytes: &mut Vec<u8>, text: &str) {
        bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }

    fn damaged() -> Error {
        Error::fatal("a batch of the log on disk is damaged")
            .remedy("restore the directory from a copy, or remove it to begin anew")
    }

    fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> Result<&'a [u8; N]> {
        let (taken, rest) = bytes.split_first_chunk::<N>().ok_or_else(damaged)?;
        *bytes = rest;
        Ok(taken)
    }

    pub(in super::super) fn numbers(bytes: &mut &[u8]) -> Result<Vec<i64>> {
        let count = u32::from_le_bytes(*take(bytes)?) as usize;
        if bytes.len() / 8 < count {
            return Err(damaged());
        }
        (0..count).map(|_| Ok(i64::from_le_bytes(*take(bytes)?))).collect()
    }

    pub(in super::super) fn text<'a>(bytes: &mut &'a [u8]) -> Result<&'a str> {
        let length = u32::from_le_bytes(*take(bytes)?) as usize;
        let (text, rest) = bytes.split_at_checked(length).ok_or_else(damaged)?;
        *bytes = rest;
        std::str::from_utf8(text).map_err(|_| damaged())
    }

    pub(in super::super) fn cells(bytes: &mut &[u8], count: usize) -> Result<BinaryArray> {
        let mut cells: Vec<Option<&[u8]>> = Vec::with_capacity(count);
        for _ in 0..count {
            let length = i32::from_le_bytes(*take(bytes)?);
            let Ok(length) = usize::try_from(length) else {
                cells.push(None);
                continue;
            };
            let (cell, rest) = bytes.split_at_checked(length).ok_or_else(damaged)?;
            cells.push(Some(cell));
            *bytes = rest;
        }
        Ok(BinaryArray::from_opt_vec(cells))
    }
}
