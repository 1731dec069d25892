//! A chain by itself, undisturbed: what must come of its input.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{Array, BinaryArray};
use pipectl_framework::clock::Clock;
use pipectl_framework::config::StartAt;
use pipectl_framework::graph::{Delivery, NodeBody, Plan, explain};
use pipectl_framework::log::memory::MemoryLog;
use pipectl_framework::log::{Append, Log, ReadEvent, ReaderOptions, Start, TopicSpec, WriterOptions};
use pipectl_framework::plugin::SourceBody;
use pipectl_framework::run::{Run, RunOptions};

use super::seen::{Gate, Seen, Shown, watched};
use super::stage::Stage;
use crate::scenario::START;

/// A record of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) time: i64,
    pub(crate) key: Option<String>,
    pub(crate) value: String,
}

/// Where a chain begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum From {
    /// `repeats` where it begins again at the file's end.
    File {
        repeats: bool,
    },
    Topic(String),
}

/// A chain, with what `explain` says of it.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) name: String,
    pub(crate) delivery: Delivery,
    /// The chains that hang together with it.
    pub(crate) members: Vec<String>,
    pub(crate) from: From,
    /// True where its rows have times of their own.
    pub(crate) timed: bool,
    pub(crate) windowed: bool,
    /// True where windows give zeros for keys that they have seen, and do not know after a restart which
    /// those are.
    pub(crate) forgets_keys: bool,
    /// The topics that it writes.
    pub(crate) topics: Vec<String>,
    /// Its other sinks, as `CHAIN.STEP`.
    pub(crate) sinks: Vec<String>,
}

/// The chains of a plan.
pub(crate) fn facts(plan: &Plan) -> Vec<Facts> {
    let chains = plan.chains.iter().zip(explain(plan)).map(|(chain, explained)| {
        assert_eq!(chain.name, explained.chain);
        let mut facts = Facts {
            name: chain.name.clone(),
            delivery: explained.delivery,
            members: vec![chain.name.clone()],
            from: match &chain.source.bound.body {
                SourceBody::Custom(..) => From::File { repeats: !chain.source.bound.bounded },
                SourceBody::Log(source) => From::Topic(source.topic.clone()),
            },
            timed: chain.source.stamper.is_some(),
            windowed: false,
            forgets_keys: false,
            topics: Vec::new(),
            sinks: Vec::new(),
        };
        for node in &chain.nodes {
            facts.members.push(node.chain.clone());
            match &node.body {
                NodeBody::Topic(_, sink) => facts.topics.push(sink.topic.clone()),
                NodeBody::Sink(_) => facts.sinks.push(format!("{}.{}", node.chain, node.id)),
                NodeBody::Window(window) => {
                    facts.windowed = true;
                    facts.forgets_keys |= window.keeps_keys()
                        && !chain.keeps_windows(&plan.connections)
                        && facts.delivery != Delivery::Anew;
                }
                NodeBody::Transform(..) => {}
                NodeBody::Repartition(..) => panic!(
                    "chain `{}` writes a repartition topic: let `plain.rs` of the simulation run both of its parts",
                    chain.name
                ),
            }
        }
        facts.members.sort_unstable();
        facts.members.dedup();
        facts
    });
    chains.collect()
}

