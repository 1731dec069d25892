//! The chain loop: read -> transform -> window -> write -> commit, in one task.
//!
//! There is one failure path. Whatever fails in passing: abort the transaction, drop all panes, open the source and
//! the writers again (which reads the committed positions), and go on from there. Nothing that was not committed counts.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::backoff::Backoff;
use super::commit::Writers;
use super::input::{Input, InputEvent};
use super::keeper::{Keeper, Note, Resumed};
use super::tree::{Checkpoint, Tree, apply_policy};
use super::{Command, Notice, Phase, RunOptions, passing};
use crate::batch::Partition;
use crate::error::{Error, Result};
use crate::graph::{ChainPlan, OnError, Outputs};
use crate::log::{GroupPositions, Log, Position, TopicSpec};
use crate::metrics::{ChainFigures, ChainMetrics, StepMetrics};
use crate::plugin::{SinkContext, SourceBody, SourceContext, SourceReject};

/// The shortest time between two commits of a chain that writes to no log.
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);

/// Everything around a chain that it shares with the others of its run.
pub(crate) struct Environment {
    pub(crate) pipeline: String,
    pub(crate) connections: Vec<(String, Arc<dyn Log>)>,
    pub(crate) topics: Arc<Vec<Vec<TopicSpec>>>,
    pub(crate) options: RunOptions,
    pub(crate) figures: Arc<[ChainFigures]>,
    pub(crate) index: usize,
    pub(crate) command: watch::Receiver<Command>,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) upstream: Vec<watch::Receiver<Phase>>,
    pub(crate) downstream: Vec<watch::Receiver<Phase>>,
    pub(crate) notices: mpsc::UnboundedSender<Notice>,
}

/// Runs a chain to its end.
pub(crate) async fn run(plan: ChainPlan, environment: Environment) -> Result<()> {
    let mut chain = Chain::new(plan, environment)?;
    let result = chain.until_done().await;
    chain.writers.abandon().await;
    let closed = chain.tree.close().await.and(chain.input.close().await);
    chain.environment.phase.send_replace(Phase::Ended);
    result.and(closed)
}

struct Chain {
    name: String,
    environment: Environment,
    metrics: Arc<ChainMetrics>,
    /// Of the source first, then of the nodes.
    steps: Vec<Arc<StepMetrics>>,
    source_id: String,
    on_error: OnError,
    outputs: Outputs,
    input: Input,
    /// The connection that keeps the source's positions.
    home: Option<usize>,
    /// Keeps the positions of a plugin's source, where the chain writes to a log that can.
    keeper: Option<Keeper>,
    /// True where positions outlive the process: a stopped run goes on there.
    durable: bool,
    transactional_id: String,
    tree: Tree,
    writers: Writers,
    positions: BTreeMap<Partition, Progressed>,
    checkpoint: Checkpoint,
    commit_interval: Duration,
    last_commit: Duration,
    /// Rows read since the last commit.
    dirty: bool,
    backoff: Backoff,
    /// True once the sinks' addresses have been told.
    introduced: bool,
}

/// How far a partition has been read.
struct Progressed {
    /// The next offset, and the note of a plugin's source with it.
    read: Position,
    /// The last that was committed.
    committed: Option<Position>,
    /// What the windows want back with it, where the source is a plugin's: a topic's position carries it.
    note: Option<Note>,
    /// A plugin's source cannot be asked for the position of a row in the middle: those after each batch since the oldest open
    /// pane, to choose from.
    history: VecDeque<Position>,
}

impl Progressed {
    fn new(read: Position, committed: Option<Position>) -> Self {
        Self { read, committed, note: None, history: VecDeque::new() }
    }

    /// The last position that has no row of an open pane before it.
    fn before(&mut self, low: i64) -> Option<Position> {
        let reached = self.history.iter().take_while(|p| p.offset <= low).count();
        self.history.drain(..reached).next_back().or_else(|| self.committed.clone())
    }
}

enum Wake {
    Command,
    UpstreamEnded,
    Timer,
    Event(InputEvent),
}

