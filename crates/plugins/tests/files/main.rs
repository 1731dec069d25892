//! Files as sources, in whole pipelines: what stands in a file comes out once, however the file grows and however often the
//! pipeline is started.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "a test fails by panicking; its modules are its own"
)]

mod forms;
mod half;
mod odd;
#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::sync::Arc;

use pipectl_framework::clock::Clock;
use pipectl_framework::log::Log;
use pipectl_framework::metrics::Balance;
use pipectl_framework::run::{Run, RunOptions};
use pipectl_framework::testing::START;
use pipectl_plugins as _;
use serde_json::Value;
use support::{planned, read};

/// A folder with a pipeline, its log on disk and its files.
pub(crate) struct Job {
    folder: tempfile::TempDir,
    clock: Clock,
    runtime: tokio::runtime::Runtime,
}

/// What a run has said.
pub(crate) struct Ended {
    /// Its notices.
    pub(crate) told: Vec<String>,
    /// The balance of the first chain's source.
    pub(crate) source: Balance,
}

impl Job {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.unwrap();
        let clock = runtime.block_on(async { Clock::manual(START) });
        Self { folder: tempfile::tempdir().unwrap(), clock, runtime }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    pub(crate) fn append(&self, name: &str, content: impl AsRef<[u8]>) {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(self.path(name)).unwrap();
        std::io::Write::write_all(&mut file, content.as_ref()).unwrap();
    }

    /// Runs the chains to the end of their data, with the text of the first failure.
    pub(crate) fn try_once(&self, chains: &str) -> Result<Ended, String> {
        let yaml =
            format!("name: t\nconnections:\n  kafka: {{ brokers: embedded:log }}\npipelines:\n{chains}");
        let plan = planned(&yaml, self.folder.path());
        let options = RunOptions { once: true, ..RunOptions::new(self.clock.clone()) };
        self.runtime.block_on(async {
            let (run, mut notices) = Run::start(plan, &options);
            let figures = run.figures();
            let outcome = run.wait().await;
            if let Some((chain, error)) = outcome.failures.first() {
                let help = error.help().map(|help| format!("\n{help}")).unwrap_or_default();
                return Err(format!("{chain}: {error}{help}"));
            }
            for chain in figures.iter() {
                for (step, metrics) in &chain.steps {
                    let balance = metrics.balance();
                    assert!(balance.holds(), "{}.{step}: {balance:?}", chain.name);
                }
            }
            let mut told = Vec::new();
            while let Some(notice) = notices.recv().await {
                told.push(format!("{notice:?}"));
            }
            Ok(Ended { told, source: figures[0].steps[0].1.balance() })
        })
    }

    /// The same; a failure is the test's.
    pub(crate) fn once(&self, chains: &str) -> Ended {
        self.try_once(chains).unwrap_or_else(|e| panic!("{e}"))
    }

    /// The rows of a topic.
    pub(crate) fn topic(&self, name: &str) -> Vec<Value> {
        let yaml = "name: log
connections:
  kafka: { brokers: embedded:log }
pipelines:
  show:
    - source: kafka
      with: { topic: in, format: text }
    - sink: stdout
";
        let log: Arc<dyn Log> = planned(yaml, self.folder.path()).connections[0].1.clone();
        self.runtime.block_on(read(&log, name))
    }

    /// One column of the rows that were copied, in order.
    pub(crate) fn copied(&self, column: &str) -> Vec<String> {
        let cell = |row: &Value| row[column].as_str().map_or(row[column].to_string(), str::to_owned);
        self.topic("copy").iter().map(cell).collect()
    }
}

/// A chain from a source with these settings to the topic `copy`.
pub(crate) fn copying(source: &str, with: &str) -> String {
    format!(
        "  rows:
    - source: {source}
      with: {{ {with} }}
    - sink: kafka
      with: {{ topic: copy, partitions: 1 }}
"
    )
}
