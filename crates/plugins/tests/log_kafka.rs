//! Kafka as a log against the conformance suite, on a real cluster.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::panic,
    reason = "a test prints its cases and fails by panicking"
)]

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use pipectl_framework::log::conformance::{Harness, cases};
use pipectl_plugins::kafka::log::{KafkaLog, KafkaSettings};

#[test]
fn conforms() {
    let Ok(brokers) = std::env::var("PIPECTL_TEST_KAFKA") else {
        println!("SKIPPED log_kafka: set PIPECTL_TEST_KAFKA=host:port of a Kafka that may be written to");
        return;
    };
    let only = std::env::var("PIPECTL_TEST_CASE").ok();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut failed = Vec::new();
    for (name, case) in cases() {
        if only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        let log = KafkaLog::new(KafkaSettings { brokers: brokers.clone(), ..KafkaSettings::default() });
        let harness =
            Harness::new(Arc::new(log), format!("conf-{}-{}-{name}", std::process::id(), since.as_millis()));
        let started = Instant::now();
        let result = runtime.block_on(async { tokio::spawn(case(harness)).await });
        let outcome = match result {
            Ok(Ok(())) => "ok".to_owned(),
            Ok(Err(error)) => format!("FAILED: {error}"),
            Err(panicked) => format!("FAILED: {panicked}"),
        };
        println!("{name}: {outcome} ({:.1} s)", started.elapsed().as_secs_f64());
        if outcome != "ok" {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}
