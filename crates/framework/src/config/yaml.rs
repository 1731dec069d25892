//! YAML to a tree with positions. The only user of `serde_yaml` (archived upstream) and `saphyr-parser`.
//!
//! The structure and the positions come from saphyr's events, the type of a plain scalar from `serde_yaml`. A
//! test holds both to the same tree. What could make a small file large or a reader dizzy is refused: anchors
//! and aliases, tags, several documents, more than [`MAX_BYTES`], [`MAX_DEPTH`] or [`MAX_VALUES`].
//!
//! What is no YAML is read once more by [`scan`], which knows the mistakes that people make; the parser's own
//! words remain for the others. What YAML takes and nobody means, such as a colon of full width, is told
//! while the tree is built ([`mistake`]).

mod characters;
mod flow;
mod mistake;
mod scan;

use std::collections::HashSet;
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span};

use super::diagnostic::Diagnostic;
use super::place::{Place, SourceFile};
use mistake::{Mistake, key_meant, surely};

/// The largest file, in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// The deepest nesting of lists and mappings.
pub(crate) const MAX_DEPTH: usize = 64;
/// The most scalars, lists and mappings, keys included: what bounds the time and memory that a file can take.
pub(crate) const MAX_VALUES: usize = 10_000;

/// A value as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it stands.
    pub place: Place,
}

/// The kinds of value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing, `null` or `~`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as JSON has it.
    Number(serde_json::Number),
    /// A text; `plain` where it was written without quotes.
    Text {
        /// The text.
        text: String,
        /// Written without quotes, so that what it becomes by interpolation is typed anew.
        plain: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key; a number or a truth value as a key is taken as the text that was written.
    pub key: String,
    /// Where the key stands.
    pub place: Place,
    /// The value.
    pub node: Node,
}

impl Node {
    /// What was meant by a text that stands where a mapping should: `source csv`, `path:x`. One word is none
    /// of these.
    pub(crate) fn key_meant(&self) -> Option<Diagnostic> {
        match &self.value {
            Value::Text { text, plain: true } if text.contains(|c: char| !c.is_alphanumeric()) => {
                key_meant(text, self.place.start).map(|mistake| mistake.diagnose(&self.place.file))
            }
            _ => None,
        }
    }

    /// The entries of a mapping; none where it is not one.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The value under a key of a mapping.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|e| e.key == key).map(|e| &e.node)
    }

    /// The text, where it is one.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text { text, .. } => Some(text),
            _ => None,
        }
    }

    /// What kind of value it is, for messages.
    pub fn kind(&self) -> String {
        match &self.value {
            Value::Null => "nothing".into(),
            Value::Bool(b) => format!("`{b}`"),
            Value::Number(n) => format!("the number {n}"),
            Value::Text { text, .. } => format!("the text `{}`", shorten(text)),
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a mapping".into(),
        }
    }

    /// An empty mapping at a place: the `with:` of a step that has none.
    pub fn empty_map(place: Place) -> Self {
        Self { value: Value::Map(Vec::new()), place }
    }

    /// A mapping without the entries whose keys stand at these places.
    #[must_use]
    pub(crate) fn without<'a>(&self, places: impl Iterator<Item = &'a Place>) -> Self {
        let places: Vec<&Place> = places.collect();
        let kept = self.entries().iter().filter(|entry| !places.contains(&&entry.place)).cloned().collect();
        Self { value: Value::Map(kept), place: self.place.clone() }
    }

    /// Cuts a mapping in two: the entries whose key is in `keys`, and the others.
    #[must_use]
    pub fn partition(&self, keys: &[&str]) -> (Self, Self) {
        let (ours, theirs) = self.entries().iter().cloned().partition(|e| keys.contains(&e.key.as_str()));
        let map = |entries| Self { value: Value::Map(entries), place: self.place.clone() };
        (map(ours), map(theirs))
    }
}

fn shorten(text: &str) -> String {
    if text.chars().count() > 40 {
        text.chars().take(40).chain("...".chars()).collect()
    } else {
        text.to_owned()
    }
}

