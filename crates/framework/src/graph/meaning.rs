//! What the rows of a step mean to somebody who adds them up: which columns tell the rows of one window
//! apart, and which values may be added. It is known from the window that made them, through transforms and
//! through topics of the same file, and a sink that shows figures is told
//! ([`Sink::told`](crate::plugin::Sink::told)).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::plan::NodeBody;
use super::steps::{Draft, DraftNode};
use crate::config::Diagnostic;
use crate::log::Log;
use crate::plugin::{Reads, ResultMeaning, SourceBody};

/// The drafts of a file: those that run, and behind them those that are planned elsewhere.
pub(super) struct Meanings<'a> {
    pub(super) drafts: &'a [&'a Draft],
    pub(super) connections: &'a [(String, Arc<dyn Log>)],
}

impl Meanings<'_> {
    /// What comes in to each sink of the plugins' own, by draft and node.
    pub(super) fn of_sinks(&self, own: usize) -> Vec<(usize, usize, Option<ResultMeaning>)> {
        let mut all = Vec::new();
        for (draft, of) in self.drafts.iter().enumerate().take(own) {
            for (node, entry) in of.nodes.iter().enumerate() {
                if matches!(entry.node.body, NodeBody::Sink(_)) {
                    all.push((draft, node, self.of_input(draft, node, &mut BTreeSet::new())));
                }
            }
        }
        all
    }

    /// What comes in to a node; `None` where it is not known, or its parents do not give the same.
    fn of_input(
        &self,
        draft: usize,
        node: usize,
        seen: &mut BTreeSet<(usize, usize)>,
    ) -> Option<ResultMeaning> {
        // A file whose topics go round in a circle is refused; here it ends.
        if !seen.insert((draft, node)) {
            return None;
        }
        let of = self.drafts.get(draft)?;
        let mut found: Option<ResultMeaning> = None;
        let from_source = of.source.outputs.main.contains(&node);
        let parents =
            of.nodes.iter().enumerate().filter(|(_, entry)| entry.node.outputs.main.contains(&node));
        let parents = parents.map(|(index, _)| Some(index)).chain(from_source.then_some(None));
        for parent in parents {
            let meaning = match parent {
                None => self.of_source(draft, seen),
                Some(parent) => self.of_output(draft, parent, seen),
            }?;
            if found.as_ref().is_some_and(|other| *other != meaning) {
                return None;
            }
            found = Some(meaning);
        }
        found
    }

    fn of_output(
        &self,
        draft: usize,
        node: usize,
        seen: &mut BTreeSet<(usize, usize)>,
    ) -> Option<ResultMeaning> {
        let entry = self.drafts.get(draft)?.nodes.get(node)?;
        match &entry.node.body {
            NodeBody::Window(window) => Some(window.meaning()),
            NodeBody::Transform(_, output) => {
                let mut meaning = self.of_input(draft, node, seen)?;
                // A step that looks at a key may leave out all rows but those of one value: it tells nothing
                // apart any more.
                if let Reads::AndPasses(judged) = &entry.reads {
                    // Of a key it leaves out all rows or none; otherwise it may leave out a single place.
                    if let Some(ranked) = &mut meaning.ranked
                        && judged.iter().any(|column| !meaning.keys.contains(column))
                    {
                        ranked.place = None;
                    }
                    meaning.keys.retain(|key| !judged.contains(key));
                }
                let input = &entry.node.input;
                let names = entry.made_of.iter().zip(output.fields()).filter_map(|(from, to)| {
                    Some((input.fields().get((*from)?)?.name().clone(), to.name().clone()))
                });
                Some(meaning.renamed(&names.collect::<Vec<_>>()))
            }
            NodeBody::Sink(_) | NodeBody::Topic(..) | NodeBody::Repartition(..) => None,
        }
    }

    /// What a topic gives that chains of the file write, all of them the same.
    fn of_source(&self, draft: usize, seen: &mut BTreeSet<(usize, usize)>) -> Option<ResultMeaning> {
        let source = &self.drafts.get(draft)?.source;
        let SourceBody::Log(reader) = &source.bound.body else { return None };
        let read = reader.decoder.record_names();
        let mut found: Option<ResultMeaning> = None;
        for (of, writer) in self.drafts.iter().enumerate() {
            for (node, entry) in writer.nodes.iter().enumerate() {
                let Some(written) = self.written(entry, &reader.connection, &reader.topic) else { continue };
                let meaning = self.of_input(of, node, seen)?;
                let name = |(column, name): &(String, String)| {
                    let as_read = read.iter().find(|(_, read)| read == name)?;
                    Some((column.clone(), as_read.0.clone()))
                };
                let meaning = meaning.renamed(&written.iter().filter_map(name).collect::<Vec<_>>());
                if found.as_ref().is_some_and(|other| *other != meaning) {
                    return None;
                }
                found = Some(meaning);
            }
        }
        found
    }

    /// The names that a sink gives its columns in a record, where it writes this topic.
    fn written(&self, entry: &DraftNode, connection: &str, topic: &str) -> Option<Vec<(String, String)>> {
        let NodeBody::Topic(index, sink) = &entry.node.body else { return None };
        let same = self.connections.get(*index).is_some_and(|(name, _)| name == connection);
        (same && sink.topic == topic).then(|| sink.encoder.record_names())
    }
}

/// Tells every sink what comes in to it.
pub(super) fn tell(
    drafts: &mut [Draft],
    others: &[Draft],
    connections: &[(String, Arc<dyn Log>)],
    problems: &mut Vec<Diagnostic>,
) {
    let own = drafts.len();
    let told = {
        let all: Vec<&Draft> = drafts.iter().chain(others).collect();
        Meanings { drafts: &all, connections }.of_sinks(own)
    };
    for (draft, node, meaning) in told {
        let Some(entry) = drafts.get_mut(draft).and_then(|draft| draft.nodes.get_mut(node)) else { continue };
        let NodeBody::Sink(sink) = &mut entry.node.body else { continue };
        if let (Err(problem), Some(with)) = (sink.told(meaning.as_ref()), &entry.with) {
            problems.push(with.diagnose(&problem));
        }
    }
}
