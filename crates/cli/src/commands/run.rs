//! `pipectl run`: runs a file until its end or a signal.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use pipectl_framework::clock::Clock;
use pipectl_framework::error::{Consequence, Error};
use pipectl_framework::graph::{Plan, describe};
use pipectl_framework::plugin::{Purpose, Registry};
use pipectl_framework::run::{Outcome, Run, RunOptions};
use pipectl_plugins::stdout::ReaderHasGone;

use crate::args::{self, Global, LogFormat};
use crate::balance::{log_balance, summary};
use crate::exit::Exit;
use crate::health::{self, View};
use crate::load::load;
use crate::notices::tell;
use crate::status::Status;
use crate::stderr;
use crate::terminal::Terminal;
use crate::trouble::Troubles;
use crate::watch::{Told, Watch, did_not_stop};

/// How long the last lines of a run wait for somebody who reads them.
const LAST_LINES: Duration = Duration::from_secs(2);

pub(crate) fn main(run: &args::Run, global: &Global, terminal: &Terminal) -> Exit {
    stderr::start();
    let exit = load_and_run(run, global, terminal);
    // Whoever reads slowly shall have the end as well.
    stderr::flush(LAST_LINES);
    exit
}

fn load_and_run(run: &args::Run, global: &Global, terminal: &Terminal) -> Exit {
    let registry = match Registry::collect() {
        Ok(registry) => registry,
        Err(error) => {
            terminal.failure("plugins", &error);
            return Exit::Failed;
        }
    };
    let plan = match load(&registry, &run.file, Purpose::Run { once: run.once }) {
        Ok((plan, warnings)) => {
            terminal.diagnostics(&warnings);
            plan
        }
        Err(problems) => {
            terminal.diagnostics(&problems);
            return Exit::Invalid;
        }
    };
    match start(plan, run, global, terminal) {
        Ok(exit) => exit,
        Err((place, error)) => {
            terminal.failure(place, &error);
            Exit::Failed
        }
    }
}

/// Takes what the run needs from the system, and runs; fails with where it could not.
fn start(
    plan: Plan,
    run: &args::Run,
    global: &Global,
    terminal: &Terminal,
) -> Result<Exit, (&'static str, Error)> {
    let health = run.health.map(health::listen).transpose().map_err(|e| ("--health", e))?;
    let watch = Watch::new().map_err(|e| ("run", e))?;
    let cannot = |e| ("run", Error::fatal("the runtime cannot be started").caused_by(e));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(cannot)?;
    if global.log_format == LogFormat::Text {
        introduce(&plan, run, terminal);
    }
    if let Some(address) = health.as_ref().and_then(|listener| listener.local_addr().ok()) {
        let address = format!("http://{address}/readyz");
        if terminal.json() {
            tracing::info!(address, "health {address}");
        } else {
            terminal.say(format!("  health {}", terminal.bold(address)));
        }
    }
    let decided = watch.decided();
    let exit = runtime.block_on(drive(plan, run, watch, health, terminal));
    if let Ok(exit) = &exit {
        decided.set(*exit);
    }
    // A client that hangs in its last goodbye does not hold the process, nor does a plugin.
    runtime.shutdown_timeout(Duration::from_millis(500));
    exit.map_err(|e| ("run", e))
}

/// What is about to run.
fn introduce(plan: &Plan, run: &args::Run, terminal: &Terminal) {
    terminal.say(format!("{} from {}", terminal.bold(&plan.name), run.file.file.display()));
    for line in describe(plan).lines() {
        terminal.say(format!("  {line}"));
    }
    for (name, log) in &plan.connections {
        let log = log.describe();
        let note = if log.durable { "" } else { "; in memory, a restart starts anew" };
        terminal.say(terminal.dim(format!("  {name}: {}{note}", log.name)));
    }
}

