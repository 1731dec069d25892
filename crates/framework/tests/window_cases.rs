//! Single cases of the window operator: the boundaries of time, and vectors of the system that this one takes
//! the place of.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub)] // a test fails by panicking

mod support;

use std::time::Duration;

use pipectl_framework::batch::Partition;
use pipectl_framework::time::WindowGrid;
use pipectl_framework::window::{Shape, TimeMode, WindowSettings};
use support::bench::Bench;

const YEAR_9999: i64 = 253_402_300_799_000;

fn grid(size: i64, slide: i64, offset: i64) -> WindowSettings {
    let mut settings = WindowSettings::tumbling(1).unwrap();
    settings.shape = Shape::Grid(WindowGrid::new(size, slide, offset).unwrap());
    settings
}

#[test]
fn a_window_takes_its_start_and_not_its_end() {
    let mut bench = Bench::new(grid(10, 10, 0));
    bench.push(&[(10, "a"), (19, "a"), (20, "b")]);
    assert_eq!(bench.finish(), ["10..20 a=2", "20..30 b=1"]);
}

#[test]
fn times_before_1970_fall_in_the_window_below() {
    let mut bench = Bench::new(grid(10, 10, 3));
    bench.push(&[(-18, "a"), (-17, "b"), (-8, "b"), (-7, "c")]);
    assert_eq!(bench.finish(), ["-27..-17 a=1", "-17..-7 b=2", "-7..3 c=1"]);
}

#[test]
fn a_slide_that_does_not_divide_the_size() {
    let mut bench = Bench::new(grid(10, 4, 0));
    bench.push(&[(9, "a"), (12, "a")]);
    assert_eq!(bench.finish(), ["0..10 a=1", "4..14 a=2", "8..18 a=2", "12..22 a=1"]);
}

#[test]
fn a_row_in_the_year_9999_is_rejected_and_time_goes_on_without_it() {
    let mut bench = Bench::new(grid(10, 10, 0));
    bench.push(&[(1, "a"), (YEAR_9999, "x"), (11, "b")]);
    assert_eq!((bench.given(), bench.rejected), (vec!["0..10 a=1".to_owned()], 1));
    bench.push(&[(12, "b"), (25, "c")]);
    assert_eq!((bench.finish(), bench.late), (vec!["10..20 b=2".to_owned(), "20..30 c=1".to_owned()], 0));
}

#[test]
fn an_empty_key_and_no_key_are_two_keys() {
    let mut bench = Bench::new(grid(10, 10, 0));
    bench.push_keys(&[(1, Some("")), (2, None), (3, None)]);
    assert_eq!(bench.finish(), ["0..10 =1 null=2"]);
}

#[test]
fn a_key_too_many_is_rejected_and_the_others_count() {
    let mut settings = grid(10, 10, 0);
    settings.max_keys = 2;
    let mut bench = Bench::new(settings);
    bench.push(&[(1, "a"), (2, "b"), (3, "c"), (4, "a")]);
    assert_eq!((bench.finish(), bench.rejected), (vec!["0..10 a=2 b=1".to_owned()], 1));
}

#[test]
fn keys_that_no_open_window_has_make_room_for_others() {
    let mut settings = grid(10, 10, 0);
    settings.max_keys = 3; // those of the last window are still there when the next one begins
    let mut bench = Bench::new(settings);
    for window in 0..20 {
        bench.push(&[(window * 10, &format!("k{window}")), (window * 10, "a")]);
    }
    let expected: Vec<String> = (0..20).map(|w| format!("{}..{} a=1 k{w}=1", w * 10, w * 10 + 10)).collect();
    assert_eq!((bench.finish(), bench.rejected), (expected, 0));
}

#[test]
fn a_silent_topic_goes_on_giving_zeros() {
    let mut settings = grid(1000, 1000, 0);
    settings.keep_seen = true;
    let mut bench = Bench::new(settings);
    bench.wait(5000);
    assert!(bench.given().is_empty(), "nothing before the first record");
    bench.push(&[(500, "a")]);
    bench.caught_up();
    bench.wait(900);
    assert!(bench.given().is_empty(), "not idle yet");
    bench.wait(2600);
    assert_eq!(bench.given(), ["0..1000 a=1", "1000..2000 a=0", "2000..3000 a=0"]);
    assert_eq!(bench.wakeup(), Some(Duration::from_millis(9500)));
    bench.wait(1000);
    assert_eq!(bench.given(), ["3000..4000 a=0"]);
}

