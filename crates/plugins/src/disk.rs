//! The embedded log on disk: `brokers: embedded:DIR`.
//!
//! The log itself is the one in memory; what it commits is kept in one file, `DIR/log.redb`, by redb: a B-tree with transactions, whose commits are
//! durable and whole whatever happens (copy on write, checksums, repaired when it is opened after a crash). fjall, a log-structured
//! store, was the other candidate: it takes more writes a second, but needs threads of its own for compaction, and a commit of this log is one large
//! write in 50 ms. One process has the file at a time.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use pipectl_framework::error::{Error, Result};
use pipectl_framework::log::memory::journal::{Change, Journal, KeptBatch};
use pipectl_framework::log::memory::{DURABLE_COMMIT_INTERVAL, MemoryLog, MemoryOptions};
use pipectl_framework::log::{
    Log, LogDescription, LogReader, LogWriter, Position, ReaderOptions, TopicSpec, WriterOptions,
};
use pipectl_framework::plugin::Partition;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};

/// The form of what is kept.
const VERSION: u64 = 1;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const TOPICS: TableDefinition<'_, &str, u32> = TableDefinition::new("topics");
/// By topic and partition.
const ENDS: TableDefinition<'_, (&str, i32), i64> = TableDefinition::new("ends");
/// By topic, partition and first offset.
const BATCHES: TableDefinition<'_, (&str, i32, i64), &[u8]> = TableDefinition::new("batches");
/// By group, topic and partition: the offset and the metadata.
const POSITIONS: TableDefinition<'_, (&str, &str, i32), (i64, &str)> = TableDefinition::new("positions");

/// A log in a directory. It is opened with its first use, so that checking a file touches nothing.
#[derive(Debug)]
pub struct DiskLog {
    directory: PathBuf,
    /// As it was written.
    name: String,
    options: MemoryOptions,
    opened: Mutex<Option<MemoryLog>>,
}

impl DiskLog {
    /// A log in `directory`, which is made if it is not there; `name` is what people call it.
    pub fn new(directory: PathBuf, name: &str, options: MemoryOptions) -> Self {
        Self { directory, name: name.to_owned(), options, opened: Mutex::new(None) }
    }

    fn log(&self) -> Result<MemoryLog> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(log) = &*opened {
            return Ok(log.clone());
        }
        let journal = Box::new(DiskJournal::open(&self.directory, &self.name)?);
        let log = MemoryLog::open(self.options.clone(), &self.name, journal)?;
        Ok(opened.insert(log).clone())
    }
}

#[async_trait]
impl Log for DiskLog {
    fn describe(&self) -> LogDescription {
        LogDescription {
            name: format!("embedded in {}", self.name),
            durable: true,
            shared: false,
            transactional: true,
            commit_interval: DURABLE_COMMIT_INTERVAL,
        }
    }

    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<Vec<u32>> {
        self.log()?.ensure_topics(topics).await
    }

    async fn largest_record(&self, topic: &str) -> Result<Option<usize>> {
        self.log()?.largest_record(topic).await
    }

    async fn reader(&self, options: ReaderOptions) -> Result<Box<dyn LogReader>> {
        self.log()?.reader(options).await
    }

    async fn writer(&self, options: WriterOptions) -> Result<Box<dyn LogWriter>> {
        self.log()?.writer(options).await
    }
}

/// The file.
struct DiskJournal {
    database: Database,
    name: Arc<str>,
}

impl std::fmt::Debug for DiskJournal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DiskJournal({})", self.name)
    }
}

impl DiskJournal {
    fn open(directory: &Path, name: &str) -> Result<Self> {
        std::fs::create_dir_all(directory).map_err(|e| {
            Error::fatal(format!("cannot make the directory of the log, {name}: {e}"))
                .remedy("name a directory that this user may write in: `brokers: embedded:DIR`")
        })?;
        let database = Database::create(directory.join("log.redb")).map_err(|e| cannot_open(name, e))?;
        Ok(Self { database, name: name.into() })
    }

    fn broken(&self, error: impl Into<redb::Error>) -> Error {
        broken(&self.name, error.into())
    }
}

fn cannot_open(name: &str, error: DatabaseError) -> Error {
    match error {
        DatabaseError::DatabaseAlreadyOpen => {
            Error::fatal(format!("another process has the log in {name} open"))
                .remedy("stop it, or give this pipeline a directory of its own: `brokers: embedded:DIR`")
        }
        DatabaseError::UpgradeRequired(version) => Error::fatal(format!(
            "the log in {name} is in an older form of the store ({version})"
        ))
        .remedy("let the version of pipectl that wrote it finish, or remove the directory to begin anew"),
        other => broken(name, other.into()),
    }
}

