//! The files of `examples/` and the shipped one, run on the sample and on the real slice; a few lines of
//! Python over the same file (`tests/windows/check.py`) confirm what they give.

#![allow(clippy::expect_used, clippy::print_stderr, clippy::unwrap_used)] // a test fails by panicking, and says when it is skipped

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const COLUMNS: &str =
    "[user_id, item_id, cat_id, merchant_id, brand_id, month, day, action, age_range, gender, province]";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The example's output, as Python sees it.
fn check(example: &str, file: &str, csv: &Path, set: &[String]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipectl"));
    command.args(["run", file, "--once"]).current_dir(root()).env_remove("KAFKA_BROKERS");
    for set in set {
        command.args(["--set", set]);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("does not hold"), "{example}: {said}");
    let mut python = Command::new("python3")
        .arg("tests/windows/check.py")
        .args([example.as_ref(), csv.as_os_str()])
        .current_dir(root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3, which confirms the results");
    python.stdin.take().unwrap().write_all(&output.stdout).unwrap();
    let confirmed = python.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&confirmed.stderr);
    assert!(confirmed.status.success(), "{}: {said}", csv.display());
}

fn check_all(csv: &Path, header: bool) {
    for (example, chain) in
        [("province-top5", "top-provinces"), ("conversion-rate", "conversion"), ("sessions", "sessions")]
    {
        let mut set = vec![format!("pipelines.{chain}.csv.with.path={}", csv.display())];
        if !header {
            set.push(format!("pipelines.{chain}.csv.with.columns={COLUMNS}"));
        }
        check(example, &format!("examples/{example}.yaml"), csv, &set);
    }
    // The shipped file, with its counts on standard output in place of the page, and without the pace.
    let shipped = std::fs::read_to_string(root().join("pipeline.yaml")).unwrap();
    let (before, page) = shipped.split_once("    - sink: socketio").unwrap();
    assert!(page.contains("page:"), "the shipped file does not end in its page");
    let mut yaml = before.replace("rate: 10/s, repeat: true", "rate: 10/s, speed: max");
    yaml.push_str("    - sink: stdout\n");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pipeline.yaml");
    std::fs::write(&file, yaml).unwrap();
    let mut set = vec![format!("pipelines.shoppers.csv.with.path={}", csv.display())];
    if !header {
        set.push(format!("pipelines.shoppers.csv.with.columns={COLUMNS}"));
    }
    check("shipped", file.to_str().unwrap(), csv, &set);
}

#[test]
fn the_examples_give_what_python_gives_on_the_sample() {
    check_all(&root().join("data/user_log.csv"), true);
}

#[test]
fn the_examples_give_what_python_gives_on_the_real_slice() {
    let path = std::env::var_os("PIPECTL_TEST_DATA")
        .map_or_else(|| root().join("../shared/data/user_log_10k.csv"), PathBuf::from);
    if path.exists() {
        check_all(&path, false);
    } else {
        eprintln!("SKIPPED the real slice: set PIPECTL_TEST_DATA to a headerless user_log.csv");
    }
}
