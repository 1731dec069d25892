//! A transaction that takes longer than it may because of what stands behind the source: a slow step, or many
//! rows of a quick one. The same rows would take as long again, so the chain reads fewer of them for each
//! transaction, and ends where that does not help.

use super::Chain;
use crate::error::{Consequence, Error, Result};
use crate::run::writers::TRANSACTION_TIMEOUT;

/// How much less is read at a time after each transaction that took too long, as a power of two.
const LESS: u32 = 6;

impl Chain {
    /// True where the log has ended the transaction, and the chain was too long in coming back to it.
    pub(super) fn is_overdue(&self, error: &Error) -> bool {
        error.consequence() == Consequence::Fenced && self.writers.overdue()
    }

    /// From its next opening on the chain reads less at a time, until it has committed.
    ///
    /// # Errors
    /// `Fatal` where it cannot be less.
    pub(super) fn takes_less(&mut self) -> Result<()> {
        if self.batch_rows() > 1 {
            self.overdue += 1;
            return Ok(());
        }
        let (tries, most) = (self.overdue + 1, TRANSACTION_TIMEOUT.as_secs());
        Err(Error::fatal(format!(
            "a transaction may stay open for {most} s, and the chain took longer {tries} times in a row, at last for a few records: one of \
             its steps is too slow"
        ))
        .remedy(
            "see how long its transforms and its sinks take for a batch, and mend the slow one, or let it stand in a chain of its own \
             behind a topic, with `delivery: at_least_once`",
        ))
    }

    /// The most rows in a batch of its source.
    pub(super) fn batch_rows(&self) -> usize {
        let less = self.environment.options.batch_rows.checked_shr(LESS * self.overdue);
        less.unwrap_or_default().max(1)
    }
}
