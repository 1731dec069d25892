//! The writing end.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::commit::{Identity, Pending};
use super::room::Room;
use super::state::{Shared, State};
use super::storage::{Segment, split};
use crate::error::{Error, Result};
use crate::log::{Append, GroupPositions, LogWriter, WriterOptions};

/// How long a writer waits for a commit when nothing else can give it room.
const PATIENCE: Duration = Duration::from_secs(30);

/// A writer of a [`MemoryLog`](super::MemoryLog). What a transaction has appended waits here, outside the
/// topics, until it commits.
#[derive(Debug)]
pub(super) struct MemoryWriter {
    shared: Arc<Shared>,
    identity: Option<Identity>,
    pending: Pending,
}

impl MemoryWriter {
    pub(super) async fn open(shared: Arc<Shared>, options: WriterOptions) -> Result<Self> {
        // What an earlier writer of this id is committing is decided first, and it commits nothing more.
        let keeping = shared.undoubted().await?;
        let identity = options.transactional_id.map(|id| {
            let epoch = shared.lock().new_epoch(&id);
            (id, epoch)
        });
        drop(keeping);
        // A fenced writer that waits for room finds out.
        shared.wake();
        Ok(Self { shared, identity, pending: Vec::new() })
    }

    fn check(&self, state: &State) -> Result<()> {
        self.identity.as_ref().map_or(Ok(()), |(id, epoch)| state.check_epoch(id, *epoch))
    }

    /// Waits until `bytes` may come into a topic, beside what this transaction already has for it.
    async fn wait_for_room(&mut self, topic: usize, bytes: usize) -> Result<()> {
        let mine = |(of, _, segment): &(usize, i32, Segment)| if *of == topic { segment.bytes() } else { 0 };
        let bytes = bytes + self.pending.iter().map(mine).sum::<usize>();
        let mut stuck = None;
        loop {
            let mut bell = std::pin::pin!(self.shared.bell());
            bell.as_mut().enable();
            let room = {
                let mut state = self.shared.lock();
                self.check(&state)?;
                state.room(topic, bytes)
            };
            match room {
                Room::Yes => return Ok(()),
                Room::Wait => {
                    stuck = None;
                    bell.await;
                }
                Room::Stuck | Room::Absent => {
                    let since = *stuck.get_or_insert_with(Instant::now);
                    if tokio::time::timeout_at(since + PATIENCE, bell).await.is_err() {
                        return Err(self.no_room(topic, room));
                    }
                }
            }
        }
    }

    fn no_room(&self, topic: usize, room: Room) -> Error {
        let state = self.shared.lock();
        let name = state.topics.get(topic).map(|topic| topic.name.to_string()).unwrap_or_default();
        if room == Room::Absent {
            let absent = state.absent_readers(topic);
            return Error::fatal(format!(
                "topic `{name}` of the embedded log is full of records that {absent} has not read, and nobody reads as that \
                 here"
            ))
            .remedy(
                "run the pipeline that reads it, raise `topic_bytes` of the embedded log, or remove its directory to begin \
                 anew",
            );
        }
        Error::fatal(format!(
            "topic `{name}` of the embedded log is full of records that its readers have been given but have not \
             committed, because their windows are still open"
        ))
        .remedy("raise `topic_bytes` of the embedded log, make the windows shorter, or use a Kafka cluster")
    }
}

#[async_trait]
impl LogWriter for MemoryWriter {
    async fn append(&mut self, records: Append) -> Result<()> {
        let (topic, parts) = {
            let mut state = self.shared.lock();
            self.check(&state)?;
            let max = state.options.max_record_bytes;
            let topic = state.topic(&records.topic)?;
            let of = &mut state.topics[topic];
            let (partitions, keyless) = (of.partitions.len() as u32, of.next_keyless());
            drop(state);
            (topic, split(&records, partitions, keyless, max)?)
        };
        self.wait_for_room(topic, parts.iter().map(|(_, segment)| segment.bytes()).sum()).await?;
        let parts = parts.into_iter().map(|(index, segment)| (topic, index, segment));
        if self.identity.is_some() {
            self.pending.extend(parts);
        } else {
            self.shared.commit(None, parts.collect(), None).await?;
        }
        Ok(())
    }

    async fn commit(&mut self, positions: Option<GroupPositions>) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        self.shared.commit(self.identity.as_ref(), pending, positions.as_ref()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.pending.clear();
        self.check(&self.shared.lock())
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
