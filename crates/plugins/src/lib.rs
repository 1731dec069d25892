//! The plugins that ship with pipectl. Each is one file or folder that registers itself; nothing lists them
//! but the `mod` lines below.
//!
//! | module | what it registers |
//! |---|---|
//! | `csv` | source `csv` |
//! | [`disk`] | the embedded log on disk |
//! | `format` | formats `text`, `json`, `pairs` |
//! | `generate` | source `generate` |
//! | `jsonl` | source `jsonl` |
//! | [`kafka`] | connection `kafka`, source `kafka`, sink `kafka` |
//! | [`memory`] | sink `memory` |
//! | [`socketio`] | sink `socketio` |
//! | `stdout` | sink `stdout` |
//! | `transform` | transforms `cast`, `filter`, `select` |
//! | `window` | windows `count-by-key`, `count`, `sum`, `avg`, `min`, `max`, `count-distinct`, `quantiles`, `top-k`, `rate`, `aggregates` |
//!
//! `columns` (builders of Arrow columns), `condition` (a field has one of some values), `files` (what the
//! sources of files have in common), `names` (one field or several), `replay` (the pace and the stamps of a
//! replayed source) and `typed` (texts as values of other types) are shared.
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
mod condition;
mod csv;
pub mod disk;
mod files;
mod format;
mod generate;
mod jsonl;
pub mod kafka;
pub mod memory;
mod names;
mod replay;
pub mod socketio;
pub mod stdout;
mod transform;
mod typed;
mod window;
