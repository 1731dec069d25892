//! A sum of floating-point numbers without error: it does not depend on the order of its parts, and a part can be taken out again. So a window
//! gives the same figure however its rows were cut into batches, panes and partitions.
//!
//! The sum is kept as numbers that do not overlap, whose true sum is that of all parts (Shewchuk, "Adaptive precision floating-point arithmetic and
//! fast robust geometric predicates", 1997; Python's `math.fsum` is built the same way). One or two are enough for most data.

use serde::{Deserialize, Serialize};

/// An exact sum. Infinities and NaN are counted apart.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct ExactSum {
    /// Rising in magnitude, none overlapping another, none zero.
    partials: Vec<f64>,
    infinite: [i64; 2],
    nan: i64,
}

impl ExactSum {
    /// Adds a number.
    pub(super) fn add(&mut self, x: f64) {
        self.count(x, 1);
    }

    /// Adds another sum.
    pub(super) fn merge(&mut self, other: &Self) {
        self.combine(other, 1);
    }

    /// Takes another sum out.
    pub(super) fn remove(&mut self, other: &Self) {
        self.combine(other, -1);
    }

    fn combine(&mut self, other: &Self, times: i64) {
        for x in &other.partials {
            self.put(if times < 0 { -x } else { *x });
        }
        self.nan += times * other.nan;
        for (own, others) in self.infinite.iter_mut().zip(other.infinite) {
            *own += times * others;
        }
    }

    fn count(&mut self, x: f64, times: i64) {
        if x.is_finite() {
            self.put(x);
        } else if x.is_nan() {
            self.nan += times;
        } else {
            self.infinite[usize::from(x > 0.0)] += times;
        }
    }

    fn put(&mut self, mut x: f64) {
        let mut kept = 0;
        for i in 0..self.partials.len() {
            let mut y = self.partials[i];
            if x.abs() < y.abs() {
                (x, y) = (y, x);
            }
            let high = x + y;
            if !high.is_finite() {
                // Beyond the greatest number: no exact sum can be kept.
                self.infinite[usize::from(high > 0.0)] += 1;
                return;
            }
            let low = y - (high - x);
            if low != 0.0 {
                self.partials[kept] = low;
                kept += 1;
            }
            x = high;
        }
        self.partials.truncate(kept);
        if x != 0.0 {
            self.partials.push(x);
        }
    }

    /// The sum, rounded once, to the nearest number.
    pub(super) fn value(&self) -> f64 {
        match self.infinite {
            [0, 0] if self.nan == 0 => self.rounded(),
            [0, _] if self.nan == 0 => f64::INFINITY,
            [_, 0] if self.nan == 0 => f64::NEG_INFINITY,
            _ => f64::NAN,
        }
    }

    fn rounded(&self) -> f64 {
        let mut rest = self.partials.iter().rev();
        let Some(mut high) = rest.next().copied() else { return 0.0 };
        let mut low = 0.0;
        for y in rest.by_ref() {
            let x = high;
            high = x + y;
            low = y - (high - x);
            if low != 0.0 {
                break;
            }
        }
        // Half-way cases are decided by the sign of what is left.
        if let Some(next) = rest.next()
            && ((low < 0.0 && *next < 0.0) || (low > 0.0 && *next > 0.0))
        {
            let twice = low * 2.0;
            let up = high + twice;
            if twice.to_bits() == (up - high).to_bits() {
                high = up;
            }
        }
        high
    }

    /// The bytes held outside.
    pub(super) fn heap_bytes(&self) -> usize {
        self.partials.capacity() * size_of::<f64>()
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "an exact sum is exactly that")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(numbers: &[f64]) -> ExactSum {
        let mut sum = ExactSum::default();
        numbers.iter().for_each(|x| sum.add(*x));
        sum
    }

    #[test]
    fn what_a_plain_loop_loses_is_kept() {
        assert_eq!(sum(&[1e100, 1.0, -1e100]).value(), 1.0);
        assert_eq!(sum(&[0.1; 10]).value(), 1.0);
        assert_eq!(sum(&[f64::MAX, f64::MAX]).value(), f64::INFINITY);
        assert!(sum(&[f64::INFINITY, f64::NEG_INFINITY]).value().is_nan());
        let mut back = sum(&[2.5, f64::INFINITY, f64::NAN]);
        back.remove(&sum(&[f64::INFINITY, f64::NAN]));
        assert_eq!(back.value(), 2.5);
    }

    proptest! {
        #[test]
        fn the_order_does_not_matter_and_parts_can_be_taken_out(
            numbers in prop::collection::vec(prop::num::f64::NORMAL.prop_filter("room for a sum", |x| x.abs() < 1e300), 0..40),
            cut in 0_usize..40,
        ) {
            let cut = cut.min(numbers.len());
            let whole = sum(&numbers);
            let mut back: Vec<f64> = numbers.clone();
            back.reverse();
            prop_assert_eq!(sum(&back).value().to_bits(), whole.value().to_bits());
            let mut merged = sum(&numbers[cut..]);
            merged.merge(&sum(&numbers[..cut]));
            prop_assert_eq!(merged.value().to_bits(), whole.value().to_bits());
            merged.remove(&sum(&numbers[cut..]));
            prop_assert_eq!(merged.value().to_bits(), sum(&numbers[..cut]).value().to_bits());
        }

        #[test]
        fn integers_are_summed_as_integers(numbers in prop::collection::vec(-1_000_000_i32..1_000_000, 0..100)) {
            let exact: i64 = numbers.iter().map(|n| i64::from(*n)).sum();
            let floats: Vec<f64> = numbers.iter().map(|n| f64::from(*n)).collect();
            prop_assert_eq!(sum(&floats).value(), exact as f64);
        }
    }
}
