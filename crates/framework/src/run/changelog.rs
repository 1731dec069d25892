//! The state of windows that are too long to be read again, kept in a topic of the source's log:
//! `PIPELINE.CHAIN.changelog`, compacted.
//!
//! The rule is replay: a position that is committed goes back to the first row of the oldest open window.
//! Where that has become too far, the chain writes the open windows' state as of the next offset, in the same
//! transaction as the position, and the position goes no further back than that. Only what has changed since
//! it was last written is written again. (Kafka Streams writes every change of every key; a count that grows
//! by millions of rows a second is here a record a key and interval.)
//!
//! The keys that `zero_fill` keeps are written once each, whatever the windows' length: they would not come
//! back by replay.
//!
//! A state is one run of bytes, in records of [`RECORD`] or of half of what the log takes: its key is
//! `[partition, step, part, number]` as JSON. The head lists the parts, so that one that is gone whole is
//! missed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::BinaryArray;
use serde::{Deserialize, Serialize};

use super::RunOptions;
use super::notes::InChangelog;
use super::tree::Tree;
use super::whole::read_whole;
use crate::batch::Partition;
use crate::clock::Millis;
use crate::error::{Consequence, Error, Result};
use crate::log::{Append, Keeps, Log, Records, TopicSpec};

/// The most bytes of a record, where the log takes so many.
const RECORD: usize = 512 << 10;
/// The least: a log that takes less says so when it is written to.
const LEAST: usize = 256;
/// How often the time of an offset is noted, to know how old the row at a position is.
const SAMPLE: Duration = Duration::from_secs(1);
/// The part that says as of which offset the others are.
const HEAD: &str = "head";
/// The part with the keys that `zero_fill` keeps; each of its records is a run of its own.
const KEYS: &str = "keys";

/// The key of a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Key(i32, String, String, u32);

/// What the head says. Version 0.1 wrote the offset alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    /// The state is as of this offset; `None` where only keys are kept.
    as_of: Option<i64>,
    /// The step and the name of each part, and how many records it has; of keys, at least so many.
    parts: Vec<(String, String, u32)>,
}

/// The changelog of one chain.
pub(crate) struct Changelog {
    /// The connection, among those of the run.
    pub(crate) connection: usize,
    log: Arc<dyn Log>,
    topic: Arc<str>,
    /// The topic that the chain reads: its changelog has as many partitions.
    source: String,
    /// How many that are, once it is known to be there.
    partitions: Option<u32>,
    /// The most bytes of a record.
    record: usize,
    replay_rows: i64,
    replay_time: Duration,
    held: BTreeMap<Partition, Held>,
}

/// What is known of a partition.
#[derive(Debug, Default)]
struct Held {
    /// How many records each part has in the topic, by step and part.
    parts: BTreeMap<(String, String), u32>,
    /// The offset as of which the state is, as the head says.
    saved: Option<i64>,
    /// When offsets were read, about.
    read: VecDeque<(i64, Duration)>,
    /// True where it is known what the topic has.
    is_known: bool,
    /// The steps whose parts are given up: they are taken out of the topic with the next commit.
    given_up: Vec<String>,
}

/// What a changelog gives back: bytes by step and part, whole.
pub(crate) type Kept = BTreeMap<(String, String), Vec<u8>>;

/// How far a restore has come, in records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) done: u64,
    pub(crate) total: u64,
}

impl Changelog {
    pub(crate) fn new(
        connection: usize,
        log: Arc<dyn Log>,
        topic: String,
        source: String,
        options: &RunOptions,
    ) -> Self {
        Self {
            connection,
            log,
            topic: topic.into(),
            source,
            partitions: None,
            record: RECORD,
            replay_rows: options.replay_rows,
            replay_time: options.replay_time,
            held: BTreeMap::new(),
        }
    }

    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// The state that these steps have there is given up.
    pub(crate) fn give_up(&mut self, partition: &Partition, steps: Vec<String>) {
        if let Some(held) = self.held.get_mut(partition) {
            held.given_up = steps;
        }
    }

