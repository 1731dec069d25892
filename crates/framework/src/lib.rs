//! The framework of pipectl. See ARCHITECTURE.md for a walk through the rooms.
//!
//! | room | what is in it |
//! |---|---|
//! | [`batch`] | the record model: Arrow columns with event time and origin |
//! | [`error`] | errors typed by what they make the runner do |
//! | [`clock`] | the one clock of a run |
//! | [`hash`] | a hash for marks that are kept |
//! | [`time`] | window arithmetic and watermarks: pure |
//! | [`config`] | what was written in the file, with positions |
//! | [`plugin`] | everything that a plugin's author imports |
//! | [`log`] | the contract between chains and a log, and the log in this process |
//! | [`graph`] | from what was written to a valid `Plan` |
//! | [`run`] | the chain loop: read, transform, window, write, commit |
//! | [`metrics`] | counters and the record balance |
//! | [`testing`] | run a graph in memory on a manual clock; conformance suites |

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))] // a test fails by panicking

pub mod batch;
pub mod clock;
pub mod config;
pub mod error;
pub mod graph;
pub mod hash;
pub mod log;
pub mod metrics;
pub mod plugin;
pub mod run;
pub mod testing;
pub mod time;
pub mod window;

pub use arrow_array;
pub use arrow_schema;
pub use inventory;
