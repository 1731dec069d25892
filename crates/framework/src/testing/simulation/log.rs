//! The log as a simulated process sees it: shared by all of them, durable, and in the way of every call a
//! fault may stand.
//!
//! Records, groups and transactions are those of the log in memory. What a real Kafka has beside is put on
//! top:
//! - offsets have gaps, as a transaction's control records make them;
//! - a process that crashes stays a member of its groups until the session times out, and its commits may
//!   happen after its end;
//! - a commit whose answer is lost has happened, has not, or is under way until a new writer of the id
//!   settles it (KIP-98), or its reader leaves, for the next holder of a partition waits for stable positions
//!   (KIP-447);
//! - a reader that was thrown out of its group goes on for a while with what it has fetched, not knowing.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::faults::{Call, Fate};
use super::process::Process;
use super::reader::SimulatedReader;
use super::world::{Token, World};
use crate::error::{Error, Result};
use crate::log::memory::MemoryLog;
use crate::log::{
    Append, GroupPositions, Log, LogDescription, LogReader, LogWriter, Position, ReaderOptions, TopicSpec,
    WriterOptions,
};

/// A log of a simulated process.
#[derive(Clone)]
pub struct SimulatedLog {
    pub(super) world: Arc<World>,
    pub(super) process: Arc<Process>,
    pub(super) inner: MemoryLog,
    pub(super) stretch: i64,
    pub(super) description: LogDescription,
}

impl SimulatedLog {
    /// The log `inner` as `process` sees it. An offset here is `stretch` times the one in `inner`, as control
    /// records leave gaps.
    #[must_use]
    pub fn new(world: &Arc<World>, process: &Arc<Process>, inner: &MemoryLog, stretch: i64) -> Self {
        let description = inner.describe();
        let (world, process, inner) = (world.clone(), process.clone(), inner.clone());
        Self { world, process, inner, stretch: stretch.max(1), description }
    }

    /// Describes itself as another log does, in whose place it stands.
    #[must_use]
    pub fn described(self, description: LogDescription) -> Self {
        Self { description, ..self }
    }
}

impl fmt::Debug for SimulatedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimulatedLog")
    }
}

/// The first offset in the log in memory that is not before `offset` here.
pub(super) fn shrink(offset: i64, stretch: i64) -> i64 {
    (offset + stretch - 1).div_euclid(stretch)
}

pub(super) fn shrunk(positions: &[Position], stretch: i64) -> Vec<Position> {
    let shrink = |p: &Position| Position { offset: shrink(p.offset, stretch), ..p.clone() };
    positions.iter().map(shrink).collect()
}

#[async_trait]
impl Log for SimulatedLog {
    fn describe(&self) -> LogDescription {
        self.description.clone()
    }

    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<Vec<u32>> {
        self.world.point(&self.process, Call::Topics).await?;
        self.inner.ensure_topics(topics).await
    }

    async fn largest_record(&self, topic: &str) -> Result<Option<usize>> {
        self.inner.largest_record(topic).await
    }

    async fn reader(&self, options: ReaderOptions) -> Result<Box<dyn LogReader>> {
        self.world.point(&self.process, Call::Reader).await?;
        Ok(Box::new(SimulatedReader::open(self.clone(), options).await?))
    }

    async fn writer(&self, options: WriterOptions) -> Result<Box<dyn LogWriter>> {
        self.world.point(&self.process, Call::Writer).await?;
        if let Some(id) = &options.transactional_id {
            self.world.settle_writer(id);
        }
        let id = options.transactional_id.clone();
        let inner = self.inner.writer(options).await?;
        let number = self.world.number();
        self.world.writer_opened(id.as_ref(), self.process.number(), number);
        self.world.note(self.process.number(), "writer");
        Ok(Box::new(SimulatedWriter { log: self.clone(), inner: Some(inner), id, number, broken: false }))
    }
}

