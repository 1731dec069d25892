//! The file as it was written: names, chains and steps, each with its place; nothing resolved.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::diagnostic::Diagnostic;
use super::interpolate::interpolate;
use super::place::{Place, SourceFile};
use super::set;
use super::yaml::{self, Entry, Node, Value};

/// The kinds of plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Gives rows.
    Source,
    /// Changes rows.
    Transform,
    /// Counts, sums, ... per key and window.
    Window,
    /// Takes rows.
    Sink,
    /// Bytes of a record to columns, and back.
    Format,
    /// A log that sources and sinks share.
    Connection,
}

impl Kind {
    /// Every kind, in the order in which they are listed.
    pub const ALL: [Self; 6] =
        [Self::Source, Self::Transform, Self::Window, Self::Sink, Self::Format, Self::Connection];

    /// The kinds that a step of a chain can be of.
    pub const STEPS: [Self; 4] = [Self::Source, Self::Transform, Self::Window, Self::Sink];

    /// The word in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Transform => "transform",
            Self::Window => "window",
            Self::Sink => "sink",
            Self::Format => "format",
            Self::Connection => "connection",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The text.
    pub text: String,
    /// Where it stands.
    pub place: Place,
}

/// A whole file.
#[derive(Debug, Clone)]
pub struct Document {
    /// The pipeline's name.
    pub name: Written,
    /// What stands under `connections:`.
    pub connections: Vec<ConnectionDecl>,
    /// What stands under `pipelines:`, in the order of the file.
    pub chains: Vec<ChainDecl>,
}

/// A connection.
#[derive(Debug, Clone)]
pub struct ConnectionDecl {
    /// Its name; the plugin's too, unless `plugin:` says another.
    pub name: Written,
    /// The plugin's name.
    pub plugin: Written,
    /// Its settings.
    pub with: Node,
}

/// A chain: a source, or a step of another chain, and the steps behind it.
#[derive(Debug, Clone)]
pub struct ChainDecl {
    /// Its name.
    pub name: Written,
    /// Its steps, at least one.
    pub steps: Vec<StepDecl>,
}

/// What a step is.
#[derive(Debug, Clone)]
pub enum Head {
    /// A plugin of this kind.
    Plugin(Kind, Written),
    /// The outputs of other steps.
    From(Vec<StepRef>),
}

/// Which output of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Output {
    /// The rows that go on.
    Main,
    /// Rows that came after their window had closed.
    Late,
    /// Records that could not be used.
    Dead,
}

/// An output of a step of a chain: `CHAIN.STEP`, `CHAIN.STEP.late` or `CHAIN.STEP.dead`.
#[derive(Debug, Clone)]
pub struct StepRef {
    /// The chain.
    pub chain: String,
    /// The step's id.
    pub step: String,
    /// The output.
    pub output: Output,
    /// Where it stands.
    pub place: Place,
}

/// What becomes of records that a step cannot use, as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnErrorDecl {
    /// `fail`
    Fail,
    /// `skip`
    Skip,
    /// `dead_letter`
    DeadLetter,
}

/// A step.
#[derive(Debug, Clone)]
pub struct StepDecl {
    /// What it is.
    pub head: Head,
    /// Its id, unique in the chain: as written, or the plugin's name (`-2` behind the second of the same name).
    pub id: String,
    /// What becomes of records that it cannot use.
    pub on_error: Option<(OnErrorDecl, Place)>,
    /// Where the time of a source's rows stands, where that is in their fields.
    pub time: Option<Node>,
    /// Its plugin's settings; an empty mapping at the plugin's name where there are none.
    pub with: Node,
    /// The whole step.
    pub place: Place,
}

impl Document {
    /// Parses a file: YAML, `--set` arguments, the environment's variables, then the shape.
    ///
    /// # Errors
    /// Everything that is wrong, in no particular order.
    pub fn parse(
        file: &Arc<SourceFile>,
        set: &[String],
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut root = yaml::parse(file).map_err(|d| vec![d])?;
        let mut problems = Vec::new();
        for argument in set {
            if let Err(problem) = set::apply(&mut root, argument) {
                problems.push(problem);
            }
        }
        interpolate(&mut root, environment, &mut problems);
        let document = Shape { problems: &mut problems }.document(&root);
        match document {
            Some(document) if problems.is_empty() => Ok(document),
            _ => Err(problems),
        }
    }
}

struct Shape<'a> {
    problems: &'a mut Vec<Diagnostic>,
}

