//! Topics and their partitions: batches as they were appended, one behind the other.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, BinaryArray, Int64Array, UInt32Array};
use arrow_buffer::ScalarBuffer;

use super::journal::bytes;
use crate::batch::Partition;
use crate::clock::Millis;
use crate::error::{Error, Result};
use crate::log::partitioner::rows_by_partition;
use crate::log::{Append, Records, Start};

/// What a record costs beside its key and value: a timestamp and two ends of bytes.
const RECORD_BYTES: usize = 16;
/// What a batch costs beside its records, so that a topic of single records stays within its bound too.
const BATCH_BYTES: usize = 512;
/// Batches with fewer records than this are joined for a reader that is behind.
const JOIN_BELOW: usize = 1024;

/// One batch of a partition.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    timestamps: ScalarBuffer<Millis>,
    keys: BinaryArray,
    values: BinaryArray,
    headers: Headers,
}

/// Headers by name.
type Headers = Vec<(Arc<str>, BinaryArray)>;

impl Segment {
    pub(super) fn len(&self) -> usize {
        self.timestamps.len()
    }

    /// The batch as a journal keeps it.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.bytes());
        bytes::put_numbers(&mut all, &self.timestamps);
        bytes::put_cells(&mut all, &self.keys);
        bytes::put_cells(&mut all, &self.values);
        // Batches without headers are as version 0.1 wrote all of them.
        for (name, cells) in &self.headers {
            bytes::put_text(&mut all, name);
            bytes::put_cells(&mut all, cells);
        }
        all
    }

    /// The batch that a journal has kept.
    pub(super) fn from_bytes(mut all: &[u8]) -> Result<Self> {
        let timestamps = bytes::numbers(&mut all)?;
        let keys = bytes::cells(&mut all, timestamps.len())?;
        let values = bytes::cells(&mut all, timestamps.len())?;
        let mut headers = Vec::new();
        while !all.is_empty() {
            headers.push((bytes::text(&mut all)?.into(), bytes::cells(&mut all, timestamps.len())?));
        }
        Ok(Self { timestamps: timestamps.into(), keys, values, headers })
    }

    /// What the batch counts against the topic's bound.
    pub(super) fn bytes(&self) -> usize {
        let headers = self.headers.iter().map(|(name, cells)| name.len() + payload(cells)).sum::<usize>();
        BATCH_BYTES + self.len() * RECORD_BYTES + payload(&self.keys) + payload(&self.values) + headers
    }

    pub(super) fn keys(&self) -> &BinaryArray {
        &self.keys
    }

    /// True where a row says that its key is no more.
    pub(super) fn is_tombstone(&self, row: usize) -> bool {
        self.values.is_null(row)
    }

    /// Takes rows out, into memory of their own.
    pub(super) fn take(&self, rows: Vec<u32>) -> Result<Self> {
        let rows = UInt32Array::from(rows);
        let binary = |array: &BinaryArray| -> Result<BinaryArray> {
            Ok(arrow_select::take::take(array, &rows, None).map_err(broken)?.as_binary().clone())
        };
        Ok(Self {
            timestamps: rows.values().iter().map(|row| self.timestamps[*row as usize]).collect(),
            keys: binary(&self.keys)?,
            values: binary(&self.values)?,
            headers: self
                .headers
                .iter()
                .map(|(name, cells)| Ok((name.clone(), binary(cells)?)))
                .collect::<Result<_>>()?,
        })
    }

    /// A header of some records, null where there is none.
    fn header(&self, name: &str, at: usize, length: usize) -> BinaryArray {
        match self.headers.iter().rfind(|(header, _)| **header == *name) {
            Some((_, cells)) => cells.slice(at, length),
            None => BinaryArray::new_null(length),
        }
    }

    /// The same rows, in memory of their own where they are a small part of somebody else's.
    fn compact(self) -> Result<Self> {
        let held = self.keys.get_buffer_memory_size() + self.values.get_buffer_memory_size();
        if held > 2 * self.bytes() + 4096 {
            let rows = (0..self.len() as u32).collect();
            return self.take(rows);
        }
        Ok(self)
    }
}