impl Chain {
    fn new(plan: ChainPlan, environment: Environment) -> Result<Self> {
        let figures = &environment.figures[environment.index];
        let steps: Vec<_> = figures.steps.iter().map(|(_, m)| m.clone()).collect();
        let metrics = figures.chain.clone();
        let (log, home) = match &plan.source.bound.body {
            SourceBody::Custom(..) => (None, None),
            SourceBody::Log(settings) => {
                let home = environment.connections.iter().position(|(n, _)| *n == settings.connection);
                (home.map(|h| environment.connections[h].1.clone()), home)
            }
        };
        let durable = log.as_ref().is_some_and(|l| l.describe().durable);
        let name = format!("{}.{}", environment.pipeline, plan.name);
        let group = match &plan.source.bound.body {
            SourceBody::Log(settings) if !plan.per_instance => {
                Some(settings.group.clone().unwrap_or_else(|| name.clone()))
            }
            _ => None,
        };
        // A chain that reads a topic is fenced by its group (KIP-447), so every worker has an id of its own. A chain that reads
        // anything else has only this id to keep a second copy from writing everything twice: it is the same for all.
        let transactional_id = match &plan.source.bound.body {
            SourceBody::Custom(..) => name,
            SourceBody::Log(_) => {
                format!("{name}.{}-{}", std::process::id(), environment.options.clock.now())
            }
        };
        let keeper = plan
            .keeps_position_in(&environment.connections)
            .map(|c| Keeper::new(c, environment.connections[c].1.clone(), &environment.pipeline, &plan.name));
        let clock = environment.options.clock.clone();
        let tree = Tree::new(plan.nodes, steps[1..].to_vec(), clock);
        let written = tree.connections().into_iter().map(|c| environment.connections[c].1.describe());
        let commit_interval = written.map(|log| log.commit_interval).max().unwrap_or(COMMIT_INTERVAL);
        Ok(Self {
            checkpoint: Checkpoint::take(steps.iter()),
            name: plan.name,
            metrics,
            steps,
            source_id: plan.source.id,
            on_error: plan.source.on_error,
            outputs: plan.source.outputs,
            input: Input::new(plan.source.bound.body, plan.source.stamper, log, group)?,
            home,
            keeper,
            durable,
            transactional_id,
            tree,
            writers: Writers::default(),
            positions: BTreeMap::new(),
            commit_interval,
            last_commit: Duration::ZERO,
            dirty: false,
            backoff: Backoff::new(),
            introduced: false,
            environment,
        })
    }

    async fn until_done(&mut self) -> Result<()> {
        loop {
            let error = match self.attempt().await {
                Ok(()) => return Ok(()),
                Err(error) if passing(&error) => error,
                Err(error) => {
                    self.roll_back().await;
                    return Err(error);
                }
            };
            self.roll_back().await;
            if self.draining() {
                tracing::warn!(
                    chain = self.name,
                    "stopped after a fault; what was not committed is read again: {error}"
                );
                return Ok(());
            }
            let after = self.backoff.wait();
            StepMetrics::add(&self.metrics.retries, 1);
            self.notify(Notice::Retrying {
                chain: self.name.clone(),
                error: error.to_string(),
                help: error.help().map(str::to_owned),
                after,
            });
            let at = self.now() + after;
            let clock = self.environment.options.clock.clone();
            tokio::select! {
                () = clock.sleep_until(at) => {}
                () = changed_to_drain(&mut self.environment.command) => return Ok(()),
            }
        }
    }

    /// One try: open everything, loop until the end or a failure.
    async fn attempt(&mut self) -> Result<()> {
        let mut command = self.environment.command.clone();
        tokio::select! {
            biased;
            opened = self.open() => opened?,
            // Nothing has been read yet.
            () = changed_to_drain(&mut command) => return Ok(()),
        }
        self.drive().await?;
        self.commit().await?;
        self.writers.close().await
    }

    async fn open(&mut self) -> Result<()> {
        for (connection, topics) in self.environment.connections.iter().zip(self.environment.topics.iter()) {
            if !topics.is_empty() {
                connection.1.ensure_topics(topics).await?;
            }
        }
        let options = &self.environment.options;
        let source_context = SourceContext {
            clock: options.clock.clone(),
            once: options.once,
            batch_rows: options.batch_rows,
        };
        let sink_context =
            SinkContext { clock: options.clock.clone(), figures: self.environment.figures.clone() };
        let connections = self.tree.connections();
        let logs = &self.environment.connections;
        // Once the writers are open, earlier ones are fenced and what they committed is settled: then it can be read.
        let first = self.keeper.is_some();
        if first {
            self.writers.open(&connections, logs, &self.transactional_id).await?;
            self.resume().await?;
        }
        let committed = self.positions.values().find_map(|p| p.committed.clone());
        let logs = &self.environment.connections;
        let connections = if first { Vec::new() } else { connections };
        let (input, writers, addresses) = tokio::join!(
            self.input.open(&source_context, committed.as_ref()),
            self.writers.open(&connections, logs, &self.transactional_id),
            self.tree.open(&sink_context),
        );
        input?;
        writers?;
        let addresses = addresses?;
        if !std::mem::replace(&mut self.introduced, true) {
            for address in addresses {
                self.notify(Notice::Address { chain: self.name.clone(), address });
            }
        }
        self.last_commit = self.now();
        self.environment
            .phase
            .send_if_modified(|p| std::mem::replace(p, (*p).max(Phase::Open)) < Phase::Open);
        for downstream in &mut self.environment.downstream {
            // An error means that the chain is gone, which is as good as ended.
            let _ = downstream.wait_for(|p| *p >= Phase::Open).await;
        }
        Ok(())
    }

