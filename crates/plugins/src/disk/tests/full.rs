//! A disk that is full, or fails in passing: the log says so, loses nothing, writes nothing twice, and goes on.

use std::io::ErrorKind;
use std::path::Path;

use arrow_array::BinaryArray;
use pipectl_framework::error::{Consequence, Result};
use pipectl_framework::log::memory::MemoryOptions;
use pipectl_framework::log::{
    Append, GroupPositions, Log, LogReader, LogWriter, Position, ReadEvent, ReaderOptions, Start, TopicSpec,
    WriterOptions,
};
use pipectl_framework::plugin::Partition;

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
        timestamps: vec![0].into(),
    }
}

async fn reader(log: &DiskLog, topic: &str, group: Option<&str>) -> Result<Box<dyn LogReader>> {
    let options = ReaderOptions {
        topics: vec![topic.into()],
        partitions: None,
        group: group.map(str::to_owned),
        start: Start::Earliest,
        max_records: 1000,
        max_bytes: 1 << 20,
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

/// A chain that copies numbers: its position in `in` says which comes next, and is committed with the row. Opens all, and copies up to `until`.
async fn copy(log: &DiskLog, until: i64, bytes: usize) -> Result<()> {
    let spec = |name: &str| TopicSpec { name: name.into(), partitions: None, create: true, compacted: false };
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
