//! Shipped files, on each kind of log that `explain` tells apart, while processes crash: what `explain`
//! states of each chain is what happens.
//!
//! | file | what is in it |
//! |---|---|
//! | `files` | which files there are |
//! | `stage` | a file made ready: a log, an input, `--set` |
//! | `seen` | stand-ins for sinks outside the log, and what they got |
//! | `play` | the file while things go wrong |
//! | `plain` | a chain of it by itself, undisturbed |
//! | `verdict` | the one against the other, by what `explain` says |
//!
//! The seeds are dealt to the cases in turn.

mod files;
pub(crate) mod plain;
mod play;
pub(crate) mod seen;
mod stage;
mod verdict;

// A new crate of plugins among the examples must be linked here as well.
#[allow(dead_code, unreachable_pub, reason = "it is a crate of its own")]
#[path = "../../../../../examples/plugin-age-group/src/lib.rs"]
mod age_group;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use pipectl_framework::graph::Delivery;

use self::plain::facts;
use self::stage::{Case, On, Stage};
use self::verdict::{Findings, check};
use crate::trial::{Report, caught, runtime};
use pipectl_framework::testing::simulation::Figures;
use pipectl_framework::testing::simulation::Random;

/// Seeds of each case in a run that asks for no number.
const FEW_OF_EACH: u64 = 8;

/// So many crashes of a case show what one may do. Of a chain that writes seldom one in twenty repeats
/// something.
const MANY: u64 = 100;

/// What all seeds of a case have shown.
#[derive(Debug, Default)]
struct Tally {
    seeds: u64,
    crashes: u64,
    rows: u64,
    repeated: u64,
    /// Zeros that are missing; `None` where `explain` does not say that they may be.
    forgotten: Option<u64>,
}

/// Every shipped file on every log that it can have; and each chain that delivers exactly once also where it
/// is told not to.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for file in files::all() {
        let file = Arc::new(file);
        let case = |on| Case { file: file.clone(), on, at_least_once: None };
        let plan = |on| Stage::new(&case(on), &mut Random::new(0)).plan();
        let on_kafka = plan(On::Kafka);
        if on_kafka.connections.is_empty() {
            cases.push(case(On::Nothing));
            continue;
        }
        // Nobody else can write to a log inside the process.
        let alone = on_kafka.topics.iter().all(|topic| !topic.writers.is_empty());
        for on in [On::Kafka, On::Disk, On::Memory].into_iter().filter(|on| *on == On::Kafka || alone) {
            cases.push(case(on));
            let chains = facts(&plan(on)).into_iter().filter(|c| c.delivery == Delivery::ExactlyOnce);
            cases.extend(chains.map(|chain| Case { at_least_once: Some(chain.name), ..case(on) }));
        }
    }
    cases
}

pub(crate) fn test() {
    let cases = cases();
    let tallies: Mutex<BTreeMap<String, Tally>> = Mutex::default();
    let few = FEW_OF_EACH * cases.len() as u64;
    let all = crate::many("shipped", few, |seed, print| {
        let case = &cases[(seed % cases.len() as u64) as usize];
        caught(|| play(case, seed, print, &tallies))
    });
    let tallies = tallies.into_inner().expect("tallies");
    for (case, tally) in &tallies {
        println!("{case}: {tally:?}");
    }
    // It takes a restart while a key has no rows, so not every case shows it in a few seeds.
    let forgotten: Option<u64> = tallies.values().filter_map(|tally| tally.forgotten).reduce(|a, b| a + b);
    let enough = tallies.values().all(|tally| tally.seeds >= FEW_OF_EACH);
    assert!(!all || !enough || forgotten != Some(0), "`explain` says that keys are forgotten, but none was");
    let (mut repeated, mut loose) = (0, 0);
    for (case, tally) in tallies.iter().filter(|(_, tally)| all && tally.seeds >= FEW_OF_EACH) {
        assert!(tally.crashes > 0 && tally.rows > 0, "{case}: nothing was looked at: {tally:?}");
        if case.contains("at_least_once") {
            repeated += tally.repeated;
            loose += 1;
            assert!(
                tally.repeated > 0 || tally.crashes < MANY,
                "{case}: `explain` says that a crash repeats, but none of {} did",
                tally.crashes
            );
        }
    }
    assert!(loose == 0 || repeated > 0, "`explain` says that a crash repeats, but none did in {loose} cases");
}

fn play(case: &Case, seed: u64, print: bool, tallies: &Mutex<BTreeMap<String, Tally>>) -> Report {
    runtime().block_on(async {
        let mut random = Random::new(seed ^ 0x5a5a);
        let stage = Stage::new(case, &mut random);
        let chains = facts(&stage.plan());
        if print {
            stage.show();
            println!("{chains:#?}");
        }
        let lives = match case.on.lasts() {
            true => vec![play::lasting(&stage, &mut random, print).await],
            false => play::fleeting(&stage, &mut random, print).await,
        };
        let mut report =
            Report { figures: Figures::new(), violations: Vec::new(), hash: 0, shown: String::new() };
        let mut findings = Findings::default();
        let mut tally = Tally { seeds: 1, ..Tally::default() };
        for life in lives {
            for chain in &chains {
                check(&stage, chain, &life, &mut findings).await;
            }
            tally.crashes += life.processes.iter().filter(|past| !past.in_order).count() as u64;
            report.violations.extend(life.violations);
            for (figure, count) in life.figures {
                *report.figures.entry(figure).or_default() += count;
            }
        }
        report.violations.append(&mut findings.wrong);
        *report.figures.entry("rows looked at").or_default() += findings.rows;
        *report.figures.entry("rows there again, as they may be").or_default() += findings.repeated;
        let mut tallies = tallies.lock().expect("tallies");
        let all = tallies.entry(case.name()).or_default();
        all.seeds += tally.seeds;
        all.crashes += tally.crashes;
        all.rows += findings.rows;
        all.repeated += findings.repeated;
        if chains.iter().any(|chain| chain.forgets_keys) {
            *all.forgotten.get_or_insert(0) += findings.forgotten;
        }
        report
    })
}
