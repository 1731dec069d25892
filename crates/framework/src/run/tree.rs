//! The steps behind a source: pushes batches through them and keeps each step's record balance.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use arrow_buffer::ScalarBuffer;

use super::large::Limits;
use super::late::Told;
use super::passed::Passed;
use super::refused::RefusedRecords;
use super::writers::Writers;
use super::{FailPoint, dead, endpoint};
use crate::batch::{Batch, Partition, Times};
use crate::clock::Clock;
use crate::config::Retry;
use crate::error::{Error, Part, Result};
use crate::graph::{Node, NodeBody};
use crate::log::Refused;
use crate::metrics::StepMetrics;
use crate::plugin::{Rejects, SinkContext};
use crate::window::{Ran, Restored, SavedPart, WindowOperator, WindowOutput};

pub(crate) struct Tree {
    pub(super) nodes: Vec<Node>,
    pub(super) metrics: Vec<Arc<StepMetrics>>,
    pub(super) clock: Clock,
    /// Where rows come mixed, from how many partitions.
    pub(super) channels: Option<u32>,
    /// Batches on their way, each with the node that gets it; the last is next.
    work: Vec<(usize, Batch)>,
    pub(super) rejects: Rejects,
    /// For each node what its topic takes, as far as is known.
    pub(super) limits: Vec<Limits>,
    /// What the logs have refused.
    pub(super) refused: RefusedRecords,
    windowed: WindowOutput,
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
            if let NodeBody::Sink(sink) = &mut node.body {
                sink.open(context).await.map_err(|e| of_sink(e, index, &node.chain, &node.id))?;
                addresses.extend(sink.addresses());
            }
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

    /// How faults of a connection are: by the strictest of the sinks that write there. `None` where no sink does.
    pub(crate) fn retry_on(&self, connection: usize) -> Option<(Retry, String)> {
        let on = |node: &Node| matches!(&node.body, NodeBody::Topic(c, _) | NodeBody::Repartition(c, ..) if *c == connection);
        let sinks =
            self.nodes.iter().enumerate().filter(|(_, node)| on(node)).map(|(index, _)| self.retry(index));
        sinks.reduce(|first, other| if first.0.stricter(other.0) == first.0 { first } else { other })
    }

    /// How many rows of a batch can be pushed before windows that are due give their results, so that about `most` of these are
    /// held at once.
    pub(crate) fn rows_at_once(&self, batch: &Batch, most: usize) -> usize {
        // Nothing closes for rows that are read again.
        if batch.origin().replay {
            return batch.rows();
        }
        let windows = self.nodes.iter().filter_map(|node| match &node.body {
            NodeBody::Window(window) => Some(window.rows_at_once(batch, most)),
            _ => None,
        });
        windows.min().unwrap_or(batch.rows())
    }

    /// Gives a batch to `to`, and what comes of it to the steps behind, down to the sinks.
    pub(crate) async fn push(&mut self, to: &[usize], batch: Batch, writers: &mut Writers) -> Result<()> {
        self.enqueue(to, batch);
        self.work_off(writers).await
    }

