//! The files that a followed file was, one after another: how each is known, found again, and told in a
//! position.
//!
//! A file that is followed is a sequence of files: it is renamed and another one takes its name, or it is cut
//! short and begins anew. Rows are numbered over all of them. A position names the file that it stands in and
//! all that came behind that one, each with the number of its first row: rows of windows that were open are
//! read again from the same files, under the same numbers.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use pipectl_framework::log::Position;
use pipectl_framework::plugin::{Error, Result};
use serde::{Deserialize, Serialize};

use super::input::{Input, Origin};
use super::packed::Compression;
use super::position::{Mark, of_version, unreadable};
use super::reading::changed;
use super::watched::Id;

/// The form of the metadata of a position in a followed file that this version writes and reads.
pub(super) const VERSION: u8 = 3;
/// The form of a position in a file that was not followed when it was committed.
const NOT_FOLLOWED: u8 = 1;

/// One of the files that a followed file was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Generation {
    /// Counts them.
    pub(super) number: u64,
    /// The number of its first row; `None` where it has not begun.
    pub(super) row: Option<u64>,
    /// Positions of files that were not followed have none.
    pub(super) id: Option<Id>,
    /// Where to go on in it.
    pub(super) mark: Mark,
    /// How far it was ever read, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reached: Option<Reached>,
    /// Its length in bytes when last looked at.
    pub(super) len: u64,
    /// True where a record of it was given: files that begin alike, as with a header, are no other than this
    /// one before.
    pub(super) given: bool,
}

/// The place behind the last record of a file that was ever given. A window that is open wants records from
/// before it again: they are read from a file that has them all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reached {
    /// The number of the row behind it.
    pub(super) row: u64,
    pub(super) mark: Mark,
}

impl Generation {
    /// How far it was read: from there on it has what nobody has seen.
    pub(super) fn read_to(&self) -> &Mark {
        self.reached.as_ref().map_or(&self.mark, |reached| &reached.mark)
    }

    /// How many bytes of it were seen and not read.
    pub(super) fn unread(&self) -> u64 {
        self.len.saturating_sub(self.read_to().byte)
    }

    /// Records up to `row` were given, which is at `mark`.
    pub(super) fn give(&mut self, row: u64, mark: Mark) {
        self.given = true;
        if self.reached.as_ref().is_none_or(|reached| reached.row <= row) {
            self.reached = Some(Reached { row, mark: mark.clone() });
        }
        self.mark = mark;
    }

    /// True where `input` has all that was read of it.
    pub(super) fn is(&self, input: &Input) -> bool {
        self.mark.find(input, 0).is_ok() && self.read_to().find(input, 0).is_ok()
    }
}

/// The metadata of a position.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    v: u8,
    #[serde(flatten)]
    mark: Mark,
    #[serde(default)]
    number: u64,
    #[serde(default)]
    first: Option<u64>,
    #[serde(default)]
    id: Option<Id>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reached: Option<Reached>,
    #[serde(default)]
    len: u64,
    #[serde(default = "yes")]
    given: bool,
    /// The files behind it, as far as they are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    then: Vec<Generation>,
}

/// A position is told behind records.
fn yes() -> bool {
    true
}

/// The metadata of a position in `now`, with what is known to come behind it.
///
/// # Errors
/// Where it cannot be written.
pub(super) fn write(now: &Generation, then: Vec<Generation>) -> Result<String> {
    let Generation { number, row, id, mark, reached, len, given } = now.clone();
    let reached = reached.filter(|reached| reached.mark != mark);
    serde_json::to_string(&Kept { v: VERSION, mark, number, first: row, id, reached, len, given, then })
        .map_err(|e| Error::fatal("a position could not be written").caused_by(e))
}

/// The file of a position, and those behind it.
///
/// # Errors
/// Where its metadata cannot be read.
pub(super) fn read(metadata: &str, name: &str) -> Result<(Generation, Vec<Generation>)> {
    let kept: Kept = serde_json::from_str(metadata).map_err(|e| changed(name, &unreadable(&e, metadata)))?;
    let Kept { v: VERSION | NOT_FOLLOWED, mark, number, first: row, id, reached, len, given, then } = kept
    else {
        return Err(changed(name, &of_version(kept.v, VERSION)));
    };
    Ok((Generation { number, row, id, mark, reached, len, given }, then))
}

