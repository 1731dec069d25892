//! The chain's end of reading: one consumer a topic, one queue for all.
//!
//! One consumer a topic, because librdkafka's binding names the partition that has reached its end without
//! its topic.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use pipectl_framework::batch::Partition;
use pipectl_framework::error::{Error, Result};
use pipectl_framework::log::{Assignment, LogReader, Membership, Position, ReadEvent, ReaderOptions};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use tokio::sync::oneshot;

use super::assignment::{ReadContext, Standing, committed, list_of};
use super::blocking;
use super::consumer::{KnownGroups, Order, Setup, run, strangers};
use super::errors::error;
use super::handoff::{Handoff, Item};
use super::settings::KafkaSettings;
use super::topics;

/// How long closing may take before the thread is left to itself.
const CLOSE: Duration = Duration::from_secs(2);
/// The group of a reader without a group: librdkafka wants a name; nobody joins it and nothing is committed
/// to it.
const NO_GROUP: &str = "pipectl-without-group";

/// A reader of a [`KafkaLog`](super::KafkaLog).
#[derive(Debug)]
pub(super) struct KafkaReader {
    handoff: Arc<Handoff>,
    consumers: Vec<Handle>,
    in_group: bool,
    held: BTreeMap<Partition, Held>,
    /// How each consumer stands in its group with what the chain has been told that it has.
    standings: Vec<Option<Standing>>,
    /// Consumers whose revoked partitions the chain lets go of with its next question.
    release: Vec<usize>,
    ended: BTreeSet<usize>,
    paused: bool,
}

/// A partition that the chain has.
#[derive(Debug)]
struct Held {
    start: i64,
    next: i64,
    end: i64,
}

struct Handle {
    topic: Arc<str>,
    /// The thread alone keeps the consumer, so that dropping it, which may block, happens there.
    consumer: Weak<BaseConsumer<ReadContext>>,
    orders: Sender<Order>,
    closed: oneshot::Receiver<()>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.topic)
    }
}

impl Handle {
    fn consumer(&self) -> Result<Arc<BaseConsumer<ReadContext>>> {
        self.consumer.upgrade().ok_or_else(gone)
    }
}

fn gone() -> Error {
    Error::fatal("the thread that reads from Kafka has ended")
}

/// What stands behind a [`Membership`] of this log: the standing of each topic's consumer.
pub(super) struct Token {
    pub(super) parts: Vec<TokenPart>,
}

/// One consumer's standing.
pub(super) struct TokenPart {
    pub(super) topic: Arc<str>,
    pub(super) standing: Standing,
    consumer: Weak<BaseConsumer<ReadContext>>,
}

impl TokenPart {
    /// Commits positions outside a transaction. Blocks.
    pub(super) fn commit(&self, positions: &[Position]) -> Result<()> {
        let consumer = self.consumer.upgrade().ok_or_else(gone)?;
        commit_sync(&consumer, positions)
    }
}

fn commit_sync(consumer: &BaseConsumer<ReadContext>, positions: &[Position]) -> Result<()> {
    if positions.is_empty() {
        return Ok(());
    }
    list_of(positions)
        .and_then(|list| consumer.commit(&list, CommitMode::Sync))
        .map_err(|e| error("cannot commit positions", e))
}

