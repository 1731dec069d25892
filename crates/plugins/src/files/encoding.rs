//! Files that are not UTF-8.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read};

use encoding_rs::{Decoder, DecoderResult, UTF_8};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};

/// How much is read at once.
const CHUNK: usize = 64 * 1024;
/// How many bytes a character may have, at most, that turns out to be none when more is read.
const BEHIND: usize = 8;
/// Stands before bytes that are no character: it is none in UTF-8, so that whoever looks at the text finds
/// out.
const BROKEN: u8 = 0xFF;

/// How much of a file tells whether it is UTF-16.
const LOOKED_AT: usize = 1024;
/// What may stand at the beginning of UTF-8.
pub(crate) const BOM: &[u8] = b"\xEF\xBB\xBF";

/// The encoding of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Encoding(&'static encoding_rs::Encoding);

impl Default for Encoding {
    fn default() -> Self {
        Self(UTF_8)
    }
}

impl Encoding {
    /// True where nothing is to be done.
    pub(crate) fn is_utf8(self) -> bool {
        self.0 == UTF_8
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

impl<'de> Deserialize<'de> for Encoding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let label = String::deserialize(deserializer)?;
        encoding_rs::Encoding::for_label_no_replacement(label.as_bytes()).map(Self).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "there is no encoding `{label}`: those of the WHATWG are known, such as `utf-8`, `utf-16le`, `gbk`, \
                 `shift_jis`, `windows-1252`"
            ))
        })
    }
}

impl JsonSchema for Encoding {
    fn schema_name() -> Cow<'static, str> {
        "Encoding".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}

/// Gives UTF-8 of what is read. Bytes that are no character stay as they are, behind one that is none in
/// UTF-8 either.
pub(crate) struct Transcoded<R> {
    input: R,
    decoder: Decoder,
    raw: Vec<u8>,
    /// `raw[start..end]` has been read and not decoded.
    start: usize,
    end: usize,
    /// Nothing more comes.
    last: bool,
    text: Vec<u8>,
    /// `text[given..]` has been decoded and not given.
    given: usize,
}

impl<R: Read> Transcoded<R> {
    pub(crate) fn new(input: R, encoding: Encoding) -> Self {
        let decoder = encoding.0.new_decoder();
        let (raw, text) = (vec![0; CHUNK], Vec::new());
        Self { input, decoder, raw, start: 0, end: 0, last: false, text, given: 0 }
    }

    /// Decodes more; false at the end.
    fn more(&mut self) -> io::Result<bool> {
        self.text.clear();
        self.given = 0;
        while self.text.is_empty() {
            if self.start == self.end {
                if self.last {
                    return Ok(false);
                }
                // What was read last may turn out to be no character.
                let kept = self.end.min(BEHIND);
                self.raw.copy_within(self.end - kept..self.end, 0);
                // Where that fails it may be tried again.
                (self.start, self.end) = (kept, kept);
                let read = self.input.read(self.raw.get_mut(kept..).unwrap_or_default())?;
                (self.end, self.last) = (kept + read, read == 0);
            }
            let raw = self.raw.get(self.start..self.end).unwrap_or_default();
            let room =
                self.decoder.max_utf8_buffer_length_without_replacement(raw.len()).unwrap_or(4 * CHUNK);
            self.text.resize(room, 0);
            let (result, read, written) =
                self.decoder.decode_to_utf8_without_replacement(raw, &mut self.text, self.last);
            self.text.truncate(written);
            self.start += read;
            if let DecoderResult::Malformed(length, behind) = result {
                let end = (self.start).saturating_sub(usize::from(behind));
                let broken = self.raw.get(end.saturating_sub(usize::from(length))..end).unwrap_or_default();
                self.text.push(BROKEN);
                self.text.extend_from_slice(broken);
            } else if self.last {
                // The decoder has said all; it must not be asked again.
                self.start = self.end;
                return Ok(!self.text.is_empty());
            }
        }
        Ok(true)
    }
}

