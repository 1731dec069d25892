//! A disk in memory: it can be full, fail, stop in the middle, forget what was not synced, and be damaged.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::{BackendError, StorageBackend};

use super::super::journal::Open;

/// What a disk writes whole, if it writes it.
const SECTOR: usize = 512;

/// `SplitMix64`, by Steele, Lea and Flood.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub(super) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}

#[derive(Debug, Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Change {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Self::Length(length) => image.resize(*length, 0),
            Self::Write(at, bytes) => {
                if image.len() < at + bytes.len() {
                    image.resize(at + bytes.len(), 0);
                }
                image[*at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) image: Vec<u8>,
    synced: Vec<u8>,
    /// Since the last sync.
    changes: Vec<Change>,
    /// How many changes and syncs there were.
    pub(super) steps: u64,
    /// The step that fails, with what, and whether everything after it does too.
    pub(super) fails: Option<(u64, io::ErrorKind, bool)>,
    /// The length beyond which nothing can be written.
    pub(super) room: Option<usize>,
    dead: bool,
}

impl Contents {
    fn step(&mut self) -> io::Result<()> {
        self.steps += 1;
        match self.fails {
            _ if self.dead => Err(io::Error::other("the process is gone")),
            Some((at, kind, dies)) if at == self.steps => {
                self.dead = dies;
                Err(io::Error::from(kind))
            }
            _ => Ok(()),
        }
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.image);
        self.changes.push(change);
    }
}

/// A disk with one file. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk(Arc<Mutex<Contents>>);

impl Disk {
    pub(super) fn lock(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap()
    }

    /// What opens the store on it, whatever the path says. An empty file stands there, as the journal looks
    /// for one; where none stood, the disk is empty.
    pub(super) fn open(&self) -> Open {
        let disk = self.clone();
        Arc::new(move |builder, path| {
            if !path.exists() {
                let mut contents = disk.lock();
                contents.image.clear();
                contents.synced.clear();
                contents.changes.clear();
            }
            std::fs::File::create(path).unwrap();
            builder.create_with_backend(disk.clone())
        })
    }

    /// The process is gone: what was written is there.
    pub(super) fn killed(&self) {
        let mut contents = self.lock();
        contents.dead = false;
        contents.fails = None;
        contents.synced = contents.image.clone();
        contents.changes.clear();
    }

    /// The power is gone: of what was not synced, some of it is there, and some of that in part.
    pub(super) fn power_cut(&self, random: &mut Random) {
        let mut contents = self.lock();
        let mut image = std::mem::take(&mut contents.synced);
        for change in &contents.changes {
            match (random.below(3), change) {
                (0, _) => {}
                (1, Change::Write(at, bytes)) => {
                    for (index, sector) in bytes.chunks(SECTOR).enumerate() {
                        if random.below(2) == 0 {
                            Change::Write(at + index * SECTOR, sector.to_vec()).apply(&mut image);
                        }
                    }
                }
                (_, change) => change.apply(&mut image),
            }
        }
        contents.image = image;
        drop(contents);
        self.killed();
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.lock().image.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let contents = self.lock();
        let at = offset as usize;
        let bytes = contents.image.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, length: u64) -> Result<(), io::Error> {
        let mut contents = self.lock();
        contents.step()?;
        contents.change(Change::Length(length as usize));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let mut contents = self.lock();
        contents.step()?;
        let mut synced = std::mem::take(&mut contents.synced);
        for change in contents.changes.drain(..) {
            change.apply(&mut synced);
        }
        contents.synced = synced;
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), io::Error> {
        let mut contents = self.lock();
        let at = offset as usize;
        if contents.room.is_some_and(|room| at + bytes.len() > room) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if let Err(error) = contents.step() {
            // A write that fails may have written a part.
            let part = bytes.len() / 2;
            contents.change(Change::Write(at, bytes[..part].to_vec()));
            return Err(error);
        }
        contents.change(Change::Write(at, bytes.to_vec()));
        Ok(())
    }

    fn try_lock_range(
        &self,
        _start: std::ops::Bound<u64>,
        _end: std::ops::Bound<u64>,
    ) -> Result<bool, BackendError> {
        Err(BackendError::Unsupported)
    }
}
