//! The first record of a file: its header, or what tells how wide it is.

use std::io::{self, Read};

use memchr::{memchr, memchr_iter};

use super::record::{Cells, Parsed, Syntax, parse};
use crate::files::{BOM, Place, is_no_utf_16};

/// What stands at the beginning of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The cells of the first record; `None` where the file has none.
    pub(super) cells: Option<Vec<Vec<u8>>>,
    /// The place behind a byte order mark: where the first record stands, if it is not a header.
    pub(super) top: Place,
    /// The place behind the first record: where the rows begin, if it is a header.
    pub(super) behind: Place,
    /// How the first record ends.
    pub(super) end: End,
    /// The delimiter that a first line `sep=;` names. The line is no record.
    pub(super) delimiter: Option<char>,
}

/// How the first record of a file ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With a line end.
    Line,
    /// With what is there of the file.
    File,
    /// Not at all: what is there of the file ends in it, behind a quote that is open or an escape character.
    Open,
}

impl Head {
    /// What is known of a file that nobody has looked at.
    pub(super) fn unknown() -> Self {
        let top = Place { byte: 0, row: 0, line: 1 };
        Self { cells: None, top, behind: top, end: End::File, delimiter: None }
    }

    /// True where the first record is there, with its line end.
    pub(super) fn is_whole(&self) -> bool {
        self.cells.is_some() && self.end == End::Line
    }

    /// The same; it is an error where what is there ends in the first record.
    ///
    /// # Errors
    /// What is open.
    pub(super) fn closed(self) -> io::Result<Self> {
        match self.end {
            End::Open => Err(io::Error::other("a quote in its first record is not closed")),
            End::Line | End::File => Ok(self),
        }
    }
}

/// What a spreadsheet writes as the first line, in front of the delimiter, so that another one knows it.
const SEP: &[u8] = b"sep=";

/// The delimiter that the line at the beginning of `bytes` names, with the length of the line.
fn named_delimiter(bytes: &[u8]) -> Option<(char, usize)> {
    let end = memchr(b'\n', bytes)?;
    let line = bytes.get(..end)?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = line.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(line);
    let (word, delimiter) = line.split_at_checked(SEP.len())?;
    let mut characters = std::str::from_utf8(delimiter).ok()?.chars();
    let only = characters.next().filter(|_| characters.next().is_none())?;
    word.eq_ignore_ascii_case(SEP).then_some((only, end + 1))
}

/// What is known of a file before it is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    /// What has a meaning in it.
    pub(super) syntax: Syntax,
    /// True where the delimiter is a guess: a first line may name another one.
    pub(super) guessed: bool,
    /// How many of its first lines are not looked at.
    pub(super) skip_lines: u32,
    /// The longest record.
    pub(super) max_line: usize,
}

/// The index behind the line that begins at `start`.
fn behind_line(bytes: &[u8], start: usize) -> Option<usize> {
    bytes.get(start..).and_then(|rest| memchr(b'\n', rest)).map(|length| start + length + 1)
}

/// The index behind the first `count` lines from `start` on.
fn behind_lines(bytes: &[u8], start: usize, count: u32) -> Option<usize> {
    (0..count).try_fold(start, |start, _| behind_line(bytes, start))
}

