//! The steps behind a source: pushes batches through them and keeps each step's record balance.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::large::Limits;
use super::late::Told;
use super::passed::Passed;
use super::promises::{Promiser, caught};
use super::refused::RefusedRecords;
use super::rows::{Extent, Rows};
use super::writers::Writers;
use super::{FailPoint, dead};
use crate::batch::Batch;
use crate::clock::Clock;
use crate::config::Retry;
use crate::error::{Error, Part, Result};
use crate::graph::{Node, NodeBody};
use crate::log::Refused;
use crate::metrics::StepMetrics;
use crate::plugin::{Rejects, SinkContext};
use crate::window::{Ran, WindowOperator, WindowOutput};

/// How long a sink may take to close.
const LONGEST_CLOSE: Duration = Duration::from_secs(2);

pub(crate) struct Tree {
    pub(super) nodes: Vec<Node>,
    pub(super) metrics: Vec<Arc<StepMetrics>>,
    pub(super) clock: Clock,
    /// Where rows come mixed, from how many partitions.
    pub(super) channels: Option<u32>,
    /// Batches on their way, each with the node that gets it; the last is next.
    pub(super) work: Vec<(usize, Batch)>,
    pub(super) rejects: Rejects,
    /// For each node what its topic takes, as far as is known.
    pub(super) limits: Vec<Limits>,
    /// What the logs have refused.
    pub(super) refused: RefusedRecords,
    pub(super) windowed: WindowOutput,
    /// What was told of late rows, for each node.
    pub(super) told_late: Vec<Told>,
    /// For each node whether it was told that its topic soon deletes what it writes.
    pub(super) told_old: Vec<bool>,
    /// True where rows reached a sink since the last commit.
    pub(super) wrote: bool,
}

impl Tree {
    /// `metrics` are those of the nodes, in their order.
    pub(crate) fn new(nodes: Vec<Node>, metrics: Vec<Arc<StepMetrics>>, clock: Clock) -> Self {
        Self {
            told_old: vec![false; nodes.len()],
            told_late: nodes.iter().map(|_| Told::default()).collect(),
            nodes,
            metrics,
            clock,
            channels: None,
            work: Vec::new(),
            rejects: Rejects::default(),
            limits: Vec::new(),
            refused: RefusedRecords::default(),
            windowed: WindowOutput::default(),
            wrote: false,
        }
    }

    /// Opens the sinks of plugins' own; gives the addresses they listen at.
    pub(crate) async fn open(&mut self, context: &SinkContext) -> Result<Vec<String>> {
        let mut addresses = Vec::new();
        for (index, node) in self.nodes.iter_mut().enumerate() {
            let NodeBody::Sink(sink) = &mut node.body else { continue };
            let promiser = Promiser::of("sink", &node.plugin);
            let opened = promiser.guards("while it was opened", sink.open(context)).await;
            opened.map_err(|e| of_sink(e, index, &node.chain, &node.id))?;
            addresses.extend(sink.addresses());
        }
        Ok(addresses)
    }

    /// The connections that the tree writes to: indices into the plan's.
    pub(crate) fn connections(&self) -> Vec<usize> {
        let mut connections: Vec<usize> = self
            .nodes
            .iter()
            .filter_map(|n| match &n.body {
                NodeBody::Topic(connection, _) | NodeBody::Repartition(connection, ..) => Some(*connection),
                _ => None,
            })
            .collect();
        connections.sort_unstable();
        connections.dedup();
        connections
    }

    /// How faults of a step are tried again, with its name.
    pub(crate) fn retry(&self, index: usize) -> (Retry, String) {
        self.nodes
            .get(index)
            .map_or_else(Default::default, |node| (node.retry, format!("`{}`", self.place(index))))
    }

    /// How faults of a connection are: by the strictest of the sinks that write there. `None` where no sink
    /// does.
    pub(crate) fn retry_on(&self, connection: usize) -> Option<(Retry, String)> {
        let on = |node: &Node| matches!(&node.body, NodeBody::Topic(c, _) | NodeBody::Repartition(c, ..) if *c == connection);
        let sinks =
            self.nodes.iter().enumerate().filter(|(_, node)| on(node)).map(|(index, _)| self.retry(index));
        sinks.reduce(|first, other| if first.0.stricter(other.0) == first.0 { first } else { other })
    }

    /// Gives a batch to `to`, and what comes of it to the steps behind, down to the sinks.
    pub(crate) async fn push(&mut self, to: &[usize], batch: Batch, writers: &mut Writers) -> Result<()> {
        self.enqueue(to, batch);
        self.work_off(writers).await
    }

