//! What a record is written with beside its value: headers, and no value where a column says that its key is
//! no more.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, BinaryArray, BooleanArray};
use arrow_schema::DataType;
use arrow_select::filter::filter;
use arrow_select::nullif::nullif;
use indexmap::IndexMap;
use pipectl_framework::plugin::{
    Batch, Encoded, Encoder, Error, Input, Problem, Reads, RecordMap, Rejects, Result,
};

use crate::format::type_name;

/// Writes rows by a format, with headers and tombstones.
pub(super) struct RecordEncoder {
    values: Box<dyn Encoder>,
    /// The boolean column that is true where a record has no value.
    tombstone: Option<usize>,
    /// By name, the column of each header.
    headers: Vec<(Arc<str>, usize)>,
    reads: Reads,
}

impl RecordEncoder {
    /// An encoder with what is asked for beside the values; `values` itself where that is nothing.
    ///
    /// # Errors
    /// A [`Problem`] where a column is not there or of another type, or a format puts several rows into a
    /// record.
    pub(super) fn around(
        values: Box<dyn Encoder>,
        tombstone: Option<&str>,
        headers: &IndexMap<String, String>,
        keyed: bool,
        input: &Input,
    ) -> Result<Box<dyn Encoder>, Problem> {
        let asked = tombstone.map(|_| "tombstone").or((!headers.is_empty()).then_some("headers"));
        let Some(asked) = asked else { return Ok(values) };
        if !values.writes_single_rows() {
            return Err(Problem::new(asked, "this format puts several rows into one record").help(format!(
                "take `{asked}` away, or use `encode: json`, which makes a record of each row"
            )));
        }
        let mut named = Vec::new();
        let tombstone = tombstone.map(|name| {
            if !keyed {
                return Err(Problem::new(
                    "tombstone",
                    "a record without a value needs a key: it says that its key is no more",
                )
                .help("name the text column of the keys: `key: COLUMN`"));
            }
            let index = input.column("tombstone", name)?;
            let given = input.schema.field(index).data_type();
            if *given != DataType::Boolean {
                return Err(Problem::new("tombstone", format!("field `{name}` is not true or false"))
                    .label(format!("{} gives it as {}", input.given_by, type_name(given)))
                    .of_field(name));
            }
            named.push(name.to_owned());
            Ok(index)
        });
        let tombstone = tombstone.transpose()?;
        let mut columns: Vec<(Arc<str>, usize)> = Vec::new();
        for (header, column) in headers {
            let path = format!("headers.{header}");
            if header.is_empty() || header.chars().any(char::is_control) {
                return Err(Problem::new(path, "this cannot be the name of a header").help(
                    "a header's name is a text of at least one character, none of them a control character",
                ));
            }
            columns.push((header.as_str().into(), input.text_column(&path, column)?));
            named.push(column.clone());
        }
        let reads = match values.reads() {
            Reads::Only(mut columns) => {
                named.retain(|name| !columns.contains(name));
                named.sort_unstable();
                named.dedup();
                columns.extend(named);
                Reads::Only(columns)
            }
            all => all,
        };
        Ok(Box::new(Self { values, tombstone, headers: columns, reads }))
    }
}

fn broken(error: arrow_schema::ArrowError) -> Error {
    Error::fatal("the records of one batch do not fit together").caused_by(error)
}

fn not_planned() -> Error {
    Error::fatal("a column is not what was planned")
}

impl Encoder for RecordEncoder {
    fn reads(&self) -> Reads {
        self.reads.clone()
    }

    fn keyed_by(&self) -> Option<&str> {
        self.values.keyed_by()
    }

    fn record_names(&self) -> Vec<(String, String)> {
        self.values.record_names()
    }

    fn encode(&mut self, batch: &Batch, rejects: &mut Rejects) -> Result<Encoded> {
        let mut encoded = self.values.encode(batch, rejects)?;
        if encoded.rows != RecordMap::OneEach {
            return Err(Error::fatal(
                "the format put several rows into one record, and said that it does not",
            )
            .remedy("this is a mistake in the format: report it to whoever wrote it"));
        }
        let columns = batch.columns().columns();
        let mut headers = Vec::with_capacity(self.headers.len());
        for (name, index) in &self.headers {
            let text = columns.get(*index).and_then(|column| column.as_string_opt::<i32>());
            headers.push((name.clone(), BinaryArray::from(text.ok_or_else(not_planned)?.clone())));
        }
        let mut ends = match self.tombstone {
            Some(index) => {
                let said = columns.get(index).and_then(|column| column.as_boolean_opt());
                Some(said.ok_or_else(not_planned)?.clone())
            }
            None => None,
        };
        // The columns have the rows that were rejected as well, the records do not.
        if !rejects.is_empty() {
            let rejected: HashSet<usize> = rejects.rows().iter().map(|reject| reject.row).collect();
            let stay: BooleanArray = (0..batch.rows()).map(|row| Some(!rejected.contains(&row))).collect();
            for (_, cells) in &mut headers {
                *cells = filter(cells, &stay).map_err(broken)?.as_binary().clone();
            }
            if let Some(said) = &mut ends {
                *said = filter(said, &stay).map_err(broken)?.as_boolean().clone();
            }
        }
        encoded.headers = headers;
        let Some(ends) = ends.filter(|ends| ends.true_count() > 0) else { return Ok(encoded) };
        encoded.values = nullif(&encoded.values, &ends).map_err(broken)?.as_binary().clone();
        let keyless = |record: usize| encoded.keys.as_ref().is_none_or(|keys| keys.is_null(record));
        let is_end = |record: usize| ends.is_valid(record) && ends.value(record);
        let usable: BooleanArray =
            (0..ends.len()).map(|record| Some(!(is_end(record) && keyless(record)))).collect();
        if usable.true_count() == usable.len() {
            return Ok(encoded);
        }
        let before: HashSet<usize> = rejects.rows().iter().map(|reject| reject.row).collect();
        let rows: Vec<usize> = (0..batch.rows()).filter(|row| !before.contains(row)).collect();
        for (record, row) in rows.into_iter().enumerate() {
            if !usable.value(record) {
                rejects.push(row, "a record without a value needs a key, and this row has none");
            }
        }
        without(encoded, &usable)
    }
}

