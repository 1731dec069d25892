//! The files that a followed source knows while it is open: the one that is read, those that come next, and
//! those that it has left.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pipectl_framework::plugin::{Held, Result, SourceContext};

use super::input::{Input, Origin};
use super::position::Mark;
use super::reading::{Reading, failed};
use super::records::{Place, Records};
use super::trail::{self, Found, Generation};
use super::watched::{Id, has_no_name};

/// For how long a file that was renamed must not have grown before the next one is read.
pub(super) const SETTLED: Duration = Duration::from_secs(5);
/// The most places that are told as held at the end of a run.
const MOST_HELD: usize = 100;

/// The source while it is open.
#[derive(Debug)]
pub(super) struct Opened<R> {
    pub(super) context: SourceContext,
    pub(super) now: Option<Now<R>>,
    /// The files that come next, as far as they are known.
    pub(super) ahead: VecDeque<Ahead>,
    /// The files that were read, and stand in positions that may be committed still.
    pub(super) past: VecDeque<Generation>,
    /// The file that was left last, under its name.
    pub(super) left: Option<(Input, Arc<str>)>,
    /// The number of the next row, and that of the next file.
    pub(super) row: u64,
    pub(super) number: u64,
    /// The number behind the last row that was ever given: no other row gets one before it.
    pub(super) reached: u64,
    /// When the files are to be looked at again.
    pub(super) look_at: Option<Duration>,
    /// The files behind the last one that is known may have come and gone since the position was committed.
    pub(super) resumed: bool,
    /// The runner knows that nothing more is there.
    pub(super) caught_up: bool,
    /// The position is to be told, though no row has come: rows before it are lost.
    pub(super) tells: bool,
    pub(super) held: Vec<Held>,
}

/// The file that is read.
#[derive(Debug)]
pub(super) struct Now<R> {
    pub(super) reading: Reading<R>,
    /// Its mark is the place behind the last rows that were given.
    pub(super) generation: Generation,
    /// From when on a file that was renamed is at its end, unless it grows.
    pub(super) settles_at: Duration,
    /// When it was last changed, by the file system.
    pub(super) changed: Option<SystemTime>,
}

/// A file that comes next.
#[derive(Debug)]
pub(super) struct Ahead {
    pub(super) generation: Generation,
    /// `None` where it is still to be found.
    pub(super) found: Option<(Input, Arc<str>)>,
    pub(super) settles_at: Duration,
}

impl<R: Records> Opened<R> {
    pub(super) fn elapsed(&self) -> Duration {
        self.context.clock.elapsed()
    }

    /// The ids of all files that are known but `of`.
    pub(super) fn others(&self, of: u64) -> BTreeSet<Id> {
        let now = self.now.as_ref().map(|now| &now.generation);
        let known = self.past.iter().chain(now).chain(self.ahead.iter().map(|ahead| &ahead.generation));
        known.filter(|known| known.number != of).filter_map(|known| known.id).collect()
    }

    /// Adds the file that is at the path, where it is another one than the last that is known.
    pub(super) fn discover(&mut self, origin: &Origin) -> Result<()> {
        let now = self.now.as_ref().map(|now| &now.generation);
        let last = self.ahead.back().map(|ahead| &ahead.generation).or(now);
        if last.is_some_and(|last| last.id.is_some() && last.id == trail::id_at_path(origin)) {
            return Ok(());
        }
        let Some(Found { input, name, id }) = trail::at_path(origin) else { return Ok(()) };
        let place = Place { byte: 0, row: 0, line: 1 };
        let mark = Mark::of(&input, place).map_err(failed)?;
        let len = input.len().unwrap_or_default();
        let generation = Generation {
            number: self.number,
            row: None,
            id: Some(id),
            mark,
            reached: None,
            len,
            given: false,
        };
        self.number += 1;
        let settles_at = self.elapsed() + SETTLED;
        // Its writer may write to the old one still.
        if let Some(now) = &mut self.now {
            now.settles_at = settles_at;
        }
        self.ahead.push_back(Ahead { generation, found: Some((input, name)), settles_at });
        Ok(())
    }

