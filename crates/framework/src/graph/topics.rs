//! Joins chains by the topics that they share.

use std::sync::Arc;

use super::keyed::Keys;
use super::only::Others;
use super::plan::{NodeBody, Sharing, TopicUse};
use super::steps::Draft;
use crate::config::{Diagnostic, Retention, nearest};
use crate::log::{Keeps, Log, TopicSpec};
use crate::plugin::SourceBody;

/// The topics of the chains that run, and how each of these can be shared. `others` are the chains of the
/// file that do not: they write topics too.
pub(super) fn join(
    drafts: &[Draft],
    others: &Others,
    connections: &[(String, Arc<dyn Log>)],
    problems: &mut Vec<Diagnostic>,
    warnings: &mut Vec<Diagnostic>,
) -> (Vec<TopicUse>, Vec<Sharing>) {
    let own: Vec<&Draft> = drafts.iter().collect();
    let topics = uses(&own, connections);
    circles(&topics, drafts, problems);
    // For the checks the whole file counts, but only what the chains that run read is checked.
    let all: Vec<&Draft> = own.iter().copied().chain(&others.drafts).collect();
    let mut file = uses(&all, connections);
    file.iter_mut().for_each(|topic| topic.readers.retain(|reader| *reader < own.len()));
    formats(&file, &all, warnings);
    let sharing = Keys { topics: &file, drafts: &all, others, connections }.check(problems, warnings);
    unwritten(&file, &all, own.len(), others, connections, problems, warnings);
    (topics, sharing)
}

/// The topics that are read and that no chain writes, where a file has other problems.
pub(super) fn unwritten_topics(
    drafts: &[Draft],
    connections: &[(String, Arc<dyn Log>)],
    problems: &mut Vec<Diagnostic>,
) {
    let drafts: Vec<&Draft> = drafts.iter().collect();
    let topics = uses(&drafts, connections);
    unwritten(&topics, &drafts, drafts.len(), &Others::default(), connections, problems, &mut Vec::new());
}

/// The topics that chains use, which are numbered in this order.
fn uses(drafts: &[&Draft], connections: &[(String, Arc<dyn Log>)]) -> Vec<TopicUse> {
    let mut topics: Vec<TopicUse> = Vec::new();
    for (chain, draft) in drafts.iter().enumerate() {
        for entry in &draft.nodes {
            if let NodeBody::Repartition(connection, repartition, _) = &entry.node.body {
                let topic = topic(&mut topics, *connection, repartition.topic());
                topic.spec.create = true;
                topic.spec.partitions = topic.spec.partitions.max(entry.partitions);
                topic.spec.keeps = Keeps::UntilLetGo;
                topic.writers.push(chain);
                if let SourceBody::Log(source) = &draft.source.bound.body {
                    topic.like = Some(source.topic.clone());
                }
            }
            if let NodeBody::Topic(connection, sink) = &entry.node.body {
                let topic = topic(&mut topics, *connection, &sink.topic);
                topic.spec.create |= sink.create;
                topic.spec.partitions = topic.spec.partitions.max(sink.partitions);
                topic.spec.keeps = longer(topic.spec.keeps, sink.retention);
                if !topic.writers.contains(&chain) {
                    topic.writers.push(chain);
                }
            }
        }
    }
    for (chain, draft) in drafts.iter().enumerate() {
        let SourceBody::Log(source) = &draft.source.bound.body else { continue };
        let Some(connection) = connections.iter().position(|(name, _)| *name == source.connection) else {
            continue;
        };
        topic(&mut topics, connection, &source.topic).readers.push(chain);
    }
    topics
}

/// The longer of what was wished before and what a sink wishes.
fn longer(before: Keeps, wished: Option<Retention>) -> Keeps {
    match (before, wished) {
        (Keeps::AsTheLog, Some(wished)) => Keeps::For(wished),
        (Keeps::For(Retention::For(one)), Some(Retention::For(other))) => {
            Keeps::For(Retention::For(one.max(other)))
        }
        (Keeps::For(_), Some(Retention::Forever)) => Keeps::For(Retention::Forever),
        (before, _) => before,
    }
}

fn topic<'t>(topics: &'t mut Vec<TopicUse>, connection: usize, name: &str) -> &'t mut TopicUse {
    let found = topics.iter().position(|t| t.connection == connection && t.spec.name == name);
    let index = found.unwrap_or_else(|| {
        topics.push(TopicUse {
            connection,
            spec: TopicSpec {
                name: name.to_owned(),
                partitions: None,
                create: false,
                keeps: Keeps::AsTheLog,
            },
            like: None,
            writers: Vec::new(),
            readers: Vec::new(),
        });
        topics.len() - 1
    });
    &mut topics[index]
}

