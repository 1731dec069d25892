//! What an operator has of a run, met from outside by the real binary.
//!
//! | file | what |
//! |---|---|
//! | `drain` | a signal while the broker stands still; needs a broker that may be paused |
//! | `health` | `--health`: what it answers and when, and to whom it does not |
//! | `pipe` | a pipe that is closed, a Ctrl-C that arrives twice |
//! | `stderr` | standard error that nobody reads |
//! | `support` | runs the binary, and asks it |
#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, and says when it is skipped"
)]

mod drain;
mod health;
mod pipe;
mod stderr;
mod support;
