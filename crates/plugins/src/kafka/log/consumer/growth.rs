//! Partitions that are added to a topic while it is read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{BACK_OFF, Begin, Poller};
use crate::kafka::log::handoff::Item;

/// How many partitions the topic is known to have.
pub(super) struct Growth {
    pub(super) known: u32,
    every: Duration,
    looked: Instant,
}

impl Growth {
    pub(super) fn new(every: Duration) -> Self {
        Self { known: 0, every, looked: Instant::now() }
    }
}

impl Poller {
    /// Partitions of these numbers were given: says so where the topic did not have them before.
    pub(super) fn notice_growth(&mut self, given: &[i32]) {
        let topic = Arc::clone(&self.setup.topic);
        let before = self.growth.known;
        let Some(most) = given.iter().max().map(|most| most.unsigned_abs() + 1).filter(|most| *most > before)
        else {
            return;
        };
        let now = self.count().unwrap_or(most).max(most);
        self.growth.known = now;
        self.handoff.push(Item::Grown { topic, before, now });
    }

    /// A group hears of new partitions by itself. A reader without one looks.
    pub(super) fn look_for_growth(&mut self) {
        if self.setup.in_group
            || self.setup.partitions.is_some()
            || !self.assigned
            || self.search.is_some()
            || self.growth.looked.elapsed() < self.growth.every
        {
            return;
        }
        self.growth.looked = Instant::now();
        let before = self.growth.known;
        let Some(now) = self.count().filter(|now| *now > before) else { return };
        if let Err(e) = self.take_in(before, now) {
            // It is looked for again.
            tracing::debug!("{}: new partitions cannot be read yet: {e}", self.doing());
        }
    }

    /// How many partitions the topic has, where the brokers tell.
    fn count(&self) -> Option<u32> {
        let metadata = self.consumer.fetch_metadata(Some(&self.setup.topic), BACK_OFF).ok()?;
        let found = metadata.topics().iter().find(|found| found.name() == &*self.setup.topic)?;
        let led = found.error().is_none() && found.partitions().iter().all(|p| p.leader() >= 0);
        led.then(|| found.partitions().len() as u32)
    }

    /// Tells librdkafka to read the partitions that it has, each at the next record, and these beside them.
    pub(super) fn assign_again(&mut self, more: &[Begin]) -> Result<(), KafkaError> {
        let topic = &self.setup.topic;
        let mut list = TopicPartitionList::new();
        for part in self.parts.iter().flatten() {
            list.add_partition_offset(topic, part.partition.index, Offset::Offset(part.next))?;
        }
        for Begin { assignment, .. } in more {
            list.add_partition_offset(topic, assignment.partition.index, Offset::Offset(assignment.start))?;
        }
        self.consumer.assign(&list)?;
        if self.paused {
            self.consumer.pause(&list)
        } else {
            self.consumer.pause(&self.list(|part| part.done))
        }
    }

    /// Reads the new partitions beside those that it has.
    fn take_in(&mut self, before: u32, now: u32) -> Result<(), KafkaError> {
        let added: Vec<i32> = (before.cast_signed()..now.cast_signed()).collect();
        let begins = self.starts_of(&added)?;
        self.assign_again(&begins)?;
        self.take_up(&begins);
        self.tell(begins);
        Ok(())
    }
}
