//! The embedded log on disk against the conformance suite, and what it has kept when it is opened again.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test prints its cases and fails by panicking"
)]

use std::path::Path;
use std::sync::Arc;

use arrow_array::BinaryArray;
use pipectl_framework::error::Result;
use pipectl_framework::log::conformance::{Harness, cases};
use pipectl_framework::log::memory::MemoryOptions;
use pipectl_framework::log::{
    Append, Group, GroupPositions, Keeps, Log, LogReader, Position, ReadEvent, ReaderOptions, Start,
    TopicSpec, WriterOptions,
};
use pipectl_plugins::disk::DiskLog;

fn log(directory: &Path) -> DiskLog {
    log_of(directory, MemoryOptions::default())
}

fn log_of(directory: &Path, options: MemoryOptions) -> DiskLog {
    DiskLog::new(directory.to_owned(), "the log", options)
}

/// The bytes of the log's file.
fn size(directory: &Path) -> u64 {
    std::fs::metadata(directory.join("log.redb")).unwrap().len()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

#[test]
fn conforms() {
    for (name, case) in cases() {
        println!("{name}");
        let folder = tempfile::tempdir().unwrap();
        let harness = Harness::new(Arc::new(log(folder.path())), name);
        if let Err(error) = runtime().block_on(case(harness)) {
            panic!("{name}: {error}");
        }
    }
}

fn append(topic: &str, rows: &[(Option<&str>, &str)]) -> Append {
    let keys: Vec<Option<&[u8]>> = rows.iter().map(|row| row.0.map(str::as_bytes)).collect();
    let values: Vec<&[u8]> = rows.iter().map(|row| row.1.as_bytes()).collect();
    Append {
        topic: topic.into(),
        partition: None,
        keys: Some(BinaryArray::from_opt_vec(keys)),
        values: BinaryArray::from_vec(values),
        headers: Vec::new(),
        timestamps: (0..rows.len() as i64).collect(),
    }
}

async fn reader(log: &DiskLog, group: Option<&str>) -> Result<Box<dyn LogReader>> {
    let options = ReaderOptions {
        topics: vec!["t".into()],
        partitions: None,
        group: group.map(Group::new),
        start: Start::Earliest,
        max_records: 100,
        max_bytes: 1 << 20,
        headers: Vec::new(),
    };
    log.reader(options).await
}

/// All that the reader gives up to the end: (partition, offset, value).
async fn rest(reader: &mut Box<dyn LogReader>) -> Result<Vec<(i32, i64, String)>> {
    reader.bound().await?;
    let mut rows = Vec::new();
    loop {
        match reader.next().await? {
            ReadEvent::Records(records) => {
                let index = records.partition.index;
                let values = records.values.iter().zip(records.offsets.iter());
                rows.extend(values.map(|(value, offset)| {
                    (index, *offset, String::from_utf8_lossy(value.unwrap_or_default()).into_owned())
                }));
            }
            ReadEvent::End => return Ok(rows),
            _ => {}
        }
    }
}

#[test]
fn what_was_committed_is_there_again_and_nothing_else() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let spec = TopicSpec { name: "t".into(), partitions: Some(2), create: true, keeps: Keeps::AsTheLog };
    let writer = WriterOptions {
        transactional_id: Some("w".into()),
        transaction_timeout: std::time::Duration::from_secs(10),
    };
    runtime().block_on(async {
        let log = log(folder.path());
        log.ensure_topics(std::slice::from_ref(&spec)).await?;
        let mut reading = reader(&log, Some("g")).await?;
        reading.next().await?;
        let mut writing = log.writer(writer.clone()).await?;
        writing.append(append("t", &[(Some("a"), "1"), (Some("b"), "2"), (None, "")])).await?;
        let partition = pipectl_framework::batch::Partition::new("t", 0);
        let positions = vec![Position { partition, offset: 1, metadata: "note".into() }];
        let membership = reading.membership().unwrap();
        writing.commit(Some(GroupPositions { membership, positions })).await?;
        // This is never committed.
        writing.append(append("t", &[(Some("a"), "lost")])).await?;
        Ok::<_, pipectl_framework::error::Error>(())
    })?;
    for again in 0..2 {
        runtime().block_on(async {
            let log = log(folder.path());
            assert_eq!(log.ensure_topics(std::slice::from_ref(&spec)).await?, [2]);
            let mut alone = reader(&log, None).await?;
            let mut values: Vec<String> = rest(&mut alone).await?.into_iter().map(|row| row.2).collect();
            values.sort();
            let expected: &[&str] = if again == 0 { &["", "1", "2"] } else { &["", "1", "2", "3"] };
            assert_eq!(values, expected);
            let mut reading = reader(&log, Some("g")).await?;
            let ReadEvent::Assigned(assigned) = reading.next().await? else { panic!("nothing was assigned") };
            let committed: Vec<_> = assigned.iter().filter_map(|a| a.committed.clone()).collect();
            assert_eq!(
                (committed.len(), committed[0].offset, committed[0].metadata.as_str()),
                (1, 1, "note")
            );
            // Offsets go on where they were.
            if again == 0 {
                let mut writing = log.writer(writer.clone()).await?;
                writing.append(append("t", &[(Some("a"), "3")])).await?;
                writing.commit(None).await?;
                let mut alone = reader(&log, None).await?;
                let rows = rest(&mut alone).await?;
                let (index, offset, _) = rows.iter().find(|row| row.2 == "3").unwrap();
                assert_eq!(*offset, rows.iter().filter(|row| row.0 == *index).count() as i64 - 1);
            }
            Ok::<_, pipectl_framework::error::Error>(())
        })?;
    }
    Ok(())
}

