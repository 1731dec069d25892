//! Keys, headers and tombstones on their way from topic to topic: on the log on disk, and on Kafka where
//! there is one.

use crate::support::{Pipeline, assert_snapshot, kafka, suffix, undated};

/// What is written: the fourth row has no key, and cannot be a tombstone.
const ROWS: &str = r#"row
{"id":1,"k":"a","who":"x","gone":false}
{"id":2,"k":"b","gone":true}
{"id":3,"k":"c","gone":null}
{"id":4,"who":"y","gone":true}
{"id":5,"k":"a","who":"z","gone":true}
"#;

/// The steps of `copy` take every record over as it is.
fn file(brokers: &str, suffix: &str, on_tombstone: &str) -> String {
    format!(
        "name: parts{suffix}
connections: {{ kafka: {{ brokers: '{brokers}', partitions: 1 }} }}
pipelines:
  rows:
    - source: csv
      with: {{ path: rows.csv, delimiter: '|', quote: none }}
    - sink: kafka
      with: {{ topic: raw{suffix}, value: row }}
  write:
    - source: kafka
      with: {{ topic: raw{suffix}, format: {{ json: {{ fields: {{ id: integer, k: text, who: text, gone: boolean }} }} }} }}
    - sink: kafka
      on_error: skip
      with:
        topic: written{suffix}
        key: k
        headers: {{ by: who }}
        tombstone: gone
        encode: {{ json: {{ fields: {{ id: integer }} }} }}
  copy:
    - source: kafka
      with:
        topic: written{suffix}
        format: text
        metadata: {{ k: key, who: {{ header: by }} }}
    - sink: kafka
      with:
        topic: copied{suffix}
        key: k
        headers: {{ by: who }}
        encode: {{ text: {{ field: value }} }}
  show:
    - source: kafka
      with:
        topic: copied{suffix}
        format: {{ json: {{ fields: {{ id: integer }} }} }}
        metadata: {{ k: key, t: topic, p: partition, at: timestamp, who: {{ header: by }}, no: {{ header: no }} }}
        on_tombstone: {on_tombstone}
    - transform: select
      with: {{ fields: [id, k, t, p, who, no] }}
    - sink: stdout
"
    )
}

#[test]
fn keys_headers_and_tombstones_come_through_whole() {
    let disk = "embedded:log".to_owned();
    for brokers in [Some(disk), kafka("keys, headers and tombstones on Kafka")].into_iter().flatten() {
        for on_tombstone in ["null", "skip"] {
            let suffix = suffix();
            let pipeline = Pipeline::new(&file(&brokers, &suffix, on_tombstone));
            std::fs::write(pipeline.folder.path().join("rows.csv"), ROWS).unwrap();
            let ended = pipeline.once();
            assert_eq!(ended.code, Some(0), "{}", ended.said);
            let counted =
                ended.said.lines().filter(|line| line.starts_with("show ") || line.starts_with("write "));
            let counted: String = counted.map(|line| format!("{line}\n")).collect();
            let shown = format!("{}{counted}{}", ended.out, undated(&ended.messages(&[])));
            let name = format!("parts-of-records-{on_tombstone}");
            assert_snapshot(&name, &shown.replace(&suffix, "-X"));
        }
    }
}
