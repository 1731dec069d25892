//! Reads what stands in quotes, brackets and braces, over several lines, for [`super::scan`].

use super::characters::{is_odd_space, like};
use super::mistake::{Kind, Mistake, closer};
use super::scan::{Read, Scan};

/// A bracket or a brace that is open.
struct Open {
    opener: char,
    at: usize,
    entry: Entry,
    /// A character that looks like one that closes it, or like one that opens another.
    looks: Option<(usize, char)>,
}

/// What was read between two commas.
#[derive(Default)]
struct Entry {
    /// Where it begins.
    start: Option<usize>,
    /// Its key has its colon.
    colon: bool,
    /// Where its value begins.
    value: Option<usize>,
    /// A colon without a space behind it.
    tight: Option<usize>,
    /// A comma that only looks like one.
    comma: Option<(usize, char)>,
}

impl Scan<'_> {
    /// The end of a text in quotes. What goes on below stands deeper than column `around`.
    pub(super) fn quoted(&mut self, open: usize, quote: char, around: Option<usize>) -> Read<usize> {
        let unclosed = Mistake::new(Kind::Unclosed(quote), open, open + 1);
        let mut at = open + 1;
        while let Some(c) = self.char(at) {
            at += c.len_utf8();
            match c {
                '\\' if quote == '"' => at += self.char(at).map_or(0, char::len_utf8),
                c if c == quote && quote == '\'' && self.char(at) == Some(quote) => at += 1,
                c if c == quote => return Ok(at),
                '\n' => {
                    let line = self.rest(at);
                    let column = line.len() - line.trim_start().len();
                    if !line.trim().is_empty() && around.is_some_and(|around| column <= around) {
                        return self.stop(unclosed);
                    }
                }
                _ => {}
            }
        }
        self.stop(unclosed)
    }

    /// The end of what is in brackets or braces.
    pub(super) fn flow(&mut self, open: usize, around: Option<usize>) -> Read<usize> {
        let mut stack: Vec<Open> = Vec::new();
        let mut at = open;
        while let Some(c) = self.char(at) {
            let next = at + c.len_utf8();
            if c == '{' || c == '[' {
                self.opens(stack.last_mut(), at, c)?;
                stack.push(Open { opener: c, at, entry: Entry::default(), looks: None });
                at = next;
                continue;
            }
            let Some(top) = stack.last_mut() else { return Ok(at) };
            at = match c {
                '\n' => self.below(next, around, &stack)?,
                '#' if self.text.get(..at).is_some_and(|t| t.ends_with([' ', '\t'])) => {
                    at + self.rest(at).len()
                }
                '}' | ']' => {
                    self.closes(top, at, c)?;
                    stack.pop();
                    if stack.is_empty() {
                        return Ok(next);
                    }
                    next
                }
                ',' => {
                    self.ends(top, at)?;
                    top.entry = Entry::default();
                    next
                }
                '"' | '\'' if !in_text(self.text, at, &top.entry) => {
                    top.entry.begin(at);
                    self.quoted_within(at, c, around)?
                }
                ':' => self.colon_within(&mut top.entry, at)?,
                c => {
                    self.letter(top, at, c)?;
                    next
                }
            };
        }
        self.unclosed(&stack, None)
    }

    /// A bracket or a brace begins a value, and stands in no text.
    fn opens(&mut self, around: Option<&mut Open>, at: usize, c: char) -> Read<()> {
        let Some(around) = around else { return Ok(()) };
        if in_text(self.text, at, &around.entry) {
            let variable = c == '{' && self.text.get(..at).is_some_and(|t| t.ends_with('$'));
            return self.stop(Mistake::new(Kind::Within(c), at - usize::from(variable), at + 1));
        }
        around.entry.begin(at);
        Ok(())
    }

    /// What closes is what was opened last.
    fn closes(&mut self, top: &Open, at: usize, c: char) -> Read<()> {
        if closer(top.opener) == c {
            return self.ends(top, at);
        }
        let mistake = match top.looks {
            Some((at, looks)) => Mistake::new(Kind::Odd(looks), at, at + looks.len_utf8()),
            None => Mistake::new(Kind::Unclosed(top.opener), top.at, top.at + 1).also(at, "before this"),
        };
        self.stop(mistake)
    }

    /// An entry ends, in which all was right.
    fn ends(&mut self, top: &Open, at: usize) -> Read<()> {
        match top.entry.ends(self.text, at, top.opener) {
            Some(mistake) => self.stop(mistake),
            None => Ok(()),
        }
    }

    /// The end of a text in quotes, behind which none may stand.
    fn quoted_within(&mut self, at: usize, quote: char, around: Option<usize>) -> Read<usize> {
        let end = self.quoted(at, quote, around)?;
        let behind = self.gap(end, quote)?;
        let structure = |c: char| {
            matches!(c, ',' | ':' | '}' | ']' | '#' | '\n' | '\r')
                || [',', ':', '}', ']'].iter().any(|meant| like(c, *meant))
        };
        if self.char(behind).is_none_or(structure) {
            return Ok(end);
        }
        let several = self.text.get(at..end).is_some_and(|t| t.contains('\n'));
        self.stop(match several {
            true => Mistake::new(Kind::Unclosed(quote), at, at + 1),
            false => Mistake::new(Kind::Behind(quote), behind, behind + 1).also(at, "it begins here"),
        })
    }

    /// A colon, of which an entry has one; gives where to go on.
    fn colon_within(&mut self, entry: &mut Entry, at: usize) -> Read<usize> {
        let quoted = self.text.get(..at).is_some_and(|t| t.ends_with(['"', '\'']));
        let ends_key = |c: char| c.is_whitespace() || is_odd_space(c) || matches!(c, ',' | '}' | ']');
        let is_key = quoted || self.char(at + 1).is_none_or(ends_key);
        if is_key && entry.colon {
            let start = entry.value.or(entry.start).unwrap_or(at);
            let text =
                self.rest(start).split([',', '}', ']']).next().unwrap_or_default().trim_end().to_owned();
            return self.stop(match entry.comma {
                Some((at, comma)) => Mistake::new(Kind::Odd(comma), at, at + comma.len_utf8()),
                None => {
                    let end = start + text.len().max(1);
                    Mistake::new(Kind::SecondColon(text), start, end)
                }
            });
        }
        entry.begin(at);
        if is_key {
            entry.colon = true;
            return self.gap(at + 1, ':');
        }
        entry.tight = entry.tight.or(Some(at));
        Ok(at + 1)
    }

    /// A character of a key or a text, or between them.
    fn letter(&mut self, top: &mut Open, at: usize, c: char) -> Read<()> {
        match c {
            ' ' | '\t' | '\r' => {}
            c if is_odd_space(c) => {
                let before = self.text.get(..at).and_then(|t| t.chars().next_back());
                let behind = self.char(at + c.len_utf8());
                let structure = |c: Option<char>| {
                    c.is_none_or(|c| c.is_whitespace() || matches!(c, ',' | ':' | '{' | '}' | '[' | ']'))
                };
                if structure(before) || structure(behind) {
                    self.odd(at, c)?;
                }
            }
            c if like(c, ':') && top.opener == '{' && !top.entry.colon => {
                top.entry.colon = true;
                self.odd(at, c)?;
            }
            c if like(c, ',') => top.entry.comma = top.entry.comma.or(Some((at, c))),
            c if ['{', '}', '[', ']'].iter().any(|meant| like(c, *meant)) => {
                top.looks = top.looks.or(Some((at, c)));
            }
            _ if in_text(self.text, at, &top.entry) => {}
            '-' if self.char(at + 1).is_none_or(|c| c.is_whitespace() || matches!(c, ',' | '}' | ']')) => {
                return self.stop(Mistake::new(Kind::LoneDash, at, at + 1));
            }
            '@' | '`' | '%' => return self.reserved(at, c),
            '&' | '*' | '!' => return self.mark(at, c),
            c => {
                top.entry.begin(at);
                if like(c, '"') || like(c, '\'') {
                    self.odd(at, c)?;
                }
            }
        }
        Ok(())
    }

    /// Goes on in the next line, where that can belong to the same brackets; gives where it begins.
    fn below(&mut self, start: usize, around: Option<usize>, stack: &[Open]) -> Read<usize> {
        let line = self.rest(start);
        let content = line.trim_start();
        let (column, at) = (line.len() - content.len(), start + line.len() - content.len());
        let closes = content.starts_with(['}', ']']);
        let outside = around.is_some_and(|around| column <= around) && !closes;
        if !content.is_empty() && !content.starts_with('#') && (content.starts_with("- ") || outside) {
            return self.unclosed(stack, Some(at));
        }
        self.indentation(start).map(|(_, at)| at)
    }

    fn unclosed<T>(&mut self, stack: &[Open], before: Option<usize>) -> Read<T> {
        let Some(top) = stack.last() else { return Err(super::scan::Stop) };
        let mistake = match (top.looks, before) {
            (Some((at, looks)), _) => Mistake::new(Kind::Odd(looks), at, at + looks.len_utf8()),
            (None, Some(before)) => {
                Mistake::new(Kind::Unclosed(top.opener), top.at, top.at + 1).also(before, "before this")
            }
            (None, None) => Mistake::new(Kind::Unclosed(top.opener), top.at, top.at + 1),
        };
        self.stop(mistake)
    }
}

impl Entry {
    /// Something of it, which is no space, stands at `at`.
    fn begin(&mut self, at: usize) {
        self.start = self.start.or(Some(at));
        if self.colon {
            self.value = self.value.or(Some(at));
        }
    }

    /// What is wrong with it, now that it ends at `end`.
    fn ends(&self, text: &str, end: usize, opener: char) -> Option<Mistake> {
        let (start, tight) = (self.start?, self.tight?);
        if self.colon || opener != '{' {
            return None;
        }
        let key = text.get(start..tight).unwrap_or_default().to_owned();
        let value = text.get(tight + 1..end).unwrap_or_default().trim().to_owned();
        Some(Mistake::new(Kind::NoSpace(key, value.clone()), start, tight + 1 + value.len()))
    }
}

/// True within a text without quotes.
fn in_text(text: &str, at: usize, entry: &Entry) -> bool {
    let begun = if entry.colon { entry.value.is_some() } else { entry.start.is_some() };
    begun && text.get(..at).is_some_and(|t| !t.ends_with(['{', '[', ',']))
}