struct SimulatedWriter {
    log: SimulatedLog,
    /// `None` once a commit of it is under way.
    inner: Option<Box<dyn LogWriter>>,
    id: Option<String>,
    number: u64,
    /// True where the transaction is gone: only `abort` helps.
    broken: bool,
}

impl SimulatedWriter {
    fn gone() -> Error {
        Error::abort("the transaction is gone")
    }

    /// Commits, and looks at whether that may be.
    async fn really(&mut self, positions: Option<(Token, GroupPositions)>) -> Result<()> {
        let Some(inner) = &mut self.inner else { return Err(Self::gone()) };
        let sent = positions.as_ref().map(|(_, sent)| sent.clone());
        let result = inner.commit(sent).await;
        let world = &self.log.world;
        world.note(self.log.process.number(), &format!("commit: {}", result.is_ok()));
        if result.is_ok() {
            let positions = positions.as_ref().map(|(token, sent)| (token, sent));
            world.committed(self.id.as_ref().map(|id| (id, self.number)), positions);
        } else {
            world.count("commit refused by the log");
        }
        result
    }
}

#[async_trait]
impl LogWriter for SimulatedWriter {
    async fn append(&mut self, records: Append) -> Result<()> {
        if let Err(error) = self.log.world.point(&self.log.process, Call::Append).await {
            self.broken = true;
            return Err(error);
        }
        let Some(inner) = self.inner.as_mut().filter(|_| !self.broken) else { return Err(Self::gone()) };
        for value in records.values.iter().flatten() {
            let text = format!("appends to {}: {}", records.topic, String::from_utf8_lossy(value));
            self.log.world.note(self.log.process.number(), &text);
        }
        inner.append(records).await
    }

    async fn commit(&mut self, positions: Option<GroupPositions>) -> Result<()> {
        let world = self.log.world.clone();
        let process = self.log.process.clone();
        world.stand(&process).await;
        if self.broken || self.inner.is_none() {
            return Err(Self::gone());
        }
        let positions = match positions {
            None => None,
            Some(GroupPositions { membership, positions }) => {
                let token = membership.token::<Token>().cloned();
                let token = token.ok_or_else(|| Error::fatal("a membership of another log"))?;
                let positions = shrunk(&positions, self.log.stretch);
                let sent = GroupPositions { membership: token.inner.clone(), positions };
                Some((token, sent))
            }
        };
        // What a writer without an id appends is there at once.
        let fate = world.fate(&process, self.id.is_some());
        if fate != Fate::Happens {
            world.note(process.number(), &format!("{fate:?}"));
        }
        let unsure = || Error::retry("injected: no answer to the commit");
        match fate {
            Fate::Happens => {
                let done = self.really(positions).await;
                world.stand(&process).await;
                done
            }
            Fate::Aborts => {
                self.broken = true;
                Err(Self::gone())
            }
            Fate::NotBefore => {
                self.broken = true;
                Err(unsure())
            }
            Fate::NotAfter => self.really(positions).await.and(Err(unsure())),
            Fate::Under | Fate::CrashUnder => {
                if let Some(inner) = self.inner.take() {
                    world.send_off(self.number, self.id.clone(), inner, positions);
                }
                if fate == Fate::CrashUnder {
                    process.crash();
                    std::future::pending::<()>().await;
                }
                Err(unsure())
            }
            Fate::CrashBefore | Fate::CrashAfter => {
                if fate == Fate::CrashAfter {
                    // Whether it succeeds, nobody is told.
                    let _ = self.really(positions).await;
                }
                process.crash();
                std::future::pending().await
            }
        }
    }

    async fn abort(&mut self) -> Result<()> {
        self.log.world.point(&self.log.process, Call::Other).await?;
        self.broken = false;
        match &mut self.inner {
            Some(inner) => inner.abort().await,
            None => Ok(()),
        }
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.log.world.point(&self.log.process, Call::Other).await?;
        match self.inner {
            Some(inner) => inner.close().await,
            None => Ok(()),
        }
    }
}
