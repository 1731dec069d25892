//! The clock of a run: wall time for records, monotonic time for timers, both from one place so that a test
//! can hold them.
//!
//! Timers sleep on tokio's clock. On a runtime whose clock is paused ([`Clock::manual`]), time moves only
//! when the test sleeps or when every task is waiting, so a test of an hour takes no time and has one
//! outcome.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
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

/// The wall time of a [manual clock](Clock::set_by): a test sets it, as a person sets that of a machine,
/// while timers go on.
#[derive(Debug, Clone)]
pub struct WallTime(Arc<AtomicI64>);

impl WallTime {
    /// Begins at `start`, and goes on as the runtime's timer clock does.
    pub fn at(start: Millis) -> Self {
        Self(Arc::new(AtomicI64::new(start)))
    }

    /// Sets it forward by so much, or back where `by` is negative.
    pub fn jump(&self, by: Millis) {
        self.0.fetch_add(by, Relaxed);
    }
}

/// Tells the time of a run.
#[derive(Debug, Clone)]
pub struct Clock {
    started: Instant,
    /// Wall time at `started`; `None` reads the system's wall clock each time, so that its corrections count.
    held: Option<WallTime>,
    /// The most that the wall time has been ahead of the elapsed time: see [`stamp`](Self::stamp).
    ahead: Arc<AtomicI64>,
}

impl Clock {
    /// The system's clocks.
    pub fn system() -> Self {
        Self::new(None)
    }

    /// A clock whose wall time starts at `start` and follows the runtime's (paused) timer clock.
    pub fn manual(start: Millis) -> Self {
        Self::set_by(&WallTime::at(start))
    }

    /// The same, with a wall time that a test sets meanwhile.
    pub fn set_by(wall: &WallTime) -> Self {
        Self::new(Some(wall.clone()))
    }

    fn new(held: Option<WallTime>) -> Self {
        Self { started: Instant::now(), held, ahead: Arc::new(AtomicI64::new(Millis::MIN)) }
    }

    /// The wall time. It may jump, back too, when the system's clock is set.
    pub fn now(&self) -> Millis {
        match &self.held {
            Some(wall) => wall.0.load(Relaxed) + self.started.elapsed().as_millis() as Millis,
            None => match SystemTime::now().duration_since(UNIX_EPOCH) {
                Ok(since) => since.as_millis() as Millis,
                Err(before) => -(before.duration().as_millis() as Millis),
            },
        }
    }

    /// The time of a row that is read now and has no other. It never goes back, or such rows would be late
    /// for as long as the system's clock was set back: it goes on from where it stood, second by second.
    /// Clones of a clock go together.
    pub fn stamp(&self) -> Millis {
        let elapsed = self.elapsed().as_millis() as Millis;
        let ahead = self.now().saturating_sub(elapsed);
        self.ahead.fetch_max(ahead, Relaxed).max(ahead).saturating_add(elapsed)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stamp_never_goes_back() {
        let wall = WallTime::at(1000);
        let clock = Clock::set_by(&wall);
        let other = clock.clone();
        assert_eq!((clock.now(), clock.stamp()), (1000, 1000));
        wall.jump(-500);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!((clock.now(), clock.stamp(), other.stamp()), (520, 1020, 1020));
        wall.jump(700);
        assert_eq!((clock.now(), clock.stamp()), (1220, 1220));
        wall.jump(-5000);
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!((other.now(), other.stamp(), clock.stamp()), (-3775, 1225, 1225));
    }
}
