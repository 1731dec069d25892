//! The mistakes of YAML's own that people make, and what is said of each.

use std::sync::Arc;

use super::characters::{Odd, is_litter, is_odd_space, like, odd};
use super::{Diagnostic, Place, SourceFile, shorten};

/// A mistake with its place in the text, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
    /// Another place that has to do with it.
    pub(super) also: Option<(usize, &'static str)>,
}

/// What kind of mistake it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A tab in the indentation.
    TabIndents,
    /// A tab behind `:` or `-`.
    TabBehind(char),
    /// `source csv`: the words before and behind the colon that is not there.
    NoColon(String, String),
    /// `path:x`: what stands before and behind the colon.
    NoSpace(String, String),
    /// `-source: csv`: what stands behind the dash.
    NoSpaceBehindDash(String),
    /// A character that is not the one that it looks like.
    Odd(char),
    /// A bracket, a brace or a quote that is opened here.
    Unclosed(char),
    /// A bracket or a brace that is closed here.
    ClosesNothing(char),
    /// `Women: and men`.
    ColonInText(String),
    /// The same inside brackets or braces, where a comma may be missing.
    SecondColon(String),
    /// `key` stands deeper than the keys beside it.
    Deeper(String),
    /// `key` stands less deep than the keys beside it, and deeper than those around.
    Shallower(String),
    /// A character that no text begins with.
    Reserved(char),
    /// An anchor, an alias or a tag.
    Mark(char),
    /// Text behind the bracket, brace or quote that closes a value.
    Behind(char),
    /// A bracket or a brace within a text, inside brackets or braces.
    Within(char),
    /// Text behind `|` or `>`.
    BehindBlock(char),
    /// `key: - item`.
    ListBehindKey,
    /// `key: -`, or a `-` inside brackets or braces.
    LoneDash,
}

impl Mistake {
    pub(super) fn new(kind: Kind, start: usize, end: usize) -> Self {
        Self { kind, start, end, also: None }
    }

    pub(super) fn also(mut self, at: usize, words: &'static str) -> Self {
        self.also = Some((at, words));
        self
    }

    /// What a person reads.
    pub(super) fn diagnose(&self, file: &Arc<SourceFile>) -> Diagnostic {
        let at = |start: usize, end: usize| Place { file: file.clone(), start, end };
        let written = shorten(file.text.get(self.start..self.end).unwrap_or_default());
        let (message, help) = words(&self.kind, &written);
        let diagnostic = Diagnostic::error(at(self.start, self.end), message).help(help);
        match self.also {
            Some((also, words)) => {
                let length = file.text.get(also..).and_then(|t| t.chars().next()).map_or(0, char::len_utf8);
                diagnostic.also(at(also, also + length), words)
            }
            None => diagnostic,
        }
    }
}

