//! The `pairs` format: the counts of one window as one record, `[{"0":5},{"2":1},{"1":7}]`.
//!
//! It is the form in which the system that this one replaces wrote its results, byte for byte: no spaces, an
//! object a key, keys escaped as JSON with all other characters left as they are. Rows that follow each other
//! with the same event time (those of one closed window) become one record. Reading gives a row a pair, each
//! with the record's timestamp.

use std::fmt;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use pipectl_framework::log::Records;
use pipectl_framework::plugin::{
    Batch, Decoded, Decoder, Encoded, Encoder, Error, FormatPlugin, Input, Problem, Reads, RecordMap,
    Rejects, Result, RowMap,
};
use pipectl_framework::register;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer as _, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::json::{at_column, integer, short, unlike};
use super::{excerpt, text, type_name, written as values_of};
use crate::columns::TextColumn;

/// The counts of one window in one record.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Pairs {
    /// The column of the keys. Default: `key`.
    #[serde(default = "key")]
    key: String,
    /// The column of the counts. Default: `count`.
    #[serde(default = "count")]
    count: String,
    /// What the counts are: `integer` (default), or `number` for those with fractions, such as an average.
    #[serde(default, rename = "type")]
    counts: CountType,
}

/// What the counts are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum CountType {
    /// 64 bits.
    #[default]
    Integer,
    /// Floating point.
    Number,
}

impl CountType {
    fn data_type(self) -> DataType {
        match self {
            Self::Integer => DataType::Int64,
            Self::Number => DataType::Float64,
        }
    }
}

fn key() -> String {
    "key".into()
}

fn count() -> String {
    "count".into()
}

register!(format: Pairs);

impl FormatPlugin for Pairs {
    const NAME: &'static str = "pairs";
    const SUMMARY: &'static str = "the counts of one window in one record: [{\"0\":5},{\"2\":1}]";
    const EXAMPLE: &'static str = "pairs";

    fn decoder(self) -> Result<Box<dyn Decoder>, Problem> {
        let fields = vec![
            Field::new(self.key, DataType::Utf8, false),
            Field::new(self.count, self.counts.data_type(), false),
        ];
        Ok(Box::new(PairsDecoder { schema: Arc::new(Schema::new(fields)), counts: self.counts }))
    }

    fn encoder(self, input: &Input, key: Option<usize>) -> Result<Box<dyn Encoder>, Problem> {
        if key.is_some() {
            return Err(Problem::new(
                "",
                "a record of pairs holds many keys, so it cannot have one of its own",
            )
            .help("leave out `key`, or use `encode: json`"));
        }
        let keys = input.text_column("key", &self.key)?;
        let counts = input.number_column("count", &self.count)?;
        let given = input.schema.field(counts).data_type();
        // A reader of the same settings must be able to read what is written.
        if *given != self.counts.data_type() {
            let name = &self.count;
            let problem = Problem::new(
                "count",
                format!("field `{name}` is not {}", type_name(&self.counts.data_type())),
            )
            .label(format!("{} gives it as {}", input.given_by, type_name(given)))
            .of_field(name);
            let kind = type_name(given);
            return Err(problem.help(format!(
                "say so on both sides: `encode: {{ pairs: {{ count: {name}, type: {kind} }} }}`, and `format: {{ pairs: {{ type: {kind} }} }}` where it is read"
            )));
        }
        let names = pair_names(&self.key, &self.count);
        Ok(Box::new(PairsEncoder { keys, counts, names, reads: Reads::Only(vec![self.key, self.count]) }))
    }
}

/// The names that the two columns have for whoever compares a writer with a reader: both may call them
/// anything.
fn pair_names(key: &str, count: &str) -> Vec<(String, String)> {
    vec![(key.to_owned(), "key".to_owned()), (count.to_owned(), "count".to_owned())]
}

struct PairsEncoder {
    keys: usize,
    counts: usize,
    names: Vec<(String, String)>,
    reads: Reads,
}

impl Encoder for PairsEncoder {
    fn reads(&self) -> Reads {
        self.reads.clone()
    }

    fn writes_single_rows(&self) -> bool {
        false
    }

    /// A pair has a key and a count, whatever the columns are called.
    fn record_names(&self) -> Vec<(String, String)> {
        self.names.clone()
    }

