//! Time across a repartition topic: what the chain's first part says of it, and how the second hears it. See
//! `time::speaker`.

use std::time::Duration;

use super::rows::NewRows;
use super::tree::Tree;
use super::writers::Writers;
use crate::batch::{Partition, Times};
use crate::error::{Part, Result};
use crate::graph::{Node, NodeBody, home};
use crate::metrics::StepMetrics;
use crate::time::{Speaker, Word};
use crate::window::{Restored, WindowOperator};

/// The channel of a partition through which the rows of the source's partition `origin` come.
pub(crate) fn channel(partition: &Partition, origin: i32) -> Partition {
    Partition::new(partition.to_string(), origin)
}

impl Tree {
    /// Rows come mixed from so many partitions: see [`channel`].
    pub(crate) fn set_channels(&mut self, channels: Option<u32>) {
        self.channels = channels;
    }

    /// The topic that is read is a repartition topic with so many partitions: it is known in which of them a
    /// named key is.
    pub(crate) fn set_homes(&mut self, partitions: u32) {
        for node in &mut self.nodes {
            let NodeBody::Window(window) = &mut node.body else { continue };
            let Some(key) = window.key().first().and_then(|name| node.input.field_with_name(name).ok())
            else {
                continue;
            };
            let homes = window.named_keys().iter().map(|named| home(named, key.data_type(), partitions));
            let homes = homes.collect();
            window.set_homes(homes);
        }
    }

    /// How many partitions each repartition topic has that is written here.
    pub(crate) fn set_targets(&mut self, partitions: &std::collections::HashMap<String, u32>) {
        for node in &mut self.nodes {
            if let NodeBody::Repartition(_, repartition, _) = &mut node.body {
                repartition.set_partitions(partitions.get(repartition.topic()).copied().unwrap_or(0));
            }
        }
    }

    pub(super) fn assign_window(
        window: &mut WindowOperator,
        partition: &Partition,
        channels: Option<u32>,
        restored: Option<Restored>,
        now: Duration,
    ) {
        match channels {
            None => window.assign(partition.clone(), restored, now),
            Some(channels) => {
                let channels = (0..channels).map(|origin| channel(partition, origin as i32)).collect();
                window.assign_channels(partition.clone(), channels, restored, now);
            }
        }
    }

    pub(super) fn assign_speakers(&mut self, partition: &Partition, now: Duration) {
        speakers(&mut self.nodes).for_each(|speaker| speaker.assign(partition.clone(), now));
    }

    pub(super) fn revoke_speakers(&mut self, partition: &Partition) {
        speakers(&mut self.nodes).for_each(|speaker| speaker.revoke(partition));
    }

    pub(super) fn observe_speakers(
        &mut self,
        partition: &Partition,
        times: &Times,
        now: Duration,
        wall: i64,
    ) {
        speakers(&mut self.nodes).for_each(|speaker| speaker.observe(partition, times, now, wall));
    }

    pub(super) fn speakers_caught_up(&mut self, partition: &Partition, caught_up: bool, now: Duration) {
        speakers(&mut self.nodes).for_each(|speaker| speaker.caught_up(partition, caught_up, now));
    }

    /// From when on there is something to say of time; `None` while no chain behind a topic waits for it.
    pub(crate) fn speaks_at(&mut self, now: Duration) -> Option<Duration> {
        speakers(&mut self.nodes).filter_map(|speaker| speaker.next(now)).min()
    }

    /// Says how far the source's partitions are, to each partition of each repartition topic. True where
    /// there was something to say: the positions must be in the same transaction then, or a worker that has
    /// lost its partitions without knowing could speak for them.
    pub(crate) async fn speak(&mut self, now: Duration, writers: &mut Writers) -> Result<bool> {
        let mut spoke = false;
        let wall = self.clock.now();
        for (index, node) in self.nodes.iter_mut().enumerate() {
            let NodeBody::Repartition(connection, repartition, speaker) = &mut node.body else { continue };
            let words = speaker.say(now);
            if words.is_empty() {
                continue;
            }
            spoke = true;
            for partition in 0..repartition.partitions() {
                let words = repartition.words(&words, partition as i32, wall);
                writers.append(*connection, words).await.map_err(|e| e.of(Part::Node(index)))?;
            }
        }
        Ok(spoke)
    }

    /// What the writers of a repartition topic have said in this partition; `replay` where it is read again.
    pub(crate) fn hear(&mut self, partition: &Partition, words: &[Word], replay: bool, now: Duration) {
        for node in &mut self.nodes {
            let NodeBody::Window(window) = &mut node.body else { continue };
            for word in words {
                let channel = channel(partition, word.origin);
                match (replay, word.greatest) {
                    (false, _) => window.says(partition, &channel, *word, now),
                    // Whether it was idle then is of no interest any more.
                    (true, Some(greatest)) => window.reached_before(partition, &channel, greatest),
                    (true, None) => {}
                }
            }
        }
    }

    /// A batch has been pushed that came through a channel and is read again.
    pub(crate) fn observe_again(&mut self, partition: &Partition, channel: &Partition, times: &Times) {
        let wall = self.clock.now();
        for node in &mut self.nodes {
            let NodeBody::Window(window) = &mut node.body else { continue };
            if let Some(greatest) = window.greatest(times, wall) {
                window.reached_before(partition, channel, greatest);
            }
        }
    }

    /// Writes a batch to a repartition topic.
    pub(super) async fn repartition(
        &mut self,
        index: usize,
        rows: &NewRows,
        writers: &mut Writers,
    ) -> Result<()> {
        let batch = rows.batch();
        let NodeBody::Repartition(connection, repartition, speaker) = &self.nodes[index].body else {
            return Ok(());
        };
        let now = self.clock.now();
        let records = repartition.rows(batch, &speaker.before(batch, now), now)?;
        writers.append(*connection, records).await?;
        self.wrote = true;
        StepMetrics::add(&self.metrics[index].in_flight, batch.rows() as u64);
        Ok(())
    }
}

fn speakers(nodes: &mut [Node]) -> impl Iterator<Item = &mut Speaker> {
    nodes.iter_mut().filter_map(|node| match &mut node.body {
        NodeBody::Repartition(_, _, speaker) => Some(speaker),
        _ => None,
    })
}
