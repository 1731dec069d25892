//! A disk that is full, or fails in passing: the log says so, loses nothing, writes nothing twice, and goes
//! on.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::BinaryArray;
use pipectl_framework::clock::Clock;
use pipectl_framework::config::{Document, SourceFile};
use pipectl_framework::error::{Consequence, Result};
use pipectl_framework::graph::{PlanOptions, plan};
use pipectl_framework::log::memory::MemoryOptions;
use pipectl_framework::log::{
    Append, Group, GroupPositions, Keeps, Log, LogReader, LogWriter, Position, ReadEvent, ReaderOptions,
    Start, TopicSpec, WriterOptions,
};
use pipectl_framework::plugin::{Partition, Purpose, Registry};
use pipectl_framework::run::{Run, RunOptions};

use super::super::DiskLog;
use super::simulated::Disk;

fn log(disk: &Disk, directory: &Path) -> DiskLog {
    DiskLog::with(directory.to_owned(), "the log", MemoryOptions::default(), disk.open())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

fn row(number: i64, bytes: usize) -> Append {
    let mut value = number.to_be_bytes().to_vec();
    value.resize(8 + bytes, 7);
    Append {
        topic: "out".into(),
        partition: None,
        keys: None,
        values: BinaryArray::from_vec(vec![&value]),
        headers: Vec::new(),
        timestamps: vec![0].into(),
    }
}

async fn reader(log: &DiskLog, topic: &str, group: Option<&str>) -> Result<Box<dyn LogReader>> {
    let options = ReaderOptions {
        topics: vec![topic.into()],
        partitions: None,
        group: group.map(Group::new),
        start: Start::Earliest,
        max_records: 1000,
        max_bytes: 1 << 20,
        headers: Vec::new(),
    };
    log.reader(options).await
}

async fn writer(log: &DiskLog) -> Result<Box<dyn LogWriter>> {
    let options = WriterOptions {
        transactional_id: Some("w".into()),
        transaction_timeout: std::time::Duration::from_secs(10),
    };
    log.writer(options).await
}

/// What a reader sees in `out`.
async fn rows(log: &DiskLog) -> Result<Vec<i64>> {
    let mut reader = reader(log, "out", None).await?;
    reader.bound().await?;
    let mut rows = Vec::new();
    loop {
        match reader.next().await? {
            ReadEvent::Records(records) => {
                let number = |value: &[u8]| i64::from_be_bytes(value[..8].try_into().unwrap());
                rows.extend(records.values.iter().flatten().map(number));
            }
            ReadEvent::End => return Ok(rows),
            _ => {}
        }
    }
}

/// A chain that copies numbers: its position in `in` says which comes next, and is committed with the row.
/// Opens all, and copies up to `until`.
async fn copy(log: &DiskLog, until: i64, bytes: usize) -> Result<()> {
    let spec =
        |name: &str| TopicSpec { name: name.into(), partitions: None, create: true, keeps: Keeps::AsTheLog };
    log.ensure_topics(&[spec("in"), spec("out")]).await?;
    let mut reading = reader(log, "in", Some("g")).await?;
    let mut writing = writer(log).await?;
    let ReadEvent::Assigned(assigned) = reading.next().await? else { panic!("nothing was assigned") };
    let committed = assigned[0].committed.as_ref();
    let mut next: i64 = committed.map_or(0, |position| position.metadata.parse().unwrap());
    while next < until {
        writing.append(row(next, bytes)).await?;
        next += 1;
        let position = Position { partition: Partition::new("in", 0), offset: 0, metadata: next.to_string() };
        let membership = reading.membership().unwrap();
        writing.commit(Some(GroupPositions { membership, positions: vec![position] })).await?;
    }
    Ok(())
}

#[test]
fn a_full_disk_is_waited_for_and_nothing_is_lost_or_doubled() {
    let (disk, directory) = (Disk::default(), tempfile::tempdir().unwrap());
    runtime().block_on(async {
        let log = log(&disk, directory.path());
        copy(&log, 3, 10_000).await.unwrap();
        disk.lock().room = Some(2 << 20);
        for _ in 0..5 {
            let error = copy(&log, 1000, 10_000).await.unwrap_err();
            assert_eq!(error.consequence(), Consequence::Retry);
            assert_eq!(error.to_string(), "the disk of the log in the log is full");
            let help = "make room there: the pipeline waits, loses nothing, and goes on by itself";
            assert_eq!(error.help(), Some(help));
        }
        disk.lock().room = None;
        copy(&log, 1000, 10_000).await.unwrap();
        assert_eq!(rows(&log).await.unwrap(), (0..1000).collect::<Vec<_>>());
    });
    runtime().block_on(async {
        let log = log(&disk, directory.path());
        assert_eq!(rows(&log).await.unwrap(), (0..1000).collect::<Vec<_>>(), "and on the disk");
    });
}

/// Fails each step of the disk in turn, once.
#[test]
fn a_fault_at_any_step_loses_nothing_and_doubles_nothing() {
    let (mut faults, mut happened) = (0, 0);
    for step in 1.. {
        let (disk, directory) = (Disk::default(), tempfile::tempdir().unwrap());
        disk.lock().fails = Some((step, ErrorKind::StorageFull, false));
        let mut failed = false;
        runtime().block_on(async {
            let log = log(&disk, directory.path());
            while let Err(error) = copy(&log, 4, 100).await {
                assert_eq!(error.consequence(), Consequence::Retry, "step {step}: {error}");
                failed = true;
                assert!(disk.lock().steps < 10_000, "step {step}: it goes on failing");
                if let Ok(seen) = rows(&log).await {
                    let next = seen.len() as i64;
                    assert_eq!(seen, (0..next).collect::<Vec<_>>(), "step {step}");
                    happened += 1;
                }
            }
            assert_eq!(rows(&log).await.unwrap(), [0, 1, 2, 3], "step {step}");
        });
        let steps = std::mem::take(&mut disk.lock().steps);
        disk.lock().fails = None;
        runtime().block_on(async {
            let log = log(&disk, directory.path());
            assert_eq!(rows(&log).await.unwrap(), [0, 1, 2, 3], "step {step}: on the disk");
            copy(&log, 6, 100).await.unwrap();
            assert_eq!(rows(&log).await.unwrap().len(), 6, "step {step}: it goes on");
        });
        faults += u32::from(failed);
        if steps < step {
            break;
        }
    }
    assert!(faults > 10 && happened > 0, "{faults} faults");
}

/// Rows of a file that is read at the rate at which it was written have old times once the disk has room
/// again. Meanwhile nothing came because nothing could be written, so time may not go on as it does where
/// nobody writes.
#[test]
fn no_row_is_late_because_the_disk_was_full() {
    let (disk, directory) = (Disk::default(), tempfile::tempdir().unwrap());
    let start = 1_767_225_600_000_i64;
    let rows: String = (0..3000).map(|row| format!("{},{}\n", row % 7, start + 10 * row)).collect();
    std::fs::write(directory.path().join("rows.csv"), format!("k,t\n{rows}")).unwrap();
    let yaml = "name: full
connections: { kafka: { brokers: 'embedded:log' } }
pipelines:
  rows:
    - source: csv
      time: { field: t, format: epoch_ms }
      with: { path: rows.csv, rate: 100/s }
    - sink: kafka
      with: { topic: keys, value: k }
  counts:
    - source: kafka
      with: { topic: keys, format: text }
    - window: count-by-key
      with: { key: value, size: 1s, zero_fill: seen }
    - sink: kafka
      with: { topic: counts, encode: json }
";
    let registry = Registry::collect().unwrap();
    let document = Document::parse(&SourceFile::new("full.yaml", yaml), &[], &|_| None).unwrap();
    let options =
        PlanOptions { registry: &registry, base: directory.path(), only: &[], purpose: Purpose::Check };
    let (mut plan, _) = plan(&document, options).unwrap();
    plan.connections[0].1 = Arc::new(log(&disk, &directory.path().join("log")));
    let (read, late, failures) = runtime().block_on(async {
        let clock = Clock::manual(start);
        let (run, _notices) = Run::start(plan, &RunOptions { seed: 3, ..RunOptions::new(clock) });
        let figures = run.figures();
        for room in [None, Some(0), None] {
            disk.lock().room = room;
            tokio::time::sleep(Duration::from_secs(if room.is_none() { 10 } else { 60 })).await;
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        let window = figures.iter().find(|chain| chain.name == "counts").unwrap().steps[1].1.balance();
        run.control().drain();
        (window.rows_in, window.late, run.wait().await.failures)
    });
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!((read, late), (3000, 0));
}
