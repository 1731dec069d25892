//! How far time has come before each row of a batch.

use super::incoming::Incoming;
use crate::clock::Millis;
use crate::time::{Ahead, Passing};

/// The watermark that grows with each row that was read, kept or not: so windows do not depend on how rows
/// were cut into batches, nor on what was left out of them.
pub(super) struct Progress<'a> {
    ahead: Ahead,
    passing: Passing<'a>,
    /// A time beyond this does not count.
    latest: Millis,
}

impl<'a> Progress<'a> {
    /// `latest` is the greatest time that counts.
    pub(super) fn new(ahead: Ahead, incoming: Incoming<'a>, latest: Millis) -> Self {
        Self { ahead, passing: Passing::new(incoming.batch), latest }
    }

    /// The watermark before the row of this offset and time.
    #[inline]
    pub(super) fn before(&mut self, offset: i64, t: Millis) -> Millis {
        let Self { ahead, passing, latest } = self;
        passing.before(offset, t, |time| {
            if time <= *latest {
                ahead.pass(time);
            }
        });
        self.ahead.now()
    }

    /// The watermark by which that row is late: see [`Ahead::here`].
    #[inline]
    pub(super) fn here(&self) -> Millis {
        self.ahead.here()
    }

    /// A row of time `t` goes by.
    #[inline]
    pub(super) fn pass(&mut self, t: Millis) {
        self.ahead.pass(t);
    }
}
