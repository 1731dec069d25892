//! Where a value stands in JSON: `$.order.items[0]['unit price']`, the `JSONPath` of RFC 9535 without
//! filters, slices and descendants.
//!
//! | written | is |
//! |---|---|
//! | `$` | the record; `@`: the element that a row is made of |
//! | `.name`, `['name']` | the member of an object; in brackets where it has other characters than letters, digits and `_` |
//! | `[0]`, `[-1]` | the element of a list, from its beginning or its end |
//! | `[*]`, `.*` | every element, or every member |

use std::fmt;
use std::iter::Peekable;
use std::str::CharIndices;

use pipectl_framework::plugin::Problem;

/// The longest path, in steps.
const MOST_STEPS: usize = 64;

/// The largest index that RFC 9535 allows.
const LARGEST_INDEX: i64 = (1 << 53) - 1;

/// Where a path begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    /// `$`
    Record,
    /// `@`
    Element,
}

/// A step down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// The member of an object.
    Name(String),
    /// The element of a list; a negative one counts from its end.
    Index(i64),
    /// Every element, or every member.
    Every,
}

/// A path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) root: Root,
    pub(super) steps: Vec<Step>,
}

/// What is wrong with a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// The bytes of the text that are wrong.
    part: (usize, usize),
    message: String,
    help: String,
}

impl Wrong {
    /// The problem at a place of the settings.
    pub(super) fn at(self, place: &str) -> Problem {
        Problem::new(place, self.message).part(self.part.0, self.part.1).help(self.help)
    }
}

impl Path {
    /// Reads a path.
    pub(super) fn parse(text: &str) -> Result<Self, Wrong> {
        let mut reader = Reader { text, chars: text.char_indices().peekable() };
        let root = match reader.chars.next() {
            Some((_, '$')) => Root::Record,
            Some((_, '@')) => Root::Element,
            _ => {
                let help = format!("write `$.{}`, where `$` is the record", text.trim());
                return Err(reader.wrong(0, text.len(), "a path begins with `$`", help));
            }
        };
        let mut steps = Vec::new();
        while let Some(step) = reader.step()? {
            if steps.len() == MOST_STEPS {
                let message = format!("more than {MOST_STEPS} steps in a path");
                return Err(reader.wrong(0, text.len(), message, "is this the right path?"));
            }
            steps.push(step);
        }
        Ok(Self { root, steps })
    }

    /// The members that a dotted name may have been meant as; `None` where it is no such name.
    pub(super) fn meant_by(name: &str) -> Option<Self> {
        let names = name.strip_prefix("$.").unwrap_or(name);
        let parts: Vec<&str> = names.split('.').collect();
        if (parts.len() < 2 && names == name) || parts.iter().any(|part| part.is_empty()) {
            return None;
        }
        let steps = parts.into_iter().map(|part| Step::Name(part.to_owned())).collect();
        Some(Self { root: Root::Record, steps })
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.root == Root::Record { "$" } else { "@" })?;
        for step in &self.steps {
            match step {
                Step::Name(name) if is_plain(name) => write!(f, ".{name}")?,
                Step::Name(name) => {
                    write!(f, "['{}']", name.replace('\\', "\\\\").replace('\'', "\\'"))?;
                }
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Every => f.write_str("[*]")?,
            }
        }
        Ok(())
    }
}

fn begins_name(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

fn in_name(c: char) -> bool {
    begins_name(c) || c.is_ascii_digit()
}

/// True for a name that may stand behind a dot.
fn is_plain(name: &str) -> bool {
    name.starts_with(begins_name) && name.chars().all(in_name)
}

struct Reader<'a> {
    text: &'a str,
    chars: Peekable<CharIndices<'a>>,
}

