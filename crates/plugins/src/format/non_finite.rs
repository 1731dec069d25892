//! Numbers that are not finite: `non_finite` at `json` and at `stdout`.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

/// What becomes of a row with a number that is NaN or infinite.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(from = "Option<Word>")]
pub(crate) enum NonFinite {
    /// The row cannot be used.
    #[default]
    Reject,
    /// A null stands for the number.
    Null,
    /// A text does: `NaN`, `Infinity`, `-Infinity`.
    Text,
}

/// How it is written in the file.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Word {
    Reject,
    Null,
    Text,
}

impl From<Option<Word>> for NonFinite {
    /// Without quotes `null` is YAML's null.
    fn from(word: Option<Word>) -> Self {
        match word {
            Some(Word::Reject) => Self::Reject,
            Some(Word::Null) | None => Self::Null,
            Some(Word::Text) => Self::Text,
        }
    }
}

impl NonFinite {
    /// How a number that is not finite is called.
    pub(crate) fn name(number: f64) -> &'static str {
        if number.is_nan() {
            "NaN"
        } else if number > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        }
    }

    /// Reads a setting that need not be there.
    pub(crate) fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        Self::deserialize(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_written_with_and_without_quotes() {
        let read = |value| serde_json::from_value::<NonFinite>(value).map_err(|e| e.to_string());
        assert_eq!(read(serde_json::json!("reject")), Ok(NonFinite::Reject));
        assert_eq!(read(serde_json::json!("null")), Ok(NonFinite::Null));
        assert_eq!(read(serde_json::json!(null)), Ok(NonFinite::Null));
        assert_eq!(read(serde_json::json!("text")), Ok(NonFinite::Text));
        assert!(read(serde_json::json!("nul")).is_err());
    }
}
