//! The log: where chains meet.
//!
//! A [`Log`] holds topics of partitions of records. It is a contract, with two implementations so far: the
//! log in this process ([`memory`]) and Apache Kafka (in the plugins crate). One conformance suite
//! (`log::conformance`) runs against both; whatever the suite does not cover is not relied on.
//!
//! The contract speaks in batches, never in single records, so that a reader which decodes a broker's batches
//! straight into columns can take librdkafka's place without a chain noticing.
//!
//! # Delivery
//! A [`LogWriter`] opened with a transactional id gives exactly once: everything appended since the last
//! commit, and the positions handed to [`LogWriter::commit`], become visible together or not at all. Opening
//! a writer fences every earlier one with the same id. Readers see committed records only, in the order of
//! their offsets; an offset may be missing (control records of a transaction, compaction), so
//! `next = last + 1` is never to be assumed.

pub mod conformance;
pub mod memory;
pub mod partitioner;
mod refused;
mod start;

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::{BinaryArray, BooleanArray};
use arrow_buffer::ScalarBuffer;
use arrow_select::filter::filter;
use async_trait::async_trait;

use crate::batch::Partition;
use crate::clock::Millis;
use crate::config::Retention;
use crate::error::{Consequence, Error, Result};

pub use self::refused::Refused;
pub use self::start::Start;

/// The timestamp of a record that has none.
pub const NO_TIME: Millis = Millis::MIN;

/// A batch of records of one partition, in the order of their offsets: columns of the same length.
#[derive(Debug, Clone)]
pub struct Records {
    /// The topic and partition that was read.
    pub partition: Partition,
    /// The offset of each record, rising.
    pub offsets: ScalarBuffer<i64>,
    /// The timestamp of each record; [`NO_TIME`] where it has none.
    pub timestamps: ScalarBuffer<Millis>,
    /// The keys; null where a record has none.
    pub keys: BinaryArray,
    /// The values; null for a tombstone.
    pub values: BinaryArray,
    /// For each header that was asked for ([`ReaderOptions::headers`]) its bytes; null where a record does
    /// not have it. Of several of one name it is the last.
    pub headers: Vec<BinaryArray>,
}

impl Records {
    /// The number of records.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// True where there is no record.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// `length` records from `start` on, without copying.
    ///
    /// # Panics
    /// Where `start + length` is beyond the last record.
    #[must_use]
    pub fn slice(&self, start: usize, length: usize) -> Self {
        Self {
            partition: self.partition.clone(),
            offsets: self.offsets.slice(start, length),
            timestamps: self.timestamps.slice(start, length),
            keys: self.keys.slice(start, length),
            values: self.values.slice(start, length),
            headers: self.headers.iter().map(|header| header.slice(start, length)).collect(),
        }
    }

    /// The records that `stay`, in memory of their own.
    ///
    /// # Errors
    /// Where the columns do not have one length.
    pub fn filter(&self, stay: &BooleanArray) -> Result<Self> {
        let numbers = |values: &ScalarBuffer<i64>| {
            values.iter().zip(stay.values()).filter(|(_, stays)| *stays).map(|(value, _)| *value).collect()
        };
        let bytes = |array: &BinaryArray| -> Result<BinaryArray> {
            let left = filter(array, stay);
            let left = left.map_err(|e| Error::fatal("records could not be left out").caused_by(e))?;
            Ok(left.as_binary::<i32>().clone())
        };
        Ok(Self {
            partition: self.partition.clone(),
            offsets: numbers(&self.offsets),
            timestamps: numbers(&self.timestamps),
            keys: bytes(&self.keys)?,
            values: bytes(&self.values)?,
            headers: self.headers.iter().map(bytes).collect::<Result<_>>()?,
        })
    }
}

/// How far a partition has been dealt with: the next offset to read, and a note of the committer's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The partition.
    pub partition: Partition,
    /// The first offset that is not dealt with.
    pub offset: i64,
    /// Anything that the chain wants back with the position; at most [`MAX_METADATA`] bytes.
    pub metadata: String,
}

