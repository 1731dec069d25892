//! The server of the `socketio` sink, from outside: contract, guard, limits, bad input. See
//! `docs/socketio.md`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod bad_input;
mod client;
mod contract;
mod guard;
mod limits;
