//! Runs a [`Plan`]: one task per chain, joined by topics.
//!
//! # Order at the start and at the end
//! A chain does not read before the chains that read its topics are open, so that a reader which starts at
//! the end of a topic misses nothing that this run writes. At the end it is the other way round: under
//! `--once`, and when a run on a log that forgets ([`LogDescription::durable`](crate::log::LogDescription) is
//! false) is stopped, a chain first waits until the chains that write its topics have ended, then reads those
//! topics to their end.

mod backoff;
mod chain;
mod changelog;
mod channels;
mod checkpoint;
mod dead;
mod encoded;
mod endpoint;
mod fail_point;
mod input;
mod keeper;
mod kept;
mod large;
mod late;
mod let_go;
mod notes;
mod passed;
mod policy;
mod promises;
mod refused;
mod rising;
mod rows;
mod topics;
mod tree;
mod turn;
mod untimed;
mod watched;
mod whole;
mod windows;
mod worker;
mod writers;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use self::rising::{AtLast, Rising};
use self::watched::Watched;
use crate::batch::Partition;
use crate::clock::Clock;
use crate::error::{Consequence, Error, Result};
use crate::graph::{Plan, REPLAY_ROWS, REPLAY_TIME};
use crate::log::{Gone, Log, Start};
use crate::metrics::{ChainFigures, ChainMetrics, State, StepMetrics};
use crate::plugin::Held;

pub use self::fail_point::FailPoint;
use self::worker::Worker;

/// How to run a plan.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Stop when the bounded sources are at their end and every topic is read to where it ended.
    pub once: bool,
    /// The clock.
    pub clock: Clock,
    /// The most rows in a batch of a source.
    pub batch_rows: usize,
    /// About how many results of windows that overlap, or have zeros filled in, the rows that are taken in at
    /// once may make due: a batch that would make more of them due is taken in by parts, and what is due is
    /// given between them.
    pub results_at_once: usize,
    /// Other seeds draw other waits before a chain tries again: each worker should have its own, and is known
    /// by it where it has no folder.
    pub seed: u64,
    /// The longest that positions alone, without results, stay uncommitted.
    pub position_interval: Duration,
    /// A chain over a log that keeps positions reads at most about so many rows of a partition again after a
    /// restart: where its open windows hold more, their state is kept in a changelog.
    pub replay_rows: i64,
    /// The same for how long ago the first of them was read.
    pub replay_time: Duration,
    /// A folder of this machine where workers keep their names, so that one that is started again ends what a
    /// killed one was writing. Without it that ends by its time-out.
    pub state: Option<PathBuf>,
    /// The windows, as `CHAIN.STEP`, whose state may be given up where it is not that of the window which the
    /// file has now.
    pub reset_state: Vec<String>,
}

impl RunOptions {
    /// The defaults: positions alone every 5 s; what two million rows or two minutes have given is not read
    /// again.
    pub fn new(clock: Clock) -> Self {
        Self {
            once: false,
            clock,
            batch_rows: 8192,
            results_at_once: 1 << 18,
            seed: 0,
            position_interval: Duration::from_secs(5),
            replay_rows: REPLAY_ROWS,
            replay_time: REPLAY_TIME,
            state: None,
            reset_state: Vec::new(),
        }
    }
}

/// What the chains are asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Command {
    Run,
    Drain,
}

/// Where a chain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Starting,
    Open,
    Ended,
}