/// The most bytes that the metadata of a [`Position`] may have. Kafka refuses more than
/// `offset.metadata.max.bytes`, 4096 by default; we keep below.
pub const MAX_METADATA: usize = 4000;

/// A partition that a reader has been given, and where it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The partition.
    pub partition: Partition,
    /// What the group has committed for it; `None` for a group's first start, without a group, or where it
    /// was committed of a topic that was made anew since.
    pub committed: Option<Position>,
    /// The offset that the next read gives, unless the chain seeks.
    pub start: i64,
}

/// Records that a reader was to give, and that the log has no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// The partition.
    pub partition: Partition,
    /// The offset at which reading was to go on.
    pub from: i64,
    /// The offset at which it goes on: the oldest that is there. At most `from` where the partition ends
    /// before `from`, as one does whose topic was made anew.
    pub to: i64,
}

impl Gone {
    /// How many records these are at most: an offset may be of none. `None` where nobody knows, as the topic
    /// was made anew.
    pub fn records(&self) -> Option<u64> {
        u64::try_from(self.to - self.from).ok().filter(|records| *records > 0)
    }
}

/// What a reader has to tell.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "nearly all are records, and each is moved once a batch")]
pub enum ReadEvent {
    /// Records of one partition.
    Records(Records),
    /// These partitions are this reader's from now on, beside those it has.
    Assigned(Vec<Assignment>),
    /// These partitions go to another reader of the group. The reader holds them until it is asked for its
    /// next event: what the chain commits before that still counts. Nothing of them is given any more.
    Revoked(Vec<Partition>),
    /// These partitions are already somebody else's: nothing about them can be committed any more.
    Lost(Vec<Partition>),
    /// All that these partitions hold has been given; sent each time that a partition becomes so.
    CaughtUp(Vec<Partition>),
    /// The log cannot be reached: whether these partitions hold more is not known until records come, or
    /// `CaughtUp`. The reader goes on trying by itself. Without it, time would pass over records that are
    /// only out of reach.
    OutOfReach(Vec<Partition>),
    /// These records are lost to this reader, which goes on behind them. For a partition that it has been
    /// given already; of those that a group had committed it is told right after `Assigned`.
    Gone(Vec<Gone>),
    /// A topic has more partitions than when this reader was opened. The new ones are read from their
    /// beginning; keys go to other partitions from now on.
    Grown {
        /// The topic.
        topic: Arc<str>,
        /// How many partitions it had.
        before: u32,
        /// How many it has.
        now: u32,
    },
    /// Every partition is read to the offset where it ended when [`LogReader::bound`] was called. Nothing
    /// follows.
    End,
}

/// Who reads what.
#[derive(Debug, Clone)]
pub struct ReaderOptions {
    /// The topics.
    pub topics: Vec<String>,
    /// Without a group: only the partitions of these numbers; `None` reads all. A number that a topic does
    /// not have is passed over.
    pub partitions: Option<Vec<i32>>,
    /// The consumer group that shares the partitions and keeps the positions; `None` reads all partitions,
    /// alone, and commits nothing.
    pub group: Option<Group>,
    /// Where to start without a committed position.
    pub start: Start,
    /// The most records in one [`ReadEvent::Records`].
    pub max_records: usize,
    /// The most bytes of keys and values held ahead of the chain.
    pub max_bytes: usize,
    /// The headers that records are wanted with, by name.
    pub headers: Vec<String>,
}

/// A consumer group, as one of its members joins it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The name.
    pub name: String,
    /// The windows that this member's rows are counted in, by name, each with a mark of what its state
    /// depends on. A name has letters, digits, `-`, `_` and `.`, a mark letters and digits. Members whose
    /// marks of one window differ would each count a part of the rows in windows of their own: who comes
    /// second is refused, before it is given a record.
    pub windows: BTreeMap<String, String>,
}

