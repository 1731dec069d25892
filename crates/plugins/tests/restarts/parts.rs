//! One run over all rows, and three over its parts, one after another: the last results are the same, and so
//! are the rows that were late. Rows that a step before the window leaves out or rejects have moved time,
//! whichever run has read them.

use std::collections::{BTreeMap, BTreeSet};

use pipectl_framework::testing::START;
use serde_json::{Value, json};

use super::dice::Dice;
use super::{End, Job};

/// A row of topic `in` with its time.
type Timed = (Value, i64);

const SECOND: i64 = 1000;

/// A row that goes on, or one that both steps of [`LEAVING_OUT`] leave out; `seconds` after the start.
fn row(id: i64, key: &str, goes_on: bool, seconds: i64) -> Timed {
    let (f, n) = if goes_on { ("x", "1") } else { ("y", "none") };
    (json!({ "id": id, "k": key, "f": f, "n": n }), START + seconds * SECOND)
}

/// Steps that leave the same rows out.
const LEAVING_OUT: [&str; 2] = [
    "    - transform: filter\n      with: { field: f, equals: x }\n",
    "    - transform: cast\n      on_error: skip\n      with: { fields: { n: integer } }\n",
];

/// Reads a topic; `n` is of this type there.
fn source(topic: &str, n: &str) -> String {
    let fields = format!("{{ id: integer, k: text, f: text, n: {n} }}");
    format!(
        "    - source: kafka\n      with: {{ topic: {topic}, format: {{ json: {{ fields: {fields} }} }} }}\n"
    )
}

/// How rows come to the window: its chains, with `step` before it.
fn shapes(step: &str, window: &str) -> [(&'static str, String); 5] {
    let window = |cut: &str| {
        format!(
            "    - window: count-by-key
      id: win
{cut}      with: {{ key: k, {window} }}
    - sink: kafka
      with: {{ topic: counts, partitions: 1 }}
  late:
    - from: counts.win.late
    - sink: kafka
      with: {{ topic: late, partitions: 1 }}
"
        )
    };
    let (from_in, from_mid) = (source("in", "text"), source("mid", "text"));
    let from_cast = source("mid", if step.contains("cast") { "integer" } else { "text" });
    let to_mid = "    - sink: kafka\n      with: { topic: mid, partitions: 1 }\n";
    let cut = |partitions: u32| window(&format!("      repartition: {{ partitions: {partitions} }}\n"));
    [
        ("over the topic", format!("  counts:\n{from_in}{step}{}", window(""))),
        (
            "left out before a topic",
            format!("  rows:\n{from_in}{step}{to_mid}  counts:\n{from_cast}{}", window("")),
        ),
        (
            "left out behind a topic",
            format!("  rows:\n{from_in}{to_mid}  counts:\n{from_mid}{step}{}", window("")),
        ),
        ("behind a repartition", format!("  counts:\n{from_in}{step}{}", cut(1))),
        ("behind a repartition of several partitions", format!("  counts:\n{from_in}{step}{}", cut(3))),
    ]
}

/// What is left in the end.
#[derive(Debug, PartialEq)]
struct Left {
    /// The last result of each window and key that has rows.
    counts: BTreeMap<(i64, i64, String), i64>,
    late: Vec<i64>,
}

impl Left {
    fn of(job: &Job) -> Self {
        let mut counts = BTreeMap::new();
        for row in job.topic("counts") {
            let number = |name: &str| row[name].as_i64().unwrap();
            let pane = (
                (number("window_start") - START) / SECOND,
                (number("window_end") - START) / SECOND,
                row["key"].as_str().unwrap().to_owned(),
            );
            counts.insert(pane, number("count"));
        }
        // A zero of `zero_fill` is no row: which keys were known when a window was given depends on the end
        // of the data.
        counts.retain(|_, count| *count > 0);
        Self { counts, late: job.ids("late") }
    }

    /// The same without the sessions that have become part of a longer one since.
    fn sessions(mut self) -> Self {
        let all: Vec<_> = self.counts.keys().cloned().collect();
        let longer = |(start, end, key): &(i64, i64, String)| {
            all.iter().any(|(s, e, k)| k == key && s <= start && end <= e && (s, e) != (start, end))
        };
        self.counts.retain(|pane, _| !longer(pane));
        self
    }
}

/// Runs over the parts, one after another.
fn left(chains: &str, parts: &[&[Timed]]) -> Left {
    let job = Job::new();
    for part in parts {
        job.write(part);
        job.runs(chains, End::Once);
    }
    if chains.contains("gap:") { Left::of(&job).sessions() } else { Left::of(&job) }
}

/// Rows of two minutes, some of them out of order, some of which are left out.
fn rows(dice: &mut Dice) -> Vec<Timed> {
    let mut now = 0;
    let row = |id: i64| {
        now += dice.roll(5) as i64;
        let goes_on = dice.roll(3) > 0;
        // Those that are left out run ahead, the others stay behind: so much is late because of them.
        let seconds = if goes_on { now - dice.roll(10) as i64 } else { now + dice.roll(10) as i64 };
        row(id, ["a", "b", "c"][dice.roll(3) as usize], goes_on, seconds.max(0))
    };
    (0..60).map(row).collect()
}

#[test]
fn one_run_and_three_over_its_parts_end_in_the_same_last_results() {
    let windows = [
        "size: 5s",
        "size: 5s, lateness: 3s",
        "size: 5s, out_of_orderness: 2s, zero_fill: seen",
        "size: 10s, slide: 5s",
        "gap: 3s",
    ];
    for (number, window) in windows.into_iter().enumerate() {
        let mut dice = Dice(number as u64);
        let rows = rows(&mut dice);
        let (first, second) = (dice.roll(30) as usize, 30 + dice.roll(30) as usize);
        let parts = [&rows[..first], &rows[first..second], &rows[second..]];
        let mut late = BTreeSet::new();
        for step in LEAVING_OUT {
            for (shape, chains) in shapes(step, window) {
                // Which partition is read first decides where windows overlap: see docs/windows.md.
                if shape.contains("several") && (window.contains("slide") || window.contains("gap")) {
                    continue;
                }
                let once = left(&chains, &[&rows]);
                assert!(once.counts.len() > 5, "{shape}, {window}: {once:?}");
                assert_eq!(left(&chains, &parts), once, "{shape}, {window}, {step}");
                // What does not come to the topic moves no time there.
                if shape != "left out before a topic" {
                    late.insert(once.late);
                }
            }
        }
        let lost: Vec<usize> = late.iter().map(Vec::len).collect();
        assert!(lost.len() == 1 && lost[0] > 0, "each shape has the same late rows: {window}, {late:?}");
    }
}

/// The rows that were counted twice at full speed, and once with a late one in three runs.
#[test]
fn a_row_that_is_left_out_moves_time_for_the_runs_behind_it() {
    let rows = [row(0, "a", false, 9), row(1, "a", true, 2), row(2, "a", true, 2), row(3, "a", true, 9)];
    let expected = Left { counts: BTreeMap::from([((9, 10, "a".to_owned()), 1)]), late: vec![1, 2] };
    for step in LEAVING_OUT {
        for (shape, chains) in shapes(step, "size: 1s") {
            if shape == "left out before a topic" {
                continue;
            }
            for parts in [vec![&rows[..]], vec![&rows[..1], &rows[1..2], &rows[2..]]] {
                assert_eq!(left(&chains, &parts), expected, "{shape}, {step}, {} runs", parts.len());
            }
        }
    }
}
