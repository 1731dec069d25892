//! What a file is read through: as it stands on the disk, or unpacked and turned into UTF-8. Places count
//! bytes of what comes out.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use super::encoding::{Encoding, Transcoded};
use super::packed::{Compression, Packing};
use super::stream::Stream;
use super::watched::{Head, Rest, WatchedFile, rest_of_line};

/// Where a file is, and how it is written.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) path: PathBuf,
    /// Its name for messages.
    pub(crate) name: Arc<str>,
    pub(crate) compression: Compression,
    pub(crate) encoding: Encoding,
    /// The byte of the file on the disk behind which nothing is looked at.
    pub(crate) to: Option<u64>,
}

/// An open file.
#[derive(Debug)]
pub(crate) enum Input {
    /// UTF-8 that is not packed.
    Plain(WatchedFile),
    /// A file of anything else.
    Decoded(Decoded),
    /// What passes once.
    Stream(Stream),
}

impl Input {
    /// Opens a file.
    ///
    /// # Errors
    /// Where it cannot be read, or its beginning cannot be decoded.
    pub(crate) fn open(origin: &Origin) -> io::Result<Self> {
        let file = WatchedFile::open(origin.path.clone(), origin.name.clone(), origin.to)?;
        match (origin.compression.of(file.head().bytes())?, origin.encoding.is_utf8()) {
            (None, true) => Ok(Self::Plain(file)),
            (packing, _) => Decoded::new(file, packing, origin.clone()).map(Self::Decoded),
        }
    }

    /// Its beginning; of what passes once nobody needs to know it again.
    pub(crate) fn head(&self) -> &Head {
        static NONE: Head = Head::none();
        match self {
            Self::Plain(file) => file.head(),
            Self::Decoded(decoded) => &decoded.head,
            Self::Stream(_) => &NONE,
        }
    }

    /// True where the last read found nothing, and more may come.
    pub(crate) fn is_dry(&self) -> bool {
        matches!(self, Self::Stream(stream) if stream.is_dry())
    }

    /// True where what it ends with now may go on: an end that is not whole says nothing yet.
    pub(crate) fn grows(&self) -> bool {
        match self {
            Self::Plain(file) => file.is_followed(),
            Self::Decoded(_) => false,
            Self::Stream(stream) => stream.is_dry(),
        }
    }

    /// From now on what passes once only goes forward.
    pub(super) fn settle(&mut self) {
        if let Self::Stream(stream) = self {
            stream.settle();
        }
    }

    /// Its length, where it is known without reading all of it.
    pub(crate) fn len(&self) -> Option<u64> {
        match self {
            Self::Plain(file) => Some(file.len()),
            Self::Decoded(_) | Self::Stream(_) => None,
        }
    }

    /// The file, where it is read as it stands on the disk.
    pub(super) fn plain(&self) -> Option<&WatchedFile> {
        match self {
            Self::Plain(file) => Some(file),
            Self::Decoded(_) | Self::Stream(_) => None,
        }
    }

    /// The same, to look at it again.
    pub(super) fn plain_mut(&mut self) -> Option<&mut WatchedFile> {
        match self {
            Self::Plain(file) => Some(file),
            Self::Decoded(_) | Self::Stream(_) => None,
        }
    }

    /// A mark of what stands right before the byte `before`, where it can be had without reading everything
    /// before it.
    pub(crate) fn tail(&self, before: u64) -> io::Result<Option<u64>> {
        match self {
            Self::Plain(file) => file.tail(before).map(Some),
            Self::Decoded(_) | Self::Stream(_) => Ok(None),
        }
    }

    /// What stands behind the byte `at`, up to which rows were given: a last line may have been one of them
    /// before it had its end.
    pub(crate) fn rest_of_line(&mut self, at: u64) -> io::Result<Rest> {
        rest_of_line(self, at)
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(buffer),
            Self::Decoded(decoded) => decoded.read(buffer),
            Self::Stream(stream) => stream.read(buffer),
        }
    }
}

impl Seek for Input {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match (self, to) {
            (Self::Plain(file), to) => file.seek(to),
            (Self::Decoded(decoded), SeekFrom::Start(byte)) => decoded.go_to(byte),
            (Self::Stream(stream), SeekFrom::Start(byte)) => stream.go_to(byte),
            (Self::Decoded(_) | Self::Stream(_), _) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// A file that has to be decoded from its beginning on.
pub(crate) struct Decoded {
    origin: Origin,
    packing: Option<Packing>,
    stream: Box<dyn Read + Send>,
    head: Head,
    at: u64,
}

impl fmt::Debug for Decoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoded").field("origin", &self.origin).field("at", &self.at).finish_non_exhaustive()
    }
}

impl Decoded {
    fn new(file: WatchedFile, packing: Option<Packing>, origin: Origin) -> io::Result<Self> {
        let stream = decode(file, packing, &origin)?;
        let mut decoded = Self { origin, packing, stream, head: Head::default(), at: 0 };
        decoded.head = Head::read(&mut decoded)?;
        decoded.go_to(0)?;
        Ok(decoded)
    }

    /// Goes to a byte of what comes out: from the beginning on, where it has been passed.
    fn go_to(&mut self, byte: u64) -> io::Result<u64> {
        if byte < self.at {
            let again =
                WatchedFile::open(self.origin.path.clone(), self.origin.name.clone(), self.origin.to)?;
            self.stream = decode(again, self.packing, &self.origin)?;
            self.at = 0;
        }
        let ahead = byte - self.at;
        let skipped = io::copy(&mut Read::by_ref(self).take(ahead), &mut io::sink())?;
        if skipped < ahead {
            let name = &self.origin.name;
            return Err(io::Error::other(format!(
                "{name} is shorter than what was read of it: its content has {} of {byte} bytes",
                self.at
            )));
        }
        Ok(byte)
    }

    fn failure(&self, error: io::Error) -> io::Error {
        match self.packing {
            // What the file itself has to say has a name already.
            Some(packing)
                if error.kind() != io::ErrorKind::Other
                    || !error.to_string().starts_with(&*self.origin.name) =>
            {
                let (name, at) = (&self.origin.name, self.at);
                io::Error::other(format!(
                    "{name} cannot be read as {packing} behind byte {at} of its content: {error}"
                ))
            }
            _ => error,
        }
    }
}

impl Read for Decoded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => self.failure(error),
        })?;
        self.at += read as u64;
        Ok(read)
    }
}

fn decode(file: WatchedFile, packing: Option<Packing>, origin: &Origin) -> io::Result<Box<dyn Read + Send>> {
    let unpacked: Box<dyn Read + Send> = match packing {
        None => Box::new(file),
        Some(packing) => packing.unpack(file)?,
    };
    Ok(match origin.encoding.is_utf8() {
        true => unpacked,
        false => Box::new(Transcoded::new(unpacked, origin.encoding)),
    })
}
