//! The embedded log on disk: `brokers: embedded:DIR`.
//!
//! The log itself is the one in memory; what it commits is kept in one file, `DIR/log.redb`, by redb: a
//! B-tree with transactions, whose commits are durable and whole whatever happens (copy on write, checksums,
//! repaired when it is opened after a crash). ARCHITECTURE.md says why redb. One process has the directory at
//! a time.
//!
//! | file | what is in it |
//! |---|---|
//! | `journal` | the file `log.redb`: how commits get into it, and out again |
//! | `mark` | the file `commits`: how many commits there must be, and the lock of the directory |
//! | `trouble` | what goes wrong with them, in terms of what to do |
//!
//! # What a damaged file gives
//! Opening verifies the checksum of every page. redb takes the last commit back where its pages are not
//! whole, as that is what a crash in the middle of a commit leaves; a damaged page looks the same. The mark
//! tells them apart, so that what was once committed is either there or missed with an error, and never
//! silently gone.

mod journal;
mod mark;
#[cfg(test)]
mod tests;
mod trouble;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use pipectl_framework::error::{Error, Result};
use pipectl_framework::log::memory::{DURABLE_COMMIT_INTERVAL, MemoryLog, MemoryOptions};
use pipectl_framework::log::{
    Log, LogDescription, LogIdentity, LogReader, LogWriter, ReaderOptions, TopicSpec, WriterOptions,
};
use tokio::task::JoinHandle;

use self::journal::{DiskJournal, Open};

/// A log in a directory. It is opened with its first use, so that checking a file touches nothing.
pub struct DiskLog {
    directory: PathBuf,
    /// As it was written.
    name: String,
    options: MemoryOptions,
    open: Open,
    opened: tokio::sync::Mutex<Opened>,
}

/// Whether it is open.
enum Opened {
    Not,
    /// It is being opened. That goes on though nobody waits for it any more, so whoever comes next waits for
    /// the same opening: a second one would find the directory locked by the first.
    Soon(JoinHandle<Result<MemoryLog>>),
    Open(MemoryLog),
}

impl std::fmt::Debug for DiskLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DiskLog({})", self.name)
    }
}

impl DiskLog {
    /// A log in `directory`, which is made if it is not there; `name` is what people call it.
    pub fn new(directory: PathBuf, name: &str, options: MemoryOptions) -> Self {
        Self::with(directory, name, options, journal::in_a_file())
    }

    fn with(directory: PathBuf, name: &str, options: MemoryOptions, open: Open) -> Self {
        Self { directory, name: name.to_owned(), options, open, opened: tokio::sync::Mutex::new(Opened::Not) }
    }

    async fn log(&self) -> Result<MemoryLog> {
        let mut opened = self.opened.lock().await;
        loop {
            let ended = match &mut *opened {
                Opened::Open(log) => return Ok(log.clone()),
                Opened::Soon(opening) => opening.await,
                Opened::Not => {
                    *opened = Opened::Soon(self.begin());
                    continue;
                }
            };
            *opened = Opened::Not;
            let bug = |error| Error::fatal("a bug stopped the opening of the log").caused_by(error);
            *opened = Opened::Open(ended.map_err(bug)??);
        }
    }

    /// Begins to open it, on a thread that may wait: all of it is read and verified.
    fn begin(&self) -> JoinHandle<Result<MemoryLog>> {
        let (directory, name, options) = (self.directory.clone(), self.name.clone(), self.options.clone());
        let open = Arc::clone(&self.open);
        tokio::task::spawn_blocking(move || {
            let journal = Box::new(DiskJournal::open(&directory, &name, open)?);
            MemoryLog::open(options, &name, journal)
        })
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

    fn identity(&self) -> Option<LogIdentity> {
        Some(LogIdentity {
            addresses: [real(&self.directory).to_string_lossy().into_owned()].into(),
            settings: format!("{:?}", self.options),
        })
    }

    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<Vec<u32>> {
        self.log().await?.ensure_topics(topics).await
    }

    async fn largest_record(&self, topic: &str) -> Result<Option<usize>> {
        self.log().await?.largest_record(topic).await
    }

    async fn reader(&self, options: ReaderOptions) -> Result<Box<dyn LogReader>> {
        self.log().await?.reader(options).await
    }

    async fn writer(&self, options: WriterOptions) -> Result<Box<dyn LogWriter>> {
        self.log().await?.writer(options).await
    }
}

/// A directory's path without links and `..`, as far as it is there.
fn real(directory: &Path) -> PathBuf {
    let mut there = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    let mut missing = Vec::new();
    loop {
        if let Ok(real) = there.canonicalize() {
            there = real;
            break;
        }
        let Some(last) = there.components().next_back().map(|part| part.as_os_str().to_owned()) else {
            break;
        };
        if !there.pop() {
            break;
        }
        missing.push(last);
    }
    for part in missing.into_iter().rev() {
        // What is not there is no link.
        if part == ".." { _ = there.pop() } else { there.push(part) }
    }
    there
}
