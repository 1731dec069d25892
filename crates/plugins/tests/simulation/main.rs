//! Deterministic simulation: workers of a pipeline on a log whose faults a seed decides. Whatever goes wrong,
//! in whatever order, nothing is lost and nothing counts twice; and a seed that shows otherwise shows it each
//! time.
//!
//! ```sh
//! cargo test -p pipectl-plugins --test simulation                      # forty seeds
//! PIPECTL_SIMULATION_SEEDS=10000 cargo test --release -p pipectl-plugins --test simulation -- --nocapture
//! PIPECTL_SIMULATION_SEED=17 cargo test -p pipectl-plugins --test simulation -- --nocapture seeds
//! ```
//!
//! | file | what is in it |
//! |---|---|
//! | `trial` | a seed from its beginning to its end |
//! | `scenario` | the pipeline file and the input that a seed makes |
//! | `worker` | a simulated process, on `pipectl_framework::testing::simulation` |
//! | `oracle` | what must come out |
//! | `shipped` | the shipped files, by what `explain` says of them |
//! | `graphs` | pipeline files of any shape, run again and again |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that meets one of these has failed"
)]

mod graphs;
mod oracle;
mod scenario;
mod shipped;
mod trial;
mod worker;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use pipectl_framework::testing::simulation::Figures;
use trial::Report;

/// Seeds of a run that asks for no number.
const FEW: u64 = 40;
/// A seed takes some hundredths of a second.
const LONGEST: Duration = Duration::from_secs(60);

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Prints every step where a single seed is looked at.
fn told(print: bool) -> Option<fn(&str)> {
    print.then_some(|line| println!("{line}"))
}

/// How to see a seed of a test again.
fn reproduce(test: &str, seed: u64) -> String {
    format!(
        "PIPECTL_SIMULATION_SEED={seed} cargo test -p pipectl-plugins --test simulation -- --nocapture {test}"
    )
}

/// Waits until every thread is done. A seed that goes round in circles never ends by itself: after a minute
/// it ends the process.
fn watch(test: &str, current: &[AtomicU64]) {
    let mut since: Vec<(u64, Instant)> = vec![(u64::MAX, Instant::now()); current.len()];
    loop {
        std::thread::sleep(Duration::from_millis(20));
        for (current, (seed, at)) in current.iter().zip(&mut since) {
            let now = current.load(Relaxed);
            if now != *seed {
                (*seed, *at) = (now, Instant::now());
            } else if now != u64::MAX && at.elapsed() > LONGEST {
                println!("seed {seed} does not end\nto see it again: {}", reproduce(test, *seed));
                std::process::exit(1);
            }
        }
        if current.iter().all(|current| current.load(Relaxed) == u64::MAX) {
            return;
        }
    }
}

/// Runs the seeds of a test that the environment asks for, or a few; false where it was a single one, to be
/// looked at.
fn many(test: &str, few: u64, run: impl Fn(u64, bool) -> Report + Sync) -> bool {
    if let Some(seed) = variable("PIPECTL_SIMULATION_SEED") {
        let report = run(seed, true);
        println!("hash {:x}", report.hash);
        assert!(report.violations.is_empty(), "seed {seed}:\n{}", report.violations.join("\n"));
        return false;
    }
    let first = variable("PIPECTL_SIMULATION_FIRST").unwrap_or(0);
    let seeds = variable("PIPECTL_SIMULATION_SEEDS").unwrap_or(few);
    // All that fail are listed, instead of the first alone.
    let all = variable("PIPECTL_SIMULATION_ALL").is_some();
    let started = Instant::now();
    let (next, failed) = (AtomicU64::new(first), AtomicBool::new(false));
    let (figures, failures) = (Mutex::new(Figures::new()), Mutex::new(BTreeMap::new()));
    let current: [AtomicU64; 2] = [AtomicU64::new(first), AtomicU64::new(first)];
    let work = |current: &AtomicU64| {
        while !failed.load(Relaxed) {
            let seed = next.fetch_add(1, Relaxed);
            current.store(seed, Relaxed);
            if seed >= first + seeds {
                break;
            }
            let report = run(seed, false);
            if !report.violations.is_empty() {
                failed.store(!all, Relaxed);
                failures.lock().unwrap().insert(seed, (report.violations, report.shown));
            }
            for (name, count) in report.figures {
                *figures.lock().unwrap().entry(name).or_default() += count;
            }
        }
        current.store(u64::MAX, Relaxed);
    };
    std::thread::scope(|scope| {
        for current in &current {
            scope.spawn(|| work(current));
        }
        watch(test, &current);
    });
    let seconds = started.elapsed().as_secs_f64();
    let done = (next.load(Relaxed) - first).min(seeds);
    println!("{done} seeds in {seconds:.1} s");
    for (name, count) in figures.into_inner().unwrap() {
        println!("{count:>12} {name}");
    }
    let failures = failures.into_inner().unwrap();
    if all {
        failures.iter().for_each(|(seed, (violations, _))| println!("seed {seed}: {}", violations[0]));
        println!("{} seeds failed", failures.len());
    }
    if let Some((seed, (violations, shown))) = failures.first_key_value() {
        let few: Vec<&str> = violations.iter().take(5).map(String::as_str).collect();
        let again = reproduce(test, *seed);
        panic!("{shown}\nseed {seed}, after {done} seeds:\n{}\nto see it again: {again}", few.join("\n"));
    }
    true
}

#[test]
fn seeds() {
    many("seeds", FEW, trial::run);
}

#[test]
fn shipped_files_do_what_explain_says() {
    shipped::test();
}

#[test]
fn a_seed_has_one_outcome() {
    for seed in 0..10 {
        let (one, other) = (trial::run(seed, false), trial::run(seed, false));
        assert_eq!(one.hash, other.hash, "seed {seed} went two ways");
    }
}
