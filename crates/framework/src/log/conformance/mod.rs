//! One suite for every implementation of the log: whatever it does not cover is not relied on.
//!
//! An implementation's test makes a [`Harness`] for each of [`cases`] and runs them, one after the other or
//! side by side; no two cases share a topic, a group or a transactional id. A case fails by panicking or by
//! returning the log's error.
//!
//! ```
//! use std::sync::Arc;
//! use pipectl_framework::log::{conformance, memory::MemoryLog};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), pipectl_framework::error::Error> {
//! for (name, case) in conformance::cases().into_iter().take(3) {
//!     println!("{name}");
//!     case(conformance::Harness::new(Arc::new(MemoryLog::default()), name)).await?;
//! }
//! # Ok(())
//! # }
//! ```

mod groups;
mod reading;
mod transactions;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{Array, BinaryArray};

use super::{
    Append, Assignment, Group, Keeps, Log, LogReader, LogWriter, Position, ReadEvent, ReaderOptions, Start,
    TopicSpec, WriterOptions,
};
use crate::batch::Partition;
use crate::clock::Millis;
use crate::error::Result;

/// The longest that a case waits for one event; a log that takes longer fails.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a case listens to be sure that nothing comes.
const SILENCE: Duration = Duration::from_millis(300);

/// A case: it runs against the log of its harness.
pub type Case = fn(Harness) -> Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// A log to be examined, and names that nobody else uses.
#[derive(Debug, Clone)]
pub struct Harness {
    log: Arc<dyn Log>,
    unique: String,
}

/// The cases, by name.
pub fn cases() -> Vec<(&'static str, Case)> {
    macro_rules! list {
        ($($room:ident::$case:ident),* $(,)?) => {
            vec![$((stringify!($case), (|h| Box::pin($room::$case(h))) as Case)),*]
        };
    }
    list![
        reading::columns_come_back_as_they_were_written,
        reading::headers_come_back_that_were_asked_for,
        reading::a_key_goes_to_its_partition,
        reading::records_without_a_key_lose_nothing,
        reading::a_large_transaction_keeps_the_order_of_each_partition,
        reading::without_a_group_a_reader_has_all_partitions,
        reading::an_append_may_name_its_partition,
        reading::a_reader_of_one_partition,
        reading::a_compacted_topic_keeps_the_last_of_each_key,
        reading::earliest_and_latest,
        reading::a_start_at_an_offset,
        reading::a_start_at_a_time,
        reading::what_is_committed_goes_before_any_start,
        reading::seeking_reads_again,
        reading::a_paused_reader_gives_no_records,
        reading::a_bounded_reader_ends_where_the_topic_ended,
        reading::a_bound_holds_what_was_committed_just_before,
        reading::a_bounded_reader_of_empty_partitions_ends,
        reading::caught_up_is_told_each_time,
        reading::lag_falls_to_nothing,
        reading::next_may_be_dropped_at_any_moment,
        reading::events_are_no_larger_than_asked,
        reading::topics_are_made_or_missed,
        transactions::an_open_transaction_is_invisible,
        transactions::an_aborted_transaction_is_never_seen,
        transactions::after_an_abort_the_writer_goes_on,
        transactions::several_topics_in_one_transaction,
        transactions::an_empty_commit_does_nothing,
        transactions::a_writer_without_a_transaction,
        transactions::a_newer_writer_fences_the_older,
        transactions::a_newer_writer_aborts_what_the_older_left_open,
        transactions::a_record_of_the_largest_size_is_taken,
        transactions::a_record_that_is_too_large_is_refused,
        groups::positions_and_metadata_come_back,
        groups::results_and_positions_are_one,
        groups::positions_alone,
        groups::positions_outside_a_transaction,
        groups::committed_tells_where_the_group_is,
        groups::two_readers_share_the_partitions,
        groups::a_closed_reader_leaves_its_partitions_to_the_other,
        groups::a_member_that_counts_a_window_otherwise_is_refused,
        groups::a_stale_membership_commits_nothing,
        groups::a_membership_is_no_newer_than_what_the_reader_was_told,
    ]
}

/// A record as a case sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    partition: i32,
    offset: i64,
    timestamp: Millis,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}

impl Row {
    fn text(&self) -> String {
        String::from_utf8_lossy(self.value.as_deref().unwrap_or_default()).into_owned()
    }
}

impl Harness {
    /// Examines `log`, with names that begin with `unique` (letters, digits, `-` and `_`).
    pub fn new(log: Arc<dyn Log>, unique: impl Into<String>) -> Self {
        Self { log, unique: unique.into() }
    }

    fn name(&self, what: &str) -> String {
        format!("{}-{what}", self.unique)
    }

    async fn topic(&self, name: &str, partitions: u32) -> Result<Arc<str>> {
        let name = self.name(name);
        let spec = TopicSpec {
            name: name.clone(),
            partitions: Some(partitions),
            create: true,
            keeps: Keeps::AsTheLog,
        };
        let made = self.log.ensure_topics(&[spec]).await?;
        assert_eq!(made, [partitions], "partitions of the new topic {name}");
        Ok(name.into())
    }

    fn options(topic: &str, group: Option<Group>) -> ReaderOptions {
        ReaderOptions {
            topics: vec![topic.to_owned()],
            partitions: None,
            group,
            start: Start::Earliest,
            max_records: 8192,
            max_bytes: 4 << 20,
            headers: Vec::new(),
        }
    }

