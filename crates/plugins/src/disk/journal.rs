//! The file `DIR/log.redb`: how commits get into it, and out again.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipectl_framework::error::{Error, Result};
use pipectl_framework::log::Position;
use pipectl_framework::log::memory::journal::{Change, Journal, KeptBatch, KeptTopic};
use pipectl_framework::plugin::Partition;
use pipectl_framework::run::FailPoint;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction,
};

use super::mark::Mark;
use super::trouble::{
    a_file, broken, cannot_open, damaged, in_use, lost, no_directory, of_version, without_file,
};

/// The form of what is kept.
const VERSION: u64 = 1;

/// The store.
const FILE: &str = "log.redb";
/// The store while it is made.
const NEW_FILE: &str = "log.redb.new";

/// What the store keeps of its pages in memory. The log is in memory as well, and reads from the store only
/// when it is opened.
const CACHE: usize = 16 << 20;

/// The file is made smaller when it is opened if it has more than this beside twice what is in it.
const SLACK: u64 = 16 << 20;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const TOPICS: TableDefinition<'_, &str, u32> = TableDefinition::new("topics");
/// The topics that are compacted. Directories of version 0.1 do not have it: there nothing is known of any
/// topic.
pub(super) const COMPACTED: TableDefinition<'_, &str, ()> = TableDefinition::new("compacted");
/// By topic and partition.
const ENDS: TableDefinition<'_, (&str, i32), i64> = TableDefinition::new("ends");
/// By topic, partition and first offset.
const BATCHES: TableDefinition<'_, (&str, i32, i64), &[u8]> = TableDefinition::new("batches");
/// By group, topic and partition: the offset and the metadata.
const POSITIONS: TableDefinition<'_, (&str, &str, i32), (i64, &str)> = TableDefinition::new("positions");

/// Opens the store at a path, or makes one.
pub(super) type Open = Arc<dyn Fn(&Builder, &Path) -> Result<Database, DatabaseError> + Send + Sync>;

pub(super) fn in_a_file() -> Open {
    Arc::new(|builder, path| builder.create(path))
}

/// The journal of a log on disk.
pub(super) struct DiskJournal {
    directory: PathBuf,
    /// What people call it.
    name: Arc<str>,
    open: Open,
    mark: Mark,
    /// `None` once the store has failed: it then works no more until it is opened again.
    database: Option<Database>,
    /// How many commits it has.
    commits: u64,
}

impl std::fmt::Debug for DiskJournal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DiskJournal({})", self.name)
    }
}

impl DiskJournal {
    /// Takes the directory and verifies what is in it.
    pub(super) fn open(directory: &Path, name: &str, open: Open) -> Result<Self> {
        if directory.is_file() {
            return Err(a_file(name));
        }
        std::fs::create_dir_all(directory).map_err(|e| no_directory(name, &e))?;
        let mark = Mark::lock(directory).map_err(|e| no_directory(name, &e))?.ok_or_else(|| in_use(name))?;
        let mut journal = Self {
            directory: directory.to_owned(),
            name: name.into(),
            open,
            mark,
            database: None,
            commits: 0,
        };
        journal.make()?;
        journal.reopen()?;
        Ok(journal)
    }