    pub(crate) fn forget(&mut self, partition: &Partition) {
        self.held.remove(partition);
    }

    /// Makes the topic where it is not there; gives the number of its partitions.
    async fn ensure(&mut self) -> Result<u32> {
        if let Some(partitions) = self.partitions {
            return Ok(partitions);
        }
        let source =
            TopicSpec { name: self.source.clone(), partitions: None, create: false, keeps: Keeps::AsTheLog };
        let read = self.log.ensure_topics(&[source]).await?;
        let own = self.log.ensure_topics(&[self.spec(read.first().copied(), true)]).await?;
        self.learn_largest().await?;
        Ok(self.found(&own))
    }

    /// The number of partitions of a topic that must be there: positions were committed with what is in it.
    async fn find(&mut self) -> Result<u32> {
        match self.log.ensure_topics(&[self.spec(None, false)]).await {
            Ok(own) => {
                self.learn_largest().await?;
                Ok(self.found(&own))
            }
            Err(error) if error.consequence() == Consequence::Fatal => {
                Err(self.missing("the state of open windows"))
            }
            Err(error) => Err(error),
        }
    }

    /// Asks how large a record may be. Its key has room in the other half.
    async fn learn_largest(&mut self) -> Result<()> {
        if let Some(largest) = self.log.largest_record(&self.topic).await? {
            self.record = RECORD.min(largest / 2).max(LEAST);
        }
        Ok(())
    }

    fn spec(&self, partitions: Option<u32>, create: bool) -> TopicSpec {
        TopicSpec { name: self.topic.to_string(), partitions, create, keeps: Keeps::LastOfKey }
    }

    fn found(&mut self, own: &[u32]) -> u32 {
        let partitions = own.first().copied().unwrap_or(1).max(1);
        self.partitions = Some(partitions);
        partitions
    }

    fn missing(&self, what: &str) -> Error {
        Error::fatal(format!("topic `{}` does not have {what}, which was committed", self.topic)).remedy(
            "restore the topic, or begin anew under another `name:`; what its open windows had counted is not elsewhere",
        )
    }

    /// Another worker has committed since this one was given the partition: it reads again what is committed.
    fn has_gone_on(&self, partition: &Partition, as_of: i64, saved: i64) -> Error {
        Error::abort(format!(
            "topic `{}` has the state as of offset {as_of} of {partition}, later than the position, which says {saved}: \
             another worker has gone on",
            self.topic
        ))
        .remedy(
            "nothing to do: this worker asks for the position again; where it stays so, the group's offsets were set back: \
             set them to where they were, or begin these windows anew with `--reset-state CHAIN.STEP`",
        )
    }

    /// What must be written with the next commit for a partition that has been read up to `next`; `None` for
    /// nothing.
    pub(crate) async fn records(
        &mut self,
        tree: &mut Tree,
        partition: &Partition,
        next: i64,
        now: Duration,
        wall: Millis,
    ) -> Result<Option<Append>> {
        let keys = tree.save_keys(partition);
        let low = tree.low(partition, next);
        let held = self.held.entry(partition.clone()).or_default();
        let far = held.is_far(low, next, now, self.replay_rows, self.replay_time);
        let save = (far || (low < next && tree.wants_saving(partition))) && tree.can_save(partition);
        if keys.is_empty() && !save && held.given_up.is_empty() {
            return Ok(None);
        }
        let partitions = self.ensure().await?;
        if !self.held.get(partition).is_some_and(|held| held.is_known) {
            self.look(partition, partitions).await?;
        }
        let most = self.record;
        let mut records: Vec<(Key, Option<Vec<u8>>)> = Vec::new();
        let held = self.held.entry(partition.clone()).or_default();
        held.take_out(partition.index, most, &mut records)?;
        for (step, piece) in keys {
            let count = held.parts.entry((step.clone(), KEYS.to_owned())).or_default();
            let mut bytes = Vec::new();
            join(std::slice::from_ref(&piece), &mut bytes);
            for chunk in bytes.chunks(most) {
                records.push((
                    Key(partition.index, step.clone(), KEYS.to_owned(), *count),
                    Some(chunk.to_vec()),
                ));
                *count += 1;
            }
        }
        if save {
            held.write(tree, partition, next, most, &mut records)?;
        } else if !records.is_empty() && held.saved.is_none() {
            held.write_head(partition.index, None, most, &mut records)?;
        }
        if records.is_empty() {
            return Ok(None);
        }
        let mut keys = Vec::with_capacity(records.len());
        for (key, _) in &records {
            let text = serde_json::to_vec(key);
            keys.push(
                text.map_err(|e| Error::fatal("a key of the changelog could not be written").caused_by(e))?,
            );
        }
        Ok(Some(Append {
            topic: self.topic.clone(),
            partition: Some(own_partition(partition, partitions)),
            keys: Some(keys.iter().map(|key| Some(key.as_slice())).collect()),
            values: records.iter().map(|(_, value)| value.as_deref()).collect::<BinaryArray>(),
            headers: Vec::new(),
            timestamps: vec![wall; records.len()].into(),
        }))
    }

