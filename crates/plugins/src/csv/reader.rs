//! Bytes to rows: the loop that everything else in this folder serves.
//!
//! The buffer is scanned as a whole ([`marks`](super::marks)). A line without a quote, nearly all of them, is
//! then split by comparing positions alone; a line with one is read by [`record`](super::record). A record
//! that breaks the rules is rejected with its line, and reading goes on behind it.

use std::io::{self, Read, Seek};
use std::sync::Arc;

use arrow_array::ArrayRef;
use pipectl_framework::batch::Lines;
use pipectl_framework::plugin::{SourceReject, head};

use super::marks::Marks;
use super::record::{Cells, Parsed, Syntax, parse};
use crate::columns::TextColumn;
use crate::files::{BATCH_BYTES, Buffer, Encoding, Input, LastLine, Place, Records, Rows};

/// How the file is written.
#[derive(Debug, Clone)]
pub(super) struct Dialect {
    /// What has a meaning in it.
    pub(super) syntax: Syntax,
    /// Cells that a record lacks at its end are empty.
    pub(super) pads: bool,
    /// The names of its columns.
    pub(super) columns: Arc<[String]>,
    /// The longest record in bytes, without its line end.
    pub(super) max_line: usize,
    /// The file's name for messages.
    pub(super) name: Arc<str>,
    /// What it is decoded from.
    pub(super) encoding: Encoding,
}

/// Rows while they are being read.
#[derive(Debug)]
struct Growing {
    columns: Vec<TextColumn>,
    numbers: Vec<i64>,
    rejects: Vec<SourceReject>,
    lines: Lines,
}

impl Growing {
    fn records(&self) -> usize {
        self.numbers.len() + self.rejects.len()
    }

    #[inline]
    fn push<'a>(&mut self, at: Place, wanted: &[usize], cell: impl Fn(usize) -> &'a [u8]) {
        for (column, wanted) in self.columns.iter_mut().zip(wanted) {
            column.push(cell(*wanted));
        }
        self.numbers.push(at.row as i64);
    }

    fn reject(&mut self, reject: SourceReject) {
        self.rejects.push(reject);
    }
}

/// Why the scanned part of the buffer was left.
enum Left {
    /// There are as many rows as were asked for.
    Full,
    /// The rest is a part of a record.
    Part,
}

/// Reads records from `R`.
#[derive(Debug)]
pub(super) struct Reader<R> {
    buffer: Buffer<R>,
    dialect: Dialect,
    /// The columns to build, rising.
    wanted: Vec<usize>,
    marks: Marks,
    /// The next delimiter, newline and quote in `marks`.
    next: [usize; 3],
    cells: Cells,
    /// Each cell is checked to be UTF-8 before it is taken: a batch is read in this way again once one in it
    /// was not, unless all are, as reading again takes long.
    careful: bool,
    reads_again: bool,
}

impl<R: Read + Seek> Reader<R> {
    /// A reader that begins at `at`.
    pub(super) fn new(
        input: R,
        dialect: Dialect,
        wanted: Vec<usize>,
        last_line: LastLine,
        at: Place,
    ) -> io::Result<Self> {
        let mut marks = Marks::default();
        marks.scan(&[], &dialect.syntax, dialect.columns.len());
        Ok(Self {
            buffer: Buffer::new(input, last_line, at)?,
            dialect,
            wanted,
            marks,
            next: [0; 3],
            cells: Cells::default(),
            careful: false,
            reads_again: true,
        })
    }

    /// Looks at each cell with care, as the input takes long to go back.
    pub(super) fn never_reads_again(mut self) -> Self {
        (self.careful, self.reads_again) = (true, false);
        self
    }

    /// Goes forward only: the input passes once.
    pub(super) fn passing(mut self) -> Self {
        self.buffer.passing();
        self
    }

    /// Where the next record stands.
    pub(super) fn place(&self) -> Place {
        self.buffer.place()
    }

