//! Keys to dense numbers: the groups of an aggregate.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow_buffer::{NullBufferBuilder, OffsetBuffer};
use arrow_schema::{ArrowError, DataType};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// No group: the row's key is one too many.
pub(super) const NONE: u32 = u32::MAX;

pub(super) const NO_OWNER: u32 = u32::MAX;

/// The length of a field of a key of several that is null.
const NULL: u32 = u32::MAX;

/// Keys up to this many bytes stand in the table itself: looking one up touches one place in memory less (97
/// against 160 ns a row with a million keys).
const SHORT: usize = 16;

#[derive(Clone, Copy)]
struct Entry {
    /// The key where it is short, with zeros behind; else its hash.
    start: [u8; SHORT],
    len: u32,
    group: u32,
}

/// All keys that are known, each with its group.
pub(super) struct KeyTable {
    /// The columns that make a key.
    columns: Vec<usize>,
    table: HashTable<Entry>,
    hasher: FixedState,
    /// The keys' bytes, one behind the other; key `g` ends at `ends[g]`. A key of several fields has the
    /// length of each before it.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// The partition that a key was last seen in; `NO_OWNER` where it is known by name alone.
    owners: Vec<u32>,
    /// True for a key that a closed window had a row of.
    seen: Vec<bool>,
    /// The keys that were seen and are not kept in a changelog yet.
    unsaved: Vec<u32>,
    /// The groups of keys of one byte, the commonest case by far (0.4 against 5.3 ns a row).
    one_byte: [u32; 256],
    null: u32,
    /// The most keys of rows that come for the first time, and the most now.
    max: u32,
    most: u32,
    /// A key while it is put together.
    scratch: Vec<u8>,
}

impl KeyTable {
    pub(super) fn new(columns: Vec<usize>, max: u32) -> Self {
        Self {
            columns,
            table: HashTable::new(),
            hasher: FixedState::default(),
            bytes: Vec::new(),
            ends: Vec::new(),
            owners: Vec::new(),
            seen: Vec::new(),
            unsaved: Vec::new(),
            one_byte: [NONE; 256],
            null: NONE,
            max: max.min(NONE - 1),
            most: max.min(NONE - 1),
            scratch: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is a limit for the keys of the rows that follow.
    pub(super) fn limit(&mut self, limited: bool) {
        self.most = if limited { self.max } else { NONE - 1 };
    }

    pub(super) fn clear(&mut self) {
        self.table.clear();
        self.bytes.clear();
        self.ends.clear();
        self.owners.clear();
        self.seen.clear();
        self.unsaved.clear();
        self.one_byte = [NONE; 256];
        self.null = NONE;
    }

    /// The bytes that the keys take, the table as if it were half full; not memory that is only kept for
    /// later ones.
    pub(super) fn bytes(&self) -> usize {
        let each = 2 * (size_of::<Entry>() + 1) + size_of::<usize>() + size_of::<u32>() + 1;
        self.ends.len() * each + self.bytes.len()
    }

    /// The groups of a batch's rows; `NONE` for a key beyond the most that are held.
    pub(super) fn groups(&mut self, batch: &RecordBatch, groups: &mut Vec<u32>) {
        let texts = match self.columns[..] {
            [column] => batch.column(column).as_string_opt::<i32>().filter(|keys| keys.null_count() == 0),
            _ => None,
        };
        let Some(texts) = texts else { return self.groups_where(batch, |_| true, groups) };
        groups.clear();
        if bytes_of_one(texts).is_some_and(|bytes| self.groups_of_bytes(bytes, groups)) {
            return;
        }
        groups.clear();
        let bytes = texts.value_data();
        let slices = texts.value_offsets().windows(2).map(|w| &bytes[w[0] as usize..w[1] as usize]);
        groups.extend(slices.map(|key| self.look_up(Some(key), true)));
    }

    /// The groups of a batch's rows; `NONE` for a key beyond the most that are held, and for one that is not
    /// known of a row that is not to be taken: what is late or cannot be used leaves no trace.
    pub(super) fn groups_where(
        &mut self,
        batch: &RecordBatch,
        take: impl Fn(usize) -> bool,
        groups: &mut Vec<u32>,
    ) {
        groups.clear();
        let rows = 0..batch.num_rows();
        let [column] = self.columns[..] else {
            let mut key = std::mem::take(&mut self.scratch);
            let columns = std::mem::take(&mut self.columns);
            for row in rows {
                key.clear();
                columns.iter().for_each(|column| push_field(&mut key, batch.column(*column), row));
                groups.push(self.look_up(Some(&key), take(row)));
            }
            self.columns = columns;
            self.scratch = key;
            return;
        };
        let column = batch.column(column);
        let valid = |row| !column.is_null(row);
        match column.data_type() {
            DataType::Utf8 => {
                let keys = column.as_string::<i32>();
                let key = |row| valid(row).then(|| keys.value(row).as_bytes());
                groups.extend(rows.map(|row| self.look_up(key(row), take(row))));
            }
            DataType::Int64 => {
                let keys = column.as_primitive::<Int64Type>();
                let mut text = itoa::Buffer::new();
                groups.extend(rows.map(|row| {
                    let key = valid(row).then(|| text.format(keys.value(row)).as_bytes());
                    self.look_up(key, take(row))
                }));
            }
            _ => {
                let keys = column.as_boolean();
                let key = |row| valid(row).then(|| truth(keys.value(row)));
                groups.extend(rows.map(|row| self.look_up(key(row), take(row))));
            }
        }
    }

    /// The groups of keys of one byte; false where one is not known.
    fn groups_of_bytes(&self, bytes: &[u8], groups: &mut Vec<u32>) -> bool {
        groups.extend(bytes.iter().map(|byte| self.one_byte[usize::from(*byte)]));
        groups.iter().fold(0, |most, group| most.max(*group)) != NONE
    }

    /// The keys' bytes, where each row's key is text of one byte.
    pub(super) fn one_byte_keys<'a>(&self, batch: &'a RecordBatch) -> Option<&'a [u8]> {
        let [column] = self.columns[..] else { return None };
        let column = batch.column(column).as_string_opt::<i32>()?;
        if column.null_count() == 0 { bytes_of_one(column) } else { None }
    }

