//! `--only`.

use super::{KAFKA, MEMORY, planned, shape, warnings};

/// Rows to a topic, with readers of unusable and late rows, and a branch; and a chain that reads the topic.
const CHAINS: &str = "  rows:
    - source: csv
      id: file
      on_error: dead_letter
      with: { path: log.csv, header: true }
    - transform: select
      with: { fields: [gender] }
    - window: count-by-key
      id: window
      with: { key: gender, size: 1s }
    - sink: kafka
      id: out
      on_error: dead_letter
      with: { topic: result }
  unusable:
    - from: [rows.file.dead, rows.out.dead]
    - sink: kafka
      id: out
      on_error: dead_letter
      with: { topic: unusable }
  unusable-twice:
    - from: unusable.out.dead
    - sink: stdout
  late:
    - from: rows.window.late
    - sink: stdout
  branch:
    - from: rows.select
    - sink: stdout
  other:
    - source: csv
      with: { path: log.csv, header: true }
    - sink: stdout
  show:
    - source: kafka
      with: { topic: result, format: { json: { fields: { key: text, count: integer } } } }
    - sink: stdout
";

#[test]
fn everything_behind_the_same_source_is_taken_along() {
    let whole = shape(&planned(KAFKA, CHAINS, &[]));
    let tree = whole.lines().next().unwrap();
    for chain in ["rows", "unusable", "unusable-twice", "late", "branch"] {
        let part = shape(&planned(KAFKA, CHAINS, &[chain]));
        assert_eq!(part.lines().collect::<Vec<_>>(), [tree], "--only {chain}");
        let (plan, _) = planned(KAFKA, CHAINS, &[chain]).unwrap();
        let chains: std::collections::BTreeSet<&str> =
            plan.chains[0].nodes.iter().map(|node| node.chain.as_str()).collect();
        assert_eq!(chains.len(), 5, "--only {chain}: {chains:?}");
    }
    assert_eq!(shape(&planned(KAFKA, CHAINS, &["other"])), "other: csv -> stdout\n");
}

#[test]
fn what_a_chain_that_does_not_run_writes_is_written() {
    let show = planned(KAFKA, CHAINS, &["show"]);
    assert_eq!((shape(&show).as_str(), warnings(&show)), ("show: topic result -> stdout\n", ""));
    // The file that it reads need not be on this machine.
    let elsewhere = CHAINS.replace("log.csv", "no-such-file.csv");
    let show = planned(KAFKA, &elsewhere, &["show"]);
    assert_eq!((shape(&show).as_str(), warnings(&show)), ("show: topic result -> stdout\n", ""));
    // Nobody writes this one.
    let misspelt = CHAINS.replace("{ topic: result, format", "{ topic: resul, format");
    let said = planned(KAFKA, &misspelt, &["show"]);
    assert!(warnings(&said).contains("no chain writes topic `resul`"), "{}", warnings(&said));
    assert!(warnings(&said).contains("did you mean `result`?"), "{}", warnings(&said));
}

#[test]
fn a_log_in_memory_says_that_nothing_comes() {
    for chains in [CHAINS.to_owned(), CHAINS.replace("log.csv", "no-such-file.csv")] {
        let said = planned(MEMORY, &chains, &["show"]);
        for part in [
            "warning: nothing comes to topic `result` in this run",
            "the chain `rows` writes it, and `--only` leaves that out",
            "add `--only rows`, or name `brokers:`",
        ] {
            assert!(warnings(&said).contains(part), "{}", warnings(&said));
        }
    }
}

#[test]
fn formats_are_compared_with_what_the_whole_file_writes() {
    let other =
        CHAINS.replace("format: { json: { fields: { key: text, count: integer } } }", "format: pairs");
    let whole = planned(KAFKA, &other, &[]);
    let alone = planned(KAFKA, &other, &["show"]);
    assert!(warnings(&whole).contains("is written as `json` and read as `pairs`"), "{}", warnings(&whole));
    assert_eq!(warnings(&alone), warnings(&whole));
}
