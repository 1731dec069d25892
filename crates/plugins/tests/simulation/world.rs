//! What outlives the simulated processes: the chance that a seed decides, the faults that are on, commits that are under way, and
//! what was seen of all that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use pipectl_framework::batch::Partition;
use pipectl_framework::error::{Error, Result};
use pipectl_framework::log::{GroupPositions, LogWriter};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::random::Random;
use crate::reader::Seat;

/// How long a group waits for a member that is gone before it gives its partitions to others (`session.timeout.ms`).
pub(crate) const SESSION_TIMEOUT: Duration = Duration::from_secs(6);

/// How often each fault comes, in a thousand calls of the log. Each seed has some of them, at rates of its own ("swarm testing", Groce et
/// al. 2012): where every fault is always on, those that need a quiet time are never reached.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    pub(crate) crash: u64,
    pub(crate) crash_in_commit: u64,
    pub(crate) retry: u64,
    pub(crate) abort: u64,
    pub(crate) ambiguous: u64,
    pub(crate) delay: u64,
    /// The longest delay.
    pub(crate) longest: u64,
}

/// What was injected and seen, by name.
pub(crate) type Figures = BTreeMap<&'static str, u64>;

pub(crate) struct World {
    state: Mutex<State>,
    started: Instant,
    runtime: tokio::runtime::Handle,
    /// True where every step is printed.
    print: bool,
}

pub(crate) struct State {
    pub(crate) random: Random,
    pub(crate) faults: Faults,
    pub(crate) figures: Figures,
    /// What must not be, and was.
    pub(crate) violations: Vec<String>,
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

/// Where in the log's contract a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Topics,
    Reader,
    Writer,
    Next,
    Append,
    Other,
}

/// What becomes of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
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

/// A reader's standing, as the simulation follows it beside the log's own.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) inner: pipectl_framework::log::Membership,
    pub(crate) group: String,
    pub(crate) reader: u64,
}

/// A simulated process: it can stop at any call of the log, for ever or for a while.
pub(crate) struct Process {
    pub(crate) number: u64,
    dead: AtomicBool,
    /// Rings when it has crashed.
    pub(crate) crashed: Notify,
    /// In milliseconds since the start of the world: it stands still until then.
    stalled: AtomicU64,
    /// The log answers it nothing until then.
    unreachable: AtomicU64,
    /// Its readers have been thrown out of their groups so many times.
    expelled: AtomicU64,
    /// Rings when they are, for those who wait, in the order in which they began to.
    bell: Notify,
    seats: Mutex<Vec<Weak<Seat>>>,
}

impl Process {
    pub(crate) fn new(number: u64) -> Arc<Self> {
        Arc::new(Self {
            number,
            dead: AtomicBool::new(false),
            crashed: Notify::new(),
            stalled: AtomicU64::new(0),
            unreachable: AtomicU64::new(0),
            expelled: AtomicU64::new(0),
            bell: Notify::new(),
            seats: Mutex::new(Vec::new()),
        })
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Relaxed)
    }

    /// Ends it where it stands: whatever it calls from now on never returns.
    pub(crate) fn crash(&self) {
        self.dead.store(true, Relaxed);
        self.crashed.notify_one();
    }

    pub(crate) fn stall(&self, until: u64) {
        self.stalled.fetch_max(until, Relaxed);
    }

    pub(crate) fn cut_off(&self, until: u64) {
        self.unreachable.fetch_max(until, Relaxed);
    }

    /// Has the groups throw its readers out, as a broker does that has not heard of them for too long.
    pub(crate) fn expel(&self, world: &World) {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.retain(|seat| seat.strong_count() > 0);
        let seats: Vec<Arc<Seat>> = seats.iter().filter_map(Weak::upgrade).collect();
        // Those in which somebody waits are told.
        self.expelled.fetch_add(1, Relaxed);
        self.bell.notify_waiters();
        seats.iter().for_each(|seat| seat.throw_out(world));
    }

    /// Notes a reader's seat.
    pub(crate) fn seated(&self, seat: &Arc<Seat>) {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(seat));
    }

    /// How often its readers have been thrown out.
    pub(crate) fn expulsions(&self) -> u64 {
        self.expelled.load(Relaxed)
    }

    /// Waits until they have been thrown out more than `times`; gives how often.
    pub(crate) async fn expelled(&self, times: u64) -> u64 {
        loop {
            let rings = self.bell.notified();
            let now = self.expulsions();
            if now > times {
                return now;
            }
            rings.await;
        }
    }

    pub(crate) fn unreachable_until(&self) -> u64 {
        self.unreachable.load(Relaxed)
    }
}

