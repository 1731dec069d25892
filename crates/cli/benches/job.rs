//! The whole program from outside: start, memory and CPU of the shipped job, and the time from the end of a
//! window to its result.
//!
//! `cargo bench --bench job`; with `PIPECTL_TEST_KAFKA=host:port` over Kafka too, where this process is the
//! producer, and the consumer of the results. With `PIPECTL_TEST_KAFKA_DIR` as well, the folder that
//! `scripts/kafka start` was given, that broker is away for a minute, and the job's memory is watched.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark prints, and fails by panicking"
)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::ClientConfig;
use rdkafka::Message as _;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// How long the live figures are taken.
const LIVE: Duration = Duration::from_secs(20);
/// Partitions of the topics on Kafka.
const PARTITIONS: i32 = 4;

fn main() {
    println!("on the embedded log");
    embedded_start();
    embedded_live();
    shipped("embedded");
    if let Ok(brokers) = std::env::var("PIPECTL_TEST_KAFKA") {
        println!("on Kafka");
        Kafka::new(&brokers).start();
        // What exactly once adds: one of each in turn, as a machine is noisy.
        for delivery in ["exactly_once", "at_least_once", "exactly_once", "at_least_once"] {
            println!("  delivery: {delivery}");
            Kafka::new(&brokers).live(delivery);
        }
        if let Ok(folder) = std::env::var("PIPECTL_TEST_KAFKA_DIR") {
            away(&brokers, &folder);
        }
        shipped(&brokers);
    }
}

fn pipectl(brokers: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipectl"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    command.arg("run").args(arguments).env("KAFKA_BROKERS", brokers).current_dir(root).stderr(Stdio::null());
    command
}