/// Something that a person at the terminal wants to know when it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A sink listens at this address.
    Address {
        /// The chain.
        chain: String,
        /// The address, such as `http://127.0.0.1:5000/`.
        address: String,
    },
    /// A chain has hit a passing fault and tries again.
    Retrying {
        /// The chain.
        chain: String,
        /// What happened.
        error: String,
        /// What to do about it.
        help: Option<String>,
        /// When it tries again.
        after: Duration,
    },
    /// A source goes on where an earlier run stopped.
    Resumed {
        /// The chain.
        chain: String,
        /// The source, such as a file's path.
        source: String,
        /// How many of its rows were dealt with.
        row: i64,
    },
    /// A chain reads the state of its open windows back.
    Restoring {
        /// The chain.
        chain: String,
        /// The topic of its changelog.
        topic: String,
        /// How many records have been read.
        done: u64,
        /// Of how many.
        total: u64,
    },
    /// Records of a topic were gone before the chain was done with them: it goes on behind them.
    Gone {
        /// The chain.
        chain: String,
        /// Which.
        gone: Gone,
    },
    /// The topic that a chain reads has more partitions than before. They are read from their beginning; keys
    /// go to other partitions from now on.
    Grown {
        /// The chain.
        chain: String,
        /// The topic.
        topic: String,
        /// How many partitions it had.
        before: u32,
        /// How many it has.
        now: u32,
    },
    /// A window's state was given up, as [`RunOptions::reset_state`] asks: its open windows hold what can be
    /// read again.
    StateReset {
        /// The chain.
        chain: String,
        /// The window, as `CHAIN.STEP`.
        step: String,
    },
    /// A window is new in a chain that has read a part of its topic: its first windows hold only what comes
    /// from now on, and what is read again.
    WindowBegins {
        /// The chain.
        chain: String,
        /// The window, as `CHAIN.STEP`.
        step: String,
    },
    /// A step could use none of the rows that came in to it.
    NothingUsed {
        /// The chain.
        chain: String,
        /// The step, as `CHAIN.STEP`.
        step: String,
        /// How many came in.
        rows: u64,
        /// The kind of reason that was given most often.
        reason: String,
    },
    /// The last record of a source is not whole: it was not given, and waits for its rest.
    Held {
        /// The chain.
        chain: String,
        /// Which.
        held: Held,
    },
    /// Nothing is kept of how far a chain had come, and yet there are records that it may have written: it
    /// begins anew.
    BeginsAnew {
        /// The chain.
        chain: String,
        /// What it reads, such as `topic in`.
        source: String,
        /// What it read before under its name, where it is another file.
        before: Vec<String>,
        /// Where it begins.
        start: Start,
        /// The topic with the records.
        written: String,
    },
    /// A partition does not have the offset at which the file says that a chain begins.
    StartsElsewhere {
        /// The chain.
        chain: String,
        /// The partition.
        partition: Partition,
        /// The offset in the file.
        wanted: i64,
        /// Where it begins.
        at: i64,
    },
    /// Another worker runs this chain; this one waits for its turn.
    StandsBy {
        /// The chain.
        chain: String,
    },
    /// A chain that stood by runs here from now on.
    TakesOver {
        /// The chain.
        chain: String,
    },
    /// A chain works again after a fault.
    Recovered {
        /// The chain.
        chain: String,
    },
}

/// A run that has been started. Dropping it ends the chains where they stand: what they had not committed is
/// read again by the next run.
pub struct Run {
    control: Control,
    clock: Clock,
    figures: Arc<[ChainFigures]>,
    tasks: Vec<(String, JoinHandle<Result<()>>)>,
}

/// Stops a run.
#[derive(Debug, Clone)]
pub struct Control(Rising<Command>);

impl Control {
    /// Asks every chain to stop in order; [`Run::wait`] tells when they have.
    pub fn drain(&self) {
        self.0.raise(Command::Drain);
    }

    /// True once the chains were asked to stop: by [`drain`](Self::drain), or because one of them failed.
    pub fn draining(&self) -> bool {
        self.0.get() == Command::Drain
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// The chains that failed, with what ended them; the others ended well.
    pub failures: Vec<(String, Error)>,
}

impl Run {
    /// Sees that the topics are there and starts every chain. Returns once the tasks are spawned; a log that
    /// cannot be reached is tried again by the chains. The receiver gives what a person wants to know
    /// meanwhile, until every chain has ended.
    pub fn start(plan: Plan, options: &RunOptions) -> (Self, mpsc::UnboundedReceiver<Notice>) {
        let figures = figures(&plan);
        let command = Rising::new(Command::Run);
        let (notice_tx, notices) = mpsc::unbounded_channel();
        let phases: Vec<_> = plan.chains.iter().map(|_| Rising::new(Phase::Starting)).collect();
        let pick = |chains: Vec<usize>| chains.into_iter().map(|c| phases[c].clone()).collect::<Vec<_>>();
        let joins: Vec<_> =
            (0..plan.chains.len()).map(|c| (pick(plan.upstream(c)), pick(plan.downstream(c)))).collect();
        let sources: Vec<Vec<Arc<ChainMetrics>>> = (0..plan.chains.len())
            .map(|chain| sources(&plan, chain).into_iter().map(|c| figures[c].chain.clone()).collect())
            .collect();
        let connections: Vec<Arc<dyn Log>> = plan.connections.iter().map(|(_, log)| log.clone()).collect();
        let topics = Arc::new(topics::by_connection(&plan));
        let alone: Vec<Vec<(usize, String)>> =
            (0..plan.chains.len()).map(|chain| topics::written_alone(&plan, chain)).collect();
        let shared = connections.iter().any(|log| log.describe().shared);
        let worker = Arc::new(match options.state.as_ref().filter(|_| shared) {
            Some(folder) => Worker::in_folder(folder, &plan.name, &options.clock, options.seed),
            None => Worker::new(&options.clock, options.seed),
        });
        let mut tasks = Vec::new();
        for (index, ((((chain, phase), (upstream, downstream)), sources), alone)) in
            plan.chains.into_iter().zip(&phases).zip(joins).zip(sources).zip(alone).enumerate()
        {
            let name = chain.name.clone();
            let environment = chain::Environment {
                pipeline: plan.name.clone(),
                connections: plan
                    .connections
                    .iter()
                    .map(|(n, _)| n.clone())
                    .zip(connections.clone())
                    .collect(),
                topics: topics.clone(),
                options: options.clone(),
                worker: worker.clone(),
                figures: figures.clone(),
                index,
                command: command.clone(),
                phase: AtLast::new(phase.clone(), Phase::Ended),
                upstream,
                sources,
                alone,
                downstream,
                notices: notice_tx.clone(),
            };
            let (metrics, clock) = (figures[index].chain.clone(), options.clock.clone());
            tasks.push((name, tokio::spawn(Watched::new(chain::run(chain, environment), metrics, clock))));
        }
        (Self { control: Control(command), clock: options.clock.clone(), figures, tasks }, notices)
    }