    /// Counts keys of one byte and gives each group's rows to `add`; false, with nothing given, where one is
    /// not known.
    pub(super) fn count_bytes(&self, bytes: &[u8], mut add: impl FnMut(u32, i64)) -> bool {
        // Several tracks, as an increment would wait for the one before, of the same key.
        let mut tracks = [[0_u32; 256]; 4];
        let (chunks, rest) = bytes.as_chunks::<4>();
        for chunk in chunks {
            for (track, byte) in tracks.iter_mut().zip(chunk) {
                track[usize::from(*byte)] += 1;
            }
        }
        for byte in rest {
            tracks[0][usize::from(*byte)] += 1;
        }
        let rows = |byte: usize| tracks.iter().map(|track| i64::from(track[byte])).sum::<i64>();
        if (0..256).any(|byte| self.one_byte[byte] == NONE && rows(byte) > 0) {
            return false;
        }
        for (byte, group) in self.one_byte.iter().enumerate().filter(|(_, group)| **group != NONE) {
            add(*group, rows(byte));
        }
        true
    }

    /// True for the types that a key may have.
    pub(super) fn takes(data_type: &DataType) -> bool {
        matches!(data_type, DataType::Utf8 | DataType::Int64 | DataType::Boolean)
    }

    pub(super) fn group(&mut self, key: &[u8]) -> u32 {
        self.look_up(Some(key), true)
    }

    /// The group of a key, or of null; a new one where it is not known and `insert` says so.
    #[inline]
    fn look_up(&mut self, key: Option<&[u8]>, insert: bool) -> u32 {
        let Some(key) = key else {
            if self.null == NONE && insert {
                self.null = self.add(b"");
            }
            return self.null;
        };
        if let [byte] = key {
            let group = self.one_byte[usize::from(*byte)];
            if group != NONE || !insert {
                return group;
            }
            let group = self.add(key);
            self.one_byte[usize::from(*byte)] = group;
            return group;
        }
        let hash = self.hasher.hash_one(key);
        let start = start_of(key, hash);
        let len = key.len() as u32;
        let (bytes, ends) = (&self.bytes, &self.ends);
        let found = self.table.find(hash, |entry| {
            entry.start == start
                && entry.len == len
                && (key.len() <= SHORT || slice(bytes, ends, entry.group) == key)
        });
        if let Some(entry) = found {
            return entry.group;
        }
        let group = if insert { self.add(key) } else { NONE };
        if group != NONE {
            let hasher = &self.hasher;
            self.table.insert_unique(hash, Entry { start, len, group }, |entry| entry.hash(hasher));
        }
        group
    }

