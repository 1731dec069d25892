//! Chains over a log that fails where a test wants it to, on a manual clock: `delivery` and `retry`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod catch_up;
mod clock;
mod drain;
mod log;
mod overdue;
mod page;
mod passing;
mod time;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use log::{Watch, Watched};
use pipectl_framework::clock::Clock;
use pipectl_framework::config::{Document, SourceFile};
use pipectl_framework::error::Error;
use pipectl_framework::graph::{Plan, PlanOptions, plan};
use pipectl_framework::log::memory::MemoryLog;
use pipectl_framework::log::{Log, ReadEvent, ReaderOptions, Start};
use pipectl_framework::metrics::Balance;
use pipectl_framework::plugin::{Purpose, Registry};
use pipectl_framework::run::{Run, RunOptions};
use pipectl_framework::testing::START;

// The plugins register themselves when they are linked.
use pipectl_plugins as _;

/// What became of a run.
struct Ran {
    failure: Option<String>,
    help: Option<String>,
    /// What came in to each step, as far as it was committed.
    rows_in: Vec<u64>,
    took: Duration,
    logs: Vec<Watched>,
    runtime: tokio::runtime::Runtime,
}

/// Runs a file to its end, `one` and `two` being logs of their own that `watch` sees.
fn run(yaml: &str, watch: &Watch) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..100).map(|row| format!("{row}\n")).collect();
    std::fs::write(folder.path().join("rows.csv"), format!("n\n{rows}")).unwrap();
    let logs = ["one", "two"].map(|name| Watched {
        name,
        durable: true,
        log: MemoryLog::default(),
        watch: watch.clone(),
    });
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (outcome, figures, took) = runtime.block_on(run_once(yaml, folder.path(), &logs));
    let failure = outcome.failures.into_iter().next();
    let balances: Vec<Balance> =
        figures.iter().flat_map(|chain| chain.steps.iter().map(|(_, m)| m.balance())).collect();
    Ran {
        help: failure.as_ref().and_then(|(_, error)| error.help().map(str::to_owned)),
        failure: failure.map(|(chain, error)| format!("{chain}: {error}")),
        rows_in: balances.iter().map(|balance| balance.rows_in).collect(),
        took,
        logs: logs.to_vec(),
        runtime,
    }
}

/// The plan of a file whose connections `one` and `two` are these logs.
fn planned(yaml: &str, folder: &Path, logs: &[Watched]) -> Plan {
    planned_for(["embedded", "embedded"], yaml, folder, logs)
}

/// The same, where others may write to the logs as well.
fn planned_beside_others(yaml: &str, folder: &Path, logs: &[Watched]) -> Plan {
    planned_for(["'127.0.0.1:1'", "'127.0.0.1:2'"], yaml, folder, logs)
}

fn planned_for([one, two]: [&str; 2], yaml: &str, folder: &Path, logs: &[Watched]) -> Plan {
    let registry = Registry::collect().unwrap();
    let connections = format!(
        "connections: {{ one: {{ plugin: kafka, brokers: {one} }}, two: {{ plugin: kafka, brokers: {two} }} }}"
    );
    let yaml = format!("name: trial\n{connections}\npipelines:\n{yaml}");
    let document = Document::parse(&SourceFile::new("test.yaml", yaml), &[], &|_| None).unwrap();
    let options = PlanOptions { registry: &registry, base: folder, only: &[], purpose: Purpose::Check };
    let (mut plan, _) = plan(&document, options).unwrap();
    for ((_, log), watched) in plan.connections.iter_mut().zip(logs) {
        *log = Arc::new(watched.clone());
    }
    plan
}

async fn run_once(
    yaml: &str,
    folder: &Path,
    logs: &[Watched],
) -> (pipectl_framework::run::Outcome, Arc<[pipectl_framework::metrics::ChainFigures]>, Duration) {
    let plan = planned(yaml, folder, logs);
    let clock = Clock::manual(START);
    let started = clock.elapsed();
    let (run, _notices) =
        Run::start(plan, &RunOptions { once: true, seed: 7, ..RunOptions::new(clock.clone()) });
    let figures = run.figures();
    let outcome = run.wait().await;
    (outcome, figures, clock.elapsed().saturating_sub(started))
}

