//! A value as a field's type, where it is looked at as it is written: `coerce` and `exact`.

use std::fmt::Write as _;

use serde::Deserializer as _;
use serde::de::DeserializeSeed as _;

use super::fields::FieldType;
use super::read::{ReadValue, Slot, Written};
use crate::typed;

/// How a field is read.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) name: String,
    pub(super) field_type: FieldType,
    pub(super) coerce: bool,
    pub(super) exact: bool,
}

impl Reading {
    /// True for a field that is what its type says.
    pub(super) fn is_simple(&self) -> bool {
        !self.coerce && !self.exact
    }

    fn found(&self, written: &str) -> String {
        let (expected, name) = (self.field_type.expected(), &self.name);
        format!("expected {expected} for the field `{name}`, found {}", Written::of(written))
    }
}

/// The value that is written, as one of the field; a text goes to the end of `text`.
pub(super) fn from_written(written: &str, field: &Reading, text: &mut Vec<u8>) -> Result<Slot, String> {
    if field.coerce {
        return coerced(written, field, text);
    }
    if field.exact && field.field_type == FieldType::Number {
        exactly(written, field)?;
    }
    let read = ReadValue { name: &field.name, field_type: field.field_type, text };
    let mut json = serde_json::Deserializer::from_str(written);
    read.deserialize(&mut json).map_err(|_| field.found(written))
}

/// By the rules of the transform `cast`: what is no list and no object is taken as its text, and that as the
/// field's type.
fn coerced(written: &str, field: &Reading, text: &mut Vec<u8>) -> Result<Slot, String> {
    let from = text.len();
    match written.as_bytes().first() {
        Some(b'{' | b'[') => return Err(field.found(written)),
        Some(b'n') => return Ok(Slot::Null),
        Some(b'"') => {
            let read = ReadValue { name: &field.name, field_type: FieldType::Text, text };
            let mut json = serde_json::Deserializer::from_str(written);
            json.deserialize_str(read).map_err(|error| error.to_string())?;
        }
        _ => text.extend_from_slice(written.as_bytes()),
    }
    if field.field_type == FieldType::Text {
        return Ok(Slot::Text(from, text.len()));
    }
    let value = text.get(from..).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
    let slot = match field.field_type {
        _ if value.is_empty() => Some(Slot::Null),
        FieldType::Integer => typed::integer(value).map(Slot::Integer),
        FieldType::Number => typed::number(value).map(Slot::Number),
        FieldType::Boolean => typed::truth(value).map(Slot::Boolean),
        FieldType::Time => typed::integer(value)
            .or_else(|| chrono::DateTime::parse_from_rfc3339(value).ok().map(|t| t.timestamp_millis()))
            .map(Slot::Integer),
        FieldType::Text => None,
    };
    if let (true, FieldType::Number) = (field.exact, field.field_type) {
        exactly(value, field)?;
    }
    text.truncate(from);
    slot.ok_or_else(|| field.found(written))
}

/// Refuses a number that is another once it has 64 bits.
fn exactly(written: &str, field: &Reading) -> Result<(), String> {
    let Some(number) = typed::number(written) else { return Ok(()) };
    let mut kept = Digits::default();
    let written_out = write!(kept, "{number:e}").is_ok();
    if written_out && Decimal::of(kept.text()) == Decimal::of(written) {
        return Ok(());
    }
    Err(format!(
        "{written} has more digits than a number of 64 bits keeps, which is {number}: field `{}`",
        field.name
    ))
}

/// A number as text, which has 24 characters at most.
#[derive(Default)]
struct Digits {
    bytes: [u8; 32],
    length: usize,
}

impl Digits {
    fn text(&self) -> &str {
        self.bytes.get(..self.length).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl std::fmt::Write for Digits {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// A number by its digits: two are the same where they have the same value.
#[derive(Debug)]
struct Decimal<'a> {
    negative: bool,
    /// The digits before and behind the point, without zeros at either end.
    digits: (&'a str, &'a str),
    /// The power of ten of the first digit.
    power: i64,
}

impl<'a> Decimal<'a> {
    fn of(written: &'a str) -> Option<Self> {
        let (negative, rest) = match written.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, written.strip_prefix('+').unwrap_or(written)),
        };
        let (digits, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        let exponent: i64 = exponent.strip_prefix('+').unwrap_or(exponent).parse().ok()?;
        let significant = whole.trim_start_matches('0');
        let power = match significant.is_empty() {
            false => i64::try_from(significant.len()).ok()? - 1,
            true => -1 - i64::try_from(part.len() - part.trim_start_matches('0').len()).ok()?,
        };
        let part = part.trim_end_matches('0');
        let (whole, part) = match (significant.is_empty(), part.is_empty()) {
            (true, _) => (part.trim_start_matches('0'), ""),
            (false, true) => (significant.trim_end_matches('0'), ""),
            (false, false) => (significant, part),
        };
        let power = if whole.is_empty() { 0 } else { power.checked_add(exponent)? };
        Some(Self { negative: negative && !whole.is_empty(), digits: (whole, part), power })
    }
}

impl PartialEq for Decimal<'_> {
    fn eq(&self, other: &Self) -> bool {
        let digits = |number: &Self| number.digits.0.len() + number.digits.1.len();
        (self.negative, self.power, digits(self)) == (other.negative, other.power, digits(other))
            && self.digits.0.bytes().chain(self.digits.1.bytes()).eq(other
                .digits
                .0
                .bytes()
                .chain(other.digits.1.bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_the_same_by_their_value() {
        let same = |a, b| Decimal::of(a).is_some() && Decimal::of(a) == Decimal::of(b);
        for (a, b) in [
            ("12.50", "1.25e1"),
            ("-0", "0.0e5"),
            ("100", "1E+2"),
            ("0.00120", "12e-4"),
            ("10.010", "1001e-2"),
            ("00.5", "5e-1"),
        ] {
            assert!(same(a, b), "{a} {b}");
        }
        for (a, b) in [("1", "-1"), ("12", "1.3e1"), ("1", "10"), ("1.01", "1.1"), ("11", "1.01e1")] {
            assert!(!same(a, b), "{a} {b}");
        }
    }

    proptest! {
        #[test]
        fn what_is_kept_is_written_back(number in any::<f64>().prop_filter("finite", |n| n.is_finite())) {
            let field = Reading { name: "n".into(), field_type: FieldType::Number, coerce: false, exact: true };
            prop_assert_eq!(exactly(&number.to_string(), &field), Ok(()));
            prop_assert_eq!(exactly(&format!("{number:e}"), &field), Ok(()));
            let longer = format!("{number:.17e}");
            let more = longer.replace('e', "01e");
            prop_assert!(number == 0.0 || exactly(&more, &field).is_err());
        }
    }
}
