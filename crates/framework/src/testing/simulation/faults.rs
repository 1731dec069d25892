//! What can go wrong, and how often.

use std::time::Duration;

/// How long a group waits for a member that is gone before it gives its partitions to others
/// (`session.timeout.ms`).
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(6);

/// How often each fault comes, in a thousand calls of the log. Each seed has some of them, at rates of its
/// own ("swarm testing", Groce et al. 2012): where every fault is always on, those that need a quiet time are
/// never reached.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// The process crashes at a call.
    pub crash: u64,
    /// The process crashes before, after or while its commit happens.
    pub crash_in_commit: u64,
    /// A call fails with `Retry`.
    pub retry: u64,
    /// An append or a commit fails with `Abort`.
    pub abort: u64,
    /// A commit gets no answer: it has happened, has not, or happens later (KIP-98, KIP-447).
    pub ambiguous: u64,
    /// A call waits.
    pub delay: u64,
    /// The longest delay, in milliseconds.
    pub longest: u64,
}

/// Where in the log's contract a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Topics are made.
    Topics,
    /// A reader is opened, or asked where it stands.
    Reader,
    /// A writer is opened.
    Writer,
    /// A reader waits for what comes.
    Next,
    /// Records are appended.
    Append,
    /// Whatever cannot fail.
    Other,
}

/// What becomes of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Happens,
    /// `Abort`: it does not happen.
    Aborts,
    /// `Retry`, and it has not happened.
    NotBefore,
    /// `Retry`, and it has happened.
    NotAfter,
    /// `Retry`, and it will happen or not, until somebody settles it.
    Under,
    CrashBefore,
    CrashAfter,
    CrashUnder,
}