    /// Takes up where the last run, or the last try, stood by its last commit.
    async fn resume(&mut self) -> Result<()> {
        let Some(keeper) = &mut self.keeper else { return Ok(()) };
        let resumed = keeper.load().await?;
        let known = std::mem::take(&mut self.positions);
        let Some(Resumed { partition, position, note }) = resumed else { return Ok(()) };
        if let Some(position) = position.as_ref().filter(|_| known.is_empty()) {
            let (source, row) = (partition.source.to_string(), position.offset);
            self.notify(Notice::Resumed { chain: self.name.clone(), source, row });
        }
        let nothing = Position { partition: partition.clone(), offset: 0, metadata: String::new() };
        let read = position.clone().unwrap_or(nothing);
        self.positions.insert(partition, Progressed { note, ..Progressed::new(read, position) });
        Ok(())
    }

    async fn drive(&mut self) -> Result<()> {
        let clock = self.environment.options.clock.clone();
        let mut upstream = self.environment.upstream.clone();
        let mut bounded = false;
        loop {
            let goes_on = self.durable || self.keeper.is_some();
            if self.draining() && (goes_on || !self.input.is_topic()) {
                // Where positions are kept, the rows of open windows are read again; else they would be lost.
                break if goes_on { Ok(()) } else { self.finish().await };
            }
            let ends = !bounded && (self.environment.options.once || self.draining());
            let wake_at = self.wake_at();
            let wake = tokio::select! {
                biased;
                () = changed_to_drain(&mut self.environment.command), if !self.draining() => Wake::Command,
                () = all_ended(&mut upstream), if ends => Wake::UpstreamEnded,
                () = clock.sleep_until(wake_at.unwrap_or_default()), if wake_at.is_some() => Wake::Timer,
                event = self.input.next() => Wake::Event(event?),
            };
            match wake {
                Wake::Command | Wake::Timer => {}
                Wake::UpstreamEnded => {
                    bounded = true;
                    self.input.bound().await?;
                }
                Wake::Event(InputEvent::End) => break self.finish().await,
                Wake::Event(event) => self.event(event).await?,
            }
            self.tree.tick(clock.elapsed(), &mut self.writers).await?;
            if self.commit_due() {
                self.commit().await?;
            }
            self.show();
        }
    }

    /// Closes every window: nothing follows.
    async fn finish(&mut self) -> Result<()> {
        self.tree.finish(&mut self.writers).await
    }

