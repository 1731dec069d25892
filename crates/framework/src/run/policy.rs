//! What becomes of records that a step could not use: its `on_error`.

use super::dead;
use super::tree::Tree;
use crate::batch::Batch;
use crate::clock::Millis;
use crate::error::{Error, Result};
use crate::graph::OnError;
use crate::metrics::StepMetrics;
use crate::plugin::SourceReject;

/// How many of a step's unusable records are logged one by one before it goes quiet.
const LOGGED_REJECTS: u64 = 10;

impl Tree {
    /// Applies a step's `on_error` to records of a batch that it could not use. Those that are read again
    /// were counted and told before.
    pub(super) fn rejected(&mut self, index: usize, of: &Batch, rejects: &[SourceReject]) -> Result<()> {
        if rejects.is_empty() {
            return Ok(());
        }
        let step = (self.nodes[index].on_error, &*self.metrics[index], &*self.place(index));
        if let Some(batch) = apply(step, of, rejects, self.clock.stamp())? {
            let outputs = std::mem::take(&mut self.nodes[index].outputs.dead);
            self.enqueue(&outputs, batch);
            self.nodes[index].outputs.dead = outputs;
        }
        Ok(())
    }
}

/// What a step's `on_error` makes of records that could not be used: an error, nothing, or a batch for the
/// `dead` output; they were read with the batch `of`. A step is its `on_error`, its metrics and its place.
/// Records that are read again were counted and told before.
pub(super) fn apply(
    (policy, metrics, place): (OnError, &StepMetrics, &str),
    of: &Batch,
    rejects: &[SourceReject],
    now: Millis,
) -> Result<Option<Batch>> {
    let replay = of.origin().replay;
    let seen = if replay { 0 } else { metrics.reject(rejects.iter().map(|r| r.reason.as_str())) };
    match policy {
        OnError::Fail | OnError::Skip if replay => Ok(None),
        OnError::Fail => {
            let (at, reason) =
                rejects.first().map_or(("", "a record could not be used"), |r| (&r.place, &r.reason));
            Err(Error::fatal(format!("{at}: {reason}")).remedy(
                "mend the record, or let the step go on without such records: `on_error: skip` counts them, \
                 `on_error: dead_letter` sends them to a chain that begins `from:` this step's `.dead`",
            ))
        }
        OnError::Skip => {
            for reject in rejects.iter().take(LOGGED_REJECTS.saturating_sub(seen) as usize) {
                tracing::warn!(step = place, record = reject.place, "skipped: {}", reject.reason);
            }
            Ok(None)
        }
        OnError::DeadLetter => dead::batch(of, rejects, now).map(Some),
    }
}
