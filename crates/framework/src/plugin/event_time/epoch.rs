//! Times as numbers: how many units have passed since 1970.

use crate::clock::Millis;

/// Times beyond this many milliseconds from 1970 are no dates (275,000 years).
pub(super) const FARTHEST: Millis = 8_640_000_000_000_000;

/// What is counted since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Epoch {
    Seconds,
    Millis,
    Micros,
    Nanos,
}

impl Epoch {
    /// The unit of a `format`.
    pub(super) fn of(format: &str) -> Option<Self> {
        match format {
            "epoch_s" => Some(Self::Seconds),
            "epoch_ms" => Some(Self::Millis),
            "epoch_us" => Some(Self::Micros),
            "epoch_ns" => Some(Self::Nanos),
            _ => None,
        }
    }

    /// A unit is so many milliseconds, or so many of them are one.
    fn scale(self) -> (i64, i64) {
        match self {
            Self::Seconds => (1000, 1),
            Self::Millis => (1, 1),
            Self::Micros => (1, 1000),
            Self::Nanos => (1, 1_000_000),
        }
    }

    /// Ten to the power of this is what a unit is in milliseconds.
    fn shift(self) -> isize {
        match self {
            Self::Seconds => 3,
            Self::Millis => 0,
            Self::Micros => -3,
            Self::Nanos => -6,
        }
    }

    /// So many units; what is less than a millisecond is cut off towards the past.
    #[inline]
    pub(super) fn of_integer(self, number: i64) -> Option<Millis> {
        in_range(match self {
            Self::Seconds => number.checked_mul(1000)?,
            Self::Millis => number,
            Self::Micros => number.div_euclid(1000),
            Self::Nanos => number.div_euclid(1_000_000),
        })
    }

    /// A number is the decimal that it is nearest to: 4.004 s are 4004 ms, though the binary number is less.
    pub(super) fn of_number(self, number: f64) -> Option<Millis> {
        let (times, part) = self.scale();
        if part > 1 {
            // Whole microseconds and nanoseconds divide without a loss, as integers.
            let whole = number.floor();
            return (whole.abs() < 9.2e18).then(|| self.of_integer(whole as i64))?;
        }
        let scale = times as f64;
        let (nearest, below) = ((number * scale).round(), (number * scale).floor());
        let millis = if (nearest / scale).to_bits() == number.to_bits() { nearest } else { below };
        (millis.abs() <= FARTHEST as f64).then_some(millis as Millis)
    }

    /// A decimal as it is written; with an exponent it is read as a number.
    #[inline]
    pub(super) fn of_text(self, text: &str) -> Option<Millis> {
        match text.parse() {
            Ok(number) => self.of_integer(number),
            Err(_) => decimal(text, self.shift()).or_else(|| self.of_number(text.parse().ok()?)),
        }
    }
}

/// Where it is a date.
pub(super) fn in_range(time: Millis) -> Option<Millis> {
    (-FARTHEST..=FARTHEST).contains(&time).then_some(time)
}

/// A decimal times ten to the power of `shift`; what is left behind the point is cut off towards the past.
/// `None` where it is none, or too far off.
fn decimal(text: &str, shift: isize) -> Option<Millis> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let are_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !are_digits(whole) || !are_digits(fraction) {
        return None;
    }
    let taken = whole.len().checked_add_signed(shift).unwrap_or(0);
    let written = || whole.bytes().chain(fraction.bytes());
    let mut millis: Millis = 0;
    for digit in written().chain(std::iter::repeat(b'0')).take(taken) {
        millis = millis.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
    }
    let cut = written().skip(taken).any(|digit| digit != b'0');
    in_range(if negative { -millis - i64::from(cut) } else { millis })
}