fn words(kind: &Kind, written: &str) -> (String, String) {
    match kind {
        Kind::TabIndents => {
            ("a tab in the indentation".into(), "indent with spaces; YAML does not allow tabs there".into())
        }
        Kind::TabBehind(c) => (format!("a tab behind `{c}`"), "write a space in its place".into()),
        Kind::NoColon(key, value) => (
            format!("a colon is missing behind `{key}`"),
            format!("write `{}`", format!("{key}: {value}").trim_end()),
        ),
        Kind::NoSpace(key, value) => (
            format!("a space is missing behind the colon of `{key}`"),
            format!("write `{key}: {value}`; a text with a colon in it stands in quotes"),
        ),
        Kind::NoSpaceBehindDash(text) => {
            ("a space is missing behind `-`".into(), format!("write `- {text}`"))
        }
        Kind::Odd(c) => odd_words(*c),
        Kind::Unclosed(opener) => (
            format!("the {} `{opener}` is never closed", name(*opener)),
            format!("close it with `{}`", closer(*opener)),
        ),
        Kind::ClosesNothing(c) => (
            format!("a {} `{c}` that closes nothing", name(*c)),
            "remove it, or open it; a text that has it stands in quotes".into(),
        ),
        Kind::ColonInText(text) => (
            "a colon within a text that is not in quotes".into(),
            format!("put the text in quotes: `{}`; a key of its own begins on a new line", quote(text)),
        ),
        Kind::SecondColon(text) => (
            "a second colon: a comma is missing, or a text is not in quotes".into(),
            format!("put a comma before the next key, or the text in quotes: `{}`", quote(text)),
        ),
        Kind::Deeper(key) => (
            format!("wrong indentation: `{key}` stands deeper than what is beside it"),
            "what belongs together begins in the same column".into(),
        ),
        Kind::Shallower(key) => (
            format!("wrong indentation: `{key}` stands less deep than what is beside it"),
            "what belongs together begins in the same column".into(),
        ),
        Kind::Reserved(c) => (
            match c {
                '`' => "a text without quotes cannot begin with a backtick".into(),
                c => format!("a text without quotes cannot begin with `{c}`"),
            },
            format!("put it in quotes: `{}`", quote(written)),
        ),
        Kind::Mark('!') => (
            "a tag (`!...`) in the file".into(),
            "remove it; put a text that begins with `!` in quotes".into(),
        ),
        Kind::Mark(_) => (
            "an anchor or alias (`&name`, `*name`) in the file".into(),
            "write the value out; put a text that begins with `&` or `*` in quotes".into(),
        ),
        Kind::Behind(c @ ('"' | '\'')) => (
            "text behind the closing quote".into(),
            match c {
                '"' => {
                    "a quote within a text in quotes is written `\\\"`; is a quote too many, or one missing?"
                }
                _ => "a quote within a text in quotes is written `''`; is a quote too many, or one missing?",
            }
            .into(),
        ),
        Kind::Behind(c) => (
            format!("text behind the {} `{c}`", name(*c)),
            format!("put a text that begins with `{}` in quotes, all of it", opener(*c)),
        ),
        Kind::Within('{') if written.starts_with("${") => (
            "a `${` within braces or brackets, in a text without quotes".into(),
            "inside `{ }` and `[ ]` put a text with `${...}` in it in quotes: `\"${NAME}\"`".into(),
        ),
        Kind::Within(c) => (
            format!("a {} `{c}` within a text", name(*c)),
            format!("inside `{{ }}` and `[ ]` put a text with a `{c}` in it in quotes"),
        ),
        Kind::BehindBlock(c) => (
            format!("text behind `{c}`"),
            format!(
                "put a text that begins with `{c}` in quotes; the lines of a block begin below its `{c}`"
            ),
        ),
        Kind::LoneDash => (
            "a `-` alone, which is no text".into(),
            "put it in quotes: `\"-\"`; the items of a list begin on lines of their own".into(),
        ),
        Kind::ListBehindKey => (
            "a list begins behind its key, on the same line".into(),
            "begin it on the next line, or write `[a, b]`".into(),
        ),
    }
}

fn odd_words(c: char) -> (String, String) {
    let code = u32::from(c);
    match odd(c) {
        Some(Odd::Like(meant, name)) => (
            format!("{name} (`{c}`, U+{code:04X}) where `{meant}` is meant"),
            format!("type `{meant}`; a text that has a `{c}` there stands in quotes"),
        ),
        Some(Odd::Unseen(name)) => (
            format!("{name} (U+{code:04X}), which nobody sees"),
            "delete it, or write what has it in quotes".into(),
        ),
        Some(Odd::Space(name)) => (
            format!("{name} (U+{code:04X}) where a space is meant"),
            "replace it by a space; a text that has it there stands in quotes".into(),
        ),
        None => (format!("the character U+{code:04X}"), "remove it".into()),
    }
}

fn name(c: char) -> &'static str {
    match c {
        '{' | '}' => "brace",
        '[' | ']' => "bracket",
        _ => "quote",
    }
}

pub(super) fn closer(opener: char) -> char {
    match opener {
        '{' => '}',
        '[' => ']',
        quote => quote,
    }
}

fn opener(closer: char) -> char {
    match closer {
        '}' => '{',
        ']' => '[',
        quote => quote,
    }
}

/// A text in quotes, as YAML has it.
fn quote(text: &str) -> String {
    match text.contains(['"', '\\']) {
        true => format!("'{}'", text.replace('\'', "''")),
        false => format!("\"{text}\""),
    }
}

