//! The chain loop: read -> transform -> window -> write -> commit, in one task.
//!
//! There is one failure path. Whatever fails in passing: abort the transaction, drop all panes, open the
//! source and the writers again (which reads the committed positions), and go on from there. Nothing that was
//! not committed counts.

mod begins;
mod commit;
mod events;
mod exit;
mod open;
mod overdue;
mod parts;
mod turn;
mod waiting;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::mpsc;

use self::begins::Past;
use self::commit::Progressed;
use self::exit::{DRAIN, Exit};
use self::waiting::Waiting;
use super::backoff::{Backoff, Next};
use super::changelog::Changelog;
use super::checkpoint::Checkpoint;
use super::input::{Input, InputEvent, SourceStep};
use super::keeper::Keeper;
use super::let_go::LetGo;
use super::rising::{AtLast, Rising, all_reach};
use super::topics::Wanted;
use super::tree::Tree;
use super::turn::{Over, Turn};
use super::worker::Worker;
use super::writers::Writers;
use super::{Command, Notice, Phase, RunOptions, passing};
use crate::batch::Partition;
use crate::config::Retry;
use crate::error::{Consequence, Error, Part, Result};
use crate::graph::{ChainPlan, OnError, Outputs, Repartitioned};
use crate::log::{Gone, Group, Log};
use crate::metrics::{ChainFigures, ChainMetrics, Doing, State, StepMetrics};
use crate::plugin::SourceBody;
use crate::window::{Ran, WindowOperator};

/// The shortest time between two commits of a chain that writes to no log.
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);

/// How often in a row a chain sends again at once what a log has refused records of. More often it is a fault
/// like others, as where each try writes other records.
const REFUSALS: u32 = 100;

/// Everything around a chain that it shares with the others of its run.
pub(crate) struct Environment {
    pub(crate) pipeline: String,
    pub(crate) connections: Vec<(String, Arc<dyn Log>)>,
    pub(crate) topics: Arc<Vec<Vec<Wanted>>>,
    pub(crate) options: RunOptions,
    pub(crate) worker: Arc<Worker>,
    pub(crate) figures: Arc<[ChainFigures]>,
    pub(crate) index: usize,
    pub(crate) command: Rising<Command>,
    pub(crate) phase: AtLast<Phase>,
    pub(crate) upstream: Vec<Rising<Phase>>,
    /// The chains of this run from which its rows come, through whatever others.
    pub(crate) sources: Vec<Arc<ChainMetrics>>,
    /// The topics that no other chain of this run writes, each with its connection.
    pub(crate) alone: Vec<(usize, String)>,
    pub(crate) downstream: Vec<Rising<Phase>>,
    pub(crate) notices: mpsc::UnboundedSender<Notice>,
}

/// Runs a chain to its end.
pub(crate) async fn run(plan: ChainPlan, environment: Environment) -> Result<()> {
    let mut chain = Chain::new(plan, environment)?;
    let result = chain.until_done().await;
    chain.does(Doing::Closing);
    let exit = Exit::of(&chain.environment);
    exit.in_time(chain.writers.abandon()).await;
    // Each may take as long as its log does to let go.
    let (input, turn, sinks) = tokio::join!(chain.input.close(), leave(&mut chain.turn), chain.tree.close());
    let result = result.and(sinks).and(input).and(turn);
    chain.metrics.standing.waits();
    chain.stands(match &result {
        Ok(()) => State::Ended,
        Err(error) => State::Failed { error: error.to_string() },
    });
    result
}

