//! The `kafka` sink: rows as records of a topic, encoded by a format.

use std::collections::BTreeMap;

use arrow_schema::DataType;
use indexmap::IndexMap;
use pipectl_framework::config::Retention;
use pipectl_framework::plugin::{
    BindContext, BoundSink, Capability, FormatSpec, Input, LogSink, Problem, SinkBody, SinkPlugin,
};
use pipectl_framework::register;
use schemars::JsonSchema;
use serde::Deserialize;

use super::written::RecordEncoder;
use super::{check_topic, connection};

/// Rows as records of a topic.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct KafkaSink {
    /// The topic.
    topic: String,
    /// How rows become records: a format, or a format with its settings. Default: `json`.
    encode: Option<FormatSpec>,
    /// A text column whose cells are the records' values; short for `encode: { text: { field: COLUMN } }`
    /// with the same column as key.
    value: Option<String>,
    /// The text column that gives a record its key: records with the same key go to the same partition, where
    /// a windowed count finds them together. Default: the column of `value`; with `json` the column `key`,
    /// where there is one.
    key: Option<String>,
    /// The text column of each header that a record is written with: `NAME: COLUMN`. A null has none.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    headers: IndexMap<String, String>,
    /// A column of true and false: where it is true the record has no value (a tombstone), which says that
    /// its key is no more. Such a record needs a key.
    tombstone: Option<String>,
    /// Whether to make the topic where it is not there. Default: true. Set it to false where topics are
    /// somebody else's.
    #[serde(default = "yes")]
    create: bool,
    /// How many partitions to make it with. Default: as the broker has it. More let more workers share the
    /// topic.
    partitions: Option<u32>,
    /// For how long the topic keeps records after their time, where it is made here: `30d`, or `forever`.
    /// Default: as the broker has it, which is often a week; records that are older when they are written are
    /// deleted within minutes. The embedded log keeps as many bytes as `topic_bytes` says.
    retention: Option<Retention>,
    /// The name under `connections:`. Default: `kafka`.
    #[serde(default = "connection")]
    connection: String,
}

fn yes() -> bool {
    true
}

register!(sink: KafkaSink);

impl SinkPlugin for KafkaSink {
    const NAME: &'static str = "kafka";
    const SUMMARY: &'static str = "rows as records of a topic";
    const EXAMPLE: &'static str = "\
- sink: kafka
  with: { topic: sex, value: gender }
";
    const CAPABILITIES: &'static [Capability] = &[Capability::Transactional];

    fn bind(self, input: &Input, context: &BindContext<'_>) -> Result<BoundSink, Problem> {
        check_topic(&self.topic)?;
        context.connection("connection", &self.connection)?;
        if self.partitions.is_some_and(|n| !(1..=10_000).contains(&n)) {
            return Err(Problem::new("partitions", "a topic has from 1 to 10000 partitions"));
        }
        if self.retention.is_some() && !self.create {
            return Err(Problem::new(
                "retention",
                "`retention` is for a topic that is made here, and `create` is false",
            )
            .help("set `retention.ms` of the topic where it is made, or leave `create` out"));
        }
        let key = self.key(input)?;
        let (format, encoder) = match (&self.value, &self.encode) {
            (Some(_), Some(_)) => {
                return Err(Problem::new("value", "`value` and `encode` cannot stand together")
                    .help("`value: COLUMN` is short for `encode: { text: { field: COLUMN } }`"));
            }
            (Some(column), None) => {
                input
                    .text_column("value", column)
                    .map_err(|p| p.help("`encode: json` writes columns of every type"))?;
                let settings = serde_json::json!({ "field": column });
                let text = FormatSpec::WithSettings(BTreeMap::from([("text".to_owned(), settings)]));
                ("text", context.encoder("value", &text, input, key)?)
            }
            (None, Some(encode)) => (encode.name(), context.encoder("encode", encode, input, key)?),
            (None, None) => {
                let json = FormatSpec::Name("json".to_owned());
                ("json", context.encoder("", &json, input, key)?)
            }
        };
        let encoder =
            RecordEncoder::around(encoder, self.tombstone.as_deref(), &self.headers, key.is_some(), input)?;
        let reads = encoder.reads();
        let body = SinkBody::Log(LogSink {
            connection: self.connection,
            topic: self.topic,
            create: self.create,
            partitions: self.partitions,
            retention: self.retention,
            format: format.to_owned(),
            encoder,
        });
        Ok(BoundSink { reads, body })
    }
}