impl KafkaReader {
    pub(super) fn open(
        settings: &KafkaSettings,
        options: &ReaderOptions,
        known_groups: &Arc<KnownGroups>,
    ) -> Result<Self> {
        let mut topics: Vec<Arc<str>> = options.topics.iter().map(|t| t.as_str().into()).collect();
        topics.sort_unstable();
        topics.dedup();
        if topics.is_empty() {
            return Err(Error::fatal("a reader of no topics"));
        }
        // Half for what waits for the chain, half for librdkafka's own queues.
        let max_bytes = options.max_bytes / 2;
        let handoff = Arc::new(Handoff::new(max_bytes.max(1)));
        let in_group = options.group.is_some();
        let all_topics: Arc<[Arc<str>]> = topics.iter().map(Arc::clone).collect();
        let group = options.group.as_ref();
        let name = group.map(|group| group.name.as_str());
        let mut config = settings.consumer(name.unwrap_or(NO_GROUP), max_bytes / topics.len());
        if let Some(group) = group {
            strangers::sign(&mut config, group);
        }
        let mut consumers = Vec::with_capacity(topics.len());
        for (number, topic) in topics.into_iter().enumerate() {
            let consumer: BaseConsumer<ReadContext> = config
                .create_with_context(ReadContext::new(&settings.brokers, name))
                .map_err(|e| error(&format!("cannot read topic `{topic}`"), e))?;
            let consumer = Arc::new(consumer);
            let (orders, taken) = channel();
            let (closing, closed) = oneshot::channel();
            consumers.push(Handle {
                topic: Arc::clone(&topic),
                consumer: Arc::downgrade(&consumer),
                orders,
                closed,
            });
            let setup = Setup {
                number,
                topic: Arc::clone(&topic),
                all_topics: Arc::clone(&all_topics),
                settings: settings.clone(),
                group: options.group.clone(),
                known_groups: Arc::clone(known_groups),
                in_group,
                partitions: options.partitions.clone(),
                start: options.start,
                max_records: options.max_records.max(1),
                headers: options.headers.clone(),
            };
            let handoff = Arc::clone(&handoff);
            std::thread::Builder::new()
                .name(format!("read {topic}"))
                .spawn(move || run(setup, consumer, handoff, taken, closing))
                .map_err(|e| Error::retry("cannot start a thread").caused_by(e))?;
        }
        Ok(Self {
            handoff,
            standings: vec![None; consumers.len()],
            consumers,
            in_group,
            held: BTreeMap::new(),
            release: Vec::new(),
            ended: BTreeSet::new(),
            paused: false,
        })
    }

    fn handle(&self, topic: &str) -> Option<(usize, &Handle)> {
        self.consumers.iter().enumerate().find(|(_, handle)| *handle.topic == *topic)
    }

    /// Notes what an item means, and makes an event of it where the chain has to know.
    fn hear(&mut self, item: Item) -> Result<Option<ReadEvent>> {
        Ok(match item {
            Item::Records { records, .. } => {
                if let (Some(held), Some(last)) =
                    (self.held.get_mut(&records.partition), records.offsets.last())
                {
                    held.next = last + 1;
                }
                Some(ReadEvent::Records(records))
            }
            Item::CaughtUp { partition } => {
                if let Some(held) = self.held.get_mut(&partition) {
                    held.end = held.next;
                }
                Some(ReadEvent::CaughtUp(vec![partition]))
            }
            Item::OutOfReach { partitions } => Some(ReadEvent::OutOfReach(partitions)),
            Item::Assigned { from, standing, assigned } => {
                self.standings[from] = standing;
                let mut assignments = Vec::with_capacity(assigned.len());
                for (assignment, end) in assigned {
                    let start = assignment.start;
                    self.held.insert(assignment.partition.clone(), Held { start, next: start, end });
                    assignments.push(assignment);
                }
                Some(ReadEvent::Assigned(assignments))
            }
            Item::Revoked { from, partitions } => {
                self.release.push(from);
                Some(ReadEvent::Revoked(self.dropped(partitions, from)))
            }
            Item::Lost { from, partitions } => {
                self.standings[from] = None;
                Some(ReadEvent::Lost(self.dropped(partitions, usize::MAX)))
            }
            Item::Gone { gone } => {
                for gone in &gone {
                    if let Some(held) = self.held.get_mut(&gone.partition) {
                        held.next = gone.to;
                    }
                }
                Some(ReadEvent::Gone(gone))
            }
            Item::Grown { topic, before, now } => Some(ReadEvent::Grown { topic, before, now }),
            Item::Ends { ends } => {
                for (partition, end) in ends {
                    if let Some(held) = self.held.get_mut(&partition) {
                        held.end = held.end.max(end);
                    }
                }
                None
            }
            Item::End { from } => {
                self.ended.insert(from);
                None
            }
            Item::Failed(failed) => return Err(failed),
        })
    }

    fn dropped(&mut self, partitions: Vec<Partition>, from: usize) -> Vec<Partition> {
        self.held.retain(|partition, _| !partitions.contains(partition));
        self.ended.remove(&from);
        partitions
    }
}

#[async_trait]
impl LogReader for KafkaReader {
    async fn next(&mut self) -> Result<ReadEvent> {
        for number in self.release.drain(..) {
            self.standings[number] = None;
            // A thread that has ended has let go of everything.
            let _ = self.consumers[number].orders.send(Order::Release);
        }
        loop {
            while let Some(item) = self.handoff.pop(self.paused) {
                if let Some(event) = self.hear(item)? {
                    return Ok(event);
                }
            }
            if self.ended.len() == self.consumers.len() {
                return Ok(ReadEvent::End);
            }
            self.handoff.pushed().await;
        }
    }

