//! The state of open windows outside the process: what a changelog keeps, so that a restart need not read all
//! rows of a long window again.
//!
//! A partition's state is kept in parts that change on their own: each pane, the sessions, and the keys that
//! `zero_fill` keeps. A part that has not changed since it was last saved is not written again. What is
//! loaded counts as rows that were read again: see [`Origin::replay`](crate::batch::Origin).

use serde::{Deserialize, Serialize};

use super::assigned::Part;
use super::keys::NONE;
use super::operator::WindowOperator;
use super::sessions::SavedFragment;
use super::tally::Tally;
use crate::batch::Partition;
use crate::clock::Millis;
use crate::error::{Error, Result};
use crate::plugin::saved;

/// About how many bytes a piece of a part has: a record of the changelog.
const PIECE: usize = 256 << 10;

/// A part of a partition's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedPart {
    /// Its name, unique in the partition and window.
    pub name: String,
    /// Its bytes, in pieces; `None` where it is as it was saved before.
    pub pieces: Option<Vec<Vec<u8>>>,
}

/// A piece of a part.
#[derive(Debug, Serialize, Deserialize)]
enum Piece {
    Pane {
        start: Millis,
        first_offset: i64,
        keys: Vec<SavedKey>,
    },
    Sessions(Vec<(SavedFragment, SavedKey)>),
    Seen(Vec<Option<Vec<u8>>>),
    /// A pane all of whose rows an end of the data has given. The number of a form is kept: new ones stand
    /// behind.
    GivenPane {
        start: Millis,
        first_offset: i64,
        keys: Vec<SavedKey>,
    },
    /// Sessions all of whose rows an end of the data has given.
    GivenSessions(Vec<(SavedFragment, SavedKey)>),
}

/// What is kept of a key.
#[derive(Debug, Serialize, Deserialize)]
struct SavedKey {
    /// `None` for null.
    key: Option<Vec<u8>>,
    rows: i64,
    state: Vec<u8>,
}

impl SavedKey {
    /// About how many bytes it takes.
    fn size(&self) -> usize {
        self.key.as_ref().map_or(0, Vec::len) + self.state.len() + 8
    }
}

/// What is known of the rows of a saved pane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Some may be in no result.
    Open,
    /// An end of the data had given them before it was saved.
    Given,
    /// One has given them since.
    GivenSince,
}

impl WindowOperator {
    /// True where all that a partition's panes hold has been read: not while rows are read again.
    pub fn can_save(&self, partition: &Partition) -> bool {
        self.partitions.get(partition).is_some_and(|assigned| !assigned.replaying)
    }

    /// Gives the parts of a partition's state, rows before `next` having been pushed, and takes them for
    /// saved: from now on [`position`](Self::position) does not go back behind `next`. A part that is not
    /// among them is no more.
    pub fn save(&mut self, partition: &Partition, next: i64) -> Vec<SavedPart> {
        let Some(assigned) = self.partitions.get_mut(partition) else { return Vec::new() };
        assigned.saved = Some(next);
        let number = assigned.number;
        let mut parts = Vec::new();
        let keys = &self.keys;
        let key_of = |tally: &Tally, slot: u32, group: u32, rows: i64| {
            let mut state = Vec::new();
            tally.save(slot, &mut state);
            SavedKey { key: keys.key(group).map(<[u8]>::to_vec), rows, state }
        };
        for (start, pane) in &mut self.panes {
            for part in pane.parts.iter_mut().filter(|part| part.partition == number) {
                let unchanged = std::mem::replace(&mut part.saved, true);
                let pieces = (!unchanged).then(|| {
                    let tally = &part.tally;
                    let all =
                        tally.counts().filled().map(|group| key_of(tally, group, group, tally.rows(group)));
                    let (start, first_offset) = (*start, part.first_offset);
                    let piece = |keys| match part.given {
                        true => Piece::GivenPane { start, first_offset, keys },
                        false => Piece::Pane { start, first_offset, keys },
                    };
                    in_pieces(all, SavedKey::size, piece)
                });
                parts.push(SavedPart { name: format!("pane/{start}"), pieces });
            }
        }
        if let Some(sessions) = &self.sessions {
            let of = |given| {
                let fragments = sessions.of_partition(number).filter(move |(.., ended)| *ended == given);
                fragments.map(|(group, slot, fragment, _)| {
                    (fragment, key_of(&sessions.tally, slot, group, fragment.rows()))
                })
            };
            let size = |(_, key): &(SavedFragment, SavedKey)| key.size() + size_of::<SavedFragment>();
            let mut pieces = in_pieces(of(false), size, Piece::Sessions);
            if sessions.of_partition(number).any(|(.., ended)| ended) {
                pieces.extend(in_pieces(of(true), size, Piece::GivenSessions));
            }
            parts.push(SavedPart { name: "sessions".to_owned(), pieces: Some(pieces) });
        }
        parts
    }

