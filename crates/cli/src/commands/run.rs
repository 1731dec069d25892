//! `pipectl run`: runs a file until its end or a signal.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use pipectl_framework::clock::Clock;
use pipectl_framework::error::{Consequence, Error};
use pipectl_framework::graph::{Plan, describe};
use pipectl_framework::plugin::Registry;
use pipectl_framework::run::{Notice, Outcome, Run, RunOptions};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::{self, Global, LogFormat};
use crate::balance::{log_balance, summary};
use crate::exit::Exit;
use crate::load::load;
use crate::status::Status;
use crate::terminal::Terminal;
use crate::trouble::Troubles;

/// A drain that takes longer than this is given up, so that the process is gone within ten seconds of a signal.
const LONGEST_DRAIN: Duration = Duration::from_secs(9);

pub(crate) fn main(run: &args::Run, global: &Global, terminal: &Terminal) -> Exit {
    let registry = match Registry::collect() {
        Ok(registry) => registry,
        Err(error) => {
            terminal.failure("plugins", &error);
            return Exit::Failed;
        }
    };
    let plan = match load(&registry, &run.file) {
        Ok((plan, warnings)) => {
            terminal.diagnostics(&warnings);
            plan
        }
        Err(problems) => {
            terminal.diagnostics(&problems);
            return Exit::Invalid;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            terminal.error(format!("the runtime cannot be started: {error}"), None);
            return Exit::Failed;
        }
    };
    if global.log_format == LogFormat::Text {
        introduce(&plan, run, terminal);
    }
    let exit = runtime.block_on(drive(plan, run, terminal));
    // A client that hangs in its last goodbye does not hold the process.
    runtime.shutdown_timeout(Duration::from_millis(500));
    exit
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

async fn drive(plan: Plan, arguments: &args::Run, terminal: &Terminal) -> Exit {
    let (mut interrupt, mut terminate) =
        match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
            (Ok(interrupt), Ok(terminate)) => (interrupt, terminate),
            (Err(error), _) | (_, Err(error)) => {
                terminal.error(format!("signals cannot be caught: {error}"), None);
                return Exit::Failed;
            }
        };
    let started = Instant::now();
    // Rows and status lines on one terminal would be drawn into each other.
    let rows = plan.chains.iter().flat_map(|chain| &chain.nodes).any(|node| node.plugin == "stdout");
    let options = RunOptions {
        once: arguments.once,
        seed: seed(),
        state: Some(state_folder()),
        ..RunOptions::new(Clock::system())
    };
    let (run, mut notices) = Run::start(plan, &options);
    let (figures, control) = (run.figures(), run.control());
    let mut status = Status::new(terminal, figures.clone(), rows && std::io::stdout().is_terminal());
    let mut redraw = tokio::time::interval(Duration::from_millis(250));
    let mut deadline: Option<tokio::time::Instant> = None;
    let wait = run.wait();
    tokio::pin!(wait);
    let mut listening = true;
    let mut troubles = Troubles::default();
    let outcome: Option<Outcome> = loop {
        tokio::select! {
            outcome = &mut wait => break Some(outcome),
            notice = notices.recv(), if listening => match notice {
                Some(notice) => tell(&notice, &mut troubles, &status, terminal),
                None => listening = false,
            },
            () = stop(&mut interrupt, &mut terminate) => {
                if deadline.is_some() {
                    status.clear();
                    terminal.say("stopped at once; what was not committed is read again by the next run");
                    return Exit::Stopped;
                }
                status.line("stopping in order; once more Ctrl-C stops at once");
                control.drain();
                deadline = Some(tokio::time::Instant::now() + LONGEST_DRAIN);
            }
            () = tokio::time::sleep_until(deadline.unwrap_or_else(tokio::time::Instant::now)), if deadline.is_some() => break None,
            _ = redraw.tick() => status.draw(),
        }
    };
    while let Ok(notice) = notices.try_recv() {
        tell(&notice, &mut troubles, &status, terminal);
    }
    status.clear();
    if terminal.json() {
        log_balance(&figures);
    } else {
        terminal.say(summary(&figures, started.elapsed()).trim_end());
    }
    match outcome {
        Some(outcome) => ended(&outcome, terminal),
        None => {
            terminal.error(
                "some chains did not stop within 9 s",
                Some("what they had not committed is read again by the next run"),
            );
            Exit::Failed
        }
    }
}

/// Where this machine keeps what outlives a process and is nobody else's.
fn state_folder() -> PathBuf {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = from("XDG_STATE_HOME").or_else(|| from("HOME").map(|home| home.join(".local/state")));
    state.unwrap_or_else(std::env::temp_dir).join("pipectl")
}

async fn stop(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

fn tell(notice: &Notice, troubles: &mut Troubles, status: &Status, terminal: &Terminal) {
    match notice {
        Notice::Retrying { chain, error, after, .. } if !troubles.met(chain, error, Instant::now()) => {
            return tracing::debug!(chain, again_in_seconds = after.as_secs_f64(), "{error}");
        }
        Notice::Recovered { chain } => troubles.over(chain),
        _ => {}
    }
    if !terminal.json() {
        return status.line(&told(notice, terminal));
    }
    match notice {
        Notice::Address { chain, address } => tracing::info!(chain, address, "open {address}"),
        Notice::Retrying { chain, error, help, after } => {
            tracing::warn!(chain, help, again_in_seconds = after.as_secs_f64(), "{error}");
        }
        Notice::Resumed { chain, source, row } => {
            tracing::info!(chain, source, row, "goes on where an earlier run stopped");
        }
        Notice::Restoring { chain, topic, done, total } => {
            tracing::info!(chain, topic, done, total, "reads the state of its open windows back");
        }
        Notice::StandsBy { chain } => tracing::info!(chain, "stands by: another worker runs this chain"),
        Notice::TakesOver { chain } => tracing::info!(chain, "runs here now"),
        Notice::Recovered { chain } => tracing::info!(chain, "works again"),
    }
}

fn told(notice: &Notice, terminal: &Terminal) -> String {
    match notice {
        Notice::Address { address, .. } => format!("  open {}", terminal.bold(address)),
        Notice::Retrying { chain, error, help, after } => {
            let help = help.as_ref().map(|h| format!("\n  = help: {h}")).unwrap_or_default();
            format!(
                "warning: {chain}: {error}; again in {:.1} s, and until it works{help}",
                after.as_secs_f64()
            )
        }
        Notice::Resumed { chain, source, row } => {
            format!("{chain}: goes on behind row {row} of {source}, where an earlier run stopped")
        }
        Notice::Restoring { chain, topic, done, total } => {
            let percent = done * 100 / (*total).max(1);
            format!("{chain}: reads the state of its open windows back from `{topic}`: {percent} %")
        }
        Notice::StandsBy { chain } => format!("{chain}: stands by: another worker runs this chain"),
        Notice::TakesOver { chain } => format!("{chain}: runs here now"),
        Notice::Recovered { chain } => format!("{chain}: works again"),
    }
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
