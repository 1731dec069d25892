//! What a commit of the log on disk costs, and what those who do not commit wait for meanwhile.
//!
//! One to four chains commit batches of 64 KiB with a position, as fast as they can. Beside them somebody appends, and reads what is there: a
//! wait of theirs as long as a commit says that they stood still for the disk.
//!
//! `cargo bench -p pipectl-plugins --bench disk_commit [-- DIR]`: in a directory of its own in DIR, `.` by default, as `/tmp` may be in memory.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)] // a bench prints, and fails by panicking

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use arrow_array::BinaryArray;
use pipectl_framework::log::memory::MemoryOptions;
use pipectl_framework::log::{
    Append, Log, LogReader, LogWriter, ReadEvent, ReaderOptions, Start, TopicSpec, WriterOptions,
};
use pipectl_plugins::disk::DiskLog;

const TIME: Duration = Duration::from_secs(5);
const RECORD: usize = 256;
const RECORDS: usize = 256;

fn batch(topic: &str, records: usize) -> Append {
    let value = vec![b'x'; RECORD];
    Append {
        topic: topic.into(),
        partition: None,
        keys: None,
        values: BinaryArray::from_vec(vec![&value; records]),
        timestamps: (0..records as i64).collect(),
    }
}

async fn writer(log: &DiskLog, id: &str) -> Box<dyn LogWriter> {
    let options =
        WriterOptions { transactional_id: Some(id.into()), transaction_timeout: Duration::from_secs(10) };
    log.writer(options).await.unwrap()
}

async fn reader(log: &DiskLog, topic: &str) -> Box<dyn LogReader> {
    let options = ReaderOptions {
        topics: vec![topic.into()],
        partitions: None,
        group: None,
        start: Start::Earliest,
        max_records: RECORDS,
        max_bytes: 1 << 20,
    };
    log.reader(options).await.unwrap()
}

/// Median, 99th percentile and greatest, in milliseconds.
fn told(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 1000].as_secs_f64() * 1e3;
    format!("{:>8} {:>9.3} {:>9.3} {:>9.3}", times.len(), at(500), at(990), at(1000))
}

async fn round(directory: &Path, chains: usize) {
    let log = Arc::new(DiskLog::new(directory.to_owned(), "bench", MemoryOptions::default()));
    let spec = |name: &str| TopicSpec { name: name.into(), partitions: None, create: true, compacted: false };
    let names: Vec<String> = (0..chains).map(|chain| format!("t{chain}")).collect();
    let mut topics: Vec<TopicSpec> = names.iter().map(|name| spec(name)).collect();
    topics.push(spec("other"));
    log.ensure_topics(&topics).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    for name in names {
        let (log, stop) = (log.clone(), stop.clone());
        tasks.push(tokio::spawn(async move {
            let mut writer = writer(&log, &name).await;
            let mut times = Vec::new();
            while !stop.load(Relaxed) {
                writer.append(batch(&name, RECORDS)).await.unwrap();
                let begun = Instant::now();
                writer.commit(None).await.unwrap();
                times.push(begun.elapsed());
            }
            times
        }));
    }
    let mut other = writer(&log, "other").await;
    other.append(batch("other", RECORDS)).await.unwrap();
    other.commit(None).await.unwrap();
    let mut waits = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < TIME {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let asked = Instant::now();
        other.append(batch("other", 1)).await.unwrap();
        waits.push(asked.elapsed());
        other.abort().await.unwrap();
    }
    stop.store(true, Relaxed);
    let mut commits = Vec::new();
    for task in tasks {
        commits.extend(task.await.unwrap());
    }
    let mut reading = reader(&log, "other").await;
    while !matches!(reading.next().await.unwrap(), ReadEvent::Records(_)) {}
    println!("{chains:>6} commits {}", told(commits));
    println!("{:>6} others  {}", "", told(waits));
}

fn main() {
    let place = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let place = place.unwrap_or_else(|| ".".to_owned());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    println!("chains            number    p50 ms    p99 ms    max ms");
    for chains in [1, 2, 4] {
        let directory = Path::new(&place).join(format!("pipectl-disk-commit-{}", std::process::id()));
        runtime.block_on(round(&directory, chains));
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
