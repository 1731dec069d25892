//! The `csv` source: the rows of a file, at full speed or replayed at a pace.
//!
//! Cells are given byte for byte: nothing is trimmed unless that is asked for, and nothing is guessed about
//! types; every column is text. A record that breaks the rules (RFC 4180, with `\n` line ends too) is
//! rejected with its line and does not stop those behind it. Blank lines are passed over, except in a file of
//! one column, where an empty line is an empty cell.
//!
//! | file | what is in it |
//! |---|---|
//! | [`dialect`] | what has a meaning, as the pipeline file says it |
//! | [`marks`] | where delimiters, line ends and quotes stand in a stretch of bytes |
//! | [`record`] | one record byte by byte, with quotes |
//! | [`reader`] | bytes to columns |
//! | [`header`] | the first record |
//! | [`form`] | what a file has to be to be read |
//!
//! All that does not depend on the form of a file is in [`files`](crate::files).

mod dialect;
mod form;
mod header;
mod marks;
mod reader;
mod record;

use std::sync::Arc;

use pipectl_framework::config::{ByteSize, Rate};
use pipectl_framework::plugin::{BindContext, BoundSource, Capability, Problem, Purpose, SourcePlugin};
use pipectl_framework::register;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::files::{Common, Compression, Encoding, LastLine, Opening, Paths, STANDARD_INPUT, one_mebibyte};
use crate::replay::Speed;
use dialect::{Characters, Quote, ShortRows, without_last_empty};
use form::{CsvForm, Header};
use header::{Expected, Head, read_head};
use reader::Dialect;

/// The most `skip_lines`.
const MOST_SKIPPED: u32 = 1000;

/// The rows of a CSV file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Csv {
    /// The file. A relative path starts at the folder of the pipeline file. A pattern such as `logs/*.csv`,
    /// or a list, gives several files, which are read in order of name as one. `-` is standard input.
    path: Paths,
    /// How the file is compressed: `auto`, as its first bytes say, `none`, `gzip` or `zstd`. Default: auto.
    #[serde(default)]
    compression: Compression,
    /// The encoding of the file, by its name in the Encoding Standard of the WHATWG, such as `gbk` or
    /// `utf-16le`. Default: utf-8.
    #[serde(default)]
    encoding: Encoding,
    /// Whether the first record is a header with the columns' names. Default: true, and false where `columns`
    /// are given.
    header: Option<bool>,
    /// The columns' names, for a file without a header; with `header: true` they stand in place of those in
    /// the file.
    columns: Option<Vec<String>>,
    /// What stands between two cells: one ASCII character, such as `"\t"` for tabs. Default: what a first
    /// line `sep=;` names, as spreadsheets write it, and `,` where there is none.
    delimiter: Option<char>,
    /// What stands around a cell that has delimiters, line ends or quotes in it, or `none`. Default: `"`.
    #[serde(default)]
    quote: Quote,
    /// What stands before a character that then has no meaning, such as `"\\"`; beside it, two quotes in a
    /// quoted cell are one. Default: nothing does.
    escape: Option<char>,
    /// What a line begins with that is a comment, such as `"#"`. Default: no line is one.
    comment: Option<char>,
    /// How many lines at the beginning of the file are passed over, at most 1000. Default: 0.
    #[serde(default)]
    skip_lines: u32,
    /// Whether spaces and tabs around cells are left out; those in quotes stay. Default: false.
    #[serde(default)]
    trim: bool,
    /// What becomes of a record with too few cells: `reject`, it cannot be used, or `pad`, those that are
    /// missing at its end are empty. Default: reject.
    #[serde(default)]
    short_rows: ShortRows,
    /// How many rows to give a second, such as `10/s`, `600/m`; row `i` is then stamped `start + i / rate`.
    /// Default: `max`, as fast as they can be read, each stamped with the time it is read.
    rate: Option<Rate>,
    /// How much faster than its own clock a replay with a `rate` runs: `10` gives ten times as many rows a
    /// second with the same stamps, `max` does not wait at all. Default: 1. Change it to try hours of data in
    /// minutes.
    #[serde(default)]
    speed: Speed,
    /// Whether to begin again at the end, for ever. Default: false. Under `--once` the file is read once all
    /// the same.
    #[serde(default)]
    repeat: bool,
    /// Whether to go on with what is written to the file later: it grows, is renamed while another one takes
    /// its name, or is cut short and begins anew. Default: false. Under `--once` it is read to its present
    /// end.
    #[serde(default)]
    follow: bool,
    /// What becomes of a last line without its end: `wait`, it is read by a later run once it has one, or
    /// `row`, it is a row like any other. Default: `wait` where the run keeps the file's position, and `row`
    /// elsewhere.
    last_line: Option<LastLine>,
    /// The longest record; a longer one is rejected. It bounds memory, and how far an unclosed quote is
    /// followed. Default: 1MiB.
    #[serde(default = "one_mebibyte")]
    max_line: ByteSize,
}

