//! When a chain commits, how, and what is undone where that fails.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::exit::Exit;
use super::waiting::Waiting;
use super::{Chain, Notice};
use crate::batch::Partition;
use crate::error::{Error, Part, Result};
use crate::log::{GroupPositions, Position, Start};
use crate::metrics::{Doing, StepMetrics};
use crate::run::FailPoint;
use crate::run::checkpoint::Checkpoint;
use crate::run::keeper::Note;

/// How far a partition has been read.
pub(super) struct Progressed {
    /// The next offset, and the note of a plugin's source with it.
    pub(super) read: Position,
    /// The last that was committed.
    pub(super) committed: Option<Position>,
    /// What the windows want back with it, where the source is a plugin's: a topic's position carries it.
    pub(super) note: Option<Note>,
    /// A plugin's source cannot be asked for the position of a row in the middle: those after each batch
    /// since the oldest open pane, to choose from.
    pub(super) history: VecDeque<Position>,
    /// So many batches apart they are, but for the newest.
    pub(super) apart: u64,
    /// How many batches came since the last that stays.
    pub(super) since: u64,
    /// The offset before which all rows had been dealt with before a restart.
    pub(super) dealt_with: i64,
}

/// The most positions that are kept of a partition.
const MOST_KEPT: usize = 1024;

impl Progressed {
    pub(super) fn new(read: Position, committed: Option<Position>) -> Self {
        Self {
            read,
            committed,
            note: None,
            history: VecDeque::new(),
            apart: 1,
            since: 0,
            dealt_with: i64::MIN,
        }
    }

    /// Keeps a position to choose from: the newest, and of those before it at most [`MOST_KEPT`], evenly
    /// apart. A window of a day would keep a day of them; so after a restart a little more is read again.
    pub(super) fn remember(&mut self, position: Position) {
        if self.history.is_empty() {
            (self.apart, self.since) = (1, 0);
        }
        if self.since > 0 {
            self.history.pop_back();
        }
        if self.history.len() >= MOST_KEPT {
            let mut stays = false;
            self.history.retain(|_| {
                stays = !stays;
                stays
            });
            self.apart *= 2;
        }
        self.history.push_back(position);
        self.since = (self.since + 1) % self.apart;
    }

    /// The last position that has no row of an open pane before it.
    pub(super) fn before(&mut self, low: i64) -> Option<Position> {
        let reached = self.history.iter().take_while(|p| p.offset <= low).count();
        self.history.drain(..reached).next_back().or_else(|| self.committed.clone())
    }
}

/// What is committed of each partition that is at hand.
pub(super) fn committed(
    positions: &BTreeMap<Partition, Progressed>,
) -> impl Iterator<Item = (Partition, i64)> {
    let committed = positions.iter().filter_map(|(partition, at)| Some((partition, at.committed.as_ref()?)));
    committed.map(|(partition, at)| (partition.clone(), at.offset))
}

impl Chain {
    pub(super) fn commit_at(&mut self, now: Duration) -> Option<Duration> {
        let soon = self.last_commit + self.commit_interval;
        let written = self.tree.wrote().then_some(soon);
        let read = self.dirty.then_some(self.last_commit + self.environment.options.position_interval);
        let said = self.tree.speaks_at(now).map(|at| at.max(soon));
        [written, read, said].into_iter().flatten().min()
    }

    pub(super) fn commit_due(&mut self) -> bool {
        let now = self.now();
        !self.tree.holds_back() && (self.writers.full() || self.commit_at(now).is_some_and(|at| now >= at))
    }

