//! Planning over the shipped plugins: which chains run, what is warned of, which columns are read.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod keyed;
mod meaning;
mod mistakes;
mod only;

use std::path::Path;

use pipectl_framework::config::{Document, SourceFile, render};
use pipectl_framework::graph::{Plan, PlanOptions, describe, plan};
use pipectl_framework::plugin::{Purpose, Registry};
use pipectl_plugins as _;

/// The folder of the files that pipelines of these tests read: `log.csv`, with a header.
fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../cli/tests/errors")
}

/// The plan of `pipelines`, with the warnings as text; the problems as text where it has any.
fn planned(brokers: &str, pipelines: &str, only: &[&str]) -> Result<(Plan, String), String> {
    let yaml = format!("name: t\nconnections: {{ kafka: {{ {brokers} }} }}\npipelines:\n{pipelines}");
    let registry = Registry::collect().unwrap();
    let only: Vec<String> = only.iter().map(|chain| (*chain).to_owned()).collect();
    let shown = |problems: Vec<_>| render(&problems, false);
    let document = Document::parse(&SourceFile::new("test.yaml", yaml), &[], &|_| None).map_err(shown)?;
    let options = PlanOptions { registry: &registry, base: &folder(), only: &only, purpose: Purpose::Check };
    let (plan, warnings) = plan(&document, options).map_err(shown)?;
    Ok((plan, render(&warnings, false)))
}

const KAFKA: &str = "brokers: '127.0.0.1:9092'";
const MEMORY: &str = "brokers: embedded";

#[test]
fn as_many_windows_stand_behind_a_source_as_its_position_has_room_for() {
    let windows = |count: usize| {
        let window = |number: usize| {
            format!(
                "  count{number}:
    - from: rows.kafka
    - window: count-by-key
      with: {{ key: value, size: 1m }}
    - sink: kafka
      with: {{ topic: out{number} }}
"
            )
        };
        let all: String = (0..count).map(window).collect();
        format!(
            "  rows:
    - source: kafka
      with: {{ topic: in, format: text, keyed_by: value }}
    - sink: kafka
      with: {{ topic: copy, value: value }}
{all}"
        )
    };
    assert!(planned(KAFKA, &windows(20), &[]).is_ok());
    let problems = planned(KAFKA, &windows(40), &[]).err().unwrap();
    assert!(problems.contains("40 windows stand behind one source, which are too many"), "{problems}");
}

/// The chains of a plan as `pipectl check` shows them.
fn shape(planned: &Result<(Plan, String), String>) -> String {
    match planned {
        Ok((plan, _)) => describe(plan),
        Err(problems) => panic!("{problems}"),
    }
}

fn warnings(planned: &Result<(Plan, String), String>) -> &str {
    match planned {
        Ok((_, warnings)) => warnings,
        Err(problems) => panic!("{problems}"),
    }
}
