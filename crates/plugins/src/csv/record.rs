//! One record, byte by byte, with quotes: RFC 4180, and what files have beyond it.
//!
//! A cell that begins with a quote goes on to the quote that closes it, over delimiters and line ends; two
//! quotes in it are one. Behind the closing quote only a delimiter or a line end may stand. A quote inside a
//! cell that does not begin with one is a character like any other. A line ends with `\n` or `\r\n`; a `\r`
//! elsewhere belongs to its cell. Where there is an escape character, what stands behind it is a character
//! like any other, in quotes and outside of them.

use memchr::{memchr, memchr2, memchr3};

/// What has a meaning in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Syntax {
    /// Between two cells.
    pub(super) delimiter: u8,
    /// Around a cell; `None` where a quote is a character like any other.
    pub(super) quote: Option<u8>,
    /// Before a character that has no meaning.
    pub(super) escape: Option<u8>,
    /// At the beginning of a line that is no record.
    pub(super) comment: Option<u8>,
    /// Spaces and tabs around cells are left out, unless they stand in quotes.
    pub(super) trim: bool,
}

impl Default for Syntax {
    fn default() -> Self {
        Self { delimiter: b',', quote: Some(b'"'), escape: None, comment: None, trim: false }
    }
}

impl Syntax {
    /// The bytes that keep a line from being split at its delimiters alone. The last stands for every line.
    pub(super) fn odd(&self) -> [u8; 4] {
        // No byte of UTF-8: a line that has it all the same is read with care, and nothing more.
        let never = 0xFF;
        let or_never = |byte: Option<u8>| byte.unwrap_or(never);
        let every = if self.trim { b'\n' } else { never };
        [or_never(self.quote), or_never(self.escape), or_never(self.comment), every]
    }

    /// True where a quote is all that is odd, as RFC 4180 has it.
    pub(super) fn is_plain(&self) -> bool {
        self.escape.is_none() && self.comment.is_none() && !self.trim
    }

    /// The number of blanks at the beginning of `bytes` that are left out.
    fn blanks(&self, bytes: &[u8]) -> usize {
        let blank = |byte: &&u8| matches!(**byte, b' ' | b'\t') && **byte != self.delimiter;
        if self.trim { bytes.iter().take_while(blank).count() } else { 0 }
    }

