//! What a record has beside its value, and records without one: a format reads values alone.

use std::fmt;
use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, StringArray,
    TimestampMillisecondArray, UInt32Array,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow_select::take::take;
use pipectl_framework::log::{NO_TIME, Records};
use pipectl_framework::plugin::{Decoded, Decoder, Error, Problem, Rejects, Result, RowMap};
use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::format::excerpt;

/// What becomes of a record without a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum OnTombstone {
    /// It is left out, and counts as filtered.
    Skip,
    /// It is a row whose fields of the value are all null.
    Null,
    /// It is a record that the source cannot use.
    Reject,
}

/// What a column is filled from.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(super) enum Metadata {
    /// The record's key, as text.
    Key,
    /// The topic that it was read from.
    Topic,
    /// The number of its partition.
    Partition,
    /// Its offset.
    Offset,
    /// Its timestamp.
    Timestamp,
    /// The last of its headers of this name, as text.
    Header(String),
}

/// `{ header: NAME }`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedHeader {
    header: String,
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;

        impl<'de> Visitor<'de> for Written {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`key`, `topic`, `partition`, `offset`, `timestamp` or `{ header: NAME }`")
            }

            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Metadata, E> {
                Ok(match word {
                    "key" => Metadata::Key,
                    "topic" => Metadata::Topic,
                    "partition" => Metadata::Partition,
                    "offset" => Metadata::Offset,
                    "timestamp" => Metadata::Timestamp,
                    // Without a name, which is refused where the column is known.
                    "header" => Metadata::Header(String::new()),
                    _ => {
                        let words = &["key", "topic", "partition", "offset", "timestamp", "header"];
                        return Err(E::unknown_variant(word, words));
                    }
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Metadata, A::Error> {
                let named = NamedHeader::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Metadata::Header(named.header))
            }
        }

        deserializer.deserialize_any(Written)
    }
}

impl Metadata {
    fn data_type(&self) -> DataType {
        match self {
            Self::Key | Self::Topic | Self::Header(_) => DataType::Utf8,
            Self::Partition | Self::Offset => DataType::Int64,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
        }
    }
}

/// A column of metadata.
#[derive(Debug, Clone)]
struct Column {
    name: String,
    what: Metadata,
    /// For a header: its place among those that the reader gives.
    header: usize,
}

/// Reads values by a format, and adds what else a record has.
pub(super) struct RecordDecoder {
    values: Box<dyn Decoder>,
    /// The format's own way where it is `None`.
    on_tombstone: Option<OnTombstone>,
    metadata: Vec<Column>,
    schema: SchemaRef,
}

impl RecordDecoder {
    /// # Errors
    /// A [`Problem`] where two columns have one name, or a tombstone's row could not have the format's
    /// fields.
    pub(super) fn new(
        values: Box<dyn Decoder>,
        on_tombstone: Option<OnTombstone>,
        metadata: Vec<(String, Metadata)>,
    ) -> Result<Self, Problem> {
        let format = values.schema();
        if let Some((name, _)) = metadata.iter().find(|(name, _)| format.index_of(name).is_ok()) {
            let problem = Problem::new(format!("metadata.{name}"), format!("field `{name}` is there twice"));
            return Err(problem
                .label("the format gives a field of this name")
                .help("give one of the two another name"));
        }
        let nameless = |what: &Metadata| matches!(what, Metadata::Header(name) if name.is_empty());
        if let Some((name, _)) = metadata.iter().find(|(_, what)| nameless(what)) {
            let problem = Problem::new(format!("metadata.{name}"), "a header without its name");
            return Err(problem.label("a record may have many headers").help(format!(
                "name the one that the column is filled from: `{name}: {{ header: trace-id }}`"
            )));
        }
        let filled = format.fields().iter().find(|field| !field.is_nullable());
        if let (Some(OnTombstone::Null), Some(field)) = (on_tombstone, filled) {
            let name = field.name();
            return Err(Problem::new("on_tombstone", format!("field `{name}` of this format is never null"))
                .help("`skip` leaves records without a value out, `reject` leaves them to `on_error`"));
        }
        let mut headers = 0;
        let number = |(name, what): (String, Metadata)| {
            let header = headers;
            headers += usize::from(matches!(what, Metadata::Header(_)));
            Column { name, what, header }
        };
        let metadata: Vec<Column> = metadata.into_iter().map(number).collect();
        let schema = schema(&format, &metadata);
        Ok(Self { values, on_tombstone, metadata, schema })
    }

    /// The names of the columns that are filled from this.
    pub(super) fn columns_of(&self, what: &Metadata) -> Vec<String> {
        self.metadata.iter().filter(|column| column.what == *what).map(|column| column.name.clone()).collect()
    }

