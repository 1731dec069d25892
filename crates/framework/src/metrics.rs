//! Every figure of a running pipeline, by name, and the record balance of each step.
//!
//! Counters are relaxed atomics: one writer (the chain's loop) and readers that only show them.

mod standing;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

pub use self::standing::{Doing, Standing, State};

/// The counters of one step. `in = out + filtered + late + dead + in flight` holds whenever the chain is
/// between two batches.
#[derive(Debug, Default)]
pub struct StepMetrics {
    /// Rows that came in.
    pub rows_in: AtomicU64,
    /// Rows of the input that went on (for a window: whose last window closed; for a sink: that are durable).
    pub rows_out: AtomicU64,
    /// Rows left out on purpose.
    pub filtered: AtomicU64,
    /// Rows that came after their window had closed.
    pub late: AtomicU64,
    /// The least `out_of_orderness`, in milliseconds, with which none of the late rows would have been late;
    /// 0 where none was.
    pub late_by: AtomicU64,
    /// Rows that could not be used, skipped or sent to the `dead` output.
    pub dead: AtomicU64,
    /// Rows held: in open panes, written and not yet durable, or, at a source, not whole at the end of the
    /// data.
    pub in_flight: AtomicU64,
    /// Rows that the step made (a window's results); not part of the balance.
    pub made: AtomicU64,
    /// The dead rows by the kind of reason.
    reasons: Mutex<BTreeMap<String, u64>>,
}

/// The most kinds of reasons that are told apart: a reason should not, but may, have the row's own text in
/// its kind.
const MOST_KINDS: usize = 20;

/// The kind of a reason: what stands before its first `: `.
fn kind_of(reason: &str) -> &str {
    reason.split_once(": ").map_or(reason, |(kind, _)| kind)
}

impl StepMetrics {
    /// Adds `n` to a counter.
    pub fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Relaxed);
    }

    /// Counts rows that could not be used, by reason. Gives how many there were before.
    pub(crate) fn reject<'a>(&self, reasons: impl ExactSizeIterator<Item = &'a str>) -> u64 {
        let before = self.dead.fetch_add(reasons.len() as u64, Relaxed);
        if let Ok(mut counts) = self.reasons.lock() {
            for kind in reasons.map(kind_of) {
                let room = counts.len() < MOST_KINDS;
                match counts.get_mut(kind) {
                    Some(count) => *count += 1,
                    None => {
                        let kind = if room { kind } else { "other reasons" };
                        *counts.entry(kind.to_owned()).or_default() += 1;
                    }
                }
            }
        }
        before
    }

    /// How many rows could not be used, by the kind of reason: what stands before the first `: ` of it.
    pub fn reasons(&self) -> BTreeMap<String, u64> {
        self.reasons.lock().map(|reasons| reasons.clone()).unwrap_or_default()
    }

    /// How many rows came in, where none of them could be used, with the kind of reason that was given most
    /// often.
    pub(crate) fn nothing_used(&self) -> Option<(u64, String)> {
        let Balance { rows_in, dead, in_flight, .. } = self.balance();
        let most = self.reasons().into_iter().max_by_key(|(_, rows)| *rows);
        most.filter(|_| dead > 0 && dead + in_flight == rows_in).map(|(reason, _)| (dead, reason))
    }

    /// Goes back to earlier figures: what came after them was thrown away and is read again.
    pub(crate) fn restore(&self, balance: &Balance, reasons: &BTreeMap<String, u64>) {
        if let Ok(mut own) = self.reasons.lock() {
            own.clone_from(reasons);
        }
        self.rows_in.store(balance.rows_in, Relaxed);
        self.rows_out.store(balance.rows_out, Relaxed);
        self.filtered.store(balance.filtered, Relaxed);
        self.late.store(balance.late, Relaxed);
        self.dead.store(balance.dead, Relaxed);
        self.in_flight.store(balance.in_flight, Relaxed);
        self.made.store(balance.made, Relaxed);
    }

    /// Of the rows in flight only `left` stay: the others come in again, here or at another worker.
    pub(crate) fn hand_over(&self, left: u64) {
        let gone = self.in_flight.swap(left, Relaxed).saturating_sub(left);
        self.rows_in.fetch_sub(gone, Relaxed);
    }

    /// The figures at this moment.
    pub fn balance(&self) -> Balance {
        Balance {
            rows_in: self.rows_in.load(Relaxed),
            rows_out: self.rows_out.load(Relaxed),
            filtered: self.filtered.load(Relaxed),
            late: self.late.load(Relaxed),
            dead: self.dead.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            made: self.made.load(Relaxed),
        }
    }
}

/// The record balance of a step at one moment, in rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Balance {
    /// See [`StepMetrics::rows_in`]; likewise the other fields.
    #[serde(rename = "in")]
    pub rows_in: u64,
    /// Went on.
    #[serde(rename = "out")]
    pub rows_out: u64,
    /// Left out on purpose.
    pub filtered: u64,
    /// Too late for their window.
    pub late: u64,
    /// Not usable.
    pub dead: u64,
    /// Held.
    pub in_flight: u64,
    /// Made by the step.
    pub made: u64,
}

impl Balance {
    /// True where nothing is unaccounted for.
    pub fn holds(&self) -> bool {
        self.rows_in == self.rows_out + self.filtered + self.late + self.dead + self.in_flight
    }
}

/// The counters of one chain.
#[derive(Debug, Default)]
pub struct ChainMetrics {
    /// Commits that succeeded.
    pub commits: AtomicU64,
    /// Transactions that were aborted.
    pub aborts: AtomicU64,
    /// Times that the chain backed off after a passing fault.
    pub retries: AtomicU64,
    /// Records that were gone from the log before they were read, at most.
    pub gone: AtomicU64,
    /// The watermark in milliseconds since 1970; `i64::MIN` before the first record.
    pub watermark: AtomicI64,
    /// Records that the source has not read yet, where it knows.
    pub lag: AtomicU64,
    /// What the source has read, in its own unit (bytes for a file), for the progress bar.
    pub progress_done: AtomicU64,
    /// What there is to read in all, in that unit; 0 where unknown.
    pub progress_total: AtomicU64,
    /// Where the chain stands.
    pub standing: Standing,
}

/// The names of a chain and its steps with their counters, as shown to an operator.
#[derive(Debug, Clone)]
pub struct ChainFigures {
    /// The chain's name.
    pub name: String,
    /// The chain's own counters.
    pub chain: Arc<ChainMetrics>,
    /// Each step's id and counters, in the order of the file.
    pub steps: Vec<(String, Arc<StepMetrics>)>,
}

impl ChainFigures {
    /// True once the chain is over: its counters no longer change, and the balance of each step must hold.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.chain.standing.state().0, State::Ended | State::Failed { .. })
    }
}