impl Reader<'_> {
    fn wrong(&self, from: usize, to: usize, message: impl Into<String>, help: impl Into<String>) -> Wrong {
        let to = to.clamp(from, self.text.len());
        Wrong { part: (from, to), message: message.into(), help: help.into() }
    }

    /// Where the next character stands.
    fn at(&mut self) -> usize {
        self.chars.peek().map_or(self.text.len(), |(at, _)| *at)
    }

    fn peek(&mut self) -> Option<char> {
        self.chars.peek().map(|(_, c)| *c)
    }

    fn spaces(&mut self) {
        while self.chars.next_if(|(_, c)| matches!(c, ' ' | '\t' | '\n' | '\r')).is_some() {}
    }

    fn step(&mut self) -> Result<Option<Step>, Wrong> {
        let before = self.at();
        self.spaces();
        let Some((at, c)) = self.chars.next() else {
            return match before == self.text.len() {
                true => Ok(None),
                false => Err(self.wrong(before, self.text.len(), "a space behind the path", "remove it")),
            };
        };
        match c {
            '.' => self.behind_dot(at).map(Some),
            '[' => self.in_brackets(at).map(Some),
            _ => {
                let message = format!("`{c}` in a path, where `.`, `[` or its end is expected");
                Err(self.wrong(at, at + c.len_utf8(), message, "write `$.name` or `$['name']`"))
            }
        }
    }

    fn behind_dot(&mut self, dot: usize) -> Result<Step, Wrong> {
        let start = self.at();
        match self.peek() {
            Some('*') => {
                self.chars.next();
                return Ok(Step::Every);
            }
            Some('.') => {
                let help = "write out where the value stands: `$.a.b`";
                return Err(self.wrong(dot, dot + 2, "`..` (at any depth) cannot be used", help));
            }
            _ => {}
        }
        while self.chars.next_if(|(_, c)| in_name(*c)).is_some() {}
        let end = self.at();
        let name = self.text.get(start..end).unwrap_or_default().to_owned();
        let next = self.peek();
        if is_plain(&name) && next.is_none_or(|c| matches!(c, '.' | '[' | ' ' | '\t' | '\n' | '\r')) {
            return Ok(Step::Name(name));
        }
        let rest = self.text.get(start..).unwrap_or_default();
        let whole = rest.split(['.', '[', ' ']).next().unwrap_or_default().to_owned();
        if whole.is_empty() {
            return Err(self.wrong(
                dot,
                dot + 1,
                "a name is missing behind `.`",
                "write `.name` or `['name']`",
            ));
        }
        let help = match whole.parse::<u32>() {
            Ok(index) => format!("the element of a list is `[{index}]`, a member of this name `['{whole}']`"),
            Err(_) => format!("write `['{whole}']`"),
        };
        let message = format!("`{whole}` cannot stand behind `.`: it is not of letters, digits and `_`");
        Err(self.wrong(start, start + whole.len(), message, help))
    }

    fn in_brackets(&mut self, open: usize) -> Result<Step, Wrong> {
        self.spaces();
        let start = self.at();
        let step = match self.peek() {
            Some('*') => {
                self.chars.next();
                Step::Every
            }
            Some(quote @ ('"' | '\'')) => {
                self.chars.next();
                Step::Name(self.quoted(start, quote)?)
            }
            Some('?') => {
                let help = "give every element a row, and leave rows out by the transform `filter`";
                return Err(self.wrong(start, start + 1, "a filter in a path cannot be used", help));
            }
            Some(':') => return Err(self.slice(start)),
            Some(c) if c == '-' || c.is_ascii_digit() => self.index(start)?,
            None => {
                return Err(self.wrong(open, open + 1, "a `[` that is never closed", "close it with `]`"));
            }
            Some(_) => {
                let rest = self.text.get(start..).unwrap_or_default();
                let name = rest.split([']', ',']).next().unwrap_or_default().trim_end().to_owned();
                let help = format!("write `['{name}']`");
                return Err(self.wrong(
                    start,
                    start + name.len().max(1),
                    "a name in brackets stands in quotes",
                    help,
                ));
            }
        };
        self.spaces();
        let at = self.at();
        match self.chars.next() {
            Some((_, ']')) => Ok(step),
            Some((_, ',')) => {
                let help = "a field has one path; make several fields";
                Err(self.wrong(at, at + 1, "several at once (`,`) cannot be used", help))
            }
            Some((_, ':')) => Err(self.slice(at)),
            Some((_, c)) => {
                Err(self.wrong(at, at + c.len_utf8(), format!("`{c}` in brackets"), "close them with `]`"))
            }
            None => Err(self.wrong(open, open + 1, "a `[` that is never closed", "close it with `]`")),
        }
    }

    fn slice(&self, at: usize) -> Wrong {
        self.wrong(
            at,
            at + 1,
            "a part of a list (`:`) cannot be used",
            "write one index, or `*` for every element",
        )
    }

    fn index(&mut self, start: usize) -> Result<Step, Wrong> {
        let minus = self.chars.next_if(|(_, c)| *c == '-').is_some();
        while self.chars.next_if(|(_, c)| c.is_ascii_digit()).is_some() {}
        let end = self.at();
        let digits = self.text.get(start + usize::from(minus)..end).unwrap_or_default();
        let leading = digits.len() > 1 && digits.starts_with('0') || minus && digits == "0";
        match digits.parse::<i64>() {
            Ok(index) if !leading && index <= LARGEST_INDEX => {
                Ok(Step::Index(if minus { -index } else { index }))
            }
            _ => {
                let written = self.text.get(start..end).unwrap_or_default();
                let message = format!("`{written}` is not an index");
                Err(self.wrong(start, end, message, "an index is such as `0`, `12` or `-1`"))
            }
        }
    }

    /// A name in quotes, with the escapes of JSON.
    fn quoted(&mut self, start: usize, quote: char) -> Result<String, Wrong> {
        let mut name = String::new();
        while let Some((at, c)) = self.chars.next() {
            match c {
                c if c == quote => return Ok(name),
                '\\' => name.push(self.escape(at, quote)?),
                c if c < ' ' => {
                    let message = "a control character in a name";
                    return Err(self.wrong(at, at + 1, message, format!("write `\\u{:04x}`", u32::from(c))));
                }
                c => name.push(c),
            }
        }
        let message = format!("a quote `{quote}` that is never closed");
        Err(self.wrong(start, start + 1, message, format!("close it with `{quote}`")))
    }

    fn escape(&mut self, at: usize, quote: char) -> Result<char, Wrong> {
        let escaped = match self.chars.next() {
            Some((_, 'b')) => Some('\u{8}'),
            Some((_, 't')) => Some('\t'),
            Some((_, 'n')) => Some('\n'),
            Some((_, 'f')) => Some('\u{c}'),
            Some((_, 'r')) => Some('\r'),
            Some((_, c @ ('/' | '\\'))) => Some(c),
            Some((_, c)) if c == quote => Some(c),
            Some((_, 'u')) => self.unicode(),
            _ => None,
        };
        let end = self.at();
        escaped.ok_or_else(|| {
            let help =
                "the escapes are those of JSON: `\\\\`, `\\n`, `\\u00e9`, and a quote like the one around";
            self.wrong(at, end, "an escape that there is none of", help)
        })
    }

    /// The character behind `\u`, of which a second half may follow.
    fn unicode(&mut self) -> Option<char> {
        let first = self.hex()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first);
        }
        let (Some((_, '\\')), Some((_, 'u'))) = (self.chars.next(), self.chars.next()) else { return None };
        let second = self.hex().filter(|second| (0xdc00..0xe000).contains(second))?;
        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00))
    }

    fn hex(&mut self) -> Option<u32> {
        (0..4).try_fold(0, |value, _| Some(value * 16 + self.chars.next()?.1.to_digit(16)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn steps(text: &str) -> Vec<Step> {
        Path::parse(text).unwrap().steps
    }

    fn name(text: &str) -> Step {
        Step::Name(text.into())
    }

    #[test]
    fn what_is_a_path() {
        for (text, wanted) in [
            ("$", vec![]),
            ("@", vec![]),
            ("$.a.b", vec![name("a"), name("b")]),
            ("$.a[0]['b c'][-1].d", vec![name("a"), Step::Index(0), name("b c"), Step::Index(-1), name("d")]),
            ("$.城市._x1", vec![name("城市"), name("_x1")]),
            ("$[*].a.*", vec![Step::Every, name("a"), Step::Every]),
            ("$ .a [ 'b' ]\n[ 0 ]", vec![name("a"), name("b"), Step::Index(0)]),
            (r#"$["a\"'"]['\'"']"#, vec![name("a\"'"), name("'\"")]),
            (r"$['\u00e9\ud83d\ude00\n\/\\']", vec![name("é😀\n/\\")]),
            ("$['']", vec![name("")]),
            ("$[9007199254740991]", vec![Step::Index(LARGEST_INDEX)]),
        ] {
            assert_eq!(steps(text), wanted, "{text}");
        }
        assert_eq!(Path::parse("@.a").unwrap().root, Root::Element);
    }

    #[test]
    fn what_is_none_is_told_where_it_ends() {
        for (text, part, message) in [
            ("", "", "begins with `$`"),
            ("a.b", "a.b", "begins with `$`"),
            ("$a", "a", "`a` in a path"),
            ("$.", ".", "a name is missing"),
            ("$.a.", ".", "a name is missing"),
            ("$.a ", " ", "a space behind"),
            ("$.order-id", "order-id", "cannot stand behind `.`"),
            ("$.0", "0", "cannot stand behind `.`"),
            ("$.a.1st.b", "1st", "cannot stand behind `.`"),
            ("$..a", "..", "at any depth"),
            ("$[a]", "a", "stands in quotes"),
            ("$[order id]", "order id", "stands in quotes"),
            ("$[?@.a > 1]", "?", "a filter"),
            ("$[1:2]", ":", "a part of a list"),
            ("$[:2]", ":", "a part of a list"),
            ("$[0,1]", ",", "several at once"),
            ("$['a','b']", ",", "several at once"),
            ("$[01]", "01", "is not an index"),
            ("$[-0]", "-0", "is not an index"),
            ("$[-]", "-", "is not an index"),
            ("$[9007199254740992]", "9007199254740992", "is not an index"),
            ("$[0", "[", "never closed"),
            ("$[", "[", "never closed"),
            ("$[]", "]", "stands in quotes"),
            ("$['a]", "'", "never closed"),
            (r"$['\x']", r"\x", "an escape"),
            (r"$['\ud800']", r"\ud800']", "an escape"),
            (r#"$['\"']"#, r#"\""#, "an escape"),
            ("$['a\tb']", "\t", "a control character"),
            ("$.a$", "a$", "cannot stand behind `.`"),
        ] {
            let wrong = Path::parse(text).unwrap_err();
            assert_eq!(&text[wrong.part.0..wrong.part.1], part, "{text}: {wrong:?}");
            assert!(wrong.message.contains(message), "{text}: {wrong:?}");
        }
        assert!(Path::parse(&format!("${}", ".a".repeat(100))).unwrap_err().message.contains("more than 64"));
    }

    proptest! {
        #[test]
        fn any_text_is_a_path_or_none(text in "\\PC{0,12}|[$@]([.\\[\\]'\"*a0\\\\u\\- :,?é]){0,12}") {
            if let Ok(path) = Path::parse(&text) {
                prop_assert_eq!(Path::parse(&path.to_string()), Ok(path));
            }
        }

        #[test]
        fn a_path_is_read_as_it_is_written(names in prop::collection::vec("[^\u{0}-\u{1f}]{0,4}", 0..4)) {
            let path = Path { root: Root::Record, steps: names.into_iter().map(Step::Name).collect() };
            prop_assert_eq!(Path::parse(&path.to_string()), Ok(path));
        }
    }
}
