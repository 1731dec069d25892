//! How far time has come before each row of a batch.

use super::rows::Incoming;
use crate::batch::AsRead;
use crate::clock::Millis;
use crate::time::{Ahead, Watermark};

/// The watermark that grows with each row that was read, kept or not: so windows do not depend on how rows were cut into batches, nor on what was
/// left out of them.
pub(super) struct Progress<'a> {
    ahead: Ahead,
    /// What was read, where some of it was left out.
    read: Option<&'a AsRead>,
    /// The first row of it that has not gone by.
    next: usize,
    /// A time beyond this does not count.
    latest: Millis,
}

impl<'a> Progress<'a> {
    /// `latest` is the greatest time that counts.
    pub(super) fn new(watermark: &Watermark, incoming: Incoming<'a>, latest: Millis) -> Self {
        let batch = incoming.batch;
        let ahead = watermark.with(batch.channel(), incoming.now);
        Self { ahead, read: batch.as_read(), next: 0, latest }
    }

    /// The watermark before the row of this offset and time.
    #[inline]
    pub(super) fn before(&mut self, offset: i64, t: Millis) -> Millis {
        if let Some(read) = self.read {
            self.pass_those_before(read, offset, t);
        }
        self.ahead.now()
    }

    /// A row of time `t` goes by.
    #[inline]
    pub(super) fn pass(&mut self, t: Millis) {
        self.ahead.pass(t);
    }

    /// Rows of one record have one offset: those of another time before this one were left out.
    fn pass_those_before(&mut self, read: &AsRead, offset: i64, t: Millis) {
        while let (Some(o), Some(r)) = (read.offsets.get(self.next), read.times.get(self.next)) {
            if *o > offset || (*o == offset && *r == t) {
                break;
            }
            if *r <= self.latest {
                self.ahead.pass(*r);
            }
            self.next += 1;
        }
    }
}
