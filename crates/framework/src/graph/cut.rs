//! `repartition:` beside a window: the chain is cut there, and its rows go through a topic that is keyed by
//! what the window counts by. So several workers can share a window whatever the topic is keyed by that the
//! chain reads.

use std::fmt;
use std::sync::Arc;

use arrow_schema::Schema;
use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::plan::{Node, NodeBody, OnError, Outputs, Repartitioned, SourcePlan};
use super::planning::{Given, Planner};
use super::repartition::{FORMAT, Repartition, Unpack, takes};
use super::steps::{Draft, DraftNode, names};
use crate::config::{ChainDecl, Diagnostic, Output, StepDecl};
use crate::plugin::{BoundSource, Input, LogSource, Reads, SourceBody, type_name};
use crate::time::Speaker;
use crate::window::WindowSettings;

/// `repartition` as written.
enum Decl {
    /// `true` or `false`
    Said(bool),
    /// A mapping.
    With(Keys),
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// The topic. Default: `PIPELINE.CHAIN.STEP.repartition`.
    topic: Option<String>,
    /// How many partitions it is made with. Default: as many as the topic that the chain reads.
    partitions: Option<u32>,
}

/// Where a chain is cut.
struct Place {
    /// The connection: its index, and its name.
    index: usize,
    connection: String,
    /// The topic that the chain reads.
    source_topic: String,
    /// The columns that go on, and those that make the key: indices into what stands before the window.
    columns: Vec<usize>,
    key: Vec<usize>,
}

