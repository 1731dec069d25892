//! Formats: bytes of a record to columns, and back. Sources and sinks on any log share them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow_array::{BinaryArray, RecordBatch};
use arrow_buffer::ScalarBuffer;
use arrow_schema::SchemaRef;
use schemars::JsonSchema;
use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Deserializer};

use super::{Input, Reads, Rejects};
use crate::batch::Batch;
use crate::clock::Millis;
use crate::config::Problem;
use crate::error::Result;
use crate::log::Records;

/// Which record each decoded row came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowMap {
    /// Row `i` is record `i`.
    Same,
    /// Row `i` is record `rows[i]`; never falling. A record may give no row or several.
    Rows(Vec<u32>),
}

/// Decoded rows.
#[derive(Debug)]
pub struct Decoded {
    /// The rows, of the decoder's schema.
    pub columns: RecordBatch,
    /// Where they came from.
    pub rows: RowMap,
}

/// Bytes to columns. One object per chain.
pub trait Decoder: Send {
    /// The schema of what it gives.
    fn schema(&self) -> SchemaRef;

    /// Called while planning with the names of all columns that any step looks at. A decoder that can give
    /// only those gives its new schema (a subset of the one before, in the same order).
    fn narrow(&mut self, _columns: &[String]) -> Option<SchemaRef> {
        None
    }

    /// The columns that are not what a record has under that name: something that stands elsewhere in it, or
    /// beside its value. What a sink says of the field that it keys records by does not hold for these.
    fn other_than_named(&self) -> Vec<String> {
        Vec::new()
    }

    /// For each column that stands in a record under a name, the column and that name; none where records
    /// have no names. With [`Encoder::record_names`] it tells which column of a reader is which of a writer.
    fn record_names(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// The headers that it wants records with, by name: [`Records::headers`].
    fn headers(&self) -> Vec<String> {
        Vec::new()
    }

    /// How many of these records it leaves out because the file says so; they count as filtered.
    fn leaves_out(&self, _records: &Records) -> usize {
        0
    }

    /// What is to be said of all records that it was given, such as that a setting led to nothing in any of
    /// them. Asked at the end of a run.
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }

    /// Called once per batch of records. A record that cannot be read is rejected, and the others go on.
    ///
    /// # Errors
    /// Only where the decoder itself is broken; ends the run.
    fn decode(&mut self, records: &Records, rejects: &mut Rejects) -> Result<Decoded>;
}

/// Which rows each record is of. A row that was rejected is in no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordMap {
    /// One record a row, in the order of the rows that were not rejected.
    OneEach,
    /// Of the rows that were not rejected, row `i` went into record `rows[i]`; every record has a row.
    Rows(Vec<u32>),
}

/// Records to write. Where they are not as many as they say, the run ends: no row is left out without a word.
#[derive(Debug)]
pub struct Encoded {
    /// The keys; `None` where no record has one.
    pub keys: Option<BinaryArray>,
    /// The values.
    pub values: BinaryArray,
    /// The timestamps.
    pub timestamps: ScalarBuffer<Millis>,
    /// Headers by name; a null has none.
    pub headers: Vec<(Arc<str>, BinaryArray)>,
    /// Which rows they are of.
    pub rows: RecordMap,
}

/// Columns to bytes. One object per chain.
pub trait Encoder: Send {
    /// Which columns it looks at.
    fn reads(&self) -> Reads;

    /// The column in which a reader of the same format finds what the records are keyed by: records of one
    /// value of it are in one partition. `None` where there is no key, or it is not among what is written. A
    /// window that counts by another column, shared by several workers, would count a part at each.
    fn keyed_by(&self) -> Option<&str> {
        None
    }

    /// For each column that it writes under a name, the column and that name; none where records have no
    /// names.
    fn record_names(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// True where each record is of one row ([`RecordMap::OneEach`]), so that it can have headers of its own,
    /// or no value.
    fn writes_single_rows(&self) -> bool {
        true
    }

    /// Called once per batch. A row that cannot be written is rejected, and the others go on.
    ///
    /// # Errors
    /// Only where the encoder itself is broken; ends the run.
    fn encode(&mut self, batch: &Batch, rejects: &mut Rejects) -> Result<Encoded>;
}

/// The configuration of a format: what stands under its name, as in `format: { json: { fields: ... } }`.
pub trait FormatPlugin: DeserializeOwned + JsonSchema + 'static {
    /// The name in the file.
    const NAME: &'static str;
    /// One line for `pipectl plugins`.
    const SUMMARY: &'static str;
    /// The value of a `format:` key in YAML, that `describe` prints and a test binds.
    const EXAMPLE: &'static str;

    /// Makes a decoder; called while planning.
    ///
    /// # Errors
    /// A [`Problem`], also where the format cannot be read.
    fn decoder(self) -> Result<Box<dyn Decoder>, Problem>;

    /// Makes an encoder for rows of `input`, with the records' keys taken from column `key`; called while
    /// planning.
    ///
    /// # Errors
    /// A [`Problem`], also where the format cannot be written.
    fn encoder(self, input: &Input, key: Option<usize>) -> Result<Box<dyn Encoder>, Problem>;
}

/// A format as it is written in a file: a name, or a name with its settings.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(untagged)]
pub enum FormatSpec {
    /// `text`
    Name(String),
    /// `{ json: { fields: ... } }`, with exactly one key.
    WithSettings(BTreeMap<String, serde_json::Value>),
}

impl FormatSpec {
    /// The format's name; empty where what is written names none.
    pub fn name(&self) -> &str {
        match self {
            Self::Name(name) => name,
            Self::WithSettings(settings) => settings.keys().next().map_or("", String::as_str),
        }
    }
}

impl<'de> Deserialize<'de> for FormatSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = FormatSpec;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a format such as `text`, or `{ NAME: { its settings } }`")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<FormatSpec, E> {
                Ok(FormatSpec::Name(name.to_owned()))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<FormatSpec, A::Error> {
                let settings = Deserialize::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(FormatSpec::WithSettings(settings))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}
