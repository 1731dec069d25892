//! The log inside this process: what `brokers: embedded` stands for.
//!
//! It behaves like a broker as far as the contract goes (transactions, read committed, groups, fencing,
//! positions that are committed with the results) and forgets everything when the process ends, unless a
//! `journal` keeps it.
//!
//! | file | what is in it |
//! |---|---|
//! | `storage` | topics, partitions and their batches |
//! | `group` | members, their cursors, who has which partition |
//! | `compaction` | topics that keep the last record of each key |
//! | `room` | the bound of a topic: who waits, what may be dropped |
//! | `state` | all of it behind one lock |
//! | `commit` | what makes records visible and positions kept, together |
//! | `journal` | the contract of what keeps it on disk |
//! | `reader`, `writer` | the two ends |
//!
//! # Bounds
//! Each topic has a bound in bytes. Who writes to a full topic waits for its slowest reader; nothing that a
//! reader or a group still needs is dropped. See `room` for the rules, and for why no writer and reader can
//! wait for each other in a circle. The topics of a finished record are kept a little longer (an eighth of
//! the bound) for readers that come late.
//!
//! # Time
//! Nothing here reads a clock or starts a thread, so the log runs on a paused runtime with one outcome. The
//! one timer is the patience of a writer that can never get room. An open transaction holds nobody up, as its
//! records enter their partitions when it commits; so [`WriterOptions::transaction_timeout`] has nothing to
//! do here.

mod commit;
mod compaction;
mod group;
pub mod journal;
mod reader;
mod room;
mod state;
mod storage;
mod writer;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use self::reader::MemoryReader;
use self::state::Shared;
use self::writer::MemoryWriter;
use super::{Log, LogDescription, LogReader, LogWriter, ReaderOptions, TopicSpec, WriterOptions};
use crate::error::Result;

/// A commit costs microseconds here; the interval lets a busy chain put several batches into one.
const COMMIT_INTERVAL: Duration = Duration::from_millis(5);

/// With a journal a commit waits for the disk: milliseconds.
pub const DURABLE_COMMIT_INTERVAL: Duration = Duration::from_millis(50);

/// The measures of a [`MemoryLog`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryOptions {
    /// How many bytes a topic holds before its writers wait: keys, values, and 16 bytes a record. 64 MiB by
    /// default.
    pub topic_bytes: usize,
    /// How many partitions a topic gets where nobody says otherwise. 1 by default.
    pub partitions: u32,
    /// The greatest record, key and value together. A million bytes by default, as Kafka's clients have it,
    /// so that a pipeline that runs here runs there.
    pub max_record_bytes: usize,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self { topic_bytes: 64 << 20, partitions: 1, max_record_bytes: 1_000_000 }
    }
}

/// The log inside this process. Clones are the same log.
#[derive(Debug, Clone)]
pub struct MemoryLog {
    shared: Arc<Shared>,
    /// Where a journal keeps it.
    place: Option<Arc<str>>,
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::new(MemoryOptions::default())
    }
}

impl MemoryLog {
    /// An empty log.
    pub fn new(options: MemoryOptions) -> Self {
        Self { shared: Arc::new(Shared::new(options)), place: None }
    }

    /// A log that outlives the process: what `journal` has kept, and what it will keep from now on. `place`
    /// says where, for people.
    ///
    /// A commit returns once the journal has made it durable. Meanwhile other chains read and write; their
    /// commits wait, in the order in which they came.
    ///
    /// # Errors
    /// Those of [`Journal::load`](journal::Journal::load).
    pub fn open(options: MemoryOptions, place: &str, journal: Box<dyn journal::Journal>) -> Result<Self> {
        Ok(Self { shared: Arc::new(Shared::open(options, journal)?), place: Some(place.into()) })
    }

    /// Throws every reader of a group out, as a broker does with members it has not heard of for too long:
    /// each is told that its partitions are [`Lost`](super::ReadEvent::Lost), and joins again. For tests of
    /// that path.
    pub fn expel(&self, group: &str) {
        self.shared.lock().expel(group);
        self.shared.wake();
    }
}

#[async_trait]
impl Log for MemoryLog {
    fn describe(&self) -> LogDescription {
        match &self.place {
            None => LogDescription {
                name: "embedded".to_owned(),
                durable: false,
                shared: false,
                transactional: true,
                commit_interval: COMMIT_INTERVAL,
            },
            Some(place) => LogDescription {
                name: format!("embedded in {place}"),
                durable: true,
                shared: false,
                transactional: true,
                commit_interval: DURABLE_COMMIT_INTERVAL,
            },
        }
    }

    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<Vec<u32>> {
        self.shared.ensure_topics(topics).await
    }

    async fn largest_record(&self, _: &str) -> Result<Option<usize>> {
        Ok(Some(self.shared.lock().options.max_record_bytes))
    }

    async fn reader(&self, options: ReaderOptions) -> Result<Box<dyn LogReader>> {
        Ok(Box::new(MemoryReader::open(Arc::clone(&self.shared), options).await?))
    }

    async fn writer(&self, options: WriterOptions) -> Result<Box<dyn LogWriter>> {
        Ok(Box::new(MemoryWriter::open(Arc::clone(&self.shared), options).await?))
    }
}