    fn encode(&mut self, batch: &Batch, rejects: &mut Rejects) -> Result<Encoded> {
        let keys = text(batch, self.keys)?;
        let counts = batch.column(self.counts);
        let mut values = TextColumn::with_capacity(1, batch.rows() * 16);
        let (mut record, mut timestamps, mut written) = (Vec::new(), Vec::new(), 0);
        let mut rows = Vec::with_capacity(batch.rows());
        for row in 0..batch.rows() {
            if keys.is_null(row) || counts.is_null(row) {
                rejects.push(row, "a pair without a key or without a count cannot be written");
            } else if let Some(number) = not_finite(counts, row) {
                rejects.push(row, format!("the count of a pair has no form in JSON: {number}"));
            } else {
                record.push(if written == 0 { b'[' } else { b',' });
                write_pair(&mut record, keys.value(row), counts, row)
                    .map_err(|e| Error::fatal("a pair could not be written").caused_by(e))?;
                written += 1;
                rows.push(timestamps.len() as u32);
            }
            let time = batch.times().get(row);
            if written > 0 && batch.times().get(row + 1) != time {
                record.push(b']');
                values.push(&record);
                timestamps.extend(time);
                record.clear();
                written = 0;
            }
        }
        Ok(Encoded {
            keys: None,
            values: values_of(values)?,
            timestamps: timestamps.into(),
            headers: Vec::new(),
            rows: RecordMap::Rows(rows),
        })
    }
}

/// The count, where it is a number that JSON has no form for.
fn not_finite(counts: &ArrayRef, row: usize) -> Option<f64> {
    counts
        .as_primitive_opt::<Float64Type>()
        .map(|counts| counts.value(row))
        .filter(|count| !count.is_finite())
}

/// Writes `{"key":count}`.
fn write_pair(record: &mut Vec<u8>, key: &str, counts: &ArrayRef, row: usize) -> serde_json::Result<()> {
    record.push(b'{');
    serde_json::to_writer(&mut *record, key)?;
    record.push(b':');
    if let Some(counts) = counts.as_primitive_opt::<Int64Type>() {
        serde_json::to_writer(&mut *record, &counts.value(row))?;
    } else {
        let count = counts.as_primitive_opt::<Float64Type>().map_or(0.0, |c| c.value(row));
        serde_json::to_writer(&mut *record, &count)?;
    }
    record.push(b'}');
    Ok(())
}

struct PairsDecoder {
    schema: SchemaRef,
    counts: CountType,
}

impl Decoder for PairsDecoder {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn record_names(&self) -> Vec<(String, String)> {
        let [key, count] = self.schema.fields().as_ref() else { return Vec::new() };
        pair_names(key.name(), count.name())
    }

    fn decode(&mut self, records: &Records, rejects: &mut Rejects) -> Result<Decoded> {
        match self.counts {
            CountType::Integer => {
                self.read(records, rejects, integer_count, |counts| Arc::new(Int64Array::from(counts)))
            }
            CountType::Number => {
                self.read(records, rejects, number_count, |counts| Arc::new(Float64Array::from(counts)))
            }
        }
    }
}

/// Reads a count as it is written.
type ReadCount<T> = fn(&str) -> std::result::Result<T, String>;

fn integer_count(written: &str) -> std::result::Result<i64, String> {
    integer(written, "an integer of 64 bits for the count of a pair")
}

fn number_count(written: &str) -> std::result::Result<f64, String> {
    let wanted = "a number for the count of a pair";
    serde_json::from_str(written).map_err(|_| {
        match written.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
            true => format!("{} is beyond what 64 bits keep: expected {wanted}", short(written)),
            false => unlike(written, wanted),
        }
    })
}