impl<R: Read> Read for Transcoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.text.len() && !self.more()? {
            return Ok(0);
        }
        let text = self.text.get(self.given..).unwrap_or_default();
        let length = text.len().min(buffer.len());
        let (from, to) =
            (text.get(..length).unwrap_or_default(), buffer.get_mut(..length).unwrap_or_default());
        to.copy_from_slice(from);
        self.given += length;
        Ok(length)
    }
}

/// The name of UTF-16 where `bytes` look like it: they say so, or each second one of them is 0 so often that
/// they are no UTF-8, and each line end has its 0 as well.
fn utf_16(bytes: &[u8]) -> Option<&'static str> {
    const LITTLE: &str = "UTF-16, little endian";
    const BIG: &str = "UTF-16, big endian";
    let zeros = |parity: usize| bytes.iter().skip(parity).step_by(2).filter(|byte| **byte == 0).count();
    let often = |zeros: usize| zeros > 0 && zeros * 8 >= bytes.len() / 2;
    let (pairs, _) = bytes.as_chunks::<2>();
    let in_pairs = |end: [u8; 2]| pairs.iter().all(|pair| *pair == end || !pair.contains(&b'\n'));
    match (bytes, zeros(0), zeros(1)) {
        ([0xFF, 0xFE, ..], ..) => Some(LITTLE),
        ([0xFE, 0xFF, ..], ..) => Some(BIG),
        (_, 0, odd) if often(odd) && in_pairs(*b"\n\0") => Some(LITTLE),
        (_, even, 0) if often(even) && in_pairs(*b"\0\n") => Some(BIG),
        _ => None,
    }
}

/// Refuses what looks like UTF-16, by the beginning of a file that is to be UTF-8.
///
/// # Errors
/// `InvalidData`, with what it looks like.
pub(crate) fn is_no_utf_16(bytes: &[u8]) -> io::Result<()> {
    match utf_16(bytes.get(..LOOKED_AT.min(bytes.len())).unwrap_or_default()) {
        None => Ok(()),
        Some(name) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it looks like {name}, and not like UTF-8"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(bytes: &[u8], label: &str, size: usize) -> Vec<u8> {
        let encoding: Encoding = serde_json::from_value(label.into()).unwrap();
        let mut transcoded = Transcoded::new(Pieces(bytes, size), encoding);
        let mut text = Vec::new();
        transcoded.read_to_end(&mut text).unwrap();
        text
    }

    /// Gives so many bytes at a time.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let size = self.1.min(buffer.len());
            self.0.read(&mut buffer[..size])
        }
    }

    #[test]
    fn what_is_no_character_keeps_its_bytes_and_is_no_utf_8() {
        for size in [1, 2, 100] {
            assert_eq!(decoded(b"a\x81,b", "gbk", size), b"a\xFF\x81,b");
            assert_eq!(decoded(b"a\x81", "gbk", size), b"a\xFF\x81");
            assert_eq!(decoded(b"\xFF\xFEa\0\n", "utf-16le", size)[..1], *b"a");
        }
    }

    #[test]
    fn an_encoding_that_is_none_is_refused_by_name() {
        let error = serde_json::from_value::<Encoding>("klingon".into()).unwrap_err().to_string();
        assert!(error.contains("no encoding `klingon`") && error.contains("`gbk`"), "{error}");
    }

    proptest! {
        #[test]
        fn any_text_comes_back_however_it_is_cut(text in "[a-z\u{e9}\u{56db}\u{5ddd}\u{3042},\n]{0,60}", size in 1usize..9) {
            for label in ["utf-16le", "utf-16be", "gb18030"] {
                let bytes: Vec<u8> = match label {
                    "utf-16le" => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
                    "utf-16be" => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
                    label => encoding_rs::Encoding::for_label(label.as_bytes()).unwrap().encode(&text).0.into_owned(),
                };
                prop_assert_eq!(String::from_utf8(decoded(&bytes, label, size)).unwrap(), text.clone());
            }
        }
    }
}