    /// Makes the store where it is not there, beside its place: a crash meanwhile leaves nothing that looks
    /// like a damaged log.
    fn make(&self) -> Result<()> {
        let (path, new) = (self.directory.join(FILE), self.directory.join(NEW_FILE));
        if path.exists() {
            return Ok(());
        }
        if self.mark.least() > 0 {
            return Err(without_file(&self.name, FILE));
        }
        let strange = |e: std::io::Error| no_directory(&self.name, &e);
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(strange(error)),
            _ => {}
        }
        let database = self.database_at(&new)?;
        self.tables(&database)?;
        drop(database);
        std::fs::rename(&new, &path).map_err(strange)?;
        File::open(&self.directory).and_then(|directory| directory.sync_all()).map_err(strange)
    }

    /// The store at a path. Every page is verified. redb promises an error for whatever is damaged; should it
    /// panic all the same, that is an error too.
    fn database_at(&self, path: &Path) -> Result<Database> {
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
        match catch_unwind(AssertUnwindSafe(|| (self.open)(&builder, path))) {
            Ok(opened) => opened.map_err(|error| cannot_open(&self.name, error)),
            Err(_) => Err(damaged(&self.name, "the store cannot read it")),
        }
    }

    /// Opens the store anew, and finds out how many commits it has.
    fn reopen(&mut self) -> Result<()> {
        // It locks its file.
        self.database = None;
        let database = self.database_at(&self.directory.join(FILE))?;
        self.tables(&database)?;
        let commits = self.count(&database).map_err(|error| self.broken(error))?;
        let least = self.mark.least();
        if commits < least {
            return Err(lost(&self.name, commits, least));
        }
        // After a power cut it may be behind.
        self.mark.note(commits);
        self.commits = commits;
        self.database = Some(database);
        Ok(())
    }

    /// Sees that the tables are there and of this version.
    fn tables(&self, database: &Database) -> Result<()> {
        let found = || -> std::result::Result<Option<u64>, redb::Error> {
            match database.begin_read()?.open_table(META) {
                Ok(meta) => Ok(meta.get("version")?.map(|version| version.value())),
                Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
                Err(error) => Err(error.into()),
            }
        };
        match found().map_err(|error| self.broken(error))? {
            Some(VERSION) => return Ok(()),
            Some(other) => return Err(of_version(&self.name, other, VERSION)),
            None => {}
        }
        let make = || -> std::result::Result<(), redb::Error> {
            let write = database.begin_write()?;
            write.open_table(META)?.insert("version", VERSION)?;
            write.open_table(TOPICS)?;
            write.open_table(ENDS)?;
            write.open_table(BATCHES)?;
            write.open_table(POSITIONS)?;
            Ok(write.commit()?)
        };
        make().map_err(|error| self.broken(error))
    }

    fn count(&self, database: &Database) -> std::result::Result<u64, redb::Error> {
        let meta = database.begin_read()?.open_table(META)?;
        Ok(meta.get("commits")?.map_or(0, |commits| commits.value()))
    }

    /// Gives space back that the log once needed and no longer does. A crash meanwhile harms nothing, and
    /// where it fails the log is as it was.
    fn shrink(&mut self, kept: u64) -> Result<()> {
        let size = std::fs::metadata(self.directory.join(FILE)).map_or(0, |file| file.len());
        if size <= 2 * kept + SLACK {
            return Ok(());
        }
        match self.database.as_mut().map(Database::compact).transpose() {
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::warn!("the log in {} could not be made smaller: {error}", self.name);
                self.reopen()
            }
        }
    }

    fn database(&self) -> Result<&Database> {
        self.database.as_ref().ok_or_else(|| closed(&self.name))
    }

    fn broken(&self, error: impl Into<redb::Error>) -> Error {
        broken(&self.name, error.into())
    }
}

fn closed(name: &str) -> Error {
    Error::retry(format!("the log in {name} is not open"))
}

impl Journal for DiskJournal {
    fn load(&mut self) -> Result<Change> {
        let kept = read(self.database()?).map_err(|error| self.broken(error))?;
        self.shrink(kept.batches.iter().map(|batch| batch.bytes.len() as u64).sum())?;
        Ok(kept)
    }

    fn commit(&mut self, change: &Change) -> Result<()> {
        let next = self.commits + 1;
        // Taken out, so that it is opened anew after a failure, whatever that was.
        let database = self.database.take().ok_or_else(|| closed(&self.name))?;
        write(&database, change, next).map_err(|error| self.broken(error))?;
        self.database = Some(database);
        self.commits = next;
        self.mark.note(next);
        Ok(())
    }

    fn settle(&mut self) -> Result<bool> {
        let before = self.commits;
        if self.database.is_none() {
            self.reopen()?;
        }
        Ok(self.commits > before)
    }
}

fn read(database: &Database) -> std::result::Result<Change, redb::Error> {
    let read = database.begin_read()?;
    let mut kept = Change::default();
    let compacted = match read.open_table(COMPACTED) {
        Ok(compacted) => Some(compacted),
        Err(redb::TableError::TableDoesNotExist(_)) => None,
        Err(error) => return Err(error.into()),
    };
    for entry in read.open_table(TOPICS)?.iter()? {
        let (name, partitions) = entry?;
        let (name, partitions) = (name.value().to_owned(), partitions.value());
        let found = compacted.as_ref().map(|compacted| compacted.get(name.as_str())).transpose()?;
        kept.topics.push(KeptTopic { name, partitions, compacted: found.flatten().is_some() });
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

/// One transaction, durable when this returns.
fn write(database: &Database, change: &Change, commits: u64) -> std::result::Result<(), redb::Error> {
    let write = database.begin_write()?;
    put_records(&write, change)?;
    FailPoint::SendingOffsets.pass();
    put_positions(&write, change, commits)?;
    FailPoint::OffsetsSent.pass();
    write.commit()?;
    FailPoint::TransactionCommitted.pass();
    Ok(())
}

fn put_records(write: &WriteTransaction, change: &Change) -> std::result::Result<(), redb::Error> {
    let mut topics = write.open_table(TOPICS)?;
    for topic in &change.topics {
        topics.insert(topic.name.as_str(), topic.partitions)?;
        if topic.compacted {
            write.open_table(COMPACTED)?.insert(topic.name.as_str(), ())?;
        }
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
    Ok(())
}

fn put_positions(
    write: &WriteTransaction,
    change: &Change,
    commits: u64,
) -> std::result::Result<(), redb::Error> {
    let mut positions = write.open_table(POSITIONS)?;
    for (group, position) in &change.positions {
        let place = (group.as_str(), &*position.partition.source, position.partition.index);
        positions.insert(place, (position.offset, position.metadata.as_str()))?;
    }
    write.open_table(META)?.insert("commits", commits)?;
    Ok(())
}
