//! Runs of a pipeline on the log on disk, under a hand-held clock.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pipectl_framework::clock::Clock;
use pipectl_framework::log::Log;
use pipectl_framework::metrics::ChainFigures;
use pipectl_framework::run::{Run, RunOptions};
use pipectl_framework::testing::START;

use crate::support::planned;

/// A runtime whose time stands, and its clock.
pub fn standing() -> (tokio::runtime::Runtime, Clock) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.unwrap();
    let clock = runtime.block_on(async { Clock::manual(START) });
    (runtime, clock)
}

/// What a run has said, and its figures.
pub type Ran = (Vec<String>, Arc<[ChainFigures]>);

/// Runs chains in a folder, each balance of which must hold; an error is the text of the first failure.
/// Without `once` the run is stopped in order after some seconds.
pub fn run(
    runtime: &tokio::runtime::Runtime,
    folder: &Path,
    chains: &str,
    options: &RunOptions,
) -> Result<Ran, String> {
    let yaml = format!("name: t\nconnections:\n  kafka: {{ brokers: embedded:log }}\npipelines:\n{chains}");
    let plan = planned(&yaml, folder);
    runtime.block_on(async {
        let (run, mut notices) = Run::start(plan, options);
        if !options.once {
            tokio::time::sleep(Duration::from_secs(8)).await;
            run.control().drain();
        }
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
        Ok((told, figures))
    })
}

/// The log of a folder.
pub fn log(folder: &Path) -> Arc<dyn Log> {
    let yaml = "name: log
connections:
  kafka: { brokers: embedded:log }
pipelines:
  show:
    - source: kafka
      with: { topic: in, format: text }
    - sink: stdout
";
    planned(yaml, folder).connections[0].1.clone()
}
