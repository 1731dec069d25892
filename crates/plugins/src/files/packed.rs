//! Files that are compressed.

use std::fmt;
use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use schemars::JsonSchema;
use serde::Deserialize;

/// How a file is compressed, as it is written in the pipeline file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Compression {
    /// As its first bytes say.
    #[default]
    Auto,
    /// Not at all.
    None,
    /// By gzip.
    Gzip,
    /// By Zstandard.
    Zstd,
}

/// The first bytes of forms that cannot be read.
const UNREADABLE: [(&str, &[u8]); 4] =
    [("bzip2", b"BZh91AY&SY"), ("xz", b"\xFD7zXZ\0"), ("lz4", b"\x04\x22\x4D\x18"), ("zip", b"PK\x03\x04")];

/// A form of compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Gzip,
    Zstd,
}

/// The first bytes of those that can.
const READABLE: [&[u8]; 2] = [b"\x1F\x8B", b"\x28\xB5\x2F\xFD"];
/// What stands behind the first byte, 0x50 to 0x5F, of a frame of Zstandard that is to be passed over.
const SKIPPED: &[u8] = b"\x2A\x4D\x18";

impl Compression {
    /// True where more bytes behind these could make a form of compression of them.
    pub(crate) fn is_open(head: &[u8]) -> bool {
        let magics = READABLE.into_iter().chain(UNREADABLE.map(|(_, magic)| magic));
        let skipped = match head {
            [0x50..=0x5F, rest @ ..] => rest.len() < SKIPPED.len() && SKIPPED.starts_with(rest),
            _ => false,
        };
        skipped || magics.into_iter().any(|magic| head.len() < magic.len() && magic.starts_with(head))
    }

    /// How a file of this beginning is compressed.
    ///
    /// # Errors
    /// Where it looks like a form that cannot be read.
    pub(crate) fn of(self, head: &[u8]) -> io::Result<Option<Packing>> {
        match (self, head) {
            (Self::Gzip, _) | (Self::Auto, [0x1F, 0x8B, ..]) => Ok(Some(Packing::Gzip)),
            // A frame, or one that is to be passed over, with which some programs begin.
            (Self::Zstd, _)
            | (Self::Auto, [0x28, 0xB5, 0x2F, 0xFD, ..] | [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..]) => {
                Ok(Some(Packing::Zstd))
            }
            (Self::None, _) => Ok(None),
            (Self::Auto, bytes) => match UNREADABLE.iter().find(|(_, magic)| bytes.starts_with(magic)) {
                Some((name, _)) => Err(io::Error::other(format!(
                    "it looks compressed by {name}, which cannot be read: unpack it, or compress it with gzip or zstd"
                ))),
                None => Ok(None),
            },
        }
    }
}

impl Packing {
    /// What is in a file, with all of its members or frames.
    ///
    /// # Errors
    /// Where there is no memory for it.
    pub(crate) fn unpack(self, file: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(file)),
            Self::Zstd => Box::new(zstd::Decoder::new(file)?),
        })
    }
}

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}