const SPEC: fn() -> TopicSpec =
    || TopicSpec { name: "t".into(), partitions: Some(1), create: true, keeps: Keeps::AsTheLog };

const WRITER: fn() -> WriterOptions = || WriterOptions {
    transactional_id: Some("w".into()),
    transaction_timeout: std::time::Duration::from_secs(10),
};

/// A record of so many bytes, with a number in front.
fn large(number: usize, bytes: usize) -> Append {
    let value = format!("{number:08}{}", "x".repeat(bytes));
    append("t", &[(None, &value)])
}

/// The numbers that a reader from the beginning sees.
async fn numbers(log: &DiskLog) -> Result<Vec<usize>> {
    let rows = rest(&mut reader(log, None).await?).await?;
    Ok(rows.iter().map(|row| row.2[..8].parse().unwrap()).collect())
}

#[test]
fn what_is_forgotten_in_memory_is_forgotten_on_the_disk_and_its_room_is_used_again() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let options = MemoryOptions { topic_bytes: 1 << 20, ..MemoryOptions::default() };
    let (mut early, mut late) = (0, 0);
    let held = runtime().block_on(async {
        let log = log_of(folder.path(), options.clone());
        log.ensure_topics(&[SPEC()]).await?;
        let mut writing = log.writer(WRITER()).await?;
        for number in 0..600 {
            writing.append(large(number, 30_000 + number % 7 * 9_000)).await?;
            writing.commit(None).await?;
            let of = if number < 150 { &mut early } else { &mut late };
            *of = size(folder.path()).max(*of);
        }
        numbers(&log).await
    })?;
    assert!(held.len() < 40 && held.last() == Some(&599), "{held:?}");
    assert!(
        late <= early && late < 8 << 20,
        "{early} bytes at first, {late} later, of 34 MB that were written"
    );
    let log = log_of(folder.path(), options);
    let again = runtime().block_on(numbers(&log))?;
    // What the last commits made superfluous is told with the next.
    let (older, same) = again.split_at(again.len() - held.len());
    assert!(older.len() < 3 && same == held, "{again:?}");
    Ok(())
}

#[test]
fn a_log_that_was_large_is_smaller_when_it_is_opened_again() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let log = log(folder.path());
        log.ensure_topics(&[SPEC()]).await?;
        let mut reading = reader(&log, Some("g")).await?;
        let mut writing = log.writer(WRITER()).await?;
        for number in 0..60 {
            writing.append(large(number, 900_000)).await?;
            writing.commit(None).await?;
        }
        rest(&mut reading).await?;
        let partition = pipectl_framework::batch::Partition::new("t", 0);
        reading.commit(&[Position { partition, offset: 60, metadata: String::new() }]).await?;
        // Nobody needs them any more; the next commit says so.
        writing.append(large(60, 10)).await?;
        writing.commit(None).await
    })?;
    let before = size(folder.path());
    assert!(before > 54 << 20, "{before}");
    let log = log(folder.path());
    let again = runtime().block_on(numbers(&log))?;
    assert!(again.len() < 12 && again.last() == Some(&60), "{again:?}");
    assert!(size(folder.path()) < before / 2, "{} of {before}", size(folder.path()));
    Ok(())
}

