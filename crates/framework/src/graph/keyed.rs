//! Whether several workers can share the windows of a chain: each counts the partitions that it has, so all
//! rows that a window counts together must be in one partition. Who writes the topic decides that: a sink of
//! the same file, or another program, of which the source says `keyed_by`.

use std::sync::Arc;

use super::only::Others;
use super::plan::{Node, NodeBody, Sharing, TopicUse};
use super::steps::{Draft, SinkUse};
use crate::config::{Diagnostic, Place};
use crate::log::Log;
use crate::plugin::{LogSink, LogSource, SourceBody};

const REMEDY: &str =
    "say `repartition: true` beside the window, or, where one worker is enough, `repartition: false`";

/// What is looked at.
pub(super) struct Keys<'a> {
    /// The topics of the file; their readers are those that run.
    pub(super) topics: &'a [TopicUse],
    pub(super) drafts: &'a [&'a Draft],
    pub(super) others: &'a Others,
    pub(super) connections: &'a [(String, Arc<dyn Log>)],
}

/// A window over a topic that several workers may share.
struct Window<'a> {
    node: &'a Node,
    key: &'a [String],
    /// Those of its key's fields that are fields of the source, by their names there.
    origins: Vec<&'a str>,
    source: &'a LogSource,
    reader: &'a Draft,
    topic: &'a TopicUse,
    place: Place,
}

