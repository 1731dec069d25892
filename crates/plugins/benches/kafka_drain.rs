//! Kafka -> counts per second and key -> Kafka, exactly once: our log against a bare rdkafka loop, in the
//! same run.
//!
//! `PIPECTL_TEST_KAFKA=127.0.0.1:9092 cargo bench --bench kafka_drain -- 10000000`
//!
//! Three ways, of which the third is the whole chain of a pipeline file: kafka source, count-by-key window,
//! kafka sink. All drain the same topic of one-byte records (3 keys, 4 partitions, 200 s of event time),
//! commit results and positions in one transaction each 100 ms, and must arrive at the same counts. The chain
//! runs with `delivery: at_least_once` as well, in turn: what exactly once costs. Printed are records per
//! second, without start-up, and the ratio; a run of the bare loop stands before and after each of ours, as
//! the machine is noisy.
#![allow(clippy::print_stdout, clippy::expect_used, reason = "a benchmark prints, and fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arrow_array::BinaryArray;
use pipectl_framework::batch::Partition;
use pipectl_framework::clock::Clock;
use pipectl_framework::config::{Document, SourceFile};
use pipectl_framework::graph::{PlanOptions, plan};
use pipectl_framework::log::{
    Append, Group, GroupPositions, Keeps, Log, Position, ReadEvent, ReaderOptions, Start, TopicSpec,
    WriterOptions,
};
use pipectl_framework::plugin::{Purpose, Registry};
use pipectl_framework::run::{Run, RunOptions};
use pipectl_plugins::kafka::log::{KafkaLog, KafkaSettings};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

const PARTITIONS: u32 = 4;
const SECONDS: i64 = 200;
/// How often exactly once and at least once are held against each other.
const PAIRS: usize = 7;
const FLUSH: Duration = Duration::from_millis(100);

/// How many records each second and key had.
type Counts = BTreeMap<(i64, u8), u64>;

