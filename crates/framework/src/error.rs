//! Errors, typed by what they make the runner do.
//!
//! A plugin never retries, sleeps or exits. It says what happened with one [`Error`]; its [`Consequence`]
//! decides what the chain loop does next. Problems of the *file* are not errors of this kind: they are
//! [`Problem`](crate::config::Problem)s with a place, found before anything starts.

use std::fmt;

/// What systems and libraries say where a process has as many files and connections open as it may.
const TOO_MANY_FILES: &str = "Too many open files";
/// What to do about it.
const MORE_FILES: &str = "let the process open more files: `ulimit -n 65536` in the shell that starts it, or \
                          `LimitNOFILE=65536` in its unit of systemd; a chain over Kafka needs some 20";

/// What an [`Error`] makes the runner do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Consequence {
    /// Not connected, or a passing fault. The chain backs off and tries again; nothing is lost.
    Retry,
    /// The open transaction cannot be kept. The chain aborts it, drops its open panes, reads the committed
    /// positions again and goes on from there.
    Abort,
    /// Another worker has taken this chain's place (a newer producer epoch). The chain stops; exit code 4.
    Fenced,
    /// The broker refuses this worker: wrong password, no authority, another kind of group. Exit code 4.
    Refused,
    /// Nothing that the runner could do would help. The run stops; exit code 1.
    Fatal,
}

/// The part of a chain that an [`Error`] belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// The source.
    Source,
    /// The step behind it of this number.
    Node(usize),
    /// The connection of this number, and so the sinks that write there.
    Connection(usize),
}

/// A failure while a pipeline runs: what happened, and what to do about it.
#[derive(Debug)]
pub struct Error {
    part: Option<Part>,
    consequence: Consequence,
    message: String,
    remedy: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The result of a step of a running pipeline.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error with the given consequence; `message` says what happened, without a final full stop.
    pub fn new(consequence: Consequence, message: impl Into<String>) -> Self {
        Self { part: None, consequence, message: message.into(), remedy: None, source: None }
    }

    /// A passing fault: see [`Consequence::Retry`].
    pub fn retry(message: impl Into<String>) -> Self {
        Self::new(Consequence::Retry, message)
    }

    /// A lost transaction: see [`Consequence::Abort`].
    pub fn abort(message: impl Into<String>) -> Self {
        Self::new(Consequence::Abort, message)
    }

    /// The end of the run: see [`Consequence::Fatal`].
    pub fn fatal(message: impl Into<String>) -> Self {
        Self::new(Consequence::Fatal, message)
    }

    /// Adds what the reader can do about it, in one sentence.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Adds the error underneath.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Says where it happened, once, in front of the message: `where: what`.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// Says which part of a chain it belongs to; the first that is said counts.
    #[must_use]
    pub(crate) fn of(mut self, part: Part) -> Self {
        self.part = self.part.or(Some(part));
        self
    }

    /// The part of a chain that it belongs to.
    pub(crate) fn part(&self) -> Option<Part> {
        self.part
    }

    /// What the runner does about it.
    pub fn consequence(&self) -> Consequence {
        self.consequence
    }

    /// What happened.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What the reader can do about it. Where the system lets the process open nothing more, that is the
    /// remedy, whatever was being done: nothing else helps.
    pub fn help(&self) -> Option<&str> {
        if self.to_string().contains(TOO_MANY_FILES) { Some(MORE_FILES) } else { self.remedy.as_deref() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(source) = &self.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|s| s as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_no_more_files_can_be_opened_that_is_the_remedy() {
        let system = || std::io::Error::from_raw_os_error(24);
        let said = Error::retry(format!("cannot read: {}", system())).remedy("check that the brokers run");
        let beneath = Error::fatal("cannot open the log").caused_by(system());
        for error in [said, beneath] {
            assert_eq!(error.help(), Some(MORE_FILES), "{error}");
        }
        assert_eq!(Error::fatal("no").remedy("do").help(), Some("do"));
    }
}
