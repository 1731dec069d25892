//! How a row is named for a person: by file and line where a source knows them.

use std::sync::Arc;

use super::Partition;

/// Where the rows of a source stand that is no topic: a row is named by its line, and by its number in words
/// where its line is not known.
///
/// ```
/// use pipectl_framework::batch::Lines;
/// let mut lines = Lines::new("a.csv");
/// lines.push(7, 9);
/// lines.push(9, 12);
/// assert_eq!(lines.place(8), "a.csv:10");
/// assert_eq!(lines.place(10), "a.csv:13");
/// assert_eq!(lines.place(6), "row 7 of a.csv");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines {
    source: Arc<str>,
    /// From each of these rows on, every row stands a line behind the one before: the offset of a row, and
    /// its line.
    runs: Vec<(i64, u64)>,
}

impl Lines {
    /// The rows of `source`, the line of none of them being known.
    pub fn new(source: impl Into<Arc<str>>) -> Self {
        Self { source: source.into(), runs: Vec::new() }
    }

    /// The row at `offset` stands at `line`, and each behind it a line further, until another is said.
    /// Offsets are said in their order, and only where that is not so.
    pub fn push(&mut self, offset: i64, line: u64) {
        match self.runs.last_mut() {
            Some(last) if last.0 == offset => last.1 = line,
            Some(last) if line_in(*last, offset) == Some(line) => {}
            _ => self.runs.push((offset, line)),
        }
    }

    /// The place of the row at `offset`, such as `logs/a.csv:17`.
    pub fn place(&self, offset: i64) -> String {
        let run = self.runs.partition_point(|(first, _)| *first <= offset).checked_sub(1);
        let line = run.and_then(|run| line_in(*self.runs.get(run)?, offset));
        match line {
            Some(line) => format!("{}:{line}", self.source),
            None => format!("row {} of {}", offset.saturating_add(1), self.source),
        }
    }
}

/// The line of a row in a run of them.
fn line_in((first, line): (i64, u64), offset: i64) -> Option<u64> {
    line.checked_add(u64::try_from(offset.checked_sub(first)?).ok()?)
}

/// The place of a row for a person: by its line, and by partition and offset where it is of a topic.
pub(crate) fn place_of(partition: &Partition, offset: i64, lines: Option<&Lines>) -> String {
    lines.map_or_else(|| format!("{partition}@{offset}"), |lines| lines.place(offset))
}