    async fn event(&mut self, event: InputEvent) -> Result<()> {
        let now = self.now();
        match event {
            InputEvent::Batch { batch, rejects, position } => {
                self.tree.caught_up(&batch.origin().partition, false, now);
                let times = batch.times().clone();
                if !batch.origin().replay {
                    StepMetrics::add(&self.steps[0].rows_in, (batch.rows() + rejects.len()) as u64);
                    StepMetrics::add(&self.steps[0].rows_out, batch.rows() as u64);
                }
                let partition = position.partition.clone();
                self.reject(&partition, &rejects).await?;
                self.tree.push(&self.outputs.main, batch, &mut self.writers).await?;
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
            }
            InputEvent::Revoked(partitions) => {
                self.commit().await?;
                self.forget(&partitions);
            }
            InputEvent::Lost(partitions) => {
                self.forget(&partitions);
                return Err(Error::abort("the group gave this worker's partitions to another one"));
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

    async fn reject(&mut self, partition: &Partition, rejects: &[SourceReject]) -> Result<()> {
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

    fn forget(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            self.tree.revoke(partition);
            self.positions.remove(partition);
        }
    }

    /// When there is something to do without an event.
    fn wake_at(&mut self) -> Option<Duration> {
        let now = self.now();
        let commit = self.commit_at();
        let window = self.tree.next_wakeup(now);
        [commit, window].into_iter().flatten().min()
    }

    fn commit_at(&self) -> Option<Duration> {
        let options = &self.environment.options;
        if self.tree.wrote() {
            Some(self.last_commit + self.commit_interval)
        } else if self.dirty {
            Some(self.last_commit + options.position_interval)
        } else {
            None
        }
    }

    fn commit_due(&self) -> bool {
        self.writers.full() || self.commit_at().is_some_and(|at| self.now() >= at)
    }

    /// Makes results and positions durable together.
    async fn commit(&mut self) -> Result<()> {
        if !self.dirty && !self.tree.wrote() {
            return Ok(());
        }
        self.tree.flush().await?;
        let (mut positions, mut notes) = (Vec::new(), Vec::new());
        for (partition, progressed) in &mut self.positions {
            let position = if self.tree.has_windows() {
                let (offset, metadata) = self.tree.position(partition, progressed.read.offset);
                if self.home.is_some() {
                    Some(Position { partition: partition.clone(), offset, metadata })
                } else {
                    notes.push((partition.clone(), Note { low: offset, windows: metadata }));
                    progressed.before(offset)
                }
            } else {
                Some(progressed.read.clone())
            };
            positions.extend(position.filter(|p| progressed.committed.as_ref() != Some(p)));
        }
        let with_results = match self.input.membership() {
            Some(membership) if !positions.is_empty() => {
                Some(GroupPositions { membership, positions: positions.clone() })
            }
            _ => None,
        };
        if let Some(keeper) = &mut self.keeper {
            let now = self.environment.options.clock.now();
            for (partition, progressed) in &self.positions {
                let position = positions.iter().find(|p| p.partition == *partition);
                let note = notes.iter().find(|(of, _)| of == partition).map(|(_, note)| note);
                let note = note.or(progressed.note.as_ref());
                let record =
                    keeper.record(partition, position.or(progressed.committed.as_ref()), note, now)?;
                if let Some(record) = record {
                    self.writers.append(keeper.connection, record).await?;
                }
            }
        }
        let joined = self.writers.commit(self.home, with_results).await?;
        if !joined && !positions.is_empty() {
            self.input.commit(&positions).await?;
        }
        for position in positions {
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
        self.checkpoint = Checkpoint::take(self.steps.iter());
        self.dirty = false;
        self.last_commit = self.now();
        StepMetrics::add(&self.metrics.commits, 1);
        if self.backoff.failing() {
            self.backoff.reset();
            self.notify(Notice::Recovered { chain: self.name.clone() });
        }
        Ok(())
    }

    /// Throws away everything since the last commit.
    async fn roll_back(&mut self) {
        self.writers.abandon().await;
        if let Err(error) = self.input.close().await {
            tracing::debug!(chain = self.name, "close: {error}");
        }
        let partitions: Vec<Partition> = self.positions.keys().cloned().collect();
        self.tree.reset(&partitions);
        // A plugin's source is told where to go on; a topic's group knows.
        if self.input.is_topic() {
            self.positions.clear();
        }
        self.checkpoint.restore(self.steps.iter());
        self.dirty = false;
        StepMetrics::add(&self.metrics.aborts, 1);
    }

    fn show(&mut self) {
        self.metrics.lag.store(self.input.lag(), Relaxed);
        if let Some(watermark) = self.tree.watermark() {
            self.metrics.watermark.store(watermark, Relaxed);
        }
        if let Some(progress) = self.input.progress() {
            self.metrics.progress_done.store(progress.done, Relaxed);
            self.metrics.progress_total.store(progress.total, Relaxed);
        }
    }

    fn now(&self) -> Duration {
        self.environment.options.clock.elapsed()
    }

    fn draining(&self) -> bool {
        *self.environment.command.borrow() == Command::Drain
    }

    fn notify(&self, notice: Notice) {
        // Nobody listens any more where the run was dropped.
        let _ = self.environment.notices.send(notice);
    }
}

async fn changed_to_drain(command: &mut watch::Receiver<Command>) {
    // An error means that the run was dropped: stop as well.
    let _ = command.wait_for(|c| *c == Command::Drain).await;
}

async fn all_ended(chains: &mut [watch::Receiver<Phase>]) {
    for chain in chains {
        let _ = chain.wait_for(|p| *p == Phase::Ended).await;
    }
}