struct Chain {
    name: String,
    environment: Environment,
    metrics: Arc<ChainMetrics>,
    /// Of the source first, then of the nodes.
    steps: Vec<Arc<StepMetrics>>,
    source_id: String,
    on_error: OnError,
    /// How faults of the source are tried again.
    retry: Retry,
    /// Where its topic is a repartition topic: what that was made of.
    repartitioned: Option<Repartitioned>,
    outputs: Outputs,
    input: Input,
    /// The connection that keeps the source's positions.
    home: Option<usize>,
    /// Keeps the positions of a plugin's source, where the chain writes to a log that can.
    keeper: Option<Keeper>,
    /// Keeps the state of windows that are too long to be read again, where the source's log can.
    changelog: Option<Changelog>,
    /// Lets go what it has read for good of a topic of the framework's own.
    let_go: Option<LetGo>,
    /// Its place among the workers, where only one of them can run it.
    turn: Option<Turn>,
    /// True where positions outlive the process: a stopped run goes on there.
    durable: bool,
    /// `None` where the chain delivers at least once.
    transactional_id: Option<String>,
    tree: Tree,
    writers: Writers,
    positions: BTreeMap<Partition, Progressed>,
    checkpoint: Checkpoint,
    commit_interval: Duration,
    last_commit: Duration,
    /// Rows read since the last commit.
    dirty: bool,
    backoff: Backoff,
    /// What has been told to be gone: after a fault it is gone still.
    gone: Vec<Gone>,
    /// What this worker has committed for its group: a log forgets that of a topic that is deleted.
    reached: BTreeMap<Partition, i64>,
    /// True once the sinks' addresses have been told.
    introduced: bool,
    /// Whether it goes on or begins.
    past: Past,
    /// What was told of windows: the next assignment says it again.
    told: Vec<Notice>,
    /// How many times in a row its transaction took too long.
    overdue: u32,
    /// How many late rows a position had no room for, when that was told.
    left_out: Option<usize>,
    /// Whether its partitions count as read to their end.
    waiting: Waiting,
    /// How often since the last commit a log has refused records.
    refusals: u32,
}

/// Why a chain that was open is not driven on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// It is at its end, or shall stop.
    Done,
    /// Another worker's turn has come.
    Turn,
}