impl KafkaSink {
    /// The column of the keys.
    fn key(&self, input: &Input) -> Result<Option<usize>, Problem> {
        if let Some(name) = &self.key {
            return input.text_column("key", name).map(Some);
        }
        if let Some(name) = &self.value {
            return Ok(input.schema.index_of(name).ok());
        }
        let json = match &self.encode {
            None => true,
            Some(FormatSpec::Name(name)) => name == "json",
            Some(FormatSpec::WithSettings(settings)) => settings.contains_key("json"),
        };
        let named = input.schema.index_of("key").ok();
        Ok(named.filter(|index| json && *input.schema.field(*index).data_type() == DataType::Utf8))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use arrow_array::Int64Array;
    use pipectl_framework::plugin::{Batch, Encoded, Purpose, Reads, Registry, Rejects};
    use serde_json::json;

    use super::*;
    use crate::format::testing::{batch, input, say, texts, values};

    fn rows() -> Batch {
        batch(vec![
            ("key", texts(&[Some("0")])),
            ("count", Arc::new(Int64Array::from(vec![5]))),
            ("gender", texts(&[Some("1")])),
        ])
    }

    fn bind(with: serde_json::Value) -> Result<LogSink, Problem> {
        let registry = Registry::collect().unwrap();
        let connections = ["kafka".to_owned()];
        let context = BindContext {
            registry: &registry,
            base: Path::new("."),
            connections: &connections,
            purpose: Purpose::Check,
        };
        let bound = serde_json::from_value::<KafkaSink>(with).unwrap().bind(&input(&rows()), &context)?;
        match bound.body {
            SinkBody::Log(log) => Ok(log),
            SinkBody::Custom(_) => panic!("not a log"),
        }
    }

    fn written(with: serde_json::Value) -> (Option<Vec<u8>>, String) {
        let Encoded { keys, values: written, timestamps, headers, rows: map } =
            bind(with).unwrap().encoder.encode(&rows(), &mut Rejects::default()).unwrap();
        let text = values(&Encoded { keys: None, values: written, timestamps, headers, rows: map }).remove(0);
        (keys.map(|k| k.value(0).to_vec()), text)
    }

    #[test]
    fn records_have_the_value_and_the_key_that_are_asked_for() {
        let key = |text: &str| Some(text.as_bytes().to_vec());
        assert_eq!(written(json!({ "topic": "t", "value": "gender" })), (key("1"), "1".into()));
        assert_eq!(written(json!({ "topic": "t", "value": "gender", "key": "key" })), (key("0"), "1".into()));
        assert_eq!(
            written(json!({ "topic": "t" })),
            (key("0"), r#"{"key":"0","count":5,"gender":"1"}"#.into())
        );
        assert_eq!(written(json!({ "topic": "t", "encode": "pairs" })), (None, r#"[{"0":5}]"#.into()));
        assert_eq!(
            written(json!({ "topic": "t", "encode": { "text": { "field": "gender" } } })),
            (None, "1".into())
        );
        let sink =
            bind(json!({ "topic": "t", "value": "gender", "create": false, "partitions": 6 })).unwrap();
        assert_eq!((sink.create, sink.partitions), (false, Some(6)));
        assert_eq!(sink.encoder.reads(), Reads::Only(vec!["gender".into()]));
    }

    #[test]
    fn problems_stand_where_they_were_written() {
        let path = |with| say(bind(with)).path;
        assert_eq!(path(json!({ "topic": "" })), "topic");
        assert_eq!(path(json!({ "topic": "t", "value": "gendr" })), "value");
        assert_eq!(path(json!({ "topic": "t", "value": "count" })), "value");
        assert_eq!(path(json!({ "topic": "t", "value": "gender", "encode": "json" })), "value");
        assert_eq!(path(json!({ "topic": "t", "key": "count" })), "key");
        assert_eq!(path(json!({ "topic": "t", "encode": "jsn" })), "encode");
        assert_eq!(
            path(json!({ "topic": "t", "encode": { "json": { "fields": { "x": "text" } } } })),
            "encode.json.fields.x"
        );
        assert_eq!(path(json!({ "topic": "t", "partitions": 0 })), "partitions");
        assert_eq!(path(json!({ "topic": "t", "connection": "k" })), "connection");
        assert_eq!(path(json!({ "topic": "t", "create": false, "retention": "30d" })), "retention");
    }
}
