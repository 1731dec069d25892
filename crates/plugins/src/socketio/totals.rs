//! The totals of an epoch: each window counts once, also after it has left the history.

use std::collections::BTreeMap;

use super::wire::Number;

/// So many values of windows that have left the history are kept: what comes again of one is then a
/// correction.
const MOST_VALUES: usize = 1_000_000;

/// The sum of each series over all windows.
#[derive(Debug, Default)]
pub(super) struct Totals {
    sums: Vec<Number>,
    /// The values of windows that have left the history, by their times.
    left: BTreeMap<i64, Vec<Option<Number>>>,
    held: usize,
    /// The greatest time of a window that is no longer in `left`.
    forgotten: Option<i64>,
    /// Values that could not be counted.
    refused: u64,
}

impl Totals {
    /// The sums, for so many series.
    pub(super) fn of(&self, series: usize) -> Vec<Number> {
        let mut sums = self.sums.clone();
        sums.resize(series, Number(0.0));
        sums
    }

    /// How many values were not counted: they are of windows so old that nobody knows whether they were
    /// counted before.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// Adds the values of a window.
    pub(super) fn add(&mut self, values: &[Option<Number>]) {
        self.change(values, 1.0);
    }

    /// Takes the values of a window out.
    pub(super) fn remove(&mut self, values: &[Option<Number>]) {
        self.change(values, -1.0);
    }

    fn change(&mut self, values: &[Option<Number>], sign: f64) {
        self.sums.resize(self.sums.len().max(values.len()), Number(0.0));
        for (sum, value) in self.sums.iter_mut().zip(values) {
            if let Some(value) = value {
                sum.0 += sign * value.0;
            }
        }
    }

    /// A window, which has been counted, leaves the history.
    pub(super) fn leaves(&mut self, t: i64, values: &[Option<Number>]) {
        self.held += values.len();
        self.left.insert(t, values.to_vec());
        while self.held > MOST_VALUES {
            let Some((t, values)) = self.left.pop_first() else { break };
            self.held -= values.len();
            self.forgotten = self.forgotten.max(Some(t));
        }
    }

    /// Values come of a window that is older than the history.
    pub(super) fn correct(&mut self, t: i64, mut values: Vec<Option<Number>>) {
        if self.forgotten.is_some_and(|forgotten| t <= forgotten) {
            self.refused += values.iter().flatten().count() as u64;
            return;
        }
        if let Some(before) = self.left.remove(&t) {
            self.held -= before.len();
            self.remove(&before);
            super::hub::lay_over(&mut values, &before);
        }
        self.add(&values);
        self.leaves(t, &values);
    }
}
