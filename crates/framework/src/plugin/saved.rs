//! The form in which states are kept outside the process: serde, as postcard's bytes (little-endian, small
//! numbers small).
//!
//! ```
//! use pipectl_framework::plugin::saved;
//! let mut bytes = Vec::new();
//! saved::write(&(7_i64, f64::NEG_INFINITY), &mut bytes);
//! assert_eq!(saved::read::<(i64, f64)>(&bytes).unwrap(), (7, f64::NEG_INFINITY));
//! assert!(saved::read::<(i64, f64)>(&bytes[1..]).is_err());
//! ```

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// Adds a value to `bytes`. A type whose `Serialize` fails (serde's own and derived ones do not) adds what
/// [`read`] refuses.
pub fn write<T: Serialize>(value: &T, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    if postcard::to_io(value, &mut *bytes).is_err() {
        bytes.truncate(start);
    }
}

/// Reads a value that [`write`] has written; it must take all the bytes.
///
/// # Errors
/// `Fatal` where the bytes are not such a value.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(unreadable("bytes are left over")),
        Err(error) => Err(unreadable(&error.to_string())),
    }
}

fn unreadable(why: &str) -> Error {
    Error::fatal(format!("a state that was kept cannot be read: {why}"))
        .remedy("it was written by another version of this plugin: let that version close its windows, or begin anew under another `name:`")
}
