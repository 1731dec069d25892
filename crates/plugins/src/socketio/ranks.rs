//! Windows whose rows are the first few in an order: what stands at each place of each window.
//!
//! Such a window may be given again with another key at a place. The key that stood there has left the window
//! then, unless it stands at another place.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::results::Place;
use super::wire::Number;

/// So many places are kept, of all windows together.
const MOST_PLACES: usize = 1_000_000;

/// What stands at the places of one window: by group, and then by place.
type Window = BTreeMap<(Arc<str>, i64), (Arc<str>, Number)>;

/// What stands at the places of the windows in the history.
#[derive(Debug, Default)]
pub(super) struct Ranks {
    windows: BTreeMap<i64, Window>,
    held: usize,
    /// The greatest time of a window that is no longer held though it is in the history.
    forgotten: Option<i64>,
    refused: u64,
}

impl Ranks {
    /// Puts the rows of a result in their places, and gives what then stands in the window, in the order of
    /// groups and places. `None` where nobody knows any more what stood there.
    pub(super) fn put<'a>(
        &mut self,
        t: i64,
        rows: impl IntoIterator<Item = (Place<'a>, &'a str, Number)>,
    ) -> Option<impl Iterator<Item = (&Arc<str>, Number)>> {
        if self.forgotten.is_some_and(|forgotten| t <= forgotten) {
            self.refused += rows.into_iter().count() as u64;
            return None;
        }
        let window = self.windows.entry(t).or_default();
        let before = window.len();
        for (place, key, value) in rows {
            window.insert((place.group.into(), place.number), (key.into(), value));
        }
        self.held += window.len() - before;
        while self.held > MOST_PLACES && self.windows.len() > 1 {
            let Some((oldest, dropped)) = self.windows.pop_first() else { break };
            self.held -= dropped.len();
            self.forgotten = self.forgotten.max(Some(oldest));
        }
        let window = self.windows.get(&t)?;
        Some(window.values().map(|(key, value)| (key, *value)))
    }

    /// A window has left the history.
    pub(super) fn leaves(&mut self, t: i64) {
        self.held -= self.windows.remove(&t).map_or(0, |window| window.len());
    }

    /// How many values were not shown, as nobody knew any more what stood in their window.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }
}
