//! How often values of about one size came: enough to give any quantile within 1 % of its true value,
//! whatever finite numbers come.
//!
//! A `DDSketch` (Masson, Rim, Lee: "`DDSketch`: a fast and fully-mergeable quantile sketch with
//! relative-error guarantees", 2019): a value is counted in the bin of its logarithm. Only stretches of bins
//! that have a value take memory, so values of any sizes may stand side by side.

use pipectl_framework::plugin::{Error, Result, saved};
use serde::{Deserialize, Serialize};

/// The relative error of a result.
const ERROR: f64 = 0.01;
/// How far a bin reaches: to so many times its least value.
const GAMMA: f64 = (1.0 + ERROR) / (1.0 - ERROR);
/// The bins of a stretch.
const STRETCH: i32 = 32;
/// What the bytes of a saved sketch begin with.
const VERSION: u8 = 1;
/// What they began with before: the most bins, 4096.
const BEFORE: u8 = 0x80;

/// Neighbouring bins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stretch {
    number: i32,
    counts: [u64; STRETCH as usize],
}

/// The bins of values of one sign, by how large they are; rising.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Bins {
    stretches: Vec<Stretch>,
    values: u64,
}

/// Counts of values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Sketch {
    positive: Bins,
    negative: Bins,
    zeros: u64,
    least: f64,
    greatest: f64,
}

impl Bins {
    fn add(&mut self, bin: i32, values: u64) {
        let (number, index) = (bin.div_euclid(STRETCH), bin.rem_euclid(STRETCH) as usize);
        let at = match self.stretches.binary_search_by_key(&number, |stretch| stretch.number) {
            Ok(at) => at,
            Err(at) => {
                self.stretches.insert(at, Stretch { number, counts: [0; STRETCH as usize] });
                at
            }
        };
        self.stretches[at].counts[index] += values;
        self.values += values;
    }

    fn merge(&mut self, other: &Self) {
        for stretch in &other.stretches {
            match self.stretches.binary_search_by_key(&stretch.number, |own| own.number) {
                Ok(at) => {
                    let counts = self.stretches[at].counts.iter_mut();
                    counts.zip(stretch.counts).for_each(|(own, others)| *own += others);
                }
                Err(at) => self.stretches.insert(at, stretch.clone()),
            }
        }
        self.values += other.values;
    }

    /// The value at a rank, from 0.
    fn at(&self, rank: u64) -> f64 {
        let mut before = 0;
        let bins = self.stretches.iter().flat_map(|stretch| {
            let first = stretch.number * STRETCH;
            (first..).zip(stretch.counts)
        });
        for (bin, values) in bins {
            before += values;
            if before > rank {
                // In the middle of the bin, as seen from both its ends.
                return (f64::from(bin) * GAMMA.ln()).exp() * (2.0 * GAMMA / (1.0 + GAMMA));
            }
        }
        f64::INFINITY
    }
}

impl Default for Sketch {
    fn default() -> Self {
        Self {
            positive: Bins::default(),
            negative: Bins::default(),
            zeros: 0,
            least: f64::INFINITY,
            greatest: f64::NEG_INFINITY,
        }
    }
}

impl Sketch {
    /// Counts a finite value.
    pub(super) fn add(&mut self, value: f64) {
        let bin = || (value.abs().ln() / GAMMA.ln()).floor() as i32;
        if value > 0.0 {
            self.positive.add(bin(), 1);
        } else if value < 0.0 {
            self.negative.add(bin(), 1);
        } else {
            self.zeros += 1;
        }
        self.least = self.least.min(value);
        self.greatest = self.greatest.max(value);
    }

    /// Counts all values of another.
    pub(super) fn merge(&mut self, other: &Self) {
        self.positive.merge(&other.positive);
        self.negative.merge(&other.negative);
        self.zeros += other.zeros;
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
    }

    /// The value at the lower rank of a quantile: of `n` values in order, counted from 0, that at
    /// `quantile * (n - 1)` rounded down. `None` where there is none.
    pub(super) fn quantile(&self, quantile: f64) -> Option<f64> {
        let values = self.negative.values + self.zeros + self.positive.values;
        let last = values.checked_sub(1)?;
        let exact = quantile * last as f64;
        // 0.29 of 100 is 29, though the product of these numbers is a little less.
        let near = (exact - exact.round()).abs() <= exact * 4.0 * f64::EPSILON;
        let rank = (if near { exact.round() } else { exact.floor() } as u64).min(last);
        let value = if rank < self.negative.values {
            -self.negative.at(self.negative.values - rank - 1)
        } else if rank < self.negative.values + self.zeros {
            0.0
        } else {
            self.positive.at(rank - self.zeros - self.negative.values)
        };
        Some(match rank {
            0 => self.least,
            _ if rank == last => self.greatest,
            _ => value.clamp(self.least, self.greatest),
        })
    }

    /// The bytes held outside.
    pub(super) fn heap_bytes(&self) -> usize {
        (self.positive.stretches.capacity() + self.negative.stretches.capacity()) * size_of::<Stretch>()
    }

    /// Adds what it holds to `bytes`.
    pub(super) fn save(&self, bytes: &mut Vec<u8>) {
        saved::write(&(VERSION, self), bytes);
    }