#[tokio::main]
async fn main() {
    let Ok(brokers) = std::env::var("PIPECTL_TEST_KAFKA") else {
        println!("SKIPPED kafka_drain: set PIPECTL_TEST_KAFKA=host:port");
        return;
    };
    let records = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(1_000_000_u64);
    let run = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_millis();
    let log = KafkaLog::new(KafkaSettings { brokers: brokers.clone(), ..KafkaSettings::default() });
    let (input, output) = (format!("bench-{run}-in"), format!("bench-{run}-out"));
    for (name, partitions) in [(&input, PARTITIONS), (&output, 1)] {
        let spec = TopicSpec {
            name: name.clone(),
            partitions: Some(partitions),
            create: true,
            keeps: Keeps::AsTheLog,
        };
        log.ensure_topics(&[spec]).await.expect("topics");
    }
    fill(&log, &input, records).await;

    let bare = |round: &str| bare(&brokers, &input, &output, &format!("{run}-{round}"), records);
    let (expected, first) = bare("a");
    println!("bare rdkafka poll + transactions: {first:>9.0} records/s");
    for round in ["b", "c"] {
        let (counts, ours) = ours(&log, &input, &output, &format!("{run}-{round}-ours"), records).await;
        assert_eq!(counts, expected, "the same counts");
        let id = format!("bench-{run}-{round}");
        let (chain, wall) = chain(&brokers, &input, id, "exactly_once", &expected, records).await;
        let (_, other) = bare(round);
        println!(
            "the whole chain:                  {chain:>9.0} records/s, {:.2} of bare; {wall:.2} s from start to end",
            chain / other
        );
        println!("our reader and writer:            {ours:>9.0} records/s");
        println!(
            "bare rdkafka poll + transactions: {other:>9.0} records/s, ours is {:.2} of it",
            ours / other
        );
    }
    let mut ratios = Vec::new();
    for pair in 0..PAIRS {
        let mut rates = [0.0; 2];
        // In turn, and each first as often as the other: a page cache and a broker that are warm help the
        // second.
        let order = if pair % 2 == 0 { [0, 1] } else { [1, 0] };
        for which in order {
            let delivery = ["exactly_once", "at_least_once"][which];
            let id = format!("bench-{run}-{pair}-{delivery}");
            rates[which] = chain(&brokers, &input, id, delivery, &expected, records).await.0;
        }
        let ratio = rates[0] / rates[1];
        println!(
            "exactly once {:>9.0} records/s, at least once {:>9.0}: {ratio:.2} of it",
            rates[0], rates[1]
        );
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    println!("exactly once is {:.2} of at least once, the median of {PAIRS} pairs", ratios[PAIRS / 2]);
}

async fn fill(log: &KafkaLog, topic: &str, records: u64) {
    let options = WriterOptions { transactional_id: None, transaction_timeout: Duration::from_mins(1) };
    let mut writer = log.writer(options).await.expect("a writer");
    let all: Vec<u64> = (0..records).collect();
    for part in all.chunks(50_000) {
        let keys: BinaryArray = part.iter().map(|n| Some([b'0' + (n % 3) as u8])).collect();
        let timestamps = part.iter().map(|n| base() + (*n as i64) * SECONDS * 1000 / records as i64);
        let append = Append {
            topic: topic.into(),
            partition: None,
            keys: Some(keys.clone()),
            values: keys,
            timestamps: timestamps.collect(),
            headers: Vec::new(),
        };
        writer.append(append).await.expect("appended");
    }
    writer.commit(None).await.expect("written");
}

async fn ours(log: &KafkaLog, input: &str, output: &str, id: &str, records: u64) -> (Counts, f64) {
    let options =
        WriterOptions { transactional_id: Some(id.to_owned()), transaction_timeout: Duration::from_secs(10) };
    let mut writer = log.writer(options).await.expect("a writer");
    let options = ReaderOptions {
        topics: vec![input.to_owned()],
        partitions: None,
        group: Some(Group::new(id)),
        start: Start::Earliest,
        max_records: 65_536,
        max_bytes: 16 << 20,
        headers: Vec::new(),
    };
    let mut reader = log.reader(options).await.expect("a reader");
    let (mut counts, mut positions, mut seen) = (Counts::new(), BTreeMap::new(), 0);
    let (mut started, mut flushed) = (None, Instant::now());
    let topic: Arc<str> = output.into();
    while seen < records {
        let ReadEvent::Records(batch) = reader.next().await.expect("an event") else { continue };
        started.get_or_insert_with(Instant::now);
        seen += batch.len() as u64;
        let mut tally = Tally::default();
        for (value, timestamp) in batch.values.value_data().iter().zip(batch.timestamps.iter()) {
            tally.add(&mut counts, (*timestamp, *value));
        }
        tally.finish(&mut counts);
        positions.insert(batch.partition.clone(), batch.offsets.last().expect("a record") + 1);
        if flushed.elapsed() >= FLUSH || seen == records {
            writer.append(result(&topic)).await.expect("appended");
            let membership = reader.membership().expect("a member");
            let positions = positions.iter().map(position).collect();
            writer.commit(Some(GroupPositions { membership, positions })).await.expect("committed");
            flushed = Instant::now();
        }
    }
    let took = started.expect("records").elapsed();
    writer.close().await.expect("closed");
    reader.close().await.expect("closed");
    (counts, records as f64 / took.as_secs_f64())
}

/// A pipeline file, planned and run to the end of its topic: records per second from the first on, and the
/// whole time in seconds.
async fn chain(
    brokers: &str,
    input: &str,
    id: String,
    delivery: &str,
    expected: &Counts,
    records: u64,
) -> (f64, f64) {
    let yaml = format!(
        "name: {id}
connections: {{ kafka: {{ brokers: '{brokers}' }} }}
pipelines:
  count:
    - source: kafka
      with: {{ topic: {input}, format: text }}
      delivery: {delivery}
    - window: count-by-key
      with: {{ key: value, size: 1s }}
    - sink: kafka
      with: {{ topic: {id}-result, partitions: 1, encode: json }}
"
    );
    let started = Instant::now();
    let registry = Registry::collect().expect("plugins");
    let document = Document::parse(&SourceFile::new("bench.yaml", yaml), &[], &|_| None).expect("a file");
    let options =
        PlanOptions { registry: &registry, base: Path::new("."), only: &[], purpose: Purpose::Check };
    let (plan, _) = plan(&document, options).expect("a plan");
    let (run, _notices) = Run::start(plan, &RunOptions { once: true, ..RunOptions::new(Clock::system()) });
    let figures = run.figures();
    let wait = tokio::spawn(run.wait());
    while figures[0].steps[0].1.balance().rows_in == 0 && !wait.is_finished() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let first = Instant::now();
    let outcome = wait.await.expect("an end");
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    let window = figures[0].steps[1].1.balance();
    assert_eq!((window.rows_in, window.late), (records, 0), "every record counts");
    assert_eq!(window.made, expected.len() as u64, "a result for each second and key");
    (records as f64 / first.elapsed().as_secs_f64(), started.elapsed().as_secs_f64())
}

fn position((partition, offset): (&Partition, &i64)) -> Position {
    Position { partition: partition.clone(), offset: *offset, metadata: String::new() }
}

fn result(topic: &Arc<str>) -> Append {
    Append {
        topic: Arc::clone(topic),
        partition: None,
        keys: None,
        values: BinaryArray::from_iter([Some(b"[{\"0\":5},{\"2\":1},{\"1\":7}]")]),
        headers: Vec::new(),
        timestamps: vec![base()].into(),
    }
}

/// Counts runs of the same second without looking the map up for each record; both sides count with it.
#[derive(Default)]
struct Tally {
    second: i64,
    counts: [u64; 3],
}

impl Tally {
    fn add(&mut self, counts: &mut Counts, (timestamp, value): (i64, u8)) {
        let second = timestamp.div_euclid(1000);
        if second != self.second {
            self.finish(counts);
            self.second = second;
        }
        self.counts[usize::from(value.wrapping_sub(b'0') % 3)] += 1;
    }

    fn finish(&mut self, counts: &mut Counts) {
        for (key, count) in std::mem::take(&mut self.counts).into_iter().enumerate() {
            if count > 0 {
                *counts.entry((self.second, key as u8)).or_default() += count;
            }
        }
    }
}

/// The same by hand: poll a message, count it, each 100 ms a transaction. Tuned with the same settings.
fn bare(brokers: &str, input: &str, output: &str, id: &str, records: u64) -> (Counts, f64) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    let mut consumer = config.clone();
    for (name, value) in [
        ("group.id", id),
        ("enable.auto.commit", "false"),
        ("isolation.level", "read_committed"),
        ("check.crcs", "true"),
        ("fetch.queue.backoff.ms", "5"),
        ("fetch.wait.max.ms", "10"),
        ("queued.max.messages.kbytes", "16384"),
        ("queued.min.messages", "1000000"),
    ] {
        consumer.set(name, value);
    }
    let consumer: BaseConsumer = consumer.create().expect("a consumer");
    let mut producer = config;
    producer.set("transactional.id", id).set("linger.ms", "2");
    let producer: BaseProducer = producer.create().expect("a producer");
    producer.init_transactions(Duration::from_secs(30)).expect("transactions");
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS as i32 {
        list.add_partition_offset(input, partition, Offset::Beginning).expect("a partition");
    }
    consumer.assign(&list).expect("assigned");

    let (mut counts, mut next, mut seen) = (Counts::new(), [0_i64; PARTITIONS as usize], 0);
    let (mut started, mut flushed, mut tally) = (None, Instant::now(), Tally::default());
    while seen < records {
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(10)) {
            started.get_or_insert_with(Instant::now);
            seen += 1;
            let value = message.payload().and_then(<[u8]>::first).copied().unwrap_or_default();
            tally.add(&mut counts, (message.timestamp().to_millis().unwrap_or(0), value));
            next[message.partition() as usize] = message.offset() + 1;
        }
        // A look at the clock for each record would be a cost that ours does not have.
        if seen == records || (seen % 1024 == 0 && flushed.elapsed() >= FLUSH) {
            producer.begin_transaction().expect("begun");
            let record =
                BaseRecord::<(), [u8]>::to(output).payload(b"[{\"0\":5},{\"2\":1},{\"1\":7}]".as_slice());
            producer.send(record).map_err(|(e, _)| e).expect("sent");
            while producer.in_flight_count() > 0 {
                producer.poll(Duration::from_millis(5));
            }
            let mut positions = TopicPartitionList::new();
            for (partition, offset) in next.iter().enumerate() {
                positions
                    .add_partition_offset(input, partition as i32, Offset::Offset(*offset))
                    .expect("a position");
            }
            let group = consumer.group_metadata().expect("a group");
            producer
                .send_offsets_to_transaction(&positions, &group, Duration::from_secs(10))
                .expect("positions");
            producer.commit_transaction(Duration::from_secs(10)).expect("committed");
            flushed = Instant::now();
        }
    }
    tally.finish(&mut counts);
    (counts, records as f64 / started.expect("records").elapsed().as_secs_f64())
}

/// The time of the first record, an hour ago: a broker's retention deletes what is older than a week.
fn base() -> i64 {
    static BASE: std::sync::OnceLock<i64> = std::sync::OnceLock::new();
    *BASE.get_or_init(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
        (now.cast_signed() - 3600) * 1000
    })
}