    fn add(&mut self, key: &[u8]) -> u32 {
        if self.ends.len() >= self.most as usize || u32::try_from(key.len()).is_err() {
            return NONE;
        }
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
        self.owners.push(NO_OWNER);
        self.seen.push(false);
        (self.ends.len() - 1) as u32
    }

    /// Forgets the keys that are not `live`. Gives each group's new number: those of forgotten keys come
    /// behind the others, to be given to new keys.
    pub(super) fn retain(&mut self, live: &[bool]) -> Vec<u32> {
        let null = self.null;
        let (bytes, ends) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.ends));
        let owners = std::mem::take(&mut self.owners);
        self.clear();
        // One worker may hold now what two had room for: what is held stays, however many keys that are.
        let most = std::mem::replace(&mut self.most, NONE - 1);
        let mut into = vec![NONE; ends.len()];
        for group in (0..ends.len() as u32).filter(|g| live[*g as usize]) {
            let new = self.look_up((group != null).then(|| slice(&bytes, &ends, group)), true);
            self.own(new, owners[group as usize]);
            into[group as usize] = new;
        }
        self.most = most;
        let unused = self.len() as u32..;
        for (into, number) in into.iter_mut().filter(|n| **n == NONE).zip(unused) {
            *into = number;
        }
        into
    }

    /// Whether a window had a row of this key, now or before.
    pub(super) fn seen(&mut self, group: u32, now: bool) -> bool {
        self.seen.get_mut(group as usize).is_some_and(|seen| {
            if now && !*seen {
                *seen = true;
                self.unsaved.push(group);
            }
            *seen
        })
    }

    /// Which keys are known to have been in a closed window, to go back to.
    pub(super) fn what_is_seen(&self) -> (Vec<bool>, Vec<u32>) {
        (self.seen.clone(), self.unsaved.clone())
    }

    /// Goes back to what was known; no key has come since.
    pub(super) fn is_seen(&mut self, (seen, unsaved): (Vec<bool>, Vec<u32>)) {
        (self.seen, self.unsaved) = (seen, unsaved);
    }

    /// The keys that a partition has, were seen, and were not given by this call before.
    pub(super) fn take_unsaved(&mut self, partition: u32) -> Vec<u32> {
        let owners = &self.owners;
        self.unsaved.extract_if(.., |group| owners.get(*group as usize) == Some(&partition)).collect()
    }

    /// The bytes of a group's key; `None` for null.
    pub(super) fn key(&self, group: u32) -> Option<&[u8]> {
        (group != self.null).then(|| slice(&self.bytes, &self.ends, group))
    }

    /// The group of a key that was kept: it had room before.
    pub(super) fn load(&mut self, key: Option<&[u8]>) -> u32 {
        self.limit(false);
        self.look_up(key, true)
    }

    /// A key that was seen before a restart.
    pub(super) fn load_seen(&mut self, key: Option<&[u8]>, partition: u32) {
        let group = self.load(key);
        self.own(group, partition);
        if let Some(seen) = self.seen.get_mut(group as usize) {
            *seen = true;
        }
    }

    /// Notes that a partition has this key.
    #[inline]
    pub(super) fn own(&mut self, group: u32, partition: u32) {
        if let Some(owner) = self.owners.get_mut(group as usize).filter(|owner| **owner != partition) {
            *owner = partition;
        }
    }

    /// A partition's keys are somebody else's now.
    pub(super) fn disown(&mut self, partition: u32) {
        for owner in &mut self.owners {
            if *owner == partition {
                *owner = NO_OWNER;
            }
        }
    }

    pub(super) fn owner(&self, group: u32) -> u32 {
        self.owners.get(group as usize).copied().unwrap_or(NO_OWNER)
    }

    /// The keys of these groups, a column for each field.
    ///
    /// # Errors
    /// Where they take more than a column can hold, 2 GiB.
    pub(super) fn columns(&self, groups: &[u32]) -> Result<Vec<StringArray>, ArrowError> {
        let whole = |group: u32| slice(&self.bytes, &self.ends, group);
        match self.columns.len() {
            0 => Ok(Vec::new()),
            1 => {
                let keys = groups.iter().map(|g| (*g != self.null).then(|| whole(*g)));
                Ok(vec![texts(keys)?])
            }
            fields => {
                (0..fields).map(|field| texts(groups.iter().map(|g| field_of(whole(*g), field)))).collect()
            }
        }
    }
}

