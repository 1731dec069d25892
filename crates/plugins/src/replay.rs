//! The replay clock: when a row of a paced source is due, and what time it is stamped with.
//!
//! Row `i` is stamped `start + i / rate`, and is due that much later divided by `speed`. A row's stamp does
//! not depend on when it was really read, so a slow machine, or a restart in the same run, gives the same
//! windows. Without a rate nothing is paced, and rows are stamped with the time at which they are read.

use std::time::Duration;

use pipectl_framework::clock::{Clock, Millis};
use pipectl_framework::config::Rate;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

/// The shortest pause: a fast replay gives what is due in one batch this often.
const TICK: Duration = Duration::from_millis(10);

/// How much faster than its own clock a replay runs: a number such as `10`, or `max` for not waiting at all.
#[derive(Debug, Clone, Copy, PartialEq, JsonSchema)]
#[schemars(with = "String")]
pub(crate) enum Speed {
    /// Without waiting.
    Max,
    /// So many times as fast.
    Times(f64),
}

impl Default for Speed {
    fn default() -> Self {
        Self::Times(1.0)
    }
}

impl<'de> Deserialize<'de> for Speed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        match (value.as_str(), value.as_f64()) {
            (Some("max"), _) => Ok(Self::Max),
            (_, Some(times)) if times > 0.0 && times <= 1e9 => Ok(Self::Times(times)),
            _ => Err(serde::de::Error::custom("expected a number above 0 such as `10`, or `max`")),
        }
    }
}

/// Where the replay began: this row, at this time of both clocks.
#[derive(Debug, Clone, Copy)]
struct Start {
    row: u64,
    time: Millis,
    elapsed: Duration,
}

/// What a paced source may do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// So many rows, at least one, are due.
    Rows(usize),
    /// None is due before this time of [`Clock::elapsed`].
    At(Duration),
}

/// The replay clock of one source.
#[derive(Debug)]
pub(crate) struct Replay {
    /// Rows a second; `None` for no pace.
    rate: Option<f64>,
    speed: Speed,
    start: Option<Start>,
    last: Option<Duration>,
}

impl Replay {
    /// A clock that has not been started.
    pub(crate) fn new(rate: Option<Rate>, speed: Speed) -> Self {
        let rate = match rate {
            Some(Rate::PerSecond(rate)) => Some(rate),
            Some(Rate::Max) | None => None,
        };
        Self { rate, speed, start: None, last: None }
    }

    /// Starts with row `row` now. `after` is the stamp of the row before, where a run before this one has
    /// given it: the stamps go on behind it. A clock that has been started stays as it is, so that what is
    /// read again gets its old stamps.
    pub(crate) fn start(&mut self, clock: &Clock, row: u64, after: Option<Millis>) {
        if self.start.is_none() {
            let step = self.rate.map_or(0, |rate| (1000.0 / rate).ceil() as Millis);
            let time = after.map_or(Millis::MIN, |t| t.saturating_add(step)).max(clock.now());
            self.start = Some(Start { row, time, elapsed: clock.elapsed() });
        }
    }

    /// How many of the rows from `row` on are due, at most `most`.
    pub(crate) fn due(&mut self, clock: &Clock, row: u64, most: usize) -> Due {
        let (Some(rate), Speed::Times(times), Some(start)) = (self.rate, self.speed, self.start) else {
            return Due::Rows(most);
        };
        let pace = rate * times;
        let ahead = row.saturating_sub(start.row);
        let now = clock.elapsed();
        let due = start.elapsed + Duration::from_secs_f64((ahead as f64 / pace).min(1e9));
        let at = self.last.map_or(due, |last| due.max(last + TICK));
        if at > now {
            return Due::At(at);
        }
        let all = now.saturating_sub(start.elapsed).as_secs_f64() * pace + 1e-6;
        let due = (all as u64 + 1).saturating_sub(ahead).max(1) as usize;
        // With more than one batch due, the next one follows at once.
        self.last = (due <= most).then_some(now);
        Due::Rows(due.min(most))
    }

    /// True where stamps follow from the row, not from the time it is read.
    pub(crate) fn stamps(&self) -> bool {
        self.rate.is_some()
    }

