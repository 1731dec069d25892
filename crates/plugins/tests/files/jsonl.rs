//! Files with one JSON object a line, which share all but their form with CSV.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::forms::gzip;
use super::{Job, copying};

const WITH: &str = "path: rows.jsonl, fields: { id: integer, city: text }";

fn lines(ids: std::ops::Range<i64>) -> String {
    ids.fold(String::new(), |mut all, id| {
        writeln!(all, "{}", json!({ "id": id, "x": [1], "city": "\u{5317}\u{4eac}" })).unwrap();
        all
    })
}

fn ids(ids: std::ops::Range<i64>) -> Vec<String> {
    ids.map(|id| id.to_string()).collect()
}

#[test]
fn a_file_that_grows_by_blocks_is_read_once_however_it_is_cut() {
    let content =
        "{\"id\":1,\"city\":\"\u{5317}\u{4eac}\"}\r\n\n{\"id\":2}\n  \n{\"id\":3,\"city\":\"a\\n\"}\n";
    for block in [1, 7, 30] {
        let (job, chains) = (Job::new(), copying("jsonl", WITH));
        for end in (0..content.len()).step_by(block).chain([content.len()]) {
            job.write("rows.jsonl", &content.as_bytes()[..end]);
            let ended = job.once(&chains);
            assert_eq!(ended.source.rows_in, ended.source.rows_out + ended.source.in_flight);
        }
        assert_eq!(job.copied("id"), ids(1..4), "blocks of {block}");
        assert_eq!(job.copied("city"), ["\u{5317}\u{4eac}", "null", "a\n"]);
    }
}

#[test]
fn a_line_without_its_end_is_held_and_a_line_that_was_given_goes_no_further() {
    let (job, chains) = (Job::new(), copying("jsonl", WITH));
    job.write("rows.jsonl", "{\"id\":1}\n\n{\"id\":2");
    let held = job.once(&chains);
    let said = held.told.join("\n");
    assert!(said.contains("rows.jsonl:3") && said.contains("last_line: row"), "{said}");
    assert_eq!((held.source.rows_out, held.source.in_flight), (1, 1));
    job.append("rows.jsonl", "}");
    job.once(&copying("jsonl", &format!("{WITH}, last_line: row")));
    assert_eq!(job.copied("id"), ["1", "2"]);
    job.append("rows.jsonl", " {\"id\":3}\n");
    let refused = job.try_once(&chains).err().unwrap();
    assert!(
        refused.contains("rows.jsonl:3: this line was given as a row before it had its end"),
        "{refused}"
    );
    job.write("rows.jsonl", "{\"id\":9}\n\n{\"id\":2}\n");
    let refused = job.try_once(&chains).err().unwrap();
    assert!(refused.contains("rows.jsonl is not the file that was read up to now"), "{refused}");
}

#[test]
fn it_is_unpacked_and_decoded_as_a_table_is() {
    let (job, chains) = (Job::new(), copying("jsonl", &WITH.replace("rows.jsonl", "rows.jsonl.gz")));
    job.write("rows.jsonl.gz", gzip(&lines(0..20_000)));
    job.once(&chains);
    job.append("rows.jsonl.gz", gzip(&lines(20_000..20_010)));
    job.once(&chains);
    assert!(job.copied("id") == ids(0..20_010));
    let (job, chains) = (Job::new(), copying("jsonl", &format!("{WITH}, encoding: gbk")));
    let (bytes, ..) = encoding_rs::GBK.encode("{\"id\":1,\"city\":\"\u{5317}\u{4eac}\"}\n");
    job.write("rows.jsonl", &bytes);
    job.once(&chains);
    assert_eq!(job.copied("city"), ["\u{5317}\u{4eac}"]);
}

#[test]
fn a_broken_line_is_a_dead_letter_and_those_behind_it_are_rows() {
    let job = Job::new();
    job.write("rows.jsonl", b"{\"id\":1}\n{\"id\":\"2\"}\n{\"id\":3,\"city\":\"Jos\xe9\"}\n{\"id\":4}\n");
    let chains = format!(
        "  rows:
    - source: jsonl
      id: file
      on_error: dead_letter
      with: {{ {WITH} }}
    - sink: kafka
      with: {{ topic: copy, partitions: 1 }}
  dead:
    - from: rows.file.dead
    - sink: kafka
      with: {{ topic: dead, partitions: 1 }}
"
    );
    for _ in 0..2 {
        job.once(&chains);
    }
    assert_eq!(job.copied("id"), ["1", "4"]);
    let dead = job.topic("dead");
    let cell = |name: &str| dead.iter().map(|row| row[name].clone()).collect::<Vec<Value>>();
    let escaped = r#"{\"id\":3,\"city\":\"Jos\xe9\"}"#;
    assert_eq!(cell("record"), [json!("{\"id\":\"2\"}"), json!(escaped)]);
    assert_eq!(cell("escaped"), [json!(false), json!(true)]);
}

#[test]
fn a_broken_line_ends_the_run_with_its_file_line_and_column() {
    let job = Job::new();
    job.write("rows.jsonl", "{\"id\":1}\n\n{\"id\":2,}\n");
    let failed = job.try_once(&copying("jsonl", WITH)).err().unwrap();
    let said = "rows.jsonl:3: trailing comma at column 9";
    assert!(failed.contains(said), "{failed}");
}

/// A line with as many elements; some have no list, or one of nothing.
fn order(number: i64) -> String {
    match number % 4 {
        0 => format!("{{\"o\":{number},\"items\":[]}}\n"),
        1 => format!("{{\"o\":{number}}}\n\n"),
        elements => {
            let items: Vec<Value> =
                (0..elements).map(|n| json!({ "sku": format!("{number}-{n}") })).collect();
            format!("{}\n", json!({ "o": number, "items": items }))
        }
    }
}

#[test]
fn a_line_gives_a_row_of_each_element_once_over_restarts_and_followed() {
    let rows =
        "path: rows.jsonl, rows: \"$.items[*]\", fields: { sku: text, o: { type: integer, path: \"$.o\" } }";
    let skus: Vec<String> = (0..40)
        .flat_map(|o| (0..o % 4).filter(move |_| o % 4 > 1).map(move |n| format!("{o}-{n}")))
        .collect();
    for more in ["", ", follow: true"] {
        let (job, chains) = (Job::new(), copying("jsonl", &format!("{rows}{more}")));
        let all: String = (0..40).map(order).collect();
        let mut from = 0;
        // Each step ends with another kind of line, and some within one.
        for end in (0..all.len()).step_by(61).chain([all.len()]) {
            job.append("rows.jsonl", &all[from..end]);
            from = end;
            job.once(&chains);
        }
        assert_eq!(job.copied("sku"), skus, "{more}");
        // Lines that give no row are not read again.
        let ended = job.once(&chains);
        assert_eq!((ended.source.rows_in, ended.source.dead), (0, 0), "{more}");
    }
}

#[test]
fn an_element_that_cannot_be_used_is_named_with_its_line() {
    let job = Job::new();
    job.write("rows.jsonl", "{\"items\":[{\"n\":1}]}\n\n{\"items\":[{\"n\":2},{\"n\":\"x\"}]}\n");
    let failed =
        job.try_once(&copying("jsonl", "path: rows.jsonl, rows: \"$.items[*]\", fields: { n: integer }"));
    let said = "rows.jsonl:3: an element of `$.items[*]` cannot be used: $.items[1]: expected an integer of 64 bits for \
                the field `n`, found \"x\"";
    let failed = failed.err().unwrap();
    assert!(failed.contains(said), "{failed}");
}