/// A chain that counts the topic `id` into `id-result`.
fn counting(id: &str, delivery: &str) -> String {
    format!(
        "name: {id}
connections: {{ kafka: {{ brokers: \"${{KAFKA_BROKERS}}\" }} }}
pipelines:
  count:
    - source: kafka
      with: {{ topic: {id}, format: text }}
      delivery: {delivery}
    - window: count-by-key
      with: {{ key: value, size: 1s }}
    - sink: kafka
      with: {{ topic: {id}-result, encode: json }}
"
    )
}

/// The same between a source of made-up rows and standard output.
fn whole(id: &str, source: &str) -> String {
    format!(
        "{}  make:
    - source: generate
      with: {source}
    - sink: kafka
      with: {{ topic: {id}, value: key }}
  show:
    - source: kafka
      with: {{ topic: {id}-result, format: {{ json: {{ fields: {{ window_end: integer, key: text, count: integer }} }} }} }}
    - sink: stdout
",
        counting(id, "exactly_once")
    )
}

fn unique() -> String {
    format!("job-{}-{}", std::process::id(), now_ms())
}

fn embedded_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("job.yaml");
    let source = "{ count: 3, fields: { key: { values: ['0', '1', '2'] } } }";
    std::fs::write(&path, whole(&unique(), source)).expect("written");
    let took = median_of_5(|| {
        let started = Instant::now();
        let mut child = pipectl("embedded", &[path.to_str().expect("a path"), "--once"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        lines.next().expect("a result").expect("a line");
        let first = started.elapsed().as_secs_f64();
        child.wait().expect("an end");
        first
    });
    println!("  process start to first result:  {took:>7.3} s (median of 5)");
}

/// 10,000 rows a second; how long after the end of each window its result stands on standard output.
fn embedded_live() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("job.yaml");
    let source = "{ rate: 10000/s, fields: { key: { values: ['0', '1', '2'] } } }";
    std::fs::write(&path, whole(&unique(), source)).expect("written");
    let mut child = pipectl("embedded", &[path.to_str().expect("a path")])
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let mut live = Live::new();
    for line in BufReader::new(child.stdout.take().expect("a pipe")).lines() {
        if live.result(&child, line.expect("a line").as_bytes()) {
            break;
        }
    }
    live.print(child);
}

/// What is taken of a running job.
struct Live {
    started: Instant,
    cpu: Option<(Instant, f64)>,
    delays: Vec<f64>,
}

impl Live {
    fn new() -> Self {
        Self { started: Instant::now(), cpu: None, delays: Vec::new() }
    }

    /// Takes a result that has just been seen; true when it is enough.
    fn result(&mut self, child: &Child, json: &[u8]) -> bool {
        let row: serde_json::Value = serde_json::from_slice(json).expect("JSON");
        let end = row["window_end"].as_i64().expect("an end");
        // The first windows have the start in them.
        if self.started.elapsed() > Duration::from_secs(4) {
            self.cpu.get_or_insert_with(|| (Instant::now(), cpu_seconds(child)));
            self.delays.push((now_ms() - end) as f64);
        }
        self.started.elapsed() > LIVE
    }

    fn print(mut self, child: Child) {
        let (since, before) = self.cpu.expect("results");
        let cpu = (cpu_seconds(&child) - before) / since.elapsed().as_secs_f64();
        let rss = resident_mib(&child);
        stop(child);
        self.delays.sort_by(f64::total_cmp);
        let at = |q: f64| self.delays[((self.delays.len() - 1) as f64 * q) as usize];
        println!(
            "  window end to result, 10,000/s: {:>4.0} ms p50, {:>4.0} ms p99, {} results",
            at(0.5),
            at(0.99),
            self.delays.len()
        );
        println!("  CPU at 10,000/s:                {:>6.1} % of a core, {rss:.0} MiB resident", cpu * 100.0);
    }
}

/// A topic on Kafka that this process writes to, and the topic of its counts.
struct Kafka {
    brokers: String,
    id: String,
    producer: Arc<BaseProducer>,
    results: BaseConsumer,
}

impl Kafka {
    fn new(brokers: &str) -> Self {
        let id = unique();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers);
        let admin: AdminClient<DefaultClientContext> = config.create().expect("a client");
        let names = [id.clone(), format!("{id}-result")];
        let new = names.iter().map(|name| NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1)));
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let made = runtime.block_on(admin.create_topics(&new.collect::<Vec<_>>(), &AdminOptions::new()));
        made.expect("topics").into_iter().for_each(|topic| drop(topic.expect("a topic")));
        let producer = config
            .clone()
            .set("linger.ms", "2")
            // Otherwise a partition may get nothing for a while, and its records, not the job, are what a
            // window waits for.
            .set("sticky.partitioning.linger.ms", "0")
            .create()
            .expect("a producer");
        let results: BaseConsumer = config
            .set("group.id", "bench")
            .set("isolation.level", "read_committed")
            .set("fetch.wait.max.ms", "5")
            .create()
            .expect("a consumer");
        let mut all = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            all.add_partition_offset(&names[1], partition, Offset::Beginning).expect("an offset");
        }
        results.assign(&all).expect("an assignment");
        Self { brokers: brokers.to_owned(), id, producer: Arc::new(producer), results }
    }

    fn counting(&self, folder: &Path, delivery: &str) -> String {
        let path = folder.join("job.yaml");
        std::fs::write(&path, counting(&self.id, delivery)).expect("written");
        path.to_str().expect("a path").to_owned()
    }

    fn next_result(&self) -> Vec<u8> {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(30) {
            // A poll comes back early where the client has something else to tell.
            match self.results.poll(Duration::from_secs(1)) {
                Some(Ok(message)) => return message.payload().expect("a result").to_vec(),
                Some(Err(error)) => println!("  {error}"),
                None => {}
            }
        }
        panic!("no result in time");
    }

    /// Three records, one process for each try.
    fn start(&self) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = self.counting(folder.path(), "exactly_once");
        let mut time = now_ms() - 3_600_000;
        let took = median_of_5(|| {
            // A window that an earlier try has closed takes no more.
            time += 10_000;
            for value in ["0", "1", "2"] {
                let record = BaseRecord::<(), str>::to(&self.id).payload(value).timestamp(time);
                self.producer.send(record).map_err(|(e, _)| e).expect("sent");
            }
            self.producer.flush(Duration::from_secs(10)).expect("written");
            let started = Instant::now();
            let mut child = pipectl(&self.brokers, &[&path, "--once"]).spawn().expect("a child");
            self.next_result();
            let first = started.elapsed().as_secs_f64();
            child.wait().expect("an end");
            while self.results.poll(Duration::from_millis(200)).is_some() {}
            first
        });
        println!("  process start to first result:  {took:>7.3} s (median of 5)");
    }

    /// 10,000 records a second from this process; how long after the end of each window a consumer has its
    /// result.
    fn live(&self, delivery: &str) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = self.counting(folder.path(), delivery);
        let ended = Arc::new(AtomicBool::new(false));
        let writing = std::thread::spawn({
            let (producer, topic, ended) = (self.producer.clone(), self.id.clone(), ended.clone());
            move || produce(&producer, &topic, &ended)
        });
        let child = pipectl(&self.brokers, &[&path]).spawn().expect("a child");
        let mut live = Live::new();
        while !live.result(&child, &self.next_result()) {}
        live.print(child);
        ended.store(true, Relaxed);
        writing.join().expect("written");
    }
}

