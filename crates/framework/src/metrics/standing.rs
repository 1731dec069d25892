//! Where a chain stands: for those who ask whether it is well, and for the watchdog.
//!
//! Two things are told apart. A chain that *waits* for records, for its partitions or for its log is well however long
//! that takes. A chain that is *in a step* (it pushes a batch, or commits), or whose code holds its thread, has to come
//! to an end of it soon.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Where a chain is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum State {
    /// It opens its logs, source and sinks, or waits for its first partitions.
    #[default]
    Starting,
    /// Another worker runs this chain; this one takes over when that one is gone.
    StandsBy,
    /// It reads and writes.
    Runs,
    /// It tries again after a passing fault, or cannot reach its log.
    Retries {
        /// What happened last.
        error: String,
    },
    /// It has ended well.
    Ended,
    /// It has ended with an error.
    Failed {
        /// The error.
        error: String,
    },
}

impl State {
    /// In words.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::StandsBy => "stands by",
            Self::Runs => "runs",
            Self::Retries { .. } => "retries",
            Self::Ended => "ended",
            Self::Failed { .. } => "failed",
        }
    }

    /// What went wrong, if something did.
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Retries { error } | Self::Failed { error } => Some(error),
            Self::Starting | Self::StandsBy | Self::Runs | Self::Ended => None,
        }
    }

    fn same_kind(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// Where a chain stands. All times are of the run's clock, since the run began.
#[derive(Debug, Default)]
pub struct Standing {
    /// With the time since when.
    state: Mutex<(State, Duration)>,
    step: Mark,
    call: Mark,
}

impl Standing {
    /// Where the chain is, and since when. A chain that fails again and again has been retrying since the first failure.
    pub fn state(&self) -> (State, Duration) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How long the chain has been in the step, or the call, that it is in; `None` while it waits.
    pub fn busy(&self, now: Duration) -> Option<Duration> {
        let since = [self.step.get(), self.call.get()].into_iter().flatten().min()?;
        Some(now.saturating_sub(since))
    }

    pub(crate) fn set(&self, state: State, now: Duration) {
        let mut own = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let since = if own.0.same_kind(&state) { own.1 } else { now };
        *own = (state, since);
    }

    pub(crate) fn retries(&self) -> bool {
        matches!(self.state.lock().unwrap_or_else(PoisonError::into_inner).0, State::Retries { .. })
    }

    /// The chain's code takes its thread.
    pub(crate) fn call_begins(&self, now: Duration) {
        self.call.set(now);
    }

    /// It gives the thread back.
    pub(crate) fn call_ends(&self) {
        self.call.clear();
    }

    /// A step begins.
    pub(crate) fn works(&self, now: Duration) {
        self.step.set(now);
    }

    /// Only waiting from now on.
    pub(crate) fn waits(&self) {
        self.step.clear();
    }
}

/// A moment, or none.
#[derive(Debug, Default)]
struct Mark(AtomicU64);

impl Mark {
    fn set(&self, now: Duration) {
        // 0 stands for none.
        self.0.store(now.as_millis() as u64 + 1, Relaxed);
    }

    fn clear(&self) {
        self.0.store(0, Relaxed);
    }

    fn get(&self) -> Option<Duration> {
        self.0.load(Relaxed).checked_sub(1).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_chain_that_waits_is_not_busy_and_one_in_a_step_is_since_it_began() {
        let standing = Standing::default();
        assert_eq!(standing.busy(seconds(100)), None);
        standing.works(Duration::ZERO);
        assert_eq!(standing.busy(seconds(7)), Some(seconds(7)), "also at the clock's very start");
        standing.works(seconds(8));
        assert_eq!(standing.busy(seconds(9)), Some(seconds(1)));
        standing.waits();
        assert_eq!(standing.busy(seconds(9)), None);
    }

    #[test]
    fn a_chain_has_been_retrying_since_its_first_failure_and_tells_the_last() {
        let standing = Standing::default();
        let retries = |error: &str| State::Retries { error: error.to_owned() };
        standing.set(retries("first"), seconds(1));
        standing.set(retries("second"), seconds(5));
        assert_eq!(standing.state(), (retries("second"), seconds(1)));
        standing.set(State::Runs, seconds(6));
        assert_eq!(standing.state(), (State::Runs, seconds(6)));
    }
}