impl Group {
    /// A group of this name, for a member that counts in no window.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), windows: BTreeMap::new() }
    }

    /// A window that `other`, another member, counts otherwise.
    pub fn differs(&self, other: &BTreeMap<String, String>) -> Option<&str> {
        let differs =
            |(name, mark): &(&String, &String)| other.get(*name).is_some_and(|other| other != *mark);
        self.windows.iter().find(differs).map(|(name, _)| name.as_str())
    }

    /// What a member is refused with, where `other`, in words, counts `window` otherwise.
    pub fn refused(&self, window: &str, other: &str) -> Error {
        let group = &self.name;
        let message =
            format!("{other} counts the window `{window}` otherwise, in the same consumer group, `{group}`");
        Error::new(Consequence::Refused, message).remedy(
            "run the same file everywhere, or stop the workers of the other file first; docs/changing.md says what may \
             be changed while others run",
        )
    }
}

/// Who writes.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// The transactional id: one name per chain, stable over restarts. `None` writes at least once, without a
    /// transaction.
    pub transactional_id: Option<String>,
    /// The longest that a transaction may stay open before the log aborts it.
    pub transaction_timeout: Duration,
}

/// Records to write: columns of the same length.
#[derive(Debug, Clone)]
pub struct Append {
    /// The topic, which must be there.
    pub topic: Arc<str>,
    /// The partition that all of these records go to, whatever their keys; `None` leaves it to the keys.
    pub partition: Option<i32>,
    /// The key of each record. Records with the same key go to the same partition (Java's `murmur2`), those
    /// whose key is null to [`partitioner::NULL_KEYS`]. With `None` no record has a key, and they are spread.
    pub keys: Option<BinaryArray>,
    /// The value of each record.
    pub values: BinaryArray,
    /// The timestamp of each record.
    pub timestamps: ScalarBuffer<Millis>,
    /// Headers, by name: the bytes of each record's; a null has none.
    pub headers: Vec<(Arc<str>, BinaryArray)>,
}

/// A topic as a chain wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// The name.
    pub name: String,
    /// How many partitions to make where the topic is not there; `None` leaves it to the log's default.
    pub partitions: Option<u32>,
    /// True where the topic may be made; otherwise its absence is an error.
    pub create: bool,
    /// What it keeps.
    pub keeps: Keeps,
}

/// What a topic keeps. A log on brokers decides it when the topic is made. The log inside this process keeps
/// as many bytes as it may, and keeps a topic as [`Keeps::LastOfKey`] from the first time on that it is asked
/// for so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keeps {
    /// What the log keeps by default.
    #[default]
    AsTheLog,
    /// Records of so long, by their timestamps.
    For(Retention),
    /// The last record of each key, and none of a key whose last record has no value; however old it is.
    LastOfKey,
    /// All records, until the one chain that reads them lets them go: [`Log::let_go`].
    UntilLetGo,
}

impl Keeps {
    /// True for a topic of which only the last record of each key need be kept.
    pub fn is_compacted(self) -> bool {
        self == Self::LastOfKey
    }
}

/// What a log is, for `explain` and the start-up lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDescription {
    /// For the reader, such as `embedded` or `Kafka at 10.0.0.1:9092`.
    pub name: String,
    /// True where records outlive the process.
    pub durable: bool,
    /// True where other processes read and write it too.
    pub shared: bool,
    /// True where [`WriterOptions::transactional_id`] is honoured.
    pub transactional: bool,
    /// The shortest time between two commits of a chain, by what a commit costs here: what a reader of its
    /// results waits for at most, beside the commit itself.
    pub commit_interval: Duration,
}

/// A reader's standing in its group at one moment: what a transaction must present with its positions
/// (KIP-447), so that a reader which has lost its partitions without knowing cannot commit them. Opaque: only
/// the log that made it looks inside.
#[derive(Clone)]
pub struct Membership(Arc<dyn Any + Send + Sync>);

impl Membership {
    /// Wraps a log's own token.
    pub fn new<T: Any + Send + Sync>(token: T) -> Self {
        Self(Arc::new(token))
    }

    /// The token, where it is of type `T`.
    pub fn token<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Membership")
    }
}