fn produce(producer: &BaseProducer, topic: &str, ended: &AtomicBool) {
    let started = Instant::now();
    let mut sent = 0;
    while !ended.load(Relaxed) {
        while sent < started.elapsed().as_millis() * 10 {
            let value = ["0", "1", "2"][(sent % 3) as usize];
            let record = BaseRecord::<(), str>::to(topic).payload(value).timestamp(now_ms());
            producer.send(record).map_err(|(e, _)| e).expect("sent");
            sent += 1;
        }
        producer.poll(Duration::from_millis(1));
    }
}

/// Rows as fast as they can be made, through a topic and a window, while the broker stands still for a
/// minute.
fn away(brokers: &str, folder: &str) {
    let broker = |what: &str| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/kafka");
        assert!(Command::new(script).args([what, folder]).status().expect("scripts/kafka").success());
    };
    let files = tempfile::tempdir().expect("a folder");
    let path = files.path().join("job.yaml");
    let (id, source) = (unique(), "{ fields: { key: { values: ['0', '1', '2'] } } }");
    std::fs::write(&path, whole(&id, source)).expect("written");
    let file = path.to_str().expect("a path");
    let child = pipectl(brokers, &[file]).stdout(Stdio::null()).spawn().expect("a child");
    let greatest = |seconds: u64| {
        let watched = (0..seconds * 4).map(|_| {
            std::thread::sleep(Duration::from_millis(250));
            resident_mib(&child)
        });
        watched.fold(0.0, f64::max)
    };
    let before = greatest(15);
    broker("pause");
    let during = greatest(60);
    broker("resume");
    let after = greatest(20);
    println!(
        "  the broker away for 60 s at full rate: {before:.0} MiB resident at most before, {during:.0} while, {after:.0} after"
    );
    stop(child);
}

fn median_of_5(run: impl FnMut() -> f64) -> f64 {
    let mut took: Vec<f64> = std::iter::repeat_with(run).take(5).collect();
    took.sort_by(f64::total_cmp);
    took[2]
}

fn shipped(brokers: &str) {
    let listen = "pipelines.dashboard.socketio.with.listen=127.0.0.1:0";
    let child = pipectl(brokers, &["pipeline.yaml", "--set", listen]).spawn().expect("a child");
    std::thread::sleep(Duration::from_secs(10));
    println!("  the shipped job after 10 s:     {:>4.0} MiB resident", resident_mib(&child));
    stop(child);
}

fn stop(mut child: Child) {
    Command::new("kill").arg(child.id().to_string()).status().expect("a signal");
    child.wait().expect("an end");
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_millis() as i64
}

/// User and system time of the child so far: fields 14 and 15 of `/proc/PID/stat`, in hundredths of a second.
fn cpu_seconds(child: &Child) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("Linux");
    let after_name = stat.rsplit_once(") ").expect("a name").1;
    let fields: Vec<f64> = after_name.split(' ').map(|f| f.parse().unwrap_or(0.0)).collect();
    (fields[11] + fields[12]) / 100.0
}

fn resident_mib(child: &Child) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("Linux");
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("a size");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).expect("KiB") / 1024.0
}
