//! The records of a repartition topic: rows with where they came from, and words about time.
//!
//! A value begins with a byte that says what it is. A row: [`ROW`], four bytes that name the fields, the
//! number of the partition that it came from, the greatest time that was read there before it (the least
//! number where none was), its time, then the fields. Rows of an earlier version, [`PLAIN_ROW`], do not have
//! the greatest time. Words: [`WORDS`], then for each partition of the source its number, the greatest time
//! read and for how long it has been idle. All numbers are little-endian.

use std::sync::Arc;

use arrow_array::builder::{
    ArrayBuilder, BinaryBuilder, BooleanBuilder, Float64Builder, Int64Builder, StringBuilder,
    TimestampMillisecondBuilder, make_builder,
};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMillisecondType};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, StringArray,
};
use arrow_schema::{DataType, Schema, SchemaRef, TimeUnit};

use crate::batch::{AsRead, Batch, Partition};
use crate::clock::Millis;
use crate::error::{Error, Result};
use crate::hash::fnv1a;
use crate::log::partitioner::partition_of;
use crate::log::{Append, Records};
use crate::plugin::{Decoded, Decoder, Rejects, RowMap};
use crate::time::Word;

/// The name of the form, where a format's name is asked for.
pub(crate) const FORMAT: &str = "repartition";

const PLAIN_ROW: u8 = 1;
const WORDS: u8 = 2;
const ROW: u8 = 3;
/// The bytes of a word: number, flags, time, idle.
const WORD: usize = 4 + 1 + 8 + 8;

/// The end of a chain's first part: writes rows by the key of the window that follows, and words about time.
pub struct Repartition {
    topic: Arc<str>,
    /// The columns of the input that are written.
    columns: Vec<usize>,
    /// The columns of the input that make the key.
    key: Vec<usize>,
    fields: [u8; 4],
    /// Another key has another number.
    sent_by: u64,
    /// How many partitions the topic has.
    partitions: u32,
}

/// True where a column can be written.
pub(super) fn takes(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::Int64 | DataType::Float64 | DataType::Boolean | DataType::Binary
    ) || is_time(data_type)
}

fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(TimeUnit::Millisecond, _))
}

/// Other fields, or the same in another order, have another number: FNV-1a.
fn number_of(schema: &Schema) -> [u8; 4] {
    let text: String = schema.fields().iter().map(|f| format!("{}:{};", f.name(), f.data_type())).collect();
    let hash =
        text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash.to_le_bytes()
}

impl Repartition {
    /// `columns` and `key` are indices into `input`, and `written` is the schema of the first.
    pub(super) fn new(
        topic: &str,
        columns: Vec<usize>,
        key: Vec<usize>,
        written: &Schema,
        input: &Schema,
    ) -> Self {
        let named: Vec<_> =
            key.iter().map(|index| input.field(*index)).map(|f| (f.name(), f.data_type())).collect();
        let sent_by = fnv1a(format!("{named:?}").as_bytes());
        Self { topic: topic.into(), columns, key, fields: number_of(written), sent_by, partitions: 0 }
    }

