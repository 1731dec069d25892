//! The bytes of a file while its records are read: those that were read and not used, and how the file ends.

use std::io::{self, Read, Seek, SeekFrom};

use memchr::memchr;

use super::records::{LastLine, Place};

/// How much is read at once; small enough to stay in the second-level cache while it is looked at.
const CHUNK: usize = 128 * 1024;

/// A batch ends when so much of the file has gone into it, so that long records do not make it large.
pub(crate) const BATCH_BYTES: u64 = 8 << 20;

/// How far the input has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Data {
    /// More may come.
    Comes,
    /// More may come, and nothing is there now.
    Dry,
    /// Nothing more comes.
    Ended,
    /// The same, and a line end has been put behind the last line, which has none in the file and is a row.
    EndedAndAdded,
    /// The same, in a last line that is too long, and waits for its end.
    EndedInLongLine,
}

/// A stretch of a file.
#[derive(Debug)]
pub(crate) struct Buffer<R> {
    input: R,
    bytes: Vec<u8>,
    /// `bytes[start..end]` has been read and not used.
    start: usize,
    end: usize,
    last_line: LastLine,
    data: Data,
    /// It goes forward only.
    passes: bool,
    /// The rest of the line that comes next is passed over.
    skips: bool,
    /// Where `bytes[start]` stands.
    at: Place,
}

impl<R: Read + Seek> Buffer<R> {
    /// An empty one that begins at `at`.
    pub(crate) fn new(mut input: R, last_line: LastLine, at: Place) -> io::Result<Self> {
        input.seek(SeekFrom::Start(at.byte))?;
        let bytes = vec![0; CHUNK];
        let (data, passes, skips) = (Data::Comes, false, false);
        Ok(Self { input, bytes, start: 0, end: 0, last_line, data, passes, skips, at })
    }

    /// Goes forward only: the input passes once.
    pub(crate) fn passing(&mut self) {
        self.passes = true;
    }

    /// Reads on where nothing was there.
    pub(crate) fn go_on(&mut self) {
        if self.data == Data::Dry {
            self.data = Data::Comes;
        }
    }

    /// What is read from.
    pub(crate) fn input(&self) -> &R {
        &self.input
    }

    /// The same, to look at it again.
    pub(crate) fn input_mut(&mut self) -> &mut R {
        &mut self.input
    }

    /// The same, where nothing more is to be read.
    pub(crate) fn into_input(self) -> R {
        self.input
    }

    /// The bytes of memory that are held.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    /// All bytes that are there; those from [`start`](Self::start) on have not been used.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.end).unwrap_or_default()
    }

    /// The index of the first byte that has not been used.
    #[inline]
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// The bytes that have not been used.
    pub(crate) fn unused(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Where the first byte stands that has not been used.
    #[inline]
    pub(crate) fn at(&self) -> Place {
        self.at
    }

    /// The bytes before index `start` have been used; the one there stands at `at`.
    #[inline]
    pub(crate) fn used(&mut self, start: usize, at: Place) {
        (self.start, self.at) = (start, at);
    }

    /// Counts a record that was used up by something else.
    pub(crate) fn count_record(&mut self) {
        self.at.row += 1;
    }

    /// Where the next record stands.
    pub(crate) fn place(&self) -> Place {
        let added = u64::from(self.data == Data::EndedAndAdded && self.start == self.end);
        Place { byte: self.at.byte - added, line: self.at.line - added, ..self.at }
    }

    /// True where nothing more comes, or nothing for now.
    pub(crate) fn has_ended(&self) -> bool {
        self.data != Data::Comes
    }

    /// True where nothing more comes, and what is there is all of the last line.
    pub(crate) fn ends_with_row(&self) -> bool {
        self.has_ended() && self.data != Data::Dry && self.last_line == LastLine::Row
    }

    /// What is left at the end and waits for more; nothing where nothing does.
    pub(crate) fn waits(&self) -> &[u8] {
        if self.last_line == LastLine::Row || !self.has_ended() { &[] } else { self.unused() }
    }

    /// Goes on at `at`.
    pub(crate) fn seek(&mut self, at: Place) -> io::Result<()> {
        self.input.seek(SeekFrom::Start(at.byte))?;
        (self.start, self.end, self.data, self.at) = (0, 0, Data::Comes, at);
        Ok(())
    }

    /// Reads more, and moves what has not been used to the front; false where there is nothing more, for now
    /// or at all, and nothing left over. Not to be called once it [has ended](Self::has_ended).
    pub(crate) fn fill(&mut self) -> io::Result<bool> {
        self.compact();
        if self.end > self.bytes.len() / 2 {
            self.bytes.resize(self.bytes.len() * 2, 0);
        }
        let room = self.bytes.get_mut(self.end..).unwrap_or_default();
        let read = loop {
            match self.input.read(room) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.data = Data::Dry;
                    return Ok(false);
                }
                other => break other?,
            }
        };
        if read == 0 {
            self.data = Data::Ended;
            if self.end == 0 || self.last_line == LastLine::Wait {
                return Ok(false);
            }
            if self.bytes.get(self.end - 1) != Some(&b'\n') {
                if let Some(next) = self.bytes.get_mut(self.end) {
                    *next = b'\n';
                }
                self.end += 1;
                self.data = Data::EndedAndAdded;
            }
        }
        self.end += read;
        if self.skips {
            self.pass_over_line();
            self.compact();
        }
        Ok(true)
    }

    /// Passes over what is there of the line; true where its end was.
    fn pass_over_line(&mut self) -> bool {
        let newline = memchr(b'\n', self.unused());
        let used = newline.map_or(self.end - self.start, |n| n + 1);
        self.start += used;
        self.at.byte += used as u64;
        self.at.line += u64::from(newline.is_some());
        self.skips = newline.is_none();
        newline.is_some()
    }

    /// Goes behind the line at the start, of which no end is in sight, in bounded memory. False where the
    /// file ends before it, and it waits: then it is where it was.
    pub(crate) fn skip_line(&mut self) -> io::Result<bool> {
        let line = self.at;
        loop {
            if self.pass_over_line() {
                self.compact();
                return Ok(true);
            }
            // What comes is looked at here.
            self.skips = false;
            if !self.has_ended() && self.fill()? {
                continue;
            }
            if self.passes {
                self.skips = self.data == Data::Dry;
                return Ok(true);
            }
            if self.last_line == LastLine::Row {
                return Ok(true);
            }
            self.seek(line)?;
            self.data = Data::EndedInLongLine;
            return Ok(false);
        }
    }

    /// True where the last line is longer than a record may be, and waits for its end.
    pub(crate) fn waits_in_long_line(&self) -> bool {
        self.data == Data::EndedInLongLine
    }

    /// Moves what has not been used to the front.
    fn compact(&mut self) {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
    }
}
