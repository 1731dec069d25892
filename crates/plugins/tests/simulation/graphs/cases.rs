//! Shapes in which rows were lost or doubled, each as small as it can be.

use super::input::{Record, row};
use super::play::{Edit, How, Phase, Play};
use crate::scenario::START;
use pipectl_framework::testing::simulation::Random;

const FIELDS: &str =
    "{ id: integer, k: text, g: text, f: text, v: text, a: integer, b: integer, c: integer, d: integer }";

/// A row, or what is none, at a time in milliseconds.
fn at(file: bool, id: usize, time: i64, f: &str, v: &str) -> Record {
    row(file, id, "k0", "g0", f, v, START + time)
}

fn broken(id: usize, time: i64) -> Record {
    Record { key: "k0".to_owned(), value: format!("broken {id}"), time: START + time }
}

const ONCE: Phase = Phase { how: How::Once, faults: false, spelling: 0, edit: Edit::None };
const STOPPED: Phase =
    Phase { how: How::Stopped { workers: 1, length: 1000 }, faults: false, spelling: 0, edit: Edit::None };

fn yaml(chains: &str) -> String {
    format!("name: sim\nconnections: {{ kafka: {{ brokers: '127.0.0.1:1' }} }}\npipelines:\n{chains}")
}

/// A topic that grows from phase to phase, and the file's chains.
fn over_a_topic(chains: &str, portions: Vec<Vec<Record>>, phases: Vec<Phase>) -> Play {
    let topics = vec![("in0".to_owned(), 1, portions)];
    let chains = chains.replace("FIELDS", FIELDS);
    Play { yaml: yaml(&chains), topics, files: Vec::new(), phases, stretch: 1, replay: None }
}

fn over_a_file(chains: &str, portions: Vec<Vec<Record>>, phases: Vec<Phase>) -> Play {
    let files = vec![("rows0.csv".to_owned(), portions)];
    Play { yaml: yaml(chains), topics: Vec::new(), files, phases, stretch: 1, replay: None }
}

/// Plays it, and wants nothing wrong.
#[track_caller]
fn holds(play: &Play) {
    let report =
        super::report(play, 0, Random::new(0), std::env::var_os("PIPECTL_SIMULATION_SEED").is_some());
    assert!(report.violations.is_empty(), "{}\n{}", report.shown, report.violations.join("\n"));
}

const COPY_BESIDE_A_WINDOW: &str = "  rows:
    - source: kafka
      id: s
      with: { topic: in0, format: { json: { fields: FIELDS } } }
    - sink: kafka
      with: { topic: copy, key: k, partitions: 1 }
  counts:
    - from: rows.s
    - window: count-by-key
      id: w
      with: { key: k, size: 1h, idle: 10m }
    - sink: kafka
      with: { topic: counts, partitions: 1 }
  late:
    - from: counts.w.late
    - sink: kafka
      with: { topic: late, partitions: 1 }
";

#[test]
fn rows_that_are_read_again_reach_no_copy() {
    let rows = (0..10).map(|id| at(false, id, 10 * id as i64, "x", "1")).collect();
    holds(&over_a_topic(COPY_BESIDE_A_WINDOW, vec![rows], vec![STOPPED, STOPPED]));
}

#[test]
fn rows_of_a_file_that_are_read_again_reach_no_copy() {
    let rows = (0..100).map(|id| at(true, id, 10 * id as i64, "x", "1")).collect();
    let chains = COPY_BESIDE_A_WINDOW.replace("source: kafka", "source: csv").replace(
        "with: { topic: in0, format: { json: { fields: FIELDS } } }",
        "time: { field: t, format: epoch_ms }\n      with: { path: rows0.csv, rate: 50/s }",
    );
    holds(&over_a_file(&chains, vec![rows], vec![STOPPED]));
}

#[test]
fn rows_that_are_read_again_reach_no_repartition() {
    let copy = "    - sink: kafka\n      with: { topic: copy, key: k, partitions: 1 }\n  counts:\n    - from: rows.s\n";
    let again = "  again:
    - from: rows.s
    - window: count-by-key
      id: w
      repartition: { partitions: 2 }
      with: { key: g, size: 1h, idle: 10m }
    - sink: kafka
      with: { topic: again, partitions: 1 }
  again-late:
    - from: again.w.late
    - sink: kafka
      with: { topic: again-late, partitions: 1 }
";
    let chains = COPY_BESIDE_A_WINDOW.replace(copy, "").replace("counts.w", "rows.w") + again;
    let rows = (0..10).map(|id| at(false, id, 10 * id as i64, "x", "1")).collect();
    holds(&over_a_topic(&chains, vec![rows], vec![STOPPED, STOPPED]));
}

