//! Rows of before 1970, which no topic takes.

use super::run;

fn chain(on_error: &str) -> String {
    format!(
        "  copy:
    - source: csv
      time: {{ field: t, format: epoch_ms }}
      with: {{ path: rows.csv }}
    - sink: kafka
      id: out
      on_error: {on_error}
      with: {{ topic: out, key: k }}
"
    )
}

const LETTERS: &str = "  letters:
    - from: copy.out.dead
    - sink: kafka
      with: { topic: dead }
";

#[test]
fn a_row_of_before_1970_is_for_on_error_of_the_sink() {
    let rows = "t,k\n0,a\n-1,b\n5,c\n-86400000,d\n";
    let ran = run(&(chain("dead_letter") + LETTERS), rows, 1000);
    assert_eq!(ran.failure, None);
    let balance = ran.balance("copy.out");
    assert_eq!((balance.rows_in, balance.rows_out, balance.dead), (4, 2, 2));
    let keys: Vec<_> = ran.records("out").iter().map(|row| row["k"].as_str().unwrap().to_owned()).collect();
    assert_eq!(keys, ["a", "c"]);
    let letters = ran.records("dead");
    let reason = "earlier than its topic takes: its time is 1969-12-31T00:00:00Z, and `out` takes those from 1970-01-01T00:00:00Z on";
    assert_eq!((letters.len(), letters[1]["reason"].as_str()), (2, Some(reason)));
    let failure = run(&chain("fail"), rows, 1000).failure.unwrap();
    assert!(failure.contains("1969-12-31T23:59:59.999Z") && failure.contains("on_error: skip"), "{failure}");
}
