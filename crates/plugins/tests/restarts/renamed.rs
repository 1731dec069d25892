//! Chains and windows that have another name than in the run before.

use std::collections::BTreeMap;

use super::{End, Job, SOURCE, counting, csv, rows};

/// What is renamed goes on where it stood, with what its windows held, for as long as `was` says under which
/// name that is kept.
#[test]
fn what_is_renamed_goes_on_under_the_name_that_it_had() {
    let file = "    - source: csv
      id: in
      time: { field: t, format: epoch_ms }
      with: { path: rows.csv }
";
    let was = |name: &str| if name.is_empty() { String::new() } else { format!("      was: {name}\n") };
    let chains = |source: &str, names: [&str; 3], earlier: [&str; 3], window: &str| {
        let [rows, counts, win] = names;
        let [was_rows, was_counts, was_win] = earlier.map(was);
        format!(
            "  {rows}:
{source}{was_rows}    - sink: kafka
      with: {{ topic: copy }}
  {counts}:
    - from: {rows}.in
{was_counts}    - window: count-by-key
      id: {win}
{was_win}{window}    - sink: kafka
      with: {{ topic: counts }}
"
        )
    };
    let names = ["rows", "counts", "win"];
    let renames = [
        (["lines", "counts", "win"], ["rows", "", ""]),
        (["rows", "totals", "win"], ["", "counts", ""]),
        (["rows", "counts", "all"], ["", "", "win"]),
        (["rows", "totals", "all"], ["", "counts", "win"]),
        (["rows", "totals", "all"], ["", "", "counts.win"]),
        (["lines", "totals", "all"], ["rows", "counts", "win"]),
    ];
    let window = "      with: { key: k, size: 1h, zero_fill: seen }\n";
    let sent = "      repartition: true\n      with: { key: k, size: 1h }\n";
    for (source, window) in [(SOURCE, window), (file, "      with: { key: k, size: 1h }\n"), (SOURCE, sent)] {
        for (renamed, earlier) in renames {
            let job = Job::new();
            let add = |ids: std::ops::Range<i64>| {
                job.write(&rows(ids.clone(), 10));
                job.file("rows.csv", &csv(0..ids.end));
            };
            add(0..5);
            let end = if source == file { End::Once } else { End::Stopped };
            job.runs(&chains(source, names, ["", "", ""], window), end);
            add(5..8);
            let after = chains(source, renamed, earlier, window);
            job.runs(&after, end);
            add(8..9);
            job.runs(&after, End::Once);
            let of = format!("{source}{after}");
            let counts = job.counts("counts");
            assert_eq!(counts.get(&(0, "a".to_owned())), Some(&9), "{of}: {counts:?}");
            let copied = if source == file { job.copies() } else { job.ids("copy") };
            assert_eq!(copied, (0..9).collect::<Vec<_>>(), "{of}");
        }
    }
}

/// A window whose name changes without `was` is another one, and what it held is not lost without a word.
#[test]
fn a_window_that_is_renamed_without_was_is_refused() {
    let job = Job::new();
    job.write(&rows(0..5, 10));
    job.runs(&counting("size: 1h"), End::Stopped);
    let renamed = counting("size: 1h").replace("id: win", "id: all");
    let refused = job.run(&renamed, End::Once).unwrap_err();
    assert!(refused.contains("which the file does not have") && refused.contains("say `was:`"), "{refused}");
    // By either of its names its state can be given up.
    let shorter = counting("size: 30m").replace("id: win", "id: all\n      was: win");
    for name in ["counts.win", "counts.all"] {
        let mut job = Job::new();
        job.write(&rows(0..5, 10));
        job.runs(&counting("size: 1h"), End::Stopped);
        assert!(job.run(&shorter, End::Once).is_err());
        job.reset = vec![name.to_owned()];
        job.runs(&shorter, End::Once);
        assert_eq!(job.counts("counts"), BTreeMap::from([((0, "a".to_owned()), 5)]), "{name}");
    }
}

/// A chain of which nothing is kept says so, where it has written before.
#[test]
fn a_chain_that_begins_anew_says_so() {
    let chains = |name: &str, source: &str| {
        format!(
            "  {name}:
{source}    - sink: kafka
      with: {{ topic: copy }}
"
        )
    };
    let file = "    - source: csv\n      with: { path: rows.csv }\n";
    for (source, shown) in [(SOURCE, "topic `in`"), (file, "rows.csv")] {
        let job = Job::new();
        job.write(&rows(0..5, 10));
        job.file("rows.csv", &csv(0..5));
        let begins = |name: &str| {
            let told = job.runs(&chains(name, source), End::Once);
            told.into_iter().filter(|notice| notice.starts_with("BeginsAnew")).collect::<Vec<_>>()
        };
        assert!(begins("rows").is_empty(), "it is new");
        assert!(begins("rows").is_empty(), "it goes on");
        let expected = format!(
            "BeginsAnew {{ chain: \"lines\", source: \"{shown}\", before: [], start: Earliest, written: \"copy\" }}"
        );
        assert_eq!(begins("lines"), [expected]);
        assert!(begins("lines").is_empty(), "it goes on");
        assert_eq!(job.topic("copy").len(), 10, "{shown}");
    }
}

#[test]
fn another_spelling_that_is_another_source_is_told_with_what_was_read_before() {
    let job = Job::new();
    job.file("rows.csv", &csv(0..5));
    let chains = |path: &str| {
        format!(
            "  rows:\n    - source: csv\n      with: {{ path: {path} }}\n    - sink: kafka\n      with: {{ topic: copy }}\n"
        )
    };
    let told = |path: &str| {
        let told = job.runs(&chains(path), End::Once);
        told.into_iter().filter(|notice| notice.starts_with("BeginsAnew")).collect::<Vec<_>>()
    };
    assert!(told("rows.csv").is_empty(), "it is new");
    let expected = "BeginsAnew { chain: \"rows\", source: \"files\", before: [\"rows.csv\"], start: Earliest, written: \"copy\" }";
    assert_eq!(told("\"*.csv\""), [expected]);
    assert!(told("[rows.csv]").is_empty(), "a list goes on where a pattern stood");
    assert!(told("rows.csv").is_empty(), "its place was kept");
}