/// The positions of one reader's group, to be committed together with what was appended.
#[derive(Debug, Clone)]
pub struct GroupPositions {
    /// The reader's standing: [`LogReader::membership`].
    pub membership: Membership,
    /// One position a partition.
    pub positions: Vec<Position>,
}

/// Where the records of a log are, for finding two connections that are one log. Never shown: the settings
/// may be secret.
#[derive(Clone, PartialEq, Eq)]
pub struct LogIdentity {
    /// Addresses of any form, such as `host:port` or a path; logs that have one in common are one.
    pub addresses: BTreeSet<String>,
    /// Equal where two connections to the log do not differ, beside the addresses that they name.
    pub settings: String,
}

/// A log: topics that several readers and writers share.
#[async_trait]
pub trait Log: Send + Sync + fmt::Debug {
    /// What this log is.
    fn describe(&self) -> LogDescription;

    /// Where its records are; `None` for a log that nobody else can reach. Asked while planning, so it
    /// connects to nothing.
    fn identity(&self) -> Option<LogIdentity> {
        None
    }

    /// What its cluster calls itself, asked of the cluster: connections with one name for it are one log,
    /// whatever their addresses. `None` where nobody but this process has it, or it has no name.
    ///
    /// # Errors
    /// `Retry` while it cannot be reached.
    async fn cluster(&self) -> Result<Option<String>> {
        Ok(None)
    }

    /// Sees that the topics are there, making those that may be made. Called once before a run starts, and
    /// safe to call again. Gives the number of partitions of each, in the order asked.
    ///
    /// # Errors
    /// `Retry` while the log cannot be reached; `Fatal` where a topic is missing and may not be made;
    /// `Refused` where it may not be seen or made.
    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<Vec<u32>>;

    /// How many bytes the key and the value of a record may have together, so that this topic is sure to take
    /// it; `None` where there is no bound that is known. To be asked before a writer is opened that writes
    /// there.
    ///
    /// # Errors
    /// `Retry` while the log cannot be reached.
    async fn largest_record(&self, topic: &str) -> Result<Option<usize>>;

    /// For how long a topic keeps records after their timestamp; `None` where that is not known, or does not
    /// depend on it.
    ///
    /// # Errors
    /// `Retry` while the log cannot be reached.
    async fn retention(&self, _topic: &str) -> Result<Option<Duration>> {
        Ok(None)
    }

    /// Nobody needs the records before these offsets any more: the log may delete them. One that makes room
    /// by itself does nothing.
    ///
    /// # Errors
    /// Where they could not be deleted. Nothing is lost by it: what is left can be let go again, with more.
    async fn let_go(&self, _before: &[(Partition, i64)]) -> Result<()> {
        Ok(())
    }

    /// The earliest timestamp that a record may have. Kafka takes none before 1970, and every log does as it
    /// does, so that a pipeline that runs on one runs on the other.
    fn earliest_time(&self) -> Millis {
        0
    }

    /// How many partitions a topic gets that is made here and of which nobody says otherwise; `None` where
    /// that is not known before.
    fn default_partitions(&self) -> Option<u32> {
        None
    }

    /// Opens a reader. It joins its group at once; its first event is an `Assigned` once the group has
    /// settled.
    ///
    /// # Errors
    /// `Refused`, from here or from the reader's first event, where another member counts a window otherwise:
    /// see [`Group`].
    async fn reader(&self, options: ReaderOptions) -> Result<Box<dyn LogReader>>;

    /// Opens a writer. With a transactional id, every earlier writer with that id is fenced and its open
    /// transaction aborted before this returns (`init_transactions`).
    async fn writer(&self, options: WriterOptions) -> Result<Box<dyn LogWriter>>;
}

/// Reads committed records. Owned by one chain.
#[async_trait]
pub trait LogReader: Send {
    /// The next event. Cancel-safe: a dropped future loses nothing. Asking for the next event after `Revoked`
    /// or `Lost` lets the partitions go.
    ///
    /// # Errors
    /// `Retry` where the log cannot be reached (the reader goes on by itself when asked again); `Fatal` where
    /// a topic is gone; `Refused` where it may not be read.
    async fn next(&mut self) -> Result<ReadEvent>;

