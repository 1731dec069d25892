//! Kafka as a log against the conformance suite, on a real cluster.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::panic,
    reason = "a test prints its cases and fails by panicking"
)]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pipectl_framework::log::conformance::{Harness, cases};
use pipectl_framework::log::{Keeps, Log, ReadEvent, ReaderOptions, Start, TopicSpec};
use pipectl_plugins::kafka::log::{KafkaLog, KafkaSettings};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;

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

#[tokio::test]
async fn a_reader_without_a_group_takes_in_partitions_that_are_added() {
    let Ok(brokers) = std::env::var("PIPECTL_TEST_KAFKA") else { return };
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    let topic = format!("grows-{}-{}", std::process::id(), since.as_millis());
    let properties = vec![("topic.metadata.refresh.interval.ms".to_owned(), "200".to_owned())];
    let log =
        KafkaLog::new(KafkaSettings { brokers: brokers.clone(), properties, ..KafkaSettings::default() });
    let spec = TopicSpec { name: topic.clone(), partitions: Some(1), create: true, keeps: Keeps::AsTheLog };
    log.ensure_topics(&[spec]).await.expect("a topic");
    let options = ReaderOptions {
        topics: vec![topic.clone()],
        partitions: None,
        group: None,
        start: Start::Latest,
        max_records: 100,
        max_bytes: 1 << 20,
        headers: Vec::new(),
    };
    let mut reader = log.reader(options).await.expect("a reader");
    let mut assigned = Vec::new();
    let mut grown = None;
    let patience = Instant::now() + Duration::from_secs(60);
    while grown.is_none() {
        assert!(Instant::now() < patience, "nothing grew");
        match tokio::time::timeout(Duration::from_secs(30), reader.next())
            .await
            .expect("an event")
            .expect("no fault")
        {
            ReadEvent::Assigned(assignments) => {
                if assigned.is_empty() {
                    let admin: AdminClient<DefaultClientContext> =
                        ClientConfig::new().set("bootstrap.servers", &brokers).create().expect("a client");
                    let new = NewPartitions::new(&topic, 3);
                    admin.create_partitions([&new], &AdminOptions::new()).await.expect("more partitions");
                }
                assigned.extend(assignments.into_iter().map(|a| (a.partition.index, a.start)));
            }
            ReadEvent::Grown { before, now, .. } => grown = Some((before, now)),
            _ => {}
        }
    }
    assert_eq!((assigned, grown), (vec![(0, 0), (1, 0), (2, 0)], Some((1, 3))));
    reader.close().await.expect("closed");
}