/// Ten keys are written first, then as much of an eleventh as the topic would drop.
#[test]
fn a_compacted_topic_is_one_after_a_reopening_whoever_asks_for_it() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let options = MemoryOptions { topic_bytes: 64 << 10, ..MemoryOptions::default() };
    let of_key =
        |key: &str, bytes: usize| append("t", &[(Some(key), &format!("{key}{}", "x".repeat(bytes)))]);
    runtime().block_on(async {
        let log = log_of(folder.path(), options.clone());
        log.ensure_topics(&[TopicSpec { keeps: Keeps::LastOfKey, ..SPEC() }]).await?;
        let mut writing = log.writer(WRITER()).await?;
        for key in 0..10 {
            writing.append(of_key(&format!("key{key}"), 1000)).await?;
            writing.commit(None).await?;
        }
        Ok::<_, pipectl_framework::error::Error>(())
    })?;
    for _ in 0..2 {
        runtime().block_on(async {
            let log = log_of(folder.path(), options.clone());
            log.ensure_topics(&[SPEC()]).await?;
            let mut writing = log.writer(WRITER()).await?;
            for _ in 0..200 {
                writing.append(of_key("more", 1000)).await?;
                writing.commit(None).await?;
            }
            let rows = rest(&mut reader(&log, None).await?).await?;
            let keys: std::collections::BTreeSet<&str> =
                rows.iter().map(|row| row.2.split('x').next().unwrap()).collect();
            assert_eq!(keys.len(), 11, "{keys:?}");
            Ok::<_, pipectl_framework::error::Error>(())
        })?;
    }
    Ok(())
}

/// `tests/kept/log-0.1` was written by version 0.1, which did not keep what is compacted. It holds the topics
/// `t`, `shop.positions` and `shop.count.changelog`, ten keys in the last.
#[test]
fn a_directory_of_version_0_1_is_read_and_its_compacted_topics_lose_nothing() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    for file in ["log.redb", "commits"] {
        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kept/log-0.1").join(file);
        std::fs::copy(kept, folder.path().join(file)).unwrap();
    }
    let options = MemoryOptions { topic_bytes: 64 << 10, ..MemoryOptions::default() };
    let changelog = || TopicSpec { name: "shop.count.changelog".into(), create: false, ..SPEC() };
    // Who reads it asks for it as compacted; from then on it is, whoever asks.
    for keeps in [Keeps::LastOfKey, Keeps::AsTheLog] {
        runtime().block_on(async {
            let log = log_of(folder.path(), options.clone());
            log.ensure_topics(&[TopicSpec { keeps, ..changelog() }]).await?;
            let mut reading = reader(&log, Some("shop.count")).await?;
            let ReadEvent::Assigned(assigned) = reading.next().await? else { panic!("nothing was assigned") };
            let committed = assigned[0].committed.as_ref().unwrap();
            assert_eq!((committed.offset, committed.metadata.as_str()), (1, "v1;1;;"));
            let mut writing = log.writer(WRITER()).await?;
            for _ in 0..200 {
                writing.append(append("shop.count.changelog", &[(Some("more"), &"x".repeat(1000))])).await?;
                writing.commit(None).await?;
            }
            let options = ReaderOptions {
                topics: vec!["shop.count.changelog".into()],
                partitions: None,
                group: None,
                start: Start::Earliest,
                max_records: 100,
                max_bytes: 1 << 20,
                headers: Vec::new(),
            };
            let rows = rest(&mut log.reader(options).await?).await?;
            let parts = rows.iter().filter(|row| row.2.starts_with("part")).count();
            assert_eq!(parts, 10);
            Ok::<_, pipectl_framework::error::Error>(())
        })?;
    }
    Ok(())
}