    /// The reader's standing in its group as far as [`next`](Self::next) has told of it: that of the
    /// assignment whose records it gave, also where the group has moved on meanwhile. `None` without a group,
    /// and where the reader holds nothing.
    fn membership(&self) -> Option<Membership>;

    /// True where its group has committed nothing, for no partition of the reader's topics; false without a
    /// group.
    ///
    /// # Errors
    /// `Retry` where the log cannot be reached.
    async fn is_new(&mut self) -> Result<bool>;

    /// What the group has committed by now for each partition that this reader holds, with the offset at
    /// which reading would start from that; for the failure path, after an abort or once a new writer has
    /// settled a commit whose outcome was not known. It does not move the reader: [`seek`](Self::seek) to
    /// each `start`. Where nothing is committed (or without a group) `start` is where reading started when
    /// the partition was assigned.
    ///
    /// # Errors
    /// `Retry` where the log cannot be reached.
    async fn committed(&mut self) -> Result<Vec<Assignment>>;

    /// Commits positions outside a transaction, for a chain whose sink is not on this log (at least once).
    /// Without a group it does nothing.
    ///
    /// # Errors
    /// `Abort` where the group has moved on (rebalance); `Retry` where the log cannot be reached.
    async fn commit(&mut self, positions: &[Position]) -> Result<()>;

    /// Goes on reading a partition at `offset`; what was fetched ahead of it is thrown away.
    ///
    /// # Errors
    /// `Abort` where the partition is no longer this reader's.
    async fn seek(&mut self, partition: &Partition, offset: i64) -> Result<()>;

    /// Stops giving records (but stays in the group, and keeps giving the other events), or goes on.
    fn pause(&mut self, paused: bool);

    /// From now on reads only up to where each partition ends at this moment, then gives [`ReadEvent::End`].
    /// Partitions assigned later end there too. All that a commit which has returned made visible, or is yet
    /// to make visible, is within the bound; a transaction that is open may be waited for.
    ///
    /// # Errors
    /// `Retry` where the log cannot be reached.
    async fn bound(&mut self) -> Result<()>;

    /// How many records the partitions hold that have not been given, as far as is known now; for metrics.
    fn lag(&self) -> u64;

    /// Leaves the group and lets everything go, within two seconds.
    async fn close(self: Box<Self>) -> Result<()>;
}

/// Writes records, in transactions where it has a transactional id. Owned by one chain.
#[async_trait]
pub trait LogWriter: Send {
    /// Adds records to the open transaction, opening one where there is none. Waits while the log is full or
    /// its queue is; nothing is ever dropped for want of room. Not cancel-safe: run it to its end or abort.
    ///
    /// # Errors
    /// `Retry`/`Abort`: the transaction is gone, abort it and begin again; `Fenced`; `Fatal` for a topic that
    /// is not there or a record that is larger than the log takes.
    async fn append(&mut self, records: Append) -> Result<()>;

    /// Makes everything appended since the last commit durable and visible, together with `positions`, or
    /// nothing of it. With nothing appended it commits the positions alone.
    ///
    /// # Errors
    /// `Abort`: nothing of it happened; call [`abort`](Self::abort) and take the failure path. `Retry`: it is
    /// not known whether it happened; drop this writer, open a new one with the same id (which settles it)
    /// and read the committed positions again. `Fenced`: another writer has the id.
    async fn commit(&mut self, positions: Option<GroupPositions>) -> Result<()>;

    /// Throws away everything appended since the last commit.
    async fn abort(&mut self) -> Result<()>;

    /// The records that the log refused by rules of its own since the writer was opened. To be asked for
    /// after [`abort`](Self::abort): the chain sends everything again without them, and the sink's `on_error`
    /// says what becomes of them.
    fn refused(&mut self) -> Vec<Refused> {
        Vec::new()
    }

    /// Lets everything go, within two seconds; what was not committed is aborted.
    async fn close(self: Box<Self>) -> Result<()>;
}
