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

/// A number and the letters behind it.
fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text.get(..end)?.parse().ok()?;
    number.is_finite().then(|| (number, text.get(end..).unwrap_or_default().trim()))
}

/// A length of time: `250ms`, `1s`, `5m`, `1h`, `1d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(with = "String")]
pub struct DurationText(pub Duration);

impl DurationText {
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
        let millis = match unit {
            "ms" => 1.0,
            "s" => 1e3,
            "m" | "min" => 60e3,
            "h" => 3600e3,
            "d" => 86_400e3,
            "" => {
                return Err(format!(
                    "`{text}` has no unit: write `{text}s` for seconds, `{text}ms` for milliseconds"
                ));
            }
            _ => return Err(format!("`{unit}` is not a unit of time: {EXPECTED}")),
        };
        let millis = number * millis;
        if millis > 3.2e12 || millis.fract() != 0.0 {
            return Err(format!("`{text}` is out of range: whole milliseconds up to 100 years"));
        }
        Ok(Self(Duration::from_millis(millis as u64)))
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
        let bytes = match unit {
            "B" => 1.0,
            "kB" | "KB" => 1e3,
            "MB" => 1e6,
            "GB" => 1e9,
            "KiB" => 1024.0,
            "MiB" => 1_048_576.0,
            "GiB" => 1_073_741_824.0,
            "" => {
                return Err(format!(
                    "`{text}` has no unit: write `{text}B` for bytes, `{text}MiB` for mebibytes"
                ));
            }
            _ => return Err(format!("`{unit}` is not a unit of size: {EXPECTED}")),
        };
        let bytes = number * bytes;
        if bytes > 9e15 || bytes.fract() != 0.0 {
            return Err(format!("`{text}` is out of range: whole bytes up to 9000000 GB"));
        }
        Ok(Self(bytes as u64))
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

        #[test]
        fn no_text_makes_them_panic(text in "\\PC{0,12}") {
            let _ = (text.parse::<DurationText>(), text.parse::<Rate>(), text.parse::<ByteSize>());
        }
    }

    #[test]
    fn units_are_needed_and_known() {
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