    /// The columns of keys and headers for all records. One that is not UTF-8 rejects its record.
    fn texts(
        &self,
        records: &Records,
        rejected: &mut Vec<(usize, String)>,
    ) -> Result<Vec<Option<StringArray>>> {
        let mut texts = Vec::with_capacity(self.metadata.len());
        for column in &self.metadata {
            let (bytes, what) = match &column.what {
                Metadata::Key => (Some(&records.keys), "key".to_owned()),
                Metadata::Header(name) => (records.headers.get(column.header), format!("header `{name}`")),
                _ => {
                    texts.push(None);
                    continue;
                }
            };
            let bytes =
                bytes.ok_or_else(|| Error::fatal("a reader gave fewer headers than were asked for"))?;
            texts.push(Some(match StringArray::try_from_binary(bytes.clone()) {
                Ok(text) => text,
                Err(_) => usable(bytes, &what, rejected),
            }));
        }
        Ok(texts)
    }

    /// Reads the values of some records: which of all they are, and of which of those each row is.
    fn some(
        &mut self,
        records: &Records,
        stay: &BooleanArray,
        rejects: &mut Rejects,
    ) -> Result<(RecordBatch, Vec<u32>)> {
        let kept: Vec<u32> =
            (0..records.len()).filter(|row| stay.value(*row)).map(|row| row as u32).collect();
        let some = records.filter(stay)?;
        let mut of_some = Rejects::default();
        let decoded = self.values.decode(&some, &mut of_some)?;
        for reject in of_some.rows() {
            rejects.push(kept.get(reject.row).map_or(reject.row, |row| *row as usize), reject.reason.clone());
        }
        let rows = match decoded.rows {
            RowMap::Same => kept,
            RowMap::Rows(rows) => rows.iter().filter_map(|row| kept.get(*row as usize).copied()).collect(),
        };
        Ok((decoded.columns, rows))
    }
}

/// The cells that are text; the records of the others are rejected.
fn usable(bytes: &BinaryArray, what: &str, rejected: &mut Vec<(usize, String)>) -> StringArray {
    let mut cell = |(row, bytes): (usize, Option<&[u8]>)| {
        let text = std::str::from_utf8(bytes?).ok().map(str::to_owned);
        if text.is_none() {
            rejected.push((row, format!("the {what} is not UTF-8: {}", excerpt(bytes.unwrap_or_default()))));
        }
        text
    };
    bytes.iter().enumerate().map(&mut cell).collect()
}

fn schema(values: &Schema, metadata: &[Column]) -> SchemaRef {
    let added = metadata.iter().map(|column| Field::new(&column.name, column.what.data_type(), true));
    let fields: Vec<_> = values.fields().iter().map(|field| field.as_ref().clone()).chain(added).collect();
    Arc::new(Schema::new(fields))
}

fn broken(error: arrow_schema::ArrowError) -> Error {
    Error::fatal("the fields of a topic's records do not fit together").caused_by(error)
}

/// Puts a row of nulls in its place for each of these records.
fn with_nulls(columns: RecordBatch, rows: Vec<u32>, nulls: &[u32]) -> Result<(RecordBatch, Vec<u32>)> {
    if nulls.is_empty() {
        return Ok((columns, rows));
    }
    let (mut from, mut merged) = (Vec::new(), Vec::new());
    let mut nulls = nulls.iter().copied().peekable();
    for (at, record) in rows.into_iter().enumerate() {
        while let Some(null) = nulls.next_if(|null| *null < record) {
            from.push(None);
            merged.push(null);
        }
        from.push(Some(at as u32));
        merged.push(record);
    }
    for null in nulls {
        from.push(None);
        merged.push(null);
    }
    let from = UInt32Array::from(from);
    let taken: Vec<ArrayRef> = columns
        .columns()
        .iter()
        .map(|column| take(column, &from, None))
        .collect::<Result<_, _>>()
        .map_err(broken)?;
    let options = RecordBatchOptions::new().with_row_count(Some(from.len()));
    let columns = RecordBatch::try_new_with_options(columns.schema(), taken, &options).map_err(broken)?;
    Ok((columns, merged))
}

