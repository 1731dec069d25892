//! The writers of a chain, one per connection that it writes to, and the commit that joins results and
//! positions.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, Part, Result};
use crate::log::{Append, GroupPositions, Log, LogWriter, Refused, WriterOptions};

/// The longest that a transaction may stay open before the log aborts it (`transaction.timeout.ms`). Ours
/// live for milliseconds; a worker that stands still longer than this is fenced.
pub(crate) const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

/// A transaction is committed once it holds this much, however young it is: a log in memory must be able to
/// hold it, and a reader waits for it.
const LARGEST_TRANSACTION: usize = 8 << 20;

/// The writers of one chain.
#[derive(Default)]
pub(crate) struct Writers {
    open: Vec<(usize, Box<dyn LogWriter>)>,
    bytes: usize,
    /// What the logs refused by rules of their own, of what was abandoned.
    refused: Vec<Refused>,
    /// When the open transaction began, at the earliest.
    began: Option<Instant>,
    /// True where it was open for longer than it may when the chain came back to it.
    overdue: bool,
}

impl Writers {
    /// Opens a writer on each of `connections`, which fences earlier ones of the same transactional id;
    /// without one it writes at once, and at least once.
    pub(crate) async fn open(
        &mut self,
        connections: &[usize],
        logs: &[(String, Arc<dyn Log>)],
        transactional_id: Option<&str>,
    ) -> Result<()> {
        for connection in connections {
            let (_, log) = logs.get(*connection).ok_or_else(|| Error::fatal("a sink has no connection"))?;
            let transactional_id =
                transactional_id.filter(|_| log.describe().transactional).map(str::to_owned);
            let options = WriterOptions { transactional_id, transaction_timeout: TRANSACTION_TIMEOUT };
            let writer = log.writer(options).await.map_err(|e| e.of(Part::Connection(*connection)))?;
            self.open.push((*connection, writer));
        }
        Ok(())
    }

    pub(crate) async fn append(&mut self, connection: usize, records: Append) -> Result<()> {
        self.comes_back();
        self.bytes += records.values.value_data().len() + 16 * records.values.offsets().len();
        match self.open.iter_mut().find(|(c, _)| *c == connection) {
            Some((_, writer)) => writer.append(records).await,
            None => Err(Error::retry("the writer is not open")),
        }
    }

    /// True where it writes to a connection.
    pub(crate) fn has(&self, connection: usize) -> bool {
        self.open.iter().any(|(open, _)| *open == connection)
    }

    /// True where a transaction is open that cannot have timed out yet.
    pub(crate) fn transaction_is_young(&self) -> bool {
        self.began.is_some_and(|began| began.elapsed() < TRANSACTION_TIMEOUT)
    }

    /// True where the transaction was open for longer than it may because the chain was long in coming back
    /// to it, not because its log was slow.
    pub(crate) fn overdue(&self) -> bool {
        self.overdue
    }

    fn comes_back(&mut self) {
        let began = *self.began.get_or_insert_with(Instant::now);
        self.overdue = began.elapsed() >= TRANSACTION_TIMEOUT;
    }

    /// True where the open transaction should be committed now.
    pub(crate) fn full(&self) -> bool {
        self.bytes >= LARGEST_TRANSACTION
    }

    /// Commits every writer, the one on `home` last and together with the positions. True where the positions
    /// went with it.
    pub(crate) async fn commit(
        &mut self,
        home: Option<usize>,
        positions: Option<GroupPositions>,
    ) -> Result<bool> {
        self.bytes = 0;
        self.comes_back();
        for (connection, writer) in &mut self.open {
            if Some(*connection) != home {
                writer.commit(None).await.map_err(|e| e.of(Part::Connection(*connection)))?;
            }
        }
        let Some((connection, writer)) = self.open.iter_mut().find(|(c, _)| Some(*c) == home) else {
            self.began = None;
            return Ok(false);
        };
        let with_positions = positions.is_some();
        writer.commit(positions).await.map_err(|e| e.of(Part::Connection(*connection)))?;
        self.began = None;
        Ok(with_positions)
    }

    /// Throws away what was not committed and lets the writers go; the next try opens new ones.
    pub(crate) async fn abandon(&mut self) {
        self.bytes = 0;
        self.began = None;
        self.overdue = false;
        for (_, mut writer) in self.open.drain(..) {
            if let Err(error) = writer.abort().await {
                tracing::debug!("abort: {error}");
            }
            self.refused.extend(writer.refused());
            if let Err(error) = writer.close().await {
                tracing::debug!("close: {error}");
            }
        }
    }

    /// The records that the logs refused by rules of their own, of what was abandoned.
    pub(crate) fn take_refused(&mut self) -> Vec<Refused> {
        std::mem::take(&mut self.refused)
    }

    /// Lets the writers go after the last commit.
    pub(crate) async fn close(&mut self) -> Result<()> {
        let mut result = Ok(());
        for (connection, writer) in self.open.drain(..) {
            result = result.and(writer.close().await.map_err(|e| e.of(Part::Connection(connection))));
        }
        result
    }
}
