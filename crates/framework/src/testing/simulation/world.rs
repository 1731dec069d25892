//! What outlives the simulated processes: the chance that a seed decides, the faults that are on, commits
//! that are under way, and what was seen of all that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::faults::{Call, Fate, Faults, SESSION_TIMEOUT};
use super::process::Process;
use super::random::Random;
use super::ready;
use crate::batch::Partition;
use crate::error::{Error, Result};
use crate::log::memory::MemoryLog;
use crate::log::{GroupPositions, Log, LogWriter, WriterOptions};

/// What was injected and seen, by name.
pub type Figures = BTreeMap<&'static str, u64>;

/// What outlives the processes: chance, faults, and what was seen.
pub struct World {
    state: Mutex<State>,
    started: Instant,
    runtime: tokio::runtime::Handle,
    /// Told every step, as a line.
    told: Option<fn(&str)>,
}

struct State {
    random: Random,
    faults: Faults,
    figures: Figures,
    /// What must not be, and was.
    violations: Vec<String>,
    /// A hash of everything that happened, in its order: two runs of a seed have the same.
    hash: u64,
    in_flight: Vec<InFlight>,
    /// The process and the number of the newest writer of each transactional id.
    newest: BTreeMap<String, (u64, u64)>,
    /// What each group has committed, by the positions that went into commits that succeeded.
    committed: BTreeMap<(String, Partition), i64>,
    /// The readers of groups that were neither closed nor thrown out.
    members: BTreeSet<u64>,
    next: u64,
}

/// A commit of which its process does not know whether it happens.
struct InFlight {
    number: u64,
    writer: u64,
    id: Option<String>,
    inner: Box<dyn LogWriter>,
    positions: Option<(Token, GroupPositions)>,
}

/// A reader's standing, as the simulation follows it beside the log's own.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) inner: crate::log::Membership,
    pub(super) group: String,
    pub(super) reader: u64,
}