/// A topic that one chain writes in a format, and another reads in a different one: seldom meant, and found
/// at the first record at the earliest.
fn formats(topics: &[TopicUse], drafts: &[&Draft], warnings: &mut Vec<Diagnostic>) {
    for topic in topics {
        let name = &topic.spec.name;
        for (reader, writer) in
            topic.readers.iter().flat_map(|r| topic.writers.iter().map(move |w| (drafts[*r], drafts[*w])))
        {
            let SourceBody::Log(source) = &reader.source.bound.body else { continue };
            let mut written = writer.nodes.iter().filter_map(|entry| match &entry.node.body {
                NodeBody::Topic(connection, sink)
                    if *connection == topic.connection && sink.topic == *name =>
                {
                    Some(&sink.format)
                }
                _ => None,
            });
            let other = written.find(|format| **format != source.format);
            if let (Some(format), Some(place)) = (other, reader.source_topic.clone()) {
                warnings.push(
                    Diagnostic::warning(
                        place,
                        format!("topic `{name}` is written as `{format}` and read as `{}`", source.format),
                    )
                    .label(format!("the chain `{}` writes it", writer.name))
                    .help(format!(
                        "read it with `format: {format}`, or write it with `encode: {}`",
                        source.format
                    )),
                );
            }
        }
    }
}

/// A topic that is read and that no chain writes: on a log of this process nothing ever comes; elsewhere
/// somebody else may write it. The first `own` of `drafts` run.
fn unwritten(
    topics: &[TopicUse],
    drafts: &[&Draft],
    own: usize,
    others: &Others,
    connections: &[(String, Arc<dyn Log>)],
    problems: &mut Vec<Diagnostic>,
    warnings: &mut Vec<Diagnostic>,
) {
    for topic in topics.iter().filter(|t| t.writers.iter().all(|writer| *writer >= own)) {
        let name = &topic.spec.name;
        let planned = topic.writers.first().map(|writer| drafts[*writer].name.as_str());
        let named = || others.named.iter().find(|(topic, _)| topic == name).map(|(_, chain)| chain.as_str());
        if let Some(writer) = planned.or_else(named) {
            elsewhere(topic, writer, drafts, connections, warnings);
            continue;
        }
        let written: Vec<&str> = topics
            .iter()
            .filter(|t| t.connection == topic.connection && !t.writers.is_empty())
            .map(|t| t.spec.name.as_str())
            .collect();
        let durable = connections.get(topic.connection).is_some_and(|(_, log)| log.describe().durable);
        // Who says how another program keys it knows that one does.
        let told = |draft: &Draft| durable && draft.keyed_by.is_some();
        let readers = topic.readers.iter().map(|reader| drafts[*reader]).filter(|draft| !told(draft));
        for place in readers.filter_map(|draft| draft.source_topic.clone()) {
            let message = format!("no chain writes topic `{name}`");
            let label = if written.is_empty() {
                "the chains of this run write no topic".to_owned()
            } else {
                format!("the chains write: {}", written.join(", "))
            };
            let diagnostic =
                if durable { Diagnostic::warning(place, message) } else { Diagnostic::error(place, message) };
            let mut diagnostic = diagnostic.label(label);
            match nearest(name, written.iter().copied()) {
                Some(near) => diagnostic = diagnostic.help(format!("did you mean `{near}`?")),
                None if durable => {
                    diagnostic = diagnostic.help("this is well where another program writes it");
                }
                None => {
                    diagnostic = diagnostic.help(
                        "the embedded log lives in this process, and nothing else can write to it: add a chain that does, or name `brokers:`",
                    );
                }
            }
            if durable { warnings.push(diagnostic) } else { problems.push(diagnostic) }
        }
    }
}

/// A topic that a chain of the file writes which does not run. A log in memory gets nothing of it.
fn elsewhere(
    topic: &TopicUse,
    writer: &str,
    drafts: &[&Draft],
    connections: &[(String, Arc<dyn Log>)],
    warnings: &mut Vec<Diagnostic>,
) {
    if connections.get(topic.connection).is_none_or(|(_, log)| log.describe().durable) {
        return;
    }
    for place in topic.readers.iter().filter_map(|r| drafts[*r].source_topic.clone()) {
        let message = format!("nothing comes to topic `{}` in this run", topic.spec.name);
        let warning = Diagnostic::warning(place, message)
            .label(format!("the chain `{writer}` writes it, and `--only` leaves that out"))
            .help(format!(
                "the embedded log lives in this process: add `--only {writer}`, or name `brokers:`"
            ));
        warnings.push(warning);
    }
}

/// Chains that feed each other for ever.
fn circles(topics: &[TopicUse], drafts: &[Draft], problems: &mut Vec<Diagnostic>) {
    let upstream = |chain: usize| {
        topics.iter().filter(move |t| t.readers.contains(&chain)).flat_map(|t| t.writers.iter().copied())
    };
    for chain in 0..drafts.len() {
        let mut seen = vec![false; drafts.len()];
        let mut stack: Vec<usize> = upstream(chain).collect();
        while let Some(next) = stack.pop() {
            if !std::mem::replace(&mut seen[next], true) {
                stack.extend(upstream(next));
            }
        }
        if seen[chain]
            && let Some(place) = drafts[chain].source_topic.clone()
        {
            problems.push(
                Diagnostic::error(
                    place,
                    format!(
                        "the chain `{}` reads what comes of its own rows, in a circle",
                        drafts[chain].name
                    ),
                )
                .help("write to another topic"),
            );
        }
    }
}
