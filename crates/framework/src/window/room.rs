//! How much a window step holds, and how room is made.

use super::operator::WindowOperator;
use super::sessions::Sessions;
use super::settings::TimeMode;
use super::tally::Tally;
use crate::batch::Batch;
use crate::clock::Millis;

impl WindowOperator {
    /// Makes room for new keys: without zero fill, a key that no pane has a row of is of no more use. False
    /// where there is no room to make; not tried again until a pane has been dropped, for it looks at every
    /// key of every pane.
    pub(super) fn forget_keys(&mut self) -> bool {
        if self.settings.keep_seen || !std::mem::take(&mut self.may_forget) {
            return false;
        }
        let mut live = vec![false; self.keys.len()];
        for part in self.panes.values().flat_map(|pane| &pane.parts) {
            part.tally.counts().filled().for_each(|group| live[group as usize] = true);
        }
        if let Some(sessions) = &self.sessions {
            sessions.live(&mut live);
        }
        self.running = None;
        let into = self.keys.retain(&live);
        for part in self.panes.values_mut().flat_map(|pane| &mut pane.parts) {
            let mut tally = Tally::new(&*self.aggregate);
            tally.merge_into(&part.tally, &into);
            part.tally = tally;
        }
        self.pane_bytes =
            self.panes.values().flat_map(|pane| &pane.parts).map(|part| part.tally.bytes()).sum();
        if let Some(sessions) = &mut self.sessions {
            sessions.renumber(&into);
        }
        live.contains(&false)
    }

    /// How many rows of a batch can be pushed before what is due should be given, so that these rows make
    /// about `most` results due. A window without overlap and without zeros gives no more than has come in.
    pub(crate) fn rows_at_once(&self, batch: &Batch, most: usize) -> usize {
        let (grid, times) = (&self.grid, batch.times());
        let repeats = self.settings.keep_seen || grid.slide() < grid.size();
        if self.sessions.is_some() || self.settings.time == TimeMode::Processing || !repeats {
            return batch.rows();
        }
        let Some(span) = times.span() else { return batch.rows() };
        // Each row may have a key of its own.
        let keys = self.keys.len() + batch.rows();
        let windows = (most / keys.max(1)).max(1);
        let reach = grid.slide().saturating_mul(windows as Millis);
        let stood = self.watermark.greatest(batch.channel()).unwrap_or(times[0]);
        if span.greatest.saturating_sub(stood) <= reach {
            return batch.rows();
        }
        // The row that goes beyond it is the last: a row behind it would close what it makes due.
        let beyond = times.iter().position(|time| time.saturating_sub(stood) > reach);
        beyond.map_or(batch.rows(), |row| row + 1)
    }

    /// True where there is no room for further rows.
    pub(super) fn is_full(&self) -> bool {
        self.state_bytes() > self.settings.max_state
    }

    /// About how many bytes keys and open windows take.
    pub fn state_bytes(&self) -> u64 {
        let sessions = self.sessions.as_ref().map_or(0, Sessions::bytes);
        (self.keys.bytes() + self.pane_bytes + sessions) as u64
    }
}
