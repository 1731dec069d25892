//! Cases of the engines that this operator is measured against, restated: each says where it comes from, and
//! what is different here. Where those sum values, the rows are counted.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub)] // a test fails by panicking

mod support;

use std::time::Duration;

use pipectl_framework::batch::Partition;
use pipectl_framework::time::{Watermark, WindowGrid};
use pipectl_framework::window::{Shape, WindowSettings};
use support::bench::Bench;

fn grid(size: i64, slide: i64) -> WindowSettings {
    let mut settings = WindowSettings::tumbling(1).unwrap();
    settings.shape = Shape::Grid(WindowGrid::new(size, slide, 0).unwrap());
    settings
}

fn session(gap: i64, lateness: i64) -> WindowSettings {
    WindowSettings { shape: Shape::Session { gap }, lateness, ..grid(1, 1) }
}

/// A batch of rows for each time, as Spark's stream of RDDs.
fn spark(settings: WindowSettings, input: &[&[&str]]) -> Vec<String> {
    let mut bench = Bench::new(settings);
    for (t, keys) in input.iter().enumerate() {
        let rows: Vec<(i64, &str)> = keys.iter().map(|key| (t as i64, *key)).collect();
        bench.push(&rows);
    }
    bench.finish()
}

/// Spark `WindowOperationsSuite`, "basic reduction", "key already in window and new value added into window"
/// and "new key added".
#[test]
fn spark_reduce_by_key_and_window() {
    assert_eq!(spark(grid(1, 1), &[&["a", "a"]]), ["0..1 a=2"]);
    assert_eq!(spark(grid(2, 1), &[&["a"], &["a"]]), ["-1..1 a=1", "0..2 a=2", "1..3 a=1"]);
    assert_eq!(spark(grid(2, 1), &[&["a"], &["a", "b"]]), ["-1..1 a=1", "0..2 a=2 b=1", "1..3 a=1 b=1"]);
}

/// "key removed from window": Spark goes on giving empty windows; here a window without a row gives nothing,
/// unless zeros are asked for.
#[test]
fn spark_key_removed_from_window() {
    let input: &[&[&str]] = &[&["a"], &["a"], &[], &["b"]];
    assert_eq!(spark(grid(2, 1), input), ["-1..1 a=1", "0..2 a=2", "1..3 a=1", "2..4 b=1", "3..5 b=1"]);
}

/// "larger slide time": windows of 4, each 2.
#[test]
fn spark_larger_slide_time() {
    let input: &[&[&str]] = &[&["a"], &["a"], &["b"], &["a", "c"], &[], &["d"]];
    assert_eq!(
        spark(grid(4, 2), input),
        ["-2..2 a=2", "0..4 a=3 b=1 c=1", "2..6 a=1 b=1 c=1 d=1", "4..8 d=1"]
    );
}

/// "reduceByKeyAndWindow with inverse and filter function": a key whose count is 0 is left out. That is what
/// happens without zero fill, though sums are taken back pane by pane.
#[test]
fn spark_reduce_with_inverse_and_filter() {
    let input: &[&[&str]] = &[&["a"], &["a", "b"], &["a", "b", "c"], &["a", "b"], &["a"], &[], &["a"]];
    let expected = [
        "-1..1 a=1",
        "0..2 a=2 b=1",
        "1..3 a=2 b=2 c=1",
        "2..4 a=2 b=2 c=1",
        "3..5 a=2 b=1",
        "4..6 a=1",
        "5..7 a=1",
        "6..8 a=1",
    ];
    assert_eq!(spark(grid(2, 1), input), expected);
}

/// "countByWindow" and "countByValueAndWindow".
#[test]
fn spark_count_by_value_and_window() {
    let input: &[&[&str]] = &[&["a"], &["b", "b"], &["a", "b"]];
    assert_eq!(spark(grid(2, 1), input), ["-1..1 a=1", "0..2 a=1 b=2", "1..3 a=1 b=3", "2..4 a=1 b=1"]);
}

/// Kafka Streams `TimeWindowsTest`: hopping, barely overlapping and tumbling windows of one record.
#[test]
fn kafka_streams_windows_for_a_record() {
    let windows = |size, advance, t| {
        let mut bench = Bench::new(grid(size, advance));
        bench.push(&[(t, "k")]);
        bench.finish()
    };
    assert_eq!(windows(12, 5, 21), ["10..22 k=1", "15..27 k=1", "20..32 k=1"]);
    assert_eq!(windows(6, 5, 7), ["5..11 k=1"]);
    assert_eq!(windows(12, 12, 21), ["12..24 k=1"]);
    assert!(WindowGrid::new(0, 0, 0).is_none() && WindowGrid::new(10, -1, 0).is_none());
    assert!(WindowGrid::new(10, 11, 0).is_none(), "the advance may not be longer than the window");
}

