//! What an input tells, and what the chain makes of it.

use super::Chain;
use super::commit::Progressed;
use crate::batch::Partition;
use crate::error::{Error, Part, Result};
use crate::log::Position;
use crate::metrics::StepMetrics;
use crate::plugin::SourceReject;
use crate::run::FailPoint;
use crate::run::input::InputEvent;
use crate::run::tree::apply_policy;

impl Chain {
    pub(super) async fn event(&mut self, event: InputEvent) -> Result<()> {
        let now = self.now();
        match event {
            InputEvent::Batch { batch, rejects, position } => {
                self.tree.caught_up(&batch.origin().partition, false, now);
                let times = batch.times().clone();
                let replay = batch.origin().replay;
                if !replay {
                    FailPoint::Read.pass();
                    StepMetrics::add(&self.steps[0].rows_in, (batch.rows() + rejects.len()) as u64);
                    StepMetrics::add(&self.steps[0].rows_out, batch.rows() as u64);
                }
                let partition = position.partition.clone();
                self.reject(&partition, &rejects).await?;
                self.tree.push(&self.outputs.main, batch, &mut self.writers).await?;
                if replay {
                    FailPoint::Replaying.pass();
                }
                // After the push: a row is not late because of a later one in its own batch.
                self.tree.observe(&partition, &times, now);
                let windowed = self.tree.has_windows() && self.home.is_none();
                let progressed = self
                    .positions
                    .entry(partition)
                    .or_insert_with(|| Progressed::new(position.clone(), None));
                if windowed {
                    progressed.history.push_back(position.clone());
                }
                progressed.read = position;
                self.dirty = true;
            }
            InputEvent::Assigned(assignments) => {
                for assignment in assignments {
                    // A plugin's source is announced anew after each failure; what it has committed stays known.
                    let known = self.positions.remove(&assignment.partition);
                    let (committed, note) = known.map_or((None, None), |p| (p.committed, p.note));
                    let windows = note.as_ref().map(|note| note.windows.clone());
                    let metadata = assignment.committed.as_ref().map(|p| p.metadata.clone()).or(windows);
                    if let Some(note) = &note {
                        self.input.skip(note.low);
                    }
                    if let Some(until) = self.tree.assign(&assignment.partition, metadata.as_deref())? {
                        self.input.replay(&assignment.partition, until);
                    }
                    let read = Position {
                        partition: assignment.partition.clone(),
                        offset: assignment.start,
                        metadata: String::new(),
                    };
                    let progressed =
                        Progressed { note, ..Progressed::new(read, assignment.committed.or(committed)) };
                    self.positions.insert(assignment.partition, progressed);
                }
                FailPoint::Assigned.pass();
            }
            InputEvent::Revoked(partitions) => {
                FailPoint::Revoked.pass();
                self.commit().await?;
                self.forget(&partitions);
            }
            InputEvent::Lost(partitions) => {
                self.forget(&partitions);
                let moved = Error::abort("the group gave this worker's partitions to another one");
                return Err(moved.of(Part::Source));
            }
            InputEvent::CaughtUp(partitions) => {
                for partition in partitions {
                    self.tree.caught_up(&partition, true, now);
                }
            }
            InputEvent::OutOfReach(partitions) => {
                for partition in partitions {
                    self.tree.caught_up(&partition, false, now);
                }
            }
            InputEvent::End => {}
        }
        Ok(())
    }

    pub(super) async fn reject(&mut self, partition: &Partition, rejects: &[SourceReject]) -> Result<()> {
        if rejects.is_empty() {
            return Ok(());
        }
        let seen = self.steps[0].reject(rejects.iter().map(|r| r.reason.as_str()));
        let place = format!("{}.{}", self.name, self.source_id);
        let now = self.environment.options.clock.now();
        match apply_policy(self.on_error, partition, rejects, seen, &place, now)? {
            Some(batch) => self.tree.push(&self.outputs.dead, batch, &mut self.writers).await,
            None => Ok(()),
        }
    }

    pub(super) fn forget(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            self.tree.revoke(partition);
            self.positions.remove(partition);
        }
    }
}
