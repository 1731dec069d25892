//! Bad input from outside, met by the real binary: each fault has its own message with cause and remedy, and
//! its exit code, and commits nothing. The messages are kept as snapshots; `docs/reliability.md` lists them.
//!
//! | file | the faults of |
//! |---|---|
//! | `broken_line` | lines of files that are no records |
//! | `catch_up` | a stop while one row has made millions of results due |
//! | `changed_file` | files that are not what they were at the last commit; on Kafka with `PIPECTL_TEST_KAFKA`, and on the log on disk |
//! | `connection` | addresses where no Kafka answers; needs none |
//! | `followed` | files that are followed: kills, rotations, what is lost |
//! | `missing` | topics that are not there, or not any more; needs `PIPECTL_TEST_KAFKA` |
//! | `no_time` | records without a timestamp; needs `PIPECTL_TEST_KAFKA` |
//! | `ids` | a transactional id or a group that somebody else uses; needs `PIPECTL_TEST_KAFKA` |
//! | `other_file` | workers of one pipeline with other files; needs `PIPECTL_TEST_KAFKA` |
//! | `parts_of_records` | keys, headers and tombstones; on Kafka with `PIPECTL_TEST_KAFKA`, and on the log on disk |
//! | `too_large` | rows that are larger than their topic takes; needs `PIPECTL_TEST_KAFKA` |
//! | `refused` | rows that the brokers refuse by rules of their own, results that lie ahead; needs `PIPECTL_TEST_KAFKA` |
//! | `retention` | rows that are older than their topic keeps records; needs `PIPECTL_TEST_KAFKA` |
//! | `repartitioned` | rows of any time through a repartition topic, topics of the framework's own that were made otherwise; needs `PIPECTL_TEST_KAFKA` |
//! | `lost` | records that are gone, topics that are made anew, partitions that are added; needs `PIPECTL_TEST_KAFKA` |
//! | `security` | TLS, passwords and ACLs; needs `PIPECTL_TEST_KAFKA_SECURE` |
//! | `secrets` | passwords in what is said |
//! | `cluster` | what others do to topics |
//! | `support` | runs the binary, and looks at topics and groups beside it |
#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, and says when it is skipped"
)]

mod broken_line;
mod catch_up;
mod changed_file;
mod cluster;
mod connection;
mod followed;
mod half_row;
mod ids;
mod lost;
mod missing;
mod no_time;
mod no_use;
mod other_file;
mod parts_of_records;
mod refused;
mod repartitioned;
mod retention;
mod secrets;
mod security;
mod support;
mod too_large;