impl Decoder for RecordDecoder {
    fn remarks(&self) -> Vec<String> {
        self.values.remarks()
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn narrow(&mut self, columns: &[String]) -> Option<SchemaRef> {
        self.values.narrow(columns);
        self.metadata.retain(|column| columns.contains(&column.name));
        let mut headers = 0..;
        for column in self.metadata.iter_mut().filter(|column| matches!(column.what, Metadata::Header(_))) {
            column.header = headers.next().unwrap_or_default();
        }
        self.schema = schema(&self.values.schema(), &self.metadata);
        Some(self.schema.clone())
    }

    fn other_than_named(&self) -> Vec<String> {
        let mut other = self.values.other_than_named();
        other.extend(self.metadata.iter().map(|column| column.name.clone()));
        other
    }

    fn record_names(&self) -> Vec<(String, String)> {
        self.values.record_names()
    }

    /// In the order of their columns.
    fn headers(&self) -> Vec<String> {
        let header = |column: &Column| match &column.what {
            Metadata::Header(name) => Some(name.clone()),
            _ => None,
        };
        self.metadata.iter().filter_map(header).collect()
    }

    fn leaves_out(&self, records: &Records) -> usize {
        let skips = self.on_tombstone == Some(OnTombstone::Skip);
        if skips { records.values.null_count() } else { 0 }
    }

    fn decode(&mut self, records: &Records, rejects: &mut Rejects) -> Result<Decoded> {
        let mut rejected = Vec::new();
        let texts = self.texts(records, &mut rejected)?;
        let on_tombstone = self.on_tombstone.filter(|_| records.values.null_count() > 0);
        let (columns, rows) = if rejected.is_empty() && on_tombstone.is_none() {
            let decoded = self.values.decode(records, rejects)?;
            if self.metadata.is_empty() {
                return Ok(decoded);
            }
            (decoded.columns, decoded.rows)
        } else {
            let mut stay = vec![true; records.len()];
            rejected.iter().for_each(|(row, _)| stay[*row] = false);
            let mut nulls = Vec::new();
            for row in (0..records.len()).filter(|row| on_tombstone.is_some() && records.values.is_null(*row))
            {
                let usable = std::mem::replace(&mut stay[row], false);
                match on_tombstone {
                    Some(OnTombstone::Null) if usable => nulls.push(row as u32),
                    Some(OnTombstone::Reject) if usable => {
                        rejected.push((row, "it is a tombstone: the record has no value".to_owned()));
                    }
                    _ => {}
                }
            }
            // A record that is left out is left out whatever its key is.
            let skips = on_tombstone == Some(OnTombstone::Skip);
            rejected.retain(|(row, _)| !(skips && records.values.is_null(*row)));
            rejected.into_iter().for_each(|(row, reason)| rejects.push(row, reason));
            let (columns, rows) = self.some(records, &BooleanArray::from(stay), rejects)?;
            let (columns, rows) = with_nulls(columns, rows, &nulls)?;
            (columns, RowMap::Rows(rows))
        };
        let mut all = columns.columns().to_vec();
        for (column, text) in self.metadata.iter().zip(texts) {
            all.push(filled(&column.what, text, records, &rows, columns.num_rows())?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(columns.num_rows()));
        let columns =
            RecordBatch::try_new_with_options(self.schema.clone(), all, &options).map_err(broken)?;
        Ok(Decoded { columns, rows })
    }
}

/// A column of metadata, for rows of these records.
fn filled(
    what: &Metadata,
    text: Option<StringArray>,
    records: &Records,
    map: &RowMap,
    rows: usize,
) -> Result<ArrayRef> {
    let numbers = |values: &[i64]| -> Vec<i64> {
        match map {
            RowMap::Same => values.to_vec(),
            RowMap::Rows(rows) => rows.iter().map(|row| values[*row as usize]).collect(),
        }
    };
    Ok(match (what, text, map) {
        (_, Some(text), RowMap::Same) => Arc::new(text),
        (_, Some(text), RowMap::Rows(rows)) => {
            take(&text, &UInt32Array::from(rows.clone()), None).map_err(broken)?
        }
        (Metadata::Partition, ..) => {
            Arc::new(Int64Array::from(vec![i64::from(records.partition.index); rows]))
        }
        (Metadata::Offset, ..) => Arc::new(Int64Array::from(numbers(&records.offsets))),
        (Metadata::Timestamp, ..) => {
            let times = numbers(&records.timestamps).into_iter();
            let times: TimestampMillisecondArray =
                times.map(|time| (time != NO_TIME).then_some(time)).collect();
            Arc::new(times.with_timezone("UTC"))
        }
        // The texts are there.
        (Metadata::Topic | Metadata::Key | Metadata::Header(_), None, _) => {
            let topic = &*records.partition.source;
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(topic, rows)))
        }
    })
}

#[cfg(test)]
mod tests {
    use pipectl_framework::plugin::{Partition, Registry, row_to_json};
    use serde_json::json;

    use super::*;
    use crate::format::testing::say;

