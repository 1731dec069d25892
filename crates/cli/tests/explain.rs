//! What `pipectl explain` says of every shipped file, kept by a snapshot.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::path::Path;
use std::process::Command;

fn explain(file: &str, brokers: Option<&str>, arguments: &[&str]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipectl"));
    command.args(["explain", file]).args(arguments).current_dir(root).env_remove("KAFKA_BROKERS");
    if let Some(brokers) = brokers {
        command.env("KAFKA_BROKERS", brokers);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_shipped_file_on_every_log() {
    insta::assert_snapshot!("memory", explain("pipeline.yaml", None, &[]));
    insta::assert_snapshot!("disk", explain("pipeline.yaml", Some("embedded:log"), &[]));
    insta::assert_snapshot!("kafka", explain("pipeline.yaml", Some("kafka.example.com:9092"), &[]));
}

#[test]
fn a_chain_that_is_told_to_deliver_at_least_once() {
    let set = ["--set", "pipelines.count-by-gender.0.delivery=at_least_once"];
    insta::assert_snapshot!("at_least_once", explain("pipeline.yaml", Some("kafka.example.com:9092"), &set));
}

#[test]
fn where_a_topic_is_begun() {
    for (start, expected) in [
        ("latest", "Where nothing is committed yet it reads topic `sex` from its end on."),
        ("{ offset: 5 }", "reads topic `sex` from offset 5 of each partition on."),
        ("{ time: 2026-01-31T17:30:00+08:00 }", "the first record of 2026-01-31T09:30:00Z or later on."),
        ("{ ago: 90m }", "from the first record of the last 90m on."),
    ] {
        let set = format!("pipelines.count-by-gender.0.with.start={start}");
        let said = explain("pipeline.yaml", Some("kafka.example.com:9092"), &["--set", &set]);
        assert!(said.contains(expected), "{start}: {said}");
    }
    let set = "pipelines.dashboard.0.with.start={ ago: 2m }";
    let said = explain("pipeline.yaml", None, &["--set", set]);
    let expected = "Each copy reads topic `result` from the first record of the last 2m on.";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn the_examples() {
    for name in ["province-top5", "conversion-rate", "sessions"] {
        insta::assert_snapshot!(name, explain(&format!("examples/{name}.yaml"), None, &[]));
    }
}

#[test]
fn for_a_program() {
    let said = explain("pipeline.yaml", Some("kafka.example.com:9092"), &["--format", "json"]);
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["ok"], &said["chains"][0]["delivery"]), (&true.into(), &"exactly_once".into()));
}
