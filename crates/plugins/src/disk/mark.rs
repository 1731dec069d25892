//! The file `DIR/commits`: how many commits are known to be on the disk, and the lock of the directory.
//!
//! It is written after each commit and not synced: that costs microseconds. What is in it may therefore be
//! old after a power cut, but never ahead of the log. So it is a lower bound, which holds to the last commit
//! whatever happens to the process.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The number, and once more with every bit the other way round.
const LENGTH: usize = 16;

/// The mark of a directory that is locked until it is dropped.
#[derive(Debug)]
pub(super) struct Mark(File);

impl Mark {
    pub(super) const FILE: &str = "commits";

    /// Takes the lock of a directory; `None` where another process has it.
    pub(super) fn lock(directory: &Path) -> io::Result<Option<Self>> {
        let path = directory.join(Self::FILE);
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// How many commits there must be; 0 where nothing is known.
    pub(super) fn least(&self) -> u64 {
        let mut bytes = [0; LENGTH];
        if self.0.read_exact_at(&mut bytes, 0).is_err() {
            return 0;
        }
        let (number, check) = bytes.split_at(LENGTH / 2);
        let of = |bytes: &[u8]| bytes.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte));
        if of(check) == !of(number) { of(number) } else { 0 }
    }

    /// Notes a commit that is on the disk. Where that fails the bound stays what it was, which is still true.
    pub(super) fn note(&self, commits: u64) {
        let mut bytes = [0; LENGTH];
        bytes[..LENGTH / 2].copy_from_slice(&commits.to_le_bytes());
        bytes[LENGTH / 2..].copy_from_slice(&(!commits).to_le_bytes());
        if let Err(error) = self.0.write_all_at(&bytes, 0) {
            tracing::debug!("the number of commits could not be noted: {error}");
        }
    }
}
