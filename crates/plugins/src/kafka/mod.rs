//! Kafka: the connection, the source and the sink on its topics, and Kafka as a log ([`log`]).
//!
//! Source and sink are configuration only: the framework reads and writes topics through the log contract, so
//! that the same file runs on the log in this process and on a cluster.

mod connection;
pub mod log;
mod properties;
mod record;
mod sink;
mod source;
mod written;

use pipectl_framework::plugin::Problem;

/// The connection that is used where none is named.
fn connection() -> String {
    "kafka".to_owned()
}

/// Checks a topic's name by Kafka's own rule.
fn check_topic(topic: &str) -> Result<(), Problem> {
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=249).contains(&topic.len()) && topic.chars().all(valid) && !matches!(topic, "." | "..") {
        return Ok(());
    }
    Err(Problem::new("topic", format!("`{topic}` cannot be the name of a topic"))
        .help("a topic's name has ASCII letters, digits, `.`, `_` and `-`, at most 249 of them"))
}
