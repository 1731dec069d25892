//! What a transform has made of a batch: which rows went on, which were left out, and how many are new.

use std::collections::HashSet;

use arrow_buffer::ScalarBuffer;

use crate::batch::Batch;

/// How many rows of a batch went where. With the rejected ones, `out` and `filtered` are all that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Passed {
    /// Rows of the input that went on.
    pub(super) out: u64,
    /// Rows of the input that were left out.
    pub(super) filtered: u64,
    /// Rows that were given beyond those that went on.
    pub(super) made: u64,
}

impl Passed {
    /// Where a transform has left rows out and done nothing else: each row that it gives is one that came, in
    /// their order. `None` where that is not so, and [`of`](Self::of) has to be asked. No row was rejected.
    pub(super) fn left_out(before: &Batch, given: &Batch) -> Option<Self> {
        let (came, went) = (&before.origin().offsets, &given.origin().offsets);
        if before.origin().partition != given.origin().partition {
            return None;
        }
        let mut out = 0;
        if came.ptr_eq(went) {
            out = came.len();
        } else {
            for offset in came {
                out += usize::from(went.get(out) == Some(offset));
            }
        }
        (out == went.len()).then(|| Self { out: out as u64, filtered: (came.len() - out) as u64, made: 0 })
    }

    /// A row that is given is a row of the input where it has the offset of one that was not rejected; a
    /// further one of that offset was made, and so was one of an offset that did not come in.
    pub(super) fn of(before: &Batch, given: &Batch, rejected: &HashSet<usize>) -> Self {
        let (came, went) = (&before.origin().offsets, &given.origin().offsets);
        let mut dead: Vec<i64> = rejected.iter().filter_map(|row| came.get(*row).copied()).collect();
        dead.sort_unstable();
        let (came, went) = (rising(came), rising(went));
        let (mut left, mut went, mut dead) = (&came[..], &went[..], &dead[..]);
        let mut passed = Self::default();
        while let Some(offset) = left.first() {
            passed.made += take(&mut went, |other| other < offset);
            let there = take(&mut left, |other| other == offset) - take(&mut dead, |other| other == offset);
            let gave = take(&mut went, |other| other == offset);
            passed.out += gave.min(there);
            passed.filtered += there.saturating_sub(gave);
            passed.made += gave.saturating_sub(there);
        }
        passed.made += went.len() as u64;
        passed
    }
}

/// The offsets in order; those of a batch are, unless a plugin has turned its rows around.
fn rising(offsets: &ScalarBuffer<i64>) -> ScalarBuffer<i64> {
    if offsets.is_sorted() {
        return offsets.clone();
    }
    let mut sorted = offsets.to_vec();
    sorted.sort_unstable();
    sorted.into()
}

/// Takes the first ones that are so; gives how many.
fn take(offsets: &mut &[i64], which: impl Fn(&i64) -> bool) -> u64 {
    let end = offsets.iter().position(|offset| !which(offset)).unwrap_or(offsets.len());
    *offsets = &offsets[end..];
    end as u64
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{RecordBatch, RecordBatchOptions};
    use arrow_schema::Schema;
    use proptest::prelude::*;

    use super::*;
    use crate::batch::{Origin, Partition};

    fn batch(offsets: &[i64]) -> Batch {
        let options = RecordBatchOptions::new().with_row_count(Some(offsets.len()));
        let columns =
            RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options).unwrap();
        let origin =
            Origin { partition: Partition::new("t", 0), offsets: offsets.to_vec().into(), replay: false };
        Batch::new(columns, vec![0; offsets.len()].into(), origin).unwrap()
    }

    fn passed(came: &[i64], went: &[i64], rejected: &[usize]) -> (u64, u64, u64) {
        let (came, went) = (batch(came), batch(went));
        let passed = Passed::of(&came, &went, &rejected.iter().copied().collect());
        if rejected.is_empty() {
            assert!(Passed::left_out(&came, &went).is_none_or(|quick| quick == passed));
        }
        (passed.out, passed.filtered, passed.made)
    }

    #[test]
    fn rows_that_were_left_out_are_counted_without_a_look_at_their_order() {
        let left_out = |came: &[i64], went: &[i64]| {
            let passed = Passed::left_out(&batch(came), &batch(went))?;
            Some((passed.out, passed.filtered, passed.made))
        };
        assert_eq!(left_out(&[1, 2, 2, 5], &[2, 5]), Some((2, 2, 0)));
        assert_eq!(left_out(&[1, 2], &[]), Some((0, 2, 0)));
        for other in [[2, 1], [1, 1], [1, 7]] {
            assert_eq!(left_out(&[1, 2, 5], &other), None, "{other:?}");
        }
    }

    #[test]
    fn rows_are_told_apart_by_their_offsets() {
        assert_eq!(passed(&[1, 2, 3], &[1, 2, 3], &[]), (3, 0, 0));
        assert_eq!(passed(&[1, 2], &[2, 2, 2], &[0]), (1, 0, 2), "one rejected, three of another");
        assert_eq!(passed(&[1, 2, 3], &[3, 3], &[0]), (1, 1, 1), "one each rejected, left out, doubled");
        assert_eq!(passed(&[1, 2], &[], &[]), (0, 2, 0));
        assert_eq!(passed(&[], &[7], &[]), (0, 0, 1), "a row that was held back");
        assert_eq!(passed(&[5, 6], &[4, 6, 7], &[]), (1, 1, 2));
        assert_eq!(passed(&[1, 1, 1], &[1, 1], &[2]), (2, 0, 0), "rows of one record");
        assert_eq!(passed(&[1, 2, 3], &[3, 1], &[]), (2, 1, 0), "turned around");
        assert_eq!(passed(&[1], &[1], &[0]), (0, 0, 1), "rejected, and given all the same");
    }

    proptest! {
        /// Each row of the input is rejected (0), left out (1), or goes on with so many rows made beside it.
        #[test]
        fn any_mix_is_told_apart(fates in prop::collection::vec(0u64..5, 0..40)) {
            let came: Vec<i64> = (0..fates.len() as i64).collect();
            let (mut went, mut rejected, mut expected) = (Vec::new(), Vec::new(), (0, 0, 0));
            for (row, fate) in fates.iter().enumerate() {
                match fate {
                    0 => rejected.push(row),
                    1 => expected.1 += 1,
                    copies => {
                        went.extend(std::iter::repeat_n(row as i64, *copies as usize - 1));
                        expected.0 += 1;
                        expected.2 += copies - 2;
                    }
                }
            }
            prop_assert_eq!(passed(&came, &went, &rejected), expected);
        }

        #[test]
        fn the_balance_holds_whatever_is_given(
            mut came in prop::collection::vec(0i64..6, 0..12),
            went in prop::collection::vec(-1i64..8, 0..20),
            rejected in prop::collection::hash_set(0usize..12, 0..6),
        ) {
            came.sort_unstable();
            let rejected: Vec<usize> = rejected.into_iter().filter(|row| *row < came.len()).collect();
            let (out, filtered, made) = passed(&came, &went, &rejected);
            prop_assert_eq!(out + filtered + rejected.len() as u64, came.len() as u64);
            prop_assert_eq!(out + made, went.len() as u64);
        }
    }
}
