//! The thread that polls one topic.
//!
//! It waits for one message, takes all that is there, and hands it on in columns, so that a quiet topic has
//! no delay and a busy one large batches. It polls whatever the chain does: a slow chain makes it stop
//! taking, not leave its group.

mod ends;
mod growth;
mod overtaken;
mod search;
pub(super) mod strangers;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use pipectl_framework::batch::Partition;
use pipectl_framework::error::{Error, Result};
use pipectl_framework::log::{Group, Start};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::oneshot;

use self::ends::{Bound, Reach};
use self::growth::Growth;
use self::search::Search;
pub(super) use self::strangers::KnownGroups;
use super::assignment::{Begin, ReadContext, Rebalance, Standing, TIMEOUT, passes, settling, starts};
use super::columns::Columns;
use super::errors::{error, error_of};
use super::handoff::{Handoff, Item, RECORD_BYTES};
use super::settings::KafkaSettings;
use super::topics;

/// How long a poll waits for the first message: the longest that an order of the reader waits.
const WAIT: Duration = Duration::from_millis(10);
/// The most bytes of keys and values in a batch.
const BATCH_BYTES: usize = 4 << 20;
/// The most messages between two looks at anything else.
const SWEEP: usize = 32_768;
/// How long the chain may keep partitions that shall go; the group waits no longer than
/// `max.poll.interval.ms`.
const HOLD: Duration = Duration::from_secs(30);
/// A chain that takes nothing for so long gets its partitions paused, so that polling needs to take nothing.
const STALL: Duration = Duration::from_secs(1);
/// How long to wait after a failure before trying again.
const BACK_OFF: Duration = Duration::from_millis(500);

/// What the reader asks of the thread.
#[derive(Debug)]
pub(super) enum Order {
    /// The chain is done with the partitions that were revoked.
    Release,
    /// Go on at this offset.
    Seek { partition: i32, offset: i64, done: oneshot::Sender<Result<()>> },
    /// Read to where each partition ends now.
    Bound { done: oneshot::Sender<Result<()>> },
    /// Leave.
    Close,
}

/// What the thread is made with.
pub(super) struct Setup {
    /// This consumer's number among the reader's.
    pub(super) number: usize,
    pub(super) topic: Arc<str>,
    /// Those of the reader: its consumers are in one group.
    pub(super) all_topics: Arc<[Arc<str>]>,
    pub(super) settings: KafkaSettings,
    pub(super) group: Option<Group>,
    pub(super) known_groups: Arc<KnownGroups>,
    pub(super) in_group: bool,
    /// Without a group: the partitions to read, where that is not all of them.
    pub(super) partitions: Option<Vec<i32>>,
    pub(super) start: Start,
    pub(super) max_records: usize,
    /// The headers that are wanted, by name.
    pub(super) headers: Vec<String>,
}

#[derive(Debug)]
struct Part {
    partition: Partition,
    columns: Columns,
    /// The next offset to take: what is below has been taken already.
    next: i64,
    /// True while all that was there has been taken.
    at_end: bool,
    /// True once it is read to its bound.
    done: bool,
}

/// The thread's state.
struct Poller {
    setup: Setup,
    consumer: Arc<BaseConsumer<ReadContext>>,
    handoff: Arc<Handoff>,
    orders: Receiver<Order>,
    /// The partitions held, at their numbers.
    parts: Vec<Option<Part>>,
    /// Partitions that the group has given, and that have no starts yet.
    given: Option<Vec<i32>>,
    /// How this consumer stands in its group with what it was given last.
    standing: Option<Standing>,
    retry_at: Option<Instant>,
    /// Since when the brokers do not agree on who leads these partitions.
    unsettled: Option<Instant>,
    /// Since when the chain holds what shall go.
    releasing: Option<Instant>,
    assigned: bool,
    /// Where each partition ends, once bounded.
    bound: Option<Bound>,
    ended: bool,
    paused: bool,
    stalled: Option<Instant>,
    failed_at: Option<Instant>,
    reach: Reach,
    growth: Growth,
    /// Since when it is not known that all members of the group read the same topics, and count them alike.
    strange: Option<Instant>,
    /// What the chain will be told of once it is known where it begins.
    search: Option<Search>,
    /// When to look what a reader can go on with that found its offset gone.
    overtaken: Option<Instant>,
}

