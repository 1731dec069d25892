//! What is asked of a store, and each store behind it.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use redb::{Builder, ReadableDatabase, ReadableTable, TableDefinition};

pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Batches by their place, and positions by their reader.
pub type Kept = BTreeMap<Vec<u8>, Vec<u8>>;

/// What changes together.
#[derive(Default)]
pub struct Change {
    pub put: Vec<(Vec<u8>, Vec<u8>)>,
    pub dropped: Vec<Vec<u8>>,
}

pub trait Store {
    /// All of it or nothing; durable when it returns.
    fn commit(&mut self, change: &Change) -> Result<()>;
    fn load(&self) -> Result<Kept>;
}

/// Makes or opens a store in a directory, and verifies it where it can.
pub type Open = fn(&Path) -> Result<Box<dyn Store>>;

pub const STORES: [(&str, Open); 2] = [("redb", open_redb), ("fjall", open_fjall)];

const TABLE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("kept");
const CACHE: usize = 16 << 20;

struct Redb(redb::Database);

fn open_redb(directory: &Path) -> Result<Box<dyn Store>> {
    std::fs::create_dir_all(directory)?;
    let database = Builder::new()
        .set_cache_size(CACHE)
        .set_check_integrity_on_open(true)
        .create(directory.join("log.redb"))?;
    Ok(Box::new(Redb(database)))
}

impl Store for Redb {
    fn commit(&mut self, change: &Change) -> Result<()> {
        let write = self.0.begin_write()?;
        {
            let mut table = write.open_table(TABLE)?;
            for (key, value) in &change.put {
                table.insert(key.as_slice(), value.as_slice())?;
            }
            for key in &change.dropped {
                table.remove(key.as_slice())?;
            }
        }
        Ok(write.commit()?)
    }

    fn load(&self) -> Result<Kept> {
        let table = match self.0.begin_read()?.open_table(TABLE) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Kept::new()),
            table => table?,
        };
        let mut kept = Kept::new();
        for entry in table.iter()? {
            let (key, value) = entry?;
            kept.insert(key.value().to_vec(), value.value().to_vec());
        }
        Ok(kept)
    }
}

struct Fjall(Database, Keyspace);

fn open_fjall(directory: &Path) -> Result<Box<dyn Store>> {
    let database = Database::builder(directory).cache_size(CACHE as u64).worker_threads(1).open()?;
    let keyspace = database.keyspace("kept", KeyspaceCreateOptions::default)?;
    Ok(Box::new(Fjall(database, keyspace)))
}

impl Store for Fjall {
    fn commit(&mut self, change: &Change) -> Result<()> {
        let mut batch = self.0.batch().durability(Some(PersistMode::SyncAll));
        for (key, value) in &change.put {
            batch.insert(&self.1, key.as_slice(), value.as_slice());
        }
        for key in &change.dropped {
            batch.remove(&self.1, key.as_slice());
        }
        Ok(batch.commit()?)
    }

    fn load(&self) -> Result<Kept> {
        let mut kept = Kept::new();
        for guard in self.1.iter() {
            let (key, value) = guard.into_inner()?;
            kept.insert(key.to_vec(), value.to_vec());
        }
        Ok(kept)
    }
}

/// The least that a durable commit costs: its bytes at the end of a file, and one `fdatasync`.
struct Bare(File);

pub fn open_bare(directory: &Path) -> Result<Box<dyn Store>> {
    std::fs::create_dir_all(directory)?;
    Ok(Box::new(Bare(OpenOptions::new().create(true).append(true).open(directory.join("bare"))?)))
}

impl Store for Bare {
    fn commit(&mut self, change: &Change) -> Result<()> {
        let mut bytes = Vec::new();
        for (key, value) in &change.put {
            bytes.extend_from_slice(key);
            bytes.extend_from_slice(value);
        }
        self.0.write_all(&bytes)?;
        Ok(self.0.sync_data()?)
    }

    fn load(&self) -> Result<Kept> {
        Ok(Kept::new())
    }
}

/// Every file of a directory and those in it, with its length.
pub fn files(directory: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(meta) if meta.is_dir() => found.extend(files(&entry.path())),
            Ok(meta) => found.push((entry.path(), meta.len())),
            Err(_) => {}
        }
    }
    found.sort();
    found
}

/// A small generator of its own, so that a seed repeats a run.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        // Half of the bytes vary, so that a store that compresses gains what it gains on rows of text.
        (0..length).map(|i| if i % 2 == 0 { b'a' } else { self.next() as u8 }).collect()
    }
}

/// The `n`th commit of a chain: `batches` batches of `length` bytes, a position each, and as many old batches
/// gone once 400 are there.
pub fn change(random: &mut Random, n: u64, batches: u64, length: usize) -> Change {
    let mut change = Change::default();
    for i in 0..batches {
        let first = n * batches + i;
        change.put.push((batch_key(first), random.bytes(length)));
        change.put.push((format!("position/group-{i}").into_bytes(), random.bytes(150)));
        if first >= 400 {
            change.dropped.push(batch_key(first - 400));
        }
    }
    change
}

fn batch_key(first: u64) -> Vec<u8> {
    format!("batch/out/{first:012}").into_bytes()
}