/// What a chain gets.
pub(crate) enum Input<'a> {
    /// So many rows of the file, which is opened at this time.
    File { rows: u64, opened: i64 },
    /// Records; all as if they were of one partition where `joined`.
    Topic { records: &'a [Record], joined: bool },
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Came {
    pub(crate) topics: BTreeMap<String, Vec<Record>>,
    pub(crate) sinks: BTreeMap<String, Vec<Shown>>,
}

/// Runs a chain to the end of its input; without `zeros`, windows give only keys with rows.
pub(crate) async fn run(stage: &Stage, chain: &Facts, input: Input<'_>, zeros: bool) -> Came {
    let folder = tempfile::tempdir().expect("a folder");
    let (base, clock) = match &input {
        Input::File { rows, opened } => (Some(stage.write(folder.path(), Some(*rows))), *opened),
        Input::Topic { .. } => (None, START),
    };
    let mut plan = stage.plain(base.as_deref(), &chain.members, zeros);
    let log = MemoryLog::default();
    let mut topics = stage.topics(&plan);
    if let (Input::Topic { joined: true, .. }, From::Topic(name)) = (&input, &chain.from) {
        let one = topics.iter_mut().filter(|topic| topic.name == *name);
        one.for_each(|topic| topic.partitions = Some(1));
    }
    ensure(&log, &topics).await;
    if let (Input::Topic { records, joined }, From::Topic(name)) = (&input, &chain.from) {
        write(&log, name, records, *joined).await;
    }
    for (_, on) in &mut plan.connections {
        *on = Arc::new(log.clone());
    }
    for chain in &mut plan.chains {
        if let SourceBody::Log(source) = &mut chain.source.bound.body {
            source.start = Some(StartAt::Earliest);
        }
    }
    let seen = Seen::default();
    let plan = watched(plan, &seen, 0, &Gate::default());
    let options = RunOptions { once: true, ..RunOptions::new(Clock::manual(clock)) };
    let outcome = Run::start(plan, &options).0.wait().await;
    assert!(outcome.failures.is_empty(), "undisturbed: {:?}", outcome.failures);
    let mut came = Came::default();
    for topic in &chain.topics {
        came.topics.insert(topic.clone(), records(&log, topic).await);
    }
    for ((sink, _), tries) in std::mem::take(&mut seen.lock().sinks) {
        came.sinks.insert(sink, tries.concat());
    }
    came
}

async fn ensure(log: &MemoryLog, topics: &[TopicSpec]) {
    log.ensure_topics(topics).await.expect("topics");
}

async fn write(log: &MemoryLog, topic: &str, records: &[Record], joined: bool) {
    let options = WriterOptions { transactional_id: None, transaction_timeout: Duration::from_secs(10) };
    let mut writer = log.writer(options).await.expect("a writer");
    for run in records.chunk_by(|one, next| one.partition == next.partition) {
        let append = Append {
            topic: topic.into(),
            partition: Some(if joined { 0 } else { run[0].partition }),
            keys: Some(run.iter().map(|record| record.key.as_ref().map(String::as_bytes)).collect()),
            values: BinaryArray::from_iter_values(run.iter().map(|record| record.value.as_bytes())),
            headers: Vec::new(),
            timestamps: run.iter().map(|record| record.time).collect(),
        };
        writer.append(append).await.expect("room");
    }
}

/// Everything that a topic holds, in the order of each partition.
pub(crate) async fn records(log: &MemoryLog, topic: &str) -> Vec<Record> {
    let options = ReaderOptions {
        topics: vec![topic.to_owned()],
        partitions: None,
        group: None,
        start: Start::Earliest,
        max_records: 10_000,
        max_bytes: 1 << 20,
        headers: Vec::new(),
    };
    let mut reader = log.reader(options).await.expect("a reader");
    reader.bound().await.expect("a bound");
    let text = |column: &BinaryArray, row: usize| {
        (!column.is_null(row)).then(|| String::from_utf8_lossy(column.value(row)).into_owned())
    };
    let mut all = Vec::new();
    loop {
        match reader.next().await.expect("an event") {
            ReadEvent::End => break,
            ReadEvent::Records(records) => all.extend((0..records.len()).map(|row| Record {
                partition: records.partition.index,
                offset: records.offsets[row],
                time: records.timestamps[row],
                key: text(&records.keys, row),
                value: text(&records.values, row).unwrap_or_default(),
            })),
            _ => {}
        }
    }
    all.sort_by_key(|record| (record.partition, record.offset));
    all
}