    async fn work_off(&mut self, writers: &mut Writers) -> Result<()> {
        while let Some((index, batch)) = self.work.pop() {
            StepMetrics::add(&self.metrics[index].rows_in, fresh_rows(&batch));
            let extent = Extent::of(&batch);
            let done = caught(self.step(index, Rows::of(batch), writers)).await;
            let done = done.unwrap_or_else(|panic| Err(self.promiser(index).panicked(extent, &panic)));
            if let Err(error) = done {
                self.work.clear();
                return Err(error.at(self.place(index)).of(Part::Node(index)));
            }
        }
        Ok(())
    }

    fn promiser(&self, index: usize) -> Promiser<'_> {
        let node = &self.nodes[index];
        Promiser::of(node.body.kind(), &node.plugin)
    }

    pub(super) fn place(&self, index: usize) -> String {
        format!("{}.{}", self.nodes[index].chain, self.nodes[index].id)
    }

    pub(super) fn enqueue(&mut self, to: &[usize], batch: Batch) {
        if batch.is_empty() {
            return;
        }
        for index in to.iter().rev() {
            self.work.push((*index, batch.clone()));
        }
    }

    async fn step(&mut self, index: usize, rows: Rows, writers: &mut Writers) -> Result<()> {
        match (&mut self.nodes[index].body, rows) {
            (NodeBody::Transform(..), rows) => self.transform(index, rows.into_batch()),
            (NodeBody::Window(window), rows) => {
                let wall = self.clock.now();
                window.push(rows.batch(), self.clock.elapsed(), wall, &mut self.windowed)?;
                let pushed = rows.into_batch();
                self.emit(index, Some(&pushed))
            }
            (NodeBody::Sink(_), Rows::New(rows)) => self.write(index, &rows).await,
            (NodeBody::Repartition(..), Rows::New(rows)) => self.repartition(index, &rows, writers).await,
            (NodeBody::Topic(..), Rows::New(rows)) => self.append(index, &rows, writers).await,
            // The one place where rows that are read again are kept from whatever writes them.
            (NodeBody::Sink(_) | NodeBody::Repartition(..) | NodeBody::Topic(..), Rows::Again(rows)) => {
                self.endpoint_again(index, &rows)
            }
        }
    }

    fn transform(&mut self, index: usize, batch: Batch) -> Result<()> {
        let node = &mut self.nodes[index];
        let NodeBody::Transform(transform, promised) = &mut node.body else { return Ok(()) };
        let promiser = Promiser::of("transform", &node.plugin);
        self.rejects.clear();
        // Cheap: columns are shared, and a rejected row is shown as it came in.
        let before = batch.clone();
        let (rows, replay) = (before.rows(), before.origin().replay);
        let given = transform.apply(batch, &mut self.rejects)?;
        let rejected = self.rejects.settle(rows).map_err(|row| promiser.rejected(row, rows))?;
        promiser.gives(promised, &given.columns().schema())?;
        let passed = match Passed::left_out(&before, &given) {
            Some(passed) if rejected.is_empty() => passed,
            _ => {
                promiser.made_of(&before, &given)?;
                Passed::of(&before, &given, &rejected)
            }
        };
        // Whether rows are read again is not for a plugin to say.
        let given = given.made_of(&before).replayed(replay);
        if !replay {
            let metrics = &self.metrics[index];
            StepMetrics::add(&metrics.rows_out, passed.out);
            StepMetrics::add(&metrics.made, passed.made);
            StepMetrics::add(&metrics.filtered, passed.filtered);
        }
        let dead = dead::of_rows(&before, self.rejects.rows());
        let main = std::mem::take(&mut self.nodes[index].outputs.main);
        self.enqueue(&main, given);
        self.nodes[index].outputs.main = main;
        self.rejected(index, &before, &dead)
    }

    /// Sends on what a window gave, and counts it.
    fn emit(&mut self, index: usize, pushed: Option<&Batch>) -> Result<()> {
        let output = std::mem::take(&mut self.windowed);
        let metrics = self.metrics[index].clone();
        StepMetrics::add(&metrics.rows_out, output.closed_rows);
        // Rows of open panes come in again after a restart; all others were done with before.
        StepMetrics::add(&metrics.rows_in, output.again_rows);
        if let Some(pushed) = pushed {
            output.late.iter().for_each(|late| self.tell_of_late(index, late, pushed));
        }
        let outputs = std::mem::take(&mut self.nodes[index].outputs);
        let late: usize = output.late.iter().map(Batch::rows).sum();
        StepMetrics::add(&metrics.late, late as u64);
        let made: usize = output.results.iter().map(Batch::rows).sum();
        StepMetrics::add(&metrics.made, made as u64);
        if let NodeBody::Window(window) = &self.nodes[index].body {
            metrics.in_flight.store(window.in_flight_rows(), Relaxed);
        }
        // The work list is a stack: what is put on first is done last, and results go out in the order of
        // their windows.
        for batch in output.late {
            self.enqueue(&outputs.late, batch);
        }
        for batch in output.results.into_iter().rev() {
            self.enqueue(&outputs.main, batch);
        }
        self.nodes[index].outputs = outputs;
        match pushed {
            Some(batch) if !output.rejected.is_empty() => {
                let dead = dead::of_rows(batch, output.rejected.rows());
                self.rejected(index, batch, &dead)
            }
            _ => Ok(()),
        }
    }

    /// Lets time pass: closes the windows that are due. `More` where the transaction is full before all are
    /// closed.
    pub(crate) async fn tick(&mut self, now: Duration, writers: &mut Writers) -> Result<Ran> {
        let wall = self.clock.now();
        self.each_window(writers, |window, out| window.tick(now, wall, out)).await
    }

    /// The end of a bounded input: every open window gives its result. Its rows count as gone on.
    pub(crate) async fn finish(&mut self, writers: &mut Writers) -> Result<Ran> {
        let wall = self.clock.now();
        let finish = |window: &mut WindowOperator, out: &mut WindowOutput| {
            window.hear_clock(wall);
            window.finish(out)
        };
        if self.each_window(writers, finish).await? == Ran::More {
            return Ok(Ran::More);
        }
        for (node, metrics) in self.nodes.iter().zip(&self.metrics) {
            if let NodeBody::Window(window) = &node.body {
                StepMetrics::add(&metrics.rows_out, window.in_flight_rows());
                metrics.in_flight.store(0, Relaxed);
            }
        }
        Ok(Ran::All)
    }

    async fn each_window(
        &mut self,
        writers: &mut Writers,
        mut f: impl FnMut(&mut WindowOperator, &mut WindowOutput) -> Result<Ran>,
    ) -> Result<Ran> {
        for index in 0..self.nodes.len() {
            // What one call gives goes on before the next, so that a catch-up takes no more memory than one
            // call's results.
            loop {
                let node = &mut self.nodes[index];
                let NodeBody::Window(window) = &mut node.body else { break };
                let ran = Promiser::of("window", &node.plugin)
                    .guards_now("while it gave the windows that are due", || f(window, &mut self.windowed))
                    .map_err(|e| e.at(self.place(index)))?;
                if !self.windowed.is_empty() {
                    self.emit(index, None)?;
                    FailPoint::WindowClosed.pass();
                    self.work_off(writers).await?;
                }
                match ran {
                    Ran::All => break,
                    Ran::More if writers.full() => return Ok(Ran::More),
                    Ran::More => {}
                }
            }
        }
        Ok(Ran::All)
    }

    pub(crate) fn wrote(&self) -> bool {
        self.wrote
    }

    /// Takes these records out when they come again, as their log refuses them. True where one of them was
    /// not known.
    pub(crate) fn refuse(&mut self, refused: Vec<Refused>) -> bool {
        self.refused.add(refused)
    }

    /// Makes what the plugins' own sinks hold durable.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        for (index, node) in self.nodes.iter_mut().enumerate() {
            let NodeBody::Sink(sink) = &mut node.body else { continue };
            let promiser = Promiser::of("sink", &node.plugin);
            let flushed = promiser.guards("while it was flushed", sink.flush()).await;
            flushed.map_err(|e| of_sink(e, index, &node.chain, &node.id))?;
        }
        Ok(())
    }

    /// Counts what was written as durable.
    pub(crate) fn committed(&mut self) {
        self.wrote = false;
        self.refused.committed();
        for (node, metrics) in self.nodes.iter().zip(&self.metrics) {
            if matches!(node.body, NodeBody::Sink(_) | NodeBody::Topic(..) | NodeBody::Repartition(..)) {
                let durable = metrics.in_flight.swap(0, Relaxed);
                StepMetrics::add(&metrics.rows_out, durable);
            }
        }
    }

    /// Closes the sinks of plugins' own. Everything is durable by now, so one that does not come back is
    /// left.
    pub(crate) async fn close(&mut self) -> Result<()> {
        let mut result = Ok(());
        for (index, node) in self.nodes.iter_mut().enumerate() {
            let NodeBody::Sink(sink) = &mut node.body else { continue };
            let promiser = Promiser::of("sink", &node.plugin);
            let closing = promiser.guards("while it was closed", sink.close());
            let overdue = self.clock.sleep_until(self.clock.elapsed() + LONGEST_CLOSE);
            let closed = tokio::select! {
                biased;
                closed = closing => closed,
                () = overdue => Err(promiser.broke(format!(
                    "was not closed within {} s; nothing that was committed is lost",
                    LONGEST_CLOSE.as_secs()
                ))),
            };
            result = result.and(closed.map_err(|e| of_sink(e, index, &node.chain, &node.id)));
        }
        result
    }
}

fn of_sink(error: Error, index: usize, chain: &str, id: &str) -> Error {
    error.at(format!("{chain}.{id}")).of(Part::Node(index))
}

/// The rows that count: those that are read again were counted before the restart.
fn fresh_rows(batch: &Batch) -> u64 {
    if batch.origin().replay { 0 } else { batch.rows() as u64 }
}
