//! What windows that are still open have so far.

use std::collections::BTreeSet;
use std::time::Duration;

use super::fire::Purpose;
use super::operator::{WindowOperator, WindowOutput};
use crate::clock::Millis;
use crate::error::Result;

impl WindowOperator {
    /// When updates are due, if any are.
    pub(super) fn next_update(&self, now: Duration) -> Option<Duration> {
        // While rows are read again, none is given: to wake for one would be to wake for ever.
        let every = self.settings.every.filter(|_| !self.is_replaying())?;
        let changed = match &self.sessions {
            Some(sessions) => sessions.has_changed(),
            None => !self.changed.is_empty(),
        };
        changed.then(|| self.updated.map_or(now, |at| at.saturating_add(every)))
    }

    /// Gives each open window that has changed, in the order of their ends, where that is due.
    pub(super) fn give_updates(&mut self, now: Duration, out: &mut WindowOutput) -> Result<()> {
        if self.next_update(now).is_none_or(|at| at > now) {
            return Ok(());
        }
        self.updated = Some(now);
        if self.sessions.is_some() {
            return self.give_sessions_so_far(out);
        }
        let closed = self.partitions.values().filter_map(|a| a.closed_until).max().unwrap_or(Millis::MIN);
        let mut ends = BTreeSet::new();
        for pane in std::mem::take(&mut self.changed) {
            let last = self.grid.last_end(pane);
            let mut end = self.grid.first_end(pane).max(self.grid.end_after(closed));
            while end <= last {
                ends.insert(end);
                end += self.grid.slide();
            }
        }
        for end in ends {
            out.results.extend(self.window(end, Purpose::Early)?);
        }
        Ok(())
    }
}
