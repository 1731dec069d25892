//! The first milliseconds of the real binary: a signal, and several of them at once.

#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The signal of `kill`.
const TERM: i32 = 15;

fn run(folder: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipectl"));
    command.arg("run").arg(folder.join("pipeline.yaml")).env("XDG_STATE_HOME", folder.join("state"));
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// A file into a topic, and two chains behind it.
fn job(brokers: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..5000).map(|row| format!("{row}\n")).collect();
    std::fs::write(folder.path().join("rows.csv"), format!("n\n{rows}")).unwrap();
    let copy = |name: &str, from: &str| {
        format!(
            "  {name}:
    - source: kafka
      with: {{ topic: {from}, format: text }}
    - sink: kafka
      with: {{ topic: {name}, value: value }}
"
        )
    };
    let yaml = format!(
        "name: job
connections: {{ kafka: {{ brokers: '{brokers}' }} }}
pipelines:
  rows:
    - source: csv
      with: {{ path: rows.csv, rate: 1000/s }}
    - sink: kafka
      with: {{ topic: rows, value: n }}
{}{}",
        copy("first", "rows"),
        copy("second", "first")
    );
    std::fs::write(folder.path().join("pipeline.yaml"), yaml).unwrap();
    folder
}

/// The log on disk is being opened when the chains are told to stop. Before the program catches signals, one
/// ends it.
#[test]
fn a_signal_at_any_moment_of_the_start_ends_well() {
    let folder = job("embedded:log");
    let mut caught = 0;
    // On a busy machine a start takes longer.
    for round in 0..180_u64 {
        let longest = [25_000, 100_000, 400_000][round as usize / 60];
        if round % 60 == 0 && caught > 10 {
            break;
        }
        let mut child = run(folder.path());
        // No condition can be waited for: any moment will do, and each is another one.
        let until = Instant::now() + Duration::from_micros(round * 7919 % longest);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
        let mut said = String::new();
        std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
        let status = child.wait().unwrap();
        assert!(status.success() || status.signal() == Some(TERM), "round {round}: {status}: {said}");
        caught += usize::from(status.success());
    }
    assert!(caught > 10, "{caught} signals were caught");
}

#[test]
fn workers_that_start_at_once_in_a_fresh_folder_all_have_names() {
    const AT_ONCE: usize = 9;
    for round in 0..3 {
        // Names are taken before the brokers are asked for anything.
        let folder = job("127.0.0.1:1");
        let mut children: Vec<Child> = (0..AT_ONCE).map(|_| run(folder.path())).collect();
        let numbers = || {
            let entries =
                std::fs::read_dir(folder.path().join("state/pipectl")).into_iter().flatten().flatten();
            entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("job.")).count()
        };
        let begun = Instant::now();
        while numbers() < AT_ONCE && begun.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let found = numbers();
        for child in &mut children {
            child.kill().unwrap();
        }
        for child in children {
            let said = String::from_utf8_lossy(&child.wait_with_output().unwrap().stderr).into_owned();
            assert!(!said.contains("keeps no names"), "round {round}: {said}");
        }
        assert_eq!(found, AT_ONCE, "round {round}");
    }
}