impl World {
    /// A world of a seed, without faults yet. `told` is told every step, as a line.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn new(seed: u64, told: Option<fn(&str)>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                random: Random::new(seed),
                faults: Faults::default(),
                figures: Figures::new(),
                violations: Vec::new(),
                hash: 0xcbf2_9ce4_8422_2325,
                in_flight: Vec::new(),
                newest: BTreeMap::new(),
                committed: BTreeMap::new(),
                members: BTreeSet::new(),
                next: 0,
            }),
            started: Instant::now(),
            runtime: tokio::runtime::Handle::current(),
            told,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since the world began.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// A number that nothing else has.
    #[must_use]
    pub fn number(&self) -> u64 {
        let mut state = self.lock();
        state.next += 1;
        state.next
    }

    /// A number from `least` to below `end`.
    #[must_use]
    pub fn draw(&self, least: u64, end: u64) -> u64 {
        self.lock().random.between(least, end)
    }

    fn chance(&self, per_mille: u64) -> bool {
        self.lock().random.chance(per_mille)
    }

    /// Counts one more of something that was seen.
    pub fn count(&self, figure: &'static str) {
        self.add(figure, 1);
    }

    /// Counts some more of something that was seen.
    pub fn add(&self, figure: &'static str, many: u64) {
        *self.lock().figures.entry(figure).or_default() += many;
    }

    /// What was counted, which begins anew.
    #[must_use]
    pub fn take_figures(&self) -> Figures {
        std::mem::take(&mut self.lock().figures)
    }

    /// What must not be and was, which begins anew.
    #[must_use]
    pub fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().violations)
    }

    /// The faults from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// Notes what must not be.
    pub fn violation(&self, what: String) {
        self.note(0, &format!("VIOLATION {what}"));
        self.lock().violations.push(what);
    }

    /// Notes that something happened: into the hash, and to whoever is told.
    pub fn note(&self, process: u64, what: &str) {
        let now = self.now();
        if let Some(told) = self.told {
            told(&format!("{now:>6} p{process} {what}"));
        }
        let mut state = self.lock();
        for byte in now.to_le_bytes().into_iter().chain(process.to_le_bytes()).chain(what.bytes()) {
            state.hash = (state.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3); // FNV-1a
        }
    }

    /// A hash of all that happened.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.lock().hash
    }

    /// Does something later, whatever becomes of the processes.
    pub fn later(&self, after: Duration, work: impl std::future::Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(async move {
            tokio::time::sleep(after).await;
            work.await;
        });
    }

    /// What every call of the log goes through: here a process may crash, wait, or meet an error that the
    /// contract allows.
    ///
    /// # Errors
    /// What the faults say: `Retry`, `Abort`.
    pub async fn point(&self, process: &Process, call: Call) -> Result<()> {
        self.stand(process).await;
        let (retry, abort) = match call {
            Call::Append => (true, true),
            Call::Topics | Call::Reader | Call::Writer | Call::Next => (true, false),
            Call::Other => (false, false),
        };
        if call != Call::Next && self.now() < process.unreachable_until() {
            // A request that nobody answers.
            tokio::time::sleep(Duration::from_millis(200)).await;
            self.stand(process).await;
            self.count("call while cut off");
            return if retry { Err(Error::retry("injected: cut off")) } else { Ok(()) };
        }
        let (wait, what) = {
            let mut state = self.lock();
            let faults = state.faults.clone();
            let wait = if state.random.chance(faults.delay) {
                Some(state.random.between(0, faults.longest.max(1)))
            } else {
                None
            };
            let what = if state.random.chance(faults.crash) {
                "crash at a call"
            } else if retry && state.random.chance(faults.retry) {
                "retry"
            } else if abort && state.random.chance(faults.abort) {
                "abort"
            } else {
                ""
            };
            (wait, what)
        };
        match wait {
            Some(0) => tokio::task::yield_now().await,
            Some(wait) => {
                self.count("delay");
                tokio::time::sleep(Duration::from_millis(wait)).await;
            }
            None => {}
        }
        if !what.is_empty() {
            self.count(what);
            self.note(process.number(), &format!("{what} in {call:?}"));
        }
        match what {
            "crash at a call" => {
                process.crash();
                std::future::pending().await
            }
            "retry" => Err(Error::retry("injected: not now")),
            "abort" => Err(Error::abort("injected: the transaction is gone")),
            _ => {
                self.stand(process).await;
                Ok(())
            }
        }
    }

    /// Waits while the process stands still; for ever where it has crashed.
    pub(super) async fn stand(&self, process: &Process) {
        loop {
            if process.is_dead() {
                std::future::pending::<()>().await;
            }
            let (now, until) = (self.now(), process.stalled_until());
            if now >= until {
                return;
            }
            tokio::time::sleep(Duration::from_millis(until - now)).await;
        }
    }

    /// What becomes of the next commit. `transactional` is true where it may be under way for a while.
    pub(super) fn fate(&self, process: &Process, transactional: bool) -> Fate {
        let mut state = self.lock();
        let faults = state.faults.clone();
        let unsure: &[Fate] = match transactional {
            true => &[Fate::NotBefore, Fate::NotAfter, Fate::Under],
            false => &[Fate::NotBefore, Fate::NotAfter],
        };
        let crash: &[Fate] = match transactional {
            true => &[Fate::CrashBefore, Fate::CrashAfter, Fate::CrashUnder],
            false => &[Fate::CrashBefore, Fate::CrashAfter],
        };
        let (fate, figure) = if state.random.chance(faults.crash_in_commit) {
            (state.random.pick(crash), "crash in a commit")
        } else if state.random.chance(faults.ambiguous) || self.now() < process.unreachable_until() {
            (state.random.pick(unsure), "ambiguous commit")
        } else if state.random.chance(faults.abort) {
            (Fate::Aborts, "aborted commit")
        } else {
            (Fate::Happens, "commit")
        };
        *state.figures.entry(figure).or_default() += 1;
        fate
    }

    // Writers and members.

    pub(super) fn writer_opened(&self, id: Option<&String>, process: u64, number: u64) {
        if let Some(id) = id {
            self.lock().newest.insert(id.clone(), (process, number));
        }
    }

    /// A process stands still for so many milliseconds; where that is longer than the session, its groups
    /// throw it out.
    pub fn stand_still(self: &Arc<Self>, process: &Arc<Process>, length: u64) {
        process.stall(self.now() + length);
        if length > SESSION_TIMEOUT.as_millis() as u64 {
            let (world, process) = (self.clone(), process.clone());
            self.later(SESSION_TIMEOUT, async move { process.expel(&world) });
        }
    }

    /// Somebody else takes the transactional ids of a process.
    ///
    /// # Errors
    /// Where the log in memory opens no writer.
    pub async fn fence(&self, process: &Process, log: &MemoryLog) -> Result<()> {
        for id in self.ids_of(process.number()) {
            self.count("worker fenced");
            self.settle_writer(&id);
            let options = WriterOptions {
                transactional_id: Some(id.clone()),
                transaction_timeout: Duration::from_secs(10),
            };
            log.writer(options).await?;
            self.writer_opened(Some(&id), 0, self.number());
        }
        Ok(())
    }

    /// The transactional ids of which a process has the newest writer.
    fn ids_of(&self, process: u64) -> Vec<String> {
        let state = self.lock();
        state.newest.iter().filter(|(_, (of, _))| *of == process).map(|(id, _)| id.clone()).collect()
    }

    pub(super) fn member(&self, reader: u64, joins: bool) {
        let members = &mut self.lock().members;
        if joins {
            members.insert(reader);
        } else {
            members.remove(&reader);
        }
    }

    /// Looks at a commit that has succeeded: nobody who was fenced or thrown out may, and no position goes
    /// back.
    pub(super) fn committed(
        &self,
        writer: Option<(&String, u64)>,
        positions: Option<(&Token, &GroupPositions)>,
    ) {
        let mut wrong = Vec::new();
        let mut state = self.lock();
        if let Some((id, number)) = writer
            && state.newest.get(id).map(|newest| newest.1) != Some(number)
        {
            wrong.push("a fenced writer has committed".to_owned());
        }
        if let Some((token, positions)) = positions {
            if !state.members.contains(&token.reader) {
                wrong.push("a reader that is no member any more has committed".to_owned());
            }
            for position in &positions.positions {
                let key = (token.group.clone(), position.partition.clone());
                let before = state.committed.insert(key, position.offset);
                if before.is_some_and(|before| before > position.offset) {
                    wrong.push(format!(
                        "{} went back from {before:?} to {} in group {}",
                        position.partition, position.offset, token.group
                    ));
                }
            }
        }
        drop(state);
        wrong.into_iter().for_each(|what| self.violation(what));
    }

    /// Sends a commit off: it happens after a while, unless somebody settles it before.
    pub(super) fn send_off(
        self: &Arc<Self>,
        writer: u64,
        id: Option<String>,
        inner: Box<dyn LogWriter>,
        positions: Option<(Token, GroupPositions)>,
    ) {
        let number = self.number();
        let after = self.draw(0, SESSION_TIMEOUT.as_millis() as u64 - 1);
        self.lock().in_flight.push(InFlight { number, writer, id, inner, positions });
        let world = self.clone();
        self.later(Duration::from_millis(after), async move {
            world.settle(|commit| commit.number == number);
        });
    }

    /// The commits under way with this id: a new writer does not begin before it is known what becomes of
    /// them.
    pub(super) fn settle_writer(&self, id: &str) {
        self.settle(|commit| commit.id.as_deref() == Some(id));
    }

    /// The commits under way with positions of this reader: nobody is told where its partitions stand before
    /// (KIP-447, `RequireStable`).
    pub(super) fn settle_reader(&self, reader: u64) {
        self.settle(|commit| commit.positions.as_ref().is_some_and(|(token, _)| token.reader == reader));
    }

    fn settle(&self, which: impl Fn(&InFlight) -> bool) {
        let mut settled = Vec::new();
        {
            let mut state = self.lock();
            let mut index = 0;
            while index < state.in_flight.len() {
                if which(&state.in_flight[index]) {
                    settled.push(state.in_flight.remove(index));
                } else {
                    index += 1;
                }
            }
        }
        for InFlight { number, writer, id, mut inner, positions } in settled {
            if self.chance(400) {
                self.count("commit under way was aborted");
                continue;
            }
            let sent = positions.as_ref().map(|(_, sent)| sent.clone());
            // The log in memory never waits in a commit.
            let result = ready(inner.commit(sent));
            self.note(0, &format!("commit {number} under way: {}", matches!(result, Some(Ok(())))));
            if let Some(Ok(())) = result {
                self.count("commit under way happened");
                let positions = positions.as_ref().map(|(token, sent)| (token, sent));
                self.committed(id.as_ref().map(|id| (id, writer)), positions);
            }
        }
    }
}