    /// A reader of all partitions, from the beginning.
    async fn reader(&self, topic: &str) -> Result<Box<dyn LogReader>> {
        self.log.reader(Self::options(topic, None)).await
    }

    /// A member of the group `group`.
    async fn member(&self, topic: &str, group: &str) -> Result<Box<dyn LogReader>> {
        self.log.reader(Self::options(topic, Some(Group::new(self.name(group))))).await
    }

    /// A transactional writer.
    async fn writer(&self, id: &str) -> Result<Box<dyn LogWriter>> {
        self.log
            .writer(WriterOptions {
                transactional_id: Some(self.name(id)),
                transaction_timeout: Duration::from_secs(10),
            })
            .await
    }

    /// Writes values, one transaction, and closes.
    async fn write(&self, topic: &Arc<str>, values: &[&str]) -> Result<()> {
        let mut writer = self.writer("setup").await?;
        writer.append(append(topic, values)).await?;
        writer.commit(None).await?;
        writer.close().await
    }
}

/// Keyed records: the key is the first character of the value.
fn append(topic: &Arc<str>, values: &[&str]) -> Append {
    Append {
        topic: Arc::clone(topic),
        partition: None,
        keys: Some(values.iter().map(|v| Some(v.get(..1).unwrap_or_default().as_bytes())).collect()),
        values: values.iter().map(|v| Some(v.as_bytes())).collect(),
        headers: Vec::new(),
        timestamps: (0..values.len() as i64).map(|i| recent() + i).collect(),
    }
}

/// The time of most records: Kafka's retention deletes a partition whose newest record is a week old, and
/// looks every five minutes.
fn recent() -> i64 {
    static RECENT: std::sync::OnceLock<i64> = std::sync::OnceLock::new();
    *RECENT.get_or_init(|| crate::clock::Clock::system().now())
}

/// The next event, in time.
async fn next(reader: &mut Box<dyn LogReader>) -> Result<ReadEvent> {
    match tokio::time::timeout(PATIENCE, reader.next()).await {
        Ok(event) => event,
        Err(_) => Err(crate::error::Error::fatal(format!("no event within {PATIENCE:?}"))),
    }
}

fn rows(records: &super::Records) -> Vec<Row> {
    let bytes = |column: &BinaryArray, i: usize| column.is_valid(i).then(|| column.value(i).to_vec());
    assert_eq!(records.offsets.len(), records.timestamps.len(), "columns of the same length");
    assert_eq!(records.offsets.len(), records.keys.len(), "columns of the same length");
    assert_eq!(records.offsets.len(), records.values.len(), "columns of the same length");
    (0..records.len())
        .map(|i| Row {
            partition: records.partition.index,
            offset: records.offsets[i],
            timestamp: records.timestamps[i],
            key: bytes(&records.keys, i),
            value: bytes(&records.values, i),
        })
        .collect()
}

/// Reads until there are `count` records; everything else that comes is passed over.
async fn read(reader: &mut Box<dyn LogReader>, count: usize) -> Result<Vec<Row>> {
    let mut all = Vec::new();
    while all.len() < count {
        if let ReadEvent::Records(records) = next(reader).await? {
            all.extend(rows(&records));
        }
    }
    assert_eq!(all.len(), count, "more records than were written: {all:?}");
    in_order(&all);
    Ok(all)
}

/// Reads until each of `partitions` is caught up.
async fn read_all(reader: &mut Box<dyn LogReader>, partitions: usize) -> Result<Vec<Row>> {
    let (mut all, mut caught_up) = (Vec::new(), std::collections::BTreeSet::new());
    while caught_up.len() < partitions {
        match next(reader).await? {
            ReadEvent::Records(records) => {
                caught_up.remove(&records.partition.index);
                all.extend(rows(&records));
            }
            ReadEvent::CaughtUp(which) => caught_up.extend(which.iter().map(|p| p.index)),
            _ => {}
        }
    }
    in_order(&all);
    Ok(all)
}

/// Reads to the end of a bounded reader.
async fn read_to_end(reader: &mut Box<dyn LogReader>) -> Result<Vec<Row>> {
    let mut all = Vec::new();
    loop {
        match next(reader).await? {
            ReadEvent::Records(records) => all.extend(rows(&records)),
            ReadEvent::End => break,
            _ => {}
        }
    }
    in_order(&all);
    Ok(all)
}

/// Waits for the first assignment.
async fn assigned(reader: &mut Box<dyn LogReader>) -> Result<Vec<Assignment>> {
    match next(reader).await? {
        ReadEvent::Assigned(assignments) => Ok(assignments),
        other => Err(crate::error::Error::fatal(format!("expected an assignment first, got {other:?}"))),
    }
}

fn in_order(rows: &[Row]) {
    let mut last = std::collections::BTreeMap::new();
    for row in rows {
        let before = last.insert(row.partition, row.offset);
        assert!(before < Some(row.offset), "offsets rise within a partition: {before:?}, then {row:?}");
    }
}

fn texts(rows: &[Row]) -> Vec<String> {
    rows.iter().map(Row::text).collect()
}

fn sorted(rows: &[Row]) -> Vec<String> {
    let mut all = texts(rows);
    all.sort();
    all
}

fn position(topic: &Arc<str>, index: i32, offset: i64, metadata: &str) -> Position {
    Position { partition: Partition::new(Arc::clone(topic), index), offset, metadata: metadata.to_owned() }
}
