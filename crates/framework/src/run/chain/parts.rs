//! Batches that make more windows due than should be given at once are taken in by parts.

use super::Chain;
use super::events::Extent;
use crate::error::Result;
use crate::log::Position;
use crate::run::input::InputEvent;
use crate::window::Ran;

impl Chain {
    /// Takes an event in, and gives between the parts of a batch what is due.
    pub(super) async fn take_in(&mut self, event: InputEvent) -> Result<()> {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let (part, rest) = self.cut(event);
            let extent = if rest.is_some() { Extent::Beginning } else { Extent::Whole };
            self.event(part, extent).await?;
            if rest.is_some() {
                self.give_due().await?;
                if self.leaves_the_rest() {
                    return Ok(());
                }
            }
            next = rest;
        }
        Ok(())
    }

    /// The first part of an event, and the rest of it.
    fn cut(&self, event: InputEvent) -> (InputEvent, Option<InputEvent>) {
        let InputEvent::Batch { batch, mut rejects, left_out, position } = event else {
            return (event, None);
        };
        let most = self.environment.options.results_at_once;
        let rows = self.tree.rows_at_once(&batch, most);
        // All rows of a record stay together, as a position stands between records.
        let offsets = &batch.origin().offsets;
        let row = match offsets.get(rows.saturating_sub(1)) {
            Some(last) => offsets.partition_point(|offset| offset <= last),
            None => batch.rows(),
        };
        let Some(offset) = offsets.get(row).copied() else {
            return (InputEvent::Batch { batch, rejects, left_out, position }, None);
        };
        let (before, from) = batch.split(row);
        let later = rejects.extract_if(.., |reject| reject.offset >= offset).collect();
        let partition = position.partition.clone();
        let between = Position { partition, offset, metadata: String::new() };
        (
            InputEvent::Batch { batch: before, rejects, left_out: 0, position: between },
            Some(InputEvent::Batch { batch: from, rejects: later, left_out, position }),
        )
    }

    /// Closes the windows that are due. They may give more than fits in one transaction.
    pub(super) async fn give_due(&mut self) -> Result<()> {
        loop {
            let now = self.now();
            let ran = self.tree.tick(now, &mut self.writers).await?;
            if self.commit_due() {
                self.commit().await?;
            }
            if ran == Ran::All || self.leaves_the_rest() {
                return Ok(());
            }
        }
    }

    /// True once the chain shall stop, where the next run reads what this one leaves, and gives its results.
    fn leaves_the_rest(&self) -> bool {
        self.draining() && self.goes_on() && !self.loses_what_it_leaves()
    }
}
