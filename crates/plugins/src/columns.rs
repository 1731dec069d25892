//! Builders of columns, without an allocation per row.

use arrow_array::{BinaryArray, StringArray};
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::ArrowError;

/// A column of text or bytes while it is being built. One of 2 GiB or more is an error when it is finished:
/// its offsets have 32 bits.
#[derive(Debug)]
pub(crate) struct TextColumn {
    values: Vec<u8>,
    offsets: Vec<i32>,
    /// The most bytes that it had before it was cut.
    most: usize,
}

/// What a column of so many bytes is told.
fn fits(bytes: usize) -> Result<(), ArrowError> {
    match i32::try_from(bytes) {
        Ok(_) => Ok(()),
        Err(_) => Err(ArrowError::InvalidArgumentError(format!(
            "{bytes} bytes in one column of a batch, and 2147483647 are the most: fewer or shorter rows at a time are needed"
        ))),
    }
}

impl TextColumn {
    /// An empty column with room for `rows` cells of `bytes` in all.
    pub(crate) fn with_capacity(rows: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { values: Vec::with_capacity(bytes), offsets, most: 0 }
    }

    /// Adds a cell.
    #[inline]
    pub(crate) fn push(&mut self, cell: &[u8]) {
        self.values.extend_from_slice(cell);
        self.offsets.push(self.values.len() as i32);
    }

    /// Takes away the cells behind the first `len`.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.most = self.most.max(self.values.len());
        self.offsets.truncate(len + 1);
        self.values.truncate(self.offsets.last().map_or(0, |end| *end as usize));
    }

    /// The column as text, with `nulls` where cells are null.
    ///
    /// # Errors
    /// Where a cell is not UTF-8, or all are too large together.
    pub(crate) fn finish(self, nulls: Option<NullBuffer>) -> Result<StringArray, ArrowError> {
        fits(self.most.max(self.values.len()))?;
        StringArray::try_new(OffsetBuffer::new(ScalarBuffer::from(self.offsets)), self.values.into(), nulls)
    }

    /// The column as bytes.
    ///
    /// # Errors
    /// Where the cells are too large together.
    pub(crate) fn finish_binary(self) -> Result<BinaryArray, ArrowError> {
        fits(self.most.max(self.values.len()))?;
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        Ok(BinaryArray::new(offsets, self.values.into(), None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_of_two_gibibytes_is_an_error_and_no_panic() {
        assert!(fits(i32::MAX as usize).is_ok());
        let said = fits(1 << 31).unwrap_err().to_string();
        assert!(said.contains("2147483648 bytes in one column"), "{said}");
        // What was there before it was cut has had offsets that do not fit.
        let mut column = TextColumn::with_capacity(1, 8);
        column.push(b"abc");
        column.most = 1 << 32;
        column.truncate(0);
        assert!(column.finish(None).is_err());
        let mut column = TextColumn::with_capacity(1, 8);
        column.most = 1 << 31;
        column.push(b"abc");
        assert!(column.finish_binary().is_err());
    }
}
