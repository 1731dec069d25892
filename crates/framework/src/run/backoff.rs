//! How long to wait before a chain tries again.

use std::time::Duration;

/// Doubling waits, from a tenth of a second to ten seconds; a success starts it anew.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { next: FIRST }
    }

    /// The wait before the next try.
    pub(crate) fn wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST);
        wait
    }

    pub(crate) fn reset(&mut self) {
        self.next = FIRST;
    }

    /// True after a failure since the last reset.
    pub(crate) fn failing(&self) -> bool {
        self.next != FIRST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_ten_seconds_and_start_anew_after_a_success() {
        let mut backoff = Backoff::new();
        assert!(!backoff.failing());
        let waits: Vec<u128> = (0..9).map(|_| backoff.wait().as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert!(backoff.failing());
        backoff.reset();
        assert_eq!(backoff.wait(), FIRST);
    }
}
