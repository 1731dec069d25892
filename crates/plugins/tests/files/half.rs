//! A last line without its end, as a writer leaves it that writes blocks.

use super::{Job, copying};

/// Every kind of thing that a cut can go through: cells, a quoted cell over two lines, `\r\n`, characters of
/// several bytes.
const CONTENT: &str = "id,city\r\n100,\u{5317}\u{4eac}\r\n2500,\"a \"\"b\"\",\r\nc\"\r\n7,\r\n\"8\",\"\"\r\n";
const ROWS: [(&str, &str); 4] =
    [("100", "\u{5317}\u{4eac}"), ("2500", "a \"b\",\r\nc"), ("7", ""), ("8", "")];

#[test]
fn a_writer_of_blocks_gives_the_same_rows_however_it_cuts_them() {
    let bytes = CONTENT.as_bytes();
    for (block, first) in [(1, 9), (3, 10), (5, 11), (17, 9), (64, 20)] {
        let job = Job::new();
        let chains = copying("csv", "path: rows.csv");
        let mut end = first;
        loop {
            job.write("rows.csv", &bytes[..end]);
            let ended = job.once(&chains);
            assert_eq!(ended.source.rows_in, ended.source.rows_out + ended.source.in_flight);
            if end == bytes.len() {
                break;
            }
            end = (end + block).min(bytes.len());
        }
        let copied: Vec<_> = job.copied("id").into_iter().zip(job.copied("city")).collect();
        let expected: Vec<_> = ROWS.iter().map(|(id, city)| ((*id).to_owned(), (*city).to_owned())).collect();
        assert_eq!(copied, expected, "blocks of {block}");
    }
}

#[test]
fn a_half_row_is_held_and_told_with_its_line_and_its_remedy() {
    for (half, line, why) in [
        ("25", 3, "the last line has no end"),
        ("25\r", 3, "the last line has no end"),
        ("\"25\n26\n", 3, "a quote is not closed before the end of the file"),
        ("2\u{5317}", 3, "the last line has no end"),
    ] {
        let job = Job::new();
        let chains = copying("csv", "path: rows.csv");
        job.write("rows.csv", format!("id\n100\n{half}"));
        let ended = job.once(&chains);
        let said = ended.told.join("\n");
        assert!(said.contains(&format!("rows.csv:{line}")) && said.contains(why), "{half:?}: {said}");
        assert!(said.contains("last_line: row"), "{said}");
        let balance = ended.source;
        assert_eq!((balance.rows_in, balance.rows_out, balance.in_flight), (2, 1, 1), "{half:?}");
        assert_eq!(job.copied("id"), ["100"]);
        assert!(!job.once(&chains).told.is_empty(), "it is told again");
    }
}

#[test]
fn a_line_that_is_too_long_waits_for_its_end_too() {
    let job = Job::new();
    let chains = copying("csv", "path: rows.csv, max_line: 100B")
        .replace("with: { path", "on_error: skip\n      with: { path");
    job.write("rows.csv", "id\n1\n");
    for _ in 0..3 {
        job.append("rows.csv", "x".repeat(80));
        let balance = job.once(&chains).source;
        assert_eq!((balance.dead, balance.in_flight), (0, 1));
    }
    job.append("rows.csv", "\n2\n");
    let balance = job.once(&chains).source;
    assert_eq!((balance.dead, balance.rows_out), (1, 1));
    assert_eq!(job.copied("id"), ["1", "2"]);
}

#[test]
fn a_header_without_its_end_is_no_row_and_no_column() {
    let job = Job::new();
    let chains = copying("csv", "path: rows.csv");
    job.write("rows.csv", "id,cit");
    let said = job.once(&chains).told.join("\n");
    assert!(said.contains("rows.csv:1"), "{said}");
    job.append("rows.csv", "y\n1,a\n");
    job.once(&chains);
    assert_eq!(job.copied("city"), ["a"]);
}

#[test]
fn where_no_position_is_kept_a_last_line_without_its_end_is_a_row() {
    let job = Job::new();
    job.write("rows.csv", "id\n100\n25");
    let ended = job.once("  rows:\n    - source: csv\n      with: { path: rows.csv }\n    - sink: memory\n      with: { name: half }\n");
    assert_eq!((ended.source.rows_out, ended.source.in_flight), (2, 0));
    let ended = job.once(
        "  rows:\n    - source: csv\n      with: { path: rows.csv, last_line: wait }\n    - sink: memory\n      with: { name: half }\n",
    );
    assert_eq!((ended.source.rows_out, ended.source.in_flight), (1, 1));
}

#[test]
fn a_last_line_that_was_given_as_a_row_gets_its_end_and_nothing_else() {
    let chains = copying("csv", "path: rows.csv, last_line: row");
    for end in ["\n", "\r\n"] {
        let job = Job::new();
        job.write("rows.csv", "id\n100\n25");
        job.once(&chains);
        job.once(&chains);
        job.append("rows.csv", &end[..end.len() - 1]);
        job.once(&chains);
        job.append("rows.csv", "\n7\n");
        job.once(&chains);
        assert_eq!(job.copied("id"), ["100", "25", "7"], "{end:?}");
    }
    let job = Job::new();
    job.write("rows.csv", "id\n100\n25");
    job.once(&chains);
    job.append("rows.csv", "00\n7\n");
    let refused = job.try_once(&chains).err().unwrap();
    assert!(refused.contains("rows.csv:3: this line was given as a row before it had its end"), "{refused}");
    assert!(refused.contains("`00`") && refused.contains("last_line: wait"), "{refused}");
    assert_eq!(job.copied("id"), ["100", "25"]);
}

#[test]
fn a_mark_at_the_beginning_of_a_file_is_no_line_that_was_given() {
    let job = Job::new();
    job.write("rows.csv", "\u{feff}100\n");
    job.once(&copying("csv", "path: rows.csv, columns: [id]"));
    assert_eq!(job.copied("id"), ["100"]);
}
