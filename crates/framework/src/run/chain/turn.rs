//! A chain that one worker at a time can run.

use std::time::Duration;

use super::{Chain, Command, Notice};
use crate::error::{Consequence, Error, Result};
use crate::metrics::{Doing, State};
use crate::run::turn::{Over, Turn};

/// How long a group may take to say that this worker's turn is over, once another writer has taken the
/// chain's place: longer than the interval of heartbeats.
const NEWS: Duration = Duration::from_secs(5);

/// Waits until the turn is over; forever where every worker runs the chain.
pub(super) async fn over(turn: &mut Option<Turn>) -> Result<Over> {
    match turn {
        Some(turn) => turn.over().await,
        None => std::future::pending().await,
    }
}

impl Chain {
    /// Waits for this worker's turn.
    pub(super) async fn wait_for_turn(&mut self) -> Result<()> {
        let Some(turn) = &mut self.turn else { return Ok(()) };
        let (mut stood_by, standing) = (false, &self.metrics.standing);
        let (clock, notices) = (&self.environment.options.clock, &self.environment.notices);
        turn.wait(|| {
            if !std::mem::replace(&mut stood_by, true) {
                standing.set(State::StandsBy, clock.elapsed());
                standing.waits();
                // Nobody listens any more where the run was dropped.
                let _ = notices.send(Notice::StandsBy { chain: self.name.clone() });
            }
        })
        .await?;
        if stood_by {
            self.stands(State::Starting);
            self.does(Doing::Opening);
            self.notify(Notice::TakesOver { chain: self.name.clone() });
        }
        Ok(())
    }

    /// True where another writer fenced this one because its turn is over, which the group is about to say:
    /// this worker stood still for long. Otherwise somebody from outside has the chain's transactional id.
    pub(super) async fn lost_its_turn(&mut self, error: &Error) -> bool {
        let clock = self.environment.options.clock.clone();
        let command = self.environment.command.clone();
        match &mut self.turn {
            Some(turn) if error.consequence() == Consequence::Fenced => tokio::select! {
                biased;
                over = turn.over() => over.is_ok(),
                () = clock.sleep_until(clock.elapsed() + NEWS) => false,
                // Then it does not matter any more.
                () = command.reaches(Command::Drain) => true,
            },
            _ => false,
        }
    }
}