impl World {
    pub(crate) fn new(seed: u64, print: bool) -> Arc<Self> {
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
            print,
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since the world began.
    pub(crate) fn now(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    pub(crate) fn number(&self) -> u64 {
        let mut state = self.lock();
        state.next += 1;
        state.next
    }

    pub(crate) fn draw(&self, least: u64, end: u64) -> u64 {
        self.lock().random.between(least, end)
    }

    pub(crate) fn chance(&self, per_mille: u64) -> bool {
        self.lock().random.chance(per_mille)
    }

    pub(crate) fn count(&self, figure: &'static str) {
        *self.lock().figures.entry(figure).or_default() += 1;
    }

    pub(crate) fn violation(&self, what: String) {
        self.note(0, &format!("VIOLATION {what}"));
        self.lock().violations.push(what);
    }

    /// Notes that something happened: into the hash, and on the screen where a single seed is looked at.
    pub(crate) fn note(&self, process: u64, what: &str) {
        let now = self.now();
        if self.print {
            println!("{now:>6} p{process} {what}");
        }
        let mut state = self.lock();
        for byte in now.to_le_bytes().into_iter().chain(process.to_le_bytes()).chain(what.bytes()) {
            state.hash = (state.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3); // FNV-1a
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.lock().hash
    }

    /// Does something later, whatever becomes of the processes.
    pub(crate) fn later(
        &self,
        after: Duration,
        work: impl std::future::Future<Output = ()> + Send + 'static,
    ) {
        self.runtime.spawn(async move {
            tokio::time::sleep(after).await;
            work.await;
        });
    }

    /// What every call of the log goes through: here a process may crash, wait, or meet an error that the contract allows.
    pub(crate) async fn point(&self, process: &Process, call: Call) -> Result<()> {
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
            self.note(process.number, &format!("{what} in {call:?}"));
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
    pub(crate) async fn stand(&self, process: &Process) {
        loop {
            if process.is_dead() {
                std::future::pending::<()>().await;
            }
            let (now, until) = (self.now(), process.stalled.load(Relaxed));
            if now >= until {
                return;
            }
            tokio::time::sleep(Duration::from_millis(until - now)).await;
        }
    }

    /// What becomes of the next commit. `transactional` is true where it may be under way for a while.
    pub(crate) fn fate(&self, process: &Process, transactional: bool) -> Fate {
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

    pub(crate) fn writer_opened(&self, id: Option<&String>, process: u64, number: u64) {
        if let Some(id) = id {
            self.lock().newest.insert(id.clone(), (process, number));
        }
    }

    /// The transactional ids of which a process has the newest writer.
    pub(crate) fn ids_of(&self, process: u64) -> Vec<String> {
        let state = self.lock();
        state.newest.iter().filter(|(_, (of, _))| *of == process).map(|(id, _)| id.clone()).collect()
    }

    pub(crate) fn member(&self, reader: u64, joins: bool) {
        let members = &mut self.lock().members;
        if joins {
            members.insert(reader);
        } else {
            members.remove(&reader);
        }
    }

    /// Looks at a commit that has succeeded: nobody who was fenced or thrown out may, and no position goes back.
    pub(crate) fn committed(
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
    pub(crate) fn send_off(
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

    /// The commits under way with this id: a new writer does not begin before it is known what becomes of them.
    pub(crate) fn settle_writer(&self, id: &str) {
        self.settle(|commit| commit.id.as_deref() == Some(id));
    }

    /// The commits under way with positions of this reader: nobody is told where its partitions stand before (KIP-447, `RequireStable`).
    pub(crate) fn settle_reader(&self, reader: u64) {
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
            let result = inner.commit(sent).now_or_never();
            self.note(0, &format!("commit {number} under way: {}", matches!(result, Some(Ok(())))));
            if let Some(Ok(())) = result {
                self.count("commit under way happened");
                let positions = positions.as_ref().map(|(token, sent)| (token, sent));
                self.committed(id.as_ref().map(|id| (id, writer)), positions);
            }
        }
    }
}