    /// A mark of what rows are sent by.
    pub(crate) fn mark(&self) -> String {
        format!("{:016x}", self.sent_by)
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// How many partitions the topic has, as far as it is known.
    pub(crate) fn partitions(&self) -> u32 {
        self.partitions
    }

    pub(crate) fn set_partitions(&mut self, partitions: u32) {
        self.partitions = partitions;
    }

    /// The records of a batch, written `now`; `before` is for each row the greatest time that was read before
    /// it. The row's own time stands in the value: a log may delete records of an old time at once, and
    /// refuse those of a time before 1970 or far ahead.
    pub(crate) fn rows(&self, batch: &Batch, before: &[Millis], now: Millis) -> Result<Append> {
        let columns: Vec<&ArrayRef> = self.columns.iter().map(|index| batch.column(*index)).collect();
        let key: Vec<&ArrayRef> = self.key.iter().map(|index| batch.column(*index)).collect();
        let origin = batch.origin().partition.index.to_le_bytes();
        let (mut keys, mut values) = (BinaryBuilder::new(), BinaryBuilder::new());
        let mut bytes = Vec::new();
        for (row, (time, before)) in batch.times().iter().zip(before).enumerate() {
            bytes.clear();
            for (index, column) in key.iter().enumerate() {
                if index > 0 {
                    bytes.push(0x1f);
                }
                put(&mut bytes, column, row)?;
            }
            keys.append_value(&bytes);
            bytes.clear();
            bytes.push(ROW);
            bytes.extend(self.fields);
            bytes.extend(origin);
            bytes.extend(before.to_le_bytes());
            bytes.extend(time.to_le_bytes());
            for column in &columns {
                put(&mut bytes, column, row)?;
            }
            values.append_value(&bytes);
        }
        let timestamps = vec![now.max(0); batch.rows()].into();
        let (keys, values) = (Some(keys.finish()), values.finish());
        Ok(Append {
            topic: self.topic.clone(),
            partition: None,
            keys,
            values,
            headers: Vec::new(),
            timestamps,
        })
    }

    /// One record of words for a partition of the topic.
    pub(crate) fn words(&self, words: &[Word], partition: i32, now: Millis) -> Append {
        let mut bytes = vec![WORDS];
        for word in words {
            bytes.extend(word.origin.to_le_bytes());
            bytes.push(u8::from(word.greatest.is_some()) | u8::from(word.idle.is_some()) << 1);
            bytes.extend(word.greatest.unwrap_or_default().to_le_bytes());
            bytes.extend(word.idle.unwrap_or_default().to_le_bytes());
        }
        Append {
            topic: self.topic.clone(),
            partition: Some(partition),
            keys: None,
            values: BinaryArray::from_vec(vec![&bytes]),
            headers: Vec::new(),
            timestamps: vec![now.max(0)].into(),
        }
    }
}

/// The partition, of so many, that rows are in whose key is a single field of this type that reads `key`. A
/// text that no value of the type reads as is in none; it counts for the first.
pub(crate) fn home(key: &str, data_type: &DataType, partitions: u32) -> i32 {
    let value: Option<ArrayRef> = match data_type {
        DataType::Utf8 => Some(Arc::new(StringArray::from(vec![key]))),
        DataType::Int64 => {
            key.parse().ok().map(|value: i64| Arc::new(Int64Array::from(vec![value])) as ArrayRef)
        }
        DataType::Boolean => {
            key.parse().ok().map(|value: bool| Arc::new(BooleanArray::from(vec![value])) as ArrayRef)
        }
        _ => None,
    };
    let mut bytes = Vec::new();
    match value.map(|value| put(&mut bytes, &value, 0)) {
        Some(Ok(())) => partition_of(&bytes, partitions.max(1)).cast_signed(),
        _ => 0,
    }
}

/// A null, or the value: a byte, then eight, or a length and as many.
fn put(bytes: &mut Vec<u8>, column: &ArrayRef, row: usize) -> Result<()> {
    if column.is_null(row) {
        bytes.push(0);
        return Ok(());
    }
    bytes.push(1);
    let long = |bytes: &mut Vec<u8>, value: &[u8]| {
        bytes.extend((value.len() as u32).to_le_bytes());
        bytes.extend(value);
    };
    match column.data_type() {
        DataType::Utf8 => long(bytes, column.as_string::<i32>().value(row).as_bytes()),
        DataType::Binary => long(bytes, column.as_binary::<i32>().value(row)),
        DataType::Int64 => bytes.extend(column.as_primitive::<Int64Type>().value(row).to_le_bytes()),
        DataType::Float64 => bytes.extend(column.as_primitive::<Float64Type>().value(row).to_le_bytes()),
        DataType::Boolean => bytes.push(u8::from(column.as_boolean().value(row))),
        t if is_time(t) => {
            bytes.extend(column.as_primitive::<TimestampMillisecondType>().value(row).to_le_bytes());
        }
        other => {
            return Err(Error::fatal(format!(
                "a column of {other} cannot be written to a repartition topic"
            )));
        }
    }
    Ok(())
}

/// What a record is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A row of this partition of the source.
    Row(i32),
    /// What is said of time.
    Words(Vec<Word>),
}

