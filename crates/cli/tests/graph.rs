//! The shipped file in memory, on a manual clock: what every author's own test does, with chains joined by
//! topics.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::path::{Path, PathBuf};
use std::time::Duration;

use pipectl as _;
use pipectl_framework::metrics::Balance;
use pipectl_framework::testing::Graph;
use serde_json::{Value, json};

fn shipped(set: &[&str]) -> Graph {
    let root: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let yaml = std::fs::read_to_string(root.join("pipeline.yaml")).unwrap();
    Graph::start(&yaml, &root, set).unwrap()
}

fn counts(rows: &[Value]) -> Vec<(String, i64)> {
    let count = |row: &Value| (row["key"].as_str().unwrap().to_owned(), row["count"].as_i64().unwrap());
    rows.iter().map(count).collect()
}

fn of(counts: &[(&str, i64)]) -> Vec<(String, i64)> {
    counts.iter().map(|(key, count)| ((*key).to_owned(), *count)).collect()
}

#[test]
fn a_shopper_goes_through_every_chain_to_the_page() {
    let mut graph = shipped(&[]);
    let shoppers = ["0", "1", "0", ""].map(|gender| json!({ "gender": gender }));
    graph.feed("shoppers.csv", &shoppers).unwrap();
    graph.advance(Duration::from_secs(1));
    assert!(graph.rows("dashboard.socketio").unwrap().is_empty(), "the window may still get a record");
    graph.advance(Duration::from_millis(1500));
    assert_eq!(counts(&graph.rows("dashboard.socketio").unwrap()), of(&[("0", 2), ("1", 1), ("", 1)]));
    graph.advance(Duration::from_secs(1));
    let silent = graph.rows("dashboard.socketio").unwrap();
    assert_eq!(counts(&silent), of(&[("0", 0), ("1", 0), ("", 0)]), "a key once seen goes on with zeros");
    let balance = graph.finish().unwrap();
    assert!(balance.values().all(Balance::holds), "{balance:?}");
    assert_eq!(balance["count-by-gender.kafka"].rows_in, 4);
}

#[test]
fn another_column_is_an_edit_of_the_file() {
    let mut graph = shipped(&[
        "pipelines.shoppers.select.with.fields=[province]",
        "pipelines.shoppers.kafka.with.value=province",
    ]);
    graph.feed("shoppers.csv", &[json!({ "province": "四川" })]).unwrap();
    graph.advance(Duration::from_secs(3));
    assert_eq!(counts(&graph.rows("dashboard.socketio").unwrap())[0], ("四川".to_owned(), 1));
    let error = graph.feed("shoppers.csv", &[json!({ "gender": "0" })]).unwrap_err();
    assert!(error.contains("gender") && error.contains("province"), "{error}");
}
