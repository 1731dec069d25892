//! The name of a worker: its own among all that run, and its successor's when it was killed.
//!
//! A worker that dies in the middle of a transaction leaves it open. The brokers end it after its time-out,
//! which they look for each ten seconds, and until then nobody reads what other workers write behind it. A
//! producer with the same transactional id ends it at once. So the id must be the one of whoever died here,
//! and never the one of somebody who is alive.
//!
//! That is a lock: a worker takes the first free number of its pipeline on this machine, in a file that it
//! keeps locked; the system frees it however the process ends. The numbers of two folders are told apart by a
//! word that stands in each, and by the name of the machine, in case the folder is one that several machines
//! see. Without a folder to write to, a worker has a name that nobody had before, and what it leaves open
//! ends by its time-out.

use std::fs::{File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::path::Path;

use crate::clock::Clock;

/// More workers of one pipeline than a machine has.
const MOST: usize = 1000;
/// The file with the folder's word.
const WORD: &str = "word";
/// The word while it is written, by whoever has the lock.
const WORD_NEW: &str = "word.new";
/// The lock of who makes the word.
const WORD_LOCK: &str = "word.lock";

/// A name, and the lock that keeps it.
#[derive(Debug)]
pub(crate) struct Worker {
    name: String,
    /// Locked until it is dropped.
    _lock: Option<File>,
}

impl Worker {
    /// A name that nobody had before. The seed tells apart those that begin in the same millisecond with the
    /// same number of a process, as in containers.
    pub(crate) fn new(clock: &Clock, seed: u64) -> Self {
        Self { name: format!("{}-{}-{seed:x}", std::process::id(), clock.now()), _lock: None }
    }

    /// The first free name of a pipeline in a folder, which is made if it is not there.
    pub(crate) fn in_folder(folder: &Path, pipeline: &str, clock: &Clock, seed: u64) -> Self {
        match Self::locked(folder, pipeline) {
            Ok(worker) => worker,
            Err(error) => {
                tracing::warn!(
                    "{} keeps no names of workers ({error}); after a kill -9 the brokers take some 20 s to end what was being \
                     written",
                    folder.display()
                );
                Self::new(clock, seed)
            }
        }
    }

    fn locked(folder: &Path, pipeline: &str) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let word = word(folder)?;
        // Absent elsewhere than on Linux, where the word has to do.
        let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        for number in 0..MOST {
            let path = folder.join(format!("{}.{number}", file_name(pipeline)));
            let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
            match lock.try_lock() {
                Ok(()) => {
                    let name = format!("{}{word}-{number}", machine.trim());
                    return Ok(Self { name, _lock: Some(lock) });
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Err(io::Error::other("no number is free"))
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

/// The folder's word, made by whoever comes first. It appears whole or not at all: a crash in the middle
/// leaves nothing that others would take for it, and a file that is not whole is replaced.
fn word(folder: &Path) -> io::Result<String> {
    let path = folder.join(WORD);
    if let Some(word) = whole(&path)? {
        return Ok(word);
    }
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join(WORD_LOCK))?;
    lock.lock()?;
    // Whoever had the lock may have made it.
    if let Some(word) = whole(&path)? {
        return Ok(word);
    }
    // Hashed with keys from the system's random numbers.
    let word = format!("{:016x}", RandomState::new().build_hasher().finish());
    let new = folder.join(WORD_NEW);
    let mut file = File::create(&new)?;
    file.write_all(word.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(new, path)?;
    Ok(word)
}

/// The word in a file; `None` where there is no file, or no whole word in it.
fn whole(path: &Path) -> io::Result<Option<String>> {
    let found = match std::fs::read(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let word = String::from_utf8(found).ok();
    Ok(word.filter(|word| word.len() == 16 && word.bytes().all(|b| b.is_ascii_hexdigit())))
}

/// A pipeline's name as that of a file: whatever stands in it, two names have two files.
fn file_name(pipeline: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let written = |byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02x}") };
    pipeline.bytes().map(written).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("pipectl-worker-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn a_name_is_ones_own_until_its_worker_ends_and_its_successors_then() {
        let (folder, clock) = (folder("own"), Clock::system());
        let take = |pipeline| Worker::in_folder(&folder, pipeline, &clock, 1);
        let (first, second, other) = (take("a"), take("a"), take("b"));
        assert_ne!(first.name(), second.name());
        assert_eq!(first.name(), other.name(), "a chain's id begins with its pipeline");
        let was = first.name().to_owned();
        drop(first);
        let (third, fourth) = (take("a"), take("a"));
        assert_eq!(third.name(), was, "the first free one");
        assert!(![third.name(), second.name()].contains(&fourth.name()));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn folders_are_told_apart_and_without_one_a_name_is_new() {
        let (one, other, clock) = (folder("one"), folder("other"), Clock::system());
        let names = [&one, &other].map(|folder| Worker::in_folder(folder, "a", &clock, 1).name().to_owned());
        assert_ne!(names[0], names[1]);
        std::fs::remove_dir_all(&one).unwrap();
        std::fs::write(&one, "a file").unwrap();
        let without = Worker::in_folder(&one, "a", &clock, 1);
        assert!(without.name().starts_with(&format!("{}-", std::process::id())), "{}", without.name());
        std::fs::remove_file(&one).unwrap();
        std::fs::remove_dir_all(&other).unwrap();
    }

    /// What a crash of version 0.1 leaves between making the file and writing into it, or a power cut.
    #[test]
    fn a_word_that_is_not_whole_is_made_anew() {
        for left in ["", "half", "0123456789abcdeg", "0123456789abcdef0"] {
            let (folder, clock) = (folder("repaired"), Clock::system());
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(WORD), left).unwrap();
            let (first, second) =
                (Worker::in_folder(&folder, "a", &clock, 1), Worker::in_folder(&folder, "a", &clock, 2));
            assert!(first.name().ends_with("-0") && second.name().ends_with("-1"), "{}", first.name());
            assert_eq!(first.name().trim_end_matches('0'), second.name().trim_end_matches('1'));
            std::fs::remove_dir_all(&folder).unwrap();
        }
    }

    #[test]
    fn workers_that_start_at_once_in_a_fresh_folder_all_have_names_of_their_own() {
        const AT_ONCE: usize = 9;
        for _ in 0..100 {
            let (folder, clock) = (folder("at-once"), Clock::system());
            let start = std::sync::Barrier::new(AT_ONCE);
            let workers: Vec<Worker> = std::thread::scope(|scope| {
                let begin = |_| {
                    scope.spawn(|| {
                        start.wait();
                        Worker::in_folder(&folder, "a", &clock, 1)
                    })
                };
                let begun: Vec<_> = (0..AT_ONCE).map(begin).collect();
                begun.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            let mut numbers: Vec<&str> = workers.iter().filter_map(|w| w.name().rsplit('-').next()).collect();
            numbers.sort_unstable();
            assert_eq!(numbers, ["0", "1", "2", "3", "4", "5", "6", "7", "8"]);
            std::fs::remove_dir_all(&folder).unwrap();
        }
    }

    #[test]
    fn names_of_files_have_no_way_out_of_the_folder() {
        assert_eq!(file_name("../a b"), "%2e%2e%2fa%20b");
        assert_ne!(file_name("a.b"), file_name("a_b"));
    }
}
