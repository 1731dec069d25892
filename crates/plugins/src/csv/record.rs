//! One record, byte by byte, with quotes: RFC 4180.
//!
//! A cell that begins with a quote goes on to the quote that closes it, over delimiters and line ends; two quotes in it are one.
//! Behind the closing quote only a delimiter or a line end may stand. A quote inside a cell that does not begin with one is
//! a character like any other. A line ends with `\n` or `\r\n`; a `\r` elsewhere belongs to its cell.

use memchr::{memchr, memchr2};

/// The cells of one record, without their quotes.
#[derive(Debug, Default)]
pub(super) struct Cells {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Cells {
    /// The number of cells.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The cell at `index`; nothing where there is none.
    pub(super) fn get(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).and_then(|i| self.ends.get(i)).map_or(0, |end| *end);
        let end = self.ends.get(index).map_or(start, |end| *end);
        self.bytes.get(start..end).unwrap_or_default()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    fn end(&mut self) {
        self.ends.push(self.bytes.len());
    }
}

/// What stands at the beginning of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parsed {
    /// A record of so many bytes, its line end included.
    Record(usize),
    /// A part of one: the bytes end before it does.
    Part,
    /// A part of one that ends inside quotes.
    Open,
    /// Something else stands behind a closing quote, at this index.
    Broken(usize),
}

/// Reads the record at the beginning of `input` into `cells`.
pub(super) fn parse(input: &[u8], delimiter: u8, cells: &mut Cells) -> Parsed {
    cells.clear();
    let mut at = 0;
    loop {
        let Some(rest) = input.get(at..) else { return Parsed::Part };
        if rest.first() == Some(&b'"') {
            at += 1;
            at = match quoted(input, at, cells) {
                Some(end) => end,
                None => return Parsed::Open,
            };
            cells.end();
            match (input.get(at), input.get(at + 1)) {
                (Some(&b), _) if b == delimiter => at += 1,
                (Some(b'\n'), _) => return Parsed::Record(at + 1),
                (Some(b'\r'), Some(b'\n')) => return Parsed::Record(at + 2),
                (None, _) | (Some(b'\r'), None) => return Parsed::Part,
                _ => return Parsed::Broken(at),
            }
        } else {
            let Some(length) = memchr2(delimiter, b'\n', rest) else { return Parsed::Part };
            let cell = rest.get(..length).unwrap_or_default();
            at += length + 1;
            if rest.get(length) == Some(&delimiter) {
                cells.bytes.extend_from_slice(cell);
                cells.end();
            } else {
                cells.bytes.extend_from_slice(cell.strip_suffix(b"\r").unwrap_or(cell));
                cells.end();
                return Parsed::Record(at);
            }
        }
    }
}

/// Copies a quoted cell whose opening quote stands before `at`; gives the index behind the closing one.
fn quoted(input: &[u8], mut at: usize, cells: &mut Cells) -> Option<usize> {
    loop {
        let rest = input.get(at..)?;
        let length = memchr(b'"', rest)?;
        cells.bytes.extend_from_slice(rest.get(..length)?);
        at += length + 1;
        // Whether this quote closes the cell is told by what stands behind it.
        if input.get(at) != Some(&b'"') {
            return Some(at);
        }
        cells.bytes.push(b'"');
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &str) -> (Parsed, Vec<String>) {
        let mut cells = Cells::default();
        let parsed = parse(input.as_bytes(), b',', &mut cells);
        let texts = (0..cells.len()).map(|i| String::from_utf8(cells.get(i).to_vec()).unwrap()).collect();
        (parsed, texts)
    }

    #[test]
    fn records_end_where_they_end() {
        let record = |input: &str, bytes, expected: &[&str]| {
            let (parsed, cells) = read(input);
            assert_eq!(
                (parsed, cells),
                (Parsed::Record(bytes), expected.iter().map(|s| (*s).to_owned()).collect())
            );
        };
        record("a,b\nc", 4, &["a", "b"]);
        record("a,b\r\nc", 5, &["a", "b"]);
        record("\"a\",\"\"\r\n", 8, &["a", ""]);
        record("\"a,\r\n\"\"b\"\"\"\n", 12, &["a,\r\n\"b\""]);
        record(" a , b \n", 8, &[" a ", " b "]);
        record("5\" pipe,x\ry\n", 12, &["5\" pipe", "x\ry"]);
        record(",\n", 2, &["", ""]);
        record("\n", 1, &[""]);
    }

    #[test]
    fn a_part_is_a_part_and_a_broken_one_says_where() {
        for part in ["", "a", "a,", "\"a\"", "\"a\"\r", "\"a\",b"] {
            assert_eq!(read(part).0, Parsed::Part, "{part:?}");
        }
        for open in ["\"", "\"a\"\"", "\"a\nb,c\n", "x,\"a"] {
            assert_eq!(read(open).0, Parsed::Open, "{open:?}");
        }
        assert_eq!(read("\"a\"b\n").0, Parsed::Broken(3));
        assert_eq!(read("\"a\" ,b\n").0, Parsed::Broken(3));
        assert_eq!(read("\"a\"\rb\n").0, Parsed::Broken(3));
    }
}
