//! How much a window step holds, and how room is made.

use super::operator::WindowOperator;
use super::sessions::Sessions;
use super::tally::Tally;

impl WindowOperator {
    /// Makes room for new keys: without zero fill, a key that no pane has a row of is of no more use. False where there is no room to
    /// make; not tried again until a pane has been dropped, for it looks at every key of every pane.
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