    /// Live figures of every chain.
    pub fn figures(&self) -> Arc<[ChainFigures]> {
        self.figures.clone()
    }

    /// What stops the run.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Waits until every chain has ended. The first chain that fails makes the others drain.
    pub async fn wait(mut self) -> Outcome {
        let mut failures = Vec::new();
        while !self.tasks.is_empty() {
            let (joined, index) = first_to_end(self.tasks.iter_mut().map(|(_, task)| task)).await;
            let (name, _) = self.tasks.swap_remove(index);
            let result = joined.unwrap_or_else(|panic| {
                let bug = Error::fatal("a bug in pipectl or in one of its plugins stopped the chain");
                self.failed(&name, &bug);
                Err(bug.caused_by(panic))
            });
            if let Err(error) = result {
                failures.push((name, error));
                self.control.drain();
            }
        }
        Outcome { failures }
    }

    /// A chain that panicked could not say so itself.
    fn failed(&self, chain: &str, error: &Error) {
        if let Some(figures) = self.figures.iter().find(|figures| figures.name == chain) {
            let state = State::Failed { error: error.to_string() };
            figures.chain.standing.set(state, self.clock.elapsed());
        }
    }
}

/// The chains from which rows come to a chain, through whatever others.
fn sources(plan: &Plan, chain: usize) -> std::collections::BTreeSet<usize> {
    let mut sources = std::collections::BTreeSet::new();
    let mut next = plan.upstream(chain);
    while let Some(source) = next.pop() {
        if source != chain && sources.insert(source) {
            next.extend(plan.upstream(source));
        }
    }
    sources
}

/// The first of some tasks to end, with its index.
async fn first_to_end<'a>(
    tasks: impl Iterator<Item = &'a mut JoinHandle<Result<()>>>,
) -> (Result<Result<()>, tokio::task::JoinError>, usize) {
    let mut tasks: Vec<_> = tasks.collect();
    std::future::poll_fn(move |cx| {
        for (index, task) in tasks.iter_mut().enumerate() {
            if let std::task::Poll::Ready(joined) = std::pin::Pin::new(&mut **task).poll(cx) {
                return std::task::Poll::Ready((joined, index));
            }
        }
        std::task::Poll::Pending
    })
    .await
}

fn figures(plan: &Plan) -> Arc<[ChainFigures]> {
    plan.chains
        .iter()
        .map(|chain| {
            let ids =
                std::iter::once(chain.source.id.clone()).chain(chain.nodes.iter().map(|n| {
                    if n.chain == chain.name { n.id.clone() } else { format!("{}.{}", n.chain, n.id) }
                }));
            let metrics = ChainMetrics::default();
            metrics.watermark.store(i64::MIN, std::sync::atomic::Ordering::Relaxed);
            ChainFigures {
                name: chain.name.clone(),
                chain: Arc::new(metrics),
                steps: ids.map(|id| (id, Arc::new(StepMetrics::default()))).collect(),
            }
        })
        .collect()
}

impl Drop for Run {
    fn drop(&mut self) {
        for (_, task) in &self.tasks {
            task.abort();
        }
    }
}

/// True where the chain tries again after such an error.
pub(crate) fn passing(error: &Error) -> bool {
    matches!(error.consequence(), Consequence::Retry | Consequence::Abort)
}