/// Looks at a record.
///
/// # Errors
/// `Fatal` where it is none of ours.
pub(crate) fn piece(records: &Records, index: usize) -> Result<Piece> {
    let value = if records.values.is_null(index) { &[][..] } else { records.values.value(index) };
    let mut rest = Rest(value);
    let piece = match rest.take::<1>() {
        Some([ROW | PLAIN_ROW]) => Head::of(value).map(|(head, _)| Piece::Row(head.origin)),
        Some([WORDS]) if rest.0.len() % WORD == 0 => {
            let mut words = Vec::new();
            while let (Some(origin), Some([flags]), Some(greatest), Some(idle)) =
                (rest.take(), rest.take(), rest.take(), rest.take())
            {
                words.push(Word {
                    origin: i32::from_le_bytes(origin),
                    greatest: (flags & 1 != 0).then(|| i64::from_le_bytes(greatest)),
                    idle: (flags & 2 != 0).then(|| i64::from_le_bytes(idle)),
                });
            }
            Some(Piece::Words(words))
        }
        _ => None,
    };
    piece.ok_or_else(|| foreign(records, index, "is not one that this version writes"))
}

fn foreign(records: &Records, index: usize, what: &str) -> Error {
    let place = format!("{}@{}", records.partition, records.offsets.get(index).copied().unwrap_or_default());
    Error::fatal(format!("the record {place} of a repartition topic {what}"))
        .remedy("let the version that wrote it read the topic to its end, or name another: `repartition: { topic: ... }`")
}

/// What is left of a record.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn slice(&mut self) -> Option<&'a [u8]> {
        let length = u32::from_le_bytes(self.take()?) as usize;
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

/// Reads rows.
pub(super) struct Unpack {
    schema: SchemaRef,
    fields: [u8; 4],
}

impl Unpack {
    pub(super) fn new(schema: SchemaRef) -> Self {
        Self { fields: number_of(&schema), schema }
    }
}

/// What stands in a row before its fields.
#[derive(Debug, Clone, Copy)]
struct Head {
    fields: [u8; 4],
    origin: i32,
    before: Option<Millis>,
    time: Millis,
}

impl Head {
    /// The head of a row, and the bytes of its fields.
    fn of(value: &[u8]) -> Option<(Self, Rest<'_>)> {
        let mut rest = Rest(value);
        let [kind] = rest.take()?;
        let (fields, origin) = (rest.take()?, i32::from_le_bytes(rest.take()?));
        let before = match kind {
            ROW => Some(i64::from_le_bytes(rest.take()?)).filter(|before| *before != Millis::MIN),
            PLAIN_ROW => None,
            _ => return None,
        };
        let time = i64::from_le_bytes(rest.take()?);
        Some((Self { fields, origin, before, time }, rest))
    }
}

/// The rows of a batch with the times that their writer gave them, come through `channel`. What moved time
/// before each of them counts as read before it.
///
/// # Errors
/// `Fatal` where the batch has another number of rows than there are records.
pub(crate) fn timed(batch: Batch, records: &Records, channel: Partition) -> Result<Batch> {
    let mut times = Vec::with_capacity(records.len());
    let (mut read, mut at) = (Vec::with_capacity(records.len() + 1), Vec::with_capacity(records.len() + 1));
    let mut greatest = Millis::MIN;
    for (value, offset) in records.values.iter().zip(&records.offsets) {
        let head = value.and_then(Head::of).map(|(head, _)| head);
        let (before, time) = head.map_or((None, 0), |head| (head.before, head.time));
        if let Some(before) = before.filter(|before| *before > greatest) {
            read.push(before);
            at.push(*offset);
            greatest = before;
        }
        read.push(time);
        at.push(*offset);
        greatest = greatest.max(time);
        times.push(time);
    }
    let more = read.len() > times.len();
    let as_read = more.then(|| Arc::new(AsRead { times: read.into(), offsets: at.into(), lines: None }));
    let batch = batch
        .with_times(times.into())
        .map_err(|e| Error::fatal("rows do not match their times").caused_by(e))?;
    Ok(batch.through(Some(channel)).of(as_read))
}

