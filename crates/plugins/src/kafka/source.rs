//! The `kafka` source: the records of a topic, decoded by a format.

use indexmap::IndexMap;
use pipectl_framework::config::StartAt;
use pipectl_framework::plugin::{
    BindContext, BoundSource, Capability, Decoder as _, FormatSpec, LogSource, Problem, SourceBody,
    SourcePlugin,
};
use pipectl_framework::register;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use super::record::{Metadata, OnTombstone, RecordDecoder};
use super::{check_topic, connection};
use crate::names;

/// The records of a topic.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct KafkaSource {
    /// The topic.
    topic: String,
    /// How a record becomes rows: a format, or a format with its settings. Default: `text`, one column
    /// `value`.
    #[serde(default = "text")]
    format: FormatSpec,
    /// The consumer group that keeps the position and shares the partitions. Default: made from the names of
    /// the pipeline and the chain. Change it to go on where a group of another name stopped.
    group: Option<String>,
    /// The field, or the list of fields, that another program keys the records by: all records of one value
    /// are in one partition. `[]` where records have no key. A topic that this file writes needs none.
    #[serde(default, deserialize_with = "names::given")]
    #[schemars(with = "Option<names::Fields>")]
    keyed_by: Option<Vec<String>>,
    /// Where to start while the group has no position: `earliest`, `latest`, `{ offset: N }` of each
    /// partition, or at the first record of `{ time: 2026-01-31T09:30:00Z }` or later, or of the last
    /// `{ ago: 1h }`. Default: `earliest`, and `latest` for a chain whose sink wants every row in every copy
    /// of the pipeline, such as a page.
    start: Option<StartAt>,
    /// What becomes of a record without a value (a tombstone): `skip` leaves it out and counts it as
    /// filtered, `null` makes a row of it whose fields are null, `reject` leaves it to `on_error`. Default:
    /// as the format does; `text` gives a null, the others reject it.
    #[serde(default, deserialize_with = "on_tombstone")]
    #[schemars(with = "Option<OnTombstone>")]
    on_tombstone: Option<OnTombstone>,
    /// Columns that are filled from what a record has beside its value: `COLUMN: key`, `topic`, `partition`,
    /// `offset`, `timestamp`, or `{ header: NAME }`. Key, topic and headers are text, partition and offset
    /// integers, the timestamp is a time; null where there is none.
    #[serde(default)]
    #[schemars(with = "std::collections::BTreeMap<String, Metadata>")]
    metadata: IndexMap<String, Metadata>,
    /// The name under `connections:`. Default: `kafka`.
    #[serde(default = "connection")]
    connection: String,
}

/// `null` as YAML has it is the word, not a setting that is left out.
fn on_tombstone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<OnTombstone>, D::Error> {
    Ok(Some(Option::deserialize(deserializer)?.unwrap_or(OnTombstone::Null)))
}

fn text() -> FormatSpec {
    FormatSpec::Name("text".to_owned())
}

register!(source: KafkaSource);

impl SourcePlugin for KafkaSource {
    const NAME: &'static str = "kafka";
    const SUMMARY: &'static str = "the records of a topic";
    const EXAMPLE: &'static str = "\
- source: kafka
  with: { topic: sex, format: text }
";
    const CAPABILITIES: &'static [Capability] = &[Capability::Replayable];

    fn bind(self, context: &BindContext<'_>) -> Result<BoundSource, Problem> {
        check_topic(&self.topic)?;
        context.connection("connection", &self.connection)?;
        if self.group.as_ref().is_some_and(|g| g.is_empty() || g.len() > 249) {
            return Err(Problem::new("group", "a group's name has from 1 to 249 characters"));
        }
        let values = context.decoder("format", &self.format)?;
        let decoder = RecordDecoder::new(values, self.on_tombstone, self.metadata.into_iter().collect())?;
        let schema = decoder.schema();
        let body = SourceBody::Log(LogSource {
            connection: self.connection,
            topic: self.topic,
            start: self.start,
            group: self.group,
            keyed_by: self.keyed_by,
            partition_columns: decoder.columns_of(&Metadata::Partition),
            key_columns: decoder.columns_of(&Metadata::Key),
            format: self.format.name().to_owned(),
            decoder: Box::new(decoder),
        });
        Ok(BoundSource { schema, bounded: false, passing: None, body })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use pipectl_framework::plugin::{Purpose, Registry};
    use serde_json::json;

    use super::*;
    use crate::format::testing::say;

    fn bind(with: serde_json::Value) -> Result<BoundSource, Problem> {
        let registry = Registry::collect().unwrap();
        let connections = ["kafka".to_owned()];
        let context = BindContext {
            registry: &registry,
            base: Path::new("."),
            connections: &connections,
            purpose: Purpose::Check,
        };
        serde_json::from_value::<KafkaSource>(with).unwrap().bind(&context)
    }

    #[test]
    fn the_format_gives_the_schema() {
        let bound = bind(json!({ "topic": "result", "format": "pairs", "start": "latest" })).unwrap();
        let names: Vec<_> = bound.schema.fields().iter().map(|f| f.name().as_str()).collect();
        assert_eq!(names, ["key", "count"]);
        let SourceBody::Log(log) = bound.body else { panic!("not a log") };
        assert_eq!(
            (log.topic.as_str(), log.connection.as_str(), log.start),
            ("result", "kafka", Some(StartAt::Latest))
        );
        assert_eq!(bind(json!({ "topic": "t" })).unwrap().schema.field(0).name(), "value");
    }

    #[test]
    fn problems_stand_where_they_were_written() {
        let path = |with| say(bind(with)).path;
        assert_eq!(path(json!({ "topic": "a b" })), "topic");
        assert_eq!(path(json!({ "topic": "t", "connection": "kafak" })), "connection");
        assert_eq!(path(json!({ "topic": "t", "format": "jsno" })), "format");
        assert_eq!(path(json!({ "topic": "t", "format": "json" })), "format");
        assert_eq!(path(json!({ "topic": "t", "group": "" })), "group");
    }
}