impl Ran {
    /// The values in a topic.
    fn values(&self, log: usize, topic: &str) -> Vec<String> {
        self.runtime.block_on(async {
            let options = ReaderOptions {
                topics: vec![topic.into()],
                partitions: None,
                group: None,
                start: Start::Earliest,
                max_records: 1000,
                max_bytes: 1 << 20,
                headers: Vec::new(),
            };
            let mut reader = self.logs[log].log.reader(options).await.unwrap();
            reader.bound().await.unwrap();
            let mut values = Vec::new();
            loop {
                match reader.next().await.unwrap() {
                    ReadEvent::Records(records) => values.extend(
                        records.values.iter().flatten().map(|v| String::from_utf8_lossy(v).into_owned()),
                    ),
                    ReadEvent::End => return values,
                    _ => {}
                }
            }
        })
    }
}

/// A file into a topic of `one`, and from there into `copies`; `source`, `sink`: further keys of the steps of
/// the second chain.
fn copy(first: &str, source: &str, sink: &str) -> String {
    format!(
        "  rows:
    - source: csv
{first}      with: {{ path: rows.csv }}
    - sink: kafka
      with: {{ connection: one, topic: rows, value: n }}
  copy:
    - source: kafka
{source}      with: {{ connection: one, topic: rows, format: text }}
    - sink: kafka
{sink}      with: {{ connection: one, topic: copies, value: value }}
"
    )
}

const AT_LEAST_ONCE: &str = "      delivery: at_least_once\n";

/// Fails the `n`th time (from 1) that something is done.
fn nth(what: &'static str, n: usize, error: fn() -> Error) -> impl FnMut(&str) -> Option<Error> + Send {
    let mut seen = 0;
    move |done| {
        seen += usize::from(done == what);
        (done == what && seen == n).then(error)
    }
}

/// Fails each time.
fn always(what: &'static str) -> impl FnMut(&str) -> Option<Error> + Send {
    move |done| (done == what).then(|| Error::retry("no answer").remedy("start the broker"))
}

/// The index of the first thing done that is `what`, from `after` on.
fn find(seen: &[String], what: &str, after: usize) -> usize {
    after + seen[after..].iter().position(|s| s == what).unwrap_or_else(|| panic!("no {what} in {seen:#?}"))
}

fn numbers() -> Vec<String> {
    (0..100).map(|n| n.to_string()).collect()
}

#[test]
fn at_least_once_keeps_positions_after_the_rows() {
    let watch = Watch::new(|_| None);
    let ran = run(&copy(AT_LEAST_ONCE, AT_LEAST_ONCE, ""), &watch);
    assert_eq!(ran.failure, None);
    let seen = watch.seen();
    assert!(!seen.iter().any(|s| s.contains("with an id") || s.contains("with positions")), "{seen:#?}");
    for (rows, position) in [
        ("one: append rows", "one: append trial.positions"),
        ("one: append copies", "one: commit positions alone"),
    ] {
        let rows = find(&seen, rows, 0);
        let durable = find(&seen, "one: commit", rows);
        assert!(durable < find(&seen, position, 0), "{position} before the rows were durable: {seen:#?}");
    }
    assert_eq!(ran.values(0, "copies"), numbers());
}

#[test]
fn at_least_once_repeats_what_has_no_position_and_loses_nothing() {
    let fault = nth("one: commit positions alone", 1, || Error::retry("gone"));
    let watch = Watch::new(fault);
    let ran = run(&copy(AT_LEAST_ONCE, AT_LEAST_ONCE, ""), &watch);
    assert_eq!(ran.failure, None);
    assert_eq!(ran.values(0, "copies"), [numbers(), numbers()].concat());
    assert_eq!(ran.rows_in, [100, 100, 100, 100], "each counts once");
    // A file's rows are there twice as well, where the position was not kept.
    let watch = Watch::new(nth("one: append trial.positions", 1, || Error::retry("gone")));
    let ran = run(&copy(AT_LEAST_ONCE, "", ""), &watch);
    assert_eq!(ran.values(0, "rows"), [numbers(), numbers()].concat());
}