impl Decoder for Unpack {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn decode(&mut self, records: &Records, _rejects: &mut Rejects) -> Result<Decoded> {
        let mut builders: Vec<Box<dyn ArrayBuilder>> =
            self.schema.fields().iter().map(|field| make_builder(field.data_type(), records.len())).collect();
        for row in 0..records.len() {
            let value = records.values.value(row);
            let Some((_, mut rest)) = Head::of(value).filter(|(head, _)| head.fields == self.fields) else {
                return Err(foreign(records, row, "has other fields than the file asks for now"));
            };
            for (builder, field) in builders.iter_mut().zip(self.schema.fields()) {
                get(&mut rest, builder.as_mut(), field.data_type())
                    .ok_or_else(|| foreign(records, row, "breaks off"))?;
            }
        }
        let broken = |e| Error::fatal("rows of a repartition topic could not be put together").caused_by(e);
        let columns = builders.iter_mut().zip(self.schema.fields()).map(|(builder, field)| {
            let column = builder.finish();
            // A builder of times knows no time zone.
            if column.data_type() == field.data_type() {
                Ok(column)
            } else {
                zoned(&column, field.data_type())
            }
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(records.len()));
        let columns =
            RecordBatch::try_new_with_options(self.schema.clone(), columns, &options).map_err(broken)?;
        Ok(Decoded { columns, rows: RowMap::Same })
    }
}

/// A column of times with the time zone of the schema.
fn zoned(column: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    match (column.as_primitive_opt::<TimestampMillisecondType>(), data_type) {
        (Some(times), DataType::Timestamp(_, zone)) => {
            Ok(Arc::new(times.clone().with_timezone_opt(zone.clone())))
        }
        _ => Err(Error::fatal(format!("a column of {data_type} cannot be read from a repartition topic"))),
    }
}

fn get(rest: &mut Rest<'_>, builder: &mut dyn ArrayBuilder, data_type: &DataType) -> Option<()> {
    let builder = builder.as_any_mut();
    let there = rest.take::<1>()? == [1];
    let number = |rest: &mut Rest<'_>| rest.take().map(i64::from_le_bytes);
    match data_type {
        DataType::Utf8 => {
            let text = if there { Some(std::str::from_utf8(rest.slice()?).ok()?) } else { None };
            builder.downcast_mut::<StringBuilder>()?.append_option(text);
        }
        DataType::Binary => {
            let value = if there { Some(rest.slice()?) } else { None };
            builder.downcast_mut::<BinaryBuilder>()?.append_option(value);
        }
        DataType::Int64 => {
            let value = if there { Some(number(rest)?) } else { None };
            builder.downcast_mut::<Int64Builder>()?.append_option(value);
        }
        DataType::Float64 => {
            let value = if there { Some(f64::from_le_bytes(rest.take()?)) } else { None };
            builder.downcast_mut::<Float64Builder>()?.append_option(value);
        }
        DataType::Boolean => {
            let value = if there { Some(rest.take::<1>()? == [1]) } else { None };
            builder.downcast_mut::<BooleanBuilder>()?.append_option(value);
        }
        t if is_time(t) => {
            let value = if there { Some(number(rest)?) } else { None };
            builder.downcast_mut::<TimestampMillisecondBuilder>()?.append_option(value);
        }
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::partitioner::rows_by_partition;
    use arrow_schema::Field;

    fn schema() -> SchemaRef {
        let fields = vec![Field::new("k", DataType::Utf8, true), Field::new("n", DataType::Int64, true)];
        Arc::new(Schema::new(fields))
    }

    fn records(values: &[Vec<u8>]) -> Records {
        Records {
            partition: Partition::new("rows", 0),
            offsets: (40..40 + values.len() as i64).collect(),
            timestamps: vec![0; values.len()].into(),
            keys: BinaryArray::from_iter(values.iter().map(|_| None::<&[u8]>)),
            values: BinaryArray::from_iter_values(values),
            headers: Vec::new(),
        }
    }

    fn read(values: &[Vec<u8>]) -> Batch {
        let records = records(values);
        let decoded = Unpack::new(schema()).decode(&records, &mut Rejects::default()).unwrap();
        let origin = crate::batch::Origin {
            partition: records.partition.clone(),
            offsets: records.offsets.clone(),
            replay: false,
        };
        let batch = Batch::new(decoded.columns, records.timestamps.clone().into(), origin).unwrap();
        timed(batch, &records, Partition::new("rows[0]", 3)).unwrap()
    }

    #[test]
    fn a_named_key_is_at_home_where_its_rows_go() {
        let texts: Vec<String> = (-20..20).map(|n: i64| n.to_string()).collect();
        let columns: [ArrayRef; 3] = [
            Arc::new(StringArray::from(texts.clone())),
            Arc::new((-20..20).collect::<Int64Array>()),
            Arc::new((0..40).map(|n| Some(n % 2 == 0)).collect::<BooleanArray>()),
        ];
        for column in columns {
            let schema = Schema::new(vec![Field::new("k", column.data_type().clone(), true)]);
            let batch = RecordBatch::try_new(Arc::new(schema.clone()), vec![column.clone()]).unwrap();
            let origin = crate::batch::Origin {
                partition: Partition::new("in", 0),
                offsets: (0..40).collect(),
                replay: false,
            };
            let batch = Batch::new(batch, vec![0; 40].into(), origin).unwrap();
            let repartition = Repartition::new("rows", vec![0], vec![0], &schema, &schema);
            let written = repartition.rows(&batch, &[0; 40], 0).unwrap();
            for partitions in 1..7 {
                let sent = rows_by_partition(written.keys.as_ref(), 40, partitions, 0);
                for (partition, rows) in sent.iter().enumerate() {
                    for row in rows.iter().map(|row| *row as usize) {
                        let key = match column.data_type() {
                            DataType::Boolean => (row % 2 == 0).to_string(),
                            _ => texts[row].clone(),
                        };
                        assert_eq!(home(&key, column.data_type(), partitions), partition as i32, "{key}");
                    }
                }
            }
        }
        assert_eq!(home("x", &DataType::Int64, 5), 0, "no row has this key");
    }

    /// A row of version 0.1: kind, fields, origin 3, time 2000, `a`, null.
    const OF_0_1: &[u8] = b"\x01\x04\x90\x57\xc8\x03\0\0\0\xd0\x07\0\0\0\0\0\0\x01\x01\0\0\0a\0";

    #[test]
    fn rows_come_back_with_what_moved_time_before_them() {
        let key: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("c")]));
        let number: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(-1), Some(7)]));
        let columns = RecordBatch::try_new(schema(), vec![key, number]).unwrap();
        let origin = crate::batch::Origin {
            partition: Partition::new("in", 3),
            offsets: vec![7, 8, 9].into(),
            replay: false,
        };
        let batch = Batch::new(columns.clone(), vec![2000, 2500, 2600].into(), origin).unwrap();
        let repartition = Repartition::new("rows", vec![0, 1], vec![0], &schema(), &schema());
        let written = repartition.rows(&batch, &[Millis::MIN, 9000, 9000], 0).unwrap();
        let values: Vec<Vec<u8>> = written.values.iter().flatten().map(<[u8]>::to_vec).collect();
        assert_eq!(piece(&records(&values), 1).unwrap(), Piece::Row(3));
        let back = read(&values);
        assert_eq!((back.columns(), back.times().to_vec()), (&columns, vec![2000, 2500, 2600]));
        let (times, offsets) = back.read();
        assert_eq!(times.to_vec(), [2000, 9000, 2500, 2600], "what was before a row, once");
        assert_eq!(offsets.to_vec(), [40, 41, 41, 42]);
    }

    #[test]
    fn rows_of_version_0_1_are_read() {
        let back = read(&[OF_0_1.to_vec()]);
        assert_eq!(back.column(0).as_string::<i32>().value(0), "a");
        assert!(back.column(1).is_null(0) && back.as_read().is_none());
        assert_eq!(back.times().to_vec(), [2000]);
        for cut in 0..OF_0_1.len() {
            let cut = records(&[OF_0_1[..cut].to_vec()]);
            assert!(
                piece(&cut, 0).is_err()
                    || Unpack::new(schema()).decode(&cut, &mut Rejects::default()).is_err()
            );
        }
    }
}
