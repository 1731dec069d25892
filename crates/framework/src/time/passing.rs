//! The rows that were read with a batch, in their order.

use crate::batch::{AsRead, Batch};
use crate::clock::Millis;

/// Goes over what was read with the rows of a batch, up to a row of it: what was left out moved time as well.
#[derive(Debug)]
pub(crate) struct Passing<'a> {
    /// What was read, where that is more than the rows of the batch.
    read: Option<&'a AsRead>,
    /// The first row of it that has not gone by.
    next: usize,
}

impl<'a> Passing<'a> {
    pub(crate) fn new(batch: &'a Batch) -> Self {
        Self { read: batch.as_read(), next: 0 }
    }

    /// Gives the time of each row that was read before the one of this offset and time, and has not gone by.
    #[inline]
    pub(crate) fn before(&mut self, offset: i64, t: Millis, pass: impl FnMut(Millis)) {
        if let Some(read) = self.read {
            self.go_by(read, offset, t, pass);
        }
    }

    /// Rows of one record have one offset: those of another time before this one were left out.
    fn go_by(&mut self, read: &AsRead, offset: i64, t: Millis, mut pass: impl FnMut(Millis)) {
        while let (Some(o), Some(r)) = (read.offsets.get(self.next), read.times.get(self.next)) {
            if *o > offset || (*o == offset && *r == t) {
                break;
            }
            pass(*r);
            self.next += 1;
        }
    }
}
