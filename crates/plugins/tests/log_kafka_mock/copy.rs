//! A chain in small: copies topic `in` to topic `out` in transactions with its positions, and takes the
//! failure path as chains do.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow_array::BinaryArray;
use pipectl_framework::batch::Partition;
use pipectl_framework::error::{Consequence, Error, Result};
use pipectl_framework::log::{
    Append, Group, GroupPositions, Log, LogReader, LogWriter, Position, ReadEvent, ReaderOptions, Start,
    WriterOptions,
};
use pipectl_plugins::kafka::log::{KafkaLog, KafkaSettings};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

pub(crate) type Cluster = MockCluster<'static, DefaultProducerContext>;

/// How many rows there are to copy, in two halves.
pub(crate) const ROWS: usize = 20;
pub(crate) const GROUP: &str = "group";
pub(crate) const ID: &str = "writer";
/// More tries than any scenario may take.
const TRIES: usize = 12;

/// Where in the copying something may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Before the reader and the writer are opened for the first time.
    Opening,
    /// After the first half was committed, before the second half is there.
    Running,
    /// A try has failed.
    Failed,
}

/// What is known to be committed, over all tries.
struct Progress {
    /// How many halves of the rows are there to copy.
    halves: usize,
    /// One more than the last committed offset of each partition.
    committed: BTreeMap<Partition, i64>,
    /// After a failure. The mock cluster keeps the positions of a transaction that was aborted, so each try
    /// after one that failed goes to where the last commit that returned stood, as the positions of a real
    /// cluster do.
    again: bool,
}

/// What came of it.
pub(crate) struct Copied {
    /// The tries that failed, with what was said.
    pub(crate) failed: Vec<(Consequence, String)>,
    /// What topic `out` holds.
    pub(crate) rows: Vec<String>,
}

fn options(topic: &str, group: Option<&str>) -> ReaderOptions {
    ReaderOptions {
        topics: vec![topic.to_owned()],
        partitions: None,
        group: group.map(Group::new),
        start: Start::Earliest,
        max_records: 100,
        max_bytes: 1 << 20,
        headers: Vec::new(),
    }
}

fn append(topic: &str, values: &[String]) -> Append {
    Append {
        topic: topic.into(),
        partition: None,
        keys: None,
        values: BinaryArray::from_iter_values(values),
        headers: Vec::new(),
        timestamps: vec![1_000; values.len()].into(),
    }
}

/// Writes a half of the rows, as another program would.
async fn produce(log: &KafkaLog, rows: std::ops::Range<usize>) -> Result<()> {
    let options = WriterOptions { transactional_id: None, transaction_timeout: Duration::from_secs(10) };
    let mut writer = log.writer(options).await?;
    writer.append(append("in", &rows.map(|row| row.to_string()).collect::<Vec<_>>())).await?;
    writer.commit(None).await?;
    writer.close().await
}

/// Copies everything; `hook` is called at each stage.
pub(crate) async fn run(hook: &mut impl FnMut(Stage, &Cluster)) -> Result<Copied, String> {
    let cluster = MockCluster::new(3).map_err(|e| e.to_string())?;
    for topic in ["in", "out"] {
        cluster.create_topic(topic, 2, 3).map_err(|e| e.to_string())?;
    }
    let log =
        KafkaLog::new(KafkaSettings { brokers: cluster.bootstrap_servers(), ..KafkaSettings::default() });
    produce(&log, 0..ROWS / 2).await.map_err(|e| format!("setting up: {e}"))?;
    hook(Stage::Opening, &cluster);
    let mut failed = Vec::new();
    let mut progress = Progress { halves: 1, committed: BTreeMap::new(), again: false };
    for _ in 0..TRIES {
        match attempt(&log, &cluster, &mut progress, hook).await {
            Ok(()) => {
                let rows = everything(&log).await.map_err(|e| format!("reading the result: {e}"))?;
                return Ok(Copied { failed, rows });
            }
            Err(error) => {
                failed.push((error.consequence(), error.to_string()));
                hook(Stage::Failed, &cluster);
            }
        }
        progress.again = true;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(format!("no try worked: {failed:?}"))
}

/// One try: opens both ends, copies until all is done or something fails, and lets both go.
async fn attempt(
    log: &KafkaLog,
    cluster: &Cluster,
    progress: &mut Progress,
    hook: &mut impl FnMut(Stage, &Cluster),
) -> Result<()> {
    let writer = WriterOptions {
        transactional_id: Some(ID.to_owned()),
        // librdkafka gives up on its own requests in this time as well.
        transaction_timeout: Duration::from_secs(5),
    };
    let mut reader = log.reader(options("in", Some(GROUP))).await?;
    let mut writer = match log.writer(writer).await {
        Ok(writer) => writer,
        Err(error) => {
            reader.close().await?;
            return Err(error);
        }
    };
    let result = copy(log, cluster, &mut reader, &mut writer, progress, hook).await;
    if result.is_err() {
        let _ = writer.abort().await;
    }
    let _ = writer.close().await;
    let _ = reader.close().await;
    result
}

async fn copy(
    log: &KafkaLog,
    cluster: &Cluster,
    reader: &mut Box<dyn LogReader>,
    writer: &mut Box<dyn LogWriter>,
    progress: &mut Progress,
    hook: &mut impl FnMut(Stage, &Cluster),
) -> Result<()> {
    loop {
        let done: i64 = progress.committed.values().sum();
        if done >= (progress.halves * ROWS / 2) as i64 {
            if progress.halves == 2 {
                return Ok(());
            }
            progress.halves = 2;
            produce(log, ROWS / 2..ROWS).await?;
            hook(Stage::Running, cluster);
        }
        match reader.next().await? {
            ReadEvent::Records(records) => {
                let values: Vec<String> = records
                    .values
                    .iter()
                    .map(|value| String::from_utf8_lossy(value.unwrap_or_default()).into_owned())
                    .collect();
                writer.append(append("out", &values)).await?;
                let offset = records.offsets.last().map_or(0, |last| last + 1);
                let partition = records.partition.clone();
                let position = Position { partition: records.partition, offset, metadata: String::new() };
                let membership = reader.membership().ok_or_else(|| Error::abort("no group"))?;
                writer.commit(Some(GroupPositions { membership, positions: vec![position] })).await?;
                progress.committed.insert(partition, offset);
            }
            ReadEvent::Assigned(assigned) if progress.again => {
                for assignment in assigned {
                    let committed = progress.committed.get(&assignment.partition).copied().unwrap_or(0);
                    reader.seek(&assignment.partition, committed).await?;
                }
            }
            ReadEvent::Lost(_) => return Err(Error::abort("the partitions went to somebody else")),
            _ => {}
        }
    }
}

/// All that topic `out` holds.
async fn everything(log: &KafkaLog) -> Result<Vec<String>> {
    let mut reader = log.reader(options("out", None)).await?;
    let (mut rows, mut bounded) = (Vec::new(), false);
    loop {
        match reader.next().await? {
            ReadEvent::Records(records) => {
                let values = records.values.iter();
                rows.extend(values.map(|v| String::from_utf8_lossy(v.unwrap_or_default()).into_owned()));
            }
            ReadEvent::Assigned(_) if !bounded => {
                bounded = true;
                reader.bound().await?;
            }
            ReadEvent::End => break,
            _ => {}
        }
    }
    reader.close().await?;
    Ok(rows)
}
