//! What an input tells, and what the chain makes of it.

use std::collections::BTreeMap;

use super::commit::Progressed;
use super::{Chain, Notice};
use crate::batch::{Batch, Partition};
use crate::error::{Error, Part, Result};
use crate::log::{Assignment, Gone, Position, Start};
use crate::metrics::{State, StepMetrics};
use crate::plugin::SourceReject;
use crate::run::FailPoint;
use crate::run::changelog::{self, Kept, Progress};
use crate::run::input::InputEvent;
use crate::run::notes::{InChangelog, Matched, Notes};
use crate::run::policy;

/// How much of a batch an event has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of it, or its end.
    Whole,
    /// The rest is still to come.
    Beginning,
}

impl Chain {
    /// Takes an event in; of a batch, the beginning or all of it.
    pub(super) async fn event(&mut self, event: InputEvent, extent: Extent) -> Result<()> {
        let now = self.now();
        if matches!(event, InputEvent::Batch { .. } | InputEvent::CaughtUp(_))
            && self.metrics.standing.retries()
        {
            self.stands(State::Runs);
        }
        match event {
            InputEvent::Batch { batch, rejects, left_out, position } => {
                self.caught_up(&batch.origin().partition, false);
                let read = batch.read_times().clone();
                let here = batch.seen();
                let replay = batch.origin().replay;
                let channel = batch.has_channel().then(|| batch.channel().clone());
                if !replay {
                    FailPoint::Read.pass();
                    self.tree.is_replayed(&batch.origin().partition, now);
                }
                if !replay {
                    let records = batch.rows() + rejects.len() + left_out;
                    StepMetrics::add(&self.steps[0].rows_in, records as u64);
                    StepMetrics::add(&self.steps[0].rows_out, batch.rows() as u64);
                    StepMetrics::add(&self.steps[0].filtered, left_out as u64);
                }
                let partition = position.partition.clone();
                self.reject(&batch, &rejects).await?;
                self.tree.push(&self.outputs.main, batch, &mut self.writers).await?;
                if replay {
                    FailPoint::Replaying.pass();
                }
                // After the push: a row is not late because of a later one in its own batch.
                match channel {
                    None => self.tree.observe((&partition, &partition), &read, &here, now),
                    Some(channel) if !replay => self.tree.observe((&channel, &partition), &read, &here, now),
                    Some(channel) => self.tree.observe_again(&partition, &channel, &read),
                }
                let windowed = self.tree.has_windows() && self.home.is_none();
                let progressed = self
                    .positions
                    .entry(partition)
                    .or_insert_with(|| Progressed::new(position.clone(), None));
                match extent {
                    // A plugin's source has no position in the middle of a batch: its windows know by offsets
                    // what they have.
                    Extent::Beginning if self.home.is_none() => progressed.read.offset = position.offset,
                    Extent::Beginning => progressed.read = position,
                    Extent::Whole => {
                        if windowed {
                            progressed.remember(position.clone());
                        }
                        progressed.read = position;
                    }
                }
                self.dirty = true;
            }
            InputEvent::Words { words, position, replay } => {
                self.caught_up(&position.partition, false);
                self.tree.hear(&position.partition, &words, replay, now);
                if let Some(progressed) = self.positions.get_mut(&position.partition) {
                    progressed.read = position;
                }
                self.dirty = true;
            }
            InputEvent::Assigned(assignments) => self.assigned(assignments).await?,
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
                    self.caught_up(&partition, true);
                }
            }
            InputEvent::OutOfReach(partitions) => {
                self.stands(State::Retries { error: "the log of its source is out of reach".to_owned() });
                for partition in partitions {
                    self.caught_up(&partition, false);
                }
            }
            InputEvent::Gone(gone) => gone.into_iter().for_each(|gone| self.is_gone(gone)),
            InputEvent::Grown { topic, before, now } => {
                let (chain, topic) = (self.name.clone(), topic.to_string());
                self.notify(Notice::Grown { chain, topic, before, now });
            }
            InputEvent::End => {}
        }
        Ok(())
    }

    /// Partitions are this chain's from now on: what was committed for them is taken up.
    async fn assigned(&mut self, assignments: Vec<Assignment>) -> Result<()> {
        self.looks_back(&assignments).await?;
        let matched =
            assignments.iter().map(|assignment| self.matched(assignment)).collect::<Result<Vec<_>>>()?;
        let wanted: Vec<(Partition, InChangelog)> = assignments
            .iter()
            .zip(&matched)
            .filter_map(|(a, matched)| Some((a.partition.clone(), matched.in_changelog()?)))
            .collect();
        let mut kept = self.kept(&wanted).await?;
        self.tell_of_windows(&matched);
        let begun: Vec<Partition> =
            assignments.iter().filter(|a| a.committed.is_none()).map(|a| a.partition.clone()).collect();
        self.tell_of_offsets(&assignments);
        for (assignment, matched) in assignments.into_iter().zip(matched) {
            self.waiting.forget(std::slice::from_ref(&assignment.partition));
            // A plugin's source is announced anew after each failure; what it has committed stays known.
            let known = self.positions.remove(&assignment.partition);
            let (committed, note) = known.map_or((None, None), |p| (p.committed, p.note));
            if let Some(note) = &note {
                self.input.skip(note.low);
            }
            let from = assignment.committed.as_ref().map(|p| p.offset).or(note.as_ref().map(|note| note.low));
            self.tree.assign(&assignment.partition, from, matched.windows);
            if let Some(until) = matched.dealt_with {
                self.input.replay(&assignment.partition, until);
            }
            let reset = matched.reset;
            for ((step, _), bytes) in kept.remove(&assignment.partition).unwrap_or_default() {
                if reset.contains(&step) {
                    continue;
                }
                for piece in changelog::pieces(&bytes)? {
                    self.tree.load(&assignment.partition, &step, piece)?;
                }
            }
            if let Some(changelog) = &mut self.changelog {
                changelog.give_up(&assignment.partition, reset);
            }
            let read = Position {
                partition: assignment.partition.clone(),
                offset: assignment.start,
                metadata: String::new(),
            };
            // A log that has lost what was committed has lost the topic.
            let reached = self.reached.remove(&assignment.partition);
            if let Some(from) = reached.filter(|_| assignment.committed.is_none()) {
                self.is_gone(Gone { partition: assignment.partition.clone(), from, to: assignment.start });
            }
            let dealt_with = matched.dealt_with.unwrap_or(i64::MIN);
            let committed = assignment.committed.or(committed);
            let progressed = Progressed { note, dealt_with, ..Progressed::new(read, committed) };
            self.positions.insert(assignment.partition, progressed);
        }
        self.keep_beginnings(&begun).await?;
        // More workers than partitions: some have none.
        self.stands(if self.positions.is_empty() { State::StandsBy } else { State::Runs });
        FailPoint::Assigned.pass();
        Ok(())
    }

    /// Tells where reading does not begin at the offset that the file asks for, as the partition does not
    /// have it.
    fn tell_of_offsets(&self, assignments: &[Assignment]) {
        let Start::Offset(wanted) = self.input.start() else { return };
        for assignment in assignments.iter().filter(|a| a.committed.is_none() && a.start != wanted) {
            let (partition, at) = (assignment.partition.clone(), assignment.start);
            self.notify(Notice::StartsElsewhere { chain: self.name.clone(), partition, wanted, at });
        }
    }

    /// What was committed for a partition, for each window.
    fn matched(&self, assignment: &Assignment) -> Result<Matched> {
        let note = self.positions.get(&assignment.partition).and_then(|p| p.note.as_ref());
        let text = match &assignment.committed {
            Some(position) => Some(position.metadata.as_str()),
            None => note.map(|note| note.windows.as_str()),
        };
        let notes = text.map(|text| Notes::parse(text, &assignment.partition)).transpose()?.flatten();
        match notes {
            Some(notes) => {
                let mut reset = self.environment.options.reset_state.clone();
                reset.extend(
                    self.environment.options.reset_state.iter().flat_map(|s| self.tree.kept_names(s)),
                );
                notes.matched(&self.tree.marks(), &reset, &assignment.partition)
            }
            None if text.is_some() || self.is_under_way(assignment) => {
                let new = self.tree.marks().into_iter().map(|(step, _)| step).collect();
                Ok(Matched { new, ..Matched::default() })
            }
            None => Ok(Matched::default()),
        }
    }

    /// True where a position was committed before.
    fn is_under_way(&self, assignment: &Assignment) -> bool {
        self.positions.get(&assignment.partition).is_some_and(|p| p.committed.is_some())
    }

    /// Tells, once each, whose state is given up and which windows begin.
    fn tell_of_windows(&mut self, matched: &[Matched]) {
        let chain = || self.name.clone();
        let reset = matched.iter().flat_map(|matched| &matched.reset);
        let new = matched.iter().flat_map(|matched| &matched.new);
        let mut notices: Vec<Notice> = Vec::new();
        notices.extend(reset.map(|step| Notice::StateReset { chain: chain(), step: step.clone() }));
        notices.extend(new.map(|step| Notice::WindowBegins { chain: chain(), step: step.clone() }));
        for notice in notices {
            if !self.told.contains(&notice) {
                self.notify(notice.clone());
                self.told.push(notice);
            }
        }
    }

    /// Tells and counts what was lost, once.
    fn is_gone(&mut self, gone: Gone) {
        if self.gone.contains(&gone) {
            return;
        }
        StepMetrics::add(&self.metrics.gone, gone.records().unwrap_or_default());
        self.notify(Notice::Gone { chain: self.name.clone(), gone: gone.clone() });
        self.gone.push(gone);
    }

    /// Applies the source's `on_error` to records that were read with `batch`.
    pub(super) async fn reject(&mut self, batch: &Batch, rejects: &[SourceReject]) -> Result<()> {
        if rejects.is_empty() {
            return Ok(());
        }
        let now = self.environment.options.clock.stamp();
        let place = format!("{}.{}", self.name, self.source_id);
        let step = (self.on_error, &*self.steps[0], &*place);
        match policy::apply(step, batch, rejects, now).map_err(|e| e.at(place))? {
            Some(batch) => self.tree.push(&self.outputs.dead, batch, &mut self.writers).await,
            None => Ok(()),
        }
    }

    /// What the changelog has of partitions that were given.
    async fn kept(&mut self, wanted: &[(Partition, InChangelog)]) -> Result<BTreeMap<Partition, Kept>> {
        if wanted.is_empty() {
            return Ok(BTreeMap::new());
        }
        let Some(changelog) = &mut self.changelog else {
            // What is given up may stay where it is.
            if wanted.iter().all(|(_, notes)| *notes == InChangelog::default()) {
                return Ok(BTreeMap::new());
            }
            let chain = &self.name;
            return Err(Error::fatal(format!(
                "`{chain}` cannot go on: the state of its open windows is in a changelog, which it no longer keeps"
            ))
            .remedy("let the file that wrote it close its windows, or begin anew under another `name:`"));
        };
        let (chain, topic) = (self.name.clone(), changelog.topic().to_owned());
        let notices = &self.environment.notices;
        let told = |Progress { done, total }| {
            // Nobody listens any more where the run was dropped.
            let _ =
                notices.send(Notice::Restoring { chain: chain.clone(), topic: topic.clone(), done, total });
        };
        let kept = changelog.load(wanted, told).await?;
        Ok(wanted.iter().map(|(partition, _)| partition.clone()).zip(kept).collect())
    }

    pub(super) fn forget(&mut self, partitions: &[Partition]) {
        self.waiting.forget(partitions);
        for partition in partitions {
            self.tree.revoke(partition);
            self.positions.remove(partition);
            if let Some(changelog) = &mut self.changelog {
                changelog.forget(partition);
            }
        }
    }
}
