//! The clock of a run: wall time for records, monotonic time for timers, both from one place so that a test can
//! hold them.
//!
//! Timers sleep on tokio's clock. On a runtime whose clock is paused ([`Clock::manual`]), time moves only when the test
//! sleeps or when every task is waiting, so a test of an hour takes no time and has one outcome.

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Milliseconds since 1970-01-01T00:00:00Z; the unit of every time in a record. Negative before that.
pub type Millis = i64;

/// A time for a person: as a date, where it is one.
///
/// ```
/// use pipectl_framework::clock::said;
/// assert_eq!(said(1_767_225_600_000), "2026-01-01T00:00:00Z");
/// assert_eq!(said(i64::MAX), "9223372036854775807 ms since 1970");
/// ```
pub fn said(time: Millis) -> String {
    match chrono::DateTime::from_timestamp_millis(time) {
        Some(date) => date.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
        None => format!("{time} ms since 1970"),
    }
}

/// Tells the time of a run.
#[derive(Debug, Clone)]
pub struct Clock {
    started: Instant,
    /// Wall time at `started`; `None` reads the system's wall clock each time, so that its corrections count.
    fixed: Option<Millis>,
}

impl Clock {
    /// The system's clocks.
    pub fn system() -> Self {
        Self { started: Instant::now(), fixed: None }
    }

    /// A clock whose wall time starts at `start` and follows the runtime's (paused) timer clock.
    pub fn manual(start: Millis) -> Self {
        Self { started: Instant::now(), fixed: Some(start) }
    }

    /// The wall time. It may jump, back too, when the system's clock is set.
    pub fn now(&self) -> Millis {
        match self.fixed {
            Some(start) => start + self.started.elapsed().as_millis() as Millis,
            None => match SystemTime::now().duration_since(UNIX_EPOCH) {
                Ok(since) => since.as_millis() as Millis,
                Err(before) => -(before.duration().as_millis() as Millis),
            },
        }
    }

    /// Time since the clock was made; it never goes back. For timers, time-outs and idleness.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Sleeps until [`elapsed`](Self::elapsed) reaches `at`. Cancel-safe.
    pub async fn sleep_until(&self, at: Duration) {
        tokio::time::sleep_until(self.started + at).await;
    }
}
