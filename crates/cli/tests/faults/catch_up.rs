//! A stop while one row has made millions of results due.

use std::fmt::Write as _;
use std::time::Duration;

use crate::support::Pipeline;

#[test]
fn a_stop_in_a_catch_up_leaves_the_results_that_are_due_to_the_next_run() {
    let pipeline = Pipeline::new(
        "name: catch-up
connections: { kafka: { brokers: 'embedded:log', embedded: { topic_bytes: 64MiB } } }
pipelines:
  count:
    - source: csv
      with: { path: rows.csv }
      time: { field: t, format: epoch_s }
    - window: count-by-key
      with: { key: k, size: 1s, zero_fill: seen }
    - sink: kafka
      with: { topic: counts, key: key }
",
    );
    let mut rows = "t,k\n".to_owned();
    (0..30_000).for_each(|key| writeln!(rows, "1700000000,k{key}").unwrap());
    // Two hours later: 216 million results.
    rows.push_str("1700007200,k0\n");
    std::fs::write(pipeline.folder.path().join("rows.csv"), rows).unwrap();
    let mut run = pipeline.start(&[]);
    run.go_on(Duration::from_secs(4));
    assert!(run.is_alive());
    let ended = run.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(!ended.said.contains("stopped after a fault"), "{}", ended.said);
}
