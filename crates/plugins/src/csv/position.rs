//! The metadata of a position: where in which file to go on.

use pipectl_framework::clock::Millis;
use serde::{Deserialize, Serialize};

use super::file::WatchedFile;
use super::reader::Place;

/// The form of the metadata that this version writes and reads.
const VERSION: u8 = 1;

/// What is kept beside the row number of a position.
#[derive(Debug, Serialize, Deserialize)]
struct Metadata {
    v: u8,
    byte: u64,
    line: u64,
    /// How many of the file's first bytes tell it from others, and their hash.
    head: usize,
    hash: String,
    /// The stamp of the last row, where a rate stamps them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<Millis>,
}

/// The metadata of `place` in `file`; `time` is the stamp of the row before.
pub(super) fn write(file: &WatchedFile, place: Place, time: Option<Millis>) -> String {
    let (head, hash) = file.mark(place.byte);
    let hash = format!("{hash:016x}");
    let metadata = Metadata { v: VERSION, byte: place.byte, line: place.line, head, hash, time };
    serde_json::to_string(&metadata).unwrap_or_default()
}

/// The place in `file` that stands in `metadata`, at row `row`; with the stamp of the row before.
///
/// # Errors
/// Why there is no such place, to stand behind the file's name.
pub(super) fn read(file: &WatchedFile, row: i64, metadata: &str) -> Result<(Place, Option<Millis>), String> {
    let metadata: Metadata = serde_json::from_str(metadata)
        .map_err(|e| format!("has a committed position that cannot be read ({e}): {metadata}"))?;
    if metadata.v != VERSION {
        return Err(format!("has a committed position of version {}, not {VERSION}", metadata.v));
    }
    let hash = u64::from_str_radix(&metadata.hash, 16).unwrap_or_default();
    if !file.is((metadata.head, hash)) {
        return Err("is not the file that was read up to now: it begins otherwise".to_owned());
    }
    if metadata.byte > file.len() {
        return Err(format!(
            "is shorter than what was read of it: {} of {} bytes are there",
            file.len(),
            metadata.byte
        ));
    }
    let row = u64::try_from(row).unwrap_or_default();
    Ok((Place { byte: metadata.byte, row, line: metadata.line }, metadata.time))
}
