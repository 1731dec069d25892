//! Windows over a repartition topic of several partitions: which of them is read first decides nothing.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::{RecordBatch, StringArray};

use super::soak::{Number, grid, schema};
use super::{Mover, Restored, Row, WindowOperator, WindowOutput, WindowSettings};
use crate::batch::{AsRead, Batch, Origin, Partition};
use crate::clock::Millis;
use crate::plugin::{Input, fold};

const WALL: Millis = i64::MAX / 2;

/// The partition `index` of the topic.
fn partition(index: i32) -> Partition {
    Partition::new("repartitioned", index)
}

/// The channel of a partition through which the rows of the source's partition 0 come.
fn channel(of: i32) -> Partition {
    Partition::new(partition(of).to_string(), 0)
}

fn operator(restored: &dyn Fn(i32) -> Option<Restored>) -> WindowOperator {
    let input = Input { schema: schema(), given_by: "the test".into() };
    let settings = WindowSettings { key: vec!["value".into()], ..grid(1000, 1000) };
    let mut operator = WindowOperator::new(settings, fold::aggregate::<Number>("n", 0), &input).unwrap();
    for index in 0..2 {
        operator.assign_channels(partition(index), vec![channel(index)], restored(index), Duration::ZERO);
    }
    operator
}

/// Pushes a row of `time`; its partition of the source had come to `before`. Gives what had moved time, where
/// the row is late.
fn push(
    operator: &mut WindowOperator,
    of: i32,
    offset: i64,
    before: Option<Millis>,
    time: Millis,
) -> Option<Mover> {
    let value = Arc::new(StringArray::from(vec![format!("of {of}")]));
    let columns = RecordBatch::try_new(schema(), vec![value]).unwrap();
    let origin = Origin { partition: partition(of), offsets: vec![offset].into(), replay: false };
    let batch = Batch::new(columns, vec![time].into(), origin).unwrap().through(Some(channel(of)));
    let read = before.map(|before| {
        let (times, offsets) = (vec![before, time].into(), vec![offset, offset].into());
        Arc::new(AsRead { times, offsets, lines: None })
    });
    let batch = batch.of(read);
    let mut out = WindowOutput::default();
    operator.push(&batch, Duration::ZERO, WALL, &mut out).unwrap();
    let moved_by =
        out.late.first().and_then(|late| operator.lateness(late, &batch, WALL)).map(|l| l.moved_by);
    assert_eq!(moved_by.is_some(), !out.late.is_empty());
    operator.observe(&channel(of), batch.read_times(), Duration::ZERO, WALL);
    operator.saw(&channel(of), &partition(of), &batch.seen(), WALL);
    operator.tick(Duration::ZERO, WALL, &mut out).unwrap();
    moved_by
}

#[test]
fn a_row_is_late_by_what_its_own_partition_has_given() {
    for first in 0..2 {
        let mut operator = operator(&|_| None);
        // `9000` goes to one partition, and a row that is out of order to the other.
        let mut late = Vec::new();
        for index in [first, 1 - first] {
            late.extend(match index {
                0 => push(&mut operator, 0, 0, None, 9000),
                _ => push(&mut operator, 1, 0, Some(9000), 2000),
            });
        }
        let mover = match first {
            0 => Mover::Row(Row { place: "repartitioned[0]@0".to_owned(), offset: 0, time: 9000 }),
            _ => Mover::Elsewhere(9000),
        };
        assert_eq!(late, [mover], "partition {first} was read first");
    }
}

#[test]
fn a_restart_forgets_nothing_of_it_while_another_partition_lags_behind() {
    let mut before = operator(&|_| None);
    assert_eq!(push(&mut before, 1, 0, Some(9000), 2000), Some(Mover::Elsewhere(9000)));
    let notes: Vec<Restored> = (0..2)
        .map(|index| {
            let next = i64::from(index);
            let low = before.low(&partition(index), next);
            before.note(&partition(index), next, low, 1024).0
        })
        .collect();
    let mut operator = operator(&|index| notes.get(index as usize).cloned());
    // Whoever writes the topic has begun anew as well, and knows no time before its row.
    assert!(push(&mut operator, 1, 1, None, 2000).is_some());
    assert_eq!(push(&mut operator, 0, 0, None, 2000), None);
}
