//! How the program ends.

use std::process::ExitCode;

/// The exit codes of every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0
    Done,
    /// 1: the run failed.
    Failed,
    /// 3: the file is not valid.
    Invalid,
    /// 4: fenced or refused by the broker.
    Refused,
    /// 130: stopped by a second signal.
    Stopped,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Invalid => 3,
            Exit::Refused => 4,
            Exit::Stopped => 130,
        })
    }
}