    /// Five records: of the third the key, of the fourth the header is not UTF-8; the second and the third
    /// are tombstones.
    fn records() -> Records {
        let cells = |cells: [Option<&[u8]>; 5]| BinaryArray::from_iter(cells);
        Records {
            partition: Partition::new("orders", 3),
            offsets: vec![10, 11, 13, 14, 15].into(),
            timestamps: vec![1000, NO_TIME, 3000, 4000, 5000].into(),
            keys: cells([Some(b"a"), Some(b"b"), Some(b"\xff"), None, Some(b"c")]),
            values: cells([Some(b"1"), None, None, Some(b"4"), Some(b"5")]),
            headers: vec![cells([Some(b"x"), None, None, Some(b"\xfe"), Some(b"")])],
        }
    }

    fn decoder(
        on_tombstone: Option<OnTombstone>,
        metadata: serde_json::Value,
    ) -> Result<RecordDecoder, Problem> {
        let registry = Registry::collect().unwrap();
        let connections = [];
        let context = pipectl_framework::plugin::BindContext {
            registry: &registry,
            base: std::path::Path::new("."),
            connections: &connections,
            purpose: pipectl_framework::plugin::Purpose::Check,
        };
        let values =
            context.decoder("format", &pipectl_framework::plugin::FormatSpec::Name("text".into()))?;
        let metadata: indexmap::IndexMap<String, Metadata> = serde_json::from_value(metadata).unwrap();
        RecordDecoder::new(values, on_tombstone, metadata.into_iter().collect())
    }

    /// The rows as JSON, each with its record, and the rejects.
    fn decoded(decoder: &mut RecordDecoder) -> (Vec<String>, Vec<String>) {
        let mut rejects = Rejects::default();
        let Decoded { columns, rows } = decoder.decode(&records(), &mut rejects).unwrap();
        assert_eq!(columns.schema(), decoder.schema());
        let record = |row: usize| match &rows {
            RowMap::Same => row as u32,
            RowMap::Rows(rows) => rows[row],
        };
        let rows =
            (0..columns.num_rows()).map(|row| format!("{} {}", record(row), row_to_json(&columns, row)));
        (rows.collect(), rejects.rows().iter().map(|r| format!("{} {}", r.row, r.reason)).collect())
    }

    #[test]
    fn a_tombstone_is_what_the_file_says() {
        let row = |record: u32, value: &str| format!(r#"{record} {{"value":{value}}}"#);
        let values = [row(0, r#""1""#), row(3, r#""4""#), row(4, r#""5""#)];
        let with_nulls = [&values[..1], &[row(1, "null"), row(2, "null")], &values[1..]].concat();
        let why = |row| format!("{row} it is a tombstone: the record has no value");
        for (on_tombstone, rows, rejects, left_out) in [
            (None, with_nulls.clone(), vec![], 0),
            (Some(OnTombstone::Null), with_nulls, vec![], 0),
            (Some(OnTombstone::Skip), values.to_vec(), vec![], 2),
            (Some(OnTombstone::Reject), values.to_vec(), vec![why(1), why(2)], 0),
        ] {
            let mut decoder = decoder(on_tombstone, json!({})).unwrap();
            assert_eq!(decoded(&mut decoder), (rows, rejects), "{on_tombstone:?}");
            assert_eq!(decoder.leaves_out(&records()), left_out, "{on_tombstone:?}");
        }
    }

    #[test]
    fn columns_are_filled_from_what_a_record_has_and_one_that_is_no_text_rejects_it() {
        let all = json!({
            "k": "key", "t": "topic", "p": "partition", "o": "offset", "at": "timestamp", "h": { "header": "h" }
        });
        let mut every = decoder(None, all.clone()).unwrap();
        assert_eq!(
            (every.headers(), every.columns_of(&Metadata::Key), every.columns_of(&Metadata::Partition)),
            (vec!["h".to_owned()], vec!["k".to_owned()], vec!["p".to_owned()])
        );
        let (rows, rejects) = decoded(&mut every);
        insta::assert_snapshot!([rows, rejects.clone()].concat().join("\n"));
        // A record that is left out is left out whatever its key is.
        let (_, of_skipped) = decoded(&mut decoder(Some(OnTombstone::Skip), all.clone()).unwrap());
        assert_eq!(of_skipped, rejects.iter().filter(|r| r.starts_with('3')).cloned().collect::<Vec<_>>());
        // Nobody looks at what is not UTF-8: it rejects nothing, and is not asked for.
        let mut narrow = decoder(None, all).unwrap();
        let schema = narrow.narrow(&["o".to_owned()]).unwrap();
        assert_eq!(schema.fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>(), ["value", "o"]);
        assert_eq!(narrow.headers(), Vec::<String>::new());
        assert_eq!(decoded(&mut narrow).1, Vec::<String>::new());
    }

    #[test]
    fn two_columns_of_one_name_are_refused() {
        let problem = say(decoder(None, json!({ "value": "key" })).map(|_| ()));
        assert_eq!(
            (problem.path.as_str(), problem.message.as_str()),
            ("metadata.value", "field `value` is there twice")
        );
    }
}
