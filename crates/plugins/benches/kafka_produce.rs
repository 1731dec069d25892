//! Records to Kafka: our writer, and a whole chain from a CSV file, against a bare idempotent rdkafka
//! producer, in the same run.
//!
//! `PIPECTL_TEST_KAFKA=127.0.0.1:9092 cargo bench --bench kafka_produce -- 10000000`
//!
//! One-byte values with three keys, acks=all. Printed are records per second and the ratio.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark prints, and fails by panicking"
)]

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arrow_array::BinaryArray;
use pipectl_framework::clock::Clock;
use pipectl_framework::config::{Document, SourceFile};
use pipectl_framework::graph::{PlanOptions, plan};
use pipectl_framework::log::{Append, Keeps, Log, TopicSpec, WriterOptions};
use pipectl_framework::plugin::{Purpose, Registry};
use pipectl_framework::run::{Run, RunOptions};
use pipectl_plugins::kafka::log::{KafkaLog, KafkaSettings};
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;

const KEYS: [&[u8]; 3] = [b"0", b"1", b"2"];

#[tokio::main]
async fn main() {
    let Ok(brokers) = std::env::var("PIPECTL_TEST_KAFKA") else {
        println!("SKIPPED kafka_produce: set PIPECTL_TEST_KAFKA=host:port");
        return;
    };
    let records = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(1_000_000_u64);
    let run = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_millis();
    let log = KafkaLog::new(KafkaSettings { brokers: brokers.clone(), ..KafkaSettings::default() });
    let topic = format!("bench-{run}");
    let spec = TopicSpec { name: topic.clone(), partitions: Some(4), create: true, keeps: Keeps::AsTheLog };
    log.ensure_topics(&[spec]).await.expect("a topic");
    for _ in 0..2 {
        let bare = bare(&brokers, &topic, records);
        println!("bare rdkafka producer: {bare:>9.0} records/s");
        for id in [None, Some(format!("bench-{run}"))] {
            let name = if id.is_some() { "one transaction" } else { "no transaction" };
            let ours = ours(&log, &topic, records, id).await;
            println!("our writer, {name}: {ours:>9.0} records/s, {:.2} of the bare one", ours / bare);
        }
        let chain = chain(&brokers, &topic, records).await;
        println!("CSV file -> select -> Kafka: {chain:>9.0} records/s, {:.2} of the bare one", chain / bare);
    }
}

async fn ours(log: &KafkaLog, topic: &str, records: u64, id: Option<String>) -> f64 {
    let options = WriterOptions { transactional_id: id, transaction_timeout: Duration::from_mins(1) };
    let mut writer = log.writer(options).await.expect("a writer");
    let keys: BinaryArray = (0..10_000).map(|n| Some(KEYS[n % 3])).collect();
    let batch = Append {
        topic: topic.into(),
        partition: None,
        keys: Some(keys.clone()),
        values: keys,
        headers: Vec::new(),
        timestamps: vec![base(); 10_000].into(),
    };
    let started = Instant::now();
    for _ in 0..records / 10_000 {
        writer.append(batch.clone()).await.expect("appended");
    }
    writer.commit(None).await.expect("written");
    let took = started.elapsed();
    writer.close().await.expect("closed");
    records as f64 / took.as_secs_f64()
}

/// A pipeline file, planned and run to the end of a CSV file with as many rows of eleven columns.
async fn chain(brokers: &str, topic: &str, records: u64) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/user_log.csv");
    let sample = std::fs::read_to_string(sample).expect("the sample");
    let (header, rows) = sample.split_once('\n').expect("a header");
    let mut csv = String::from(header);
    for row in rows.lines().cycle().take(records as usize) {
        csv.push('\n');
        csv.push_str(row);
    }
    let path = folder.path().join("rows.csv");
    std::fs::write(&path, csv).expect("written");
    let yaml = format!(
        "name: {topic}
connections: {{ kafka: {{ brokers: '{brokers}' }} }}
pipelines:
  rows:
    - source: csv
      with: {{ path: '{}' }}
    - transform: select
      with: {{ fields: [gender] }}
    - sink: kafka
      with: {{ topic: {topic}, value: gender }}
",
        path.display()
    );
    let registry = Registry::collect().expect("plugins");
    let document = Document::parse(&SourceFile::new("bench.yaml", yaml), &[], &|_| None).expect("a file");
    let options =
        PlanOptions { registry: &registry, base: folder.path(), only: &[], purpose: Purpose::Check };
    let (plan, _) = plan(&document, options).expect("a plan");
    let started = Instant::now();
    let (run, _notices) = Run::start(plan, &RunOptions { once: true, ..RunOptions::new(Clock::system()) });
    let outcome = run.wait().await;
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    records as f64 / started.elapsed().as_secs_f64()
}

fn bare(brokers: &str, topic: &str, records: u64) -> f64 {
    let mut config = ClientConfig::new();
    for (name, value) in [
        ("bootstrap.servers", brokers),
        ("enable.idempotence", "true"),
        ("partitioner", "murmur2_random"),
        ("batch.num.messages", "10000"),
        ("queue.buffering.max.messages", "500000"),
        ("queue.buffering.max.kbytes", "65536"),
        ("linger.ms", "5"),
        ("delivery.report.only.error", "true"),
    ] {
        config.set(name, value);
    }
    let producer: BaseProducer = config.create().expect("a producer");
    let started = Instant::now();
    for n in 0..records as usize {
        let mut record =
            BaseRecord::<[u8], [u8]>::to(topic).key(KEYS[n % 3]).payload(KEYS[n % 3]).timestamp(base());
        loop {
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    producer.poll(Duration::from_millis(5));
                }
                Err((error, _)) => panic!("not sent: {error}"),
            }
        }
        if n % 10_000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(Duration::from_mins(1)).expect("written");
    records as f64 / started.elapsed().as_secs_f64()
}

/// The time of the first record, an hour ago: a broker's retention deletes what is older than a week.
fn base() -> i64 {
    static BASE: std::sync::OnceLock<i64> = std::sync::OnceLock::new();
    *BASE.get_or_init(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
        (now.cast_signed() - 3600) * 1000
    })
}