    /// The stamp of row `row`; `now` where nothing is paced.
    pub(crate) fn stamp(&self, row: u64, now: Millis) -> Millis {
        match (self.rate, self.start) {
            (Some(rate), Some(start)) => {
                start.time + (row.saturating_sub(start.row) as f64 * 1000.0 / rate) as Millis
            }
            _ => now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn replay(rate: f64, speed: Speed) -> Replay {
        Replay::new(Some(Rate::PerSecond(rate)), speed)
    }

    /// Runs a replay of `rows` rows to its end; gives the time each batch came, and its rows.
    async fn run(replay: &mut Replay, clock: &Clock, rows: u64) -> Vec<(Duration, u64)> {
        let (mut next, mut batches) = (0, Vec::new());
        while next < rows {
            match replay.due(clock, next, 1000) {
                Due::Rows(n) => {
                    let n = (n as u64).min(rows - next);
                    batches.push((clock.elapsed(), n));
                    next += n;
                }
                Due::At(at) => clock.sleep_until(at).await,
            }
        }
        batches
    }

    #[tokio::test(start_paused = true)]
    async fn ten_a_second_come_one_by_one() {
        let clock = Clock::manual(1_000_000);
        let mut replay = replay(10.0, Speed::default());
        replay.start(&clock, 0, None);
        let batches = run(&mut replay, &clock, 20).await;
        assert_eq!(batches.len(), 20);
        for (row, (at, n)) in batches.iter().enumerate() {
            assert_eq!((at.as_millis(), *n), (row as u128 * 100, 1));
            assert_eq!(replay.stamp(row as u64, 0), 1_000_000 + row as i64 * 100);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_row_is_early_and_none_is_later_than_a_tick(pace in 0.5f64..200_000.0, times in 0.5f64..50.0) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let clock = Clock::manual(0);
                let mut replay = replay(pace / times, Speed::Times(times));
                replay.start(&clock, 0, None);
                let mut row = 0;
                for (at, n) in run(&mut replay, &clock, (pace as u64).clamp(3, 5000)).await {
                    let due = |row: u64| row as f64 / pace;
                    let last = due(row + n - 1);
                    assert!(last <= at.as_secs_f64() + 1e-6, "row {} at {at:?}", row + n - 1);
                    // A tick, and the timer's grain of a millisecond.
                    assert!(at.as_secs_f64() <= due(row) + 0.0121, "row {row} at {at:?}, due {}", due(row));
                    row += n;
                }
            });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_everything_is_due_and_stamped_now() {
        let clock = Clock::manual(7);
        let mut replay = Replay::new(Some(Rate::Max), Speed::default());
        replay.start(&clock, 0, None);
        assert_eq!(replay.due(&clock, 5, 9), Due::Rows(9));
        assert_eq!(replay.stamp(5, 77), 77);
    }

    #[tokio::test(start_paused = true)]
    async fn max_speed_keeps_the_stamps_and_does_not_wait() {
        let clock = Clock::manual(0);
        let mut replay = replay(10.0, Speed::Max);
        replay.start(&clock, 0, None);
        assert_eq!(replay.due(&clock, 1_000_000, 9), Due::Rows(9));
        assert_eq!(replay.stamp(1_000_000, 0), 100_000_000);
    }

    #[tokio::test(start_paused = true)]
    async fn stamps_survive_a_reopening_and_never_go_back_over_a_restart() {
        let clock = Clock::manual(1000);
        let mut replay = replay(10.0, Speed::default());
        replay.start(&clock, 40, None);
        clock.sleep_until(Duration::from_secs(9)).await;
        replay.start(&clock, 45, Some(1)); // opened again after a failure
        assert_eq!(replay.stamp(45, 0), 1500);
        let mut restarted = super::tests::replay(10.0, Speed::default());
        restarted.start(&clock, 50, Some(20_000)); // another process; its wall clock is behind the last stamp
        assert_eq!(restarted.stamp(50, 0), 20_100);
    }

    #[test]
    fn a_speed_is_a_number_above_none_or_max() {
        let speed = |json: &str| serde_json::from_str::<Speed>(json).map_err(|e| e.to_string());
        assert_eq!(speed("10"), Ok(Speed::Times(10.0)));
        assert_eq!(speed("\"max\""), Ok(Speed::Max));
        for wrong in ["0", "-1", "\"fast\"", "null"] {
            assert!(speed(wrong).unwrap_err().contains("expected a number above 0"), "{wrong}");
        }
    }
}