/// Reads the first record of `input`, which stands at its beginning, as far as that is there. Blank lines and
/// comments before it do not count.
///
/// # Errors
/// Where the input cannot be read, is no UTF-8 by the look of it (`InvalidData`), or has no record within
/// `max_line` bytes.
pub(super) fn read_head(mut input: impl Read, expected: Expected) -> io::Result<Head> {
    let Expected { mut syntax, guessed, skip_lines, max_line } = expected;
    let mut bytes = Vec::new();
    let mut cells = Cells::default();
    let (mut asked, mut ended) = (4096u64, false);
    loop {
        let read = match Read::by_ref(&mut input).take(asked).read_to_end(&mut bytes) {
            // More may come, and it is looked at again then.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => 0,
            read => read? as u64,
        };
        if read < asked && !ended {
            ended = true;
            bytes.push(b'\n');
        }
        asked *= 2;
        is_no_utf_16(&bytes)?;
        let bom = if bytes.starts_with(BOM) { BOM.len() } else { 0 };
        let skipped = behind_lines(&bytes, bom, skip_lines);
        let top = skipped.unwrap_or(bytes.len());
        let named = named_delimiter(bytes.get(top..).unwrap_or_default());
        let top = top + named.map_or(0, |(_, line)| line);
        let named = named.map(|(named, _)| named);
        if let Some(named) = named.filter(|_| guessed) {
            syntax.delimiter = u8::try_from(named).unwrap_or(syntax.delimiter);
        }
        let place = |byte: usize| {
            let lines = memchr_iter(b'\n', bytes.get(..byte).unwrap_or_default()).count() as u64;
            Place { byte: byte as u64 - u64::from(ended && byte == bytes.len()), row: 0, line: 1 + lines }
        };
        let no_record = |start: usize, end: usize| {
            let line = bytes.get(start..end - 1).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            syntax.is_blank(line) || (syntax.comment.is_some() && line.first() == syntax.comment.as_ref())
        };
        let mut start = top;
        while let Some(end) = behind_line(&bytes, start).filter(|end| no_record(start, *end)) {
            start = end;
        }
        let rest = bytes.get(start..).unwrap_or_default();
        let lines = skip_lines as usize + 1;
        if skipped.is_none() && !ended && bytes.len() <= max_line.saturating_mul(lines) {
            continue;
        }
        if rest.is_empty() && ended {
            let (top, behind) = (place(top), place(start));
            return Ok(Head { cells: None, top, behind, end: End::File, delimiter: named });
        }
        match parse(rest, &syntax, &mut cells) {
            Parsed::Record(length) if length <= max_line + 2 => {
                let end = if ended && start + length == bytes.len() { End::File } else { End::Line };
                let cells = (0..cells.len()).map(|i| cells.get(i).to_vec()).collect();
                return Ok(Head {
                    cells: Some(cells),
                    top: place(top),
                    behind: place(start + length),
                    end,
                    delimiter: named,
                });
            }
            Parsed::Broken(_) => {
                return Err(io::Error::other("text stands behind a closing quote in its first record"));
            }
            Parsed::Open | Parsed::Part if ended => {
                let (top, behind) = (place(top), place(start));
                return Ok(Head { cells: None, top, behind, end: End::Open, delimiter: named });
            }
            Parsed::Part | Parsed::Open if rest.len() <= max_line + 2 => {}
            _ => {
                return Err(io::Error::other(format!(
                    "its first record is longer than {max_line} bytes (`max_line`)"
                )));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beginning(max_line: usize) -> Expected {
        Expected { syntax: Syntax::default(), guessed: true, skip_lines: 0, max_line }
    }

    #[test]
    fn lines_that_are_no_record_stand_before_the_first() {
        let with = |text: &str, skip_lines: u32| {
            let syntax = Syntax { comment: Some(b'#'), trim: true, ..Syntax::default() };
            let head = read_head(text.as_bytes(), Expected { syntax, skip_lines, ..beginning(100) }).unwrap();
            let cells = head.cells.map(|cells| String::from_utf8(cells.join(&b'|')).unwrap());
            (cells, head.top.line, head.behind.line)
        };
        let header = || Some("a|b".to_owned());
        assert_eq!(with("# x\n \t\r\n#\n a , b\n1,2\n", 0), (header(), 1, 5));
        assert_eq!(with("\u{feff}Report, of \"May\n\nsep=;\n# x\na;b\n", 2), (header(), 4, 6));
        assert_eq!(with("a\nb", 2), (None, 3, 3));
        assert_eq!(with("a\nb\n", 3), (None, 4, 4));
    }

    /// The first record's cells, joined; where the top and the rows begin, and on which line.
    fn head(text: &[u8]) -> Result<(Option<String>, u64, u64, u64), String> {
        let head = read_head(text, beginning(10_000)).and_then(Head::closed).map_err(|e| e.to_string())?;
        let cells = head.cells.map(|cells| String::from_utf8(cells.join(&b'|')).unwrap());
        Ok((cells, head.top.byte, head.behind.byte, head.behind.line))
    }

    #[test]
    fn the_first_record_is_found_in_all_its_forms() {
        assert_eq!(head(b"a,b\n1,2\n"), Ok((Some("a|b".into()), 0, 4, 2)));
        assert_eq!(head(b"\xEF\xBB\xBFa,b\r\n1,2\n"), Ok((Some("a|b".into()), 3, 8, 2)));
        assert_eq!(head(b"\r\n\n\"a\nx\",b\n"), Ok((Some("a\nx|b".into()), 0, 11, 5)));
        assert_eq!(head(b"a,b"), Ok((Some("a|b".into()), 0, 3, 2)));
        let long = format!("{},b\n", "x".repeat(9000));
        assert_eq!(head(long.as_bytes()).unwrap().2, 9003);
    }

    #[test]
    fn a_line_that_names_the_delimiter_is_none() {
        for (line, delimiter) in
            [("sep=;\n", ';'), ("\u{feff}sep=;\r\n", ';'), ("\"SEP=|\"\r\n", '|'), ("sep=\t\n", '\t')]
        {
            let text = format!("{line}a,1{delimiter}b\n1{delimiter}2\n");
            let head = read_head(text.as_bytes(), beginning(100)).unwrap();
            assert_eq!(head.delimiter, Some(delimiter));
            assert_eq!(head.cells, Some(vec![b"a,1".to_vec(), b"b".to_vec()]), "{line:?}");
            assert_eq!(
                (head.top.byte, head.top.line, head.behind.line),
                (line.len() as u64, 2, 3),
                "{line:?}"
            );
        }
        for text in ["sep=;;\n", "sep=\n", "sep\n", "a,sep=;\n"] {
            assert_eq!(read_head(text.as_bytes(), beginning(100)).unwrap().delimiter, None, "{text:?}");
        }
    }

    #[test]
    fn utf_16_is_named_and_other_zeros_are_not() {
        let little = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        let big = |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>();
        for text in
            ["id,city\n1,a\n", "\u{feff}id\n", "\u{57ce}\u{5e02},\u{4eba}\u{53e3}\r\n\u{5317}\u{4eac},1\r\n"]
        {
            for (bytes, name) in [(little(text), "little endian"), (big(text), "big endian")] {
                let error = read_head(&*bytes, beginning(100)).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                assert_eq!(error.to_string(), format!("it looks like UTF-16, {name}, and not like UTF-8"));
            }
        }
        for text in ["id,a\n1,\0\n", "id,a\n\0,\0\n", "\u{57ce}\n"] {
            assert!(read_head(text.as_bytes(), beginning(100)).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn a_file_without_one_says_so() {
        for empty in ["", "\n", "\r\n\r\n", "\u{feff}", "\u{feff}\n"] {
            assert_eq!(head(empty.as_bytes()).unwrap().0, None, "{empty:?}");
        }
        assert!(head(b"\"a,b\n1,2\n").unwrap_err().contains("not closed"));
        assert!(head(b"\"a\"x,b\n").unwrap_err().contains("closing quote"));
        assert!(head(&vec![b'x'; 50_000]).unwrap_err().contains("longer than 10000 bytes"));
    }
}
