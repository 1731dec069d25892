//! A plugin that never comes back, in as many chains as the run has threads and more: signals are heard, the
//! health endpoint answers, and the process ends in time. The program under test is this one: with `run` as
//! its first argument it is pipectl with that plugin.

#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says what it does"
)]

#[allow(dead_code, reason = "the other tests use the rest")]
#[path = "../operator/support.rs"]
mod support;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use pipectl_framework::plugin::{BoundTransform, Input, Problem, TransformPlugin, lift};
use pipectl_framework::register;

use support::{Run, get, until};

/// Holds the thread that it is called on, for ever.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Hang {
    /// A text column.
    field: String,
}

register!(transform: Hang);

impl TransformPlugin for Hang {
    const NAME: &'static str = "hang";
    const SUMMARY: &'static str = "never comes back";
    const EXAMPLE: &'static str = "- transform: hang\n  with: { field: key }";

    fn bind(self, input: &Input) -> Result<BoundTransform, Problem> {
        lift::map_text(input, "field", &self.field, &self.field, |text| {
            loop {
                std::thread::park();
                // A thread may wake by itself.
                if text.is_none() {
                    return text.map(Cow::Borrowed);
                }
            }
        })
    }
}

fn chains() -> usize {
    std::thread::available_parallelism().map_or(4, usize::from) + 1
}

fn start(folder: &Path) -> (Run, String) {
    let mut yaml = "name: hung\npipelines:\n".to_owned();
    for chain in 0..chains() {
        let _ = write!(
            yaml,
            "  hangs-{chain}:
    - source: generate
      with: {{ rate: max, fields: {{ key: {{ values: [a] }} }} }}
    - transform: hang
      with: {{ field: key }}
    - sink: stdout
"
        );
    }
    std::fs::write(folder.join("pipeline.yaml"), yaml).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["run", "pipeline.yaml", "--health", "127.0.0.1:0"]).current_dir(folder);
    let mut run = Run::start({
        command.stdout(Stdio::null());
        command
    });
    let address = run.health();
    until(&address, "/livez", 200, "holds_thread_seconds");
    // Now every thread of the run hangs, as far as there are chains for it.
    std::thread::sleep(Duration::from_secs(1));
    (run, address)
}

fn a_signal_ends_it_within_ten_seconds_and_says_which_chains_hang() {
    let folder = tempfile::tempdir().unwrap();
    let (mut run, address) = start(folder.path());
    let signalled = Instant::now();
    run.signal();
    until(&address, "/readyz", 503, "the run stops");
    let (code, said) = run.ends();
    let took = signalled.elapsed();
    assert_eq!(code, Some(1), "{said}");
    assert!((Duration::from_secs(9)..Duration::from_secs(10)).contains(&took), "{took:?}");
    let all = chains();
    assert!(said.contains(&format!("error: {all} chains did not stop within 9 s: `hangs-")), "{said}");
    assert!(said.contains("has not come back from a call for 1"), "{said}");
    assert!(said.contains("did not stop, and counted no further: hangs-0, hangs-1"), "{said}");
    assert!(!said.contains("please report"), "{said}");
}

fn a_second_signal_ends_it_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (mut run, address) = start(folder.path());
    run.signal();
    until(&address, "/readyz", 503, "the run stops");
    assert_eq!(get(&address, "/livez").status, 200, "not for long enough");
    // What comes within 300 ms is the same Ctrl-C.
    std::thread::sleep(Duration::from_millis(400));
    let signalled = Instant::now();
    run.signal();
    let (code, said) = run.ends();
    assert_eq!(code, Some(130), "{said}");
    assert!(signalled.elapsed() < Duration::from_secs(2), "{said}");
}

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|argument| argument == "run") {
        return pipectl::main();
    }
    let tests = [
        std::thread::spawn(a_signal_ends_it_within_ten_seconds_and_says_which_chains_hang),
        std::thread::spawn(a_second_signal_ends_it_at_once),
    ];
    let failed = tests.into_iter().map(std::thread::JoinHandle::join).filter(Result::is_err).count();
    eprintln!("hung: {failed} of 2 failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