/// Parses one document.
pub(crate) fn parse(file: &Arc<SourceFile>) -> Result<Node, Vec<Diagnostic>> {
    let at = |start: usize, end: usize| Place { file: file.clone(), start, end };
    if file.text.len() > MAX_BYTES {
        return Err(vec![
            Diagnostic::error(at(0, 0), format!("the file is larger than {MAX_BYTES} bytes"))
                .help("a pipeline file is a few kilobytes; is this the right file?"),
        ]);
    }
    let body = file.text.strip_prefix('\u{feff}').unwrap_or(&file.text);
    let skipped = file.text.len() - body.len();
    if let Some(index) =
        body.find(|c: char| c == '\0' || (c.is_control() && !matches!(c, '\n' | '\r' | '\t')))
    {
        return Err(vec![
            Diagnostic::error(at(skipped + index, skipped + index + 1), "a control character in the file")
                .help("remove it; a text may have it as an escape in double quotes, such as \"\\x07\""),
        ]);
    }
    let mut builder = Builder {
        file,
        offsets: CharOffsets::new(body, skipped),
        stack: Vec::new(),
        values: 0,
        unmeant: Vec::new(),
    };
    let root = builder.build(Parser::new_from_str(body));
    match root {
        Ok(root) if builder.unmeant.is_empty() => Ok(root),
        Err(Failure::Refused(diagnostic)) if builder.unmeant.is_empty() => Err(vec![*diagnostic]),
        // What is refused mostly follows from what stands before it and was not meant so.
        Ok(_) | Err(Failure::Refused(_)) => {
            Err(builder.unmeant.iter().map(|mistake| mistake.diagnose(file)).collect())
        }
        Err(Failure::NotYaml(error)) => Err(builder.not_yaml(&error)),
    }
}

/// Types a plain scalar as `serde_yaml` does.
pub(crate) fn resolve(text: &str) -> Value {
    // What begins with a letter is a text, unless it is `true`, `false` or `null`: most scalars need no
    // parser.
    if text.starts_with(|c: char| c.is_ascii_alphabetic() && !matches!(c, 't' | 'T' | 'f' | 'F' | 'n' | 'N'))
    {
        return Value::Text { text: text.to_owned(), plain: true };
    }
    // A scalar that looks like structure (`a: b` behind an interpolation) is a text.
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    // What is left may be a number, and nothing else: `&k3y` and `!!bool true`, from a command line, are
    // texts.
    let number = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'))
        && !text.contains(['#', ' ', '\t', '\n']);
    match serde_yaml::from_str::<serde_yaml::Value>(text) {
        Ok(serde_yaml::Value::Number(n)) if number => {
            let number = n
                .as_i64()
                .map(Into::into)
                .or_else(|| n.as_u64().map(Into::into))
                .or_else(|| n.as_f64().and_then(serde_json::Number::from_f64));
            number.map_or_else(|| Value::Text { text: text.to_owned(), plain: true }, Value::Number)
        }
        _ => Value::Text { text: text.to_owned(), plain: true },
    }
}

/// From saphyr's character indices to byte offsets.
struct CharOffsets {
    offsets: Option<Vec<u32>>,
    skipped: usize,
    length: usize,
}

impl CharOffsets {
    fn new(text: &str, skipped: usize) -> Self {
        let offsets = (!text.is_ascii()).then(|| text.char_indices().map(|(i, _)| i as u32).collect());
        Self { offsets, skipped, length: text.len() }
    }

    fn byte(&self, marker: &Marker) -> usize {
        let inside = match &self.offsets {
            None => marker.index(),
            Some(offsets) => offsets.get(marker.index()).map_or(self.length, |o| *o as usize),
        };
        self.skipped + inside.min(self.length)
    }
}

enum Open {
    List { items: Vec<Node>, start: usize },
    Map { entries: Vec<Entry>, seen: HashSet<String>, key: Option<(String, Place)>, start: usize },
}

struct Builder<'a> {
    file: &'a Arc<SourceFile>,
    offsets: CharOffsets,
    stack: Vec<Open>,
    values: usize,
    /// What YAML takes and nobody means.
    unmeant: Vec<Mistake>,
}

