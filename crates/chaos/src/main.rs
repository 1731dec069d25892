//! Rungs 4 to 6 of the reliability ladder: three real workers and a real Apache Kafka, to which everything
//! bad happens, and a checker of its own that counts what was lost or doubled.
//!
//! ```text
//! chaos kills --count 200     kill -9 at random times
//! chaos points --each 10      kills at each named fail point
//! chaos brokers               brokers stopped and killed
//! chaos pauses                SIGSTOP beyond every time-out
//! chaos coordinators          the coordinators of group and transactions killed
//! chaos joins                 workers come and go
//! chaos all [--small]         all of these
//! ```
//!
//! | file | what is in it |
//! |---|---|
//! | `cluster` | the brokers, through `scripts/kafka` |
//! | `workers` | the real `pipectl`, and the file that it runs |
//! | `producer` | unique records |
//! | `faults` | what is done to workers and brokers |
//! | `monitor` | when results arrive while that is done |
//! | `check`, `reading` | the independent checker |
//! | `stage` | a whole run: start, watch, check |
//! | `report`, `time` | figures; waiting and chance |
//!
//! Nothing here uses pipectl's code. Exit codes: 0 all is well, 1 something was lost or doubled, 2 the run
//! itself failed.

#![cfg_attr(test, allow(clippy::unwrap_used))] // a test fails by panicking
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program whose output is its figures")]

mod check;
mod cluster;
mod faults;
mod monitor;
mod producer;
mod reading;
mod report;
mod stage;
mod time;
mod workers;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde_json::Value;

use crate::report::Figures;
use crate::stage::{Stage, outcome};

type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

/// How many keys the records have.
const KEYS: usize = 24;
/// How many partitions the input has.
const PARTITIONS: usize = 6;
/// How many partitions each output has.
const OUTPUTS: usize = 3;

/// Kills, pauses and moves everything around pipectl on a real Apache Kafka, and counts what was lost or
/// doubled.
#[derive(Debug, Parser)]
#[command(name = "chaos")]
struct Arguments {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Args)]
struct Settings {
    /// The program under test; a debug build, as others have no fail points. The one beside this program.
    #[arg(long, global = true)]
    pipectl: Option<PathBuf>,
    /// Records a second.
    #[arg(long, global = true, default_value_t = 2000)]
    rate: usize,
    /// How many brokers; what the run needs where it is not given.
    #[arg(long, global = true)]
    brokers: Option<usize>,
    /// Repeats the choice of workers and waits. The time of day decides where it is not given.
    #[arg(long, global = true, default_value_t = time::now() as u64)]
    seed: u64,
    /// Begins no further fault after so many minutes of a run; the figures say how many there were.
    #[arg(long, global = true)]
    limit: Option<f64>,
    /// Also writes the figures to this file, as JSON.
    #[arg(long, global = true)]
    json: Option<PathBuf>,
}

impl Settings {
    fn program(&self) -> Result<PathBuf> {
        let program = match &self.pipectl {
            Some(program) => program.clone(),
            None => std::env::current_exe()?.with_file_name("pipectl"),
        };
        if program.is_file() {
            Ok(program.canonicalize()?)
        } else {
            Err(format!("{} is not there: build it with `cargo build`", program.display()).into())
        }
    }
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum What {
    /// Kills workers at random times.
    Kills {
        /// How many.
        #[arg(long, default_value_t = 200)]
        count: usize,
    },
    /// Kills a worker at each named fail point.
    Points {
        /// How often at each.
        #[arg(long, default_value_t = 10)]
        each: usize,
    },
    /// Stops and kills brokers.
    Brokers {
        /// How many.
        #[arg(long, default_value_t = 50)]
        count: usize,
    },
    /// Stops workers where they stand, beyond their time-outs.
    Pauses {
        /// How many.
        #[arg(long, default_value_t = 20)]
        count: usize,
    },
    /// Kills the coordinators of the group and of transactions.
    Coordinators {
        /// How many.
        #[arg(long, default_value_t = 20)]
        count: usize,
    },
    /// Workers come and go in order.
    Joins {
        /// How many joins and leaves together.
        #[arg(long, default_value_t = 100)]
        count: usize,
        /// In how many minutes.
        #[arg(long, default_value_t = 10.0)]
        minutes: f64,
    },
    /// All of these, one after another.
    All {
        /// A few of each on one cluster, in some three minutes.
        #[arg(long)]
        small: bool,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    time::catch_signals();
    match all(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chaos: {error}");
            ExitCode::from(2)
        }
    }
}

/// Does what was asked for; true where all is well.
fn all(arguments: &Arguments) -> Result<bool> {
    let runs = match arguments.what {
        What::All { small: false } => vec![
            What::Kills { count: 200 },
            What::Points { each: 10 },
            What::Brokers { count: 50 },
            What::Pauses { count: 20 },
            What::Coordinators { count: 20 },
            What::Joins { count: 100, minutes: 10.0 },
        ],
        one => vec![one],
    };
    let (mut well, mut kept) = (true, Vec::new());
    for run in runs {
        well &= one(&arguments.settings, run, &mut kept)?;
        if let Some(path) = &arguments.settings.json {
            std::fs::write(path, format!("{:#}\n", Value::Array(kept.clone())))?;
        }
    }
    Ok(well)
}

fn one(settings: &Settings, run: What, kept: &mut Vec<Value>) -> Result<bool> {
    let (name, brokers) = match run {
        What::Kills { .. } => ("kills", 1),
        What::Points { .. } => ("points", 1),
        What::Brokers { .. } => ("brokers", 3),
        What::Pauses { .. } => ("pauses", 1),
        What::Coordinators { .. } => ("coordinators", 3),
        What::Joins { .. } => ("joins", 1),
        What::All { .. } => ("all, small", 3),
    };
    let mut stage = Stage::open(settings, name, brokers)?;
    match run {
        What::Kills { count } => faults::kills(&mut stage, count),
        What::Points { each } => faults::points(&mut stage, each),
        What::Brokers { count } => faults::brokers(&mut stage, count),
        What::Pauses { count } => faults::pauses(&mut stage, count),
        What::Coordinators { count } => faults::coordinators(&mut stage, count),
        What::Joins { count, minutes } => {
            faults::joins(&mut stage, count, Duration::from_secs_f64(minutes * 60.0))
        }
        What::All { .. } => small(&mut stage),
    }?;
    let mut figures = Figures::default();
    let well = stage.close(&mut figures)?;
    println!("{name}: {}", if well { "nothing lost, nothing twice" } else { "NOT well" });
    kept.push(outcome(name, &figures, well));
    Ok(well)
}

fn small(stage: &mut Stage) -> Result<()> {
    faults::kills(stage, 3)?;
    faults::points(stage, 1)?;
    faults::joins(stage, 4, Duration::from_secs(12))?;
    faults::pauses(stage, 1)?;
    faults::coordinators(stage, 1)?;
    faults::brokers(stage, 1)
}
