//! The `text` format: a record's value is the text of one column, byte for byte. A null is a record without a
//! value (a tombstone), and back.

use std::sync::Arc;

use arrow_array::{Array, BinaryArray, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use pipectl_framework::log::Records;
use pipectl_framework::plugin::{
    Batch, Decoded, Decoder, Encoded, Encoder, Error, FormatPlugin, Input, Problem, Reads, RecordMap,
    Rejects, Result, RowMap,
};
use pipectl_framework::register;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{KeyColumn, excerpt, text};
use crate::columns::TextColumn;

/// The column's name where none is given.
const VALUE: &str = "value";

/// The text of one column.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Text {
    /// The column. Default: `value` when reading; when writing, the only column, or else `value`.
    field: Option<String>,
}

register!(format: Text);

impl FormatPlugin for Text {
    const NAME: &'static str = "text";
    const SUMMARY: &'static str = "the text of one column";
    const EXAMPLE: &'static str = "text";

    fn decoder(self) -> Result<Box<dyn Decoder>, Problem> {
        let name = self.field.as_deref().unwrap_or(VALUE);
        let schema = Arc::new(Schema::new(vec![Field::new(name, DataType::Utf8, true)]));
        Ok(Box::new(TextDecoder { schema }))
    }

    fn encoder(self, input: &Input, key: Option<usize>) -> Result<Box<dyn Encoder>, Problem> {
        let (path, name) = match (&self.field, input.schema.fields().as_ref()) {
            (Some(field), _) => ("field", field.as_str()),
            (None, [only]) => ("", only.name().as_str()),
            (None, _) => ("", VALUE),
        };
        let column = match input.text_column(path, name) {
            Ok(column) => column,
            Err(problem) if self.field.is_none() && input.schema.index_of(name).is_err() => {
                return Err(problem.help("say which column is the text: `{ text: { field: NAME } }`"));
            }
            Err(problem) => return Err(problem.help("`json` writes columns of every type")),
        };
        let key = KeyColumn::bind(input, key)?;
        Ok(Box::new(TextEncoder { column, name: name.to_owned(), key }))
    }
}

struct TextDecoder {
    schema: SchemaRef,
}

impl Decoder for TextDecoder {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn decode(&mut self, records: &Records, rejects: &mut Rejects) -> Result<Decoded> {
        let (column, rows) = match StringArray::try_from_binary(records.values.clone()) {
            Ok(column) => (column, RowMap::Same),
            Err(_) => one_by_one(&records.values, rejects)?,
        };
        let columns = RecordBatch::try_new(self.schema.clone(), vec![Arc::new(column)])
            .map_err(|e| Error::fatal("text does not fit its column").caused_by(e))?;
        Ok(Decoded { columns, rows })
    }
}

/// Takes the values that are UTF-8 and rejects the others.
fn one_by_one(values: &BinaryArray, rejects: &mut Rejects) -> Result<(StringArray, RowMap)> {
    let mut column = TextColumn::with_capacity(values.len(), values.value_data().len());
    let (mut rows, mut valid) = (Vec::new(), Vec::new());
    for (record, value) in values.iter().enumerate() {
        let cell = value.unwrap_or_default();
        if std::str::from_utf8(cell).is_err() {
            rejects.push(record, format!("not UTF-8: {}", excerpt(cell)));
            continue;
        }
        column.push(cell);
        valid.push(value.is_some());
        rows.push(record as u32);
    }
    let column = column
        .finish(Some(valid.into()))
        .map_err(|e| Error::fatal("checked text is not UTF-8").caused_by(e))?;
    Ok((column, RowMap::Rows(rows)))
}

struct TextEncoder {
    column: usize,
    name: String,
    key: Option<KeyColumn>,
}

impl Encoder for TextEncoder {
    fn reads(&self) -> Reads {
        let key = self.key.iter().map(|k| k.name.clone()).filter(|k| *k != self.name);
        Reads::Only(std::iter::once(self.name.clone()).chain(key).collect())
    }

    fn keyed_by(&self) -> Option<&str> {
        self.key.as_ref().filter(|key| key.name == self.name).map(|_| VALUE)
    }

    fn encode(&mut self, batch: &Batch, _rejects: &mut Rejects) -> Result<Encoded> {
        Ok(Encoded {
            keys: self.key.as_ref().map(|key| key.keys(batch)).transpose()?,
            values: BinaryArray::from(text(batch, self.column)?.clone()),
            timestamps: batch.times().values().clone(),
            headers: Vec::new(),
            rows: RecordMap::OneEach,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{batch, decode, encode, input, records, say, texts};
    use super::*;
    use proptest::prelude::*;

    fn plain() -> Text {
        Text { field: None }
    }

    proptest! {
        #[test]
        fn text_comes_back_as_it_was(cells in prop::collection::vec(prop::option::of("\\PC{0,5}"), 0..20)) {
            let batch = batch(vec![("value", texts(&cells))]);
            let encoded = encode(plain().encoder(&input(&batch), None).unwrap(), &batch).unwrap();
            let (decoded, rejects) = decode(plain().decoder().unwrap(), &records(&encoded));
            prop_assert!(rejects.is_empty());
            prop_assert_eq!(&decoded.columns, batch.columns());
            prop_assert_eq!(decoded.rows, RowMap::Same);
        }
    }

    #[test]
    fn what_is_not_utf8_is_rejected_and_the_rest_goes_on() {
        let values =
            BinaryArray::from(vec![Some(b"a".as_slice()), Some(b"\xFF"), None, Some("四".as_bytes())]);
        let (decoded, rejects) = decode(plain().decoder().unwrap(), &values);
        assert_eq!(rejects, [(1, "not UTF-8: \"\u{fffd}\"".to_owned())]);
        assert_eq!(decoded.rows, RowMap::Rows(vec![0, 2, 3]));
        assert_eq!(decoded.columns.column(0), &texts(&[Some("a"), None, Some("四")]));
    }

    #[test]
    fn the_column_is_found_or_named() {
        let only = batch(vec![("gender", texts(&[Some("0")]))]);
        assert_eq!(plain().encoder(&input(&only), None).unwrap().reads(), Reads::Only(vec!["gender".into()]));
        let two = batch(vec![("a", texts(&[Some("0")])), ("b", texts(&[Some("x")]))]);
        let field = Text { field: Some("a".into()) };
        let writing = field.encoder(&input(&two), Some(1)).unwrap();
        assert_eq!(writing.reads(), Reads::Only(vec!["a".into(), "b".into()]));
        let encoded = encode(writing, &two).unwrap();
        assert_eq!(
            (encoded.values.value(0), encoded.keys.unwrap().value(0)),
            (b"0".as_slice(), b"x".as_slice())
        );
        let problem = say(plain().encoder(&input(&two), None));
        assert!(problem.help.last().unwrap().contains("say which column is the text"), "{problem:?}");
        let problem = say(Text { field: Some("c".into()) }.encoder(&input(&two), None));
        assert_eq!((problem.path.as_str(), problem.message.as_str()), ("field", "unknown field `c`"));
    }
}