enum Wake {
    Command,
    TurnOver(Over),
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
        let mixed = plan.source.repartitioned.is_some();
        let durable = log.as_ref().is_some_and(|l| l.describe().durable);
        let name = format!("{}.{}", environment.pipeline, plan.kept_as);
        let mut group = match &plan.source.bound.body {
            SourceBody::Log(settings) if !plan.per_instance => {
                Some(Group::new(settings.group.as_ref().unwrap_or(&name)))
            }
            _ => None,
        };
        // A chain that reads a topic is fenced by its group (KIP-447), so every worker has an id of its own.
        // A chain that reads anything else has only this id to keep a second copy from writing everything
        // twice: it is the same for all.
        let turn = plan
            .takes_turns_in(&environment.connections)
            .map(|c| Turn::new(environment.connections[c].1.clone(), &environment.pipeline, &name));
        let transactional_id = match &plan.source.bound.body {
            SourceBody::Custom(..) => name,
            SourceBody::Log(_) => format!("{name}.{}", environment.worker.name()),
        };
        let keeper = match (&plan.source.bound.body, plan.keeps_position_in(&environment.connections)) {
            (SourceBody::Custom(_, source), Some(connection)) => {
                let log = environment.connections[connection].1.clone();
                Some(Keeper::new(connection, log, &environment.pipeline, &plan.kept_as, source))
            }
            _ => None,
        };
        let changelog = match (&plan.source.bound.body, home) {
            (SourceBody::Log(settings), Some(home)) if plan.keeps_windows(&environment.connections) => {
                let topic = plan.changelog_topic(&environment.pipeline);
                let log = environment.connections[home].1.clone();
                Some(Changelog::new(home, log, topic, settings.topic.clone(), &environment.options))
            }
            _ => None,
        };
        let let_go = match (&plan.source.bound.body, &log) {
            (SourceBody::Log(settings), Some(log)) if mixed => {
                Some(LetGo::new(&plan.name, log.clone(), &settings.topic))
            }
            _ => None,
        };
        let clock = environment.options.clock.clone();
        let source_step = SourceStep::of(&plan);
        let mut tree = Tree::new(plan.nodes, steps[1..].to_vec(), clock);
        if let Some(group) = &mut group {
            group.windows = tree.agreed();
        }
        if !plan.source.times_recur {
            tree.windows().for_each(WindowOperator::close_at_end);
        }
        if matches!(plan.source.bound.body, SourceBody::Custom(..)) {
            // A record that its source could not use has the time at which it was read.
            tree.count_on_arrival_behind(&plan.source.outputs.dead);
        }
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
            input: Input::new(source_step, plan.source.bound.body, plan.source.stamper, log, group, mixed)?,
            home,
            keeper,
            changelog,
            let_go,
            turn,
            durable,
            transactional_id: (!plan.at_least_once).then_some(transactional_id),
            tree,
            writers: Writers::default(),
            positions: BTreeMap::new(),
            commit_interval,
            last_commit: Duration::ZERO,
            dirty: false,
            backoff: Backoff::new(environment.options.seed.wrapping_add(environment.index as u64)),
            retry: plan.source.retry,
            repartitioned: plan.source.repartitioned,
            gone: Vec::new(),
            reached: BTreeMap::new(),
            introduced: false,
            past: Past::default(),
            told: Vec::new(),
            overdue: 0,
            left_out: None,
            waiting: Waiting::default(),
            refusals: 0,
            environment,
        })
    }

    async fn until_done(&mut self) -> Result<()> {
        let mut stopping = None;
        loop {
            let attempt = self.attempt_in_time().await;
            let overdue = attempt.as_ref().is_err_and(|error| self.is_overdue(error));
            let attempt = attempt.map_err(|error| self.fenced(error));
            let error = match attempt {
                Ok(Left::Done) => return Ok(()),
                Ok(Left::Turn) => {
                    self.roll_back().await;
                    continue;
                }
                Err(error) => {
                    let refused = self.roll_back().await;
                    StepMetrics::add(&self.metrics.aborts, 1);
                    // They are known now, and everything else is sent again at once.
                    if refused && passing(&error) && self.refusals < REFUSALS {
                        self.refusals += 1;
                        tracing::debug!(chain = self.name, "sends again without what was refused: {error}");
                        continue;
                    }
                    error
                }
            };
            if !passing(&error) {
                if self.lost_its_turn(&error).await {
                    continue;
                }
                return Err(error);
            }
            if let Err(cannot) = self.input.can_reopen(self.committed()) {
                return Err(of_source(cannot).caused_by(error));
            }
            if overdue {
                self.takes_less()?;
            }
            if self.draining() {
                if !self.is_last_to_read() {
                    tracing::warn!(
                        chain = self.name,
                        "stopped after a fault; what was not committed is read again: {error}"
                    );
                    return Ok(());
                }
                let since = *stopping.get_or_insert(self.now());
                if self.now().saturating_sub(since) >= DRAIN {
                    return Err(exit::lost(error));
                }
            }
            // Before the writers are opened again, which fences others, it must be known whose turn it is:
            // this worker may have stood still. And another one may do better.
            if let Err(error) = leave(&mut self.turn).await {
                tracing::debug!(chain = self.name, "leave: {error}");
            }
            let shown = (error.to_string(), error.help().map(str::to_owned));
            let (retry, place) = self.retry_of(&error);
            let after = match self.backoff.failed(error, retry, &place, self.now()) {
                Next::Wait(after) => after,
                Next::GiveUp(error) => return Err(error),
            };
            StepMetrics::add(&self.metrics.retries, 1);
            self.stands(State::Retries { error: shown.0.clone() });
            self.notify(Notice::Retrying { chain: self.name.clone(), error: shown.0, help: shown.1, after });
            self.metrics.standing.waits();
            let at = self.now() + after;
            let clock = self.environment.options.clock.clone();
            let draining = self.draining();
            tokio::select! {
                biased;
                () = clock.sleep_until(at) => {}
                () = self.environment.command.reaches(Command::Drain), if !draining => {
                    if !self.is_last_to_read() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// True where nobody reads later what this chain does not: its log forgets, and others may have written
    /// for it since it was open.
    fn is_last_to_read(&self) -> bool {
        self.loses_what_it_leaves() && self.environment.phase.value().get() >= Phase::Open
    }

    /// True where the rows of its topic are gone with this run.
    fn loses_what_it_leaves(&self) -> bool {
        !self.goes_on() && self.input.is_topic()
    }

    /// Where the chain stood still for longer than a transaction may take, the log has ended that; its
    /// partitions, or its turn, may be another's by now, and it joins again. Otherwise somebody else took the
    /// id: for a file the worker whose turn it is, while one that reads a topic has its id for itself.
    fn fenced(&self, error: Error) -> Error {
        let Some(id) = self.transactional_id.as_ref() else { return error };
        let young = self.writers.transaction_is_young();
        if error.consequence() != Consequence::Fenced || (young && !self.input.is_topic()) {
            return error;
        }
        let fenced = if young {
            Error::new(
                Consequence::Fenced,
                format!("another process has taken this worker's transactional id, `{id}`: {error}"),
            )
            .remedy(
                "give each worker a folder of its own for its name: copies of a machine or of a container have the same one in \
                 `$XDG_STATE_HOME/pipectl`; and let no other program write with ids that begin with the pipeline's name",
            )
        } else {
            Error::abort(format!("this worker stood still for too long, and was taken for dead: {error}"))
        };
        match error.part() {
            Some(part) => fenced.of(part),
            None => fenced,
        }
    }

    /// How a fault is tried again, and by whose word. A connection's faults, a commit's among them, are of
    /// all that read and write there: the strictest of them counts.
    fn retry_of(&self, error: &Error) -> (Retry, String) {
        let of_source = || (self.retry, format!("`{}.{}`", self.name, self.source_id));
        match error.part() {
            Some(Part::Node(index)) => self.tree.retry(index),
            Some(Part::Connection(connection)) => match self.tree.retry_on(connection) {
                Some(sinks) if self.home != Some(connection) => sinks,
                Some(sinks) if self.retry.stricter(sinks.0) == sinks.0 => sinks,
                _ => of_source(),
            },
            Some(Part::Source) | None => of_source(),
        }
    }

    /// One try; a chain that has been told to stop does not wait longer for its log than [`DRAIN`]. One whose
    /// rows cannot be read again waits as long as the run does.
    async fn attempt_in_time(&mut self) -> Result<Left> {
        let command = self.environment.command.clone();
        let clock = self.environment.options.clock.clone();
        let bounded = !self.loses_what_it_leaves();
        let overdue = async {
            command.reaches(Command::Drain).await;
            clock.sleep_until(clock.elapsed() + DRAIN).await;
        };
        tokio::select! {
            biased;
            left = self.attempt() => left,
            () = overdue, if bounded => Err(exit::overdue(self.metrics.standing.doing(self.now()))),
        }
    }

    /// One try: open everything, loop until the end or a failure.
    async fn attempt(&mut self) -> Result<Left> {
        let (command, phase) = (self.environment.command.clone(), self.environment.phase.value().clone());
        let loses = self.loses_what_it_leaves();
        let not_needed = async {
            command.reaches(Command::Drain).await;
            // Nothing has been read yet; where that is lost otherwise, nothing has been written for it
            // either.
            if loses && phase.get() >= Phase::Open {
                std::future::pending::<()>().await;
            }
        };
        self.does(Doing::Opening);
        tokio::select! {
            biased;
            opened = self.open() => opened?,
            () = not_needed => return Ok(Left::Done),
        }
        if !self.input.is_topic() {
            self.stands(State::Runs);
        }
        let left = self.drive().await?;
        self.commit().await?;
        self.does(Doing::Closing);
        if let Some(let_go) = &mut self.let_go {
            let_go.end(commit::committed(&self.positions)).await;
        }
        self.writers.close().await?;
        if left == Left::Done {
            self.hold();
            self.tell_what_was_of_no_use();
        }
        Ok(left)
    }

    /// Names the steps that could use nothing: a run with `on_error: skip` would end as if there had been no
    /// data.
    fn tell_what_was_of_no_use(&self) {
        for remark in self.input.remarks() {
            tracing::warn!(step = format!("{}.{}", self.name, self.source_id), "{remark}");
        }
        let figures = &self.environment.figures[self.environment.index];
        for (id, metrics) in &figures.steps {
            let Some((rows, reason)) = metrics.nothing_used() else { continue };
            let step = if id.contains('.') { id.clone() } else { format!("{}.{id}", self.name) };
            self.notify(Notice::NothingUsed { chain: self.name.clone(), step, rows, reason });
        }
    }

    /// Tells and counts what the source has found and not given.
    fn hold(&mut self) {
        for held in self.input.held() {
            StepMetrics::add(&self.steps[0].rows_in, 1);
            StepMetrics::add(&self.steps[0].in_flight, 1);
            self.notify(Notice::Held { chain: self.name.clone(), held });
        }
    }

    async fn drive(&mut self) -> Result<Left> {
        let clock = self.environment.options.clock.clone();
        let upstream = self.environment.upstream.clone();
        let mut bounded = false;
        loop {
            let goes_on = self.goes_on();
            if self.draining() && !self.loses_what_it_leaves() {
                // Where positions are kept, the rows of open windows are read again; else they would be lost.
                break if goes_on { Ok(Left::Done) } else { self.finish().await };
            }
            let ends = !bounded && (self.environment.options.once || self.draining());
            let wake_at = self.wake_at();
            self.metrics.standing.waits();
            let wake = tokio::select! {
                biased;
                () = self.environment.command.reaches(Command::Drain), if !self.draining() => Wake::Command,
                over = turn::over(&mut self.turn), if self.turn.is_some() => Wake::TurnOver(over?),
                () = all_reach(&upstream, Phase::Ended), if ends => Wake::UpstreamEnded,
                () = clock.sleep_until(wake_at.unwrap_or_default()), if wake_at.is_some() => Wake::Timer,
                event = self.input.next() => Wake::Event(event.map_err(of_source)?),
            };
            self.does(Doing::Working);
            match wake {
                Wake::Command | Wake::Timer => {}
                // The commit that follows still counts.
                Wake::TurnOver(Over::Revoked) => break Ok(Left::Turn),
                Wake::TurnOver(Over::Lost) => {
                    self.roll_back().await;
                    StepMetrics::add(&self.metrics.aborts, 1);
                    break Ok(Left::Turn);
                }
                Wake::UpstreamEnded => {
                    bounded = true;
                    self.input.bound().await.map_err(of_source)?;
                }
                Wake::Event(InputEvent::End) => break self.finish().await,
                Wake::Event(event) => {
                    self.take_in(event).await?;
                    if let Some(rest) = self.input.rest()? {
                        self.take_in(rest).await?;
                    }
                }
            }
            self.look_upstream();
            self.give_due().await?;
            self.show();
        }
    }

    /// The data is at its end: every open window gives its result.
    async fn finish(&mut self) -> Result<Left> {
        while self.tree.finish(&mut self.writers).await? == Ran::More {
            if self.commit_due() {
                self.commit().await?;
            }
        }
        Ok(Left::Done)
    }

    /// True where the next run goes on at the committed positions.
    fn goes_on(&self) -> bool {
        self.durable || self.keeper.is_some()
    }

    /// When there is something to do without an event.
    fn wake_at(&mut self) -> Option<Duration> {
        let now = self.now();
        let commit = self.commit_at(now).filter(|_| !self.tree.holds_back());
        let window = self.tree.next_wakeup(now);
        [commit, window, self.waiting.looks_at(now)].into_iter().flatten().min()
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
        self.environment.command.get() == Command::Drain
    }

    fn does(&self, doing: Doing) {
        self.metrics.standing.does(doing, self.now());
    }

    fn stands(&self, state: State) {
        self.metrics.standing.set(state, self.now());
    }

    fn notify(&self, notice: Notice) {
        // Nobody listens any more where the run was dropped.
        let _ = self.environment.notices.send(notice);
    }
}

fn of_source(error: Error) -> Error {
    error.of(Part::Source)
}

async fn leave(turn: &mut Option<Turn>) -> Result<()> {
    match turn {
        Some(turn) => turn.close().await,
        None => Ok(()),
    }
}