/// Why there is no tree.
enum Failure {
    /// It is YAML, and more than a pipeline file may have.
    Refused(Box<Diagnostic>),
    NotYaml(ScanError),
}

impl From<Diagnostic> for Failure {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Refused(Box::new(diagnostic))
    }
}

impl From<ScanError> for Failure {
    fn from(error: ScanError) -> Self {
        Self::NotYaml(error)
    }
}

impl Builder<'_> {
    fn place(&self, span: &Span) -> Place {
        let start = self.offsets.byte(&span.start);
        Place { file: self.file.clone(), start, end: self.offsets.byte(&span.end).max(start) }
    }

    fn build<'i>(
        &mut self,
        events: impl Iterator<Item = Result<(Event<'i>, Span), ScanError>>,
    ) -> Result<Node, Failure> {
        let mut root: Option<Node> = None;
        let mut documents = 0;
        for event in events {
            let (event, span) = event?;
            let place = self.place(&span);
            let node = match event {
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        return Err(Diagnostic::error(place, "a second document in the file")
                            .help("a pipeline file is one document; remove the `---` and what follows, or make it a file of its own")
                            .into());
                    }
                    continue;
                }
                Event::Alias(_) => return Err(no_anchors(place).into()),
                Event::Scalar(_, _, anchor, _)
                | Event::SequenceStart(anchor, _)
                | Event::MappingStart(anchor, _)
                    if anchor > 0 =>
                {
                    return Err(no_anchors(place).into());
                }
                Event::Scalar(_, _, _, Some(_))
                | Event::SequenceStart(_, Some(_))
                | Event::MappingStart(_, Some(_)) => {
                    return Err(Diagnostic::error(place, "a tag (`!...`) in the file")
                        .help("remove it; put a text that begins with `!` in quotes")
                        .into());
                }
                Event::Scalar(text, style, _, _) => {
                    self.count(&place)?;
                    if style == ScalarStyle::Plain {
                        self.look_at(&place);
                    }
                    let value = match style {
                        ScalarStyle::Plain => resolve(&text),
                        _ => Value::Text { text: text.into_owned(), plain: false },
                    };
                    Some(Node { value, place })
                }
                Event::SequenceStart(..) => {
                    self.open(Open::List { items: Vec::new(), start: place.start }, &place)?;
                    None
                }
                Event::MappingStart(..) => {
                    let open = Open::Map {
                        entries: Vec::new(),
                        seen: HashSet::new(),
                        key: None,
                        start: place.start,
                    };
                    self.open(open, &place)?;
                    None
                }
                Event::SequenceEnd | Event::MappingEnd => self.close(place.end),
                _ => None,
            };
            if let Some(node) = node
                && let Some(done) = self.put(node)?
            {
                root = Some(done);
            }
        }
        root.filter(|r| r.value != Value::Null).ok_or_else(|| {
            let place = Place { file: self.file.clone(), start: 0, end: 0 };
            Diagnostic::error(place, "the file is empty")
                .help("a pipeline file has a `name:` and `pipelines:`")
                .into()
        })
    }

    fn count(&mut self, place: &Place) -> Result<(), Diagnostic> {
        self.values += 1;
        if self.values <= MAX_VALUES {
            return Ok(());
        }
        Err(Diagnostic::error(place.clone(), format!("more than {MAX_VALUES} values in the file"))
            .help("a pipeline file has a few hundred; keep data in a file of its own"))
    }

    fn open(&mut self, open: Open, place: &Place) -> Result<(), Diagnostic> {
        self.count(place)?;
        if self.stack.len() >= MAX_DEPTH {
            return Err(too_deep(Place { end: place.start + 1, ..place.clone() }));
        }
        self.stack.push(open);
        Ok(())
    }

    fn close(&mut self, end: usize) -> Option<Node> {
        let (value, start) = match self.stack.pop()? {
            Open::List { items, start } => (Value::List(items), start),
            Open::Map { entries, start, .. } => (Value::Map(entries), start),
        };
        let text = self.file.text.get(start..end.max(start)).unwrap_or_default();
        let end = start + text.trim_end().len();
        Some(Node { value, place: Place { file: self.file.clone(), start, end } })
    }

    /// Puts a finished value where it belongs; gives it back where it is the root.
    fn put(&mut self, node: Node) -> Result<Option<Node>, Diagnostic> {
        match self.stack.last_mut() {
            None => return Ok(Some(node)),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, seen, key, .. }) => match key.take() {
                Some((key, place)) => entries.push(Entry { key, place, node }),
                None => {
                    let written = self.file.text.get(node.place.start..node.place.end).unwrap_or_default();
                    let text = match node.value {
                        Value::Text { text, .. } => text,
                        Value::Bool(_) | Value::Number(_) => written.trim().to_owned(),
                        Value::Null | Value::List(_) | Value::Map(_) => {
                            return Err(Diagnostic::error(node.place, "a key must be a text")
                                .help("a text that has `{`, `[` or `: ` in it stands in quotes"));
                        }
                    };
                    if !seen.insert(text.clone()) {
                        let twice = Diagnostic::error(
                            node.place,
                            format!("the key `{}` stands here twice", shorten(&text)),
                        );
                        let first = entries.iter().find(|e| e.key == text).map(|e| e.place.clone());
                        return Err(match first {
                            Some(first) => twice.also(first, "first here"),
                            None => twice,
                        }
                        .help("remove one of them"));
                    }
                    *key = Some((text, node.place));
                }
            },
        }
        Ok(None)
    }

    /// Keeps what YAML takes as a key or a text without quotes, and nobody means.
    fn look_at(&mut self, place: &Place) {
        let written = self.file.text.get(place.start..place.end).unwrap_or_default();
        let written = written.trim_end_matches([' ', '\t', '\r', '\n']);
        let in_braces = |start: &usize| self.file.text.get(*start..).is_some_and(|t| t.starts_with('{'));
        let (is_key, alone) = match self.stack.last() {
            Some(Open::Map { key: None, start, .. }) => {
                let behind = self.file.text.get(place.end..).unwrap_or_default().trim_start();
                (true, in_braces(start) && !behind.starts_with(':'))
            }
            _ => (false, false),
        };
        self.unmeant.extend(surely(written, place.start, is_key, alone));
    }

    /// The next line that says something.
    fn line_below(&self, line: usize) -> usize {
        let says = |line: &usize| {
            let text = self.file.line(*line).trim();
            !text.is_empty() && !text.starts_with('#')
        };
        (line + 1..=line + 100).find(says).unwrap_or(line)
    }

    /// What is told of a file that is no YAML: the mistake that is found up to where the parser could not go
    /// on, or else the parser's own words.
    fn not_yaml(&self, error: &ScanError) -> Vec<Diagnostic> {
        let start = self.offsets.byte(error.marker());
        let place = Place { file: self.file.clone(), start, end: start + 1 };
        let info = error.info();
        // Its scanner looks ahead and may meet its own limit before ours.
        if info.contains("recursion limit") {
            return vec![too_deep(place)];
        }
        // The parser may stop at the end of a text that the next line cannot go on.
        let last = self.line_below(self.file.line_column(start).0);
        let mistakes = scan::mistakes(&self.file.text);
        let told = mistakes.iter().any(|m| self.file.line_column(m.start).0 <= last);
        if told {
            return mistakes.iter().map(|mistake| mistake.diagnose(self.file)).collect();
        }
        vec![
            Diagnostic::error(place, format!("this is not YAML: {info}"))
                .help("look at the indentation, brackets and quotes here and on the line above"),
        ]
    }
}

fn too_deep(place: Place) -> Diagnostic {
    Diagnostic::error(place, format!("lists and mappings are nested more than {MAX_DEPTH} deep"))
        .help("a pipeline file is a few levels deep; is a bracket left open?")
}

fn no_anchors(place: Place) -> Diagnostic {
    Diagnostic::error(place, "an anchor or alias (`&name`, `*name`) in the file")
        .help("write the value out; put a text that begins with `&` or `*` in quotes")
}

#[cfg(test)]
mod mistake_tests;
#[cfg(test)]
mod tests;