#[test]
fn the_end_of_the_data_closes_no_session() {
    let chains = COPY_BESIDE_A_WINDOW.replace("size: 1h", "gap: 1s");
    let portion =
        |first: usize| (first..first + 3).map(|id| at(false, id, 100 * id as i64, "x", "1")).collect();
    holds(&over_a_topic(&chains, vec![portion(0), portion(3), portion(6)], vec![ONCE, ONCE]));
}

#[test]
fn the_end_of_the_data_closes_no_window_that_takes_late_rows() {
    let chains = COPY_BESIDE_A_WINDOW.replace("size: 1h", "size: 1h, lateness: 2h");
    let portion =
        |first: usize| (first..first + 3).map(|id| at(false, id, 100 * id as i64, "x", "1")).collect();
    holds(&over_a_topic(&chains, vec![portion(0), portion(3), portion(6)], vec![ONCE, ONCE]));
}

const A_FILE: &str = "  rows:
    - source: csv
      id: s
      time: { field: t, format: epoch_ms }
      with: { path: rows0.csv }
    - transform: filter
      with: { field: f, equals: x }
    - window: count-by-key
      id: w
      with: { key: k, size: 1s, idle: 10m }
    - sink: kafka
      with: { topic: counts, partitions: 1 }
  copy:
    - from: rows.s
    - sink: kafka
      with: { topic: copy, partitions: 1 }
  late:
    - from: rows.w.late
    - sink: kafka
      with: { topic: late, partitions: 1 }
";

#[test]
fn a_file_has_one_position_however_its_path_is_written() {
    let portion =
        |first: usize| (first..first + 3).map(|id| at(true, id, 1000 * id as i64, "x", "1")).collect();
    let respelt = |spelling| Phase { spelling, ..ONCE };
    holds(&over_a_file(
        A_FILE,
        vec![portion(0), portion(3), portion(6), portion(9)],
        vec![ONCE, respelt(1), respelt(2)],
    ));
}

#[test]
fn a_row_that_is_filtered_out_moves_time_at_any_pace() {
    let rows = [(0, 9000, "y"), (1, 2000, "x"), (2, 2000, "x")];
    let rows: Vec<Record> = rows.into_iter().map(|(id, time, f)| at(true, id, time, f, "1")).collect();
    holds(&over_a_file(
        &A_FILE.replace("path: rows0.csv", "path: rows0.csv, rate: 20/s"),
        vec![rows.clone()],
        vec![ONCE],
    ));
    holds(&over_a_file(A_FILE, vec![rows], vec![ONCE]));
}

/// A row that `cast` rejects has moved time as one that is filtered out.
#[test]
fn a_row_that_is_rejected_moves_time_at_any_pace() {
    let rows = [(0, 9000, "none"), (1, 2000, "1"), (2, 2000, "1"), (3, 9500, "1")];
    let rows: Vec<Record> = rows.into_iter().map(|(id, time, v)| at(true, id, time, "x", v)).collect();
    for rate in ["", ", rate: 20/s"] {
        let skipping = A_FILE
            .replace("transform: filter", "transform: cast\n      id: c\n      on_error: skip")
            .replace("field: f, equals: x", "fields: { v: integer }")
            .replace("path: rows0.csv", &format!("path: rows0.csv{rate}"));
        let letters = skipping.replace("on_error: skip", "on_error: dead_letter")
            + "  dead:\n    - from: rows.c.dead\n    - sink: kafka\n      with: { topic: dead, partitions: 1 }\n";
        for chains in [skipping, letters] {
            holds(&over_a_file(&chains, vec![rows.clone()], vec![ONCE]));
        }
    }
}

const THROUGH_A_REPARTITION: &str = "  file:
    - source: csv
      id: s
      time: { field: t, format: epoch_ms }
      with: { path: rows0.csv }
    - sink: kafka
      with: { topic: rows, partitions: 1 }
  rows:
    - source: kafka
      id: s
      with: { topic: rows, format: { json: { fields: FIELDS } } }
    - transform: filter
      with: { field: f, equals: x }
    - window: count-by-key
      id: w
      repartition: { partitions: PARTITIONS }
      with: { key: k, SHAPE, idle: 10m }
    - sink: kafka
      with: { topic: counts, partitions: 1 }
  late:
    - from: rows.w.late
    - sink: kafka
      with: { topic: late, partitions: 1 }
";