/// The bytes between the first and the last offset of a column.
fn payload(array: &BinaryArray) -> usize {
    match array.value_offsets() {
        [first, .., last] => (last - first) as usize,
        _ => 0,
    }
}

fn broken(error: arrow_schema::ArrowError) -> Error {
    Error::fatal("the columns of a batch do not fit together").caused_by(error)
}

/// What an append brings, checked, by partition.
pub(super) fn split(
    append: &Append,
    partitions: u32,
    keyless: u32,
    max_record_bytes: usize,
) -> Result<Vec<(i32, Segment)>> {
    let rows = append.values.len();
    if append.timestamps.len() != rows
        || append.keys.as_ref().is_some_and(|keys| keys.len() != rows)
        || append.headers.iter().any(|(_, cells)| cells.len() != rows)
    {
        return Err(Error::fatal(format!(
            "an append to topic `{}` has columns of different lengths",
            append.topic
        )));
    }
    let size = |row: usize| {
        append.keys.as_ref().map_or(0, |keys| keys.value_length(row) as usize)
            + append.values.value_length(row) as usize
    };
    if let Some(row) = (0..rows).find(|row| size(*row) > max_record_bytes) {
        return Err(Error::fatal(format!(
            "a record of {} bytes for topic `{}` is larger than the log takes, {max_record_bytes} bytes",
            size(row),
            append.topic
        ))
        .remedy("make the record smaller before the sink, for example by selecting fewer fields"));
    }
    if rows == 0 {
        return Ok(Vec::new());
    }
    let whole = Segment {
        timestamps: append.timestamps.clone(),
        keys: append.keys.clone().unwrap_or_else(|| BinaryArray::new_null(rows)),
        values: append.values.clone(),
        headers: append.headers.clone(),
    };
    if let Some(index) = append.partition {
        if !(0..partitions.cast_signed()).contains(&index) {
            return Err(Error::fatal(format!("topic `{}` has no partition {index}", append.topic)));
        }
        return Ok(vec![(index, whole.compact()?)]);
    }
    if partitions == 1 {
        return Ok(vec![(0, whole.compact()?)]);
    }
    rows_by_partition(append.keys.as_ref(), rows, partitions, keyless)
        .into_iter()
        .enumerate()
        .filter(|(_, rows)| !rows.is_empty())
        .map(|(index, rows)| Ok((index as i32, whole.take(rows)?)))
        .collect()
}

/// A batch in its place.
#[derive(Debug)]
struct Stored {
    base: i64,
    /// The bytes of all batches that stood in this partition before it, since the beginning.
    before: usize,
    /// Rises over all partitions of the topic: which batch is the oldest.
    sequence: u64,
    segment: Segment,
}

impl Stored {
    fn end(&self) -> i64 {
        self.base + self.segment.len() as i64
    }
}

/// One partition.
#[derive(Debug, Default)]
pub(super) struct PartitionLog {
    stored: VecDeque<Stored>,
    end: i64,
    /// The bytes of all batches that were ever stored.
    bytes: usize,
    /// A compacted partition is cleaned once it holds this much; the least at first.
    pub(super) clean_at: usize,
}

impl PartitionLog {
    /// The oldest offset that is there.
    pub(super) fn start(&self) -> i64 {
        self.stored.front().map_or(self.end, |stored| stored.base)
    }

    /// The offset that the next record gets.
    pub(super) fn end(&self) -> i64 {
        self.end
    }

    /// The batches, the oldest first.
    pub(super) fn segments(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        self.stored.iter().map(|stored| &stored.segment)
    }

    /// Where a reader begins that says `start`.
    pub(super) fn begins(&self, start: Start) -> i64 {
        start.offset((self.start(), self.end), |time| {
            self.stored.iter().find_map(|stored| {
                let at = stored.segment.timestamps.iter().position(|timestamp| *timestamp >= time)?;
                Some(stored.base + at as i64)
            })
        })
    }

    /// The bytes that are held.
    pub(super) fn held(&self) -> usize {
        self.stored.front().map_or(0, |first| self.bytes - first.before)
    }

