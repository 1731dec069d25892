//! The window operator against a naive one that keeps every row, judges each on its own, and knows no batches, panes or running
//! sums. More cases: `PROPTEST_CASES=1000000 cargo test --release --test window_oracle`.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub)] // a test fails by panicking

mod support;

use proptest::prelude::*;
use support::model::{Model, Op, Setup, Zero, run};

fn setup() -> impl Strategy<Value = Setup> {
    (
        (1_i64..12, 1_i64..12, -20_i64..20),
        prop_oneof![3 => Just(0_i64), 2 => 1_i64..15],
        prop_oneof![3 => Just(0_i64), 1 => 1_i64..15],
        1_usize..4,
        prop_oneof![2 => Just(Zero::Off), 2 => Just(Zero::Seen), 1 => Just(Zero::Named)],
        any::<bool>(),
    )
        .prop_map(|((a, b, offset), out_of_orderness, lateness, partitions, zero, invertible)| Setup {
            size: a.max(b),
            slide: a.min(b),
            offset,
            out_of_orderness,
            lateness,
            partitions,
            zero,
            invertible,
        })
}

/// Times that mostly rise, so that windows close, with steps back and jumps.
fn op() -> impl Strategy<Value = Op> {
    let step = prop_oneof![6 => 0_i64..3, 2 => -12_i64..0, 1 => 3_i64..60];
    let rows = prop::collection::vec((step, 0_u8..5), 1..12);
    prop_oneof![
        6 => (0_usize..4, rows, prop::collection::vec(0_usize..12, 0..3))
            .prop_map(|(partition, rows, cuts)| Op::Rows { partition, rows, cuts }),
        2 => (0_usize..4).prop_map(Op::CaughtUp),
        2 => (1_u64..40).prop_map(Op::Wait),
        1 => Just(Op::Restart),
    ]
}

fn cases() -> ProptestConfig {
    // The default of proptest, 256, says that nobody asked for another number.
    let config = ProptestConfig::default();
    let cases = if config.cases == 256 { 2_000 } else { config.cases };
    ProptestConfig { cases, failure_persistence: None, ..config }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn results_late_rows_and_balance_are_those_of_the_naive_operator(
        setup in setup(),
        start in prop_oneof![Just(0_i64), -1_000_000_i64..1_000_000],
        ops in prop::collection::vec(op(), 1..25),
    ) {
        let (model, given) = run(&setup, start, &ops)?;
        Model::compare(&setup, &model, &given)?;
    }
}