    /// How many records of the file that is read may be given: those of one that was left before are known.
    pub(super) fn most(&self) -> usize {
        let end = self.ahead.front().and_then(|ahead| ahead.generation.row);
        let room = end.map_or(u64::MAX, |end| end.saturating_sub(self.row));
        self.context.batch_rows.min(usize::try_from(room).unwrap_or(usize::MAX))
    }

    /// True where there is something in the next files, and the one that is read may go on still.
    pub(super) fn has_unread(&self) -> bool {
        let len = |ahead: &Ahead| Some(ahead.found.as_ref()?.0.plain()?.metadata().ok()?.len());
        self.now.is_some() && self.ahead.iter().any(|ahead| len(ahead).is_none_or(|len| len > 0))
    }

    /// Where the file that was read is gone, and the one in its place has all that was read of it: an editor
    /// or a copying program has written it anew, and it goes on.
    pub(super) fn copy_at_path(&mut self) -> Option<(Generation, Found)> {
        let now = self.now.as_ref().filter(|now| now.generation.given)?;
        let gone =
            now.reading.records.input().plain()?.metadata().is_ok_and(|metadata| has_no_name(&metadata));
        let next = self.ahead.front_mut().filter(|ahead| gone && ahead.generation.row.is_none())?;
        let (input, _) = next.found.as_mut()?;
        input.plain_mut()?.look_again().ok()?;
        now.generation.is(input).then_some(())?;
        let (input, name) = next.found.take()?;
        let (id, now) = (next.generation.id?, self.now.take()?);
        self.ahead.pop_front();
        Some((now.generation, Found { input, name, id }))
    }

    /// Lets a file go that is at its end, or cannot be read any more.
    pub(super) fn leave(&mut self) {
        let Some(Now { reading, mut generation, .. }) = self.now.take() else { return };
        let input = reading.records.input();
        generation.len = input.len().unwrap_or(generation.mark.byte);
        if let Some(why) = reading.records.held() {
            let Place { line, byte, .. } = reading.records.place();
            let place = format!("{}:{line}", reading.name);
            let bytes = generation.len.saturating_sub(byte);
            let why = format!("{why}, and the file was rotated: its {bytes} bytes are no row");
            let remedy = "rotate the file between two lines".to_owned();
            tracing::warn!(help = remedy, "{place}: {why}");
            if self.held.len() < MOST_HELD {
                self.held.push(Held { place, why, remedy });
            }
        }
        self.past.push_back(generation);
        let Reading { records, name, .. } = reading;
        self.left = Some((records.into_input(), name));
    }

    /// Tells where the file that was left last has grown nevertheless.
    pub(super) fn look_back(&mut self) {
        let Some((input, name)) = &self.left else { return };
        let Some(metadata) = input.plain().and_then(|file| file.metadata().ok()) else { return };
        let more = metadata.len().saturating_sub(input.len().unwrap_or(u64::MAX));
        if more > 0 {
            tracing::warn!(
                help = "let the writer go over to the new file within seconds",
                "{name} was rotated, and {more} bytes were written to the old file more than {SETTLED:?} after: \
                 they are not read"
            );
            self.left = None;
        }
    }
}

impl<R: Records> Now<R> {
    /// True where what stands before the place behind the last rows is what stood there.
    pub(super) fn is_same(&mut self) -> bool {
        let input = self.reading.records.input_mut();
        let seen = input.plain_mut().is_none_or(|file| file.look_again().is_ok());
        self.generation.len = input.len().unwrap_or(self.generation.len);
        seen && self.generation.is(input)
    }

    /// True where it is not what it was when it was read to its end.
    pub(super) fn has_changed(&mut self) -> bool {
        let Some(file) = self.reading.records.input().plain() else { return false };
        let Ok(metadata) = file.metadata() else { return false };
        let modified = metadata.modified().ok();
        let before = std::mem::replace(&mut self.changed, modified);
        metadata.len() != file.at() || before.is_some_and(|before| Some(before) != modified)
    }
}

/// When a file is settled that was changed so long ago.
pub(super) fn settles_at(now: Duration, input: &Input) -> Duration {
    let metadata = input.plain().and_then(|file| file.metadata().ok());
    let modified = metadata.and_then(|metadata| metadata.modified().ok());
    let age = modified.and_then(|modified| modified.elapsed().ok()).unwrap_or_default();
    now + SETTLED.saturating_sub(age)
}