impl PairsDecoder {
    fn read<T>(
        &self,
        records: &Records,
        rejects: &mut Rejects,
        count: ReadCount<T>,
        column: fn(Vec<T>) -> ArrayRef,
    ) -> Result<Decoded> {
        let mut keys = TextColumn::with_capacity(records.len() * 3, records.len() * 8);
        let (mut counts, mut rows) = (Vec::<T>::new(), Vec::new());
        for (record, value) in records.values.iter().enumerate() {
            let Some(value) = value else {
                rejects.push(record, "the record has no value");
                continue;
            };
            let pairs = ReadPairs { keys: &mut keys, counts: &mut counts, count };
            let mut json = serde_json::Deserializer::from_slice(value);
            match json.deserialize_seq(pairs).and_then(|()| json.end()) {
                Ok(()) => rows.resize(counts.len(), record as u32),
                Err(e) => {
                    keys.truncate(rows.len());
                    counts.truncate(rows.len());
                    rejects.push(record, format!("not pairs: {}: {}", at_column(&e), excerpt(value)));
                }
            }
        }
        let broken = |e| Error::fatal("pairs do not fit their columns").caused_by(e);
        let columns: Vec<ArrayRef> = vec![Arc::new(keys.finish(None).map_err(broken)?), column(counts)];
        let columns = RecordBatch::try_new(self.schema.clone(), columns).map_err(broken)?;
        Ok(Decoded { columns, rows: RowMap::Rows(rows) })
    }
}

/// Reads a list of objects of counts into columns.
struct ReadPairs<'a, T> {
    keys: &'a mut TextColumn,
    counts: &'a mut Vec<T>,
    count: ReadCount<T>,
}

impl<'de, T> Visitor<'de> for ReadPairs<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list such as [{\"0\":5},{\"2\":1}]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<(), A::Error> {
        let Self { keys, counts, count } = self;
        while list.next_element_seed(ReadObject { keys, counts, count })?.is_some() {}
        Ok(())
    }
}

/// Reads one object of counts.
struct ReadObject<'a, T> {
    keys: &'a mut TextColumn,
    counts: &'a mut Vec<T>,
    count: ReadCount<T>,
}

impl<'de, T> serde::de::DeserializeSeed<'de> for ReadObject<'_, T> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> std::result::Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de, T> Visitor<'de> for ReadObject<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object such as {\"0\":5}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> std::result::Result<(), A::Error> {
        while object.next_key_seed(ReadKey(self.keys))?.is_some() {
            let written = object.next_value::<&'de RawValue>()?.get();
            self.counts.push((self.count)(written).map_err(A::Error::custom)?);
        }
        Ok(())
    }
}

/// Reads a key.
struct ReadKey<'a>(&'a mut TextColumn);

