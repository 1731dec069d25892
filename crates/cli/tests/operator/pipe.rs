//! What a shell does around a run: a pipe that is closed, a Ctrl-C that arrives twice.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

const ROWS: &str = "name: rows
pipelines:
  show:
    - source: generate
      with: { rate: max, fields: { key: { values: [a] } } }
    - sink: stdout
";

fn run(yaml: &str) -> (tempfile::TempDir, Command) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pipeline.yaml"), yaml).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipectl"));
    command.args(["run", "pipeline.yaml"]).current_dir(folder.path()).stdin(Stdio::null());
    (folder, command)
}

/// `pipectl run pipeline.yaml | head -3`
#[test]
fn a_run_whose_reader_has_enough_ends_quietly() {
    let (_folder, mut command) = run(ROWS);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let head: Vec<String> =
        BufReader::new(child.stdout.take().unwrap()).lines().take(3).map(Result::unwrap).collect();
    assert_eq!(head.len(), 3);
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{said}");
    assert!(!said.contains("error") && !said.contains("chain  step"), "{said}");
}

/// The terminal signals every process of the group, and a wrapper passes on what it got itself.
#[test]
fn a_signal_that_arrives_twice_at_once_is_one() {
    let (_folder, mut command) = run(&ROWS.replace("rate: max", "rate: 10/s"));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut rows = BufReader::new(child.stdout.take().unwrap()).lines();
    rows.next().unwrap().unwrap();
    let process = child.id().to_string();
    for _ in 0..2 {
        assert!(Command::new("kill").args(["-INT", &process]).status().unwrap().success());
    }
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{said}");
    assert!(said.contains("chain  step"), "{said}");
}