#[test]
fn processing_time_never_goes_back() {
    let mut settings = grid(1000, 1000, 0);
    settings.time = TimeMode::Processing;
    let mut bench = Bench::new(settings);
    bench.wall = 10_500;
    bench.push(&[(0, "a")]);
    bench.wall = 11_000;
    bench.wait(500);
    assert_eq!(bench.given(), ["10000..11000 a=1"]);
    bench.wall -= 3_600_000;
    bench.push(&[(0, "a")]);
    bench.wait(500);
    assert!(bench.given().is_empty(), "a closed window never reopens");
    // It does not stand still either, until the clock is where it was.
    bench.wall += 1000;
    bench.wait(500);
    assert_eq!(bench.given(), ["11000..12000 a=1"]);
    bench.push(&[(0, "a")]);
    bench.wait(1000);
    assert_eq!(bench.given(), ["12000..13000 a=1"]);
    // Forward it goes with the clock.
    bench.push(&[(0, "a")]);
    bench.wall = 60_000;
    bench.push(&[(0, "a")]);
    bench.wait(1);
    assert_eq!(bench.given(), ["13000..14000 a=1"]);
    bench.wait(1000);
    assert_eq!(bench.given(), ["60000..61000 a=1"]);
}

#[test]
fn a_jump_of_half_a_century_is_not_filled_with_zeros() {
    let mut settings = grid(1000, 1000, 0);
    settings.keep_seen = true;
    settings.max_skew = i64::MAX / 2;
    let mut bench = Bench::new(settings);
    bench.push(&[(0, "a"), (1_600_000_000_000, "a")]);
    let mut windows = bench.given().len();
    while bench.wakeup().is_some_and(|at| at <= bench.now()) {
        bench.wait(0);
        let given = bench.given().len();
        assert!(given <= 1024, "{given} windows in one call");
        windows += given;
    }
    assert!(windows <= 100_002, "{windows}");
    assert_eq!(bench.finish(), ["1600000000000..1600000001000 a=1"]);
}

#[test]
fn silences_that_are_read_together_are_each_filled_with_zeros() {
    let settings = WindowSettings { keep_seen: true, max_skew: i64::MAX / 2, ..grid(1000, 1000, 0) };
    let mut bench = Bench::new(settings);
    bench.push(&[(0, "a"), (75_000_000, "a"), (150_000_000, "a")]);
    let mut windows = bench.given().len();
    while bench.wakeup().is_some_and(|at| at <= bench.now()) {
        bench.wait(0);
        windows += bench.given().len();
    }
    assert_eq!(windows + bench.finish().len(), 150_001);
}

#[test]
fn a_catch_up_gives_no_more_than_some_megabytes_at_once() {
    let mut bench = Bench::new(WindowSettings { keep_seen: true, ..grid(1000, 1000, 0) });
    let keys: Vec<String> = (0..2000).map(|key| format!("key-{key}")).collect();
    let rows: Vec<(i64, &str)> =
        keys.iter().map(|key| (0, key.as_str())).chain([(300_000, "key-0")]).collect();
    bench.push(&rows);
    let mut calls = vec![bench.given().len()];
    while bench.wakeup().is_some_and(|at| at <= bench.now()) {
        bench.wait(0);
        calls.push(bench.given().len());
    }
    assert_eq!(calls.iter().sum::<usize>(), 300);
    // A window's result takes 60 KB and more.
    assert!(calls.iter().all(|windows| *windows <= 140), "{calls:?} windows in a call");
}

/// Spark's `WindowOperationsSuite`, "reduceByKeyAndWindow with inverse function": bigger input, window 2,
/// slide 1.
#[test]
fn spark_reduce_by_key_and_window_with_inverse() {
    let input: [&[&str]; 11] = [
        &["a"],
        &["a", "b"],
        &["a", "b", "c"],
        &["a", "b"],
        &["a"],
        &[],
        &["a"],
        &["a", "b"],
        &["a", "b", "c"],
        &["a", "b"],
        &["a"],
    ];
    let expected = [
        "-1..1 a=1",
        "0..2 a=2 b=1",
        "1..3 a=2 b=2 c=1",
        "2..4 a=2 b=2 c=1",
        "3..5 a=2 b=1 c=0",
        "4..6 a=1 b=0 c=0",
        "5..7 a=1 b=0 c=0",
        "6..8 a=2 b=1 c=0",
        "7..9 a=2 b=2 c=1",
        "8..10 a=2 b=2 c=1",
        "9..11 a=2 b=1 c=0",
        "10..12 a=1 b=0 c=0",
    ];
    let mut settings = grid(2, 1, 0);
    settings.keep_seen = true;
    let mut bench = Bench::new(settings);
    for (t, keys) in input.iter().enumerate() {
        let rows: Vec<(i64, &str)> = keys.iter().map(|key| (t as i64, *key)).collect();
        bench.push(&rows);
    }
    assert_eq!(bench.finish(), expected);
}

#[test]
fn a_partition_that_is_behind_holds_the_others_until_it_is_idle() {
    let mut bench = Bench::new(grid(10, 10, 0));
    bench.operator.assign(Partition::new("t", 1), None, Duration::ZERO);
    bench.push(&[(5, "a"), (25, "a")]);
    assert!(bench.given().is_empty(), "nothing is known of the other partition");
    bench.operator.caught_up(&Partition::new("t", 1), true, bench.now());
    bench.wait(999);
    assert!(bench.given().is_empty(), "its first records may be as old");
    bench.wait(1);
    assert_eq!(bench.given(), ["0..10 a=1"]);
}