#[test]
fn exactly_once_repeats_nothing() {
    for fault in
        ["one: commit with positions", "one: append copies", "one: append trial.positions", "one: commit"]
    {
        let watch = Watch::new(nth(fault, 1, || Error::retry("gone")));
        let ran = run(&copy("", "", ""), &watch);
        assert_eq!(ran.failure, None, "{fault}");
        assert_eq!(ran.values(0, "copies"), numbers(), "{fault}");
    }
}

/// Without a standing in its group a worker may have lost its partitions: who has them now writes the same
/// results.
#[test]
fn results_of_a_group_are_never_committed_without_their_positions() {
    for n in 1..4 {
        let watch = Watch::new(nth("one: membership", n, || Error::retry("nobody knows")));
        let ran = run(&copy("", "", ""), &watch);
        assert_eq!(ran.failure, None);
        assert_eq!(ran.values(0, "copies"), numbers());
        let seen = watch.seen();
        let mut copies = false;
        for done in &seen {
            copies |= done == "one: append copies";
            assert!(!(copies && done == "one: commit"), "{seen:#?}");
            copies &= !done.starts_with("one: commit") && !done.starts_with("one: writer");
        }
    }
}

#[test]
fn the_position_of_a_file_is_committed_after_the_rows_on_another_log() {
    let yaml = "  rows:
    - source: csv
      with: { path: rows.csv }
    - sink: kafka
      with: { connection: one, topic: rows, value: n }
    - sink: kafka
      with: { connection: two, topic: rows, value: n }
";
    let watch = Watch::new(|_| None);
    assert_eq!(run(yaml, &watch).failure, None);
    let seen = watch.seen();
    let appended = find(&seen, "two: append rows", 0);
    assert!(find(&seen, "two: commit", appended) < find(&seen, "one: commit", appended), "{seen:#?}");
    // What comes between them is written again, and nothing is lost.
    let ran = run(yaml, &Watch::new(nth("two: commit", 1, || Error::retry("gone"))));
    assert_eq!((ran.values(0, "rows"), ran.values(1, "rows")), (numbers(), numbers()));
    let ran = run(yaml, &Watch::new(nth("one: commit", 1, || Error::retry("gone"))));
    assert_eq!((ran.values(0, "rows"), ran.values(1, "rows")), (numbers(), [numbers(), numbers()].concat()));
}

#[test]
fn a_chain_gives_up_when_its_time_is_up_and_counts_nothing_uncommitted() {
    let retry = "      retry: { first: 1s, longest: 1m, give_up_after: 10m }\n";
    let ran = run(&copy("", "", retry), &Watch::new(always("one: append copies")));
    let tries = "`copy.kafka-2` was tried 18 times in 10 min 0 s, and `give_up_after` is 10m";
    assert_eq!(ran.failure, Some(format!("copy: copy.kafka-2: no answer; {tries}")));
    assert_eq!(ran.help.as_deref(), Some("start the broker"));
    assert!(ran.took >= Duration::from_secs(600) && ran.took < Duration::from_secs(601), "{:?}", ran.took);
    assert_eq!(ran.rows_in, [100, 100, 0, 0]);
    assert_eq!(ran.values(0, "copies"), [""; 0]);
}

#[test]
fn off_ends_at_once_and_another_step_goes_on() {
    let off = "      retry: off\n";
    let ran = run(&copy("", "", off), &Watch::new(always("one: append copies")));
    let said = "copy: copy.kafka-2: no answer; `copy.kafka-2` says `retry: off`";
    assert_eq!((ran.failure.as_deref(), ran.took.as_secs()), (Some(said), 0));
    // The source is the one that fails, and it may.
    let ran = run(&copy("", "", off), &Watch::new(nth("one: reader", 2, || Error::retry("gone"))));
    assert_eq!(ran.failure, None);
    assert_eq!(ran.values(0, "copies"), numbers());
}

#[test]
fn the_strictest_on_a_connection_counts_for_its_commits() {
    for (source, sink, strict) in [("", "      retry: off\n", "kafka-2"), ("      retry: off\n", "", "kafka")]
    {
        let ran = run(&copy("", source, sink), &Watch::new(always("one: commit with positions")));
        assert_eq!(ran.failure, Some(format!("copy: no answer; `copy.{strict}` says `retry: off`")));
    }
}