    /// True where a line, without its end, has nothing in it.
    pub(super) fn is_blank(&self, line: &[u8]) -> bool {
        self.blanks(line) == line.len()
    }
}

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

    /// Takes the last bytes away that are so, down to a length of `least`.
    fn strip(&mut self, least: usize, which: impl Fn(u8) -> bool) {
        while self.bytes.len() > least && self.bytes.last().is_some_and(|byte| which(*byte)) {
            self.bytes.pop();
        }
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
pub(super) fn parse(input: &[u8], syntax: &Syntax, cells: &mut Cells) -> Parsed {
    cells.clear();
    let mut at = 0;
    loop {
        at += syntax.blanks(input.get(at..).unwrap_or_default());
        let Some(first) = input.get(at) else { return Parsed::Part };
        if Some(*first) == syntax.quote {
            at = match quoted(input, at + 1, *first, syntax.escape, cells) {
                Some(end) => end,
                None => return Parsed::Open,
            };
            cells.end();
            at += syntax.blanks(input.get(at..).unwrap_or_default());
            match (input.get(at), input.get(at + 1)) {
                (Some(&b), _) if b == syntax.delimiter => at += 1,
                (Some(b'\n'), _) => return Parsed::Record(at + 1),
                (Some(b'\r'), Some(b'\n')) => return Parsed::Record(at + 2),
                (None, _) | (Some(b'\r'), None) => return Parsed::Part,
                _ => return Parsed::Broken(at),
            }
        } else {
            let Some(end) = unquoted(input, at, syntax, cells) else { return Parsed::Part };
            at = end + 1;
            if input.get(end) == Some(&b'\n') {
                return Parsed::Record(at);
            }
        }
    }
}

/// Copies a cell that begins at `at` and has no quotes around it; gives the index of the delimiter or line
/// feed behind it.
fn unquoted(input: &[u8], mut at: usize, syntax: &Syntax, cells: &mut Cells) -> Option<usize> {
    // What was escaped stays.
    let mut least = cells.bytes.len();
    loop {
        let rest = input.get(at..)?;
        let length = match syntax.escape {
            None => memchr2(syntax.delimiter, b'\n', rest),
            Some(escape) => memchr3(syntax.delimiter, b'\n', escape, rest),
        }?;
        cells.bytes.extend_from_slice(rest.get(..length)?);
        at += length;
        let found = *input.get(at)?;
        if found == syntax.delimiter || found == b'\n' {
            if found == b'\n' && cells.bytes.len() > least && cells.bytes.last() == Some(&b'\r') {
                cells.bytes.pop();
            }
            if syntax.trim {
                cells.strip(least, |byte| matches!(byte, b' ' | b'\t'));
            }
            cells.end();
            return Some(at);
        }
        cells.bytes.push(*input.get(at + 1)?);
        least = cells.bytes.len();
        at += 2;
    }
}

/// Copies a quoted cell whose opening quote stands before `at`; gives the index behind the closing one.
fn quoted(input: &[u8], mut at: usize, quote: u8, escape: Option<u8>, cells: &mut Cells) -> Option<usize> {
    loop {
        let rest = input.get(at..)?;
        let length = match escape {
            None => memchr(quote, rest),
            Some(escape) => memchr2(quote, escape, rest),
        }?;
        cells.bytes.extend_from_slice(rest.get(..length)?);
        at += length + 1;
        if rest.get(length) != Some(&quote) {
            cells.bytes.push(*input.get(at)?);
            at += 1;
            continue;
        }
        // Whether this quote closes the cell is told by what stands behind it.
        if input.get(at) != Some(&quote) {
            return Some(at);
        }
        cells.bytes.push(quote);
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &str) -> (Parsed, Vec<String>) {
        read_as(input, &Syntax::default())
    }

    fn read_as(input: &str, syntax: &Syntax) -> (Parsed, Vec<String>) {
        let mut cells = Cells::default();
        let parsed = parse(input.as_bytes(), syntax, &mut cells);
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

    #[test]
    fn escapes_trims_and_other_quotes() {
        let plain = Syntax::default();
        let (escape, trim) = (Syntax { escape: Some(b'\\'), ..plain }, Syntax { trim: true, ..plain });
        let cases: &[(Syntax, &str, &[&str])] = &[
            (Syntax { quote: Some(b'\''), ..plain }, "'a,''b',\"c\"\n", &["a,'b", "\"c\""]),
            (Syntax { quote: None, ..plain }, "\"a,5\" b\n", &["\"a", "5\" b"]),
            (escape, "a\\,b,\"c\\\"d\",\\\"e,\\\\\n", &["a,b", "c\"d", "\"e", "\\"]),
            (escape, "a\\\nb,c\\\r\n", &["a\nb", "c\r"]),
            (trim, " a b ,\t\" c \" , \r\n", &["a b", " c ", ""]),
            (Syntax { delimiter: b'\t', ..trim }, " a\t\t b\n", &["a", "", "b"]),
            (Syntax { escape: Some(b'\\'), ..trim }, " \\  ,b\\ \n", &[" ", "b "]),
        ];
        for (syntax, text, cells) in cases {
            let expected: Vec<String> = cells.iter().map(|cell| (*cell).to_owned()).collect();
            assert_eq!(read_as(text, syntax), (Parsed::Record(text.len()), expected), "{text:?}");
            for end in 0..text.len() {
                let cut = read_as(&text[..end], syntax).0;
                assert!(
                    matches!(cut, Parsed::Part | Parsed::Open | Parsed::Record(_)),
                    "{text:?} to {end}: {cut:?}"
                );
            }
        }
    }
}