/// What the store says, in terms of what to do.
fn broken(name: &str, error: redb::Error) -> Error {
    match error {
        redb::Error::Io(e) if e.kind() == std::io::ErrorKind::StorageFull => {
            Error::fatal(format!("the disk of the log in {name} is full: nothing of this commit was kept"))
                .remedy("make room and start again: the chains go on where their last commit stood")
        }
        redb::Error::Corrupted(what) => Error::fatal(format!("the log in {name} is damaged: {what}"))
            .remedy("restore the directory from a copy, or remove it to begin anew"),
        redb::Error::Io(e) if e.kind() == std::io::ErrorKind::InvalidData => {
            Error::fatal(format!("{name}/log.redb is not a log of pipectl: {e}"))
                .remedy("name another directory, or remove the file to begin anew")
        }
        other => Error::fatal(format!("the log in {name} cannot be read or written: {other}"))
            .remedy("see that this user may write there and that the disk works, then start again"),
    }
}

impl Journal for DiskJournal {
    fn load(&mut self) -> Result<Change> {
        let fail = |e: redb::Error| broken(&self.name, e);
        let write = self.database.begin_write().map_err(|e| fail(e.into()))?;
        let found = (|| -> std::result::Result<Option<u64>, redb::Error> {
            let mut meta = write.open_table(META)?;
            let found = meta.get("version")?.map(|version| version.value());
            if found.is_none() {
                meta.insert("version", VERSION)?;
            }
            // Made now, so that reading finds them.
            write.open_table(TOPICS)?;
            write.open_table(ENDS)?;
            write.open_table(BATCHES)?;
            write.open_table(POSITIONS)?;
            Ok(found)
        })()
        .map_err(fail)?;
        if let Some(version) = found.filter(|version| *version != VERSION) {
            return Err(Error::fatal(format!(
                "the log in {} is of version {version}, and this pipectl reads version {VERSION}",
                self.name
            ))
            .remedy("use the version of pipectl that wrote it, or another directory"));
        }
        write.commit().map_err(|e| fail(e.into()))?;
        self.read().map_err(fail)
    }

    fn commit(&mut self, change: &Change) -> Result<()> {
        let write = self.database.begin_write().map_err(|e| self.broken(e))?;
        apply(&write, change).map_err(|e| self.broken(e))?;
        write.commit().map_err(|e| self.broken(e))
    }
}

impl DiskJournal {
    fn read(&self) -> std::result::Result<Change, redb::Error> {
        let read = self.database.begin_read()?;
        let mut kept = Change::default();
        for entry in read.open_table(TOPICS)?.iter()? {
            let (name, partitions) = entry?;
            kept.topics.push((name.value().to_owned(), partitions.value()));
        }
        for entry in read.open_table(BATCHES)?.iter()? {
            let (place, bytes) = entry?;
            let (topic, partition, first) = place.value();
            let bytes = bytes.value().to_vec();
            kept.batches.push(KeptBatch { topic: topic.to_owned(), partition, first, bytes });
        }
        for entry in read.open_table(ENDS)?.iter()? {
            let (place, end) = entry?;
            let (topic, partition) = place.value();
            kept.ends.push((topic.to_owned(), partition, end.value()));
        }
        for entry in read.open_table(POSITIONS)?.iter()? {
            let (place, position) = entry?;
            let ((group, topic, partition), (offset, metadata)) = (place.value(), position.value());
            let partition = Partition::new(topic, partition);
            let position = Position { partition, offset, metadata: metadata.to_owned() };
            kept.positions.push((group.to_owned(), position));
        }
        Ok(kept)
    }
}

fn apply(write: &redb::WriteTransaction, change: &Change) -> std::result::Result<(), redb::Error> {
    let mut topics = write.open_table(TOPICS)?;
    for (name, partitions) in &change.topics {
        topics.insert(name.as_str(), partitions)?;
    }
    let mut batches = write.open_table(BATCHES)?;
    for batch in &change.batches {
        batches.insert((batch.topic.as_str(), batch.partition, batch.first), batch.bytes.as_slice())?;
    }
    for (topic, partition, first) in &change.dropped {
        batches.remove((topic.as_str(), *partition, *first))?;
    }
    let mut ends = write.open_table(ENDS)?;
    for (topic, partition, end) in &change.ends {
        ends.insert((topic.as_str(), *partition), end)?;
    }
    let mut positions = write.open_table(POSITIONS)?;
    for (group, position) in &change.positions {
        let place = (group.as_str(), &*position.partition.source, position.partition.index);
        positions.insert(place, (position.offset, position.metadata.as_str()))?;
    }
    Ok(())
}
