//! Named places at which a worker kills itself, for the tests of what a crash leaves behind.
//!
//! `PIPECTL_FAIL_POINT=NAME` aborts the process when it passes that place, `NAME:N` when it does so for the
//! N-th time. Nothing is flushed, closed or told, as with `kill -9`. A build without debug assertions, such
//! as a release, has no such places.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The variable of the environment.
const VARIABLE: &str = "PIPECTL_FAIL_POINT";

/// A place between two steps that a crash must not tear apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailPoint {
    /// Partitions were given, and their windows restored; nothing was read.
    Assigned,
    /// Rows that were read again have rebuilt panes.
    Replaying,
    /// Rows were read, and not yet pushed.
    Read,
    /// Windows closed, and their results are not yet appended.
    WindowClosed,
    /// Results are appended, and not committed.
    Appended,
    /// Records are at the brokers; the transaction has no positions.
    SendingOffsets,
    /// The transaction has its positions, and is not committed.
    OffsetsSent,
    /// The transaction is committed, and the chain does not know.
    TransactionCommitted,
    /// The chain knows, and has counted nothing.
    Committed,
    /// Partitions are taken away, and what was done for them is not committed.
    Revoked,
}

impl FailPoint {
    /// All of them, in the order in which a worker passes them.
    pub const ALL: [Self; 10] = [
        Self::Assigned,
        Self::Replaying,
        Self::Read,
        Self::WindowClosed,
        Self::Appended,
        Self::SendingOffsets,
        Self::OffsetsSent,
        Self::TransactionCommitted,
        Self::Committed,
        Self::Revoked,
    ];

    /// The name in the environment.
    pub fn name(self) -> &'static str {
        match self {
            Self::Assigned => "assigned",
            Self::Replaying => "replaying",
            Self::Read => "read",
            Self::WindowClosed => "window-closed",
            Self::Appended => "appended",
            Self::SendingOffsets => "sending-offsets",
            Self::OffsetsSent => "offsets-sent",
            Self::TransactionCommitted => "transaction-committed",
            Self::Committed => "committed",
            Self::Revoked => "revoked",
        }
    }

    /// The worker is at this place: the process ends here if that was asked for.
    pub fn pass(self) {
        if cfg!(debug_assertions) {
            static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
            let armed = ARMED.get_or_init(|| Armed::parse(&std::env::var(VARIABLE).ok()?));
            if armed.as_ref().is_some_and(|armed| armed.fires(self)) {
                std::process::abort();
            }
        }
    }
}

/// Where the process shall end.
#[derive(Debug)]
struct Armed {
    point: FailPoint,
    /// Passages until then.
    left: AtomicU64,
}

impl Armed {
    /// `NAME` or `NAME:N`. What is neither arms nothing, and says so.
    fn parse(text: &str) -> Option<Self> {
        let (name, passage) = text.split_once(':').unwrap_or((text, "1"));
        let point = FailPoint::ALL.into_iter().find(|point| point.name() == name);
        let passage = passage.parse::<u64>().ok().filter(|passage| *passage > 0);
        let (Some(point), Some(passage)) = (point, passage) else {
            tracing::error!("{VARIABLE} is `{text}`, which is no fail point");
            return None;
        };
        Some(Self { point, left: AtomicU64::new(passage) })
    }

    /// True at the passage that was asked for, once.
    fn fires(&self, point: FailPoint) -> bool {
        self.point == point && self.left.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_fires_once_at_the_passage_that_was_asked_for() {
        let armed = Armed::parse("read:3").unwrap();
        let fired: Vec<bool> = (0..5).map(|_| armed.fires(FailPoint::Read)).collect();
        assert_eq!(fired, [false, false, true, false, false]);
        assert!(!armed.fires(FailPoint::Revoked), "another point");
        assert!(Armed::parse("read").unwrap().fires(FailPoint::Read), "the first passage by default");
    }

    #[test]
    fn names_are_told_apart_and_what_is_none_arms_nothing() {
        for point in FailPoint::ALL {
            assert_eq!(Armed::parse(point.name()).unwrap().point, point);
        }
        for text in ["", "raed", "read:", "read:0", "read:x", ":1"] {
            assert!(Armed::parse(text).is_none(), "{text}");
        }
    }
}
