//! The counters of a chain's steps, as of a commit.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::metrics::{Balance, StepMetrics};

/// The counters of every step at a commit, to go back to when what came after it is thrown away.
pub(crate) struct Checkpoint(VecDeque<(Balance, BTreeMap<String, u64>)>);

impl Checkpoint {
    pub(crate) fn take<'a>(metrics: impl Iterator<Item = &'a Arc<StepMetrics>>) -> Self {
        Self(metrics.map(|m| (m.balance(), m.reasons())).collect())
    }

    pub(crate) fn restore<'a>(&self, metrics: impl Iterator<Item = &'a Arc<StepMetrics>>) {
        for (metrics, (balance, reasons)) in metrics.zip(&self.0) {
            metrics.restore(balance, reasons);
            metrics.hand_over(0);
        }
    }
}
