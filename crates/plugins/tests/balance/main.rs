//! The record balance over plugins of a test's own, whole runs in memory: what came in is accounted for,
//! whatever the plugins of a chain do with rows.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::format_push_string,
    unreachable_pub,
    reason = "a test fails by panicking; its modules are its own; files are written piece by piece"
)]

#[path = "../support/dice.rs"]
mod dice;
#[path = "../support/mod.rs"]
mod support;

mod early;
mod encoders;
mod narrow;
mod promises;
mod transforms;
mod whole;

use std::collections::BTreeMap;
use std::sync::Arc;

use pipectl_framework::clock::Clock;
use pipectl_framework::log::memory::{MemoryLog, MemoryOptions};
use pipectl_framework::metrics::Balance;
use pipectl_framework::run::{Run, RunOptions};
use pipectl_framework::testing::START;
use pipectl_plugins as _;
use serde_json::Value;
use support::{planned, read};

/// What became of a run.
struct Ran {
    /// The error that ended a chain, with its remedy.
    failure: Option<String>,
    /// By `CHAIN.STEP`.
    balances: BTreeMap<String, Balance>,
    log: MemoryLog,
    runtime: tokio::runtime::Runtime,
}

impl Ran {
    /// The records of a topic; each is JSON.
    fn records(&self, topic: &str) -> Vec<Value> {
        let log: Arc<dyn pipectl_framework::log::Log> = Arc::new(self.log.clone());
        self.runtime.block_on(read(&log, topic))
    }

    fn balance(&self, step: &str) -> Balance {
        *self.balances.get(step).unwrap_or_else(|| panic!("no step {step} in {:?}", self.balances))
    }
}

/// Runs `pipelines` to its end over `rows.csv` of these lines, on a log that takes records of `largest` bytes
/// at most.
fn run(pipelines: &str, csv: &str, largest: usize) -> Ran {
    run_cut(pipelines, csv, largest, 8192)
}

/// The same in batches of `cut` rows at most.
fn run_cut(pipelines: &str, csv: &str, largest: usize, cut: usize) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rows.csv"), csv).unwrap();
    let folder = folder.path();
    let yaml = format!("name: t\nconnections: {{ kafka: {{ brokers: embedded }} }}\npipelines:\n{pipelines}");
    let log = MemoryLog::new(MemoryOptions { max_record_bytes: largest, ..MemoryOptions::default() });
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (outcome, figures) = runtime.block_on(async {
        let mut plan = planned(&yaml, folder);
        plan.connections[0].1 = Arc::new(log.clone());
        let options = RunOptions { once: true, batch_rows: cut, ..RunOptions::new(Clock::manual(START)) };
        let (run, _notices) = Run::start(plan, &options);
        let figures = run.figures();
        (run.wait().await, figures)
    });
    let failure = outcome.failures.into_iter().next();
    let steps = figures.iter().flat_map(|chain| {
        chain.steps.iter().map(|(id, metrics)| (format!("{}.{id}", chain.name), metrics.balance()))
    });
    Ran {
        failure: failure.map(|(_, error)| format!("{error}; {}", error.help().unwrap_or_default())),
        balances: steps.collect(),
        log,
        runtime,
    }
}