impl Keys<'_> {
    /// Checks every window; gives for each draft how its chain can be shared.
    pub(super) fn check(
        &self,
        problems: &mut Vec<Diagnostic>,
        warnings: &mut Vec<Diagnostic>,
    ) -> Vec<Sharing> {
        let mut sharing = vec![Sharing::Partitions; self.drafts.len()];
        for topic in self.topics.iter().filter(|topic| self.is_shared(topic)) {
            for reader in topic.readers.iter().copied() {
                for found in self.windows(topic, self.drafts[reader], problems, warnings) {
                    sharing[reader] = std::mem::take(&mut sharing[reader]).or(found);
                }
            }
        }
        sharing
    }

    /// True where several workers may have partitions of it.
    fn is_shared(&self, topic: &TopicUse) -> bool {
        let Some((_, log)) = self.connections.get(topic.connection) else { return false };
        let made = topic.spec.create.then(|| log.default_partitions()).flatten();
        log.describe().shared && topic.spec.partitions.or(made) != Some(1)
    }

    fn windows(
        &self,
        topic: &TopicUse,
        reader: &Draft,
        problems: &mut Vec<Diagnostic>,
        warnings: &mut Vec<Diagnostic>,
    ) -> Vec<Sharing> {
        // Every copy of a page reads all partitions.
        let alone = !reader.sinks.is_empty() && reader.sinks.iter().all(SinkUse::per_instance);
        let SourceBody::Log(source) = &reader.source.bound.body else { return Vec::new() };
        if alone {
            return Vec::new();
        }
        let mut sharing = Vec::new();
        for entry in &reader.nodes {
            let NodeBody::Window(window) = &entry.node.body else { continue };
            let step = format!("{}.{}", entry.node.chain, entry.node.id);
            if entry.one_worker {
                sharing.push(Sharing::Alone { step });
                continue;
            }
            // A repartition topic is keyed by what its window counts by, in a way that is known.
            let Some(place) = reader.source_topic.clone() else { continue };
            if let (true, Some(with)) = (window.names_keys(), &entry.with) {
                warnings.push(zeros(&step, &topic.spec.name, with.locate("zero_fill")));
                sharing.push(Sharing::Zeros { step: step.clone() });
            }
            let key = window.key();
            let origin = |name: &String| entry.origins.get(entry.node.input.index_of(name).ok()?)?.as_deref();
            let origins = key.iter().filter_map(origin).collect();
            let window = Window { node: &entry.node, key, origins, source, reader, topic, place };
            match self.judge(&window) {
                Verdict::Together => {}
                Verdict::Apart(problem) => problems.push(problem),
                Verdict::Unknown(warning) => {
                    warnings.extend(warning);
                    sharing.push(Sharing::Unknown { step, topic: topic.spec.name.clone() });
                }
            }
        }
        sharing
    }

    fn judge(&self, window: &Window<'_>) -> Verdict {
        if window.key.is_empty() {
            return self.judge_without_key(window);
        }
        let any = |columns: &[String]| columns.iter().any(|name| window.origins.contains(&name.as_str()));
        if any(&window.source.partition_columns) {
            return Verdict::Together;
        }
        // Of a field that was made on the way nobody can tell how the topic is keyed by it.
        let known = window.origins.len() == window.key.len();
        // A column of the records' keys has what a writer keys by, whatever the writer calls it.
        let by_keys = any(&window.source.key_columns);
        if let Some(said) = &window.source.keyed_by {
            let among = |field: &String| window.origins.contains(&field.as_str());
            return match () {
                () if !said.is_empty() && (by_keys || said.iter().all(among)) => {
                    self.as_written(window, known)
                }
                () if known => Verdict::Apart(window.contradicted(said)),
                () => Verdict::Unknown(Some(window.made_on_the_way())),
            };
        }
        self.as_written(window, known)
    }

    /// How the chains of this file write the topic, where it is not said that it is keyed otherwise.
    fn as_written(&self, window: &Window<'_>, known: bool) -> Verdict {
        let name = &window.topic.spec.name;
        let writers = || window.topic.writers.iter().map(|writer| self.drafts[*writer]);
        let sinks = || writers().flat_map(|writer| sinks(writer, window).map(move |sink| (writer, sink)));
        let by_keys = window.source.key_columns.iter().any(|name| window.origins.contains(&name.as_str()));
        let other = window.source.decoder.other_than_named();
        let keyed = |sink: &LogSink| {
            let named = |by: &str| window.origins.contains(&by) && !other.iter().any(|name| name == by);
            sink.encoder.keyed_by().is_some_and(|by| by_keys || named(by))
        };
        match sinks().find(|(_, sink)| !keyed(sink)) {
            Some((writer, sink)) if known => return Verdict::Apart(window.keyed_otherwise(writer, sink)),
            Some(_) => return Verdict::Unknown(Some(window.made_on_the_way())),
            None => {}
        }
        let elsewhere = self.others.named.iter().any(|(topic, _)| topic == name);
        if window.source.keyed_by.is_some() || sinks().next().is_some() {
            Verdict::Together
        } else if writers().next().is_some() || elsewhere {
            // Written in another format, which is told, or by a chain that is planned elsewhere.
            Verdict::Unknown(None)
        } else if known {
            Verdict::Unknown(Some(window.nobody_says()))
        } else {
            Verdict::Unknown(Some(window.made_on_the_way()))
        }
    }

    fn judge_without_key(&self, window: &Window<'_>) -> Verdict {
        let name = &window.topic.spec.name;
        let step = window.step();
        if let Some(writer) = window.topic.writers.first() {
            let problem = Diagnostic::error(
                window.place.clone(),
                format!("topic `{name}` may have several partitions, and `{step}` counts all rows together"),
            )
            .label(format!("the chain `{}` writes it", self.drafts[*writer].name))
            .help(format!(
                "several workers would each count a part: write it with `partitions: 1`, {REMEDY}"
            ));
            return Verdict::Apart(problem);
        }
        if self.others.named.iter().any(|(topic, _)| topic == name) {
            return Verdict::Unknown(None);
        }
        let warning = Diagnostic::warning(
            window.place.clone(),
            format!("nobody says how many partitions topic `{name}` has"),
        )
        .label(format!("`{step}` counts all rows together: of several workers each would count a part"))
        .help("say `repartition: true` beside the window, or `repartition: false` where the topic has one partition or one worker is enough");
        Verdict::Unknown(Some(warning))
    }
}

