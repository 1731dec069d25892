//! What a window wants back with a committed position. `run::notes` puts those of all windows of a chain into
//! one note.
//!
//! The text is fields behind `;`, each with a letter in front: `p` [`Restored::pos`], `w` the watermark, `c`
//! `closed_until`, `s` `saved`, `o` `own_low`, `k` `keys_saved`, `f` `first`, `g` [`Given`] as
//! `OFFSET,UNTIL`, `l` the offsets of [`Restored::late`]: the first, then how far each lies behind the one
//! before it. `p` is always there, the others where they say something. Version 0.1 wrote the fields by their
//! place, as `v1;pos;watermark;closed_until`, `v2` with `;saved;keys;first` behind it, and `v3` with the late
//! offsets at the end: these are still read.

use std::fmt;
use std::str::FromStr;

use crate::clock::Millis;

/// Where a partition stood at a commit. The committed offset itself is that of the oldest open pane, or
/// `saved`; what lies between it and `pos` is read again to rebuild the open panes, and nothing else comes of
/// it.
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
    /// Where rows have the time at which they are read: those before this offset are in windows that were
    /// closed, though they would be in others when they are read again.
    pub own_low: Option<i64>,
    /// True where the changelog has keys that `zero_fill` keeps.
    pub keys_saved: bool,
    /// The time of the first record, where zero fill begins with a window that was still open.
    pub first: Option<Millis>,
    /// What was given at the end of the data, of windows that are still open.
    pub given: Option<Given>,
    /// The offsets of rows that were late, and would hang together with an open session now; rising.
    pub late: Vec<i64>,
}

/// What was given at the end of a bounded input, which closes no window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Given {
    /// All rows before this offset are in results.
    pub offset: i64,
    /// The windows that end at this time or before have given a result.
    pub until: Millis,
}

/// The mark of [`Restored::keys_saved`] in the versions before `v4`.
const KEYS: &str = "k";

impl fmt::Display for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.pos)?;
        for (letter, number) in [
            ("w", self.watermark),
            ("c", self.closed_until),
            ("s", self.saved),
            ("o", self.own_low),
            ("f", self.first),
        ] {
            if let Some(number) = number {
                write!(f, ";{letter}{number}")?;
            }
        }
        if self.keys_saved {
            f.write_str(";k")?;
        }
        if let Some(Given { offset, until }) = self.given {
            write!(f, ";g{offset},{until}")?;
        }
        let mut before = 0;
        for (index, offset) in self.late.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { ";l" } else { "," }, offset - before)?;
            before = *offset;
        }
        Ok(())
    }
}

impl FromStr for Restored {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{}` does not say where a window stood", text.escape_debug());
        if text.starts_with('v') {
            return by_place(text).ok_or_else(wrong);
        }
        by_letter(text).ok_or_else(wrong)
    }
}

fn by_letter(text: &str) -> Option<Restored> {
    let mut restored = Restored::default();
    let mut seen = String::new();
    for field in text.split(';') {
        let letter = field.chars().next().filter(|letter| !seen.contains(*letter))?;
        seen.push(letter);
        let rest = &field[letter.len_utf8()..];
        let number = || rest.parse::<i64>().ok();
        match letter {
            'p' => restored.pos = number()?,
            'w' => restored.watermark = Some(number()?),
            'c' => restored.closed_until = Some(number()?),
            's' => restored.saved = Some(number()?),
            'o' => restored.own_low = Some(number()?),
            'f' => restored.first = Some(number()?),
            'k' if rest.is_empty() => restored.keys_saved = true,
            'g' => {
                let (offset, until) = rest.split_once(',')?;
                restored.given = Some(Given { offset: offset.parse().ok()?, until: until.parse().ok()? });
            }
            'l' => restored.late = offsets(rest)?,
            _ => return None,
        }
    }
    seen.contains('p').then_some(restored)
}

fn offsets(text: &str) -> Option<Vec<i64>> {
    let mut offsets = Vec::new();
    for step in text.split(',') {
        let before = offsets.last().copied().unwrap_or(0_i64);
        offsets.push(before.checked_add(step.parse().ok()?)?);
    }
    Some(offsets)
}

/// The versions before `v4`.
fn by_place(text: &str) -> Option<Restored> {
    let parts: Vec<&str> = text.split(';').collect();
    let (&[version, pos, watermark, closed_until], more) = parts.split_first_chunk::<4>()?;
    let optional = |part: &str| if part.is_empty() { Some(None) } else { part.parse::<i64>().ok().map(Some) };
    let mut restored = Restored {
        pos: pos.parse().ok()?,
        watermark: optional(watermark)?,
        closed_until: optional(closed_until)?,
        ..Restored::default()
    };
    let (more, late) = match (version, more) {
        ("v1", []) => (None, None),
        ("v2", [saved, keys, first]) => (Some((saved, keys, first)), None),
        ("v3", [saved, keys, first, late]) => (Some((saved, keys, first)), Some(late)),
        _ => return None,
    };
    if let Some((saved, keys, first)) = more {
        restored.saved = optional(saved)?;
        restored.keys_saved = matches!(*keys, "" | KEYS).then_some(*keys == KEYS)?;
        restored.first = optional(first)?;
    }
    if let Some(late) = late {
        restored.late = offsets(late)?;
    }
    Some(restored)
}