/// Rows that are left out, and rows of keys that go to other partitions, have moved time before one comes
/// that is out of order.
#[test]
fn time_moves_at_any_pace_behind_a_repartition() {
    // What `filter` leaves out, `cast` rejects.
    let row = |id: usize, time, k: &str, f: &str| {
        let v = if f == "x" { "1" } else { "none" };
        row(true, id, k, "g0", f, v, START + time)
    };
    let left_out = || vec![row(0, 9000, "k0", "y"), row(1, 2000, "k0", "x"), row(2, 2000, "k0", "x")];
    let of_others = || {
        let others = ["k1", "k2", "k3", "k4", "k5"].into_iter().enumerate();
        let others = others.map(|(id, k)| row(id, 9000, k, "x"));
        others.chain([row(5, 2000, "k0", "x"), row(6, 2000, "k0", "x"), row(7, 20_000, "k0", "x")]).collect()
    };
    // With several partitions, which of them is read first decides where windows overlap.
    let shapes = [(1, "size: 1s"), (4, "size: 1s"), (1, "size: 2s, slide: 1s"), (1, "gap: 1s")];
    let filter = "transform: filter\n      with: { field: f, equals: x }";
    let cast = "transform: cast\n      on_error: skip\n      with: { fields: { v: integer } }";
    for (partitions, shape) in shapes {
        for (rows, step) in [(left_out(), filter), (left_out(), cast), (of_others(), filter)] {
            for rate in ["", ", rate: 5/s"] {
                let chains = THROUGH_A_REPARTITION
                    .replace(filter, step)
                    .replace("PARTITIONS", &partitions.to_string())
                    .replace("SHAPE", shape)
                    .replace("FIELDS", "{ f: text, k: text, v: text }")
                    .replace("rows0.csv", &format!("rows0.csv{rate}"));
                holds(&over_a_file(&chains, vec![rows.clone()], vec![ONCE]));
            }
        }
    }
}

#[test]
fn a_window_behind_dead_letters_survives_a_stop() {
    let chains = "  rows:
    - source: kafka
      id: s
      on_error: dead_letter
      with: { topic: in0, format: { json: { fields: FIELDS } } }
    - sink: kafka
      with: { topic: copy, key: k, partitions: 1 }
  dead:
    - from: rows.s.dead
    - sink: kafka
      with: { topic: dead, partitions: 1 }
  dead-counts:
    - from: rows.s.dead
    - window: count
      id: w
      with: { size: 1h, idle: 10m }
    - sink: kafka
      with: { topic: dead-counts, partitions: 1 }
  dead-late:
    - from: dead-counts.w.late
    - sink: kafka
      with: { topic: dead-late, partitions: 1 }
";
    let portion = |first: usize| {
        (first..first + 4)
            .map(|id| {
                if id % 2 == 0 { broken(id, 10 * id as i64) } else { at(false, id, 10 * id as i64, "x", "1") }
            })
            .collect()
    };
    holds(&over_a_topic(chains, vec![portion(0), portion(4)], vec![STOPPED]));
}

#[test]
fn a_position_does_not_go_back_to_what_was_saved_once_no_window_is_open() {
    let chains = COPY_BESIDE_A_WINDOW.replace("size: 1h, idle: 10m", "size: 1s, idle: 3s");
    let row = |id: usize, time| at(false, id, time, "x", "1");
    let portions = vec![
        (0..10).map(|id| row(id, 10 * id as i64)).collect(),
        vec![row(10, 5000), row(11, 5100)],
        vec![row(12, 9000), row(13, 9100)],
    ];
    let long = Phase { how: How::Stopped { workers: 1, length: 8000 }, ..STOPPED };
    let play = over_a_topic(&chains, portions, vec![STOPPED, STOPPED, STOPPED, long]);
    holds(&Play { replay: Some((5, 60_000)), ..play });
}

/// Workers that share a window: the zeros of a key come from the one that counts it, and once.
#[test]
fn named_keys_are_given_once_by_workers_that_share_a_window() {
    let chains = "  counts:
    - source: kafka
      id: s
      with: { topic: in0, format: { json: { fields: FIELDS } } }
    - window: count-by-key
      id: w
      repartition: { partitions: 4 }
      with: { key: g, size: 1s, zero_fill: [g0, g1, g2, g3, nobody], idle: 10m }
    - sink: kafka
      with: { topic: counts, partitions: 1 }
  late:
    - from: counts.w.late
    - sink: kafka
      with: { topic: late, partitions: 1 }
";
    let key = |id: usize| ["g0", "g1", "g2", "g3", "g0", "g1"][id % 6];
    let rows = |from: usize| {
        (from..from + 60).map(|id| row(false, id, "k0", key(id), "x", "1", START + 170 * id as i64))
    };
    let shared = |workers| Phase { how: How::Stopped { workers, length: 4000 }, ..STOPPED };
    let portions = vec![rows(0).collect(), rows(60).collect(), rows(120).collect()];
    holds(&over_a_topic(chains, portions, vec![shared(3), shared(2)]));
}