    /// Records from `from` on and below `limit`, at most `max`; `None` where there are none.
    pub(super) fn read(
        &self,
        partition: &Partition,
        from: i64,
        limit: i64,
        max: usize,
        headers: &[String],
    ) -> Result<Option<Records>> {
        let from = from.max(self.start());
        let limit = limit.min(self.end).min(from.saturating_add(max.max(1) as i64));
        if from >= limit {
            return Ok(None);
        }
        let first = self.stored.partition_point(|stored| stored.end() <= from);
        let mut upto = from;
        let mut parts: Vec<Records> = Vec::new();
        for stored in self.stored.range(first..) {
            if upto >= limit || upto - from >= JOIN_BELOW as i64 {
                break;
            }
            let (begin, end) = (upto.max(stored.base), stored.end().min(limit));
            let (at, length) = ((begin - stored.base) as usize, (end - begin) as usize);
            parts.push(Records {
                partition: partition.clone(),
                offsets: (begin..end).collect(),
                timestamps: stored.segment.timestamps.slice(at, length),
                keys: stored.segment.keys.slice(at, length),
                values: stored.segment.values.slice(at, length),
                headers: headers.iter().map(|name| stored.segment.header(name, at, length)).collect(),
            });
            upto = end;
        }
        join(parts)
    }
}

/// Joins small batches to one.
fn join(mut parts: Vec<Records>) -> Result<Option<Records>> {
    if parts.len() < 2 {
        return Ok(parts.pop());
    }
    let binary = |pick: &dyn Fn(&Records) -> &BinaryArray| -> Result<BinaryArray> {
        let arrays: Vec<&dyn Array> = parts.iter().map(|part| pick(part) as &dyn Array).collect();
        Ok(arrow_select::concat::concat(&arrays).map_err(broken)?.as_binary().clone())
    };
    let numbers = |pick: fn(&Records) -> &ScalarBuffer<i64>| -> Result<ScalarBuffer<i64>> {
        let arrays: Vec<Int64Array> =
            parts.iter().map(|part| Int64Array::new(pick(part).clone(), None)).collect();
        let arrays: Vec<&dyn Array> = arrays.iter().map(|array| array as &dyn Array).collect();
        let all = arrow_select::concat::concat(&arrays).map_err(broken)?;
        Ok(all.as_primitive::<Int64Type>().values().clone())
    };
    Ok(Some(Records {
        offsets: numbers(|part| &part.offsets)?,
        timestamps: numbers(|part| &part.timestamps)?,
        keys: binary(&|part| &part.keys)?,
        values: binary(&|part| &part.values)?,
        headers: (0..parts.first().map_or(0, |part| part.headers.len()))
            .map(|header| binary(&|part| &part.headers[header]))
            .collect::<Result<_>>()?,
        partition: parts.swap_remove(0).partition,
    }))
}

/// One topic.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: Arc<str>,
    pub(super) partitions: Vec<PartitionLog>,
    /// What all partitions hold, in bytes.
    pub(super) bytes: usize,
    /// True once the log has said that nobody reads the topic, or that it has outgrown its bound.
    pub(super) warned: bool,
    /// True where only the last record of each key is kept.
    pub(super) compacted: bool,
    sequence: u64,
    /// Where the next append without keys goes.
    keyless: u32,
    /// The batches that were dropped, partition and first offset, since a journal was told; `None` without
    /// one.
    pub(super) dropped: Option<Vec<(i32, i64)>>,
}

impl Topic {
    pub(super) fn new(name: &str, partitions: u32, compacted: bool) -> Self {
        Self {
            name: Arc::from(name),
            partitions: (0..partitions).map(|_| PartitionLog::default()).collect(),
            bytes: 0,
            warned: false,
            compacted,
            sequence: 0,
            keyless: 0,
            dropped: None,
        }
    }

