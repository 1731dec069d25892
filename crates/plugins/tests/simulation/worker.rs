//! A simulated process that runs a pipeline file.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use pipectl_framework::clock::Clock;
use pipectl_framework::config::{Document, SourceFile, render};
use pipectl_framework::error::Consequence;
use pipectl_framework::graph::{Plan, PlanOptions, plan};
use pipectl_framework::log::memory::MemoryLog;
use pipectl_framework::metrics::ChainFigures;
use pipectl_framework::plugin::{Purpose, Registry};
use pipectl_framework::run::{Control, Outcome, Run, RunOptions};
use pipectl_plugins as _;
use tokio::task::JoinHandle;

use crate::scenario::START;
use pipectl_framework::testing::simulation::SimulatedLog;
use pipectl_framework::testing::simulation::{Process, World};

pub(crate) static REGISTRY: LazyLock<Registry> = LazyLock::new(|| Registry::collect().expect("plugins"));

/// What workers run.
#[derive(Clone)]
pub(crate) struct Program<'a> {
    pub(crate) document: &'a Document,
    pub(crate) base: &'a Path,
    pub(crate) log: &'a MemoryLog,
    pub(crate) stretch: i64,
}

pub(crate) fn parse(yaml: &str, set: &[String]) -> Document {
    Document::parse(&SourceFile::new("simulation.yaml", yaml), set, &|_| None)
        .unwrap_or_else(|problems| panic!("{}", render(&problems, false)))
}

impl Program<'_> {
    /// The plan, on the simulated log of a process.
    pub(crate) fn plan(&self, world: &Arc<World>, process: &Arc<Process>, only: &[String]) -> Plan {
        let options = PlanOptions { registry: &REGISTRY, base: self.base, only, purpose: Purpose::Check };
        let (mut plan, _) =
            plan(self.document, options).unwrap_or_else(|problems| panic!("{}", render(&problems, false)));
        for (_, log) in &mut plan.connections {
            // A cluster's: nobody listens at its address.
            let described = log.describe();
            *log = Arc::new(SimulatedLog::new(world, process, self.log, self.stretch).described(described));
        }
        plan
    }
}

pub(crate) struct Worker {
    pub(crate) process: Arc<Process>,
    /// The chains that it runs; all where there is none.
    pub(crate) only: Vec<String>,
    control: Control,
    figures: Arc<[ChainFigures]>,
    task: JoinHandle<Outcome>,
}

impl Worker {
    pub(crate) fn start(world: &Arc<World>, program: &Program<'_>, only: Vec<String>, once: bool) -> Self {
        let number = world.number();
        let process = Process::new(number);
        let plan = program.plan(world, &process, &only);
        Self::start_with(world, process, plan, only, &|options| RunOptions { once, ..options })
    }

    /// `tune` changes how the plan is run.
    pub(crate) fn start_with(
        world: &Arc<World>,
        process: Arc<Process>,
        plan: Plan,
        only: Vec<String>,
        tune: &dyn Fn(RunOptions) -> RunOptions,
    ) -> Self {
        world.note(process.number(), "starts");
        world.count("worker started");
        // No two clocks are the same.
        let clock = Clock::manual(START + world.now() as i64 + process.number() as i64);
        let (batch_rows, seed) = (world.draw(1, 20) as usize, world.draw(0, 1 << 32));
        let options = RunOptions { batch_rows, seed, ..RunOptions::new(clock) };
        // Half of the workers take batches in by parts wherever windows may be cut.
        let options = if seed % 2 == 0 { RunOptions { results_at_once: 1, ..options } } else { options };
        let (run, mut notices) = Run::start(plan, &tune(options));
        let (of, number) = (world.clone(), process.number());
        tokio::spawn(async move {
            while let Some(notice) = notices.recv().await {
                of.note(number, &format!("{notice:?}"));
            }
        });
        let (control, figures) = (run.control(), run.figures());
        Self { process, only, control, figures, task: tokio::spawn(run.wait()) }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    pub(crate) fn drain(&self) {
        self.control.drain();
    }

    /// Ends it where it stands.
    pub(crate) async fn crash(self, world: &World) {
        world.note(self.process.number(), "crashes");
        self.process.crash();
        self.task.abort();
        let _ = self.task.await;
        // The chains' tasks are dropped when they are next looked at.
        tokio::task::yield_now().await;
    }

    /// Waits until it has ended in order, and looks at how. Gives false where it crashed meanwhile.
    pub(crate) async fn join(mut self, world: &World) -> bool {
        let outcome = tokio::select! {
            biased;
            () = self.process.has_crashed() => None,
            outcome = &mut self.task => Some(outcome),
        };
        let Some(outcome) = outcome else {
            self.crash(world).await;
            return false;
        };
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(panic) => {
                world.violation(format!("a worker panicked: {panic}"));
                return true;
            }
        };
        world.note(self.process.number(), &format!("ends, {} failures", outcome.failures.len()));
        for (chain, error) in &outcome.failures {
            if error.consequence() == Consequence::Fenced {
                world.count("worker ended: fenced");
            } else {
                world.violation(format!("chain {chain} failed: {error}"));
            }
        }
        if outcome.failures.is_empty() {
            world.count("worker ended in order");
            for chain in self.figures.iter() {
                for (step, metrics) in &chain.steps {
                    let balance = metrics.balance();
                    if !balance.holds() {
                        world.violation(format!(
                            "the balance of {}.{step} does not hold: {balance:?}",
                            chain.name
                        ));
                    }
                }
            }
        }
        true
    }
}
