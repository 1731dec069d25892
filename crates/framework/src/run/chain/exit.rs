//! How long a chain that has been told to stop may still take.
//!
//! A process is gone within ten seconds of a signal. A log that does not answer has time-outs of its own, and
//! what is asked of it waits behind what it has not answered yet: an abort behind a commit of ten seconds,
//! for one.

use std::future::Future;
use std::time::Duration;

use super::Environment;
use crate::clock::Clock;
use crate::error::Error;
use crate::metrics::Doing;
use crate::run::Command;
use crate::run::rising::Rising;

/// How long a chain that has been told to stop waits for its log; what is not committed then is read again.
pub(super) const DRAIN: Duration = Duration::from_secs(4);

/// How long it then takes to throw away what was not committed. A log that is left alone does so by itself.
const LET_GO: Duration = Duration::from_secs(2);

/// What ends a chain that was told to stop and was not done after [`DRAIN`].
pub(super) fn overdue(doing: Option<(Doing, Duration)>) -> Error {
    let seconds = DRAIN.as_secs();
    Error::retry(match doing {
        Some((Doing::Working, _)) => {
            format!(
                "it was told to stop, and was not done with the rows that it had taken within {seconds} s"
            )
        }
        Some((doing, _)) => format!("its log did not answer within {seconds} s ({})", doing.name()),
        None => format!("it was told to stop, and was not done within {seconds} s"),
    })
}

/// What ends a chain that was told to stop, where nobody can read later what it could not deal with.
pub(super) fn lost(error: Error) -> Error {
    let durable = "a log on disk, `brokers: embedded:DIR`, keeps for the next run what one could not write";
    let remedy = error.help().map_or(durable.to_owned(), |help| format!("{help}; {durable}"));
    Error::fatal("it was told to stop, and rows that it has not dealt with are lost with its log")
        .caused_by(error)
        .remedy(remedy)
}

/// The way out of a chain.
pub(super) struct Exit {
    command: Rising<Command>,
    clock: Clock,
}

impl Exit {
    pub(super) fn of(environment: &Environment) -> Self {
        Self { command: environment.command.clone(), clock: environment.options.clock.clone() }
    }

    /// Does something to its end; once the chain has been told to stop, not longer than [`LET_GO`].
    pub(super) async fn in_time(self, work: impl Future<Output = ()>) {
        let overdue = async {
            self.command.reaches(Command::Drain).await;
            self.clock.sleep_until(self.clock.elapsed() + LET_GO).await;
        };
        tokio::select! {
            biased;
            () = work => {}
            () = overdue => tracing::debug!("a log is left to itself: it did not let go in time"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit() -> (Rising<Command>, Exit, Clock) {
        let (command, clock) = (Rising::new(Command::Run), Clock::manual(0));
        (command.clone(), Exit { command, clock: clock.clone() }, clock)
    }

    #[test]
    fn what_was_not_done_in_time_is_told_by_what_the_chain_did() {
        let told = |doing| overdue(doing).to_string();
        let since = Duration::from_secs(9);
        assert_eq!(
            told(Some((Doing::Working, since))),
            "it was told to stop, and was not done with the rows that it had taken within 4 s"
        );
        assert_eq!(told(Some((Doing::Committing, since))), "its log did not answer within 4 s (committing)");
        assert_eq!(told(None), "it was told to stop, and was not done within 4 s");
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_long_is_waited_for_until_the_chain_shall_stop_and_then_not_much_longer() {
        let (_command, run, clock) = exit();
        run.in_time(tokio::time::sleep(Duration::from_secs(60))).await;
        assert_eq!(clock.elapsed(), Duration::from_secs(60));

        let (command, run, clock) = exit();
        let told = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            command.raise(Command::Drain);
        };
        tokio::join!(run.in_time(std::future::pending()), told);
        assert_eq!(clock.elapsed(), Duration::from_secs(5) + LET_GO);
    }
}
