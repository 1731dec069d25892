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

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Invalid => 3,
            Self::Refused => 4,
            Self::Stopped => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
