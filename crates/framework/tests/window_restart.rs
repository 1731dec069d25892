//! Windows whose partitions come from another worker, some of them with rows that have to be read again
//! first.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub, dead_code)] // a test fails by panicking

mod support;

use std::sync::Arc;
use std::time::Duration;

use arrow_array::{RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use pipectl_framework::batch::{Batch, Origin, Partition};
use pipectl_framework::plugin::Input;
use pipectl_framework::window::{Given, Restored, Shape, WindowOperator, WindowOutput, WindowSettings};
use support::aggregates::Count;
use support::bench::text;

/// An operator over two partitions that another worker had.
struct Worker {
    operator: WindowOperator,
    out: WindowOutput,
    wall: i64,
}

impl Worker {
    fn new(settings: WindowSettings) -> Self {
        let schema = Arc::new(Schema::new(vec![Field::new("value", DataType::Utf8, true)]));
        let input = Input { schema, given_by: "the test".into() };
        let settings = WindowSettings { key: vec!["value".into()], ..settings };
        let operator = WindowOperator::new(settings, Box::new(Count { invertible: true }), &input).unwrap();
        Self { operator, out: WindowOutput::default(), wall: 0 }
    }

    /// A partition whose rows before `pos` were dealt with, by a worker whose time had come to `watermark`.
    fn assign(&mut self, index: i32, pos: i64, watermark: i64, closed_until: i64) -> Partition {
        let partition = Partition::new("t", index);
        let restored = Restored {
            pos,
            watermark: Some(watermark),
            closed_until: Some(closed_until),
            ..Restored::default()
        };
        self.operator.assign(partition.clone(), Some(restored), Duration::ZERO);
        partition
    }

    fn push(&mut self, partition: &Partition, offset: i64, replay: bool, (time, key): (i64, &str)) {
        let schema = Arc::new(Schema::new(vec![Field::new("value", DataType::Utf8, true)]));
        let columns = RecordBatch::try_new(schema, vec![Arc::new(StringArray::from(vec![key]))]).unwrap();
        let origin = Origin { partition: partition.clone(), offsets: vec![offset].into(), replay };
        let batch = Batch::new(columns, vec![time].into(), origin).unwrap();
        self.operator.push(&batch, Duration::ZERO, self.wall, &mut self.out).unwrap();
        self.operator.observe(partition, batch.times(), Duration::ZERO, self.wall);
        self.tick();
    }

    fn tick(&mut self) {
        self.operator.tick(Duration::ZERO, self.wall, &mut self.out).unwrap();
    }

    fn given(&mut self) -> Vec<String> {
        std::mem::take(&mut self.out).results.iter().map(text).collect()
    }
}

fn with_lateness(lateness: i64) -> WindowSettings {
    let mut settings = WindowSettings::tumbling(10).unwrap();
    settings.lateness = lateness;
    settings
}

#[test]
fn a_window_is_given_again_only_with_the_rows_that_are_awaited() {
    let mut worker = Worker::new(with_lateness(20));
    let (here, awaited) = (worker.assign(0, 7, 33, 30), worker.assign(1, 5, 33, 30));
    worker.operator.expect_replay(&awaited, Duration::ZERO);
    worker.push(&here, 7, false, (25, "a"));
    assert!(worker.given().is_empty() && worker.operator.holds_back(), "the other's rows are not back");
    worker.push(&awaited, 4, true, (22, "b"));
    worker.operator.is_replayed(&awaited, Duration::ZERO);
    worker.tick();
    assert_eq!(worker.given(), ["20..30 a=1 b=1"]);
}

#[test]
fn a_window_that_waits_is_given_once_though_another_row_comes_for_it() {
    let mut worker = Worker::new(with_lateness(20));
    let (here, awaited) = (worker.assign(0, 7, 33, 30), worker.assign(1, 5, 33, 30));
    worker.operator.expect_replay(&awaited, Duration::ZERO);
    worker.push(&here, 7, false, (25, "a"));
    worker.operator.is_replayed(&awaited, Duration::ZERO);
    // Both in one turn: nothing is given between them.
    let mut out = std::mem::take(&mut worker.out);
    assert!(out.results.is_empty());
    worker.push(&awaited, 5, false, (26, "b"));
    out.results.append(&mut worker.out.results);
    let given: Vec<String> = out.results.iter().map(text).collect();
    assert_eq!(given, ["20..30 a=1 b=1"]);
}

#[test]
fn a_partition_without_a_row_has_no_window_given_again() {
    let given = |offset, until| Some(Given { offset, until });
    let mut worker = Worker::new(with_lateness(0));
    let (here, empty) = (Partition::new("t", 0), Partition::new("t", 1));
    for (partition, pos, given) in [(&here, 1, given(1, 20)), (&empty, 0, given(0, 10))] {
        let restored = Restored { pos, given, ..Restored::default() };
        worker.operator.assign(partition.clone(), Some(restored), Duration::ZERO);
    }
    worker.operator.expect_replay(&here, Duration::ZERO);
    worker.push(&here, 0, true, (15, "a"));
    worker.operator.finish(&mut worker.out).unwrap();
    assert!(worker.given().is_empty(), "another worker gave it");
}

#[test]
fn a_window_that_waits_to_be_given_again_keeps_its_rows_though_time_goes_on() {
    let mut worker = Worker::new(with_lateness(20));
    let (here, awaited) = (worker.assign(0, 7, 33, 30), worker.assign(1, 5, 60, 60));
    worker.operator.expect_replay(&awaited, Duration::ZERO);
    worker.push(&here, 7, false, (25, "a"));
    worker.push(&here, 8, false, (70, "a"));
    assert_eq!(worker.operator.watermark(), Some(60), "its lateness is over");
    worker.operator.is_replayed(&awaited, Duration::ZERO);
    worker.tick();
    assert_eq!(worker.given(), ["20..30 a=1"]);
}

#[test]
fn rows_of_a_session_are_back_when_the_partition_that_is_still_awaited_goes_away() {
    let settings = WindowSettings { shape: Shape::Session { gap: 10 }, ..with_lateness(0) };
    let mut worker = Worker::new(settings);
    let (here, awaited) = (worker.assign(0, 5, 3, 3), worker.assign(1, 5, 3, 3));
    worker.operator.expect_replay(&here, Duration::ZERO);
    worker.operator.expect_replay(&awaited, Duration::ZERO);
    worker.push(&here, 4, true, (3, "a"));
    worker.operator.is_replayed(&here, Duration::ZERO);
    worker.operator.revoke(&awaited);
    worker.push(&here, 5, false, (40, "b"));
    assert_eq!(worker.given(), ["3..13 a=1"]);
    assert_eq!(worker.operator.in_flight_rows(), 1, "that of the session that is open");
    worker.operator.revoke(&here);
    assert_eq!(worker.operator.in_flight_rows(), 0);
}

#[test]
fn a_row_that_was_late_for_a_session_stays_late_over_a_restart() {
    let rows = [(100, "a"), (85, "a"), (92, "a")];
    let settings = || WindowSettings { shape: Shape::Session { gap: 10 }, ..with_lateness(0) };
    let mut worker = Worker::new(settings());
    let partition = worker.assign(0, 0, 0, 0);
    for (offset, row) in (0..).zip(rows) {
        worker.push(&partition, offset, false, row);
    }
    assert_eq!(worker.out.late.len(), 1, "a session of its own was over");
    let low = worker.operator.low(&partition, 3);
    let (restored, left_out) = worker.operator.note(&partition, 3, low, 1024);
    assert_eq!((low, restored.to_string().as_str(), left_out), (0, "p3;w100;c100;l1", 0));

    let mut next = Worker::new(settings());
    next.operator.assign(partition.clone(), Some(restored), Duration::ZERO);
    next.operator.expect_replay(&partition, Duration::ZERO);
    for (offset, row) in (0..).zip(rows) {
        next.push(&partition, offset, true, row);
    }
    next.push(&partition, 3, false, (200, "b"));
    assert_eq!(next.given(), ["92..110 a=2"]);
}

#[test]
fn too_many_late_rows_want_the_state_saved_and_a_position_names_the_newest() {
    let settings = WindowSettings { shape: Shape::Session { gap: 10 }, ..with_lateness(0) };
    let mut worker = Worker::new(settings);
    let partition = worker.assign(0, 0, 0, 0);
    worker.push(&partition, 0, false, (1000, "a"));
    for offset in 1..=100 {
        worker.push(&partition, 10 * offset, false, (5, "a"));
    }
    assert!(!worker.operator.wants_saving(&partition, 1024));
    for offset in 101..=1000 {
        worker.push(&partition, 10 * offset, false, (5, "a"));
    }
    assert!(worker.operator.wants_saving(&partition, 1024));
    let (restored, left_out) = worker.operator.note(&partition, 10_001, 0, 1024);
    let text = restored.to_string();
    assert!(text.len() < 1100 && text.contains(",10,10,10"));
    assert_eq!((restored.late.last(), restored.late.len() + left_out), (Some(&10_000), 1000));
}

/// A worker that takes up where another stands that has read `rows`, and has read again what it asks for, or
/// all from `from` on.
fn taken_up(
    mut old: Worker,
    settings: WindowSettings,
    rows: &[(i64, &str)],
    from: Option<i64>,
    wall: i64,
) -> Worker {
    let partition = Partition::new("t", 0);
    let pos = rows.len() as i64;
    let low = from.unwrap_or_else(|| old.operator.low(&partition, pos));
    let (restored, _) = old.operator.note(&partition, pos, low, 1024);
    let mut next = Worker::new(settings);
    next.wall = wall;
    next.operator.assign(partition.clone(), Some(restored), Duration::ZERO);
    next.operator.expect_replay(&partition, Duration::ZERO);
    for (offset, row) in (0..).zip(rows).skip(low as usize) {
        next.push(&partition, offset, true, *row);
    }
    next.operator.is_replayed(&partition, Duration::ZERO);
    next.tick();
    assert!(next.out.rejected.is_empty() && next.out.late.is_empty(), "it was said before");
    next
}

fn read(settings: WindowSettings, rows: &[(i64, &str)]) -> (Worker, Partition) {
    let mut worker = Worker::new(settings);
    let partition = Partition::new("t", 0);
    worker.operator.assign(partition.clone(), None, Duration::ZERO);
    for (offset, row) in (0..).zip(rows) {
        worker.push(&partition, offset, false, *row);
    }
    (worker, partition)
}

#[test]
fn after_a_restart_the_same_keys_have_room_as_before() {
    let settings = || WindowSettings { max_keys: 2, out_of_orderness: 20, ..with_lateness(0) };
    // `y` goes with its window, so there is room for `w` when it is read again: but it was for `v`.
    let rows = [(25, "x"), (1, "y"), (2, "z"), (35, "w"), (26, "v")];
    let (mut worker, partition) = read(settings(), &rows);
    assert_eq!(worker.out.rejected.rows().len(), 2, "z and w");
    assert_eq!(worker.given(), ["0..10 y=1"]);
    let mut worker = taken_up(worker, settings(), &rows, None, 0);
    worker.push(&partition, 5, false, (60, "x"));
    assert_eq!(worker.given(), ["20..30 v=1 x=1"]);
}

/// Two workers had room for two keys each; the one that goes on holds them all, and room for no other.
#[test]
fn keys_that_two_workers_had_room_for_stay_when_others_are_forgotten() {
    let mut worker = Worker::new(WindowSettings { max_keys: 2, ..with_lateness(0) });
    let (one, other) = (worker.assign(0, 2, 5, 0), worker.assign(1, 2, 5, 0));
    for (partition, rows) in [(&one, [(1, "a"), (11, "b")]), (&other, [(12, "c"), (13, "d")])] {
        (0..).zip(rows).for_each(|(offset, row)| worker.push(partition, offset, true, row));
    }
    worker.push(&one, 2, false, (14, "b"));
    worker.push(&other, 2, false, (14, "c"));
    assert_eq!(worker.given(), ["0..10 a=1"]);
    worker.push(&one, 3, false, (15, "e"));
    assert_eq!(worker.out.rejected.rows().len(), 1, "e");
    worker.push(&one, 4, false, (25, "b"));
    worker.push(&other, 3, false, (25, "d"));
    assert_eq!(worker.given(), ["10..20 b=2 c=2 d=1"]);
}

/// Sessions that were over for good are read again for another window's sake: they give their room back.
#[test]
fn after_a_restart_there_is_room_for_as_many_sessions_as_before() {
    let settings = || WindowSettings { shape: Shape::Session { gap: 10 }, max_keys: 2, ..with_lateness(0) };
    // Time comes to 30 with a row that has no room; the two sessions before it are over then.
    let rows = [(0, "x"), (1, "y"), (30, "x"), (60, "x"), (61, "y")];
    let (mut worker, partition) = read(settings(), &rows);
    assert_eq!(worker.out.rejected.rows().len(), 1);
    assert_eq!(worker.given(), ["0..10 x=1", "1..11 y=1"]);
    let mut worker = taken_up(worker, settings(), &rows, Some(0), 0);
    worker.push(&partition, 5, false, (75, "x"));
    assert_eq!(worker.out.rejected.rows().len(), 1, "two sessions are open");
}

#[test]
fn after_a_restart_a_key_whose_sessions_are_over_gives_its_room_to_another() {
    let settings = || WindowSettings { shape: Shape::Session { gap: 10 }, max_keys: 2, ..with_lateness(0) };
    let rows = [(0, "x"), (1, "y"), (30, "y"), (60, "y")];
    let (worker, partition) = read(settings(), &rows);
    let mut worker = taken_up(worker, settings(), &rows, Some(0), 0);
    worker.push(&partition, 4, false, (61, "z"));
    assert_eq!(worker.out.rejected.rows().len(), 0, "x is over");
}

#[test]
fn keys_of_a_partition_that_went_to_another_worker_give_their_room_back() {
    let mut worker = Worker::new(WindowSettings { max_keys: 2, ..with_lateness(0) });
    let (gone, kept) = (worker.assign(0, 0, 5, 0), worker.assign(1, 0, 5, 0));
    worker.push(&gone, 0, false, (6, "a"));
    worker.push(&kept, 0, false, (7, "b"));
    worker.operator.revoke(&gone);
    worker.push(&kept, 1, false, (8, "c"));
    assert_eq!(worker.out.rejected.rows().len(), 0, "nobody needs a any more");
}

#[test]
fn a_row_that_was_too_far_in_the_future_does_not_count_once_it_is_not() {
    for shape in [Shape::Session { gap: 10 }, with_lateness(0).shape] {
        let settings = || WindowSettings { shape, max_skew: 1000, ..with_lateness(0) };
        let rows = [(0, "a"), (5000, "b")];
        let (worker, partition) = read(settings(), &rows);
        assert_eq!(worker.out.rejected.rows().len(), 1);
        let mut worker = taken_up(worker, settings(), &rows, None, 10_000);
        assert_eq!(worker.operator.watermark(), Some(0));
        worker.push(&partition, 2, false, (3, "a"));
        worker.push(&partition, 3, false, (9000, "c"));
        let end = if shape == with_lateness(0).shape { 10 } else { 13 };
        assert_eq!(worker.given(), [format!("0..{end} a=2")]);
        assert!(worker.out.late.is_empty());
    }
}

#[test]
fn a_row_that_was_late_stays_late_where_another_window_reads_it_again() {
    let settings = || WindowSettings { shape: Shape::Session { gap: 10 }, ..with_lateness(0) };
    let rows = [(100, "z"), (85, "a"), (92, "a"), (101, "a"), (110, "a"), (119, "a"), (125, "a")];
    let (mut worker, partition) = read(settings(), &rows);
    assert_eq!(worker.out.late.len(), 1);
    assert_eq!(worker.given(), ["100..110 z=1"]);
    assert_eq!(worker.operator.low(&partition, 7), 2, "its own first row");
    let (worker, _) = read(settings(), &rows);
    let mut worker = taken_up(worker, settings(), &rows, Some(0), 0);
    worker.push(&partition, 7, false, (300, "b"));
    assert_eq!(worker.given(), ["92..135 a=5"]);
}

#[test]
fn updates_do_not_wake_while_rows_are_read_again() {
    let settings = || WindowSettings { every: Some(Duration::from_secs(1)), ..with_lateness(0) };
    let mut worker = Worker::new(settings());
    let (here, awaited) = (worker.assign(0, 7, 3, 0), worker.assign(1, 5, 3, 0));
    worker.operator.expect_replay(&awaited, Duration::ZERO);
    worker.push(&here, 7, false, (5, "a"));
    assert_eq!(worker.operator.next_wakeup(Duration::ZERO), None);
    worker.operator.is_replayed(&awaited, Duration::ZERO);
    assert_eq!(worker.operator.next_wakeup(Duration::ZERO), Some(Duration::ZERO));
}
