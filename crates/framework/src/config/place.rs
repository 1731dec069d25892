//! Where something was written.

use std::fmt;
use std::sync::Arc;

/// A text with a name: the pipeline file, or the argument of `--set`.
#[derive(Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// The name to show, such as `pipeline.yaml`.
    pub name: String,
    /// The text.
    pub text: String,
    line_starts: Vec<usize>,
}

impl SourceFile {
    /// Takes a text and finds its lines.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        let text = text.into();
        let ends = |at: usize, byte: u8| {
            byte == b'\n' || (byte == b'\r' && text.as_bytes().get(at + 1) != Some(&b'\n'))
        };
        let line_starts = std::iter::once(0)
            .chain(text.bytes().enumerate().filter(|(at, b)| ends(*at, *b)).map(|(at, _)| at + 1))
            .collect();
        Arc::new(Self { name: name.into(), text, line_starts })
    }

    /// The line (from 1) and column (from 1, in characters) of a byte offset.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let offset = offset.min(self.text.len());
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let start = self.line_starts[line - 1];
        (line, self.text.get(start..offset).map_or(offset - start, |t| t.chars().count()) + 1)
    }

    /// The text of a line (from 1), without its end.
    pub fn line(&self, line: usize) -> &str {
        let start = self.line_starts.get(line - 1).copied().unwrap_or(self.text.len());
        let end = self.line_starts.get(line).copied().unwrap_or(self.text.len());
        self.text.get(start..end).unwrap_or_default().trim_end_matches(['\n', '\r'])
    }

    /// The byte offset at which a line (from 1) starts.
    pub fn line_start(&self, line: usize) -> usize {
        self.line_starts.get(line - 1).copied().unwrap_or(self.text.len())
    }
}

/// A stretch of a source file, in bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Arc<SourceFile>,
    /// The first byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

impl Place {
    /// `file:line:column`.
    pub fn link(&self) -> String {
        let (line, column) = self.file.line_column(self.start);
        format!("{}:{line}:{column}", self.file.name)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.link())
    }
}
