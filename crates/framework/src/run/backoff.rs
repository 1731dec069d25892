//! How long to wait before a chain tries again, and when it no longer does.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::{DurationText, Retry};
use crate::error::{Consequence, Error, Part};

/// A chain that has been open this long without a fault works: the next one is not the same fault going on.
/// It is longer than any time-out of a log, which may pass between opening and the first that is noticed.
const STEADY: Duration = Duration::from_secs(60);

/// How many times in a row `retry: off` lets a log say that a transaction or a partition has moved on. That
/// is how workers come and go, and no fault of a step.
const MOVED_ON: u32 = 3;

/// The faults since the last success, by the part of the chain that they belong to.
#[derive(Debug)]
pub(crate) struct Backoff {
    streaks: BTreeMap<Option<Part>, Streak>,
    /// Since when the chain is open.
    open: Option<Duration>,
    /// The state of the numbers that are drawn.
    random: u64,
}

#[derive(Debug, Clone, Copy)]
struct Streak {
    since: Duration,
    tries: u32,
}

/// What to do about a fault.
#[derive(Debug)]
pub(crate) enum Next {
    /// Try again after this time.
    Wait(Duration),
    /// Fail the run with this.
    GiveUp(Error),
}

impl Backoff {
    /// Other seeds draw other waits, so that workers which failed together do not come back together.
    pub(crate) fn new(seed: u64) -> Self {
        Self { streaks: BTreeMap::new(), open: None, random: seed }
    }

    /// The chain has been opened.
    pub(crate) fn opened(&mut self, now: Duration) {
        self.open = Some(now);
    }

    /// A fault of the part that `error` names, at `place`; `now` is the clock's elapsed time.
    pub(crate) fn failed(&mut self, error: Error, retry: Retry, place: &str, now: Duration) -> Next {
        if self.open.take().is_some_and(|since| now.saturating_sub(since) >= STEADY) {
            self.streaks.clear();
        }
        let streak = self.streaks.entry(error.part()).or_insert(Streak { since: now, tries: 0 });
        streak.tries += 1;
        let Streak { since, tries } = *streak;
        let tried = now.saturating_sub(since);
        match retry {
            Retry::Off if error.consequence() == Consequence::Retry || tries > MOVED_ON => {
                Next::GiveUp(given_up(&error, format!("{place} says `retry: off`")))
            }
            Retry::Off => Next::Wait(Duration::ZERO),
            Retry::Waits { give_up_after: Some(patience), .. } if tried >= patience => {
                let lengths = (length(tried), DurationText(patience));
                let why = format!(
                    "{place} was tried {tries} times in {}, and `give_up_after` is {}",
                    lengths.0, lengths.1
                );
                Next::GiveUp(given_up(&error, why))
            }
            Retry::Waits { first, longest, give_up_after } => {
                let doubled = first.saturating_mul(1 << (tries - 1).min(30)).min(longest);
                let wait = doubled.mul_f64(1.0 - self.draw() / 5.0);
                // The last try is when the time is up.
                let left = give_up_after.map_or(Duration::MAX, |patience| patience.saturating_sub(tried));
                Next::Wait(wait.min(left))
            }
        }
    }

    /// A number of [0, 1): `SplitMix64`, by Steele, Lea and Flood, "Fast splittable pseudorandom number
    /// generators", 2014.
    fn draw(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Something was committed.
    pub(crate) fn reset(&mut self) {
        self.streaks.clear();
    }

    /// True after a fault since the last success.
    pub(crate) fn failing(&self) -> bool {
        !self.streaks.is_empty()
    }
}

fn given_up(error: &Error, why: String) -> Error {
    let given_up = Error::fatal(format!("{error}; {why}"));
    match error.help() {
        Some(help) => given_up.remedy(help),
        None => given_up,
    }
}

/// A time to read: no finer than a tenth of a second.
fn length(length: Duration) -> String {
    if length < Duration::from_secs(60) {
        format!("{:.1} s", length.as_secs_f64())
    } else {
        format!("{} min {} s", length.as_secs() / 60, length.as_secs() % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    /// The waits until it gives up, and what it says then; at most 1000 of them.
    fn waits(retry: Retry, seed: u64, mut error: impl FnMut() -> Error) -> (Vec<Duration>, Option<String>) {
        let (mut backoff, mut waits, mut now) = (Backoff::new(seed), Vec::new(), S(7));
        while waits.len() < 1000 {
            match backoff.failed(error(), retry, "`a.kafka`", now) {
                Next::Wait(wait) => {
                    now += wait;
                    waits.push(wait);
                }
                Next::GiveUp(error) => return (waits, Some(error.to_string())),
            }
        }
        (waits, None)
    }

    fn retry(give_up_after: Option<Duration>) -> Retry {
        Retry::Waits { first: Duration::from_millis(100), longest: S(10), give_up_after }
    }

    #[test]
    fn waits_double_up_to_the_longest_and_workers_differ() {
        let of = |seed| waits(retry(None), seed, || Error::retry("no")).0;
        for seed in 0..100 {
            for (index, wait) in of(seed).into_iter().enumerate() {
                let most = S(10).min(Duration::from_millis(100) * (1 << index.min(20)));
                assert!(wait <= most && wait >= most.mul_f64(0.8), "{index}: {wait:?} of {most:?}");
            }
        }
        assert_ne!(of(1), of(2));
        assert_eq!(of(1), of(1), "a run with the same seed is the same run");
    }

    #[test]
    fn gives_up_when_the_time_is_up_and_says_how_often_it_was_tried() {
        for seed in 0..100 {
            let (waits, said) = waits(retry(Some(S(60))), seed, || Error::retry("no route"));
            assert_eq!(waits.iter().sum::<Duration>(), S(60), "the last try is at the end");
            let tries = waits.len() + 1;
            let expected = format!(
                "no route; `a.kafka` was tried {tries} times in 1 min 0 s, and `give_up_after` is 1m"
            );
            assert_eq!(said, Some(expected));
        }
    }

    #[test]
    fn off_ends_at_the_first_fault_but_lets_workers_come_and_go() {
        let said = |error: fn() -> Error| {
            let (waits, said) = waits(Retry::Off, 1, error);
            (waits.len(), said)
        };
        assert_eq!(said(|| Error::retry("no")), (0, Some("no; `a.kafka` says `retry: off`".into())));
        assert_eq!(said(|| Error::abort("moved")), (3, Some("moved; `a.kafka` says `retry: off`".into())));
    }

    #[test]
    fn a_success_or_a_minute_without_a_fault_starts_anew_and_parts_do_not_share() {
        let strict = retry(Some(S(30)));
        let waits = |next: Next| matches!(next, Next::Wait(_));
        let fault = |part| Error::retry("no").of(part);
        let mut backoff = Backoff::new(1);
        assert!(waits(backoff.failed(fault(Part::Source), strict, "", S(0))));
        assert!(backoff.failing());
        assert!(waits(backoff.failed(fault(Part::Node(2)), strict, "", S(29))));
        assert!(waits(backoff.failed(fault(Part::Node(2)), strict, "", S(58))), "its own time");
        assert!(!waits(backoff.failed(fault(Part::Source), strict, "", S(59))));
        backoff.reset();
        assert!(!backoff.failing());
        assert!(waits(backoff.failed(fault(Part::Source), strict, "", S(60))));
        backoff.opened(S(61));
        assert!(!waits(backoff.failed(fault(Part::Source), strict, "", S(120))), "59 s are not enough");
        backoff.opened(S(121));
        assert!(waits(backoff.failed(fault(Part::Source), strict, "", S(181))), "a new fault");
    }
}
