//! The metadata of a position: where in which file to go on.

use std::io;

use pipectl_framework::clock::Millis;
use serde::{Deserialize, Serialize};

use super::input::Input;
use super::records::Place;

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
    /// The hash of what stands right before `byte`. Positions of earlier versions have none, nor have those in what is decoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tail: Option<String>,
    /// The stamp of the last row, where a rate stamps them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<Millis>,
}

/// The metadata of `place` in `file`; `time` is the stamp of the row before.
///
/// # Errors
/// Where the file cannot be read.
pub(crate) fn write(file: &Input, place: Place, time: Option<Millis>) -> io::Result<String> {
    let Place { byte, line, .. } = place;
    let (head, hash) = file.head().mark(byte);
    let (hash, tail) = (hex(hash), file.tail(byte)?.map(hex));
    serde_json::to_string(&Metadata { v: VERSION, byte, line, head, hash, tail, time })
        .map_err(io::Error::other)
}

fn hex(hash: u64) -> String {
    format!("{hash:016x}")
}

/// The place in `file` that stands in `metadata`, at row `row`; with the stamp of the row before.
///
/// # Errors
/// Why there is no such place, to stand behind the file's name.
pub(crate) fn read(file: &Input, row: i64, metadata: &str) -> Result<(Place, Option<Millis>), String> {
    let metadata: Metadata = serde_json::from_str(metadata)
        .map_err(|e| format!("has a committed position that cannot be read ({e}): {metadata}"))?;
    if metadata.v != VERSION {
        return Err(format!("has a committed position of version {}, not {VERSION}", metadata.v));
    }
    let Metadata { byte, line, head, hash, tail, time, .. } = metadata;
    if let Some(len) = file.len().filter(|len| byte > *len) {
        return Err(format!("is shorter than what was read of it: {len} of {byte} bytes are there"));
    }
    if !file.head().is((head, u64::from_str_radix(&hash, 16).unwrap_or_default())) {
        return Err("is not the file that was read up to now: it begins otherwise".to_owned());
    }
    if let Some(tail) = tail {
        let found = file.tail(byte).map_err(|e| format!("cannot be read before line {line}: {e}"))?;
        if found.is_some_and(|found| hex(found) != tail) {
            return Err(format!(
                "is not the file that was read up to now: other rows stand before line {line}, where reading was to go on"
            ));
        }
    }
    let row = u64::try_from(row).unwrap_or_default();
    Ok((Place { byte, row, line }, time))
}
