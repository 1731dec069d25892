//! Passwords and tokens.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

/// A text that never prints: a password, a token. Written as `${NAME}` (or, for a trial, as the text itself).
/// It is never empty: a variable that holds nothing must not open what it is to lock.
#[derive(Clone, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String")]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Reads one that may be left out: where its key stands, there must be a secret behind it.
    ///
    /// # Errors
    /// Where nothing stands behind the key, or what is no secret.
    pub fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        Self::deserialize(deserializer).map(Some)
    }

    /// The text, for the one call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The text itself must not stand in the error, as serde's own would have it.
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) if text.is_empty() => Err(serde::de::Error::custom(
                "expected a secret, and it is empty: give it a text, or take the key away",
            )),
            serde_json::Value::String(text) => Ok(Self(text)),
            serde_json::Value::Bool(word) => Ok(Self(word.to_string())),
            serde_json::Value::Null => Err(serde::de::Error::custom(
                "expected a secret, and nothing stands here: give it a text, or take the key away",
            )),
            // A whole number prints as it was written; `1.50` would lose its last digit.
            serde_json::Value::Number(number) if !number.is_f64() => Ok(Self(number.to_string())),
            serde_json::Value::Number(_) => {
                Err(serde::de::Error::custom("expected a text: put the number in quotes"))
            }
            _ => Err(serde::de::Error::custom("expected a text")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print_and_does_not_stand_in_errors() {
        let secret: Secret = serde_json::from_str("\"hunter2\"").unwrap();
        assert_eq!(secret.expose(), "hunter2");
        assert_eq!(format!("{secret:?}"), "***");
        assert_eq!(serde_json::from_str::<Secret>("12345").unwrap().expose(), "12345");
        let error = serde_json::from_str::<Secret>("1.50").unwrap_err().to_string();
        assert!(error.contains("in quotes") && !error.contains("1.5"), "{error}");
        for none in ["null", "\"\""] {
            assert!(serde_json::from_str::<Secret>(none).is_err(), "{none}");
        }
        let error = serde_json::from_str::<Secret>("[\"hunter2\"]").unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
    }
}
