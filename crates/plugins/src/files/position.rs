//! Where in a file to go on, with what tells the file from others.

use std::io;

use pipectl_framework::clock::Millis;
use serde::{Deserialize, Serialize};

use super::input::Input;
use super::records::Place;

/// The form of the metadata of a position in one file that this version writes and reads.
const VERSION: u8 = 1;

/// A place in a file, with marks of what the file was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) byte: u64,
    pub(super) line: u64,
    /// How many of the file's first bytes tell it from others, and their hash.
    head: usize,
    hash: String,
    /// The hash of what stands right before `byte`. Positions of earlier versions have none, nor have those
    /// in what is decoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tail: Option<String>,
}

impl Mark {
    /// The mark of `place` in `file`.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub(super) fn of(file: &Input, place: Place) -> io::Result<Self> {
        let Place { byte, line, .. } = place;
        let (head, hash) = file.head().mark(byte);
        Ok(Self { byte, line, head, hash: hex(hash), tail: file.tail(byte)?.map(hex) })
    }

    /// The place in `file`, at row `row`.
    ///
    /// # Errors
    /// Why there is no such place, to stand behind the file's name.
    pub(super) fn find(&self, file: &Input, row: u64) -> Result<Place, String> {
        let Self { byte, line, head, hash, tail } = self;
        if let Some(len) = file.len().filter(|len| byte > len) {
            return Err(format!("is shorter than what was read of it: {len} of {byte} bytes are there"));
        }
        if !file.head().is((*head, u64::from_str_radix(hash, 16).unwrap_or_default())) {
            return Err("is not the file that was read up to now: it begins otherwise".to_owned());
        }
        if let Some(tail) = tail {
            let found = file.tail(*byte).map_err(|e| format!("cannot be read before line {line}: {e}"))?;
            if found.is_some_and(|found| hex(found) != *tail) {
                return Err(format!(
                    "is not the file that was read up to now: other rows stand before line {line}, where reading was \
                     to go on"
                ));
            }
        }
        Ok(Place { byte: *byte, row, line: *line })
    }
}

fn hex(hash: u64) -> String {
    format!("{hash:016x}")
}

/// What is kept beside the row number of a position in one file.
#[derive(Debug, Serialize, Deserialize)]
struct Metadata {
    v: u8,
    #[serde(flatten)]
    mark: Mark,
    /// The stamp of the last row, where a rate stamps them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<Millis>,
}

/// The metadata of a position at `mark`; `time` is the stamp of the row before.
///
/// # Errors
/// Where it cannot be written.
pub(super) fn write(mark: Mark, time: Option<Millis>) -> io::Result<String> {
    serde_json::to_string(&Metadata { v: VERSION, mark, time }).map_err(io::Error::other)
}

/// The mark that stands in `metadata`, and the stamp of the row before.
///
/// # Errors
/// Why there is none, to stand behind the file's name.
pub(super) fn read(metadata: &str) -> Result<(Mark, Option<Millis>), String> {
    let metadata: Metadata = serde_json::from_str(metadata).map_err(|e| unreadable(&e, metadata))?;
    match metadata.v {
        // Of a file that was followed: the place in it is meant where it is the same file still.
        VERSION | super::trail::VERSION => Ok((metadata.mark, metadata.time)),
        other => Err(of_version(other, VERSION)),
    }
}

/// What is said of a position that is none of ours.
pub(super) fn unreadable(error: &serde_json::Error, metadata: &str) -> String {
    format!("has a committed position that cannot be read ({error}): {metadata}")
}

/// What is said of a position of another version.
pub(super) fn of_version(found: u8, known: u8) -> String {
    format!("has a committed position of version {found}, not {known}")
}
