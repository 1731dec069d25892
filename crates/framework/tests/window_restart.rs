//! Windows whose partitions come from another worker, some of them with rows that have to be read again first.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub, dead_code)] // a test fails by panicking

mod support;

use std::sync::Arc;
use std::time::Duration;

use arrow_array::{RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use pipectl_framework::batch::{Batch, Origin, Partition};
use pipectl_framework::plugin::Input;
use pipectl_framework::window::{Restored, Shape, WindowOperator, WindowOutput, WindowSettings};
use support::aggregates::Count;
use support::bench::text;

/// An operator over two partitions that another worker had.
struct Worker {
    operator: WindowOperator,
    out: WindowOutput,
}

impl Worker {
    fn new(settings: WindowSettings) -> Self {
        let schema = Arc::new(Schema::new(vec![Field::new("value", DataType::Utf8, true)]));
        let input = Input { schema, given_by: "the test".into() };
        let settings = WindowSettings { key: vec!["value".into()], ..settings };
        let operator = WindowOperator::new(settings, Box::new(Count { invertible: true }), &input).unwrap();
        Self { operator, out: WindowOutput::default() }
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
        self.operator.push(&batch, Duration::ZERO, 0, &mut self.out).unwrap();
        self.operator.observe(partition, batch.times(), Duration::ZERO, 0);
        self.tick();
    }

    fn tick(&mut self) {
        self.operator.tick(Duration::ZERO, 0, &mut self.out).unwrap();
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
