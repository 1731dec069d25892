//! The first record of a file: its header, or what tells how wide it is.

use std::io::{self, Read};

use memchr::memchr_iter;

use super::reader::Place;
use super::record::{Cells, Parsed, parse};

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// What stands at the beginning of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The cells of the first record; `None` where the file has none.
    pub(super) cells: Option<Vec<Vec<u8>>>,
    /// The place behind a byte order mark: where the first record stands, if it is not a header.
    pub(super) top: Place,
    /// The place behind the first record: where the rows begin, if it is a header.
    pub(super) behind: Place,
    /// False where the first record has no line end.
    pub(super) whole: bool,
}

/// Reads the first record of `input`, which stands at its beginning. Blank lines before it do not count.
///
/// # Errors
/// Where the input cannot be read, or has no record within `max_line` bytes.
pub(super) fn read_head(mut input: impl Read, delimiter: u8, max_line: usize) -> io::Result<Head> {
    let mut bytes = Vec::new();
    let mut cells = Cells::default();
    let (mut asked, mut ended) = (4096u64, false);
    loop {
        let read = Read::by_ref(&mut input).take(asked).read_to_end(&mut bytes)? as u64;
        if read < asked && !ended {
            ended = true;
            bytes.push(b'\n');
        }
        asked *= 2;
        let bom = if bytes.starts_with(BOM) { BOM.len() } else { 0 };
        let place = |byte: usize| {
            let lines = memchr_iter(b'\n', bytes.get(..byte).unwrap_or_default()).count() as u64;
            Place { byte: byte as u64 - u64::from(ended && byte == bytes.len()), row: 0, line: 1 + lines }
        };
        let blank = |at: &usize| {
            [b"\n".as_slice(), b"\r\n"].iter().any(|end| bytes.get(*at..).is_some_and(|r| r.starts_with(end)))
        };
        let mut start = bom;
        while blank(&start) {
            start += if bytes.get(start) == Some(&b'\r') { 2 } else { 1 };
        }
        let rest = bytes.get(start..).unwrap_or_default();
        if rest.is_empty() && ended {
            return Ok(Head { cells: None, top: place(bom), behind: place(start), whole: true });
        }
        match parse(rest, delimiter, &mut cells) {
            Parsed::Record(length) if length <= max_line + 2 => {
                let whole = !(ended && start + length == bytes.len());
                let cells = (0..cells.len()).map(|i| cells.get(i).to_vec()).collect();
                return Ok(Head {
                    cells: Some(cells),
                    top: place(bom),
                    behind: place(start + length),
                    whole,
                });
            }
            Parsed::Broken(_) => {
                return Err(io::Error::other("text stands behind a closing quote in its first record"));
            }
            Parsed::Open if ended => {
                return Err(io::Error::other("a quote in its first record is not closed"));
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

    /// The first record's cells, joined; where the top and the rows begin, and on which line.
    fn head(text: &[u8]) -> Result<(Option<String>, u64, u64, u64), String> {
        let head = read_head(text, b',', 10_000).map_err(|e| e.to_string())?;
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
    fn a_file_without_one_says_so() {
        for empty in ["", "\n", "\r\n\r\n", "\u{feff}", "\u{feff}\n"] {
            assert_eq!(head(empty.as_bytes()).unwrap().0, None, "{empty:?}");
        }
        assert!(head(b"\"a,b\n1,2\n").unwrap_err().contains("not closed"));
        assert!(head(b"\"a\"x,b\n").unwrap_err().contains("closing quote"));
        assert!(head(&vec![b'x'; 50_000]).unwrap_err().contains("longer than 10000 bytes"));
    }
}
