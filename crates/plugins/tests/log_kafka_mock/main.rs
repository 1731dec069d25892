//! Kafka as a log against librdkafka's mock cluster, which answers with whatever error it is told to: what
//! consequence our log gives each, that the next try works, and that nothing is lost.
//!
//! The mock cluster keeps no transactions apart: what was aborted can be read, and its positions stay. So a
//! row may be there once more for each try that was given up, and no more than that; and a try after a
//! failure goes to where the last commit that returned stood. Real transactions are held by the conformance
//! suite on a real Kafka.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test prints its cases and fails by panicking"
)]

mod copy;
mod scenarios;

use std::time::{Duration, Instant};

use copy::{Copied, ROWS, Stage};
use scenarios::{Expected, Scenario};

/// How many scenarios run at a time: they wait more than they work (the mock cluster remembers a member that
/// has left for 10 s).
const AT_ONCE: usize = 12;

#[test]
fn every_error_has_its_consequence_and_the_next_try_works() {
    let only = std::env::var("PIPECTL_TEST_CASE").ok();
    let all: Vec<Scenario> = scenarios::all()
        .into_iter()
        .filter(|s| only.as_ref().is_none_or(|o| s.name.contains(o.as_str())))
        .collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let failures = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(scenario) = all.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    if let Err(failure) = play(scenario) {
                        failures.lock().unwrap().push(format!("{}: {failure}", scenario.name));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{failures:#?}");
}

/// Copies one topic to another while the scenario happens, over as many tries as it takes.
fn play(scenario: &Scenario) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let started = Instant::now();
    let copied: Copied = runtime
        .block_on(async {
            let mut hooks = scenario.hooks();
            tokio::time::timeout(Duration::from_secs(50), copy::run(&mut hooks)).await
        })
        .map_err(|_| "it did not end within 50 s".to_owned())??;
    runtime.shutdown_timeout(Duration::from_secs(5));
    let said: Vec<String> =
        copied.failed.iter().map(|(consequence, message)| format!("{consequence:?} ({message})")).collect();
    println!("{}: {said:?} ({:.1} s)", scenario.name, started.elapsed().as_secs_f64());
    let consequences: Vec<_> = copied.failed.iter().map(|(consequence, _)| *consequence).collect();
    let as_expected = match &scenario.expected {
        Expected::Unnoticed => consequences.is_empty(),
        Expected::First(consequence) => consequences.first() == Some(consequence),
        Expected::PerhapsRetry => {
            consequences.iter().all(|c| *c == pipectl_framework::error::Consequence::Retry)
        }
    };
    if !as_expected {
        return Err(format!("expected {:?}, got {said:?}", scenario.expected));
    }
    for row in 0..ROWS {
        let times = copied.rows.iter().filter(|value| **value == row.to_string()).count();
        if times == 0 || times > 1 + copied.failed.len() {
            return Err(format!("row {row} is there {times} times after {said:?}"));
        }
    }
    Ok(())
}

impl Scenario {
    fn hooks(&self) -> impl FnMut(Stage, &copy::Cluster) + '_ {
        move |stage, cluster| {
            if stage == self.stage {
                (self.happens)(cluster);
            }
            if let Some(then) = self.then.filter(|_| stage == Stage::Failed) {
                then(cluster);
            }
        }
    }
}