    /// Reads back what is kept of these partitions, each with the note of its committed position.
    ///
    /// # Errors
    /// `Fatal` where a note says that there is a state, and it is not there.
    pub(crate) async fn load(
        &mut self,
        wanted: &[(Partition, InChangelog)],
        mut progress: impl FnMut(Progress),
    ) -> Result<Vec<Kept>> {
        let partitions = match self.partitions {
            Some(partitions) => partitions,
            None => self.find().await?,
        };
        let of: Vec<Partition> = wanted.iter().map(|(partition, _)| partition.clone()).collect();
        let found = self.read(&of, partitions, &mut progress).await?;
        wanted.iter().map(|(partition, notes)| self.kept(partition, notes, &found)).collect()
    }

    /// The last record of each key of these partitions.
    async fn read(
        &self,
        wanted: &[Partition],
        partitions: u32,
        progress: &mut impl FnMut(Progress),
    ) -> Result<BTreeMap<Key, Vec<u8>>> {
        let own = |partition: &Partition| own_partition(partition, partitions);
        let mut found: BTreeMap<Key, Vec<u8>> = BTreeMap::new();
        let (mut done, mut told) = (0, tokio::time::Instant::now());
        let partitions = Some(wanted.iter().map(own).collect());
        read_whole(&*self.log, &self.topic, partitions, |records, left| {
            done += records.len() as u64;
            if told.elapsed() >= SAMPLE {
                told = tokio::time::Instant::now();
                progress(Progress { done, total: done + left });
            }
            take(records, wanted, &mut found)
        })
        .await?;
        Ok(found)
    }

    /// Looks at what is there of a partition of which no position says anything: that of windows that were
    /// given up, or of positions that are gone. It is taken out with the next commit, or what is written then
    /// would be read with it.
    async fn look(&mut self, partition: &Partition, partitions: u32) -> Result<()> {
        let found = self.read(std::slice::from_ref(partition), partitions, &mut |_| ()).await?;
        let held = self.held.entry(partition.clone()).or_default();
        for Key(_, step, part, number) in found.into_keys() {
            let count = held.parts.entry((step.clone(), part)).or_default();
            *count = (*count).max(number + 1);
            if !step.is_empty() && !held.given_up.contains(&step) {
                held.given_up.push(step);
            }
        }
        held.is_known = true;
        Ok(())
    }

