//! What a window wants back with a committed position: the metadata string `v1;pos;watermark;closed_until`, or, where a changelog has a
//! part of the state or zeros have not begun yet, `v2;pos;watermark;closed_until;saved;keys;first`. Where rows that were late would be read again
//! with those of an open session, `v3` with their offsets at its end: the first, and how far each lies behind the one before it.

use std::fmt;
use std::str::FromStr;

use crate::clock::Millis;

/// Where a partition stood at a commit. The committed offset itself is that of the oldest open pane, or `saved`; what lies between it and `pos` is read
/// again to rebuild the open panes, and nothing else comes of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// The next offset that had not been dealt with.
    pub pos: i64,
    /// The watermark; `None` before the first record.
    pub watermark: Option<Millis>,
    /// The end of the last window that was closed; `None` before the first.
    pub closed_until: Option<Millis>,
    /// The changelog has the state of open windows as of this offset.
    pub saved: Option<i64>,
    /// True where the changelog has keys that `zero_fill` keeps.
    pub keys_saved: bool,
    /// The time of the first record, where zero fill begins with a window that was still open.
    pub first: Option<Millis>,
    /// The offsets of rows that were late, and would hang together with an open session now; rising.
    pub late: Vec<i64>,
}

/// The mark of [`Restored::keys_saved`].
const KEYS: &str = "k";

impl fmt::Display for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let late = !self.late.is_empty();
        let more = late || self.saved.is_some() || self.keys_saved || self.first.is_some();
        let version = match (late, more) {
            (true, _) => "v3",
            (false, true) => "v2",
            (false, false) => "v1",
        };
        write!(f, "{version};{};", self.pos)?;
        let number = |f: &mut fmt::Formatter<'_>, n: Option<i64>| n.map_or(Ok(()), |n| write!(f, "{n}"));
        number(f, self.watermark)?;
        f.write_str(";")?;
        number(f, self.closed_until)?;
        if more {
            f.write_str(";")?;
            number(f, self.saved)?;
            write!(f, ";{};", if self.keys_saved { KEYS } else { "" })?;
            number(f, self.first)?;
        }
        let mut before = 0;
        for (index, offset) in self.late.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { ";" } else { "," }, offset - before)?;
            before = *offset;
        }
        Ok(())
    }
}

impl FromStr for Restored {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected `v1;pos;watermark;closed_until`, found `{}`", text.escape_debug());
        let parts: Vec<&str> = text.split(';').collect();
        let (&[version, pos, watermark, closed_until], more) =
            parts.split_first_chunk::<4>().ok_or_else(wrong)?;
        let number = |part: &str| part.parse::<i64>().map_err(|_| wrong());
        let optional = |part: &str| (!part.is_empty()).then(|| number(part)).transpose();
        let (more, late) = match (version, more) {
            ("v1", []) => (None, None),
            ("v2", [saved, keys, first]) => (Some((saved, keys, first)), None),
            ("v3", [saved, keys, first, late]) => (Some((saved, keys, first)), Some(late)),
            _ => return Err(wrong()),
        };
        let (saved, keys_saved, first) = match more {
            None => (None, false, None),
            Some((saved, keys, first)) if matches!(*keys, "" | KEYS) => {
                (optional(saved)?, *keys == KEYS, optional(first)?)
            }
            Some(_) => return Err(wrong()),
        };
        let mut offsets = Vec::new();
        for step in late.into_iter().flat_map(|late| late.split(',')) {
            let before = offsets.last().copied().unwrap_or(0_i64);
            offsets.push(before.checked_add(number(step)?).ok_or_else(wrong)?);
        }
        Ok(Self {
            pos: number(pos)?,
            watermark: optional(watermark)?,
            closed_until: optional(closed_until)?,
            saved,
            keys_saved,
            first,
            late: offsets,
        })
    }
}
