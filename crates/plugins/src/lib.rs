//! The plugins that ship with pipectl. Each is one file or folder that registers itself; nothing lists them but the `mod` lines
//! below.
//!
//! | module | what it registers |
//! |---|---|
//! | `csv` | source `csv` |
//! | [`socketio`] | sink `socketio` |
//! | `window` | window `count-by-key` |
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "a test that meets one of these has failed"
    )
)]

mod columns;
mod csv;
mod replay;
pub mod socketio;
mod window;
