//! What the conformance suite cannot ask of every log: bounds, and exactly once through any order of events.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::Array;
use proptest::prelude::*;

use super::{MemoryLog, MemoryOptions};
use crate::batch::Partition;
use crate::error::{Consequence, Result};
use crate::log::{
    Append, Group, GroupPositions, Keeps, Log, LogReader, LogWriter, Position, ReadEvent, ReaderOptions,
    Start, TopicSpec, WriterOptions,
};

mod kept;

const BOUND: usize = 10_000;

async fn log_with(topics: &[(&str, u32)]) -> MemoryLog {
    let log = MemoryLog::new(MemoryOptions { topic_bytes: BOUND, ..MemoryOptions::default() });
    for (name, partitions) in topics {
        let spec = TopicSpec {
            name: (*name).to_owned(),
            partitions: Some(*partitions),
            create: true,
            keeps: Keeps::AsTheLog,
        };
        log.ensure_topics(&[spec]).await.expect("a topic");
    }
    log
}

async fn reader(log: &MemoryLog, topic: &str, group: Option<&str>) -> Box<dyn LogReader> {
    let options = ReaderOptions {
        topics: vec![topic.to_owned()],
        partitions: None,
        group: group.map(Group::new),
        start: Start::Earliest,
        max_records: 100,
        max_bytes: 1 << 20,
        headers: Vec::new(),
    };
    log.reader(options).await.expect("a reader")
}

async fn writer(log: &MemoryLog, id: Option<&str>) -> Box<dyn LogWriter> {
    let options = WriterOptions {
        transactional_id: id.map(str::to_owned),
        transaction_timeout: Duration::from_secs(10),
    };
    log.writer(options).await.expect("a writer")
}

fn numbers(topic: &str, numbers: impl IntoIterator<Item = u64>) -> Append {
    let values: Vec<[u8; 8]> = numbers.into_iter().map(u64::to_be_bytes).collect();
    Append {
        topic: topic.into(),
        partition: None,
        keys: Some(values.iter().map(Some).collect()),
        headers: Vec::new(),
        timestamps: vec![0; values.len()].into(),
        values: values.iter().map(Some).collect(),
    }
}

fn values(records: &crate::log::Records) -> Vec<u64> {
    let number =
        |value: Option<&[u8]>| u64::from_be_bytes(value.expect("a value").try_into().expect("8 bytes"));
    records.values.iter().map(number).collect()
}

/// Reads until nothing more is there.
async fn drain(reader: &mut Box<dyn LogReader>) -> Vec<u64> {
    let mut all = Vec::new();
    while let Ok(event) = tokio::time::timeout(Duration::from_millis(1), reader.next()).await {
        if let ReadEvent::Records(records) = event.expect("an event") {
            all.extend(values(&records));
        }
    }
    all
}

fn bytes(log: &MemoryLog) -> usize {
    log.shared.lock().topics.iter().map(|topic| topic.bytes).sum()
}