    /// Why the last record was not given, where it waits for its end.
    pub(super) fn held(&self) -> Option<&'static str> {
        match self.buffer.waits() {
            [] if !self.buffer.waits_in_long_line() => None,
            [.., b'\n'] => Some(NOT_CLOSED),
            _ => Some("the last line has no end yet"),
        }
    }

    /// What is read.
    #[cfg(test)]
    pub(super) fn input(&self) -> &R {
        self.buffer.input()
    }

    /// The bytes of memory that are held.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.buffer.memory()
    }

    /// Goes on at `at`.
    pub(super) fn seek(&mut self, at: Place) -> io::Result<()> {
        self.buffer.seek(at)?;
        self.scan();
        Ok(())
    }

    /// Reads up to `limit` records. Fewer than asked, even none, may come before the end; the answer is true
    /// at the end.
    pub(super) fn read(&mut self, limit: usize) -> io::Result<(Rows, bool)> {
        self.buffer.go_on();
        let place = self.place();
        let (rows, end) = self.grow(limit)?;
        if let Some(rows) = finish(rows) {
            return Ok((rows, end));
        }
        self.seek(place)?;
        self.careful = true;
        let again = self.grow(limit);
        self.careful = !self.reads_again;
        let (rows, end) = again?;
        match finish(rows) {
            Some(rows) => Ok((rows, end)),
            None => Err(io::Error::other(format!("{} changes while it is read", self.dialect.name))),
        }
    }

    fn grow(&mut self, limit: usize) -> io::Result<(Growing, bool)> {
        let room = limit.min(8192);
        let mut rows = Growing {
            columns: self.wanted.iter().map(|_| TextColumn::with_capacity(room, room * 8)).collect(),
            numbers: Vec::with_capacity(room),
            rejects: Vec::new(),
            lines: Lines::new(self.dialect.name.clone()),
        };
        let begin = self.buffer.at().byte;
        loop {
            if let Left::Full = self.split(limit, &mut rows) {
                return Ok((rows, false));
            }
            if rows.records() > 0 && self.buffer.at().byte - begin >= BATCH_BYTES {
                return Ok((rows, false));
            }
            if self.buffer.unused().len() > self.dialect.max_line + 1 {
                if !self.skip_line(&mut rows)? {
                    return Ok((rows, true));
                }
            } else if !self.fill()? {
                return Ok((rows, true));
            }
        }
    }

    /// Takes records from the scanned part of the buffer.
    fn split(&mut self, limit: usize, rows: &mut Growing) -> Left {
        let width = self.dialect.columns.len();
        let [mut delimiter, mut newline, mut quote] = self.next;
        let first = self.buffer.start();
        let (mut start, mut at) = (first, self.buffer.at());
        // The lines of records are said where one is not the line behind the one before: below.
        rows.lines.push(at.row as i64, at.line);
        let left = loop {
            if rows.records() >= limit {
                break Left::Full;
            }
            let end = self.marks.newline(newline);
            if end == u32::MAX {
                break Left::Part;
            }
            let cuts = self.marks.delimiters_from(delimiter, width);
            let quoted = self.marks.quote(quote) <= end;
            // The cells of a line lie between its start, the delimiters, and its end without `\r`.
            let line = self.buffer.bytes().get(..end as usize).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !quoted && fits(cuts, end) && line.len() - start <= self.dialect.max_line {
                let cell = |column: usize| {
                    let from = if column == 0 { start } else { cut(cuts, column - 1) + 1 };
                    let to = if column + 1 == width { line.len() } else { cut(cuts, column) };
                    line.get(from..to).unwrap_or_default()
                };
                match self.wanted.iter().find(|c| self.careful && std::str::from_utf8(cell(**c)).is_err()) {
                    None => rows.push(at, &self.wanted, cell),
                    Some(column) => {
                        let reason = not_utf8(&self.dialect, *column);
                        rows.reject(self.reject(at, start..end as usize, reason));
                    }
                }
                at.row += 1;
                at.line += 1;
                delimiter += width - 1;
                newline += 1;
                start = end as usize + 1;
                continue;
            }
            let stop = match self.odd(start, newline) {
                Odd::Part => break Left::Part,
                Odd::Blank(stop) => stop,
                Odd::Row(stop) => {
                    rows.push(at, &self.wanted, |column| self.cells.get(column));
                    at.row += 1;
                    stop
                }
                Odd::Broken(stop, reason) => {
                    rows.reject(self.reject(at, start..stop, reason));
                    at.row += 1;
                    stop
                }
            };
            let lines = self.marks.newlines_before(stop, newline) - newline;
            delimiter = self.marks.delimiters_before(stop, delimiter);
            quote = self.marks.quotes_before(stop, quote);
            newline += lines;
            at.line += lines as u64;
            rows.lines.push(at.row as i64, at.line);
            start = stop;
        };
        at.byte += (start - first) as u64;
        self.buffer.used(start, at);
        self.next = [delimiter, newline, quote];
        left
    }

    /// True where a comment begins at this index.
    fn is_comment(&self, start: usize) -> bool {
        self.dialect.syntax.comment.is_some_and(|comment| self.buffer.bytes().get(start) == Some(&comment))
    }

    /// Looks at a line that the quick way could not take: the one from `start` on, which ends at newline
    /// number `newline`.
    fn odd(&mut self, start: usize, newline: usize) -> Odd {
        let max_line = self.dialect.max_line;
        let end = self.marks.newline(newline) as usize;
        let line = self.buffer.bytes().get(start..end).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Dialect { syntax, columns, pads, .. } = &self.dialect;
        if self.is_comment(start) || (columns.len() > 1 && syntax.is_blank(line)) {
            return Odd::Blank(end + 1);
        }
        if line.len() > max_line {
            return Odd::Broken(end + 1, too_long(max_line));
        }
        // No more is looked at than the longest record takes, so that what comes out does not depend on what
        // has been read.
        let longest = start + max_line + 2;
        let record = self.buffer.bytes();
        let full = record.len() >= longest;
        let record = record.get(start..record.len().min(longest)).unwrap_or_default();
        match parse(record, syntax, &mut self.cells) {
            // A delimiter behind the last cell is no cell.
            Parsed::Record(bytes)
                if match self.cells.len().checked_sub(columns.len()) {
                    None => !pads,
                    Some(0) => false,
                    Some(1) => !self.cells.get(columns.len()).is_empty(),
                    Some(_) => true,
                } =>
            {
                Odd::Broken(start + bytes, self.wrong_width(self.cells.len()))
            }
            Parsed::Record(bytes) => {
                let bad = |c: &&usize| self.careful && std::str::from_utf8(self.cells.get(**c)).is_err();
                match self.wanted.iter().find(bad) {
                    None => Odd::Row(start + bytes),
                    Some(column) => Odd::Broken(start + bytes, not_utf8(&self.dialect, *column)),
                }
            }
            Parsed::Broken(at) => {
                // The record ends, as far as can be told, with the line in which it went wrong.
                let line_end = self.marks.newline(self.marks.newlines_before(start + at, newline)) as usize;
                match line_end < longest {
                    true => Odd::Broken(line_end + 1, BEHIND_QUOTE.to_owned()),
                    false if full => Odd::Broken(end + 1, BEHIND_QUOTE.to_owned()),
                    false => Odd::Part,
                }
            }
            Parsed::Open if full => {
                Odd::Broken(end + 1, format!("a quote is not closed within {max_line} bytes"))
            }
            Parsed::Open if self.buffer.ends_with_row() => Odd::Broken(end + 1, NOT_CLOSED.to_owned()),
            Parsed::Part if full => Odd::Broken(end + 1, too_long(max_line)),
            Parsed::Part if self.buffer.ends_with_row() => {
                Odd::Broken(end + 1, "an escape character stands at the end of the file".to_owned())
            }
            Parsed::Open | Parsed::Part => Odd::Part,
        }
    }

    /// Rejects the line at the start of the buffer, of which no end is in sight, and goes on behind it. False
    /// where the file ends before it, and it waits.
    fn skip_line(&mut self, rows: &mut Growing) -> io::Result<bool> {
        let (at, bytes) = (self.buffer.at(), self.buffer.bytes().len());
        let reject = self.reject(at, self.buffer.start()..bytes, too_long(self.dialect.max_line));
        let is_record = !self.is_comment(self.buffer.start());
        let skipped = self.buffer.skip_line()?;
        self.scan();
        if skipped && is_record {
            self.buffer.count_record();
            rows.reject(reject);
        }
        Ok(skipped)
    }

    /// Reads more; false where there is nothing more and nothing left over.
    fn fill(&mut self) -> io::Result<bool> {
        if self.buffer.has_ended() {
            return Ok(false);
        }
        let more = self.buffer.fill()?;
        self.scan();
        Ok(more)
    }

    fn scan(&mut self) {
        self.marks.scan(self.buffer.bytes(), &self.dialect.syntax, self.dialect.columns.len());
        self.next = [0; 3];
    }

    fn reject(&self, at: Place, range: std::ops::Range<usize>, reason: String) -> SourceReject {
        let raw = self.buffer.bytes().get(range).unwrap_or_default();
        let raw = raw.strip_suffix(b"\n").unwrap_or(raw);
        SourceReject {
            time: None,
            offset: at.row as i64,
            place: format!("{}:{}", self.dialect.name, at.line),
            reason,
            raw: head(raw, self.dialect.max_line).to_vec(),
        }
    }

    fn wrong_width(&self, cells: usize) -> String {
        format!("{cells} cells where {} are expected", self.dialect.columns.len())
    }
}