impl<'de> Deserialize<'de> for Decl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Decl;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "`true`, `false` or a mapping such as `{ topic: orders-by-gender, partitions: 12 }`",
                )
            }

            fn visit_bool<E: de::Error>(self, said: bool) -> Result<Decl, E> {
                Ok(Decl::Said(said))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, keys: A) -> Result<Decl, A::Error> {
                Deserialize::deserialize(de::value::MapAccessDeserializer::new(keys)).map(Decl::With)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl Planner<'_> {
    /// Cuts the chain before a window where its step says so, and can be cut; gives what the window stands
    /// behind then.
    pub(super) fn cut(
        &mut self,
        chain: &ChainDecl,
        step: &StepDecl,
        parents: &[Given],
    ) -> Option<Vec<Given>> {
        let written = step.repartition.as_ref()?;
        let keys = match self.keep(written.deserialize::<Decl>())? {
            Decl::Said(false) => return None,
            Decl::Said(true) => Keys::default(),
            Decl::With(keys) => keys,
        };
        if keys.partitions == Some(0) {
            let problem = Diagnostic::error(written.locate("partitions"), "a topic without a partition");
            self.problems.push(problem.help("as many as workers should share the window, at least"));
            return None;
        }
        let first = parents.first()?.clone();
        let draft = &self.drafts[first.by?.0];
        let (connection, source_topic) = match &draft.source.bound.body {
            SourceBody::Log(source) if !first.windowed && draft.source.repartitioned.is_none() => {
                (source.connection.clone(), source.topic.clone())
            }
            // Said of the window itself.
            SourceBody::Log(_) => return None,
            SourceBody::Custom(..) => {
                self.problems.push(
                    Diagnostic::error(written.place.clone(), "the rows of this chain come from no topic")
                        .label("one worker reads them, and so it counts all of them")
                        .help("take `repartition` away"),
                );
                return None;
            }
        };
        let index = self.connections.iter().position(|(name, _)| *name == connection)?;
        // What is wrong with the window itself is for the window to say.
        let (settings, _) = WindowSettings::split(&step.with);
        let settings = settings.ok()?;
        let key: Result<Vec<usize>, _> =
            settings.key.iter().map(|name| first.input.column("key", name)).collect();
        let key = key.ok()?;
        let name = format!("{}.{}", chain.name.text, step.id);
        let needed = self.needed.get(&name);
        let fields = first.input.schema.fields();
        let columns: Vec<usize> = (0..fields.len())
            .filter(|column| needed.is_none_or(|needed| needed.contains(fields[*column].name())))
            .collect();
        if let Some(field) = columns.iter().map(|c| &fields[*c]).find(|field| !takes(field.data_type())) {
            let problem = Diagnostic::error(
                written.place.clone(),
                format!("field `{}` cannot go through a topic", field.name()),
            );
            self.problems.push(
                problem
                    .label(format!("it is {}", type_name(field.data_type())))
                    .help("leave it out with a `select` before the window"),
            );
            return None;
        }
        if key.is_empty() && keys.partitions.is_some_and(|partitions| partitions > 1) {
            let problem =
                Diagnostic::error(written.locate("partitions"), "a window without a key has one partition");
            self.problems.push(problem.label("it counts all rows together").help("take `partitions` away"));
            return None;
        }
        let place = Place { index, connection, source_topic, columns, key };
        self.cut_at(place, keys, chain, step, parents, &settings)
    }

    /// Cuts it.
    fn cut_at(
        &mut self,
        place: Place,
        keys: Keys,
        chain: &ChainDecl,
        step: &StepDecl,
        parents: &[Given],
        settings: &WindowSettings,
    ) -> Option<Vec<Given>> {
        let Place { index, connection, source_topic, columns, key } = place;
        let first = parents.first()?;
        let (before, _) = first.by?;
        let name = format!("{}.{}", chain.name.text, step.id);
        let fields = first.input.schema.fields();
        let kept_as = chain.step_kept_as(step);
        let topic = keys.topic.unwrap_or_else(|| format!("{}.{kept_as}.repartition", self.name()));
        let schema = Arc::new(Schema::new(columns.iter().map(|c| fields[*c].clone()).collect::<Vec<_>>()));
        // What is counted together is in one partition.
        let partitions = if key.is_empty() { Some(1) } else { keys.partitions };
        let writer = Repartition::new(&topic, columns, key, &schema, &first.input.schema);
        let speaker = Speaker::new(settings.idle, settings.max_skew);
        let reader = LogSource {
            connection,
            topic: topic.clone(),
            start: None,
            group: None,
            keyed_by: None,
            partition_columns: Vec::new(),
            key_columns: Vec::new(),
            format: FORMAT.to_owned(),
            decoder: Box::new(Unpack::new(schema.clone())),
        };
        let second = self.drafts.len();
        let draft = &self.drafts[before];
        let node = DraftNode {
            node: Node {
                chain: chain.name.text.clone(),
                id: format!("{}.repartition", step.id),
                kept_as: format!("{kept_as}.repartition"),
                plugin: FORMAT.to_owned(),
                input: first.input.schema.clone(),
                on_error: OnError::Fail,
                retry: draft.source.retry,
                body: NodeBody::Repartition(index, Box::new(writer), speaker),
                outputs: Outputs::default(),
            },
            reads: Reads::All,
            leads_to: Some(second),
            partitions,
            one_worker: false,
            origins: Vec::new(),
            made_of: Vec::new(),
            with: None,
        };
        let (retry, delivery) = (draft.source.retry, draft.delivery.clone());
        self.drafts[before].nodes.push(node);
        let at = self.drafts[before].nodes.len() - 1;
        self.attach(parents, at);
        let input = Input { schema: schema.clone(), given_by: format!("topic `{topic}`") };
        self.drafts.push(Draft {
            name,
            kept_as,
            source: SourcePlan {
                id: format!("{}.repartition", step.id),
                plugin: FORMAT.to_owned(),
                bound: BoundSource { schema, bounded: false, passing: None, body: SourceBody::Log(reader) },
                replayable: true,
                times_recur: true,
                stamper: None,
                on_error: OnError::Fail,
                retry,
                outputs: Outputs::default(),
                repartitioned: Some(Repartitioned { topic: source_topic }),
            },
            source_topic: None,
            keyed_by: None,
            delivery,
            time_fields: Vec::new(),
            nodes: Vec::new(),
            sinks: Vec::new(),
        });
        let (by, origins) = (Some((second, None)), names(&input));
        Some(vec![Given { by, output: Output::Main, input, origins, windowed: false }])
    }
}
