//! The test kit: runs a pipeline file in memory on a manual clock. Rows go in, time is advanced, rows come
//! out; nothing sleeps, and an hour takes no time.
//!
//! The file is the one that is run: [`Graph`] puts a feed in the place of every source that is not a topic,
//! and a collector in the place of every sink that is not one. Topics live in the embedded log.

mod feed;
pub mod fuzz;
pub mod laws;
pub mod simulation;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::clock::{Clock, Millis};
use crate::config::{Document, SourceFile, render};
use crate::graph::{NodeBody, Plan, PlanOptions, plan};
use crate::metrics::{Balance, ChainFigures};
use crate::plugin::{BoundSource, Purpose, Registry, SourceBody};
use crate::run::{Outcome, Run, RunOptions};
use feed::{Collector, Feed};

/// The wall time at which a test starts: 2026-01-01T00:00:00Z, a whole second, minute, hour and day.
pub const START: Millis = 1_767_225_600_000;

/// A pipeline that runs in memory on a manual clock.
pub struct Graph {
    runtime: tokio::runtime::Runtime,
    run: Option<Run>,
    feeds: BTreeMap<String, Feed>,
    collectors: BTreeMap<String, Collector>,
    figures: std::sync::Arc<[ChainFigures]>,
}

impl Graph {
    /// Plans a pipeline, with every plugin that is linked into the test, and starts it. Relative paths start
    /// at `base`; `set` is as `--set`. The environment is empty, so a file with `${KAFKA_BROKERS:-embedded}`
    /// runs on the embedded log.
    ///
    /// # Errors
    /// What `pipectl check` would say, as text.
    pub fn start(yaml: &str, base: &Path, set: &[&str]) -> Result<Self, String> {
        let registry = Registry::collect().map_err(|e| e.to_string())?;
        let shown = |problems: Vec<_>| render(&problems, false);
        let set: Vec<String> = set.iter().map(|s| (*s).to_owned()).collect();
        let document =
            Document::parse(&SourceFile::new("test.yaml", yaml), &set, &|_| None).map_err(shown)?;
        let options = PlanOptions { registry: &registry, base, only: &[], purpose: Purpose::Check };
        let (mut plan, _) = plan(&document, options).map_err(shown)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .map_err(|e| e.to_string())?;
        let (run, feeds, collectors) = runtime.block_on(async {
            let clock = Clock::manual(START);
            let feeds = replace_sources(&mut plan, &clock);
            let collectors = replace_sinks(&mut plan);
            (Run::start(plan, &RunOptions::new(clock)).0, feeds, collectors)
        });
        let figures = run.figures();
        let graph = Self { runtime, run: Some(run), feeds, collectors, figures };
        graph.settle();
        Ok(graph)
    }

    /// Puts rows in at `CHAIN.STEP` of a source, stamped with the time that it is; a member that is missing
    /// is null.
    ///
    /// # Errors
    /// Where there is no such source, or the rows do not fit its schema.
    pub fn feed(&mut self, source: &str, rows: &[Value]) -> Result<(), String> {
        let feed =
            self.feeds.get_mut(source).ok_or_else(|| format!("there is no source `{source}` to feed"))?;
        // Outside the runtime the clock would be the system's.
        let inside = self.runtime.enter();
        feed.send(rows)?;
        drop(inside);
        self.settle();
        Ok(())
    }

    /// Lets time pass.
    pub fn advance(&self, time: Duration) {
        self.runtime.block_on(async { tokio::time::sleep(time).await });
        self.settle();
    }

    /// The rows that came out at `CHAIN.STEP` of a sink since the last call.
    ///
    /// # Errors
    /// Where there is no such sink.
    pub fn rows(&self, sink: &str) -> Result<Vec<Value>, String> {
        let collector = self.collectors.get(sink).ok_or_else(|| format!("there is no sink `{sink}`"))?;
        Ok(collector.take())
    }

    /// Ends every source, lets everything run out, and gives the balance of each step by `CHAIN.STEP`.
    ///
    /// # Errors
    /// What ended a chain that failed.
    pub fn finish(&mut self) -> Result<BTreeMap<String, Balance>, String> {
        self.feeds.clear();
        if let Some(run) = self.run.take() {
            run.control().drain();
            let Outcome { failures } = self.runtime.block_on(run.wait());
            if let Some((chain, error)) = failures.first() {
                return Err(format!("{chain}: {error}"));
            }
        }
        let balances = self.figures.iter().flat_map(|chain| {
            chain.steps.iter().map(|(id, metrics)| (format!("{}.{id}", chain.name), metrics.balance()))
        });
        Ok(balances.collect())
    }

    /// Runs every task until all of them wait. On a paused clock a sleep returns once nothing else can run;
    /// it moves the clock by the timer's millisecond at most.
    fn settle(&self) {
        self.runtime.block_on(async { tokio::time::sleep(Duration::from_nanos(1)).await });
    }
}

fn replace_sources(plan: &mut Plan, clock: &Clock) -> BTreeMap<String, Feed> {
    let mut feeds = BTreeMap::new();
    for chain in &mut plan.chains {
        if let SourceBody::Custom(..) = chain.source.bound.body {
            let schema = chain.source.bound.schema.clone();
            let name = format!("{}.{}", chain.name, chain.source.id);
            let (feed, source) = feed::feed(&name, schema.clone(), clock.clone());
            chain.source.bound = BoundSource::custom(name.as_str(), schema, false, source);
            feeds.insert(name, feed);
        }
    }
    feeds
}

fn replace_sinks(plan: &mut Plan) -> BTreeMap<String, Collector> {
    let mut collectors = BTreeMap::new();
    for node in plan.chains.iter_mut().flat_map(|c| &mut c.nodes) {
        if let NodeBody::Sink(sink) = &mut node.body {
            let collector = Collector::default();
            *sink = Box::new(collector.clone());
            collectors.insert(format!("{}.{}", node.chain, node.id), collector);
        }
    }
    collectors
}