    fn membership(&self) -> Option<Membership> {
        let part = |(handle, standing): (&Handle, &Option<Standing>)| {
            let standing = standing.clone()?;
            let consumer = Weak::clone(&handle.consumer);
            Some(TokenPart { topic: Arc::clone(&handle.topic), standing, consumer })
        };
        let parts: Vec<_> = self.consumers.iter().zip(&self.standings).filter_map(part).collect();
        (self.in_group && !parts.is_empty()).then(|| Membership::new(Token { parts }))
    }

    async fn is_new(&mut self) -> Result<bool> {
        if !self.in_group {
            return Ok(false);
        }
        for handle in &self.consumers {
            let (consumer, topic) = (handle.consumer()?, Arc::clone(&handle.topic));
            let found = blocking(move || {
                let count = topics::partitions(&consumer, &consumer.context().voice, &topic)?.unwrap_or(0);
                let all: Vec<_> = (0..count as i32).map(|i| Partition::new(Arc::clone(&topic), i)).collect();
                committed(&consumer, &all).map_err(|e| error("cannot learn what is committed", e))
            });
            if found.await?.iter().any(Option::is_some) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn committed(&mut self) -> Result<Vec<Assignment>> {
        let mut all = Vec::with_capacity(self.held.len());
        for handle in &self.consumers {
            let partitions: Vec<Partition> =
                self.held.keys().filter(|partition| partition.source == handle.topic).cloned().collect();
            let found = if self.in_group {
                let (consumer, asked) = (handle.consumer()?, partitions.clone());
                blocking(move || {
                    committed(&consumer, &asked).map_err(|e| error("cannot learn what is committed", e))
                })
                .await?
            } else {
                vec![None; partitions.len()]
            };
            for (partition, committed) in partitions.into_iter().zip(found) {
                let began = self.held.get(&partition).map_or(0, |held| held.start);
                let start = committed.as_ref().map_or(began, |position| position.offset);
                all.push(Assignment { partition, committed, start });
            }
        }
        Ok(all)
    }

    async fn commit(&mut self, positions: &[Position]) -> Result<()> {
        if !self.in_group {
            return Ok(());
        }
        for (handle, standing) in self.consumers.iter().zip(&self.standings) {
            let of_topic: Vec<Position> =
                positions.iter().filter(|p| p.partition.source == handle.topic).cloned().collect();
            if standing.is_none() && !of_topic.is_empty() {
                let topic = &handle.topic;
                return Err(Error::abort(format!("topic `{topic}` has gone to other readers of the group")));
            }
            let consumer = handle.consumer()?;
            blocking(move || commit_sync(&consumer, &of_topic)).await?;
        }
        Ok(())
    }

    async fn seek(&mut self, partition: &Partition, offset: i64) -> Result<()> {
        let (true, Some((number, handle))) =
            (self.held.contains_key(partition), self.handle(&partition.source))
        else {
            return Err(Error::abort(format!("{partition} is not this reader's, it cannot seek there")));
        };
        let (done, answer) = oneshot::channel();
        let order = Order::Seek { partition: partition.index, offset, done };
        handle.orders.send(order).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())??;
        self.ended.remove(&number);
        if let Some(held) = self.held.get_mut(partition) {
            held.next = offset;
        }
        Ok(())
    }

    fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    async fn bound(&mut self) -> Result<()> {
        for handle in &self.consumers {
            let (done, answer) = oneshot::channel();
            handle.orders.send(Order::Bound { done }).map_err(|_| gone())?;
            answer.await.map_err(|_| gone())??;
        }
        Ok(())
    }

    fn lag(&self) -> u64 {
        self.held.values().map(|held| (held.end - held.next).max(0) as u64).sum()
    }

    async fn close(self: Box<Self>) -> Result<()> {
        let mut closed = Vec::with_capacity(self.consumers.len());
        for handle in self.consumers {
            let _ = handle.orders.send(Order::Close);
            closed.push((handle.topic, handle.closed));
        }
        let until = tokio::time::Instant::now() + CLOSE;
        for (topic, closed) in closed {
            if tokio::time::timeout_at(until, closed).await.is_err() {
                tracing::warn!(
                    "the consumer of topic `{topic}` takes more than {CLOSE:?} to close; it is left to itself"
                );
            }
        }
        Ok(())
    }
}