register!(source: Csv);

impl SourcePlugin for Csv {
    const NAME: &'static str = "csv";
    const SUMMARY: &'static str = "rows of a CSV file, at full speed or replayed at a pace";
    const EXAMPLE: &'static str = "\
- source: csv
  with:
    path: data/user_log.csv
    rate: 10/s
";
    const CAPABILITIES: &'static [Capability] = &[Capability::Replayable, Capability::Bounded];

    fn bind(self, context: &BindContext<'_>) -> Result<BoundSource, Problem> {
        let delimiter =
            self.delimiter.map(|written| dialect::byte("delimiter", "delimiter", written)).transpose()?;
        if self.skip_lines > MOST_SKIPPED {
            return Err(Problem::new(
                "skip_lines",
                format!("at most {MOST_SKIPPED} lines can be passed over"),
            ));
        }
        let Self { compression, encoding, rate, speed, repeat, last_line, max_line, follow, .. } = self;
        let path = self.path.clone();
        let common = Common { path, compression, encoding, rate, speed, repeat, last_line, max_line, follow };
        let opening = common.check(context)?;
        let Self { quote, escape, comment, trim, skip_lines, .. } = self;
        let characters = Characters { quote, escape, comment, trim };
        let (syntax, guessed) = (characters.syntax(delimiter.unwrap_or(b','))?, delimiter.is_none());
        let max_line = opening.max_line;
        let expected = Expected { syntax, guessed, skip_lines, max_line };
        let has_header = self.header.unwrap_or(self.columns.is_none());
        let mut heads = self.heads(&opening, expected, context.purpose)?.into_iter();
        let Some((name, head)) = heads.next() else {
            return Err(Problem::new("path", "at least one file is needed"));
        };
        // Where more may come, what is there says nothing yet.
        let unseen = opening.grows() && !head.is_whole() && self.columns.is_some();
        let delimiter = match (delimiter, head.delimiter) {
            (Some(written), Some(named)) if char::from(written) != named => {
                let problem = Problem::new("delimiter", format!("`{name}` is delimited by {named:?}"));
                return Err(problem
                    .label(format!("its first line is `sep={named}`"))
                    .help("take `delimiter` away, or the first line of the file"));
            }
            (Some(written), _) => written,
            (None, Some(named)) => dialect::byte("path", "delimiter", named)?,
            (None, None) => b',',
        };
        let columns = self.names(&name, has_header, unseen, &head)?;
        for (other, its) in heads {
            if its.delimiter != head.delimiter || (has_header && its.cells != head.cells) {
                return Err(differs("path", (&name, &head), (&other, &its)));
            }
        }
        let dialect = Dialect {
            syntax: characters.syntax(delimiter)?,
            pads: self.short_rows == ShortRows::Pad,
            columns: columns.into(),
            max_line,
            name,
            encoding,
        };
        let header = match head.cells.filter(|_| !unseen) {
            _ if !has_header => Header::None,
            Some(cells) => Header::Seen(cells),
            None => Header::Unseen,
        };
        Ok(opening.source(CsvForm::new(dialect, header, unseen, skip_lines)))
    }
}

impl Csv {
    /// The beginnings of the files, as far as they are needed and there.
    fn heads(
        &self,
        opening: &Opening,
        expected: Expected,
        purpose: Purpose,
    ) -> Result<Vec<(Arc<str>, Head)>, Problem> {
        const NAME_THEM: &str =
            "name them: `columns: [...]`, and `header: true` beside them where there is a header";
        if opening.is_standard() {
            if self.columns.is_some() {
                return Ok(vec![(Arc::from(STANDARD_INPUT), Head::unknown())]);
            }
            if self.header == Some(false) {
                return Err(Problem::new("header", "a file without a header needs `columns`")
                    .help("name them in their order: `columns: [user_id, item_id, ...]`"));
            }
            if purpose == Purpose::Check {
                let message = "the columns of standard input are not known before it is read";
                return Err(Problem::new("path", message)
                    .label("`pipectl run` alone reads it")
                    .help(NAME_THEM)
                    .help(
                        "without `columns`, `pipectl run` waits for the header, and takes them from there",
                    ));
            }
        }
        let heads = opening.look(|file| {
            let head = read_head(&mut *file, expected)?;
            // The rest of it may be still to come.
            let head = if opening.is_followed() || file.is_dry() { head } else { head.closed()? };
            let known = head.is_whole() || self.columns.is_some();
            Ok((head, known))
        })?;
        match heads
            .iter()
            .find(|(_, head)| opening.is_followed() && self.columns.is_none() && !head.is_whole())
        {
            None => Ok(heads),
            Some((name, _)) => Err(Problem::new("path", format!("the header of `{name}` is not there yet"))
                .label("it is empty, or its first line has no end")
                .help(NAME_THEM)
                .help("without `columns`, `pipectl run` waits for the header; with `--once` it does not")),
        }
    }