    /// Puts a batch that a journal has kept in its place.
    pub(super) fn restore(&mut self, index: i32, first: i64, segment: Segment) -> Result<()> {
        let partition = self.partitions.get_mut(index as usize);
        match partition.filter(|p| p.stored.is_empty() || p.end == first) {
            Some(partition) => partition.end = first,
            None => return Err(Error::fatal(format!("the log on disk has a gap in topic `{}`", self.name))),
        }
        self.store(index, segment);
        Ok(())
    }

    /// The offset that a partition's next record gets, where its last batches were dropped.
    pub(super) fn restore_end(&mut self, index: i32, end: i64) {
        if let Some(partition) = self.partitions.get_mut(index as usize) {
            partition.end = partition.end.max(end);
        }
    }

    /// The partition for an append without keys: the next one each time.
    pub(super) fn next_keyless(&mut self) -> u32 {
        self.keyless = self.keyless.wrapping_add(1);
        self.keyless
    }

    /// Puts a batch at the end of a partition: readers see it from now on.
    pub(super) fn store(&mut self, index: i32, segment: Segment) {
        let Some(partition) = self.partitions.get_mut(index as usize) else { return };
        let bytes = segment.bytes();
        self.bytes += bytes;
        self.sequence += 1;
        let before = partition.bytes;
        let stored = Stored { base: partition.end, before, sequence: self.sequence, segment };
        partition.end = stored.end();
        partition.bytes += bytes;
        partition.stored.push_back(stored);
    }

    /// Drops the oldest batch that ends at or below its partition's entry in `low`; false where there is
    /// none.
    pub(super) fn drop_oldest(&mut self, low: &[i64]) -> bool {
        let oldest = self
            .partitions
            .iter_mut()
            .zip(low)
            .enumerate()
            .filter(|(_, (partition, low))| {
                partition.stored.front().is_some_and(|front| front.end() <= **low)
            })
            .min_by_key(|(_, (partition, _))| partition.stored.front().map(|front| front.sequence));
        let Some((index, _)) = oldest else { return false };
        self.drop_first(index)
    }

    /// Drops the oldest batch of a partition; false where there is none.
    pub(super) fn drop_first(&mut self, index: usize) -> bool {
        let Some(dropped) = self.partitions.get_mut(index).and_then(|p| p.stored.pop_front()) else {
            return false;
        };
        if let Some(all) = &mut self.dropped {
            all.push((index as i32, dropped.base));
        }
        self.bytes -= dropped.segment.bytes();
        true
    }

    /// The bytes of whole batches at or above `low`: what somebody still needs.
    pub(super) fn needed(&self, low: &[i64]) -> usize {
        let needed = |partition: &PartitionLog, low: i64| -> usize {
            let first = partition.stored.partition_point(|stored| stored.end() <= low);
            partition.stored.get(first).map_or(0, |stored| partition.bytes - stored.before)
        };
        self.partitions.iter().zip(low).map(|(partition, low)| needed(partition, *low)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_comes_back_from_a_journal_with_its_headers_and_one_of_version_0_1_has_none() {
        let cells = |cells: [Option<&[u8]>; 2]| BinaryArray::from_iter(cells);
        let plain = Segment {
            timestamps: vec![1, 2].into(),
            keys: cells([None, Some(b"k")]),
            values: cells([Some(b"v"), None]),
            headers: Vec::new(),
        };
        let headers = vec![("by".into(), cells([Some(b"x"), None])), ("".into(), cells([None, Some(b"")]))];
        let back = |segment: &Segment| Segment::from_bytes(&segment.to_bytes()).map(|back| back.headers);
        assert_eq!(back(&plain).expect("a batch"), Vec::new());
        let with = Segment { headers: headers.clone(), ..plain };
        assert_eq!(back(&with).expect("a batch"), headers);
        for cut in 1..with.to_bytes().len() - plain_length(&with) {
            let bytes = with.to_bytes();
            assert!(
                Segment::from_bytes(&bytes[..bytes.len() - cut]).is_err(),
                "without the last {cut} bytes"
            );
        }
    }

    /// How long the batch is without its second header.
    fn plain_length(with: &Segment) -> usize {
        Segment { headers: with.headers[..1].to_vec(), ..with.clone() }.to_bytes().len()
    }
}