/// A position with all that is `known` of its own file and those behind it.
pub(super) fn renew<'a>(position: Position, known: impl Iterator<Item = &'a Generation>) -> Position {
    let Ok((mut now, _)) = read(&position.metadata, "") else { return position };
    let mut then = Vec::new();
    for generation in known {
        match generation.number {
            number if number == now.number => {
                now = Generation { row: now.row, mark: now.mark, ..generation.clone() };
            }
            number if number > now.number => then.push(generation.clone()),
            _ => {}
        }
    }
    match write(&now, then) {
        Ok(metadata) => Position { metadata, ..position },
        Err(_) => position,
    }
}

/// A file that was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) input: Input,
    pub(super) name: Arc<str>,
    pub(super) id: Id,
}

/// Opens the file at `path`, to be followed.
fn open(origin: &Origin, path: PathBuf, name: Arc<str>) -> Option<Found> {
    let id = Id::of(&fs::metadata(&path).ok().filter(fs::Metadata::is_file)?);
    let mut input = Input::open(&Origin { path, name: name.clone(), ..origin.clone() }).ok()?;
    if let Some(file) = input.plain_mut() {
        file.follow();
    }
    // It may have been replaced before it was opened.
    let id = input.plain().map_or(Some(id), |file| file.metadata().ok().as_ref().map(Id::of))?;
    Some(Found { input, name, id })
}

/// The file that is at the path now.
pub(super) fn at_path(origin: &Origin) -> Option<Found> {
    open(origin, origin.path.clone(), origin.name.clone())
}

/// What the file at the path is known by.
pub(super) fn id_at_path(origin: &Origin) -> Option<Id> {
    fs::metadata(&origin.path).ok().filter(fs::Metadata::is_file).as_ref().map(Id::of)
}

/// Finds a file again: at its path, or among the files beside that, under another name, compressed too. One
/// that has the same id comes first; then one with the same content, which is none of the `others`, and of
/// several the one that was written last.
pub(super) fn find(origin: &Origin, wanted: &Generation, others: &BTreeSet<Id>) -> Option<Found> {
    let fits = |found: &Found| wanted.is(&found.input);
    let here = || at_path(origin).filter(fits);
    let same = |id: Id| wanted.id == Some(id);
    if id_at_path(origin).is_some_and(same)
        && let Some(found) = here()
    {
        return Some(found);
    }
    let mut beside = beside(origin);
    beside.sort_by_key(|file| (!same(file.id), std::cmp::Reverse(file.modified)));
    let look = |file: &Beside| {
        let packed = Origin { compression: Compression::Auto, ..origin.clone() };
        open(&packed, file.path.clone(), file.name.clone()).filter(fits)
    };
    if let Some(found) = beside.iter().take_while(|file| same(file.id)).find_map(look) {
        return Some(found);
    }
    if !wanted.given {
        return None;
    }
    let free = |id: Id| !others.contains(&id);
    match id_at_path(origin).is_some_and(free).then(here).flatten() {
        Some(found) => Some(found),
        None => beside.iter().filter(|file| !same(file.id) && free(file.id)).find_map(look),
    }
}

/// Files beside the followed one that are named after it, were written after `since` and are not `known`,
/// with their lengths in bytes.
pub(super) fn unseen(origin: &Origin, known: &BTreeSet<Id>, since: SystemTime) -> Vec<(Arc<str>, u64)> {
    let named = |file: &Beside| {
        let rest = file.name.strip_prefix(&*origin.name);
        rest.is_some_and(|rest| rest.starts_with(['.', '-'])) && !known.contains(&file.id)
    };
    let here = id_at_path(origin);
    let files =
        beside(origin).into_iter().filter(|file| file.modified.is_some_and(|modified| modified > since));
    files.filter(|file| named(file) && here != Some(file.id)).map(|file| (file.name, file.len)).collect()
}

/// A file in the same folder.
struct Beside {
    path: PathBuf,
    name: Arc<str>,
    id: Id,
    len: u64,
    modified: Option<SystemTime>,
}

fn beside(origin: &Origin) -> Vec<Beside> {
    let folder = origin.path.parent().unwrap_or(Path::new(""));
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let shown = Path::new(&*origin.name);
    let file = |entry: fs::DirEntry| {
        let (path, metadata) = (entry.path(), entry.metadata().ok()?);
        if !metadata.is_file() || entry.file_name() == origin.path.file_name()? {
            return None;
        }
        let name = shown.with_file_name(entry.file_name()).to_string_lossy().into();
        Some(Beside {
            path,
            name,
            id: Id::of(&metadata),
            len: metadata.len(),
            modified: metadata.modified().ok(),
        })
    };
    entries.flatten().filter_map(file).collect()
}