/// A text column. Its bytes are checked all at once: one by one took half of a result's time.
fn texts<'a>(keys: impl ExactSizeIterator<Item = Option<&'a [u8]>>) -> Result<StringArray, ArrowError> {
    let mut values: Vec<u8> = Vec::new();
    let mut ends: Vec<i32> = Vec::with_capacity(keys.len() + 1);
    let mut nulls = NullBufferBuilder::new(keys.len());
    ends.push(0);
    for key in keys {
        values.extend_from_slice(key.unwrap_or_default());
        nulls.append(key.is_some());
        let end = i32::try_from(values.len())
            .map_err(|_| ArrowError::InvalidArgumentError("the keys take more than 2 GiB".into()))?;
        ends.push(end);
    }
    StringArray::try_new(OffsetBuffer::new(ends.into()), values.into(), nulls.finish())
}

impl Entry {
    fn hash(&self, hasher: &FixedState) -> u64 {
        let len = self.len as usize;
        if len <= SHORT {
            hasher.hash_one(&self.start[..len])
        } else {
            u64::from_le_bytes(self.start.as_chunks::<8>().0[0])
        }
    }
}

#[inline]
fn start_of(key: &[u8], hash: u64) -> [u8; SHORT] {
    let mut start = [0; SHORT];
    if key.len() <= SHORT {
        start[..key.len()].copy_from_slice(key);
    } else {
        start[..8].copy_from_slice(&hash.to_le_bytes());
    }
    start
}

/// The bytes of a column whose every cell is one byte.
fn bytes_of_one(column: &StringArray) -> Option<&[u8]> {
    let (ends, bytes) = (column.value_offsets(), column.value_data());
    let (start, end) = (*ends.first()?, *ends.last()?);
    // No early exit in the loop, so that it takes many rows at a time.
    let one_byte = (end - start) as usize + 1 == ends.len()
        && ends[1..].iter().zip(ends).fold(0, |wrong, (b, a)| wrong | ((b - a) ^ 1)) == 0;
    one_byte.then(|| &bytes[start as usize..end as usize])
}

fn truth(value: bool) -> &'static [u8] {
    if value { b"true" } else { b"false" }
}

/// Adds a field of a key of several: its length, and its bytes.
fn push_field(key: &mut Vec<u8>, column: &ArrayRef, row: usize) {
    if column.is_null(row) {
        key.extend_from_slice(&NULL.to_le_bytes());
        return;
    }
    let mut text = itoa::Buffer::new();
    let bytes = match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).as_bytes(),
        DataType::Int64 => text.format(column.as_primitive::<Int64Type>().value(row)).as_bytes(),
        _ => truth(column.as_boolean().value(row)),
    };
    key.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    key.extend_from_slice(bytes);
}

/// Field `index` of a key of several; `None` for null.
fn field_of(mut key: &[u8], index: usize) -> Option<&[u8]> {
    for _ in 0..index {
        key = split_field(key).1;
    }
    split_field(key).0
}

fn split_field(key: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let Some((len, rest)) = key.split_first_chunk::<4>() else { return (None, &[]) };
    match u32::from_le_bytes(*len) {
        NULL => (None, rest),
        len => rest.split_at_checked(len as usize).map_or((None, &[]), |(field, rest)| (Some(field), rest)),
    }
}

fn slice<'a>(bytes: &'a [u8], ends: &[usize], group: u32) -> &'a [u8] {
    let group = group as usize;
    let start = if group == 0 { 0 } else { ends[group - 1] };
    &bytes[start..ends[group]]
}