    /// What was found of a partition, once it is known to be whole.
    fn kept(
        &mut self,
        partition: &Partition,
        notes: &InChangelog,
        found: &BTreeMap<Key, Vec<u8>>,
    ) -> Result<Kept> {
        let missing = |what: &str| self.missing(&format!("{what} of {partition}"));
        let index = partition.index;
        let (mut held, mut kept) = (Held { is_known: true, ..Held::default() }, Kept::new());
        let mut head = Vec::new();
        let (first, behind) =
            (Key(index, String::new(), String::new(), 0), Key(index + 1, String::new(), String::new(), 0));
        for (Key(_, step, part, number), value) in found.range(first..behind) {
            let wanted = if part == KEYS { notes.keys } else { notes.saved.is_some() };
            let count = held.parts.entry((step.clone(), part.clone())).or_default();
            if *number != *count {
                return Err(missing(&format!("record {count} of the {part}")));
            }
            *count += 1;
            if part == HEAD {
                head.extend_from_slice(value);
            } else if wanted {
                kept.entry((step.clone(), part.clone())).or_default().extend_from_slice(value);
            }
        }
        let head = Head::read(&head);
        let as_of = head.as_ref().and_then(|head| head.as_of);
        if let Some(saved) = notes.saved {
            match as_of {
                Some(as_of) if as_of == saved => {}
                Some(as_of) if as_of > saved => return Err(self.has_gone_on(partition, as_of, saved)),
                _ => return Err(missing(&format!("the state as of offset {saved}"))),
            }
        }
        let parts = head.as_ref().map_or(&[][..], |head| &head.parts[..]);
        let name = |step: &str, part: &str| (step.to_owned(), part.to_owned());
        for (step, part, count) in parts {
            let wanted = if part == KEYS { notes.keys } else { notes.saved.is_some() };
            let there = held.parts.get(&name(step, part)).copied().unwrap_or(0);
            if wanted && there < *count {
                return Err(missing(&format!("record {there} of the {part}")));
            }
        }
        if notes.keys && !held.parts.keys().any(|(_, part)| part == KEYS) {
            return Err(missing("the keys"));
        }
        // What the head does not list is no part of the state. Version 0.1 listed nothing.
        if !parts.is_empty() {
            kept.retain(|(step, part), _| {
                part == KEYS || parts.iter().any(|(s, p, _)| s == step && p == part)
            });
        }
        held.saved = as_of;
        self.held.insert(partition.clone(), held);
        Ok(kept)
    }
}

impl Head {
    fn read(bytes: &[u8]) -> Option<Self> {
        let of_offset = |offset| Self { as_of: Some(offset), parts: Vec::new() };
        let alone = serde_json::from_slice::<i64>(bytes).map(of_offset);
        alone.or_else(|_| serde_json::from_slice(bytes)).ok()
    }
}

impl Held {
    /// Adds a tombstone for each record of the parts that are given up.
    fn take_out(
        &mut self,
        partition: i32,
        most: usize,
        records: &mut Vec<(Key, Option<Vec<u8>>)>,
    ) -> Result<()> {
        let before = records.len();
        for step in std::mem::take(&mut self.given_up) {
            let parts = self.parts.extract_if(.., |(of, _), _| *of == step);
            for ((step, part), count) in parts {
                records.extend((0..count).map(|n| (Key(partition, step.clone(), part.clone(), n), None)));
            }
        }
        // The head lists what is left.
        if records.len() > before { self.write_head(partition, self.saved, most, records) } else { Ok(()) }
    }

    /// True where so much would be read again, after a restart, that the state is worth writing.
    fn is_far(&mut self, low: i64, next: i64, now: Duration, rows: i64, time: Duration) -> bool {
        if self.read.back().is_none_or(|(_, at)| now.saturating_sub(*at) >= SAMPLE) {
            self.read.push_back((next, now));
        }
        while self.read.get(1).is_some_and(|(offset, _)| *offset <= low) {
            self.read.pop_front();
        }
        let age = self.read.front().map_or(Duration::ZERO, |(_, at)| now.saturating_sub(*at));
        low < next && (next - low >= rows || age >= time)
    }