/// `KStreamWindowAggregateTest`, "shouldLogAndMeterWhenSkippingExpiredWindow": windows of 10 each 5, a grace
/// of 90.
#[test]
fn kafka_streams_an_expired_window_takes_no_record() {
    let mut settings = grid(10, 5);
    settings.lateness = 90;
    let mut bench = Bench::new(settings);
    bench.push(&[(100, "k")]);
    for t in 0..=6 {
        bench.push(&[(t, "k")]);
    }
    assert_eq!(bench.given(), ["5..15 k=1", "5..15 k=2"]);
    assert_eq!(bench.late, 5, "0 to 4 are only in 0..10, which ended 90 before 100");
}

/// `SuppressScenarioTest`, "shouldSupportFinalResultsForTimeWindows": windows of 2, a grace of 1. Suppressed
/// results come once, at the end of the grace; here the first comes at the window's end, and a late record
/// gives the whole again: the last one is the same.
#[test]
fn kafka_streams_final_results() {
    let mut settings = grid(2, 2);
    settings.lateness = 1;
    let mut bench = Bench::new(settings);
    for t in [0, 1, 2, 1, 0] {
        bench.push(&[(t, "k1")]);
    }
    assert_eq!(bench.given(), ["0..2 k1=2", "0..2 k1=3", "0..2 k1=4"]);
    bench.push(&[(5, "k1"), (0, "k1")]);
    assert_eq!((bench.given(), bench.late), (vec!["2..4 k1=1".to_owned()], 1));
}

/// `ResetPartitionTimeIntegrationTest`: the partition's time outlives a restart, so a record that was too
/// late before is too late after.
#[test]
fn kafka_streams_partition_time_outlives_a_restart() {
    let mut bench = Bench::new(grid(10, 10));
    bench.push(&[(5, "a"), (25, "a")]);
    assert_eq!(bench.given(), ["0..10 a=1"]);
    bench.restart(grid(10, 10), &[(25, "a")]);
    assert_eq!(bench.operator.watermark(), Some(25));
    bench.push(&[(7, "late"), (26, "b")]);
    assert_eq!((bench.finish(), bench.late), (vec!["20..30 a=1 b=1".to_owned()], 1));
}

/// Flink `BoundedOutOfOrdernessWatermarksTest`. Flink's watermark is one less, and a window closes at its end
/// less one: the same.
#[test]
fn flink_bounded_out_of_orderness() {
    let partition = Partition::new("t", 0);
    let mut watermark = Watermark::new(20, Duration::from_secs(1));
    watermark.assign(partition.clone(), None, Duration::ZERO);
    assert_eq!(watermark.advance(Duration::ZERO), None, "nothing before the first event");
    for (time, expected) in [(-100, -120), (5, -15), (2, -15), (12, -8), (11, -8), (1_000_000, 999_980)] {
        watermark.observe(&partition, time, Duration::ZERO);
        assert_eq!(watermark.advance(Duration::ZERO), Some(expected));
    }
}

/// Flink `WatermarksWithIdlenessTest`: idle after the timeout, active again with a record, and idle only once
/// with nothing more to read.
#[test]
fn flink_idleness() {
    let (slow, fast) = (Partition::new("t", 0), Partition::new("t", 1));
    let seconds = Duration::from_secs;
    let mut watermark = Watermark::new(0, seconds(10));
    for partition in [&slow, &fast] {
        watermark.assign(partition.clone(), None, seconds(0));
        watermark.observe(partition, 1000, seconds(0));
    }
    watermark.caught_up(&slow, true, seconds(0));
    watermark.observe(&fast, 60_000, seconds(5));
    assert_eq!(watermark.advance(seconds(9)), Some(1000), "not idle yet");
    assert_eq!(watermark.advance(seconds(10)), Some(60_000), "idle");
    watermark.caught_up(&slow, false, seconds(11));
    watermark.observe(&slow, 61_000, seconds(11));
    watermark.observe(&fast, 80_000, seconds(11));
    assert_eq!(watermark.advance(seconds(11)), Some(61_000), "active again");
    assert_eq!(watermark.advance(seconds(60)), Some(61_000), "never idle while there is something to read");
}

/// Flink `WindowOperatorTest`, "testSessionWindows": a gap of 3000; keys by their letter.
#[test]
fn flink_session_windows() {
    let mut bench = Bench::new(WindowSettings { out_of_orderness: 10_000, ..session(3000, 0) });
    bench.push(&[(0, "b"), (1000, "b"), (2500, "b"), (10, "a"), (1000, "a")]);
    bench.push(&[(5501, "b"), (6000, "b"), (6000, "b"), (6050, "b")]);
    bench.push(&[(15_000, "b"), (15_000, "b")]);
    assert_eq!(bench.given(), ["10..4000 a=2"]);
    assert_eq!(bench.finish(), ["0..5500 b=3", "5501..9050 b=4", "15000..18000 b=2"]);
}

