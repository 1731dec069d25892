//! Tells why rows are late: which row moved time on, and what to write so that the others count.

use std::sync::atomic::Ordering::Relaxed;

use super::tree::Tree;
use crate::batch::Batch;
use crate::clock::{Millis, said};
use crate::config::DurationText;
use crate::graph::NodeBody;
use crate::window::{Lateness, Mover, Row};

/// How many of the rows that make others late are told of a step before it goes quiet.
const TOLD: usize = 5;

/// What was told of a step: what moved time.
#[derive(Debug, Default)]
pub(super) struct Told(Vec<Mover>);

impl Tree {
    /// Rows of `late`, a part of the batch `pushed`, came too late for the window at `index`.
    pub(super) fn tell_of_late(&mut self, index: usize, late: &Batch, pushed: &Batch) {
        let wall = self.clock.now();
        let NodeBody::Window(window) = &self.nodes[index].body else { return };
        let Some(lateness) = window.lateness(late, pushed, wall) else { return };
        self.metrics[index].late_by.fetch_max(lateness.needed.max(0) as u64, Relaxed);
        let ahead = matches!(&lateness.moved_by, Mover::Row(mover) if mover.time > wall);
        // Who reads them knows of them; a row ahead of the clock is told in any case.
        let is_read = !self.nodes[index].outputs.late.is_empty();
        let told = &mut self.told_late[index].0;
        if (is_read && !ahead) || told.len() >= TOLD || told.contains(&lateness.moved_by) {
            return;
        }
        told.push(lateness.moved_by.clone());
        let (what, help) = words(&lateness, wall);
        tracing::warn!(step = self.place(index), help, "{what}");
    }
}

/// What happened, and the remedy.
fn words(lateness: &Lateness, wall: Millis) -> (String, String) {
    let Lateness { row, moved_by, needed } = lateness;
    let wait = DurationText::at_least(*needed);
    let waits = format!("`out_of_orderness: {wait}` waits for such rows");
    let what = format!("{} came too late for its window", shown(row));
    match moved_by {
        Mover::Row(mover) if mover.time > wall => {
            let ahead = DurationText::at_least(mover.time - wall);
            let what = format!("{what}: {}, {ahead} ahead of the clock, had moved time on", shown(mover));
            let help = format!(
                "a smaller `max_skew` of the window rejects rows that are so far ahead of the clock; {waits}"
            );
            (what, help)
        }
        Mover::Row(mover) => (format!("{what}: {} had moved time on", shown(mover)), waits),
        Mover::Elsewhere(time) => {
            let what = format!(
                "{what}: a row of {}, of the same partition of the source, had moved time on; it was left out, or has another key",
                said(*time)
            );
            (what, waits)
        }
        Mover::Clock => {
            let what =
                format!("{what}: time had gone on with the clock, as nothing came for as long as `idle`");
            (what, format!("a greater `idle` of the window lets time stand longer; {waits}"))
        }
    }
}

fn shown(row: &Row) -> String {
    format!("{} of {}", row.place, said(row.time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_row_is_told_with_what_moved_time_and_the_remedy() {
        let row = |offset, time| Row { place: format!("orders[0]@{offset}"), offset, time };
        let lateness = |moved_by, needed| Lateness { row: row(12, 1_767_225_600_000), moved_by, needed };
        let wall = 1_767_225_660_000;
        let said: String = [
            lateness(Mover::Row(row(3, 1_767_232_800_000)), 7_199_001),
            lateness(Mover::Row(row(3, 1_767_225_610_000)), 5_001),
            lateness(Mover::Elsewhere(1_767_225_610_000), 5_001),
            lateness(Mover::Clock, 1_500),
        ]
        .iter()
        .map(|lateness| words(lateness, wall))
        .map(|(what, help)| format!("{what}\n  = help: {help}\n"))
        .collect();
        insta::assert_snapshot!(said);
    }
}
