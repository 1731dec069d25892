//! Files that are not what they are taken for.

use super::Job;

#[test]
fn a_step_that_could_use_nothing_says_so() {
    let job = Job::new();
    job.write("rows.csv", "id,n\n# of May\n# of June\n# of July\n");
    let chain = |on_error: &str| {
        format!(
            "  rows:
    - source: csv
      on_error: {on_error}
      with: {{ path: rows.csv }}
    - sink: memory
      with: {{ name: odd }}
  dead:
    - from: rows.csv.dead
    - transform: cast
      on_error: skip
      with: {{ fields: {{ record: integer }} }}
    - sink: memory
      with: {{ name: odd }}
"
        )
    };
    let said = job.once(&chain("skip")).told;
    let of_file =
        r#"NothingUsed { chain: "rows", step: "rows.csv", rows: 3, reason: "1 cells where 2 are expected" }"#;
    assert_eq!(said, [of_file]);
    // What is sent to a chain of its own was of no use to the step all the same, and here to the next one
    // neither.
    let said = job.once(&chain("dead_letter")).told;
    let of_cast = r#"NothingUsed { chain: "rows", step: "dead.cast", rows: 3, reason: "not an integer" }"#;
    assert_eq!(said[0], of_file);
    assert!(said[1].starts_with(&of_cast[..60]), "{said:?}");
    job.append("rows.csv", "1,2\n");
    assert_eq!(job.once(&chain("skip")).told, Vec::<String>::new());
}
