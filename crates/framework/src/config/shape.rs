//! The shape of a file: which keys stand where, down to the list of steps.

use std::collections::BTreeMap;

use super::diagnostic::Diagnostic;
use super::document::{ChainDecl, ConnectionDecl, Document, Head, Kind, StepDecl, Written};
use super::place::Place;
use super::yaml::{Entry, Node, Value};

/// Reads a file's nodes, and reports what does not belong.
pub(super) struct Shape<'a> {
    pub(super) problems: &'a mut Vec<Diagnostic>,
}

impl Shape<'_> {
    pub(super) fn document(&mut self, root: &Node) -> Option<Document> {
        if let Some(meant) = root.key_meant() {
            self.problems.push(meant);
            return None;
        }
        if !matches!(root.value, Value::Map(_)) {
            let place = Place { end: root.place.start + 1, ..root.place.clone() };
            self.problems.push(
                Diagnostic::error(place, format!("expected a mapping, found {}", root.kind()))
                    .help("a pipeline file has the keys `name:`, `connections:` and `pipelines:`"),
            );
            return None;
        }
        self.keys(root, &["name", "connections", "pipelines"], None);
        let name = match root.get("name") {
            // A name that cannot be is reported; the rest of the file is looked at all the same.
            Some(node) => {
                self.name(node).unwrap_or_else(|| Written { text: String::new(), place: node.place.clone() })
            }
            None => {
                self.missing(
                    root,
                    "name",
                    "add `name: my-pipeline`; consumer groups and transactional ids begin with it",
                );
                Written { text: String::new(), place: root.place.clone() }
            }
        };
        let connections = root.get("connections").map_or_else(Vec::new, |n| self.connections(n));
        let chains = match root.get("pipelines") {
            Some(node) => self.chains(node),
            None => {
                self.missing(
                    root,
                    "pipelines",
                    "add `pipelines:` with a chain of steps: a source and a sink at least",
                );
                Vec::new()
            }
        };
        Some(Document { name, connections, chains, problems: Vec::new(), holes: Vec::new() })
    }

    pub(super) fn missing(&mut self, node: &Node, key: &str, help: &str) {
        let place = Place { end: node.place.start + 1, ..node.place.clone() };
        self.problems.push(Diagnostic::error(place, format!("the key `{key}` is missing")).help(help));
    }

    /// Reports the keys of a mapping that are not among `known`, with what else may have been meant.
    pub(super) fn keys(&mut self, node: &Node, known: &[&str], otherwise: Option<&str>) {
        for entry in node.entries().iter().filter(|e| !known.contains(&e.key.as_str())) {
            let diagnostic = Diagnostic::error(entry.place.clone(), format!("unknown key `{}`", entry.key))
                .label(format!("the keys are: {}", known.join(", ")))
                .suggest(&entry.key, known.iter().copied());
            self.problems.push(match otherwise {
                Some(help) => diagnostic.help(help),
                None => diagnostic,
            });
        }
    }

    /// A name that becomes part of consumer groups and transactional ids.
    pub(super) fn name(&mut self, node: &Node) -> Option<Written> {
        let Some(text) = node.text() else {
            self.problems.push(
                Diagnostic::error(node.place.clone(), format!("expected a name, found {}", node.kind()))
                    .help(if matches!(node.value, Value::Null) {
                        "write a name behind it"
                    } else {
                        "put it in quotes to have it as a text"
                    }),
            );
            return None;
        };
        self.check_name(text, &node.place);
        Some(Written { text: text.to_owned(), place: node.place.clone() })
    }

    pub(super) fn check_name(&mut self, text: &str, place: &Place) {
        let valid = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
        if text.is_empty() || text.chars().count() > 100 || !text.chars().all(valid) {
            self.problems.push(
                Diagnostic::error(place.clone(), format!("`{text}` cannot be a name"))
                    .help("a name has letters, digits, `-` and `_`, at most 100 of them"),
            );
        }
    }

    pub(super) fn entries<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Entry] {
        match &node.value {
            Value::Map(entries) => entries,
            Value::Null => &[],
            _ => {
                let otherwise = || {
                    let found = format!("expected a mapping of names to {what}, found {}", node.kind());
                    Diagnostic::error(node.place.clone(), found)
                };
                self.problems.push(node.key_meant().unwrap_or_else(otherwise));
                &[]
            }
        }
    }

    pub(super) fn connections(&mut self, node: &Node) -> Vec<ConnectionDecl> {
        let mut connections = Vec::new();
        for entry in self.entries(node, "connections") {
            self.check_name(&entry.key, &entry.place);
            let name = Written { text: entry.key.clone(), place: entry.place.clone() };
            let (plugin, with) = entry.node.partition(&["plugin"]);
            let plugin = match plugin.get("plugin") {
                Some(node) => self.name(node),
                None => Some(name.clone()),
            };
            if let Some(plugin) = plugin {
                connections.push(ConnectionDecl { name, plugin, with });
            }
        }
        connections
    }

    pub(super) fn chains(&mut self, node: &Node) -> Vec<ChainDecl> {
        let entries = self.entries(node, "chains");
        if entries.is_empty() && matches!(node.value, Value::Map(_) | Value::Null) {
            self.problems.push(Diagnostic::error(node.place.clone(), "there is no chain under `pipelines:`"));
        }
        let before = self.problems.len();
        let chains: Vec<ChainDecl> = entries.iter().map(|entry| self.chain(entry)).collect();
        if self.problems.len() == before {
            self.earlier_names(&chains);
        }
        chains
    }

    pub(super) fn chain(&mut self, entry: &Entry) -> ChainDecl {
        self.check_name(&entry.key, &entry.place);
        let name = Written { text: entry.key.clone(), place: entry.place.clone() };
        let Value::List(items) = &entry.node.value else {
            let otherwise = || {
                let found = format!("expected a list of steps, found {}", entry.node.kind());
                Diagnostic::error(entry.node.place.clone(), found)
                    .help("each step begins with `- `: `- source: csv`, then `- sink: stdout`")
            };
            self.problems.push(entry.node.key_meant().unwrap_or_else(otherwise));
            return ChainDecl { name, steps: vec![StepDecl::unknown(&entry.node, None)] };
        };
        let mut ids = BTreeMap::new();
        let mut steps: Vec<StepDecl> = items.iter().map(|item| self.step(item, &mut ids)).collect();
        self.order(entry, &steps);
        if steps.is_empty() {
            steps.push(StepDecl::unknown(&entry.node, None));
        }
        ChainDecl { name, steps }
    }

    /// A chain begins with a source or `from:`, has one of them, and ends in sinks.
    pub(super) fn order(&mut self, entry: &Entry, steps: &[StepDecl]) {
        let Some(last) = steps.last() else {
            self.problems.push(
                Diagnostic::error(entry.place.clone(), format!("the chain `{}` has no steps", entry.key))
                    .help("a chain has a source and a sink at least"),
            );
            return;
        };
        let mut sink = None;
        for (index, step) in steps.iter().enumerate() {
            let place = step.head_place();
            match (&step.head, index) {
                // What cannot be told may be right where it stands.
                (Head::Unknown(None), _) => sink = None,
                (Head::Plugin(Kind::Source, _) | Head::Unknown(Some(Kind::Source)) | Head::From(_), 0) => {}
                (Head::Plugin(Kind::Source, _) | Head::Unknown(Some(Kind::Source)) | Head::From(_), _) => self.problems.push(
                    Diagnostic::error(place, "a source in the middle of a chain")
                        .help("begin a new chain with it; chains meet in topics, or by `from:`"),
                ),
                (_, 0) => self.problems.push(
                    Diagnostic::error(place, format!("the chain `{}` does not begin with a source", entry.key))
                        .help("begin it with `- source: ...`, or with `- from: CHAIN.STEP` to go on from another chain's step"),
                ),
                (Head::Plugin(Kind::Sink, _) | Head::Unknown(Some(Kind::Sink)), _) => sink = Some(step),
                (Head::Plugin(..) | Head::Unknown(Some(_)), _) => {
                    if let Some(sink) = sink.take() {
                        self.problems.push(
                            Diagnostic::error(place, "a step behind a sink")
                                .also(sink.head_place(), "the chain ends here")
                                .help(format!("move it before the sink, or begin a new chain with `- from: {}.STEP`", entry.key)),
                        );
                    }
                }
            }
        }
        let may_end = [None, Some(Kind::Sink)];
        let ends = match last.head {
            Head::Plugin(kind, _) => kind == Kind::Sink,
            Head::Unknown(kind) => may_end.contains(&kind),
            Head::From(_) => false,
        };
        if !ends {
            self.problems.push(
                Diagnostic::error(
                    last.head_place(),
                    format!("the chain `{}` does not end in a sink", entry.key),
                )
                .label("its rows go nowhere")
                .help("add a sink, such as `- sink: stdout`"),
            );
        }
    }
}
