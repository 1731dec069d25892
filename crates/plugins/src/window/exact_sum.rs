//! A sum of floating-point numbers without error: it does not depend on the order of its parts, and a part
//! can be taken out again. So a window gives the same figure however its rows were cut into batches, panes
//! and partitions.
//!
//! The sum is kept as numbers that do not overlap, whose true sum is that of all parts (Shewchuk, "Adaptive
//! precision floating-point arithmetic and fast robust geometric predicates", 1997; Python's `math.fsum` is
//! built the same way). One or two are enough for most data.

use serde::{Deserialize, Serialize};

/// An exact sum. Infinities and NaN are counted apart.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Saved", into = "Saved")]
pub(super) struct ExactSum {
    /// Rising in magnitude, none overlapping another, none zero.
    partials: Vec<f64>,
    /// How often 2^1024, which is beyond the greatest number, has to be added to them.
    beyond: i64,
    infinite: [i64; 2],
    nan: i64,
}

/// How it is saved. Where it goes beyond the greatest number, `beyond` stands behind the partials and an
/// infinity.
#[derive(Serialize, Deserialize)]
struct Saved {
    partials: Vec<f64>,
    infinite: [i64; 2],
    nan: i64,
}

impl From<ExactSum> for Saved {
    fn from(ExactSum { mut partials, beyond, infinite, nan }: ExactSum) -> Self {
        if beyond != 0 {
            partials.extend([f64::INFINITY, beyond as f64]);
        }
        Self { partials, infinite, nan }
    }
}

impl From<Saved> for ExactSum {
    fn from(Saved { mut partials, infinite, nan }: Saved) -> Self {
        let mut beyond = 0;
        if let [.., mark, times] = partials[..]
            && mark == f64::INFINITY
        {
            beyond = times as i64;
            partials.truncate(partials.len() - 2);
        }
        Self { partials, beyond, infinite, nan }
    }
}

/// Half of what [`ExactSum::beyond`] counts: 2^1023.
const HALF: f64 = 8.988_465_674_311_58e307;

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
        self.beyond += times * other.beyond;
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
            if !(x + y).is_finite() {
                // Both have one sign, and the larger is at least 2^1023: taking 2^1024 from it in two steps
                // is exact.
                self.beyond += x.signum() as i64;
                let half = HALF.copysign(x);
                x = x - half - half;
                if x.abs() < y.abs() {
                    (x, y) = (y, x);
                }
            }
            let high = x + y;
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
            [0, 0] if self.nan == 0 && self.beyond == 0 => self.rounded(),
            [0, 0] if self.nan == 0 => self.brought_back(),
            [0, _] if self.nan == 0 => f64::INFINITY,
            [_, 0] if self.nan == 0 => f64::NEG_INFINITY,
            _ => f64::NAN,
        }
    }

    /// The value where parts were beyond the greatest number: the whole may not be.
    fn brought_back(&self) -> f64 {
        let mut whole = Self { beyond: 0, ..self.clone() };
        // No more than two of them can be made up for by partials, which are less than one together.
        let infinite = f64::INFINITY.copysign(self.beyond as f64);
        if self.beyond.abs() > 2 {
            return infinite;
        }
        for _ in 0..2 * self.beyond.abs() {
            whole.put(HALF.copysign(infinite));
        }
        if whole.beyond == 0 { whole.rounded() } else { infinite }
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

    #[test]
    fn a_sum_that_was_beyond_the_greatest_number_comes_back() {
        const MOST: f64 = f64::MAX;
        assert_eq!(sum(&[MOST, MOST, -MOST]).value(), MOST);
        assert_eq!(sum(&[MOST, MOST, -MOST, -MOST, 2.5]).value(), 2.5);
        assert_eq!(sum(&[-MOST, -MOST, -MOST, MOST, MOST, MOST, 1e-300]).value(), 1e-300);
        assert_eq!(sum(&[1e308, 1e308, -1.5e308]).value(), 5e307);
        assert_eq!(sum(&[-1e308, -1e308, -1.0]).value(), f64::NEG_INFINITY);
        let mut window = sum(&[MOST, MOST, 2.5]);
        assert_eq!(window.value(), f64::INFINITY);
        let mut bytes = Vec::new();
        pipectl_framework::plugin::saved::write(&window, &mut bytes);
        window = pipectl_framework::plugin::saved::read(&bytes).unwrap();
        window.remove(&sum(&[MOST, MOST]));
        assert_eq!(window.value(), 2.5);
    }

    proptest! {
        #[test]
        fn sums_of_the_greatest_numbers_are_those_of_smaller_ones(
            numbers in prop::collection::vec(-1_000_i32..1_000, 0..60),
        ) {
            // A sum of so many units of 2^1014 goes beyond 2^1024 and comes back.
            let unit = 2_f64.powi(1014);
            let exact: i32 = numbers.iter().sum();
            let scaled: Vec<f64> = numbers.iter().map(|n| f64::from(*n) * unit).collect();
            prop_assert_eq!(sum(&scaled).value(), f64::from(exact) * unit);
        }

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
