//! A signal while the broker stands still. It is one of `scripts/kafka`, whose folder is in
//! `PIPECTL_TEST_KAFKA_PAUSED`, and nobody else's meanwhile.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Run, until};

const ROWS: usize = 6000;

/// A broker that stands still until this is dropped.
struct Paused<'a>(&'a str);

fn broker(what: &str, folder: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/kafka");
    assert!(Command::new(script).args([what, folder]).status().unwrap().success());
}

impl<'a> Paused<'a> {
    fn new(folder: &'a str) -> Self {
        broker("pause", folder);
        Self(folder)
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        broker("resume", self.0);
    }
}

#[test]
fn a_run_whose_broker_stands_still_ends_within_ten_seconds_of_a_signal_and_commits_nothing() {
    let Ok(dir) = std::env::var("PIPECTL_TEST_KAFKA_PAUSED") else {
        eprintln!(
            "SKIPPED a broker that stands still: set PIPECTL_TEST_KAFKA_PAUSED to the folder of a broker that may be paused"
        );
        return;
    };
    let brokers = std::fs::read_to_string(Path::new(&dir).join("address")).unwrap();
    let brokers = brokers.trim();
    let folder = tempfile::tempdir().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let suffix = format!("-{}-{}", std::process::id(), now.as_nanos());
    let rows: String = (0..ROWS).map(|row| format!("row-{row}\n")).collect();
    std::fs::write(folder.path().join("rows.csv"), format!("id\n{rows}")).unwrap();
    let yaml = format!(
        "name: paused{suffix}
connections: {{ kafka: {{ brokers: '{brokers}' }} }}
pipelines:
  rows:
    - source: csv
      with: {{ path: rows.csv, rate: 500/s }}
    - sink: kafka
      with: {{ topic: rows{suffix}, value: id }}
  copy:
    - source: kafka
      with: {{ topic: rows{suffix}, format: text }}
    - sink: kafka
      with: {{ topic: copies{suffix}, value: value }}
"
    );
    let mut run = Run::file(folder.path(), &yaml, &["--health", "127.0.0.1:0"]);
    let address = run.health();
    until(&address, "/readyz", 200, "runs");
    std::thread::sleep(Duration::from_secs(3));
    let paused = Paused::new(&dir);
    // Commits are under way.
    std::thread::sleep(Duration::from_secs(1));
    let signalled = Instant::now();
    run.signal();
    let (code, said) = run.ends();
    let took = signalled.elapsed();
    eprintln!("ended {took:?} after the signal");
    assert!(took < Duration::from_secs(10), "{took:?}: {said}");
    assert_eq!(code, Some(0), "{said}");
    let told = said.matches("stopped after a fault; what was not committed is read again").count();
    // The copying chain may have had nothing to commit at that moment.
    assert!((1..=2).contains(&told), "whoever had something to commit says it: {said}");
    drop(paused);
    // The group misses the members that could not say good-bye (`session.timeout.ms`, and a little more).
    std::thread::sleep(Duration::from_secs(11));

    let mut last = Run::file(folder.path(), &yaml, &["--once"]);
    let (code, said) = last.ends();
    assert!(code == Some(0) && !said.contains("does not hold"), "{said}");
    let read = format!(
        "name: reads{suffix}
connections: {{ kafka: {{ brokers: '{brokers}' }} }}
pipelines:
  show:
    - source: kafka
      with: {{ topic: copies{suffix}, format: text }}
    - sink: stdout
"
    );
    std::fs::write(folder.path().join("read.yaml"), read).unwrap();
    let shown = Command::new(env!("CARGO_BIN_EXE_pipectl"))
        .args(["run", "read.yaml", "--once"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let copies: Vec<&str> = std::str::from_utf8(&shown.stdout).unwrap().lines().collect();
    let different: BTreeSet<&&str> = copies.iter().collect();
    // Each row is there; and what the log took of the commits under way, it did not take twice.
    assert_eq!((different.len(), copies.len()), (ROWS, ROWS));
}