impl Shape<'_> {
    fn document(&mut self, root: &Node) -> Option<Document> {
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
        Some(Document { name, connections, chains })
    }

    fn missing(&mut self, node: &Node, key: &str, help: &str) {
        let place = Place { end: node.place.start + 1, ..node.place.clone() };
        self.problems.push(Diagnostic::error(place, format!("the key `{key}` is missing")).help(help));
    }

    /// Reports the keys of a mapping that are not among `known`, with what else may have been meant.
    fn keys(&mut self, node: &Node, known: &[&str], otherwise: Option<&str>) {
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
    fn name(&mut self, node: &Node) -> Option<Written> {
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

    fn check_name(&mut self, text: &str, place: &Place) {
        let valid = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
        if text.is_empty() || text.chars().count() > 100 || !text.chars().all(valid) {
            self.problems.push(
                Diagnostic::error(place.clone(), format!("`{text}` cannot be a name"))
                    .help("a name has letters, digits, `-` and `_`, at most 100 of them"),
            );
        }
    }

    fn entries<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Entry] {
        match &node.value {
            Value::Map(entries) => entries,
            Value::Null => &[],
            _ => {
                self.problems.push(Diagnostic::error(
                    node.place.clone(),
                    format!("expected a mapping of names to {what}, found {}", node.kind()),
                ));
                &[]
            }
        }
    }

    fn connections(&mut self, node: &Node) -> Vec<ConnectionDecl> {
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

    fn chains(&mut self, node: &Node) -> Vec<ChainDecl> {
        let entries = self.entries(node, "chains");
        if entries.is_empty() && matches!(node.value, Value::Map(_) | Value::Null) {
            self.problems.push(Diagnostic::error(node.place.clone(), "there is no chain under `pipelines:`"));
        }
        entries.iter().filter_map(|entry| self.chain(entry)).collect()
    }

    fn chain(&mut self, entry: &Entry) -> Option<ChainDecl> {
        self.check_name(&entry.key, &entry.place);
        let Value::List(items) = &entry.node.value else {
            self.problems.push(
                Diagnostic::error(
                    entry.node.place.clone(),
                    format!("expected a list of steps, found {}", entry.node.kind()),
                )
                .help("each step begins with `- `: `- source: csv`, then `- sink: stdout`"),
            );
            return None;
        };
        let before = self.problems.len();
        let mut ids = BTreeMap::new();
        let steps: Vec<StepDecl> = items.iter().filter_map(|item| self.step(item, &mut ids)).collect();
        if self.problems.len() == before {
            self.order(entry, &steps);
        }
        let name = Written { text: entry.key.clone(), place: entry.place.clone() };
        (!steps.is_empty()).then_some(ChainDecl { name, steps })
    }

    /// A chain begins with a source or `from:`, has one of them, and ends in sinks.
    fn order(&mut self, entry: &Entry, steps: &[StepDecl]) {
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
                (Head::Plugin(Kind::Source, _) | Head::From(_), 0) => {}
                (Head::Plugin(Kind::Source, _) | Head::From(_), _) => self.problems.push(
                    Diagnostic::error(place, "a source in the middle of a chain")
                        .help("begin a new chain with it; chains meet in topics, or by `from:`"),
                ),
                (_, 0) => self.problems.push(
                    Diagnostic::error(place, format!("the chain `{}` does not begin with a source", entry.key))
                        .help("begin it with `- source: ...`, or with `- from: CHAIN.STEP` to go on from another chain's step"),
                ),
                (Head::Plugin(Kind::Sink, _), _) => sink = Some(step),
                (Head::Plugin(..), _) => {
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
        if !matches!(last.head, Head::Plugin(Kind::Sink, _)) {
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

    fn step(&mut self, item: &Node, ids: &mut BTreeMap<String, usize>) -> Option<StepDecl> {
        const KEYS: [&str; 9] =
            ["source", "transform", "window", "sink", "from", "id", "on_error", "time", "with"];
        let at = |place: &Place| Place { end: place.end.min(place.start + 1), ..place.clone() };
        if !matches!(item.value, Value::Map(_)) {
            self.problems.push(
                Diagnostic::error(item.place.clone(), format!("expected a step, found {}", item.kind()))
                    .help("a step is a mapping such as `source: csv` with its `with:`"),
            );
            return None;
        }
        self.keys(item, &KEYS, Some("the settings of a plugin stand under `with:`"));
        let heads: Vec<&Entry> =
            item.entries().iter().filter(|e| KEYS[..5].contains(&e.key.as_str())).collect();
        let head = match heads[..] {
            [head] => head,
            [first, second, ..] => {
                self.problems.push(
                    Diagnostic::error(
                        second.place.clone(),
                        format!("a step cannot be `{}` and `{}`", first.key, second.key),
                    )
                    .also(first.place.clone(), "the first")
                    .help("begin a new step with `- `"),
                );
                return None;
            }
            [] => {
                // A misspelt kind has been reported as an unknown key.
                if item.entries().iter().all(|e| KEYS.contains(&e.key.as_str())) {
                    self.problems.push(
                        Diagnostic::error(at(&item.place), "the step does not say what it is")
                            .help("it has one of `source:`, `transform:`, `window:`, `sink:` or `from:`"),
                    );
                }
                return None;
            }
        };
        let kind = Kind::STEPS.into_iter().find(|k| k.name() == head.key);
        let parsed = match kind {
            Some(kind) => Head::Plugin(kind, self.plugin(&head.node, kind)?),
            None => Head::From(self.references(&head.node)?),
        };
        let id = self.id(item, &parsed, ids)?;
        let on_error = item.get("on_error").and_then(|n| self.on_error(n));
        let with = match item.get("with") {
            Some(node) if node.value != Value::Null => node.clone(),
            _ => Node::empty_map(head.node.place.clone()),
        };
        if !matches!(with.value, Value::Map(_)) {
            self.problems.push(Diagnostic::error(
                with.place.clone(),
                format!("expected a mapping under `with:`, found {}", with.kind()),
            ));
            return None;
        }
        let time = item.entries().iter().find(|e| e.key == "time");
        if let Some(entry) = time.filter(|_| kind != Some(Kind::Source)) {
            self.problems.push(
                Diagnostic::error(
                    entry.place.clone(),
                    "only a source says where the time of its rows stands",
                )
                .help("a window's own `time`, such as `time: processing`, stands in its `with:`"),
            );
        }
        let time = time.map(|entry| entry.node.clone());
        Some(StepDecl { head: parsed, id, on_error, time, with, place: item.place.clone() })
    }

    fn plugin(&mut self, node: &Node, kind: Kind) -> Option<Written> {
        let text = node.text();
        if text.is_none() {
            self.problems.push(
                Diagnostic::error(
                    node.place.clone(),
                    format!("expected the name of a {kind}, found {}", node.kind()),
                )
                .help("`pipectl plugins` lists them; settings stand under `with:`"),
            );
        }
        text.map(|text| Written { text: text.to_owned(), place: node.place.clone() })
    }

    fn id(&mut self, item: &Node, head: &Head, ids: &mut BTreeMap<String, usize>) -> Option<String> {
        if let Some(node) = item.get("id") {
            let written = self.name(node)?;
            if ids.insert(written.text.clone(), 2).is_some() {
                self.problems.push(
                    Diagnostic::error(
                        written.place,
                        format!("another step of this chain has the id `{}`", written.text),
                    )
                    .help("give one of them another `id:`"),
                );
            }
            return Some(written.text);
        }
        let base = match head {
            Head::Plugin(_, plugin) => plugin.text.clone(),
            Head::From(_) => "from".into(),
        };
        let Some(next) = ids.get(&base).copied() else {
            ids.insert(base.clone(), 2);
            return Some(base);
        };
        let mut number = next;
        while ids.contains_key(&format!("{base}-{number}")) {
            number += 1;
        }
        let id = format!("{base}-{number}");
        ids.insert(base, number + 1);
        ids.insert(id.clone(), 2);
        Some(id)
    }

    fn on_error(&mut self, node: &Node) -> Option<(OnErrorDecl, Place)> {
        const CHOICES: [(&str, OnErrorDecl); 3] = [
            ("fail", OnErrorDecl::Fail),
            ("skip", OnErrorDecl::Skip),
            ("dead_letter", OnErrorDecl::DeadLetter),
        ];
        let found = CHOICES.iter().find(|(name, _)| node.text() == Some(name));
        if found.is_none() {
            let mut diagnostic =
                Diagnostic::error(node.place.clone(), format!("`on_error` cannot be {}", node.kind()))
                    .label("one of: fail, skip, dead_letter");
            if let Some(text) = node.text() {
                diagnostic = diagnostic.suggest(text, CHOICES.iter().map(|(name, _)| *name));
            }
            self.problems.push(diagnostic);
        }
        found.map(|(_, choice)| (*choice, node.place.clone()))
    }

    fn references(&mut self, node: &Node) -> Option<Vec<StepRef>> {
        let items = match &node.value {
            Value::List(items) if !items.is_empty() => items.iter().collect(),
            _ => vec![node],
        };
        let references: Vec<StepRef> = items.into_iter().filter_map(|item| self.reference(item)).collect();
        (!references.is_empty()).then_some(references)
    }

    fn reference(&mut self, node: &Node) -> Option<StepRef> {
        let parts: Vec<&str> = node.text().unwrap_or_default().split('.').collect();
        let output = match parts.get(2) {
            None => Some(Output::Main),
            Some(&"late") => Some(Output::Late),
            Some(&"dead") => Some(Output::Dead),
            Some(_) => None,
        };
        match (&parts[..], output) {
            ([chain, step] | [chain, step, _], Some(output)) if !chain.is_empty() && !step.is_empty() => {
                Some(StepRef {
                    chain: (*chain).into(),
                    step: (*step).into(),
                    output,
                    place: node.place.clone(),
                })
            }
            _ => {
                self.problems.push(
                    Diagnostic::error(node.place.clone(), format!("{} is not a reference to a step", node.kind()))
                        .help("write `CHAIN.STEP`, `CHAIN.STEP.late` or `CHAIN.STEP.dead`; a step's name is its `id:`, or its plugin's name"),
                );
                None
            }
        }
    }
}

impl StepDecl {
    /// Where the step says what it is.
    pub fn head_place(&self) -> Place {
        match &self.head {
            Head::Plugin(_, plugin) => plugin.place.clone(),
            Head::From(references) => references.first().map_or(self.place.clone(), |r| r.place.clone()),
        }
    }
}
