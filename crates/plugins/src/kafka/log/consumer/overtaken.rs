//! A reader whose next record is not there any more: retention has overtaken it, or its topic was made anew.

use std::time::Instant;

use pipectl_framework::error::Error;
use pipectl_framework::log::Gone;

use super::{BACK_OFF, Poller};
use crate::kafka::log::assignment::{TIMEOUT, bounds, settling};
use crate::kafka::log::errors::error;
use crate::kafka::log::handoff::Item;

impl Poller {
    /// librdkafka has stopped reading a partition, and does not say which: goes on with each at the oldest
    /// record that is there.
    pub(super) fn go_on_behind_what_is_gone(&mut self) {
        if self.overtaken.is_none_or(|at| at > Instant::now()) || self.releasing.is_some() {
            return;
        }
        let held: Vec<(i32, i64)> =
            self.parts.iter().flatten().filter(|p| !p.done).map(|p| (p.partition.index, p.next)).collect();
        let indexes: Vec<i32> = held.iter().map(|(index, _)| *index).collect();
        let found = match bounds(&self.consumer, &self.setup.topic, &indexes, TIMEOUT) {
            Ok(found) => found,
            Err(e) => {
                self.overtaken = Some(Instant::now() + BACK_OFF);
                if !settling(&e) {
                    let failed = error(&self.doing(), e);
                    self.fail(failed);
                }
                return;
            }
        };
        self.overtaken = None;
        for ((index, next), (low, high)) in held.into_iter().zip(found) {
            if next > high {
                // The chain asks anew what is committed, and hears then what is lost.
                let topic = &self.setup.topic;
                let anew =
                    format!("{topic}[{index}] was made anew while it was read: it ends before offset {next}");
                return self.fail(
                    Error::abort(anew).remedy("stop a pipeline before a topic that it reads is deleted"),
                );
            }
            if next < low {
                self.hand_on(index as usize);
                let Some(Some(part)) = self.parts.get_mut(index as usize) else { continue };
                part.next = low;
                let gone = Gone { partition: part.partition.clone(), from: next, to: low };
                self.handoff.push(Item::Gone { gone: vec![gone] });
            }
        }
        // A seek would be refused: what librdkafka has stopped has to be begun again.
        if let Err(e) = self.assign_again(&[]) {
            // The group may have taken the partitions, which the next poll tells.
            tracing::debug!("{}: {e}", self.doing());
            self.overtaken = Some(Instant::now() + BACK_OFF);
            return;
        }
        self.finish_bounded();
    }
}