/// "testMergingWindows": a row between two sessions makes them one.
#[test]
fn flink_a_row_between_two_sessions_joins_them() {
    let mut bench = Bench::new(WindowSettings { out_of_orderness: 10_000, ..session(10, 0) });
    bench.push(&[(0, "a"), (18, "a"), (9, "b"), (9, "a"), (40, "a")]);
    assert_eq!(bench.finish(), ["9..19 b=1", "0..28 a=3", "40..50 a=1"]);
}

/// "testDropDueToLatenessSessionZeroLateness" and its side output: a row whose session would be over is late.
/// Where a row hangs together with a session that was given, Flink begins another; here the session grows,
/// and is given again, whole.
#[test]
fn flink_late_rows_of_sessions() {
    let mut bench = Bench::new(session(3000, 0));
    bench.push(&[(1000, "b"), (2000, "b"), (4500, "b"), (8600, "x")]);
    assert_eq!(bench.given(), ["1000..7500 b=3"]);
    bench.push(&[(7000, "b")]);
    assert_eq!((bench.given(), bench.late), (vec![], 0));
    bench.push(&[(10_000, "x")]);
    assert_eq!(bench.given(), ["1000..10000 b=4"]);
    bench.push(&[(500, "b"), (7000, "c")]);
    assert_eq!((bench.finish(), bench.late), (vec!["8600..13000 x=2".to_owned()], 2));
}

/// "testLateness" with sessions: within the lateness a late row gives the whole session again.
#[test]
fn flink_lateness_of_sessions() {
    let mut bench = Bench::new(session(10, 50));
    bench.push(&[(0, "a"), (30, "b")]);
    assert_eq!(bench.given(), ["0..10 a=1"]);
    bench.push(&[(5, "a")]);
    assert_eq!(bench.given(), ["0..15 a=2"]);
    bench.push(&[(100, "b"), (8, "a")]);
    assert_eq!((bench.given(), bench.late), (vec!["30..40 b=1".to_owned()], 1));
}

/// Beam `ReduceFnRunnerTest` and Flink's continuous trigger: results of an open window come early, each
/// `every`, and only where it has changed.
#[test]
fn updates_come_while_a_window_is_open() {
    let mut bench =
        Bench::new(WindowSettings { every: Some(Duration::from_secs(1)), ..grid(60_000, 60_000) });
    bench.push(&[(0, "a")]);
    assert_eq!(bench.given(), ["0..60000 a=1 early"]);
    bench.push(&[(10, "a"), (20, "b")]);
    bench.wait(999);
    assert!(bench.given().is_empty(), "not yet");
    assert_eq!(bench.wakeup(), Some(Duration::from_secs(1)));
    bench.wait(1);
    assert_eq!(bench.given(), ["0..60000 a=2 b=1 early"]);
    bench.wait(5000);
    assert!(bench.given().is_empty(), "nothing has changed");
    bench.push(&[(59_999, "a"), (60_000, "c")]);
    assert_eq!(bench.given(), ["0..60000 a=3 b=1", "60000..120000 c=1 early"]);
}

#[test]
fn updates_of_overlapping_windows_and_of_sessions() {
    let every = Some(Duration::from_secs(1));
    let mut bench = Bench::new(WindowSettings { every, ..grid(20, 10) });
    bench.push(&[(5, "a"), (12, "a")]);
    assert_eq!(bench.given(), ["-10..10 a=1", "0..20 a=2 early", "10..30 a=1 early"]);
    let mut bench = Bench::new(WindowSettings { every, ..session(10, 0) });
    bench.push(&[(0, "a"), (5, "b")]);
    assert_eq!(bench.given(), ["0..10 a=1 early", "5..15 b=1 early"]);
    bench.push(&[(6, "a")]);
    bench.wait(1000);
    assert_eq!(bench.given(), ["0..16 a=2 early"]);
    assert_eq!(bench.finish(), ["5..15 b=1", "0..16 a=2"]);
}

#[test]
fn a_restart_gives_no_session_twice_and_loses_none() {
    let settings = || WindowSettings { out_of_orderness: 5, ..session(10, 0) };
    let mut bench = Bench::new(settings());
    bench.push(&[(0, "a"), (3, "b"), (12, "b"), (16, "c")]);
    assert_eq!(bench.given(), ["0..10 a=1"]);
    // `a` was given, but is kept: a row at 9 would still belong to it.
    bench.restart(settings(), &[(0, "a"), (3, "b"), (12, "b"), (16, "c")]);
    bench.push(&[(20, "b"), (50, "d")]);
    assert_eq!(bench.given(), ["16..26 c=1", "3..30 b=3"]);
    bench.restart(settings(), &[(50, "d")]);
    assert_eq!(bench.finish(), ["50..60 d=1"]);
}
