//! How a file is written, as the pipeline file says it.

use pipectl_framework::plugin::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use super::record::Syntax;

/// What stands around a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String")]
pub(super) enum Quote {
    /// A character.
    Mark(char),
    /// Nothing.
    None,
}

impl Default for Quote {
    fn default() -> Self {
        Self::Mark('"')
    }
}

impl<'de> Deserialize<'de> for Quote {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (Some(mark), None) => Ok(Self::Mark(mark)),
            _ if text == "none" => Ok(Self::None),
            _ => Err(serde::de::Error::custom("expected one character such as `'`, or `none`")),
        }
    }
}

/// What becomes of a record with too few cells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ShortRows {
    /// It cannot be used.
    #[default]
    Reject,
    /// Those that are missing are empty.
    Pad,
}

/// The characters that have a meaning, as they are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Characters {
    pub(super) quote: Quote,
    pub(super) escape: Option<char>,
    pub(super) comment: Option<char>,
    pub(super) trim: bool,
}

impl Characters {
    /// What has a meaning in a file of this delimiter.
    ///
    /// # Errors
    /// Where one of them cannot be what it is to be.
    pub(super) fn syntax(self, delimiter: u8) -> Result<Syntax, Problem> {
        let quote = match self.quote {
            Quote::Mark(quote) => Some(byte("quote", "quote", quote)?),
            Quote::None => None,
        };
        let escape = self.escape.map(|escape| byte("escape", "escape character", escape)).transpose()?;
        let comment =
            self.comment.map(|comment| byte("comment", "beginning of comments", comment)).transpose()?;
        // Two quotes in a quoted cell are one in any case.
        let escape = escape.filter(|escape| Some(*escape) != quote);
        let all =
            [("quote", quote), ("delimiter", Some(delimiter)), ("escape", escape), ("comment", comment)];
        for (index, (key, byte)) in all.iter().enumerate() {
            let Some(byte) = byte else { continue };
            if let Some((earlier, _)) = all.iter().take(index).find(|(_, earlier)| *earlier == Some(*byte)) {
                return Err(Problem::new(
                    *key,
                    format!("{:?} is the `{earlier}` already", char::from(*byte)),
                )
                .help("`delimiter`, `quote`, `escape` and `comment` are four characters"));
            }
        }
        Ok(Syntax { delimiter, quote, escape, comment, trim: self.trim })
    }
}

/// A character that is written in `place`, as the byte that it is.
///
/// # Errors
/// Where it is no character of one byte, or a line end.
pub(super) fn byte(place: &str, what: &str, written: char) -> Result<u8, Problem> {
    match u8::try_from(written) {
        Ok(byte) if byte.is_ascii() && !b"\r\n".contains(&byte) => Ok(byte),
        _ => Err(Problem::new(place, format!("{written:?} cannot be a {what}"))
            .help("write one ASCII character that is no line end, such as `;`")),
    }
}

/// The cells without a last one that is empty: a delimiter behind the last column begins none.
pub(super) fn without_last_empty(cells: &[Vec<u8>]) -> &[Vec<u8>] {
    match cells {
        [cells @ .., last] if last.is_empty() && !cells.is_empty() => cells,
        cells => cells,
    }
}
