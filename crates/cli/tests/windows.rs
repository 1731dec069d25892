//! Windows as an editor writes them, on the manual clock: late rows and rows that cannot be used go where the
//! file says, long windows give updates, sessions end by themselves, and the same records give the same
//! windows live and replayed.

#![allow(clippy::panic, clippy::unwrap_used)] // a test fails by panicking

use std::path::Path;
use std::time::Duration;

use pipectl as _;
use pipectl_framework::clock::said;
use pipectl_framework::metrics::Balance;
use pipectl_framework::testing::{Graph, START};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);

/// A chain `count`: a feed of `user`, `at` and `amount`, with `source` beside its `with:`, a window, and more
/// chains behind.
fn graph(source: &str, window: &str, more: &str) -> Graph {
    let yaml = format!(
        "name: test
pipelines:
  count:
    - source: generate
      {source}
      with: {{ count: 1, fields: {{ user: {{ values: [a] }}, at: {{ values: [a] }}, amount: {{ sequence: true }} }} }}
{window}
    - sink: stdout
  all:                                      # keeps every field of the feed
    - from: count.generate
    - sink: stdout
{more}"
    );
    Graph::start(&yaml, Path::new("."), &[]).unwrap_or_else(|problems| panic!("{problems}\n{yaml}"))
}

fn row(user: &str, at: i64, amount: i64) -> Value {
    json!({ "user": user, "at": (START + at).to_string(), "amount": amount })
}

/// Rows without the window's bounds; those as seconds since the start.
fn results(graph: &Graph) -> Vec<Value> {
    let mut rows = graph.rows("count.stdout").unwrap();
    for row in &mut rows {
        for bound in ["window_start", "window_end"] {
            row[bound] = json!((row[bound].as_i64().unwrap() - START) as f64 / 1000.0);
        }
    }
    rows
}

fn brief(graph: &Graph) -> Vec<String> {
    results(graph)
        .into_iter()
        .map(|row| {
            let cells: Vec<String> =
                row.as_object().unwrap().values().map(|cell| cell.to_string().replace('"', "")).collect();
            cells.join(" ")
        })
        .collect()
}

#[test]
fn the_time_of_a_row_stands_in_its_fields_and_late_rows_go_on() {
    let mut graph = graph(
        "time: { field: at, format: epoch_ms }",
        "    - window: count-by-key\n      with: { key: user, size: 10s, lateness: 5s }",
        "  too-late:\n    - from: count.count-by-key.late\n    - sink: stdout\n",
    );
    graph.feed("count.generate", &[row("a", 0, 1), row("b", 12_000, 1)]).unwrap();
    graph.feed("count.generate", &[row("a", 9999, 1)]).unwrap();
    assert_eq!(brief(&graph), ["0.0 10.0 a 1", "0.0 10.0 a 2"], "late within the lateness: given again");
    graph.feed("count.generate", &[row("c", 15_000, 1), row("late", 9999, 7)]).unwrap();
    assert!(brief(&graph).is_empty());
    let late = graph.rows("too-late.stdout").unwrap();
    assert_eq!((late.len(), &late[0]["user"]), (1, &json!("late")));
    let balance = graph.finish().unwrap();
    assert_eq!(brief(&graph), ["10.0 20.0 b 1", "10.0 20.0 c 1"]);
    assert_eq!((balance["count.count-by-key"].late, balance["count.count-by-key"].rows_out), (1, 4));
    assert!(balance.values().all(Balance::holds), "{balance:?}");
}

