//! A file that is watched while it is read, and known again after a restart.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use pipectl_framework::hash::fnv1a;
use serde::{Deserialize, Serialize};

use super::waiting;

/// How much of a file's beginning tells it from others.
const HEAD_BYTES: usize = 1024;
/// How much of what stands before a place does: the beginning alone stays the same where rows behind it are
/// written anew.
const TAIL_BYTES: usize = 1024;

/// The first bytes of a file, which tell it from others.
#[derive(Debug, Default)]
pub(crate) struct Head(Vec<u8>);

impl Head {
    /// Nothing.
    pub(super) const fn none() -> Self {
        Self(Vec::new())
    }

    /// Reads them from the beginning of `input`.
    pub(crate) fn read(input: &mut impl Read) -> io::Result<Self> {
        let mut head = Vec::new();
        input.take(HEAD_BYTES as u64).read_to_end(&mut head)?;
        Ok(Self(head))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// A mark of the first of them, at most `before`: how many, and a hash over them.
    pub(crate) fn mark(&self, before: u64) -> (usize, u64) {
        let len = self.0.len().min(usize::try_from(before).unwrap_or(usize::MAX));
        (len, fnv1a(self.0.get(..len).unwrap_or_default()))
    }

    /// True where they begin with what `mark` was made of.
    pub(crate) fn is(&self, mark: (usize, u64)) -> bool {
        self.0.get(..mark.0).is_some_and(|head| fnv1a(head) == mark.1)
    }
}

/// What stands in a file behind a place up to which it was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// The place is at the beginning of a line.
    None,
    /// It is at the end of a line that has got its line end since, of so many bytes.
    End(u64),
    /// It is in a line that does not go on yet.
    Nothing,
    /// It is in a line that goes on with these bytes.
    More(Vec<u8>),
}

/// How much of the rest of a line is shown.
const SHOWN: u64 = 20;

/// What stands in `input` behind the byte `at`, up to which rows were given: a last line may have been one of
/// them before it had its end. It is left somewhere behind that place.
pub(crate) fn rest_of_line(input: &mut (impl Read + Seek), at: u64) -> io::Result<Rest> {
    let Some(before) = at.checked_sub(1) else { return Ok(Rest::None) };
    let mut bytes = Vec::new();
    input.seek(SeekFrom::Start(before))?;
    Read::by_ref(input).take(SHOWN + 1).read_to_end(&mut bytes)?;
    Ok(match bytes.get(..) {
        None | Some([] | [b'\n', ..]) => Rest::None,
        Some([_] | [_, b'\r']) => Rest::Nothing,
        Some([_, b'\n', ..]) => Rest::End(1),
        Some([_, b'\r', b'\n', ..]) => Rest::End(2),
        Some([_, rest @ ..]) => {
            let line = rest.split(|b| matches!(b, b'\n' | b'\r')).next().unwrap_or_default();
            Rest::More(line.to_vec())
        }
    })
}

/// A regular file. Reading it fails by name where it is cut short, or is not the one at its path any more at
/// its end.
#[derive(Debug)]
pub(crate) struct WatchedFile {
    file: File,
    path: PathBuf,
    name: Arc<str>,
    head: Head,
    /// Where the next read begins.
    at: u64,
    /// Its length when last looked at.
    len: u64,
    /// The byte behind which nothing is read.
    to: u64,
    /// Whoever reads it looks by himself whether it is still what it was.
    followed: bool,
}

/// What tells a file from others while it is there, whatever its name and its content: its device and its
/// number on that. Another file may have it once this one is gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Id(u64, u64);

impl Id {
    pub(super) fn of(metadata: &Metadata) -> Self {
        let (device, number) = identity(metadata);
        Self(device, number)
    }
}

impl WatchedFile {
    /// Opens the file at `path`, which is called `name` in messages; nothing behind byte `to` is read.
    pub(crate) fn open(path: PathBuf, name: Arc<str>, to: Option<u64>) -> io::Result<Self> {
        let mut file = File::open(&path)?;
        let len = file.metadata()?.len();
        let head = Head::read(&mut file)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(Self { file, path, name, head, at: 0, len, to: to.unwrap_or(u64::MAX), followed: false })
    }

    /// From now on reading fails neither where it is cut short nor where another file has taken its path.
    pub(super) fn follow(&mut self) {
        self.followed = true;
    }

    /// True where it is read so.
    pub(super) fn is_followed(&self) -> bool {
        self.followed
    }

    /// What the file is now.
    pub(super) fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    /// The byte up to which it was read.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Takes its length and its beginning as they are now.
    pub(super) fn look_again(&mut self) -> io::Result<()> {
        self.len = self.file.metadata()?.len();
        self.file.seek(SeekFrom::Start(0))?;
        let head = Head::read(&mut self.file);
        self.file.seek(SeekFrom::Start(self.at))?;
        self.head = head?;
        Ok(())
    }

    /// Its length in bytes when last looked at, as far as it is read.
    pub(crate) fn len(&self) -> u64 {
        self.len.min(self.to)
    }

    /// Its beginning, as it was when it was opened.
    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    /// A mark of what stands right before the byte `before`: a hash over it.
    ///
    /// # Errors
    /// Where that cannot be read, or is not there.
    pub(crate) fn tail(&self, before: u64) -> io::Result<u64> {
        let mut bytes = [0; TAIL_BYTES];
        let len = TAIL_BYTES.min(usize::try_from(before).unwrap_or(usize::MAX));
        let bytes = bytes.get_mut(..len).unwrap_or_default();
        let mut file = &self.file;
        file.seek(SeekFrom::Start(before - len as u64))?;
        let read = file.read_exact(bytes);
        file.seek(SeekFrom::Start(self.at))?;
        match read {
            Ok(()) => Ok(fnv1a(bytes)),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(self.cut_short(file.metadata()?.len())),
            Err(e) => Err(e),
        }
    }

