//! Values with a unit, as they are written in a file.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

macro_rules! from_text {
    ($type:ty, $what:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let value = serde_json::Value::deserialize(deserializer)?;
                let text = match &value {
                    serde_json::Value::String(text) => text.clone(),
                    serde_json::Value::Number(number) => number.to_string(),
                    _ => return Err(serde::de::Error::custom(concat!("expected ", $what))),
                };
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// The digits of a number and the letters behind it.
fn split(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number = text.get(..end)?;
    // A number as it is written in decimal: some digits, and a point at most.
    let digits = number.bytes().filter(u8::is_ascii_digit).count();
    let is_number = digits > 0 && number.len() - digits <= 1;
    is_number.then(|| (number, text.get(end..).unwrap_or_default().trim()))
}

/// How many wholes `number` of `unit` of them are: exact, where a product of floating-point numbers is not.
/// `None` where that is no whole number, or more than `most`.
fn wholes(number: &str, unit: u64, most: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = fraction.trim_end_matches('0');
    let (mut digits, mut scale): (u128, u128) = (0, 1);
    for (digit, is_fraction) in whole.bytes().map(|d| (d, false)).chain(fraction.bytes().map(|d| (d, true))) {
        digits = digits.checked_mul(10)?.checked_add(u128::from(digit - b'0'))?;
        if is_fraction {
            scale = scale.checked_mul(10)?;
        }
    }
    let product = digits.checked_mul(u128::from(unit))?;
    let wholes = u64::try_from(product / scale).ok()?;
    (product % scale == 0 && wholes <= most).then_some(wholes)
}

/// The longest length of time, in milliseconds: a little more than 100 years.
const LONGEST: u64 = 3_200_000_000_000;

/// The largest size, in bytes.
const LARGEST: u64 = 9_000_000_000_000_000;

/// A length of time: `250ms`, `1s`, `5m`, `1h`, `1d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(with = "String")]
pub struct DurationText(pub Duration);

impl DurationText {
    /// A length of at least so many milliseconds, no finer than a person would write it.
    ///
    /// ```
    /// use pipectl_framework::config::DurationText;
    /// let cases = [(1, "1ms"), (1_000, "1s"), (1_001, "2s"), (119_500, "2m"), (120_001, "3m"), (7_199_001, "2h")];
    /// for (millis, text) in cases {
    ///     assert_eq!(DurationText::at_least(millis).to_string(), text);
    /// }
    /// ```
    pub fn at_least(millis: i64) -> Self {
        let millis = millis.max(0).unsigned_abs();
        let unit = match millis {
            0..=1_000 => 1,
            1_001..=120_000 => 1_000,
            120_001..=7_200_000 => 60_000,
            _ => 3_600_000,
        };
        Self(Duration::from_millis(millis.div_ceil(unit) * unit))
    }

    /// In whole milliseconds.
    pub fn millis(self) -> i64 {
        i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX)
    }
}

impl FromStr for DurationText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected a length of time such as `250ms`, `1s`, `5m`, `1h` or `1d`";
        let (number, unit) =
            split(text).ok_or_else(|| format!("`{text}` is not a length of time: {EXPECTED}"))?;
        let unit = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "" => {
                return Err(format!(
                    "`{text}` has no unit: write `{text}s` for seconds, `{text}ms` for milliseconds"
                ));
            }
            _ => return Err(format!("`{unit}` is not a unit of time: {EXPECTED}")),
        };
        match wholes(number, unit, LONGEST) {
            Some(millis) => Ok(Self(Duration::from_millis(millis))),
            None => Err(format!("`{text}` is out of range: whole milliseconds up to 100 years")),
        }
    }
}

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        for (unit, length) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
            if millis > 0 && millis.is_multiple_of(length) {
                return write!(f, "{}{unit}", millis / length);
            }
        }
        write!(f, "{millis}ms")
    }
}

from_text!(DurationText, "a length of time such as `1s`");

/// For how long a topic keeps records: a length of time, or `forever`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String")]
pub enum Retention {
    /// So long after their time.
    For(Duration),
    /// Whatever their time.
    Forever,
}

impl FromStr for Retention {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim() == "forever" {
            return Ok(Self::Forever);
        }
        match text.parse() {
            Ok(DurationText(Duration::ZERO)) => {
                Err("a topic keeps records for longer than no time".to_owned())
            }
            Ok(DurationText(length)) => Ok(Self::For(length)),
            Err(why) => Err(format!("{why}, or `forever`")),
        }
    }
}

from_text!(Retention, "a length of time such as `30d`, or `forever`");

/// A number of things per time: `10/s`, `600/m`, `36000/h`; or `max` for as fast as it goes.
#[derive(Debug, Clone, Copy, PartialEq, JsonSchema)]
#[schemars(with = "String")]
pub enum Rate {
    /// As fast as it goes.
    Max,
    /// So many a second.
    PerSecond(f64),
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected a rate such as `10/s`, `600/m` or `max`";
        if text.trim() == "max" {
            return Ok(Self::Max);
        }
        let (number, unit) = split(text).ok_or_else(|| format!("`{text}` is not a rate: {EXPECTED}"))?;
        let number: f64 = number.parse().map_err(|_| format!("`{text}` is not a rate: {EXPECTED}"))?;
        let per_second = match unit {
            "/s" => number,
            "/m" | "/min" => number / 60.0,
            "/h" => number / 3600.0,
            "" => return Err(format!("`{text}` does not say per what: write `{text}/s`")),
            _ => return Err(format!("`{text}` is not a rate: {EXPECTED}")),
        };
        if per_second <= 0.0 || per_second > 1e9 {
            return Err(format!("`{text}` is out of range: more than none, at most 1000000000/s"));
        }
        Ok(Self::PerSecond(per_second))
    }
}

