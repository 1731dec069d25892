//! A line of a file that is no record.

use crate::support::{Pipeline, assert_snapshot, suffix};

#[test]
fn a_line_that_is_no_object_is_named_with_its_line_and_column() {
    let pipeline = Pipeline::new(&format!(
        "name: broken{}
pipelines:
  rows:
    - source: jsonl
      with: {{ path: rows.jsonl, fields: {{ id: integer }} }}
    - sink: stdout
",
        suffix()
    ));
    let content = "{\"id\":1}\n\n{\"id\":2,\"city\":\"Paris\",}\n{\"id\":3}\n";
    std::fs::write(pipeline.folder.path().join("rows.jsonl"), content).unwrap();
    let ended = pipeline.once();
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert_snapshot("broken-line", &ended.messages(&[]));
    let set = "pipelines.rows.jsonl.on_error=skip";
    let ended = pipeline.start(&["--once", "--set", set]).end();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert_eq!(ended.out.lines().count(), 2, "{}", ended.out);
}