    fn cut_short(&self, len: u64) -> io::Error {
        self.failure(&format!("was cut short while it was read, at byte {len}"))
    }

    fn failure(&self, what: &str) -> io::Error {
        io::Error::other(format!("{} {what}", self.name))
    }

    /// Called at the end: what is at the path now must be this file.
    fn check_same(&self, metadata: &Metadata) -> io::Result<()> {
        match std::fs::metadata(&self.path) {
            Ok(now) if identity(&now) != identity(metadata) => Err(self.failure(
                "was replaced while it was read: all of the old file has been read, and nothing of the new one",
            )),
            _ => Ok(()),
        }
    }
}

impl Read for WatchedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.to.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let room = buffer.len().min(room);
        let buffer = buffer.get_mut(..room).unwrap_or_default();
        let read = waiting::read(&self.file, buffer)?;
        let metadata = self.file.metadata()?;
        self.at += read as u64;
        if self.followed {
            self.len = metadata.len();
            return Ok(read);
        }
        if metadata.len() < self.len.max(self.at) {
            return Err(self.cut_short(metadata.len()));
        }
        self.len = metadata.len();
        if read == 0 {
            self.check_same(&metadata)?;
        }
        Ok(read)
    }
}

impl Seek for WatchedFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = self.file.seek(to)?;
        Ok(self.at)
    }
}

/// True where the file has no name any more.
#[cfg(unix)]
pub(super) fn has_no_name(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    metadata.nlink() == 0
}

#[cfg(not(unix))]
pub(super) fn has_no_name(_: &Metadata) -> bool {
    false
}

#[cfg(unix)]
fn identity(metadata: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> (u64, u64) {
    (0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &str) -> (tempfile::TempDir, PathBuf, WatchedFile) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.csv");
        std::fs::write(&path, content).unwrap();
        let watched = WatchedFile::open(path.clone(), "x.csv".into(), None).unwrap();
        (dir, path, watched)
    }

    fn rest(file: &mut WatchedFile) -> Result<String, String> {
        let mut text = String::new();
        file.read_to_string(&mut text).map(|_| text).map_err(|e| e.to_string())
    }

    #[test]
    fn a_quiet_file_and_a_growing_one_read_to_their_end() {
        let (_dir, path, mut watched) = file("one\n");
        assert_eq!(rest(&mut watched), Ok("one\n".into()));
        let mut append = std::fs::OpenOptions::new().append(true).open(path).unwrap();
        std::io::Write::write_all(&mut append, b"two\n").unwrap();
        assert_eq!(rest(&mut watched), Ok("two\n".into()));
        assert_eq!(watched.len(), 8);
    }

    #[test]
    fn truncation_and_rotation_have_names() {
        let (_dir, path, mut watched) = file("one\ntwo\n");
        std::fs::write(&path, "one").unwrap();
        assert_eq!(rest(&mut watched), Err("x.csv was cut short while it was read, at byte 3".into()));
        let (dir, path, mut watched) = file("one\n");
        std::fs::rename(&path, dir.path().join("x.csv.1")).unwrap();
        std::fs::write(&path, "new\n").unwrap();
        assert!(rest(&mut watched).unwrap_err().starts_with("x.csv was replaced while it was read"));
    }

    #[test]
    fn what_stands_before_a_place_has_a_mark_and_reading_goes_on_where_it_was() {
        let long = |last: &str| format!("header\n{}{last}\n", "1\n".repeat(TAIL_BYTES));
        let (_dir, path, mut watched) = file(&long("1"));
        let len = watched.len();
        let (mark, early) = (watched.tail(len).unwrap(), watched.tail(9).unwrap());
        assert_eq!(rest(&mut watched), Ok(long("1")), "a mark moves nothing");
        assert_eq!(watched.tail(len).unwrap(), mark);
        std::fs::write(&path, long("2") + "3\n").unwrap();
        let other = WatchedFile::open(path.clone(), "x.csv".into(), None).unwrap();
        assert!(other.head().is(watched.head().mark(len)), "it begins alike");
        assert_ne!(other.tail(len).unwrap(), mark);
        assert_eq!(other.tail(9).unwrap(), early);
        std::fs::write(&path, "head").unwrap();
        let failed = watched.tail(len).unwrap_err().to_string();
        assert_eq!(failed, "x.csv was cut short while it was read, at byte 4");
    }

    #[test]
    fn the_mark_of_what_was_read_stays_when_the_file_grows() {
        let (_dir, path, watched) = file("header\n1\n");
        let mark = watched.head().mark(7);
        std::fs::write(&path, "header\n1\n2\n").unwrap();
        assert!(WatchedFile::open(path.clone(), "x".into(), None).unwrap().head().is(mark));
        std::fs::write(&path, "HEADER\n1\n2\n").unwrap();
        assert!(!WatchedFile::open(path.clone(), "x".into(), None).unwrap().head().is(mark));
        std::fs::write(&path, "head").unwrap();
        assert!(!WatchedFile::open(path, "x".into(), None).unwrap().head().is(mark));
    }
}