async fn drive(
    plan: Plan,
    arguments: &args::Run,
    watch: Watch,
    health: Option<TcpListener>,
    terminal: &Terminal,
) -> Result<Exit, Error> {
    let started = Instant::now();
    // Rows and status lines on one terminal would be drawn into each other.
    let rows = plan.chains.iter().flat_map(|chain| &chain.nodes).any(|node| node.plugin == "stdout");
    let clock = Clock::system();
    let options = RunOptions {
        once: arguments.once,
        seed: seed(),
        state: Some(state_folder()),
        reset_state: arguments.reset_state.clone(),
        ..RunOptions::new(clock.clone())
    };
    let (run, mut notices) = Run::start(plan, &options);
    let view = View { figures: run.figures(), control: run.control(), clock };
    let mut told = watch.start(view.clone(), health, *terminal)?;
    let mut status = Status::new(terminal, view.figures.clone(), rows && std::io::stdout().is_terminal());
    let mut redraw = tokio::time::interval(Duration::from_millis(250));
    let wait = run.wait();
    tokio::pin!(wait);
    let (mut listening, mut watched) = (true, true);
    let mut troubles = Troubles::default();
    let outcome: Option<Outcome> = loop {
        tokio::select! {
            outcome = &mut wait => break Some(outcome),
            notice = notices.recv(), if listening => match notice {
                Some(notice) => tell(&notice, &mut troubles, &status, terminal),
                None => listening = false,
            },
            told = told.recv(), if watched => match told {
                Some(Told::Drain) => status.line("stopping in order; once more Ctrl-C stops at once"),
                Some(Told::Overdue) => break None,
                Some(Told::Now) => {
                    status.clear();
                    terminal.say("stopped at once; what was not committed is read again by the next run");
                    return Ok(Exit::Stopped);
                }
                None => watched = false,
            },
            _ = redraw.tick() => status.draw(),
        }
    };
    while let Ok(notice) = notices.try_recv() {
        tell(&notice, &mut troubles, &status, terminal);
    }
    status.clear();
    if outcome.as_ref().is_some_and(is_read_enough) {
        return Ok(Exit::Done);
    }
    if terminal.json() {
        log_balance(&view.figures);
    } else {
        terminal.say(summary(&view.figures, started.elapsed()).trim_end());
    }
    Ok(match outcome {
        Some(outcome) => ended(&outcome, terminal),
        None => {
            did_not_stop(&view, terminal);
            Exit::Failed
        }
    })
}

/// Where this machine keeps what outlives a process and is nobody else's.
fn state_folder() -> PathBuf {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = from("XDG_STATE_HOME").or_else(|| from("HOME").map(|home| home.join(".local/state")));
    state.unwrap_or_else(std::env::temp_dir).join("pipectl")
}

/// True where nothing failed but that the reader of standard output had enough. Nobody wants to hear of that.
fn is_read_enough(outcome: &Outcome) -> bool {
    let has_gone = |error: &Error| {
        std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<ReaderHasGone>)
    };
    !outcome.failures.is_empty() && outcome.failures.iter().all(|(_, error)| has_gone(error))
}

fn ended(outcome: &Outcome, terminal: &Terminal) -> Exit {
    // What several chains say alike is said once.
    let mut alike: BTreeMap<String, (Vec<String>, &Error)> = BTreeMap::new();
    for (chain, error) in &outcome.failures {
        alike.entry(error.to_string()).or_insert_with(|| (Vec::new(), error)).0.push(format!("`{chain}`"));
    }
    for (mut chains, error) in alike.into_values() {
        chains.sort();
        let word = if chains.len() == 1 { "chain" } else { "chains" };
        terminal.failure(&format!("{word} {}", chains.join(", ")), error);
    }
    let refused = |e: &Error| matches!(e.consequence(), Consequence::Fenced | Consequence::Refused);
    match &outcome.failures[..] {
        [] => Exit::Done,
        failures if failures.iter().any(|(_, e)| refused(e)) => Exit::Refused,
        _ => Exit::Failed,
    }
}

/// Another one for each process, on one machine or several.
fn seed() -> u64 {
    let now =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64);
    now ^ (u64::from(std::process::id()) << 32)
}
