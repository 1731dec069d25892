//! What a person reads when something is wrong with the file.

use std::fmt::Write as _;

use serde::Serialize;
use unicode_width::UnicodeWidthChar;

use super::place::Place;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be run.
    Error,
    /// It can, but probably not as meant.
    Warning,
}

/// A place with a few words beside its carets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Where.
    pub place: Place,
    /// What stands beside the carets; may be empty.
    pub text: String,
}

/// One thing that is wrong with the file: what, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, one short sentence without a full stop.
    pub message: String,
    /// Where.
    pub primary: Label,
    /// Other places that have to do with it.
    pub secondary: Vec<Label>,
    /// What to do, one sentence each.
    pub help: Vec<String>,
    /// The field of the rows that it is about, where it depends on what comes in to a step.
    pub(crate) field: Option<String>,
}

impl Diagnostic {
    /// An error at `place`.
    pub fn error(place: Place, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            primary: Label { place, text: String::new() },
            secondary: Vec::new(),
            help: Vec::new(),
            field: None,
        }
    }

    /// A warning at `place`.
    pub fn warning(place: Place, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(place, message) }
    }

    /// Adds what stands beside the carets.
    #[must_use]
    pub fn label(mut self, text: impl Into<String>) -> Self {
        self.primary.text = text.into();
        self
    }

    /// Adds another place.
    #[must_use]
    pub fn also(mut self, place: Place, text: impl Into<String>) -> Self {
        self.secondary.push(Label { place, text: text.into() });
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Adds `did you mean ...?` where one of the candidates looks like what was written.
    #[must_use]
    pub fn suggest<'a>(self, written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Self {
        match super::nearest(written, candidates) {
            Some(candidate) => self.help(format!("did you mean `{candidate}`?")),
            None => self,
        }
    }
}

/// Shows diagnostics in the order of their places, as `rustc` shows its own; with ANSI colour where `colour`
/// is true.
pub fn render(diagnostics: &[Diagnostic], colour: bool) -> String {
    let mut sorted: Vec<&Diagnostic> = diagnostics.iter().collect();
    sorted.sort_by(|a, b| {
        let key = |d: &Diagnostic| (d.primary.place.file.name.clone(), d.primary.place.start);
        key(a).cmp(&key(b))
    });
    let mut out = String::new();
    for (index, diagnostic) in sorted.iter().take(MOST_SHOWN).enumerate() {
        if index > 0 {
            out.push('\n');
        }
        Renderer { out: &mut out, colour }.diagnostic(diagnostic);
    }
    if sorted.len() > MOST_SHOWN {
        let _ = writeln!(out, "\n... and {} more problems", sorted.len() - MOST_SHOWN);
    }
    out
}

/// The most diagnostics that are shown to a person; JSON has them all.
const MOST_SHOWN: usize = 100;

/// The same as JSON, one object a diagnostic.
pub fn render_json(diagnostics: &[Diagnostic]) -> serde_json::Value {
    diagnostics
        .iter()
        .map(|d| {
            let (line, column) = d.primary.place.file.line_column(d.primary.place.start);
            serde_json::json!({
                "severity": d.severity,
                "message": d.message,
                "file": d.primary.place.file.name,
                "line": line,
                "column": column,
                "label": d.primary.text,
                "help": d.help,
            })
        })
        .collect()
}

struct Renderer<'a> {
    out: &'a mut String,
    colour: bool,
}

const BOLD: &str = "1";
const RED: &str = "1;31";
const YELLOW: &str = "1;33";
const BLUE: &str = "1;34";

impl Renderer<'_> {
    fn paint(&mut self, style: &str, text: &str) {
        if self.colour {
            let _ = write!(self.out, "\x1b[{style}m{text}\x1b[0m");
        } else {
            self.out.push_str(text);
        }
    }

    fn diagnostic(&mut self, diagnostic: &Diagnostic) {
        let (word, style) = match diagnostic.severity {
            Severity::Error => ("error", RED),
            Severity::Warning => ("warning", YELLOW),
        };
        self.paint(style, word);
        self.paint(BOLD, &format!(": {}", diagnostic.message));
        self.out.push('\n');
        let labels = || std::iter::once(&diagnostic.primary).chain(&diagnostic.secondary);
        let width =
            labels().map(|l| l.place.file.line_column(l.place.start).0.to_string().len()).max().unwrap_or(1);
        for (index, label) in labels().enumerate() {
            self.snippet(
                label,
                width,
                if index == 0 { "-->" } else { ":::" },
                if index == 0 { style } else { BLUE },
            );
        }
        for help in &diagnostic.help {
            let _ = write!(self.out, "{:width$} ", "");
            self.paint(BLUE, "=");
            let _ = writeln!(self.out, " help: {help}");
        }
    }

    fn snippet(&mut self, label: &Label, width: usize, arrow: &str, style: &str) {
        let file = &label.place.file;
        let (line, column) = file.line_column(label.place.start);
        let _ = write!(self.out, "{:width$}", "");
        self.paint(BLUE, arrow);
        let _ = writeln!(self.out, " {}:{line}:{column}", file.name);
        let _ = write!(self.out, "{:width$} ", "");
        self.paint(BLUE, "|");
        self.out.push('\n');
        self.paint(BLUE, &format!("{line:>width$} |"));
        let text = file.line(line);
        let start = label.place.start.saturating_sub(file.line_start(line)).min(text.len());
        let end = label.place.end.saturating_sub(file.line_start(line)).clamp(start, text.len());
        let (shown, indent, marked) = expand(text, start, end);
        if !shown.is_empty() {
            let _ = write!(self.out, " {shown}");
        }
        self.out.push('\n');
        let _ = write!(self.out, "{:width$} ", "");
        self.paint(BLUE, "|");
        let _ = write!(self.out, " {:indent$}", "");
        self.paint(style, &"^".repeat(marked.max(1)));
        if !label.text.is_empty() {
            self.out.push(' ');
            self.paint(style, &label.text);
        }
        self.out.push('\n');
    }
}

/// The longest line that is shown whole.
const LONGEST_LINE: usize = 160;

/// A line as a terminal shows it, with tabs and control characters made visible and a long line cut around
/// the marked part; the cells before that part, and its cells.
fn expand(line: &str, start: usize, end: usize) -> (String, usize, usize) {
    let (mut shown, mut indent, mut marked, mut cells) = (String::new(), 0, 0, 0);
    let first = if line.len() > LONGEST_LINE { start.saturating_sub(LONGEST_LINE / 2) } else { 0 };
    if first > 0 {
        shown.push_str("...");
        (indent, cells) = (3, 3);
    }
    for (at, c) in line.char_indices().filter(|(at, _)| *at >= first) {
        if cells >= LONGEST_LINE {
            shown.push_str("...");
            break;
        }
        let (text, wide) = match c {
            '\t' => ("    ".to_owned(), 4),
            c if c.is_control() || !printable(c) => ("\u{fffd}".to_owned(), 1),
            c => (c.to_string(), c.width().unwrap_or(1)),
        };
        shown.push_str(&text);
        cells += wide;
        if at < start {
            indent += wide;
        } else if at < end {
            marked += wide;
        }
    }
    (shown, indent, marked)
}

/// False for characters that turn the reading direction or hide: a file must look like what it says.
fn printable(c: char) -> bool {
    !matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}
