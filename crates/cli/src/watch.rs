//! What must work whatever the chains do: signals, the health endpoint and the end of the process.
//!
//! All of it is on a thread with a runtime of its own. Code of a plugin that blocks may hold every thread of
//! the chains' runtime, and its timers with them; then nobody there hears a signal, or that ten seconds are
//! over.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::time::Duration;

use pipectl_framework::error::Error;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use crate::exit::Exit;
use crate::health::{self, View};
use crate::stderr;
use crate::terminal::Terminal;

/// A drain that takes longer than this is given up, so that the process is gone within ten seconds of a
/// signal.
const LONGEST_DRAIN: Duration = Duration::from_secs(9);
/// How long the process may take to end once that is decided.
const LAST_WORDS: Duration = Duration::from_millis(700);
/// How long a line may take to be written then.
const LAST_LINE: Duration = Duration::from_millis(100);
/// What reaches the process again so soon is the same Ctrl-C: the terminal signals the whole group, and a
/// wrapper passes it on.
const SAME_SIGNAL: Duration = Duration::from_millis(300);
/// How often it is looked whether a chain failed, which makes the others drain.
const LOOK: Duration = Duration::from_millis(250);

/// What the run is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// The first signal: the chains drain.
    Drain,
    /// They have taken too long.
    Overdue,
    /// Another signal: at once.
    Now,
}

/// What the process ends with, once that is known; and for the time until then.
#[derive(Debug, Clone)]
pub(crate) struct Decided(Arc<AtomicI32>);

impl Decided {
    const NOT_YET: i32 = -1;

    /// The run is over, and ends with this.
    pub(crate) fn set(&self, exit: Exit) {
        self.0.store(i32::from(exit.code()), SeqCst);
    }

    fn get(&self) -> Option<i32> {
        Some(self.0.load(SeqCst)).filter(|code| *code != Self::NOT_YET)
    }
}

/// Takes signals from its making on; what comes before [`start`](Self::start) is kept.
pub(crate) struct Watch {
    runtime: Runtime,
    interrupt: Signal,
    terminate: Signal,
    decided: Decided,
}

impl Watch {
    pub(crate) fn new() -> Result<Self, Error> {
        let cannot = |what: &'static str| move |e: std::io::Error| Error::fatal(what).caused_by(e);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(cannot("the runtime cannot be started"))?;
        let entered = runtime.enter();
        let caught = |kind| signal(kind).map_err(cannot("signals cannot be caught"));
        let (interrupt, terminate) = (caught(SignalKind::interrupt())?, caught(SignalKind::terminate())?);
        drop(entered);
        Ok(Self {
            runtime,
            interrupt,
            terminate,
            decided: Decided(Arc::new(AtomicI32::new(Decided::NOT_YET))),
        })
    }

    pub(crate) fn decided(&self) -> Decided {
        self.decided.clone()
    }

    /// Watches over the run from now on; answers on `health`, where there is one.
    pub(crate) fn start(
        self,
        view: View,
        health: Option<TcpListener>,
        terminal: Terminal,
    ) -> Result<UnboundedReceiver<Told>, Error> {
        let (tell, told) = unbounded_channel();
        let Self { runtime, interrupt, terminate, decided } = self;
        let guard = Guard { interrupt, terminate, decided, view, tell, terminal };
        std::thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || {
                if let Some(listener) = health {
                    runtime.spawn(health::serve(listener, guard.view.clone()));
                }
                runtime.block_on(guard.watch());
            })
            .map_err(|e| Error::fatal("cannot start a thread").caused_by(e))?;
        Ok(told)
    }
}

struct Guard {
    interrupt: Signal,
    terminate: Signal,
    decided: Decided,
    view: View,
    tell: UnboundedSender<Told>,
    terminal: Terminal,
}

impl Guard {
    /// Ends with the process.
    async fn watch(mut self) {
        let (mut signalled, mut deadline): (Option<Instant>, Option<Instant>) = (None, None);
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop(&mut self.interrupt, &mut self.terminate) => {
                    match signalled {
                        None => {
                            signalled = Some(Instant::now());
                            self.view.control.drain();
                            self.tell(Told::Drain);
                        }
                        Some(at) if at.elapsed() < SAME_SIGNAL => {}
                        Some(_) => {
                            self.tell(Told::Now);
                            sleep(LAST_WORDS).await;
                            end(Exit::Stopped.code().into());
                        }
                    }
                }
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    self.overdue().await;
                }
                _ = look.tick() => {}
            }
            if deadline.is_none() && self.view.control.draining() {
                deadline = Some(Instant::now() + LONGEST_DRAIN);
            }
        }
    }

    async fn overdue(&self) {
        self.tell(Told::Overdue);
        sleep(LAST_WORDS).await;
        let code = self.decided.get().unwrap_or_else(|| {
            did_not_stop(&self.view, &self.terminal);
            Exit::Failed.code().into()
        });
        end(code);
    }

    fn tell(&self, told: Told) {
        // An error means that the run is over.
        let _ = self.tell.send(told);
    }
}

/// Says which chains have not stopped in time, and what they do.
pub(crate) fn did_not_stop(view: &View, terminal: &Terminal) {
    let (chains, limit) = (view.unfinished(), LONGEST_DRAIN.as_secs());
    let what = match &chains[..] {
        [] => format!("the run did not end within {limit} s"),
        [chain] => format!("a chain did not stop within {limit} s: {chain}"),
        chains => format!("{} chains did not stop within {limit} s: {}", chains.len(), chains.join("; ")),
    };
    terminal.error(what, Some("what they had not committed is read again by the next run"));
}

/// Ends the process though threads of it may hang.
fn end(code: i32) -> ! {
    stderr::flush(LAST_LINE);
    std::process::exit(code)
}

async fn stop(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
