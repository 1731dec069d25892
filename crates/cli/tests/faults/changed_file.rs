//! A file that is not what it was when its position was kept.

use crate::support::{Pipeline, assert_snapshot, kafka, suffix};

/// Copies the file to a topic, and shows what is committed there.
fn pipeline(brokers: &str) -> Pipeline {
    let suffix = suffix();
    Pipeline::new(&format!(
        "name: changed{suffix}
connections: {{ kafka: {{ brokers: '{brokers}' }} }}
pipelines:
  rows:
    - source: csv
      with: {{ path: rows.csv }}
    - sink: kafka
      with: {{ topic: out{suffix}, value: id, partitions: 1 }}
  shown:
    - source: kafka
      with: {{ topic: out{suffix}, format: text }}
    - sink: stdout
"
    ))
}

fn rows(last: usize) -> String {
    std::iter::once("id,key\n".to_owned()).chain((1..=last).map(|id| format!("{id},a\n"))).collect()
}

fn is_refused_and_nothing_is_committed(brokers: &str, name: &str, changed: &str) {
    const ROWS: usize = 500;
    let pipeline = pipeline(brokers);
    let write = |content: &str| std::fs::write(pipeline.folder.path().join("rows.csv"), content).unwrap();
    write(&rows(ROWS));
    let first = pipeline.once();
    assert_eq!(first.code, Some(0), "{}", first.said);
    write(changed);
    let refused = pipeline.once();
    assert_eq!(refused.code, Some(1), "{}", refused.said);
    assert_snapshot(name, &refused.messages(&[]));
    // What was there, and one more row: it goes on as if nothing had been.
    write(&rows(ROWS + 1));
    let again = pipeline.once();
    assert_eq!(again.code, Some(0), "{}", again.said);
    let shown = [first.out, refused.out, again.out].concat();
    let expected: String = (1..=ROWS + 1).map(|id| format!("{{\"value\":\"{id}\"}}\n")).collect();
    assert!(shown == expected, "{name}: {} lines", shown.lines().count());
}

#[test]
fn a_file_that_changed_since_its_position_was_kept_is_refused() {
    let logs = [Some("embedded:log".to_owned()), kafka("changed files on Kafka")];
    std::thread::scope(|scope| {
        for brokers in logs.into_iter().flatten() {
            scope.spawn(move || {
                for (name, changed) in [
                    ("file-truncated", rows(499)),
                    ("file-of-another-header", rows(501).replace("key", "kind")),
                    ("file-rewritten", rows(501).replace("490,a", "490,b")),
                ] {
                    is_refused_and_nothing_is_committed(&brokers, name, &changed);
                }
            });
        }
    });
}