#[test]
fn a_time_that_is_none_or_too_far_is_the_steps_to_deal_with() {
    let mut graph = graph(
        "time: { field: at, format: epoch_ms }\n      on_error: dead_letter",
        "    - window: count\n      on_error: dead_letter\n      with: { size: 10s, max_skew: 1h }",
        "  no-time:\n    - from: count.generate.dead\n    - sink: stdout\n\
         \x20 too-far:\n    - from: count.count.dead\n    - sink: stdout\n",
    );
    let rows = [
        row("a", 0, 1),
        json!({ "user": "b", "at": "", "amount": 1 }),
        json!({ "user": "c", "at": "soon", "amount": 1 }),
        row("d", 3_700_000, 1),
        row("e", 253_402_300_799_000 - START, 1),
        row("f", 1000, 1),
    ];
    graph.feed("count.generate", &rows).unwrap();
    let reasons = |sink: &str| -> Vec<String> {
        graph.rows(sink).unwrap().iter().map(|row| row["reason"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(reasons("no-time.stdout"), ["`at` is not a time: \"\"", "`at` is not a time: \"soon\""]);
    assert_eq!(
        reasons("too-far.stdout"),
        [
            format!("its time is more than `max_skew` in the future: {}", said(START + 3_700_000)),
            "its time is more than `max_skew` in the future: 9999-12-31T23:59:59Z".to_owned()
        ]
    );
    graph.advance(Duration::from_secs(20));
    assert_eq!(brief(&graph), ["0.0 10.0 2"], "time goes on without them");
    let balance = graph.finish().unwrap();
    assert_eq!((balance["count.generate"].dead, balance["count.count"].dead), (2, 2));
    assert!(balance.values().all(Balance::holds), "{balance:?}");
}

#[test]
fn a_row_that_cannot_be_used_fails_the_run_where_nothing_else_is_said() {
    let mut graph = graph("time: { field: at }", "    - window: count\n      with: { size: 10s }", "");
    graph.feed("count.generate", &[json!({ "user": "a", "at": "2026-02-30", "amount": 1 })]).unwrap();
    let error = graph.finish().unwrap_err();
    assert!(error.contains("`at` is not a time: \"2026-02-30\""), "{error}");
}

#[test]
fn a_long_window_gives_what_it_has_each_second() {
    let mut graph = graph(
        "",
        "    - window: sum\n      with: { key: user, field: amount, size: 1h, emit: updates, every: 1s }",
        "",
    );
    graph.feed("count.generate", &[row("a", 0, 1), row("b", 0, 2)]).unwrap();
    assert_eq!(brief(&graph), ["0.0 3600.0 a 1 true", "0.0 3600.0 b 2 true"]);
    graph.feed("count.generate", &[row("a", 0, 5)]).unwrap();
    assert!(brief(&graph).is_empty(), "a second has not passed");
    graph.advance(SECOND);
    assert_eq!(brief(&graph), ["0.0 3600.0 a 6 true", "0.0 3600.0 b 2 true"]);
    graph.advance(10 * SECOND);
    assert!(brief(&graph).is_empty(), "nothing has changed");
    graph.advance(Duration::from_secs(3600));
    assert_eq!(brief(&graph), ["0.0 3600.0 a 6 false", "0.0 3600.0 b 2 false"]);
}

#[test]
fn a_session_ends_when_its_key_is_silent() {
    let mut graph = graph("", "    - window: count-by-key\n      with: { key: user, gap: 5s }", "");
    graph.feed("count.generate", &[row("a", 0, 1), row("b", 0, 1)]).unwrap();
    graph.advance(3 * SECOND);
    graph.feed("count.generate", &[row("a", 0, 1)]).unwrap();
    graph.advance(4 * SECOND);
    let given: Vec<Value> = results(&graph).into_iter().map(|r| json!([r["key"], r["count"]])).collect();
    assert_eq!(given, [json!(["b", 1])]);
    graph.advance(4 * SECOND);
    let given: Vec<Value> = results(&graph).into_iter().map(|r| json!([r["key"], r["count"]])).collect();
    assert_eq!(given, [json!(["a", 2])]);
}

#[test]
fn several_fields_make_a_key_and_several_aggregates_share_it() {
    let mut graph = graph(
        "",
        "    - window: aggregates\n      with: { key: [user, at], size: 10s, columns: { n: count, total: { sum: { field: amount } } } }",
        "",
    );
    let row = |user: &str, at: &str, amount: i64| json!({ "user": user, "at": at, "amount": amount });
    let rows = [row("a", "x", 1), row("ax", "", 2), row("a", "x", 4), row("", "x", 5)];
    graph.feed("count.generate", &rows).unwrap();
    graph.finish().unwrap();
    let given: Vec<Value> =
        results(&graph).into_iter().map(|r| json!([r["user"], r["at"], r["n"], r["total"]])).collect();
    assert_eq!(given, [json!(["a", "x", 2, 5]), json!(["ax", "", 1, 2]), json!(["", "x", 1, 5])]);
}

#[test]
fn what_has_no_room_is_the_steps_to_deal_with() {
    let mut keys = graph(
        "",
        "    - window: count-by-key\n      on_error: skip\n      with: { key: user, size: 10s, max_keys: 1 }",
        "",
    );
    keys.feed("count.generate", &[row("a", 0, 1), row("b", 0, 1), row("a", 0, 1)]).unwrap();
    let balance = keys.finish().unwrap();
    assert_eq!(brief(&keys), ["0.0 10.0 a 2"]);
    assert_eq!(balance["count.count-by-key"].dead, 1);
    // Many rows of known keys are counted at once, and the one behind them is still found.
    let mut many = graph(
        "time: { field: at, format: epoch_ms }",
        "    - window: count-by-key\n      on_error: dead_letter\n      with: { key: user, size: 10s, max_keys: 2 }",
        "  refused:\n    - from: count.count-by-key.dead\n    - sink: stdout\n",
    );
    many.feed("count.generate", &[row("a", 0, 1), row("b", 0, 1)]).unwrap();
    let mut rows: Vec<Value> = (0..900).map(|i| row(if i % 2 == 0 { "a" } else { "b" }, i * 30, i)).collect();
    rows[850] = row("c", 850 * 30, 850);
    many.feed("count.generate", &rows).unwrap();
    let refused = many.rows("refused.stdout").unwrap();
    assert_eq!((refused.len(), &refused[0]["offset"]), (1, &json!(852)), "{refused:?}");
    many.finish().unwrap();
    assert_eq!(
        brief(&many),
        [
            "0.0 10.0 a 168",
            "0.0 10.0 b 168",
            "10.0 20.0 a 167",
            "10.0 20.0 b 166",
            "20.0 30.0 a 115",
            "20.0 30.0 b 117"
        ]
    );
    let mut state = graph(
        "",
        "    - window: count-by-key\n      on_error: skip\n      with: { key: user, size: 10s, max_state: 1KiB }",
        "",
    );
    let many: Vec<Value> = (0..1000).map(|i| row(&format!("user-{i}"), 0, 1)).collect();
    state.feed("count.generate", &many).unwrap();
    state.feed("count.generate", &[row("a", 0, 1)]).unwrap();
    state.advance(Duration::from_secs(15));
    state.feed("count.generate", &[row("b", 0, 1)]).unwrap();
    let balance = state.finish().unwrap();
    assert_eq!(balance["count.count-by-key"].dead, 1, "the batch that fills it is taken, the next is not");
    let last = brief(&state).pop().unwrap();
    assert_eq!(last, "10.0 20.0 b 1", "there is room again when the window has closed");
    assert!(balance.values().all(Balance::holds), "{balance:?}");
}

/// All rows at once, and each when it is due, with the clock going on between.
#[test]
fn a_replay_gives_what_the_live_rows_gave() {
    for window in [
        "count-by-key\n      with: { key: user, size: 10s, slide: 4s, out_of_orderness: 2s }",
        "count-by-key\n      with: { key: user, size: 3s, zero_fill: seen }",
        "sum\n      with: { key: user, field: amount, gap: 2s, out_of_orderness: 1s }",
        "max\n      with: { key: user, field: amount, size: 9s, slide: 3s }",
    ] {
        // A seed of its own for times that step back now and then.
        let mut seed = 7_u64;
        let rows: Vec<Value> = (0..500)
            .map(|i| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let back = if seed >> 60 == 0 { 1500 } else { 0 };
                row(&format!("u{}", (seed >> 40) % 5), i * 100 - back, (seed >> 50) as i64)
            })
            .collect();
        let run = |cut: usize, live: bool| {
            let mut graph =
                graph("time: { field: at, format: epoch_ms }", &format!("    - window: {window}"), "");
            let mut given = Vec::new();
            for rows in rows.chunks(cut) {
                graph.feed("count.generate", rows).unwrap();
                if live {
                    graph.advance(Duration::from_millis(100));
                }
                given.append(&mut graph.rows("count.stdout").unwrap());
            }
            let balance = graph.finish().unwrap();
            given.append(&mut graph.rows("count.stdout").unwrap());
            (serde_json::to_string(&given).unwrap(), balance["count.generate"].rows_out)
        };
        let live = run(1, true);
        assert!(live.0.len() > 1000, "{window} gave nothing");
        assert_eq!(live, run(500, false), "{window}");
        assert_eq!(live, run(37, false), "{window}");
    }
}