impl Records for Reader<Input> {
    fn place(&self) -> Place {
        Reader::place(self)
    }

    fn input(&self) -> &Input {
        self.buffer.input()
    }

    fn input_mut(&mut self) -> &mut Input {
        self.buffer.input_mut()
    }

    fn into_input(self) -> Input {
        self.buffer.into_input()
    }

    fn seek(&mut self, at: Place) -> io::Result<()> {
        Reader::seek(self, at)
    }

    fn read(&mut self, limit: usize) -> io::Result<(Rows, bool)> {
        Reader::read(self, limit)
    }

    fn held(&self) -> Option<&'static str> {
        Reader::held(self)
    }
}

/// What stands at the start of a line that the quick way could not take; each with the index behind it.
enum Odd {
    /// The beginning of a record.
    Part,
    /// No record.
    Blank(usize),
    /// A record; its cells are in [`Reader::cells`].
    Row(usize),
    /// A record that cannot be used, and why.
    Broken(usize, String),
}

const NOT_CLOSED: &str = "a quote is not closed before the end of the file";
const BEHIND_QUOTE: &str = "text stands behind a closing quote";

fn too_long(max_line: usize) -> String {
    format!("longer than {max_line} bytes (`max_line`)")
}

fn not_utf8(dialect: &Dialect, column: usize) -> String {
    let name = dialect.columns.get(column).map_or("", String::as_str);
    format!("column `{name}` is not {}", dialect.encoding)
}

/// True where a line that ends at `end` has as many delimiters as it should: `cuts` are the next ones from
/// its start on, one more than that.
#[inline]
fn fits(cuts: &[u32], end: u32) -> bool {
    match cuts {
        [.., last, behind] => *last < end && *behind > end,
        [behind] => *behind > end,
        [] => false,
    }
}

#[inline]
fn cut(cuts: &[u32], index: usize) -> usize {
    cuts.get(index).map_or(0, |c| *c as usize)
}

/// The rows as columns; `None` where a cell is not UTF-8.
fn finish(rows: Growing) -> Option<Rows> {
    let columns = rows.columns.into_iter().map(|c| Some(Arc::new(c.finish(None).ok()?) as ArrayRef));
    let columns = columns.collect::<Option<_>>()?;
    Some(Rows { columns, numbers: rows.numbers, rejects: rows.rejects, lines: rows.lines })
}