    /// Makes results and positions durable together.
    pub(super) async fn commit(&mut self) -> Result<()> {
        if self.tree.holds_back() {
            return Err(Error::abort("it ends while rows are read again that a result waits for")
                .remedy("nothing to do: what was not committed is read again"));
        }
        let spoke = self.tree.speak(self.now(), &mut self.writers).await?;
        if !self.dirty && !self.tree.wrote() && !spoke {
            return Ok(());
        }
        self.does(Doing::Committing);
        self.tree.flush().await?;
        if self.tree.wrote() {
            FailPoint::Appended.pass();
        }
        self.keep_windows().await?;
        let (mut positions, notes) = self.stands_at(spoke);
        let in_transaction = self.transactional_id.is_some();
        let (membership, in_group) = (self.input.membership(), self.input.in_group());
        if in_group && in_transaction && self.home.is_some_and(|home| self.writers.has(home)) {
            // Without them nothing would keep a worker that has lost its partitions from writing.
            if positions.is_empty() {
                positions.extend(self.positions.values().filter_map(|p| p.committed.clone()));
            }
            if membership.is_none() || positions.is_empty() {
                return Err(Error::abort("it has results of partitions that its group has given it no more")
                    .remedy("nothing to do: who has them now reads their rows again")
                    .of(Part::Source));
            }
        }
        let with_results = match membership {
            Some(membership) if in_transaction && !positions.is_empty() => {
                Some(GroupPositions { membership, positions: positions.clone() })
            }
            _ => None,
        };
        if in_transaction {
            self.keep(&positions, &notes).await?;
        }
        // The writer with the positions is last: what the others wrote must be durable by then.
        let home = self.home.or(self.keeper.as_ref().map(|keeper| keeper.connection));
        let joined = self.writers.commit(home, with_results).await?;
        if !in_transaction && self.keep(&positions, &notes).await? {
            self.writers.commit(home, None).await?;
        }
        if !joined && !positions.is_empty() {
            self.input.commit(&positions).await.map_err(|e| e.of(Part::Source))?;
        }
        FailPoint::Committed.pass();
        for position in positions {
            if in_group {
                self.reached.insert(position.partition.clone(), position.offset);
            }
            if let Some(progressed) = self.positions.get_mut(&position.partition) {
                progressed.committed = Some(position);
            }
        }
        for (partition, note) in notes {
            if let Some(progressed) = self.positions.get_mut(&partition) {
                progressed.note = Some(note);
            }
        }
        self.tree.committed();
        self.refusals = 0;
        self.overdue = 0;
        self.checkpoint = Checkpoint::take(self.steps.iter());
        self.dirty = false;
        self.last_commit = self.now();
        StepMetrics::add(&self.metrics.commits, 1);
        if let Some(let_go) = &mut self.let_go {
            let_go.committed(self.last_commit, committed(&self.positions)).await;
        }
        if self.backoff.failing() {
            self.backoff.reset();
            self.notify(Notice::Recovered { chain: self.name.clone() });
        }
        Ok(())
    }

    /// Keeps where partitions begin of which nothing was kept, before a record of them is read. A chain that
    /// begins at the oldest record finds that again; any other beginning would be another one after a crash,
    /// and what was read since the first would be lost, or read twice.
    pub(super) async fn keep_beginnings(&mut self, begun: &[Partition]) -> Result<()> {
        if !self.input.in_group() || self.input.start() == Start::Earliest {
            return Ok(());
        }
        let mut positions = Vec::with_capacity(begun.len());
        for partition in begun {
            let Some(progressed) = self.positions.get(partition) else { continue };
            let read = progressed.read.clone();
            positions.push(if self.tree.has_windows() {
                let metadata = self.tree.position(partition, read.offset, i64::MIN, true).text;
                Position { metadata, ..read }
            } else {
                read
            });
        }
        if positions.is_empty() {
            return Ok(());
        }
        self.input.commit(&positions).await.map_err(|e| e.of(Part::Source))?;
        for position in positions {
            self.reached.insert(position.partition.clone(), position.offset);
            if let Some(progressed) = self.positions.get_mut(&position.partition) {
                progressed.committed = Some(position);
            }
        }
        Ok(())
    }

    /// Where each partition stands that moved since the last commit, and the notes of a plugin's source.
    fn stands_at(&mut self, spoke: bool) -> (Vec<Position>, Vec<(Partition, Note)>) {
        let (mut positions, mut notes, mut left_out) = (Vec::new(), Vec::new(), 0);
        for (partition, progressed) in &mut self.positions {
            let position = if self.tree.has_windows() {
                let bounded = self.home.is_some();
                // Windows that were over before a restart may be back for a while; nobody reads their rows
                // again.
                let floor = progressed.committed.as_ref().map_or(i64::MIN, |committed| committed.offset);
                let floor = if bounded { floor } else { i64::MIN };
                let noted = self.tree.position(partition, progressed.read.offset, floor, bounded);
                left_out += noted.left_out;
                if bounded {
                    let (offset, metadata) = (noted.low, noted.text);
                    Some(Position { partition: partition.clone(), offset, metadata })
                } else {
                    notes.push((partition.clone(), Note { low: noted.low, windows: noted.text }));
                    progressed.before(noted.low)
                }
            } else if progressed.read.offset >= progressed.dealt_with {
                progressed.note = None;
                Some(progressed.read.clone())
            } else {
                // The chain had a window once. A position without its note says that nothing behind it has
                // been dealt with.
                None
            };
            let position = position.map(|position| self.input.renew(position));
            positions.extend(position.filter(|p| spoke || progressed.committed.as_ref() != Some(p)));
        }
        if left_out > 0 && self.left_out.replace(left_out).is_none() {
            tracing::warn!(
                chain = self.name,
                "{left_out} late rows have no room in the committed position: should the chain start again while their \
                 sessions are open, they may count in them"
            );
        }
        (positions, notes)
    }