    /// What was saved, by this version or the one before.
    pub(super) fn load(bytes: &[u8]) -> Result<Self> {
        match bytes.first() {
            Some(&VERSION) => Ok(saved::read::<(u8, Self)>(bytes)?.1),
            Some(&BEFORE) => Ok(saved::read::<Before>(bytes)?.into()),
            _ => Err(Error::fatal("a saved sketch is of another version")),
        }
    }
}

/// A sketch as it was saved before: bins side by side, from the least to the greatest.
#[derive(Deserialize)]
struct Before {
    _config: (u32, f64, f64, f64, i32),
    positive: BeforeBins,
    negative: BeforeBins,
    least: f64,
    greatest: f64,
    _sum: f64,
    zeros: u64,
}

#[derive(Deserialize)]
struct BeforeBins {
    bins: Vec<u64>,
    _count: u64,
    _min_key: i32,
    _max_key: i32,
    offset: i32,
    _limit: u64,
    _collapsed: bool,
}

impl From<BeforeBins> for Bins {
    fn from(before: BeforeBins) -> Self {
        let mut bins = Self::default();
        let numbered = (before.offset..).zip(before.bins).filter(|(_, values)| *values > 0);
        numbered.for_each(|(bin, values)| bins.add(bin, values));
        bins
    }
}

impl From<Before> for Sketch {
    fn from(before: Before) -> Self {
        Self {
            positive: before.positive.into(),
            negative: before.negative.into(),
            zeros: before.zeros,
            least: before.least,
            greatest: before.greatest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sketches_ddsketch::{Config, DDSketch};

    const QUANTILES: [f64; 7] = [0.0, 0.01, 0.29, 0.5, 0.95, 0.99, 1.0];

    fn sketch(values: &[f64]) -> Sketch {
        let mut sketch = Sketch::default();
        values.iter().for_each(|value| sketch.add(*value));
        sketch
    }

    fn near(given: f64, exact: f64) -> bool {
        // The smallest numbers of all have fewer digits than that.
        (given - exact).abs() <= exact.abs() * (ERROR + 1e-9)
            || (given - exact).abs() <= f64::MIN_POSITIVE * 1e-15
    }

    proptest! {
        #[test]
        fn every_quantile_of_any_finite_numbers_is_within_one_percent(
            values in prop::collection::vec(
                any::<f64>().prop_filter("finite", |x| x.is_finite()), 1..120),
            cut in 0_usize..120,
        ) {
            let cut = cut.min(values.len());
            let mut merged = sketch(&values[..cut]);
            merged.merge(&sketch(&values[cut..]));
            let mut bytes = Vec::new();
            merged.save(&mut bytes);
            prop_assert_eq!(&Sketch::load(&bytes).unwrap(), &sketch(&values));
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            for q in QUANTILES {
                let exact = sorted[(q * (sorted.len() - 1) as f64 + 1e-9).floor() as usize];
                let given = merged.quantile(q).unwrap();
                prop_assert!(near(given, exact), "{} of {:?} is {}, given as {}", q, sorted, exact, given);
            }
        }

        #[test]
        fn what_was_saved_before_is_read(
            values in prop::collection::vec(prop_oneof![Just(0.0), -1e6_f64..1e6], 1..60),
        ) {
            let mut before = DDSketch::new(Config::new(0.01, 4096, 1e-9));
            values.iter().for_each(|value| before.add(*value));
            let mut bytes = Vec::new();
            saved::write(&before, &mut bytes);
            let read = Sketch::load(&bytes).unwrap();
            for q in QUANTILES {
                prop_assert!(near(read.quantile(q).unwrap(), sketch(&values).quantile(q).unwrap()));
            }
            let mut both = sketch(&values);
            both.merge(&read);
            prop_assert!(near(both.quantile(1.0).unwrap(), sketch(&values).quantile(1.0).unwrap()));
        }
    }

    #[test]
    fn small_values_and_values_of_many_sizes_are_told_apart() {
        assert!(near(sketch(&[1e-12, 2e-12, 3e-12]).quantile(0.5).unwrap(), 2e-12));
        assert!(near(sketch(&[1e-300, 1e-200, 1.0, 1e200, 1e300]).quantile(0.25).unwrap(), 1e-200));
        assert!(near(sketch(&[f64::MAX, f64::MAX, f64::MAX]).quantile(0.5).unwrap(), f64::MAX));
        assert!(near(sketch(&[5e-324, 5e-324, 1.0]).quantile(0.5).unwrap(), 5e-324));
    }

    #[test]
    fn the_lower_of_two_ranks_is_meant() {
        assert_eq!(sketch(&[1.0, 100.0]).quantile(0.5), Some(1.0));
        let hundred_and_one: Vec<f64> = (0..=100).map(f64::from).collect();
        assert!(near(sketch(&hundred_and_one).quantile(0.29).unwrap(), 29.0));
        assert_eq!(Sketch::default().quantile(0.5), None);
    }

    #[test]
    fn bytes_that_are_no_sketch_are_an_error() {
        for bytes in [&[][..], &[7, 7], &[VERSION], &[BEFORE, 0x20, 1]] {
            assert!(Sketch::load(bytes).is_err());
        }
    }
}