    async fn work_off(&mut self, writers: &mut Writers) -> Result<()> {
        while let Some((index, batch)) = self.work.pop() {
            StepMetrics::add(&self.metrics[index].rows_in, fresh_rows(&batch));
            let done = match (&self.nodes[index].body, batch.origin().replay) {
                // The one place where rows that are read again are kept from whatever writes them.
                (NodeBody::Sink(_) | NodeBody::Topic(..) | NodeBody::Repartition(..), true) => {
                    self.endpoint_again(index, &batch)
                }
                _ => self.step(index, batch, writers).await,
            };
            if let Err(error) = done {
                self.work.clear();
                return Err(error.at(self.place(index)).of(Part::Node(index)));
            }
        }
        Ok(())
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

    async fn step(&mut self, index: usize, batch: Batch, writers: &mut Writers) -> Result<()> {
        let node = &mut self.nodes[index];
        let metrics = &self.metrics[index];
        let rows = batch.rows();
        let replay = batch.origin().replay;
        let partition = batch.origin().partition.clone();
        match &mut node.body {
            NodeBody::Transform(transform) => {
                self.rejects.clear();
                // Cheap: columns are shared, and a rejected row is shown as it came in.
                let before = batch.clone();
                let given = transform.apply(batch, &mut self.rejects)?.made_of(&before);
                let rejected = endpoint::settled(&mut self.rejects, rows, "transform", &node.plugin)?;
                if !replay {
                    let passed = Passed::of(&before, &given, &rejected);
                    StepMetrics::add(&metrics.rows_out, passed.out);
                    StepMetrics::add(&metrics.made, passed.made);
                    StepMetrics::add(&metrics.filtered, passed.filtered);
                }
                let dead = dead::of_rows(&before, self.rejects.rows());
                let main = std::mem::take(&mut self.nodes[index].outputs.main);
                self.enqueue(&main, given);
                self.nodes[index].outputs.main = main;
                self.rejected(index, &partition, &dead, replay)
            }
            NodeBody::Window(window) => {
                let wall = self.clock.now();
                window.push(&batch, self.clock.elapsed(), wall, &mut self.windowed)?;
                self.emit(index, &partition, Some(&batch), replay)
            }
            NodeBody::Sink(_) => self.write(index, &batch).await,
            NodeBody::Repartition(..) => self.repartition(index, &batch, writers).await,
            NodeBody::Topic(..) => self.append(index, &batch, writers).await,
        }
    }

    /// Sends on what a window gave, and counts it.
    fn emit(
        &mut self,
        index: usize,
        partition: &Partition,
        pushed: Option<&Batch>,
        replay: bool,
    ) -> Result<()> {
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
        // The work list is a stack: what is put on first is done last, and results go out in the order of their windows.
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
                self.rejected(index, partition, &dead, replay)
            }
            _ => Ok(()),
        }
    }

    /// A partition that the source has been given, with what each window wants back, in their order.
    pub(crate) fn assign(
        &mut self,
        partition: &Partition,
        from: Option<i64>,
        restored: Vec<Option<Restored>>,
    ) {
        let mut restored = restored.into_iter();
        let now = self.clock.elapsed();
        let channels = self.channels;
        for window in windows(&mut self.nodes) {
            let restored = restored.next().flatten();
            let dealt_with = restored.as_ref().map(|r| r.pos);
            Self::assign_window(window, partition, channels, restored, now);
            if from < dealt_with {
                window.expect_replay(partition, now);
            }
        }
        self.assign_speakers(partition, now);
    }

    /// The keys that zero fill keeps and that are not in the changelog yet, each with its step.
    pub(crate) fn save_keys(&mut self, partition: &Partition) -> Vec<(String, Vec<u8>)> {
        let saved = |(name, window): (&str, &mut WindowOperator)| {
            window.save_keys(partition).map(|piece| (name.to_owned(), piece))
        };
        kept_windows(&mut self.nodes).filter_map(saved).collect()
    }

    /// True where the windows hold all that was read of a partition.
    pub(crate) fn can_save(&mut self, partition: &Partition) -> bool {
        windows(&mut self.nodes).all(|window| window.can_save(partition))
    }

    /// The state of the windows, rows before `next` having been pushed; each part with its step.
    pub(crate) fn save(&mut self, partition: &Partition, next: i64) -> Vec<(String, SavedPart)> {
        kept_windows(&mut self.nodes)
            .flat_map(|(name, window)| {
                window.save(partition, next).into_iter().map(move |part| (name.to_owned(), part))
            })
            .collect()
    }

    /// Takes in what was saved of a step's window. What a step left that is there no more is passed over.
    pub(crate) fn load(&mut self, partition: &Partition, step: &str, piece: &[u8]) -> Result<()> {
        match kept_windows(&mut self.nodes).find(|(name, _)| *name == step) {
            Some((_, window)) => window.load(partition, piece).map_err(|e| e.at(step)),
            None => Ok(()),
        }
    }

    pub(crate) fn revoke(&mut self, partition: &Partition) {
        self.revoke_speakers(partition);
        for (node, metrics) in self.nodes.iter_mut().zip(&self.metrics) {
            if let NodeBody::Window(window) = &mut node.body {
                window.revoke(partition);
                metrics.hand_over(window.in_flight_rows());
            }
        }
    }

    /// Drops every open pane; the rows are read again.
    pub(crate) fn reset(&mut self, partitions: &[Partition]) {
        self.work.clear();
        self.windowed = WindowOutput::default();
        self.wrote = false;
        for partition in partitions {
            self.revoke(partition);
        }
    }

    /// A batch with rows of these times has been pushed.
    pub(crate) fn observe(
        &mut self,
        partition: &Partition,
        times: &Times,
        offsets: &ScalarBuffer<i64>,
        now: Duration,
    ) {
        let wall = self.clock.now();
        for window in windows(&mut self.nodes) {
            window.observe(partition, times, now, wall);
            window.saw(partition, times, offsets, wall);
        }
        self.observe_speakers(partition, times, now, wall);
    }

    /// Rows of the partition come that are not read again.
    pub(crate) fn is_replayed(&mut self, partition: &Partition, now: Duration) {
        windows(&mut self.nodes).for_each(|window| window.is_replayed(partition, now));
    }

    pub(crate) fn caught_up(&mut self, partition: &Partition, caught_up: bool, now: Duration) {
        for window in windows(&mut self.nodes) {
            window.caught_up(partition, caught_up, now);
        }
        self.speakers_caught_up(partition, caught_up, now);
    }

    /// Lets time pass: closes the windows that are due. `More` where the transaction is full before all are closed.
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
            // What one call gives goes on before the next, so that a catch-up takes no more memory than one call's results.
            while let NodeBody::Window(window) = &mut self.nodes[index].body {
                let ran = f(window, &mut self.windowed).map_err(|e| e.at(self.place(index)))?;
                if !self.windowed.is_empty() {
                    let nowhere = Partition::new("", 0);
                    self.emit(index, &nowhere, None, false)?;
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

    /// When the next window may be due, in the clock's elapsed time.
    pub(crate) fn next_wakeup(&mut self, now: Duration) -> Option<Duration> {
        windows(&mut self.nodes).filter_map(|w| w.next_wakeup(now)).min()
    }

    /// True where a window holds a result back that belongs to what has been pushed: nothing is committed meanwhile.
    pub(crate) fn holds_back(&self) -> bool {
        self.nodes.iter().any(|n| matches!(&n.body, NodeBody::Window(window) if window.holds_back()))
    }

    /// The windows, in the order of their steps.
    pub(super) fn windows(&mut self) -> impl Iterator<Item = &mut WindowOperator> {
        windows(&mut self.nodes)
    }

    /// Windows behind these steps have rows whose times are those at which they are read.
    pub(crate) fn count_on_arrival_behind(&mut self, steps: &[usize]) {
        for step in steps {
            let Some(node) = self.nodes.get_mut(*step) else { continue };
            if let NodeBody::Window(window) = &mut node.body {
                window.count_on_arrival();
            }
            let outputs = &node.outputs;
            let behind: Vec<usize> =
                [&outputs.main, &outputs.late, &outputs.dead].into_iter().flatten().copied().collect();
            self.count_on_arrival_behind(&behind);
        }
    }

    /// The same, each with the name under which its state is kept.
    pub(super) fn kept_windows(&self) -> impl Iterator<Item = (&str, &WindowOperator)> {
        self.nodes.iter().filter_map(|node| match &node.body {
            NodeBody::Window(window) => Some((node.kept_as.as_str(), &**window)),
            _ => None,
        })
    }

    /// The names under which the state of this step, `CHAIN.STEP`, is kept.
    pub(super) fn kept_names(&self, step: &str) -> impl Iterator<Item = String> {
        let is_it = move |node: &&Node| step == format!("{}.{}", node.chain, node.id);
        self.nodes.iter().filter(is_it).map(|node| node.kept_as.clone())
    }

    pub(crate) fn has_windows(&self) -> bool {
        self.nodes.iter().any(|n| matches!(n.body, NodeBody::Window(_)))
    }

    /// The least watermark of the windows.
    pub(crate) fn watermark(&mut self) -> Option<i64> {
        windows(&mut self.nodes).filter_map(|w| w.watermark()).min()
    }

    pub(crate) fn wrote(&self) -> bool {
        self.wrote
    }

    /// Takes these records out when they come again, as their log refuses them. True where one of them was not known.
    pub(crate) fn refuse(&mut self, refused: Vec<Refused>) -> bool {
        self.refused.add(refused)
    }

    /// Makes what the plugins' own sinks hold durable.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        for (index, node) in self.nodes.iter_mut().enumerate() {
            if let NodeBody::Sink(sink) = &mut node.body {
                sink.flush().await.map_err(|e| of_sink(e, index, &node.chain, &node.id))?;
            }
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

    pub(crate) async fn close(&mut self) -> Result<()> {
        let mut result = Ok(());
        for (index, node) in self.nodes.iter_mut().enumerate() {
            if let NodeBody::Sink(sink) = &mut node.body {
                let closed = sink.close().await.map_err(|e| of_sink(e, index, &node.chain, &node.id));
                result = result.and(closed);
            }
        }
        result
    }
}

fn of_sink(error: Error, index: usize, chain: &str, id: &str) -> Error {
    error.at(format!("{chain}.{id}")).of(Part::Node(index))
}

fn windows(nodes: &mut [Node]) -> impl Iterator<Item = &mut WindowOperator> {
    nodes.iter_mut().filter_map(|n| match &mut n.body {
        NodeBody::Window(window) => Some(&mut **window),
        _ => None,
    })
}

/// The windows, each with the name under which its state is kept.
fn kept_windows(nodes: &mut [Node]) -> impl Iterator<Item = (&str, &mut WindowOperator)> {
    nodes.iter_mut().filter_map(|node| match &mut node.body {
        NodeBody::Window(window) => Some((node.kept_as.as_str(), &mut **window)),
        _ => None,
    })
}

/// The rows that count: those that are read again were counted before the restart.
fn fresh_rows(batch: &Batch) -> u64 {
    if batch.origin().replay { 0 } else { batch.rows() as u64 }
}
