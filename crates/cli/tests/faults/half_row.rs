//! A file whose last line has no end yet.

use crate::support::{Pipeline, assert_snapshot, suffix};

#[test]
fn a_half_row_waits_and_is_told_and_stands_in_the_balance() {
    let pipeline = Pipeline::new(&format!(
        "name: half{}
connections: {{ kafka: {{ brokers: 'embedded:log' }} }}
pipelines:
  rows:
    - source: csv
      with: {{ path: rows.csv }}
    - sink: kafka
      with: {{ topic: out, value: id, partitions: 1 }}
",
        suffix()
    ));
    let write = |content: &str| std::fs::write(pipeline.folder.path().join("rows.csv"), content).unwrap();
    write("id,key\n100,a\n25");
    let ended = pipeline.once();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert_snapshot("half-row", &ended.messages(&[]));
    let line = ended.said.lines().find(|line| line.starts_with("rows   csv")).unwrap_or_default();
    let counts: Vec<&str> = line.split_whitespace().skip(2).collect();
    assert_eq!(counts, ["2", "1", "0", "0", "0", "1"], "{}", ended.said);
    let refused = pipeline.start(&["--once", "--set", "pipelines.rows.csv.with.last_line=row"]).end();
    assert_eq!(refused.code, Some(1), "a cell is missing: {}", refused.said);
    write("id,key\n100,a\n2500,b\n");
    let ended = pipeline.once();
    assert_eq!((ended.code, ended.messages(&[]).as_str()), (Some(0), ""), "{}", ended.said);
    // A line that was given as a row goes on.
    write("id,key\n100,a\n2500,b\n7,c");
    let row = pipeline.start(&["--once", "--set", "pipelines.rows.csv.with.last_line=row"]).end();
    assert_eq!(row.code, Some(0), "{}", row.said);
    write("id,key\n100,a\n2500,b\n7,cde\n");
    let refused = pipeline.once();
    assert_eq!(refused.code, Some(1), "{}", refused.said);
    assert_snapshot("half-row-given", &refused.messages(&[]));
}