    /// Appends where a plugin's source stands, with the notes of its windows. False where it stands where it
    /// stood.
    async fn keep(&mut self, positions: &[Position], notes: &[(Partition, Note)]) -> Result<bool> {
        let Some(keeper) = &mut self.keeper else { return Ok(false) };
        let now = self.environment.options.clock.now();
        let mut moved = false;
        for (partition, progressed) in &self.positions {
            let position = positions.iter().find(|p| p.partition == *partition);
            let note = notes.iter().find(|(of, _)| of == partition).map(|(_, note)| note);
            let note = note.or(progressed.note.as_ref());
            let record = keeper.record(partition, position.or(progressed.committed.as_ref()), note, now)?;
            if let Some(record) = record {
                let part = Part::Connection(keeper.connection);
                self.writers.append(keeper.connection, record).await.map_err(|e| e.of(part))?;
                moved = true;
            }
        }
        Ok(moved)
    }

    /// Writes the state of windows that have become too long to be read again; before the positions are asked
    /// for, which then need not go back as far.
    async fn keep_windows(&mut self) -> Result<()> {
        let Some(changelog) = &mut self.changelog else { return Ok(()) };
        let clock = &self.environment.options.clock;
        for (partition, progressed) in &self.positions {
            let next = progressed.read.offset;
            let records =
                changelog.records(&mut self.tree, partition, next, clock.elapsed(), clock.now()).await?;
            if let Some(records) = records {
                self.writers.append(changelog.connection, records).await?;
            }
        }
        Ok(())
    }

    /// Throws away everything since the last commit. True where a log has refused records of it that it was
    /// not known to refuse.
    pub(super) async fn roll_back(&mut self) -> bool {
        self.does(Doing::RollingBack);
        let (writers, input, name) = (&mut self.writers, &mut self.input, &self.name);
        // At once: an abort may take as long as the log does to answer, and the group waits for a reader that
        // still holds partitions.
        let let_go = async {
            if let ((), Err(error)) = tokio::join!(writers.abandon(), input.close()) {
                tracing::debug!(chain = name, "close: {error}");
            }
        };
        Exit::of(&self.environment).in_time(let_go).await;
        let partitions: Vec<Partition> = self.positions.keys().cloned().collect();
        self.tree.reset(&partitions);
        self.waiting = Waiting::default();
        if let Some(changelog) = &mut self.changelog {
            partitions.iter().for_each(|partition| changelog.forget(partition));
        }
        // A plugin's source is told where to go on; a topic's group knows.
        if self.input.is_topic() {
            self.positions.clear();
        }
        self.checkpoint.restore(self.steps.iter());
        self.dirty = false;
        self.tree.refuse(self.writers.take_refused())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_positions_are_kept_however_long_a_window_is_open_and_one_before_its_first_row() {
        let at = |offset| Position { partition: Partition::new("rows", 0), offset, metadata: String::new() };
        let mut progressed = Progressed::new(at(0), Some(at(0)));
        for offset in 1..=100_000 {
            progressed.remember(at(offset));
            assert!(progressed.history.len() <= MOST_KEPT);
        }
        assert_eq!(progressed.history.back().map(|last| last.offset), Some(100_000));
        let before = progressed.before(60_000).map(|position| position.offset);
        assert!(before.is_some_and(|before| (59_000..=60_000).contains(&before)), "{before:?}");
        assert_eq!(progressed.before(100_000).map(|position| position.offset), Some(100_000));
    }
}