/// What was meant by words that stand where a key with its value should: `source csv`, `path:x`, `-source`.
/// None where they look like a text and nothing else.
pub(super) fn key_meant(text: &str, start: usize) -> Option<Mistake> {
    let end = start + text.len();
    if let Some(rest) = text.strip_prefix('-')
        && rest.starts_with(|c: char| c.is_alphabetic())
    {
        return Some(Mistake::new(Kind::NoSpaceBehindDash(shorten(rest)), start, end));
    }
    let word =
        text.find(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))).unwrap_or(text.len());
    let (key, rest) = text.split_at(word);
    let value = || shorten(rest.trim_start_matches(|c: char| c.is_whitespace() || c == ':'));
    if key.is_empty() {
        return None;
    }
    match rest.chars().next() {
        Some(':') => Some(Mistake::new(Kind::NoSpace(key.to_owned(), value()), start, end)),
        Some(c) if like(c, ':') || is_odd_space(c) => {
            Some(Mistake::new(Kind::Odd(c), start + word, start + word + c.len_utf8()))
        }
        None | Some(' ') => Some(Mistake::new(Kind::NoColon(key.to_owned(), value()), start, end)),
        Some(_) => None,
    }
}

/// What is surely a mistake in a key or a text without quotes, though YAML takes it. `start` is where it
/// stands; `alone` says of a key in braces that it has no value.
pub(super) fn surely(written: &str, start: usize, is_key: bool, alone: bool) -> Vec<Mistake> {
    let structural = |(index, c): &(usize, char)| {
        let before = written[..*index].chars().next_back();
        let behind = written[index + c.len_utf8()..].chars().next();
        let edge = before.is_none_or(|b| matches!(b, ':' | '-' | '\n')) || behind.is_none();
        match odd(*c) {
            _ if is_litter(*c) => true,
            Some(Odd::Space(_)) => is_key || edge,
            Some(Odd::Like('-', _)) => {
                (before == Some('\n') || is_key && before.is_none())
                    && behind.is_some_and(|c| c == ' ' || is_odd_space(c))
            }
            Some(Odd::Like('"' | '\'', _)) => {
                let other =
                    if before.is_none() { written.chars().next_back() } else { written.chars().next() };
                (before.is_none() || behind.is_none())
                    && (is_key || other.is_some_and(|o| like(o, '"') || like(o, '\'')))
                    && written.chars().nth(1).is_some()
            }
            Some(Odd::Like('{' | '[', _)) => is_key || before.is_none(),
            Some(Odd::Like(..) | Odd::Unseen(_)) => is_key,
            None => false,
        }
    };
    let odd: Vec<Mistake> = written
        .char_indices()
        .filter(structural)
        .map(|(index, c)| Mistake::new(Kind::Odd(c), start + index, start + index + c.len_utf8()))
        .collect();
    if odd.is_empty() { structure(written, start, is_key, alone).into_iter().collect() } else { odd }
}

fn structure(written: &str, start: usize, is_key: bool, alone: bool) -> Option<Mistake> {
    let whole = |kind| Some(Mistake::new(kind, start, start + written.len()));
    if is_key {
        // `with { path: x }` is a key `with { path` to YAML.
        let open = written.find(['{', '[']).filter(|open| {
            !written[*open..].contains(if written[*open..].starts_with('{') { '}' } else { ']' })
        });
        if let Some(open) = open {
            let (key, rest) = (written[..open].trim_end(), shorten(&format!("{}...", &written[open..])));
            return match key.strip_suffix(':') {
                Some(key) => whole(Kind::NoSpace(key.to_owned(), rest)),
                None if key.is_empty() => None,
                None => whole(Kind::NoColon(key.to_owned(), rest)),
            };
        }
        if alone
            && let Some((key, value)) = written.split_once(':')
            && !key.is_empty()
        {
            return whole(Kind::NoSpace(key.to_owned(), shorten(value)));
        }
        if let Some(rest) = written.strip_prefix('-')
            && rest.starts_with(|c: char| c.is_alphabetic())
        {
            return whole(Kind::NoSpaceBehindDash(shorten(rest)));
        }
    } else if let Some(line) = written.find('\n') {
        // A list item below a value, a little deeper, is the rest of a text to YAML.
        let rest = &written[line..];
        let dash = rest.len() - rest.trim_start().len();
        if rest[dash..].starts_with("- ") {
            let at = start + line + dash;
            return Some(
                Mistake::new(Kind::Deeper("-".into()), at, at + 1)
                    .also(start, "the text of which it would be a part"),
            );
        }
    }
    None
}
