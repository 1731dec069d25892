//! Where a chain stands: for those who ask whether it is well, and for the watchdog.
//!
//! Three things are told apart. A chain that *waits* for records or for its partitions is well however long
//! that takes. One that is *in a step* (it pushes a batch, or commits) may wait there for its log, which has
//! time-outs of its own. A chain whose code *holds its thread* has to give it back soon: nothing else can end
//! that.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Where a chain is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum State {
    /// It opens its logs, source and sinks, or waits for its first partitions.
    #[default]
    Starting,
    /// Another worker runs this chain, or others have all its partitions; this one takes over when one of
    /// them is gone.
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

/// The step that a chain is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Doing {
    /// It opens its logs, source and sinks.
    Opening,
    /// It takes an event: pushes a batch through its steps, closes windows, writes.
    Working,
    /// It makes results and positions durable.
    Committing,
    /// It throws away what was not committed.
    RollingBack,
    /// It lets its logs, source and sinks go.
    Closing,
}

impl Doing {
    const ALL: [Self; 5] = [Self::Opening, Self::Working, Self::Committing, Self::RollingBack, Self::Closing];

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Working => "working on rows",
            Self::Committing => "committing",
            Self::RollingBack => "rolling back",
            Self::Closing => "closing",
        }
    }
}

/// Where a chain stands. All times are of the run's clock, since the run began.
#[derive(Debug, Default)]
pub struct Standing {
    /// With the time since when.
    state: Mutex<(State, Duration)>,
    step: Mark,
    doing: AtomicU8,
    call: Mark,
}

impl Standing {
    /// Where the chain is, and since when. A chain that fails again and again has been retrying since the
    /// first failure.
    pub fn state(&self) -> (State, Duration) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// For how long the chain's code has held its thread; `None` where it does not.
    pub fn holds_thread(&self, now: Duration) -> Option<Duration> {
        self.call.get().map(|since| now.saturating_sub(since))
    }

    /// The step that the chain is in, and for how long; `None` while it waits for the next.
    pub fn doing(&self, now: Duration) -> Option<(Doing, Duration)> {
        let since = self.step.get()?;
        let doing = Doing::ALL.get(usize::from(self.doing.load(Relaxed)))?;
        Some((*doing, now.saturating_sub(since)))
    }

    pub(crate) fn set(&self, state: State, now: Duration) {
        let mut own = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let since = if own.0.same_kind(&state) { own.1 } else { now };
        *own = (state, since);
    }

    pub(crate) fn retries(&self) -> bool {
        matches!(self.state.lock().unwrap_or_else(PoisonError::into_inner).0, State::Retries { .. })
    }

    /// True while the chain cannot write, and may once it can: who waits for its rows knows nothing of their
    /// times.
    pub(crate) fn holds_back(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(state.0, State::Starting | State::Retries { .. })
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
    pub(crate) fn does(&self, doing: Doing, now: Duration) {
        self.doing.store(doing as u8, Relaxed);
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
    fn a_chain_that_waits_is_in_no_step_and_one_in_a_step_is_since_that_began() {
        let standing = Standing::default();
        assert_eq!(standing.doing(seconds(100)), None);
        standing.does(Doing::Working, Duration::ZERO);
        let working = |n| Some((Doing::Working, seconds(n)));
        assert_eq!(standing.doing(seconds(7)), working(7), "also at the clock's very start");
        standing.does(Doing::Committing, seconds(8));
        assert_eq!(standing.doing(seconds(9)), Some((Doing::Committing, seconds(1))));
        assert_eq!(standing.holds_thread(seconds(9)), None, "a step may wait");
        standing.waits();
        assert_eq!(standing.doing(seconds(9)), None);
        Doing::ALL.into_iter().enumerate().for_each(|(index, doing)| assert_eq!(doing as usize, index));
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