/// The records that stay.
fn without(encoded: Encoded, stay: &BooleanArray) -> Result<Encoded> {
    let left = |cells: &BinaryArray| -> Result<BinaryArray> {
        Ok(filter(cells, stay).map_err(broken)?.as_binary().clone())
    };
    let times = encoded.timestamps.iter().zip(stay.values()).filter(|(_, stays)| *stays);
    Ok(Encoded {
        keys: encoded.keys.as_ref().map(left).transpose()?,
        values: left(&encoded.values)?,
        timestamps: times.map(|(time, _)| *time).collect(),
        headers: encoded
            .headers
            .into_iter()
            .map(|(name, cells)| Ok((name, left(&cells)?)))
            .collect::<Result<_>>()?,
        rows: encoded.rows,
    })
}

#[cfg(test)]
mod tests {
    use pipectl_framework::plugin::{BindContext, FormatSpec, Purpose, Registry};
    use serde_json::json;

    use super::*;
    use crate::format::testing::{batch, input, say, texts};

    fn rows() -> Batch {
        batch(vec![
            ("key", texts(&[Some("a"), Some("b"), None, None])),
            ("who", texts(&[Some("x"), None, Some("y"), Some("z")])),
            ("gone", Arc::new(BooleanArray::from(vec![Some(false), Some(true), None, Some(true)]))),
        ])
    }

    fn bind(
        format: serde_json::Value,
        tombstone: Option<&str>,
        headers: serde_json::Value,
        key: Option<usize>,
    ) -> Result<Box<dyn Encoder>, Problem> {
        let registry = Registry::collect().unwrap();
        let context = BindContext {
            registry: &registry,
            base: std::path::Path::new("."),
            connections: &[],
            purpose: Purpose::Check,
        };
        let input = input(&rows());
        let format: FormatSpec = serde_json::from_value(format).unwrap();
        let values = context.encoder("encode", &format, &input, key)?;
        RecordEncoder::around(
            values,
            tombstone,
            &serde_json::from_value(headers).unwrap(),
            key.is_some(),
            &input,
        )
    }

    #[test]
    fn headers_and_tombstones_are_those_of_the_rows() {
        let json = json!({ "json": { "fields": { "who": "text" } } });
        let mut encoder = bind(json, Some("gone"), json!({ "by": "who" }), Some(0)).unwrap();
        assert_eq!(encoder.reads(), Reads::Only(vec!["who".into(), "key".into(), "gone".into()]));
        let mut rejects = Rejects::default();
        let encoded = encoder.encode(&rows(), &mut rejects).unwrap();
        let said: Vec<_> = rejects.rows().iter().map(|r| (r.row, r.reason.as_str())).collect();
        assert_eq!(said, [(3, "a record without a value needs a key, and this row has none")]);
        let text = |cells: &BinaryArray| -> Vec<Option<String>> {
            cells.iter().map(|cell| cell.map(|cell| String::from_utf8_lossy(cell).into_owned())).collect()
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(text(&encoded.values), [some(r#"{"who":"x"}"#), None, some(r#"{"who":"y"}"#)]);
        assert_eq!(text(encoded.keys.as_ref().unwrap()), [some("a"), some("b"), None]);
        assert_eq!(
            (&*encoded.headers[0].0, text(&encoded.headers[0].1)),
            ("by", vec![some("x"), None, some("y")])
        );
        assert_eq!(&encoded.timestamps[..], [0, 1000, 2000]);
    }

    #[test]
    fn what_no_record_can_have_is_refused() {
        let path = |bound| say(Result::map(bound, |_: Box<dyn Encoder>| ())).path;
        let none = || json!({});
        assert_eq!(path(bind(json!("json"), Some("gone"), none(), None)), "tombstone");
        assert_eq!(path(bind(json!("json"), Some("who"), none(), Some(0))), "tombstone");
        assert_eq!(path(bind(json!("json"), Some("gon"), none(), Some(0))), "tombstone");
        assert_eq!(path(bind(json!("json"), None, json!({ "by": "gone" }), Some(0))), "headers.by");
        assert_eq!(path(bind(json!("json"), None, json!({ "": "who" }), Some(0))), "headers.");
    }
}