impl<'de> serde::de::DeserializeSeed<'de> for ReadKey<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> std::result::Result<(), D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for ReadKey<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> std::result::Result<(), E> {
        self.0.push(key.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{batch_at, decode, encode, input, records, say, texts, values};
    use super::*;
    use arrow_array::BinaryArray;
    use pipectl_framework::plugin::row_to_json;
    use proptest::prelude::*;

    fn pairs() -> Pairs {
        Pairs { key: key(), count: count(), counts: CountType::Integer }
    }

    fn results(rows: &[(&str, i64, i64)]) -> Batch {
        let keys: Vec<_> = rows.iter().map(|r| Some(r.0)).collect();
        let counts: ArrayRef = Arc::new(rows.iter().map(|r| r.1).collect::<Int64Array>());
        let times: Vec<i64> = rows.iter().map(|r| r.2).collect();
        batch_at(vec![("window_start", counts.clone()), ("key", texts(&keys)), ("count", counts)], &times)
    }

    fn written(batch: &Batch) -> Vec<String> {
        values(&encode(pairs().encoder(&input(batch), None).unwrap(), batch).unwrap())
    }

    #[test]
    fn a_window_is_one_record_with_the_bytes_of_the_old_system() {
        let batch =
            results(&[("0", 5, 999), ("2", 1, 999), ("1", 7, 999), ("四川", 0, 1999), ("a\"\\\n", -1, 1999)]);
        assert_eq!(written(&batch), [r#"[{"0":5},{"2":1},{"1":7}]"#, r#"[{"四川":0},{"a\"\\\n":-1}]"#]);
        let encoded = encode(pairs().encoder(&input(&batch), None).unwrap(), &batch).unwrap();
        assert_eq!(encoded.timestamps.to_vec(), [999, 1999]);
        assert!(encoded.keys.is_none());
        assert_eq!(written(&results(&[])), [""; 0]);
    }

    proptest! {
        #[test]
        fn pairs_come_back_as_they_were(
            windows in prop::collection::vec(prop::collection::vec(("\\PC{0,4}", any::<i64>()), 1..5), 0..5),
        ) {
            let rows: Vec<(&str, i64, i64)> = windows.iter().enumerate()
                .flat_map(|(w, rows)| rows.iter().map(move |(k, c)| (k.as_str(), *c, w as i64))).collect();
            let batch = results(&rows);
            let encoded = encode(pairs().encoder(&input(&batch), None).unwrap(), &batch).unwrap();
            prop_assert_eq!(encoded.values.len(), windows.len());
            let (decoded, rejects) = decode(pairs().decoder().unwrap(), &records(&encoded));
            prop_assert!(rejects.is_empty());
            prop_assert_eq!(decoded.columns.column(0), batch.column(1));
            prop_assert_eq!(decoded.columns.column(1), batch.column(2));
            prop_assert_eq!(decoded.rows, RowMap::Rows(rows.iter().map(|r| r.2 as u32).collect()));
        }

        #[test]
        fn no_bytes_make_it_panic_or_lose_the_others(junk in prop::collection::vec(prop::sample::select(b"[]{}:,\"0a 1-\xFF".to_vec()), 0..30)) {
            let list = BinaryArray::from(vec![br#"[{"0":5}]"#.as_slice(), &junk, br#"[{"1":2,"2":3}]"#]);
            let (decoded, _) = decode(pairs().decoder().unwrap(), &list);
            let RowMap::Rows(rows) = decoded.rows else { panic!("pairs make other rows") };
            prop_assert_eq!(rows.iter().filter(|r| **r != 1).count(), 3);
        }
    }

    #[test]
    fn what_is_not_pairs_is_rejected_whole() {
        let list = BinaryArray::from(vec![
            Some(br#"[{"0":5},{"1":"x"}]"#.as_slice()),
            None,
            Some(b" [ {\"0\" : 1} , { } ] "),
            Some(b"[{\"0\":1}]x"),
            Some(b"[]"),
            Some(br#"{"0":1}"#),
        ]);
        let (decoded, rejects) = decode(pairs().decoder().unwrap(), &list);
        assert_eq!(decoded.rows, RowMap::Rows(vec![2]));
        assert_eq!(rejects.iter().map(|r| r.0).collect::<Vec<_>>(), [0, 1, 3, 5]);
    }

    #[test]
    fn a_count_that_is_none_is_named_as_it_is_written() {
        let said = |kind: CountType| {
            let counts = [
                "-0",
                "9223372036854775807",
                "9223372036854775808",
                "-9223372036854775809",
                "123456789012345678901234567890",
                "1.0",
                "1e2",
                "1e999",
                "\"x\"",
                "null",
                "[1]",
                "{}",
                "01",
            ];
            let read = |count: &str| {
                let record = format!("[{{\"0\":{count}}}]");
                let list = BinaryArray::from(vec![record.as_bytes()]);
                let format = Pairs { counts: kind, ..pairs() };
                let (decoded, rejects) = decode(format.decoder().unwrap(), &list);
                match rejects.first() {
                    Some((_, reason)) => format!("{count}: {reason}\n"),
                    None => format!("{count} is {}\n", row_to_json(&decoded.columns, 0)["count"]),
                }
            };
            counts.into_iter().map(read).collect::<String>()
        };
        insta::assert_snapshot!(format!("{}\n{}", said(CountType::Integer), said(CountType::Number)));
    }

    #[test]
    fn rows_without_a_key_are_rejected_and_planning_checks_the_columns() {
        let batch = batch_at(
            vec![("key", texts(&[None, Some("a")])), ("count", Arc::new(Int64Array::from(vec![1, 2])))],
            &[5, 5],
        );
        let encoder = pairs().encoder(&input(&batch), None).unwrap();
        assert_eq!(encode(encoder, &batch).unwrap_err()[0].0, 0);
        let other = batch_at(vec![("gender", texts(&[Some("0")]))], &[1]);
        assert_eq!(say(pairs().encoder(&input(&other), None)).path, "key");
        assert!(say(pairs().encoder(&input(&batch), Some(0))).message.contains("many keys"));
    }
}
