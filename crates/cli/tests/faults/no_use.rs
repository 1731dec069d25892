//! Data of which a step can use nothing.

use crate::support::{Pipeline, assert_snapshot};

#[test]
fn a_step_that_skips_everything_is_named() {
    let pipeline = Pipeline::new(
        "name: none
pipelines:
  rows:
    - source: csv
      on_error: skip
      with: { path: rows.csv }
    - sink: stdout
",
    );
    std::fs::write(pipeline.folder.path().join("rows.csv"), "id,key\n# of May\n# of June\n").unwrap();
    let ended = pipeline.once();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    let logged = |line: &&str| !line.contains(" WARN ");
    let said: String = ended.messages(&[]).lines().filter(logged).map(|line| format!("{line}\n")).collect();
    assert_snapshot("nothing-used", &said);
}