#[tokio::test(start_paused = true)]
async fn a_writer_waits_for_the_slowest_reader_and_nothing_is_dropped() {
    let log = log_with(&[("t", 1)]).await;
    let (mut fast, mut slow) = (reader(&log, "t", None).await, reader(&log, "t", None).await);
    let mut writer = writer(&log, None).await;
    let writing = tokio::spawn(async move {
        for n in 0..100 {
            writer.append(numbers("t", n * 10..n * 10 + 10)).await?;
        }
        writer.close().await
    });
    let first = drain(&mut fast).await;
    assert!(!writing.is_finished() && first.len() < 1000, "the slow reader holds the writer up");
    assert!(bytes(&log) <= BOUND);
    let (mut one, mut two) = (first, Vec::new());
    while one.len() < 1000 || two.len() < 1000 {
        two.extend(drain(&mut slow).await);
        one.extend(drain(&mut fast).await);
        assert!(bytes(&log) <= BOUND);
    }
    writing.await.expect("no panic").expect("written");
    assert_eq!(one, (0..1000).collect::<Vec<_>>());
    assert_eq!(one, two);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_nobody_reads_keeps_the_newest() {
    let log = log_with(&[("t", 1)]).await;
    let mut writer = writer(&log, Some("w")).await;
    for n in 0..500 {
        writer.append(numbers("t", [n])).await.expect("room");
        writer.commit(None).await.expect("a commit");
        assert!(bytes(&log) <= BOUND);
    }
    let mut late = reader(&log, "t", None).await;
    let got = drain(&mut late).await;
    assert!(got.len() > 10, "about as many as fit: {}", got.len());
    assert_eq!(got, (500 - got.len() as u64..500).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_is_read_and_committed_goes_but_for_the_newest_part() {
    let log = log_with(&[("t", 1)]).await;
    let mut group = reader(&log, "t", Some("g")).await;
    let mut writer = writer(&log, Some("w")).await;
    for n in 0..200 {
        writer.append(numbers("t", [n])).await.expect("room");
        writer.commit(None).await.expect("a commit");
        assert_eq!(drain(&mut group).await, [n]);
        let at =
            Position { partition: Partition::new("t", 0), offset: n as i64 + 1, metadata: String::new() };
        group.commit(&[at]).await.expect("a commit");
        assert!(bytes(&log) <= BOUND / 8 + 600, "{} bytes after {n}", bytes(&log));
    }
}

#[tokio::test(start_paused = true)]
async fn open_windows_may_outgrow_the_bound_but_not_for_ever() {
    let log = log_with(&[("t", 1)]).await;
    let mut group = reader(&log, "t", Some("g")).await;
    let mut writer = writer(&log, Some("w")).await;
    let mut written = 0;
    // A window that never closes: everything is read, nothing is committed.
    let error = loop {
        if let Err(error) = writer.append(numbers("t", written..written + 10)).await {
            break error;
        }
        writer.commit(None).await.expect("a commit");
        drain(&mut group).await;
        written += 10;
        assert!(bytes(&log) <= BOUND * super::room::OUTGROW, "{} bytes", bytes(&log));
    };
    assert_eq!(error.consequence(), Consequence::Fatal);
    assert!(error.to_string().contains("topic `t`") && error.help().is_some(), "{error}");
    // Everything can still be read again.
    group.seek(&Partition::new("t", 0), 0).await.expect("held");
    assert_eq!(drain(&mut group).await, (0..written).collect::<Vec<_>>());
    // A commit gives the room back.
    let at = Position { partition: Partition::new("t", 0), offset: written as i64, metadata: String::new() };
    group.commit(&[at]).await.expect("a commit");
    writer.append(numbers("t", [1])).await.expect("room again");
}

#[tokio::test(start_paused = true)]
async fn a_transaction_larger_than_the_bound_gets_in_once_the_rest_is_read() {
    let log = log_with(&[("t", 1)]).await;
    let mut all = reader(&log, "t", None).await;
    let mut small = writer(&log, None).await;
    small.append(numbers("t", [0])).await.expect("room");
    let mut large = writer(&log, Some("w")).await;
    let writing = tokio::spawn(async move {
        large.append(numbers("t", 1..=2000)).await?;
        large.append(numbers("t", 2001..=4000)).await?;
        large.commit(None).await
    });
    let mut got = Vec::new();
    while got.len() < 4001 {
        got.extend(drain(&mut all).await);
    }
    writing.await.expect("no panic").expect("written");
    assert_eq!(got, (0..=4000).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn two_transactions_that_fill_each_others_topics_both_commit() {
    let log = log_with(&[("a", 1), ("b", 1)]).await;
    let (mut of_a, mut of_b) = (reader(&log, "a", None).await, reader(&log, "b", None).await);
    let mut tasks = Vec::new();
    for (id, first, second) in [("one", "a", "b"), ("two", "b", "a")] {
        let mut writer = writer(&log, Some(id)).await;
        tasks.push(tokio::spawn(async move {
            for _ in 0..20 {
                writer.append(numbers(first, 0..400)).await?;
                tokio::task::yield_now().await;
                writer.append(numbers(second, 0..400)).await?;
                writer.commit(None).await?;
            }
            crate::error::Result::<()>::Ok(())
        }));
    }
    let (mut a, mut b) = (0, 0);
    while a + b < 2 * 2 * 20 * 400 {
        a += drain(&mut of_a).await.len();
        b += drain(&mut of_b).await.len();
    }
    for task in tasks {
        task.await.expect("no panic").expect("committed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fenced_writer_does_not_wait_for_room() {
    let log = log_with(&[("t", 1)]).await;
    let _stopped = reader(&log, "t", None).await;
    writer(&log, None).await.append(numbers("t", 0..400)).await.expect("room");
    let mut old = writer(&log, Some("w")).await;
    let waiting = tokio::spawn(async move { old.append(numbers("t", 0..400)).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!waiting.is_finished(), "it waits for the reader");
    let _new = writer(&log, Some("w")).await;
    let error = waiting.await.expect("no panic").expect_err("fenced");
    assert_eq!(error.consequence(), Consequence::Fenced);
}

/// Something that may happen to a group that copies topic `in` to topic `out`.
#[derive(Debug, Clone)]
enum Event {
    Append(u64),
    CommitInput,
    AbortInput,
    Read(usize),
    CommitOutput(usize),
    Crash(usize),
    Expel,
    Fence(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let member = 0..3usize;
    prop_oneof![
        3 => (1..20u64).prop_map(Event::Append),
        2 => Just(Event::CommitInput),
        1 => Just(Event::AbortInput),
        8 => member.clone().prop_map(Event::Read),
        4 => member.clone().prop_map(Event::CommitOutput),
        1 => member.clone().prop_map(Event::Crash),
        1 => Just(Event::Expel),
        1 => member.prop_map(Event::Fence),
    ]
}

/// One worker: its reader, its writer, and what it has read since its last commit.
struct Worker {
    reader: Box<dyn LogReader>,
    writer: Box<dyn LogWriter>,
    open: BTreeMap<Partition, (Vec<u64>, i64)>,
}

impl Worker {
    async fn start(log: &MemoryLog, name: usize) -> Self {
        let reader = reader(log, "in", Some("g")).await;
        Self { reader, writer: writer(log, Some(&format!("w{name}"))).await, open: BTreeMap::new() }
    }

    /// One event of the reader, if there is one.
    async fn read(&mut self) {
        let moment = tokio::time::timeout(Duration::from_millis(1), self.reader.next());
        let Ok(event) = moment.await else { return };
        match event.expect("an event") {
            ReadEvent::Records(records) => {
                let open = self.open.entry(records.partition.clone()).or_default();
                open.0.extend(values(&records));
                open.1 = records.offsets.last().expect("a record") + 1;
            }
            ReadEvent::Revoked(gone) | ReadEvent::Lost(gone) => {
                self.open.retain(|partition, _| !gone.contains(partition));
            }
            _ => {}
        }
    }

    /// Results and positions in one commit; where that fails, the failure path.
    async fn commit(&mut self, log: &MemoryLog, name: usize) {
        match self.try_commit().await {
            Ok(()) => self.open.clear(),
            Err(error) if error.consequence() == Consequence::Abort => {
                self.writer.abort().await.expect("an abort");
                self.rewind().await;
            }
            Err(error) => {
                assert_eq!(error.consequence(), Consequence::Fenced, "{error}");
                self.writer = writer(log, Some(&format!("w{name}"))).await;
                self.rewind().await;
            }
        }
    }

    async fn try_commit(&mut self) -> Result<()> {
        let mut positions = Vec::new();
        for (partition, (values, offset)) in &self.open {
            self.writer.append(numbers("out", values.iter().copied())).await?;
            let partition = partition.clone();
            positions.push(Position { partition, offset: *offset, metadata: String::new() });
        }
        let Some(membership) = self.reader.membership() else {
            assert!(self.open.is_empty(), "it holds nothing, and has read something");
            return Ok(());
        };
        self.writer.commit(Some(GroupPositions { membership, positions })).await
    }

    async fn rewind(&mut self) {
        self.open.clear();
        for held in self.reader.committed().await.expect("positions") {
            self.reader.seek(&held.partition, held.start).await.expect("held");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever happens, in whatever order: what was committed to `in` comes out of `out` exactly once.
    #[test]
    fn a_group_copies_exactly_once(events in proptest::collection::vec(event(), 0..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let log = MemoryLog::default();
            for (name, partitions) in [("in", 4), ("out", 2)] {
                let spec = TopicSpec { name: name.into(), partitions: Some(partitions), create: true, keeps: Keeps::AsTheLog };
                log.ensure_topics(&[spec]).await.expect("a topic");
            }
            let mut input = writer(&log, Some("input")).await;
            let (mut next, mut open, mut want) = (0, Vec::new(), Vec::new());
            let mut workers: [Option<Worker>; 3] = [None, None, None];
            let finish = (0..200).flat_map(|_| (0..3).map(Event::Read))
                .chain((0..3).flat_map(|w| [Event::CommitOutput(w), Event::Read(w)]));
            // At the end everybody has time: to share the partitions out, to read all and to commit.
            let finish: Vec<Event> = finish.collect();
            for event in events.into_iter().chain([Event::AbortInput]).chain(finish.clone()).chain(finish) {
                match event {
                    Event::Append(n) => {
                        input.append(numbers("in", next..next + n)).await.expect("room");
                        open.extend(next..next + n);
                        next += n;
                    }
                    Event::CommitInput => {
                        input.commit(None).await.expect("a commit");
                        want.append(&mut open);
                    }
                    Event::AbortInput => {
                        input.abort().await.expect("an abort");
                        open.clear();
                    }
                    Event::Read(w) => match &mut workers[w] {
                        Some(worker) => worker.read().await,
                        none => *none = Some(Worker::start(&log, w).await),
                    },
                    Event::CommitOutput(w) => {
                        if let Some(worker) = &mut workers[w] {
                            worker.commit(&log, w).await;
                        }
                    }
                    Event::Crash(w) => workers[w] = None,
                    Event::Expel => log.expel("g"),
                    Event::Fence(w) => {
                        let _other = writer(&log, Some(&format!("w{w}"))).await;
                    }
                }
            }
            let mut got = drain(&mut reader(&log, "out", None).await).await;
            got.sort_unstable();
            assert_eq!(got, want, "each once");
        });
    }
}

#[tokio::test(start_paused = true)]
async fn small_batches_are_joined_for_a_reader_that_is_behind() {
    let log = log_with(&[("t", 1)]).await;
    let mut writer = writer(&log, None).await;
    for n in 0..15 {
        writer.append(numbers("t", [n])).await.expect("room");
    }
    let mut late = reader(&log, "t", None).await;
    assert!(matches!(late.next().await, Ok(ReadEvent::Assigned(_))));
    let Ok(ReadEvent::Records(records)) = late.next().await else { panic!("records first") };
    assert_eq!(values(&records), (0..15).collect::<Vec<_>>());
    assert_eq!(records.offsets.to_vec(), (0..15).collect::<Vec<_>>());
    assert_eq!(records.keys.len(), 15);
}

#[tokio::test]
async fn an_illegal_name_is_refused_with_a_reason() {
    let log: Arc<dyn Log> = Arc::new(MemoryLog::default());
    for name in ["", "a b", "ü", &"x".repeat(250)] {
        let spec = TopicSpec { name: name.into(), partitions: None, create: true, keeps: Keeps::AsTheLog };
        let error = log.ensure_topics(&[spec]).await.expect_err("illegal");
        assert!(error.help().is_some(), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_compacted_topic_stays_as_small_as_its_keys() {
    let log = MemoryLog::default();
    let spec = TopicSpec { name: "c".into(), partitions: Some(1), create: true, keeps: Keeps::LastOfKey };
    log.ensure_topics(&[spec]).await.expect("a topic");
    let mut writer = writer(&log, Some("w")).await;
    let record = |key: &str, value: Option<Vec<u8>>| Append {
        topic: "c".into(),
        partition: None,
        keys: Some([Some(key)].into_iter().collect()),
        values: [value].into_iter().collect(),
        headers: Vec::new(),
        timestamps: vec![0].into(),
    };
    writer.append(record("old", Some(vec![7]))).await.expect("room");
    writer.append(record("gone", Some(vec![7]))).await.expect("room");
    writer.append(record("gone", None)).await.expect("room");
    for round in 0..500_u32 {
        let value = [round.to_be_bytes().to_vec(), vec![0; 100_000]].concat();
        writer.append(record("busy", Some(value))).await.expect("room");
        writer.commit(None).await.expect("a commit");
    }
    assert!(log.shared.lock().topics[0].bytes < 6 << 20, "50 MB were written");
    let mut reader = reader(&log, "c", None).await;
    reader.bound().await.expect("a bound");
    let mut last = std::collections::BTreeMap::new();
    loop {
        match reader.next().await.expect("an event") {
            ReadEvent::Records(records) => {
                for (key, value) in records.keys.iter().zip(&records.values) {
                    last.insert(
                        key.unwrap_or_default().to_vec(),
                        value.map(|v| v[..v.len().min(4)].to_vec()),
                    );
                }
            }
            ReadEvent::End => break,
            _ => {}
        }
    }
    let busy = (b"busy".to_vec(), Some(499_u32.to_be_bytes().to_vec()));
    assert_eq!(last.into_iter().collect::<Vec<_>>(), [busy, (b"old".to_vec(), Some(vec![7]))]);
}

/// A reader that is half through, up to a bound, while the topic is cleaned.
#[tokio::test(start_paused = true)]
async fn a_bounded_reader_ends_and_misses_nothing_where_a_compacted_topic_is_written_meanwhile() {
    let log = MemoryLog::default();
    let spec = TopicSpec { name: "c".into(), partitions: Some(1), create: true, keeps: Keeps::LastOfKey };
    log.ensure_topics(&[spec]).await.expect("a topic");
    let mut writer = writer(&log, Some("w")).await;
    let record = |key: &str, value: Option<Vec<u8>>| Append {
        topic: "c".into(),
        partition: None,
        keys: Some([Some(key)].into_iter().collect()),
        values: [value].into_iter().collect(),
        headers: Vec::new(),
        timestamps: vec![0].into(),
    };
    let before: [(&str, Option<Vec<u8>>); 4] =
        [("first", Some(vec![1])), ("gone", Some(vec![2])), ("gone", None), ("last", Some(vec![3]))];
    for (key, value) in before {
        writer.append(record(key, value)).await.expect("room");
    }
    writer.commit(None).await.expect("a commit");
    let options = ReaderOptions {
        topics: vec!["c".into()],
        partitions: None,
        group: None,
        start: Start::Earliest,
        max_records: 1,
        max_bytes: 1 << 20,
        headers: Vec::new(),
    };
    let mut reader = log.reader(options).await.expect("a reader");
    reader.bound().await.expect("a bound");
    let mut found = std::collections::BTreeMap::new();
    let mut events = 0;
    loop {
        let event = tokio::time::timeout(Duration::from_secs(60), reader.next()).await.expect("it hangs");
        match event.expect("an event") {
            ReadEvent::Records(records) => {
                for (key, value) in records.keys.iter().zip(&records.values) {
                    let key = String::from_utf8_lossy(key.unwrap_or_default()).into_owned();
                    match value {
                        Some(value) => _ = found.insert(key, value[0]),
                        None => _ = found.remove(&key),
                    }
                }
                events += 1;
                for _ in 0..60 * usize::from(events == 2) {
                    writer.append(record("busy", Some(vec![0; 100_000]))).await.expect("room");
                    writer.commit(None).await.expect("a commit");
                }
            }
            ReadEvent::End => break,
            _ => {}
        }
    }
    found.remove("busy");
    let expected = [("first".to_owned(), 1), ("last".to_owned(), 3)];
    assert_eq!(found.into_iter().collect::<Vec<_>>(), expected);
    drop(reader);
    for _ in 0..60 {
        writer.append(record("busy", Some(vec![0; 100_000]))).await.expect("room");
        writer.commit(None).await.expect("a commit");
    }
    assert!(log.shared.lock().topics[0].bytes < 6 << 20, "it is cleaned once nobody is half through");
}