    /// True where a file whose first record has these cells may have so many columns.
    fn fits(&self, columns: usize, cells: &[Vec<u8>], has_header: bool) -> bool {
        let pads = self.short_rows == ShortRows::Pad && !has_header && cells.len() < columns;
        pads || columns == cells.len() || columns == without_last_empty(cells).len()
    }

    /// The columns' names, from the file or from its header.
    fn names(&self, name: &str, has_header: bool, unseen: bool, head: &Head) -> Result<Vec<String>, Problem> {
        let first = head.cells.as_deref();
        let names: Vec<String> = match (&self.columns, first) {
            (Some(columns), _) if unseen => columns.clone(),
            (None, _) if !has_header => {
                return Err(Problem::new("header", "a file without a header needs `columns`")
                    .label(first.map_or("the file is empty".into(), |cells| {
                        format!("its first record: {}", show(cells))
                    }))
                    .help("name them in their order: `columns: [user_id, item_id, ...]`"));
            }
            (_, None) if has_header => {
                let nothing = if name == STANDARD_INPUT { "nothing came" } else { "the file is empty" };
                return Err(Problem::new("path", format!("`{name}` has no header")).label(nothing));
            }
            (Some(columns), Some(cells)) if !self.fits(columns.len(), cells, has_header) => {
                return Err(Problem::new(
                    "columns",
                    format!("{} columns are named, but the file has {}", columns.len(), cells.len()),
                )
                .label(format!("its first record: {}", show(cells))));
            }
            (Some(columns), _) => columns.clone(),
            (None, cells) => decode(without_last_empty(cells.unwrap_or_default())).ok_or_else(|| {
                Problem::new("path", format!("the header of `{name}` is not {}", self.encoding))
                    .label(cells.map_or(String::new(), show))
                    .help(
                        "name the encoding of the file, such as `encoding: gbk` or `encoding: windows-1252`",
                    )
            })?,
        };
        if has_header && names.iter().any(|name| name.contains('\r')) {
            return Err(Problem::new("path", format!("the lines of `{name}` end in CR alone"))
                .label("the whole file would be its header")
                .help("save it with line ends LF or CR LF"));
        }
        let twice = names.iter().enumerate().find(|(i, name)| names.iter().take(*i).any(|n| n == *name));
        match twice {
            None if names.is_empty() => Err(Problem::new("columns", "at least one column is needed")),
            None => Ok(names),
            Some((index, name)) if self.columns.is_some() => {
                Err(Problem::new(format!("columns[{index}]"), format!("the column `{name}` is named twice")))
            }
            Some((_, twice)) => {
                Err(Problem::new("path", format!("the header of `{name}` has `{twice}` twice"))
                    .label(format!("the header is: {}", first.map_or(String::new(), show)))
                    .help("where this is the header, give the columns names of your own: `header: true` and `columns: [...]`")
                    .help("where the file has no header, name its columns: `columns: [...]`"))
            }
        }
    }
}

/// What is said of two files that are to be read as one, and begin otherwise.
fn differs(at: &str, (name, first): (&str, &Head), (other, its): (&str, &Head)) -> Problem {
    let cells = |head: &Head| head.cells.as_deref().map_or("no header".to_owned(), show);
    Problem::new(at, format!("the header of `{other}` is not that of `{name}`"))
        .label(format!("`{name}` has: {}; `{other}` has: {}", cells(first), cells(its)))
        .help("files that are read as one have the same columns in the same order, and the same delimiter")
        .help("read them by sources of their own, and join these: `from: [CHAIN.STEP, CHAIN.STEP]`")
}

fn decode(cells: &[Vec<u8>]) -> Option<Vec<String>> {
    cells.iter().map(|cell| String::from_utf8(cell.clone()).ok()).collect()
}

/// Cells for a person.
fn show(cells: &[Vec<u8>]) -> String {
    let mut text = String::new();
    for (index, cell) in cells.iter().enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        if text.len() > 200 {
            text.push_str("...");
            break;
        }
        text.extend(String::from_utf8_lossy(cell).chars().take(40).flat_map(char::escape_debug));
    }
    text
}

#[cfg(test)]
mod dialect_tests;
#[cfg(test)]
mod followed_tests;
#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod passing_tests;
#[cfg(test)]
mod several_tests;
#[cfg(test)]
mod tests;