/// A worker does not know whether a key that it has not seen is another one's: it gives a zero, which may
/// come behind the other's result.
fn zeros(step: &str, topic: &str, place: Place) -> Diagnostic {
    Diagnostic::warning(place, format!("topic `{topic}` may have several partitions, and `{step}` names keys in `zero_fill`"))
        .label("each of several workers would give zeros for keys that another one counts")
        .help(
            "say `repartition: true` or `zero_fill: seen`, give the topic one partition (`partitions: 1`), or, where one worker \
             is enough, say `repartition: false`",
        )
}

enum Verdict {
    /// What is counted together is in one partition.
    Together,
    /// It is not.
    Apart(Diagnostic),
    /// It cannot be told, which may be told already.
    Unknown(Option<Diagnostic>),
}

/// The sinks of a chain that write what the window's chain reads.
fn sinks<'a>(writer: &'a Draft, window: &'a Window<'_>) -> impl Iterator<Item = &'a LogSink> {
    writer.nodes.iter().filter_map(|entry| match &entry.node.body {
        NodeBody::Topic(connection, sink)
            if *connection == window.topic.connection
                && sink.topic == window.topic.spec.name
                && sink.format == window.source.format =>
        {
            Some(sink)
        }
        _ => None,
    })
}

impl Window<'_> {
    fn step(&self) -> String {
        format!("{}.{}", self.node.chain, self.node.id)
    }

    fn keys(&self) -> String {
        self.key.join("`, `")
    }

    fn keyed_otherwise(&self, writer: &Draft, sink: &LogSink) -> Diagnostic {
        let by = sink.encoder.keyed_by().map_or("without a key".to_owned(), |by| format!("keyed by `{by}`"));
        let (name, keys, step) = (&self.topic.spec.name, self.keys(), self.step());
        Diagnostic::error(
            self.place.clone(),
            format!("topic `{name}` is not keyed by `{keys}`, which `{step}` counts by"),
        )
        .label(format!("the chain `{}` writes it {by}", writer.name))
        .help(format!(
            "several workers would each count a part: write it with `key: {}`, {REMEDY}",
            self.key.first().map_or("", String::as_str)
        ))
    }

    fn contradicted(&self, said: &[String]) -> Diagnostic {
        let by = match said {
            [] => "has no key".to_owned(),
            said => format!("is keyed by `{}`", said.join("`, `")),
        };
        let (name, keys, step) = (&self.topic.spec.name, self.keys(), self.step());
        let place = self.reader.keyed_by.clone().unwrap_or_else(|| self.place.clone());
        let problem =
            Diagnostic::error(place, format!("topic `{name}` {by}, and `{step}` counts by `{keys}`"))
                .label("several workers would each count a part");
        let fields = self.reader.source.bound.schema.fields();
        let names = || fields.iter().map(|field| field.name().as_str());
        let misspelt = said.iter().find(|field| !names().any(|name| name == field.as_str()));
        match misspelt {
            Some(field) => problem.suggest(field, names()),
            None => problem,
        }
        .help(REMEDY)
    }

    fn nobody_says(&self) -> Diagnostic {
        let key = match self.key {
            [only] => only.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        Diagnostic::warning(
            self.place.clone(),
            format!("nobody says how topic `{}` is keyed", self.topic.spec.name),
        )
        .label(format!(
            "`{}` counts by `{}`: where it is keyed otherwise, each of several workers would count a part",
            self.step(),
            self.keys()
        ))
        .help(format!("where it is, say `keyed_by: {key}` beside the topic; otherwise {REMEDY}"))
    }

    fn made_on_the_way(&self) -> Diagnostic {
        let (name, keys, step) = (&self.topic.spec.name, self.keys(), self.step());
        Diagnostic::warning(
            self.place.clone(),
            format!("it cannot be told whether topic `{name}` is keyed by what `{step}` counts by"),
        )
        .label(format!("`{keys}` is made on the way: each of several workers may count a part"))
        .help(REMEDY)
    }
}
