//! A file that was edited between two runs: what a window has kept goes to that window alone.

use std::collections::BTreeMap;

use super::{End, Job, SOURCE, counting, rows};

/// An edited file does not take over what another window has kept.
#[test]
fn state_goes_to_no_other_window() {
    let sum = |field: &str| {
        counting("size: 1h").replace(
            "count-by-key\n      id: win\n      with: { key: k,",
            &format!("sum\n      id: win\n      with: {{ field: {field}, key: k,"),
        )
    };
    let field = |chains: String| chains.replace("n: text", "m: integer");
    let edits = [
        (counting("size: 1h"), counting("size: 1h").replace("key: k", "key: n"), "its key is another one"),
        (counting("size: 1h"), counting("size: 30m"), "its windows are others"),
        (counting("size: 1h"), counting("gap: 1h"), "its windows are others"),
        (field(sum("m")), field(sum("id")), "it computes something else"),
        (counting("size: 1h"), sum("id"), "it computes something else"),
    ];
    for (before, after, why) in edits {
        let job = Job::new();
        job.write(&rows(0..5, 10));
        job.runs(&before, End::Stopped);
        let refused = job.run(&after, End::Once).unwrap_err();
        assert!(refused.contains("the window `counts.win` is not the one that wrote its state"), "{refused}");
        assert!(refused.contains(why) && refused.contains("--reset-state counts.win"), "{refused}");
        assert!(job.try_topic("counts").is_none_or(|rows| rows.is_empty()), "nothing was read");
        // What may be changed on a running pipeline.
        job.runs(&before.replace("key:", "out_of_orderness: 1m, lateness: 1h, key:"), End::Once);
    }
}

/// The changelog has the state of an open window: it goes to no window that computes something else, whatever
/// its bytes would be there.
#[test]
fn a_state_in_the_changelog_goes_to_no_window_that_computes_something_else() {
    let window = |(name, with): &(&str, &str)| {
        counting("size: 1h").replace("n: text", "m: integer").replace(
            "count-by-key\n      id: win\n      with: {",
            &format!("{name}\n      id: win\n      with: {{ {with}"),
        )
    };
    let columns = |columns: &str| format!("columns: {{ {columns} }},");
    let (max, avg) = ("max: { max: { field: m } }", "avg: { avg: { field: m } }");
    let several = [[max, avg].join(", "), [avg, max].join(", "), max.to_owned()].map(|text| columns(&text));
    let windows = [
        ("sum", "field: m,"),
        ("max", "field: m,"),
        ("avg", "field: m,"),
        ("aggregates", &several[0]),
        ("aggregates", &several[1]),
        ("aggregates", &several[2]),
        ("count-distinct", "field: m,"),
        ("quantiles", "field: m,"),
        ("top-k", "field: m, k: 2,"),
    ];
    for before in &windows {
        let mut job = Job::new();
        // So the rows of the window are not read again.
        job.replay_rows = Some(1);
        job.write(&rows(0..5, 10));
        job.runs(&window(before), End::Stopped);
        assert!(job.has_topic("t.counts.changelog"), "{before:?}: its state is elsewhere");
        for after in windows.iter().filter(|after| *after != before) {
            let refused = job.run(&window(after), End::Once).unwrap_err();
            let named = "the window `counts.win` is not the one that wrote its state";
            for said in [named, "it computes something else", "--reset-state counts.win"] {
                assert!(refused.contains(said), "{before:?} to {after:?}: {refused}");
            }
        }
        job.write(&rows(5..6, 20));
        job.runs(&window(before), End::Once);
        let whole = Job::new();
        whole.write(&rows(0..5, 10));
        whole.write(&rows(5..6, 20));
        whole.runs(&window(before), End::Once);
        assert_eq!(
            job.topic("counts"),
            whole.topic("counts"),
            "{before:?}: what was refused has changed nothing"
        );
    }
}

/// What is given up is told, and what can be read again counts.
#[test]
fn a_state_that_is_reset_begins_with_what_can_be_read_again() {
    let mut job = Job::new();
    job.write(&rows(0..5, 10));
    job.runs(&counting("size: 1h"), End::Stopped);
    job.reset = vec!["counts.win".to_owned()];
    job.write(&rows(5..8, 50));
    let told = job.runs(&counting("size: 30m"), End::Once);
    let reset = r#"StateReset { chain: "counts", step: "counts.win" }"#;
    assert!(told.iter().any(|notice| notice == reset), "{told:?}");
    let expected = BTreeMap::from([((0, "a".to_owned()), 5), ((30, "a".to_owned()), 3)]);
    assert_eq!(job.counts("counts"), expected);
    // It stays in the command line: nothing is given up twice.
    let told = job.runs(&counting("size: 30m"), End::Once);
    assert!(!told.iter().any(|notice| notice == reset), "{told:?}");
    assert_eq!(job.counts("counts"), expected);
}

/// Windows of one chain keep what is their own, in whatever order they stand.
#[test]
fn a_window_above_another_takes_nothing_of_it() {
    let branch = |name: &str, window: &str| {
        format!(
            "  {name}:
    - from: rows.in
    - window: count-by-key
      with: {{ key: k, {window} }}
    - sink: kafka
      with: {{ topic: {name} }}
"
        )
    };
    let head = format!("  rows:\n{SOURCE}    - sink: kafka\n      with: {{ topic: copy }}\n");
    let job = Job::new();
    job.write(&rows(0..5, 10));
    job.runs(&format!("{head}{}", branch("old", "size: 1h")), End::Stopped);
    job.write(&rows(5..8, 20));
    let both = format!("{head}{}{}", branch("new", "size: 10m"), branch("old", "size: 1h"));
    let told = job.runs(&both, End::Once);
    let begins = r#"WindowBegins { chain: "rows", step: "new.count-by-key" }"#;
    assert!(told.iter().any(|notice| notice == begins), "{told:?}");
    assert_eq!(job.counts("old"), BTreeMap::from([((0, "a".to_owned()), 8)]));
    let refused = job.run(&head, End::Once).unwrap_err();
    assert!(refused.contains("which the file does not have"), "{refused}");
    let reversed = format!("{head}{}{}", branch("old", "size: 1h"), branch("new", "size: 10m"));
    job.write(&rows(8..9, 20));
    job.runs(&reversed, End::Once);
    assert_eq!(job.counts("old"), BTreeMap::from([((0, "a".to_owned()), 9)]));
    assert_eq!(job.ids("copy"), (0..9).collect::<Vec<_>>());
}
