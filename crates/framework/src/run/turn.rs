//! Whose turn it is: a source that cannot be shared, such as a file, is read by one worker at a time.
//!
//! The log's consumer groups do the election, nothing of our own does. All workers join one group for the
//! chain, on the single partition of the pipeline's positions; whoever is given it runs the chain, and the
//! others stand by. A worker that stops leaves the group, so another one takes over at once; one that dies is
//! replaced when the group has missed it. Beneath that the chain's transactional id still fences: a worker
//! that does not know yet that its turn is over cannot commit.

use std::sync::Arc;

use crate::error::Result;
use crate::log::{Group, Keeps, Log, LogReader, ReadEvent, ReaderOptions, Start, TopicSpec};

/// The topic of a pipeline's positions.
pub(crate) fn positions_topic(pipeline: &str) -> TopicSpec {
    TopicSpec {
        name: format!("{pipeline}.positions"),
        partitions: Some(1),
        create: true,
        keeps: Keeps::LastOfKey,
    }
}

/// A worker's place in the group of those that may run a chain.
pub(crate) struct Turn {
    log: Arc<dyn Log>,
    topic: TopicSpec,
    group: String,
    reader: Option<Box<dyn LogReader>>,
    /// True while it is this worker's turn.
    ours: bool,
}

/// How a turn ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// What is committed before the next question still counts.
    Revoked,
    /// Another worker may run the chain already.
    Lost,
}

impl Turn {
    /// `name` is the chain's, with its pipeline's.
    pub(crate) fn new(log: Arc<dyn Log>, pipeline: &str, name: &str) -> Self {
        Self { log, topic: positions_topic(pipeline), group: name.to_owned(), reader: None, ours: false }
    }

    /// Waits until it is this worker's turn. `stands_by` is called when another one's is it. Cancel-safe.
    pub(crate) async fn wait(&mut self, mut stands_by: impl FnMut()) -> Result<()> {
        while !self.ours {
            let Some(reader) = &mut self.reader else {
                self.log.ensure_topics(std::slice::from_ref(&self.topic)).await?;
                let options = ReaderOptions {
                    topics: vec![self.topic.name.clone()],
                    partitions: None,
                    group: Some(Group::new(&self.group)),
                    start: Start::Latest,
                    max_records: 1024,
                    max_bytes: 64 << 10,
                    headers: Vec::new(),
                };
                let reader = self.reader.insert(self.log.reader(options).await?);
                // Being given the partition is all that matters; whoever runs the chain reads its records by
                // itself.
                reader.pause(true);
                continue;
            };
            match reader.next().await? {
                ReadEvent::Assigned(partitions) if partitions.is_empty() => stands_by(),
                ReadEvent::Assigned(_) => self.ours = true,
                _ => {}
            }
        }
        Ok(())
    }

    /// Waits until the turn is over. Cancel-safe.
    pub(crate) async fn over(&mut self) -> Result<Over> {
        while let (true, Some(reader)) = (self.ours, &mut self.reader) {
            let over = match reader.next().await? {
                ReadEvent::Revoked(_) => Over::Revoked,
                ReadEvent::Lost(_) => Over::Lost,
                _ => continue,
            };
            self.ours = false;
            return Ok(over);
        }
        Ok(Over::Lost)
    }

    /// Leaves the group.
    pub(crate) async fn close(&mut self) -> Result<()> {
        self.ours = false;
        match self.reader.take() {
            Some(reader) => reader.close().await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::memory::MemoryLog;

    fn turn(log: &Arc<dyn Log>) -> Turn {
        Turn::new(log.clone(), "shop", "shop.rows")
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_two_has_the_turn_and_the_other_takes_it_when_that_one_leaves() {
        let log: Arc<dyn Log> = Arc::new(MemoryLog::default());
        let (mut first, mut second) = (turn(&log), turn(&log));
        first.wait(|| panic!("nobody else is there")).await.unwrap();
        let mut stood_by = false;
        {
            let waiting = second.wait(|| stood_by = true);
            tokio::pin!(waiting);
            loop {
                tokio::select! {
                    biased;
                    waited = &mut waiting => panic!("two have the turn: {waited:?}"),
                    // The join may make the group deal anew.
                    over = first.over() => { over.unwrap(); first.wait(|| ()).await.unwrap(); }
                    () = tokio::time::sleep(std::time::Duration::from_secs(60)) => break,
                }
            }
            first.close().await.unwrap();
            waiting.await.unwrap();
        }
        assert!(stood_by);
        second.close().await.unwrap();
    }
}
