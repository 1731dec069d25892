//! The windows of a tree: what they are given of a source's partitions, what they keep of them and get back,
//! and their time.

use std::time::Duration;

use super::tree::Tree;
use crate::batch::{AsRead, Batch, Partition, Times};
use crate::error::Result;
use crate::graph::{Node, NodeBody};
use crate::window::{Restored, SavedPart, WindowOperator, WindowOutput};

impl Tree {
    /// How many rows of a batch can be pushed before windows that are due give their results, so that about
    /// `most` of these are held at once.
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

    /// A batch with rows of these times has been pushed; `here` are those that have an offset of their own.
    /// It came `through` a channel of the partition `of`, or that partition itself.
    pub(crate) fn observe(
        &mut self,
        (through, of): (&Partition, &Partition),
        times: &Times,
        here: &AsRead,
        now: Duration,
    ) {
        let wall = self.clock.now();
        for window in windows(&mut self.nodes) {
            window.observe(through, times, now, wall);
            window.saw(through, of, here, wall);
        }
        self.observe_speakers(through, times, now, wall);
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

    /// When the next window may be due, in the clock's elapsed time.
    pub(crate) fn next_wakeup(&mut self, now: Duration) -> Option<Duration> {
        windows(&mut self.nodes).filter_map(|w| w.next_wakeup(now)).min()
    }

    /// True where a window holds a result back that belongs to what has been pushed: nothing is committed
    /// meanwhile.
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
