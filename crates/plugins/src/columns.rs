//! Builders of columns, without an allocation per row.

use arrow_array::{BinaryArray, StringArray};
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::ArrowError;

/// A column of text or bytes while it is being built.
///
/// Whoever fills it sees to it that it holds less than 2 GiB.
#[derive(Debug)]
pub(crate) struct TextColumn {
    values: Vec<u8>,
    offsets: Vec<i32>,
}

impl TextColumn {
    /// An empty column with room for `rows` cells of `bytes` in all.
    pub(crate) fn with_capacity(rows: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { values: Vec::with_capacity(bytes), offsets }
    }

    /// Adds a cell.
    #[inline]
    pub(crate) fn push(&mut self, cell: &[u8]) {
        self.values.extend_from_slice(cell);
        self.offsets.push(self.values.len() as i32);
    }

    /// Takes away the cells behind the first `len`.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.offsets.truncate(len + 1);
        self.values.truncate(self.offsets.last().map_or(0, |end| *end as usize));
    }

    /// The column as text, with `nulls` where cells are null.
    ///
    /// # Errors
    /// Where a cell is not UTF-8.
    pub(crate) fn finish(self, nulls: Option<NullBuffer>) -> Result<StringArray, ArrowError> {
        StringArray::try_new(OffsetBuffer::new(ScalarBuffer::from(self.offsets)), self.values.into(), nulls)
    }

    /// The column as bytes.
    pub(crate) fn finish_binary(self) -> BinaryArray {
        BinaryArray::new(OffsetBuffer::new(ScalarBuffer::from(self.offsets)), self.values.into(), None)
    }
}
