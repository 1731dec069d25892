//! Bad input from outside, met by the real binary: each fault has its own message with cause and remedy, and its exit code, and
//! commits nothing. The messages are kept as snapshots; `docs/reliability.md` lists them.
//!
//! | file | the faults of |
//! |---|---|
//! | `changed_file` | files that are not what they were at the last commit; on Kafka with `PIPECTL_TEST_KAFKA`, and on the log on disk |
//! | `connection` | addresses where no Kafka answers; needs none |
//! | `security` | TLS, passwords and ACLs; needs `PIPECTL_TEST_KAFKA_SECURE` |
//! | `secrets` | passwords in what is said |
//! | `support` | runs the binary, and looks at topics and groups beside it |
#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, and says when it is skipped"
)]

mod changed_file;
mod connection;
mod secrets;
mod security;
mod support;