/// Runs the thread until it is told to close; `closed` is dropped when the consumer has left its group.
pub(super) fn run(
    setup: Setup,
    consumer: Arc<BaseConsumer<ReadContext>>,
    handoff: Arc<Handoff>,
    orders: Receiver<Order>,
    closed: oneshot::Sender<()>,
) {
    let told = Arc::clone(&handoff);
    let growth = Growth::new(setup.settings.refresh());
    let mut poller = Poller {
        setup,
        consumer,
        handoff,
        orders,
        parts: Vec::new(),
        given: None,
        standing: None,
        retry_at: None,
        unsettled: None,
        releasing: None,
        assigned: false,
        bound: None,
        ended: false,
        paused: false,
        stalled: None,
        failed_at: None,
        reach: Reach::new(),
        growth,
        strange: None,
        search: None,
        overtaken: None,
    };
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        if poller.open() {
            poller.go_on();
        }
        poller.consumer.context().close();
    }));
    if ran.is_err() {
        told.push(Item::Failed(Error::fatal("the thread that reads from Kafka broke off")));
    }
    drop(closed);
}

impl Poller {
    /// Sees that the topic is there, and joins the group or takes all partitions; false where it shall close.
    fn open(&mut self) -> bool {
        loop {
            match topics::partitions(&self.consumer, &self.consumer.context().voice, &self.setup.topic) {
                Ok(Some(count)) if self.setup.in_group => match self.consumer.subscribe(&[&self.setup.topic])
                {
                    Ok(()) => {
                        self.growth.known = count;
                        return true;
                    }
                    Err(e) => self.fail(error(&self.doing(), e)),
                },
                Ok(Some(count)) => {
                    let wanted =
                        |index: &i32| self.setup.partitions.as_ref().is_none_or(|some| some.contains(index));
                    self.given = Some((0..count as i32).filter(wanted).collect());
                    self.growth.known = count;
                    return true;
                }
                Ok(None) => self.fail(topics::unknown(&self.setup.topic)),
                Err(failed) => self.fail(failed),
            }
            match self.orders.recv_timeout(BACK_OFF) {
                Ok(Order::Close) | Err(RecvTimeoutError::Disconnected) => return false,
                Ok(Order::Bound { done } | Order::Seek { done, .. }) => {
                    let _ = done.send(Err(self.consumer.context().voice.unreachable(&self.doing(), None)));
                }
                Ok(Order::Release) | Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn go_on(&mut self) {
        loop {
            loop {
                match self.orders.try_recv() {
                    Ok(Order::Close) | Err(TryRecvError::Disconnected) => return,
                    Ok(order) => self.obey(order),
                    Err(TryRecvError::Empty) => break,
                }
            }
            self.rebalance();
            self.wait_for_outcomes();
            self.look_at_ends();
            self.look_for_growth();
            self.go_on_behind_what_is_gone();
            if self.may_take() {
                self.sweep();
            }
        }
    }

    fn doing(&self) -> String {
        format!("cannot read topic `{}`", self.setup.topic)
    }

    /// Tells the chain of a failure, not more often than it could do anything about it.
    fn fail(&mut self, failed: Error) {
        if self.failed_at.is_some_and(|at| at.elapsed() < BACK_OFF) {
            return;
        }
        self.failed_at = Some(Instant::now());
        self.handoff.push(Item::Failed(failed));
    }

    // Messages.

    /// Whether the chain has room. One that has taken nothing for long gets its partitions paused; they are
    /// polled then, so that this consumer stays in its group.
    fn may_take(&mut self) -> bool {
        if self.handoff.wait_for_room(WAIT) {
            self.stalled = None;
            if self.paused {
                self.paused = false;
                let list = self.list(|part| !part.done);
                if let Err(e) = self.consumer.resume(&list) {
                    self.fail(error(&self.doing(), e));
                }
            }
            return true;
        }
        let since = *self.stalled.get_or_insert_with(Instant::now);
        if since.elapsed() < STALL {
            return false;
        }
        if !self.paused {
            self.paused = true;
            if let Err(e) = self.consumer.pause(&self.list(|_| true)) {
                self.fail(error(&self.doing(), e));
            }
        }
        true
    }

    /// Waits for one message, takes all that is there, and hands it on.
    fn sweep(&mut self) {
        let consumer = Arc::clone(&self.consumer);
        let (mut wait, mut taken) = (WAIT, false);
        for _ in 0..SWEEP {
            match consumer.poll(wait) {
                None => break,
                Some(Ok(message)) => {
                    taken = true;
                    self.take(&message);
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => self.reached_end(partition),
                Some(Err(e)) => self.trouble(&e),
            }
            wait = Duration::ZERO;
        }
        if taken {
            self.reach.heard();
        }
        for index in 0..self.parts.len() {
            self.hand_on(index);
        }
    }

    fn take(&mut self, message: &BorrowedMessage<'_>) {
        let (index, offset) = (message.partition() as usize, message.offset());
        if self.searches(index, Some((offset, message.timestamp().to_millis()))) {
            return;
        }
        let Some(Some(part)) = self.parts.get_mut(index) else { return };
        // What is below was taken already: a partition that was paused is fetched again.
        if self.releasing.is_some() || part.done || offset < part.next {
            return;
        }
        let bound = self.bound.as_ref().and_then(|bound| bound.ends.get(index)).copied();
        if bound.is_none_or(|bound| offset < bound) {
            part.next = offset + 1;
            part.at_end = false;
            part.columns.push(message);
            if part.columns.len() >= self.setup.max_records || part.columns.bytes() >= BATCH_BYTES {
                self.hand_on(index);
            }
        }
        if bound.is_some_and(|bound| offset + 1 >= bound) {
            self.finish(index);
        }
    }

    fn hand_on(&mut self, index: usize) {
        let Some(Some(part)) = self.parts.get_mut(index) else { return };
        if part.columns.len() > 0 {
            let bytes = part.columns.bytes() + part.columns.len() * RECORD_BYTES;
            let records = part.columns.take(&part.partition);
            self.handoff.push(Item::Records { records, bytes });
        }
    }

    fn reached_end(&mut self, partition: i32) {
        let index = partition as usize;
        if self.searches(index, None) {
            return;
        }
        self.hand_on(index);
        let Some(Some(part)) = self.parts.get_mut(index) else { return };
        if self.releasing.is_some() || part.done {
            return;
        }
        part.at_end = true;
        self.handoff.push(Item::CaughtUp { partition: part.partition.clone() });
        if self.bound.as_ref().is_some_and(|bound| bound.decided) {
            self.finish(index);
        }
    }

    /// The partition is read to its bound.
    fn finish(&mut self, index: usize) {
        self.hand_on(index);
        let Some(Some(part)) = self.parts.get_mut(index) else { return };
        part.done = true;
        if !part.at_end {
            self.handoff.push(Item::CaughtUp { partition: part.partition.clone() });
        }
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.setup.topic, index as i32);
        if let Err(e) = self.consumer.pause(&list) {
            self.fail(error(&self.doing(), e));
        }
        self.check_end();
    }

    fn check_end(&mut self) {
        let settled =
            self.assigned && self.releasing.is_none() && self.given.is_none() && self.search.is_none();
        if self.bound.is_some() && settled && !self.ended && self.parts.iter().flatten().all(|p| p.done) {
            self.ended = true;
            self.handoff.push(Item::End { from: self.setup.number });
        }
    }

    /// An error that a poll gave.
    fn trouble(&mut self, e: &KafkaError) {
        let Some(code) = e.rdkafka_error_code() else { return };
        match code {
            RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition => {
                // Also said while brokers do not know of a new topic yet.
                let voice = &self.consumer.context().voice;
                if let Ok(None) = topics::partitions(&self.consumer, voice, &self.setup.topic) {
                    self.fail(topics::unknown(&self.setup.topic));
                }
            }
            // Without a group nothing of the one named for librdkafka's sake matters.
            RDKafkaErrorCode::GroupAuthorizationFailed if !self.setup.in_group => {}
            RDKafkaErrorCode::AutoOffsetReset => {
                self.overtaken.get_or_insert_with(Instant::now);
            }
            RDKafkaErrorCode::PollExceeded => {
                tracing::warn!(
                    "{}: this process stood still for too long; its group goes on without it",
                    self.doing()
                );
            }
            code if passes(code) => tracing::debug!("{}: {code}", self.doing()),
            code => {
                let refusal = self.consumer.context().voice.refusal();
                self.fail(refusal.unwrap_or_else(|| error_of(code, &format!("{}: {code}", self.doing()))));
            }
        }
    }

    // Partitions.

    fn list(&self, which: impl Fn(&Part) -> bool) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for part in self.parts.iter().flatten().filter(|part| which(part)) {
            list.add_partition(&self.setup.topic, part.partition.index);
        }
        list
    }

    fn held(&self) -> Vec<Partition> {
        self.parts.iter().flatten().map(|part| part.partition.clone()).collect()
    }

    /// Deals with what the group has decided.
    fn rebalance(&mut self) {
        while let Some(rebalance) = self.consumer.context().next_rebalance() {
            match rebalance {
                Rebalance::Assign(partitions, standing) => {
                    self.standing = standing;
                    (self.given, self.retry_at, self.unsettled) = (Some(partitions), None, None);
                }
                Rebalance::Revoke { lost } => self.revoke(lost),
            }
        }
        if let Some(since) = self.releasing {
            let late = since.elapsed() > HOLD;
            if late {
                tracing::warn!(
                    "{}: the chain did not let go of its partitions within {HOLD:?}",
                    self.doing()
                );
            }
            if late || self.consumer.assignment_lost() {
                self.handoff.push(Item::Lost { from: self.setup.number, partitions: self.held() });
                self.let_go();
            }
        }
        if self.retry_at.is_none_or(|at| at <= Instant::now())
            && let Some(partitions) = self.given.take()
        {
            if !self.is_among_its_own() {
                (self.given, self.retry_at) = (Some(partitions), Some(Instant::now() + BACK_OFF));
                return;
            }
            let Err(e) = self.assign(&partitions) else { return };
            let now = Instant::now();
            if settling(&e) && now < *self.unsettled.get_or_insert(now) + TIMEOUT {
                (self.given, self.retry_at) = (Some(partitions), Some(now + WAIT));
                return;
            }
            (self.given, self.retry_at) = (Some(partitions), Some(now + BACK_OFF));
            self.fail(error(&self.doing(), e));
        }
    }

    fn assign(&mut self, indexes: &[i32]) -> Result<(), KafkaError> {
        let topic = &self.setup.topic;
        let begins = self.starts_of(indexes)?;
        let mut list = TopicPartitionList::with_capacity(begins.len());
        for Begin { assignment, .. } in &begins {
            list.add_partition_offset(topic, assignment.partition.index, Offset::Offset(assignment.start))?;
        }
        self.consumer.assign(&list)?;
        self.parts.clear();
        self.assigned = true;
        if let Err(failed) = self.search(begins) {
            self.fail(failed);
        }
        Ok(())
    }

    fn starts_of(&self, indexes: &[i32]) -> Result<Vec<Begin>, KafkaError> {
        let topic = &self.setup.topic;
        let partitions: Vec<Partition> =
            indexes.iter().map(|index| Partition::new(Arc::clone(topic), *index)).collect();
        let (in_group, start) = (self.setup.in_group, self.setup.start);
        starts(&self.consumer, topic, &partitions, in_group, start, self.growth.known)
    }

    /// Holds partitions from now on.
    fn take_up(&mut self, begins: &[Begin]) {
        for Begin { assignment, .. } in begins {
            let index = assignment.partition.index as usize;
            self.parts.resize_with(self.parts.len().max(index + 1), || None);
            self.parts[index] = Some(Part {
                partition: assignment.partition.clone(),
                columns: Columns::new(&self.setup.headers),
                next: assignment.start,
                at_end: false,
                done: false,
            });
        }
    }

    /// Tells the chain of partitions that it has from now on.
    fn tell(&mut self, begins: Vec<Begin>) {
        let (mut assigned, mut all_gone) = (Vec::with_capacity(begins.len()), Vec::new());
        let given: Vec<i32> = begins.iter().map(|begin| begin.assignment.partition.index).collect();
        for Begin { assignment, end, gone, .. } in begins {
            assigned.push((assignment, end));
            all_gone.extend(gone);
        }
        let (from, standing) = (self.setup.number, self.standing.clone());
        self.handoff.push(Item::Assigned { from, standing, assigned });
        if !all_gone.is_empty() {
            self.handoff.push(Item::Gone { gone: all_gone });
        }
        self.notice_growth(&given);
        self.finish_bounded();
    }

    fn revoke(&mut self, lost: bool) {
        let partitions = self.held();
        if self.given.take().is_some() || self.search.is_some() || partitions.is_empty() {
            // The chain has not heard of these.
            self.let_go();
            return;
        }
        self.handoff.forget(self.setup.number, &partitions);
        if lost {
            self.handoff.push(Item::Lost { from: self.setup.number, partitions });
            self.let_go();
        } else {
            self.handoff.push(Item::Revoked { from: self.setup.number, partitions });
            self.releasing = Some(Instant::now());
        }
    }

    fn let_go(&mut self) {
        if let Err(e) = self.consumer.unassign() {
            self.fail(error(&self.doing(), e));
        }
        self.parts.clear();
        self.releasing = None;
        self.assigned = false;
        self.ended = false;
        self.paused = false;
        (self.search, self.overtaken) = (None, None);
        self.reach = Reach::new();
    }

    // Orders.

    fn obey(&mut self, order: Order) {
        match order {
            Order::Release => {
                if self.releasing.is_some() {
                    self.let_go();
                }
            }
            Order::Seek { partition, offset, done } => {
                let sought = self.seek(partition, offset);
                let _ = done.send(sought);
            }
            Order::Bound { done } => {
                let bounded = self.set_bound();
                let _ = done.send(bounded);
            }
            Order::Close => {}
        }
    }

    fn seek(&mut self, index: i32, offset: i64) -> Result<()> {
        let topic = Arc::clone(&self.setup.topic);
        let held = self.releasing.is_none() && matches!(self.parts.get(index as usize), Some(Some(_)));
        if !held {
            return Err(Error::abort(format!("{topic}[{index}] is not this reader's, it cannot seek there")));
        }
        self.librdkafka_seek(index, offset.max(0))?;
        let Some(Some(part)) = self.parts.get_mut(index as usize) else { return Ok(()) };
        part.columns.clear();
        (part.next, part.at_end) = (offset, false);
        let partition = part.partition.clone();
        self.handoff.forget(self.setup.number, std::slice::from_ref(&partition));
        self.ended = false;
        if std::mem::replace(&mut part.done, false) && !self.paused {
            let mut list = TopicPartitionList::new();
            list.add_partition(&topic, index);
            self.consumer.resume(&list).map_err(|e| error(&self.doing(), e))?;
        }
        self.finish_bounded();
        Ok(())
    }

    /// A partition that has just been assigned may not be ready to seek in.
    fn librdkafka_seek(&mut self, index: i32, offset: i64) -> Result<()> {
        let until = Instant::now() + TIMEOUT;
        loop {
            let sought = self.consumer.seek(&self.setup.topic, index, Offset::Offset(offset), TIMEOUT);
            match sought {
                Ok(()) => return Ok(()),
                Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(10)),
                Err(e) => return Err(error(&self.doing(), e)),
            }
        }
    }
}
