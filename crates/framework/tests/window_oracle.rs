//! The window operator against a naive one that keeps every row, judges each on its own, and knows no
//! batches, panes, fragments or running sums. A million cases:
//! `PROPTEST_CASES=1000000 cargo test --release --workspace --test window_oracle`.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub)] // a test fails by panicking

mod support;

use proptest::prelude::*;
use std::collections::BTreeMap;

use support::model::{DROPPED, Given, Model, Op, Setup, Zero, run};

fn setup(gap: impl Strategy<Value = Option<i64>>) -> impl Strategy<Value = Setup> {
    (
        gap,
        (1_i64..12, 1_i64..12, -20_i64..20),
        prop_oneof![3 => Just(0_i64), 2 => 1_i64..15],
        prop_oneof![3 => Just(0_i64), 1 => 1_i64..15],
        1_usize..4,
        prop_oneof![2 => Just(Zero::Off), 2 => Just(Zero::Seen), 1 => Just(Zero::Named)],
        any::<bool>(),
    )
        .prop_map(|(gap, (a, b, offset), out_of_orderness, lateness, partitions, zero, invertible)| {
            Setup {
                gap,
                size: a.max(b),
                slide: a.min(b),
                offset,
                out_of_orderness,
                lateness,
                partitions,
                zero,
                invertible,
                max_keys: 1000,
            }
        })
}

/// Times that mostly rise, so that windows close, with steps back and jumps.
fn op() -> impl Strategy<Value = Op> {
    let step = prop_oneof![6 => 0_i64..3, 2 => -12_i64..0, 1 => 3_i64..60];
    let rows = prop::collection::vec((step, 0..=DROPPED), 1..12);
    prop_oneof![
        6 => (0_usize..4, rows, prop::collection::vec(0_usize..12, 0..3))
            .prop_map(|(partition, rows, cuts)| Op::Rows { partition, rows, cuts }),
        2 => (0_usize..4).prop_map(Op::CaughtUp),
        2 => (1_u64..40).prop_map(Op::Wait),
        1 => (0_usize..4).prop_map(Op::Save),
        1 => Just(Op::Restart),
    ]
}

fn cases() -> ProptestConfig {
    // The default of proptest, 256, says that nobody asked for another number.
    let config = ProptestConfig::default();
    let cases = if config.cases == 256 { 10_000 } else { config.cases };
    ProptestConfig { cases, failure_persistence: None, ..config }
}

fn start() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0_i64), -1_000_000_i64..1_000_000]
}

/// The same input with every row in a batch of its own.
fn one_by_one(ops: &[Op]) -> Vec<Op> {
    ops.iter()
        .map(|op| match op {
            Op::Rows { partition, rows, .. } => {
                Op::Rows { partition: *partition, rows: rows.clone(), cuts: (0..rows.len()).collect() }
            }
            other => other.clone(),
        })
        .collect()
}

/// The same rows of one partition, one after the other, with time between them: too little for it to be idle
/// where it has more to give.
fn slowly(rows: &[(i64, u8)], waits: &[u64]) -> Vec<Op> {
    let one = |row: &(i64, u8)| Op::Rows { partition: 0, rows: vec![*row], cuts: Vec::new() };
    let waits = waits.iter().cycle();
    rows.iter().zip(waits).flat_map(|(row, wait)| [one(row), Op::Wait(*wait)]).collect()
}

/// What was given last of each key of each window.
fn last(given: &Given) -> BTreeMap<(i64, i64, String), i64> {
    given.rows.iter().map(|(end, start, key, rows)| ((*end, *start, key.clone()), *rows)).collect()
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn results_late_rows_and_balance_are_those_of_the_naive_operator(
        setup in setup(Just(None)),
        start in start(),
        ops in prop::collection::vec(op(), 1..25),
    ) {
        let (model, given) = run(&setup, start, &ops)?;
        Model::compare(&setup, &model, &given)?;
    }

    #[test]
    fn sessions_are_those_of_the_naive_operator(
        setup in setup((1_i64..12).prop_map(Some)),
        start in start(),
        ops in prop::collection::vec(op(), 1..25),
    ) {
        let (model, given) = run(&setup, start, &ops)?;
        if given.is_exact(&setup) {
            Model::compare(&setup, &model, &given)?;
        }
    }

    #[test]
    fn how_rows_are_cut_into_batches_changes_nothing(
        setup in setup(prop_oneof![Just(None), (1_i64..12).prop_map(Some)]),
        start in start(),
        ops in prop::collection::vec(op(), 1..25),
    ) {
        // Within the lateness a window is given again once for each batch with a late row.
        let setup = Setup { lateness: 0, ..setup };
        let ops: Vec<Op> = ops.into_iter().filter(|op| !matches!(op, Op::Restart)).collect();
        let (_, live) = run(&setup, start, &one_by_one(&ops))?;
        let (_, replayed) = run(&setup, start, &ops)?;
        prop_assert_eq!(live.rows, replayed.rows);
        prop_assert_eq!(live.late, replayed.late);
    }

    /// docs/windows.md: a topic that is read again from its beginning, at any speed, gives the same windows
    /// as when it was live.
    #[test]
    fn windows_depend_on_the_records_alone_at_any_speed(
        setup in setup(prop_oneof![Just(None), (1_i64..12).prop_map(Some)]),
        max_keys in prop_oneof![2 => Just(1000_u32), 1 => 1_u32..5],
        start in start(),
        ops in prop::collection::vec(op(), 1..25),
        waits in prop::collection::vec(0_u64..60, 1..5),
    ) {
        let setup = Setup { partitions: 1, max_keys, ..setup };
        let fast: Vec<Op> = ops.into_iter().filter(|op| matches!(op, Op::Rows { .. })).collect();
        let rows: Vec<(i64, u8)> =
            fast.iter().flat_map(|op| if let Op::Rows { rows, .. } = op { rows.clone() } else { Vec::new() }).collect();
        let (_, live) = run(&setup, start, &slowly(&rows, &waits))?;
        let all = vec![Op::Rows { partition: 0, rows, cuts: Vec::new() }];
        for ops in [fast, all] {
            let (_, again) = run(&setup, start, &ops)?;
            prop_assert_eq!(&live.late, &again.late, "late rows");
            prop_assert_eq!(&live.rejected, &again.rejected, "rows without room");
            prop_assert_eq!(last(&live), last(&again), "results");
            if setup.lateness == 0 {
                prop_assert_eq!(live.rows.len(), again.rows.len(), "nothing is given more often");
            }
            if setup.lateness == 0 && max_keys == 1000 {
                prop_assert_eq!(&live.rows, &again.rows, "in the same order");
            }
        }
    }
}
