//! What comes through a pipe as a file is read: unpacked, and turned into UTF-8.
//!
//! Its beginning is kept until somebody has looked at it, which may take several tries while it comes piece
//! by piece. Where nothing more is there, reading gives `WouldBlock`, and can be tried again.

use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::sync::Arc;

use super::encoding::{Encoding, Transcoded};
use super::packed::{Compression, Packing};
use super::pipe::{Given, Pipe, STANDARD_INPUT};

/// How many bytes tell how it is compressed.
const MAGIC: usize = 16;

/// What comes through a pipe.
pub(crate) struct Stream {
    bytes: Box<dyn Read + Send>,
    packing: Option<Packing>,
    /// What has come out from the beginning on, as long as that is kept.
    beginning: Vec<u8>,
    keeps: bool,
    /// Where the next read begins.
    at: u64,
    /// The last read found nothing, and more may come.
    dry: bool,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("packing", &self.packing).field("at", &self.at).finish_non_exhaustive()
    }
}

impl Stream {
    /// Reads a pipe from its beginning on; `None` where it has to wait for more to know how that is
    /// compressed.
    ///
    /// # Errors
    /// Where it cannot be read, or its form cannot.
    pub(super) fn open(
        pipe: &Arc<Pipe>,
        compression: Compression,
        encoding: Encoding,
    ) -> io::Result<Option<Self>> {
        pipe.rewind();
        let (head, comes) = match compression {
            Compression::Auto => pipe.peek(MAGIC)?,
            // Nothing has to be there to know it.
            Compression::None | Compression::Gzip | Compression::Zstd => (Vec::new(), false),
        };
        if comes && Compression::is_open(&head) {
            pipe.pass_over();
            return Ok(None);
        }
        let packing = compression.of(&head)?;
        let given = Given(pipe.clone());
        let unpacked: Box<dyn Read + Send> = match packing {
            None => Box::new(given),
            Some(packing) => packing.unpack(given)?,
        };
        let bytes: Box<dyn Read + Send> = match encoding.is_utf8() {
            true => unpacked,
            false => Box::new(Transcoded::new(unpacked, encoding)),
        };
        Ok(Some(Self { bytes, packing, beginning: Vec::new(), keeps: true, at: 0, dry: false }))
    }

    /// True where the last read found nothing, and more may come.
    pub(crate) fn is_dry(&self) -> bool {
        self.dry
    }

    /// From now on it only goes forward.
    pub(super) fn settle(&mut self) {
        self.keeps = false;
    }

    /// Goes to a byte of its beginning.
    pub(super) fn go_to(&mut self, byte: u64) -> io::Result<u64> {
        match byte <= self.beginning.len() as u64 {
            true => self.at = byte,
            false => {
                return Err(io::Error::new(
                    ErrorKind::Unsupported,
                    format!("{STANDARD_INPUT} cannot go back"),
                ));
            }
        }
        Ok(byte)
    }

    fn failure(&self, error: io::Error) -> io::Error {
        let named = error.to_string().starts_with(STANDARD_INPUT);
        match self.packing {
            Some(packing) if !named => io::Error::other(format!(
                "{STANDARD_INPUT} cannot be read as {packing} behind byte {} of its content: {error}",
                self.at
            )),
            _ => error,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.dry = false;
        let kept = usize::try_from(self.at).ok().and_then(|at| self.beginning.get(at..)).unwrap_or_default();
        if !kept.is_empty() {
            let length = kept.len().min(buffer.len());
            let (from, to) =
                (kept.get(..length).unwrap_or_default(), buffer.get_mut(..length).unwrap_or_default());
            to.copy_from_slice(from);
            self.at += length as u64;
            return Ok(length);
        }
        if !self.keeps && !self.beginning.is_empty() {
            self.beginning = Vec::new();
        }
        let read = match self.bytes.read(buffer) {
            Ok(read) => read,
            Err(e) if e.kind() == ErrorKind::Interrupted => return Err(e),
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                self.dry = true;
                return Err(e);
            }
            Err(e) => return Err(self.failure(e)),
        };
        if self.keeps {
            self.beginning.extend_from_slice(buffer.get(..read).unwrap_or_default());
        }
        self.at += read as u64;
        Ok(read)
    }
}