from_text!(Rate, "a rate such as `10/s`");

/// A number of bytes: `512B`, `64KiB`, `1MiB`, `1GiB`, `10MB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(with = "String")]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected a size such as `64KiB`, `1MiB` or `10MB`";
        let (number, unit) = split(text).ok_or_else(|| format!("`{text}` is not a size: {EXPECTED}"))?;
        let unit = match unit {
            "B" => 1,
            "kB" | "KB" => 1000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "" => {
                return Err(format!(
                    "`{text}` has no unit: write `{text}B` for bytes, `{text}MiB` for mebibytes"
                ));
            }
            _ => return Err(format!("`{unit}` is not a unit of size: {EXPECTED}")),
        };
        match wholes(number, unit, LARGEST) {
            Some(bytes) => Ok(Self(bytes)),
            None => Err(format!("`{text}` is out of range: whole bytes up to 9000000 GB")),
        }
    }
}

from_text!(ByteSize, "a size such as `1MiB`");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_duration_reads_back_what_it_prints(millis in 0u64..3_000_000_000_000) {
            let duration = DurationText(Duration::from_millis(millis));
            prop_assert_eq!(duration.to_string().parse::<DurationText>(), Ok(duration));
        }

        /// Every number of milliseconds and bytes, however it is written as a decimal of a larger unit.
        #[test]
        fn a_decimal_is_what_it_says(wholes in 0u64..3_000_000_000_000, zeros in 0usize..4) {
            for (unit, digits) in [("ms", 0), ("s", 3)] {
                let text = format!("{}{unit}", decimal(wholes, digits, zeros));
                prop_assert_eq!(text.parse::<DurationText>().map(DurationText::millis), Ok(wholes as i64), "{}", text);
            }
            for (unit, digits) in [("B", 0), ("kB", 3), ("MB", 6), ("GB", 9)] {
                let text = format!("{}{unit}", decimal(wholes, digits, zeros));
                prop_assert_eq!(text.parse(), Ok(ByteSize(wholes)), "{}", text);
            }
        }

        /// A decimal of a unit of six times a power of ten, or more, is whole where a rational number says
        /// so.
        #[test]
        fn a_decimal_of_any_unit_is_whole_or_out_of_range(hundredths in 0u64..10_000_000, digits in 0usize..6) {
            for (unit, millis) in [("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000_u64)] {
                let text = format!("{}{unit}", decimal(hundredths, digits, 0));
                let (product, scale) = (hundredths * millis, 10_u64.pow(digits as u32));
                let fits = product % scale == 0 && product / scale <= LONGEST;
                let expected = fits.then_some((product / scale) as i64);
                prop_assert_eq!(text.parse::<DurationText>().map(DurationText::millis).ok(), expected, "{}", text);
            }
        }

        #[test]
        fn no_text_makes_them_panic(text in "\\PC{0,12}") {
            let _ = (text.parse::<DurationText>(), text.parse::<Rate>(), text.parse::<ByteSize>());
        }
    }

    /// `number` over a power of ten, with zeros behind it.
    fn decimal(number: u64, digits: usize, zeros: usize) -> String {
        let padded = format!("{number:0>width$}", width = digits + 1);
        let (whole, fraction) = padded.split_at(padded.len() - digits);
        if digits + zeros == 0 {
            whole.to_owned()
        } else {
            format!("{whole}.{fraction}{}", "0".repeat(zeros))
        }
    }

    #[test]
    fn units_are_needed_and_known() {
        assert_eq!("1.001s".parse::<DurationText>().unwrap().millis(), 1001);
        assert_eq!("4.1m".parse::<DurationText>().unwrap().millis(), 246_000);
        for wrong in [".", "1.2.3s", "s", "-1s", "1e3s", "100000000000000000000000000000000000000000s"] {
            assert!(wrong.parse::<DurationText>().is_err(), "{wrong}");
        }
        assert_eq!("1.5s".parse::<DurationText>().unwrap().millis(), 1500);
        assert_eq!(
            "1".parse::<DurationText>().unwrap_err(),
            "`1` has no unit: write `1s` for seconds, `1ms` for milliseconds"
        );
        assert!("1y".parse::<DurationText>().unwrap_err().contains("`y` is not a unit of time"));
        assert!("0.5ms".parse::<DurationText>().is_err());
        assert_eq!("600/m".parse(), Ok(Rate::PerSecond(10.0)));
        assert_eq!("max".parse(), Ok(Rate::Max));
        assert!("0/s".parse::<Rate>().is_err());
        assert_eq!("10".parse::<Rate>().unwrap_err(), "`10` does not say per what: write `10/s`");
        assert_eq!("1MiB".parse(), Ok(ByteSize(1 << 20)));
        assert_eq!("10MB".parse(), Ok(ByteSize(10_000_000)));
        assert!("1 parsec".parse::<ByteSize>().is_err());
    }
}