    /// The keys of a partition that `zero_fill` keeps and that were not given by this call before, as a
    /// piece; `None` where there is none.
    pub fn save_keys(&mut self, partition: &Partition) -> Option<Vec<u8>> {
        let assigned = self.partitions.get_mut(partition).filter(|_| self.settings.keep_seen)?;
        let groups = self.keys.take_unsaved(assigned.number);
        if groups.is_empty() {
            return None;
        }
        assigned.keys_saved = true;
        let keys = groups.iter().map(|group| self.keys.key(*group).map(<[u8]>::to_vec)).collect();
        let mut bytes = Vec::new();
        saved::write(&Piece::Seen(keys), &mut bytes);
        Some(bytes)
    }

    /// Takes a piece in that was saved, once its partition has been assigned.
    ///
    /// # Errors
    /// `Fatal` where it cannot be read.
    pub fn load(&mut self, partition: &Partition, piece: &[u8]) -> Result<()> {
        let Some(assigned) = self.partitions.get_mut(partition) else {
            return Err(Error::fatal(format!(
                "a state of {partition} came before the partition was assigned"
            )));
        };
        let number = assigned.number;
        // A pane that was dropped since it was saved is still in the changelog.
        let dropped = assigned.restored.max(assigned.closed_until);
        // The end of the data gave all that had been saved before it.
        let all_given = assigned.saved.is_some_and(|saved| saved <= assigned.given_before());
        match saved::read(piece)? {
            Piece::Seen(keys) => {
                keys.iter().for_each(|key| self.keys.load_seen(key.as_deref(), number));
                return Ok(());
            }
            Piece::Pane { start, first_offset, keys } => {
                // Where it was given since it was saved, the changelog is to say so with what is saved next.
                let known = if all_given { Known::GivenSince } else { Known::Open };
                self.load_pane(number, dropped, known, start, first_offset, keys)?;
            }
            Piece::GivenPane { start, first_offset, keys } => {
                self.load_pane(number, dropped, Known::Given, start, first_offset, keys)?;
            }
            Piece::Sessions(all) => self.load_sessions(number, all_given, all)?,
            Piece::GivenSessions(all) => self.load_sessions(number, true, all)?,
        }
        if let Some(assigned) = self.partitions.get_mut(partition) {
            assigned.replaying = true;
        }
        Ok(())
    }

    fn load_sessions(
        &mut self,
        partition: u32,
        given: bool,
        all: Vec<(SavedFragment, SavedKey)>,
    ) -> Result<()> {
        for (fragment, SavedKey { key, rows, state }) in all {
            let group = self.keys.load(key.as_deref());
            let Some(sessions) = self.sessions.as_mut().filter(|_| group != NONE) else { continue };
            let slot = sessions.load(group, partition, fragment, given);
            sessions.tally.load(slot, rows, &state)?;
        }
        Ok(())
    }

    /// `dropped`: panes of which no window can be given any more at this time are passed over.
    fn load_pane(
        &mut self,
        partition: u32,
        dropped: Option<Millis>,
        known: Known,
        start: Millis,
        first_offset: i64,
        keys: Vec<SavedKey>,
    ) -> Result<()> {
        let end = self.grid.last_end(start.saturating_add(self.grid.pane_length() - 1));
        if dropped.is_some_and(|dropped| end.saturating_add(self.settings.lateness) <= dropped) {
            return Ok(());
        }
        self.begin(start);
        let parts = &mut self.panes.entry(start).or_default().parts;
        let index = parts.iter().position(|part| part.partition == partition).unwrap_or_else(|| {
            let tally = Tally::new(&*self.aggregate);
            let (saved, given) = (known != Known::GivenSince, known != Known::Open);
            parts.push(Part { partition, tally, rows: 0, first_offset, saved, given });
            parts.len() - 1
        });
        let part = &mut parts[index];
        let before = part.tally.bytes();
        for SavedKey { key, rows, state } in keys {
            let group = self.keys.load(key.as_deref());
            if group == NONE {
                continue;
            }
            part.tally.load(group, rows, &state)?;
            part.rows += rows as u64;
            self.in_flight += rows as u64;
            self.again += rows as u64;
            if self.settings.keep_seen {
                self.keys.own(group, partition);
            }
        }
        self.pane_bytes = (self.pane_bytes + part.tally.bytes()).saturating_sub(before);
        Ok(())
    }
}

/// Items in pieces of about [`PIECE`] bytes; at least one piece.
fn in_pieces<T>(
    all: impl Iterator<Item = T>,
    size: impl Fn(&T) -> usize,
    piece: impl Fn(Vec<T>) -> Piece,
) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let mut put = |items: Vec<T>| {
        let mut bytes = Vec::new();
        saved::write(&piece(items), &mut bytes);
        pieces.push(bytes);
    };
    let (mut items, mut bytes) = (Vec::new(), 0);
    for item in all {
        bytes += size(&item);
        items.push(item);
        if bytes >= PIECE {
            put(std::mem::take(&mut items));
            bytes = 0;
        }
    }
    if !items.is_empty() || pieces.is_empty() {
        let mut last = Vec::new();
        saved::write(&piece(items), &mut last);
        pieces.push(last);
    }
    pieces
}
