//! What a window wants back with a committed position: the metadata string `v1;pos;watermark;closed_until`.

use std::fmt;
use std::str::FromStr;

use crate::clock::Millis;

/// Where a partition stood at a commit. The committed offset itself is that of the oldest open pane; what lies between it and `pos` is read again
/// to rebuild the open panes, and nothing else comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// The next offset that had not been dealt with.
    pub pos: i64,
    /// The watermark; `None` before the first record.
    pub watermark: Option<Millis>,
    /// The end of the last window that was closed; `None` before the first.
    pub closed_until: Option<Millis>,
}

impl fmt::Display for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v1;{};", self.pos)?;
        if let Some(watermark) = self.watermark {
            write!(f, "{watermark}")?;
        }
        f.write_str(";")?;
        self.closed_until.map_or(Ok(()), |c| write!(f, "{c}"))
    }
}

impl FromStr for Restored {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected `v1;pos;watermark;closed_until`, found `{}`", text.escape_debug());
        let mut parts = text.split(';');
        let mut next = || parts.next().ok_or_else(wrong);
        if next()? != "v1" {
            return Err(wrong());
        }
        let optional = |part: &str| (!part.is_empty()).then(|| part.parse().map_err(|_| wrong())).transpose();
        let restored = Self {
            pos: next()?.parse().map_err(|_| wrong())?,
            watermark: optional(next()?)?,
            closed_until: optional(next()?)?,
        };
        if parts.next().is_some() { Err(wrong()) } else { Ok(restored) }
    }
}