    /// Adds the state as of `next`, and tombstones for what is no more. A record has at most so many bytes.
    fn write(
        &mut self,
        tree: &mut Tree,
        partition: &Partition,
        next: i64,
        most: usize,
        records: &mut Vec<(Key, Option<Vec<u8>>)>,
    ) -> Result<()> {
        let index = partition.index;
        let mut parts: BTreeMap<(String, String), u32> = BTreeMap::new();
        for (step, part) in tree.save(partition, next) {
            let name = (step, part.name);
            let before = self.parts.get(&name).copied().unwrap_or(0);
            let count = match part.pieces {
                None => before,
                Some(pieces) => {
                    let mut bytes = Vec::new();
                    join(&pieces, &mut bytes);
                    let mut count = 0;
                    for chunk in bytes.chunks(most) {
                        records
                            .push((Key(index, name.0.clone(), name.1.clone(), count), Some(chunk.to_vec())));
                        count += 1;
                    }
                    count
                }
            };
            parts.insert(name, count);
        }
        for ((step, part), before) in self.parts.iter().filter(|((_, part), _)| part != HEAD) {
            let name = (step.clone(), part.clone());
            let kept = if part == KEYS { *before } else { parts.get(&name).copied().unwrap_or(0) };
            for number in kept..*before {
                records.push((Key(index, step.clone(), part.clone(), number), None));
            }
            if kept > 0 {
                parts.insert(name, kept);
            }
        }
        parts.extend(self.parts.remove_entry(&(String::new(), HEAD.to_owned())));
        self.parts = parts;
        self.saved = Some(next);
        self.write_head(index, Some(next), most, records)
    }

    /// Adds the head, of the parts as they are now.
    fn write_head(
        &mut self,
        index: i32,
        as_of: Option<i64>,
        most: usize,
        records: &mut Vec<(Key, Option<Vec<u8>>)>,
    ) -> Result<()> {
        let listed = self.parts.iter().filter(|((_, part), _)| part != HEAD);
        let parts = listed.map(|((step, part), count)| (step.clone(), part.clone(), *count)).collect();
        let bytes = serde_json::to_vec(&Head { as_of, parts })
            .map_err(|e| Error::fatal("the head of the changelog could not be written").caused_by(e))?;
        let key = |number| Key(index, String::new(), HEAD.to_owned(), number);
        let mut count = 0;
        for chunk in bytes.chunks(most) {
            records.push((key(count), Some(chunk.to_vec())));
            count += 1;
        }
        let before = self.parts.insert((String::new(), HEAD.to_owned()), count).unwrap_or(0);
        records.extend((count..before).map(|number| (key(number), None)));
        Ok(())
    }
}

/// The partition of the changelog that has the state of a partition of the source: the same, unless the
/// source has got more since.
fn own_partition(partition: &Partition, partitions: u32) -> i32 {
    partition.index.rem_euclid(partitions.cast_signed().max(1))
}

/// Keeps the last record of each key of the wanted partitions.
fn take(records: &Records, wanted: &[Partition], found: &mut BTreeMap<Key, Vec<u8>>) -> Result<()> {
    for (key, value) in records.keys.iter().zip(&records.values) {
        let key: Key = serde_json::from_slice(key.unwrap_or_default()).map_err(|e| {
            Error::fatal(format!("topic `{}` has a record that is not ours: {e}", records.partition.source))
                .remedy("nothing else may write to the changelog; begin anew under another `name:`")
        })?;
        match value {
            Some(value) if wanted.iter().any(|partition| partition.index == key.0) => {
                found.insert(key, value.to_vec());
            }
            Some(_) => {}
            None => _ = found.remove(&key),
        }
    }
    Ok(())
}

/// Adds pieces to a run of bytes, each behind its length.
fn join(pieces: &[Vec<u8>], bytes: &mut Vec<u8>) {
    for piece in pieces {
        bytes.extend_from_slice(&(piece.len() as u32).to_le_bytes());
        bytes.extend_from_slice(piece);
    }
}

/// The pieces of a run of bytes.
///
/// # Errors
/// `Fatal` where it is cut short.
pub(crate) fn pieces(mut bytes: &[u8]) -> Result<Vec<&[u8]>> {
    let short = || {
        Error::fatal("a state in the changelog is cut short")
            .remedy("begin anew under another `name:`; what its open windows had counted is not elsewhere")
    };
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(short)?;
        let (piece, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(short)?;
        pieces.push(piece);
        bytes = rest;
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests;
