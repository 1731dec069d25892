//! The shape of a step.

use std::collections::BTreeMap;

use super::diagnostic::Diagnostic;
use super::document::{DeliveryDecl, Head, Kind, OnErrorDecl, Output, StepDecl, StepRef, Written};
use super::place::Place;
use super::shape::Shape;
use super::yaml::{Entry, Node, Value};

/// What `on_error` can be.
const ON_ERROR: [(&str, OnErrorDecl); 3] =
    [("fail", OnErrorDecl::Fail), ("skip", OnErrorDecl::Skip), ("dead_letter", OnErrorDecl::DeadLetter)];

/// What `delivery` can be.
const DELIVERY: [(&str, DeliveryDecl); 2] =
    [("exactly_once", DeliveryDecl::ExactlyOnce), ("at_least_once", DeliveryDecl::AtLeastOnce)];

/// The keys of a step. The first five say what it is.
const KEYS: [&str; 13] = [
    "source",
    "transform",
    "window",
    "sink",
    "from",
    "id",
    "was",
    "on_error",
    "time",
    "delivery",
    "retry",
    "repartition",
    "with",
];

impl Shape<'_> {
    pub(super) fn step(&mut self, item: &Node, ids: &mut BTreeMap<String, usize>) -> StepDecl {
        let at = |place: &Place| Place { end: place.end.min(place.start + 1), ..place.clone() };
        if !matches!(item.value, Value::Map(_)) {
            let otherwise = || {
                Diagnostic::error(item.place.clone(), format!("expected a step, found {}", item.kind()))
                    .help("a step is a mapping such as `source: csv` with its `with:`")
            };
            self.problems.push(item.key_meant().unwrap_or_else(otherwise));
            return StepDecl::unknown(item, None);
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
                return StepDecl::unknown(item, None);
            }
            [] => {
                // A misspelt kind has been reported as an unknown key.
                if item.entries().iter().all(|e| KEYS.contains(&e.key.as_str())) {
                    self.problems.push(
                        Diagnostic::error(at(&item.place), "the step does not say what it is")
                            .help("it has one of `source:`, `transform:`, `window:`, `sink:` or `from:`"),
                    );
                }
                return StepDecl::unknown(item, None);
            }
        };
        let kind = Kind::STEPS.into_iter().find(|k| k.name() == head.key);
        let parsed = match kind {
            Some(kind) => match self.plugin(&head.node, kind) {
                Some(plugin) => Head::Plugin(kind, plugin),
                None => Head::Unknown(Some(kind)),
            },
            None => match self.references(&head.node) {
                Some(references) => Head::From(references),
                None => Head::Unknown(Some(Kind::Source)),
            },
        };
        let id = self.id(item, &parsed, ids);
        let on_error = item.get("on_error").and_then(|n| self.choice("on_error", n, &ON_ERROR));
        let with = match item.get("with") {
            Some(node) if node.value != Value::Null => node.clone(),
            // What stands under a key that is not known may be the settings, which then are not missing.
            None if item.entries().iter().any(|entry| !KEYS.contains(&entry.key.as_str())) => {
                return StepDecl { id, on_error, ..StepDecl::unknown(item, kind.or(Some(Kind::Source))) };
            }
            _ => Node::empty_map(head.node.place.clone()),
        };
        if !matches!(with.value, Value::Map(_)) {
            let otherwise = || {
                let found = format!("expected a mapping under `with:`, found {}", with.kind());
                Diagnostic::error(with.place.clone(), found)
            };
            self.problems.push(with.key_meant().unwrap_or_else(otherwise));
            return StepDecl { id, ..StepDecl::unknown(item, kind.or(Some(Kind::Source))) };
        }
        let source = kind == Some(Kind::Source);
        let time = self.only(item, "time", source, |place| {
            Diagnostic::error(place, "only a source says where the time of its rows stands")
                .help("a window's own `time`, such as `time: processing`, stands in its `with:`")
        });
        let delivery = self.only(item, "delivery", source, |place| {
            Diagnostic::error(place, "`delivery` is said once a chain, at its source")
                .help("a chain commits as a whole, with the chains that begin `from:` its steps: write it beside `source:`")
        });
        let delivery = delivery.and_then(|node| self.choice("delivery", &node, &DELIVERY));
        let repartition = self.only(item, "repartition", kind == Some(Kind::Window), |place| {
            Diagnostic::error(place, "only the rows of a window are repartitioned")
                .help("write it beside the `with:` of the window: its key is what the rows are sent by")
        });
        let retry = self.only(item, "retry", matches!(kind, Some(Kind::Source | Kind::Sink)), |place| {
            Diagnostic::error(place, "only a source or a sink is tried again")
                .help("what a transform or a window cannot use is for `on_error`")
        });
        let was = self.was(item, kind);
        StepDecl {
            head: parsed,
            id,
            was,
            on_error,
            time,
            retry,
            repartition,
            delivery,
            with,
            place: item.place.clone(),
        }
    }

    /// The value of a key that only some kinds of step have; a problem where this one has it and may not.
    pub(super) fn only(
        &mut self,
        item: &Node,
        key: &str,
        allowed: bool,
        problem: impl FnOnce(Place) -> Diagnostic,
    ) -> Option<Node> {
        let entry = item.entries().iter().find(|entry| entry.key == key)?;
        if !allowed {
            self.problems.push(problem(entry.place.clone()));
            return None;
        }
        Some(entry.node.clone())
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

    fn id(&mut self, item: &Node, head: &Head, ids: &mut BTreeMap<String, usize>) -> String {
        if let Some(node) = item.get("id") {
            let Some(written) = self.name(node) else { return String::new() };
            if ids.insert(written.text.clone(), 2).is_some() {
                self.problems.push(
                    Diagnostic::error(
                        written.place,
                        format!("another step of this chain has the id `{}`", written.text),
                    )
                    .help("give one of them another `id:`"),
                );
            }
            return written.text;
        }
        let base = match head {
            Head::Plugin(_, plugin) => plugin.text.clone(),
            Head::From(_) => "from".into(),
            Head::Unknown(_) => return String::new(),
        };
        let Some(next) = ids.get(&base).copied() else {
            ids.insert(base.clone(), 2);
            return base;
        };
        let mut number = next;
        while ids.contains_key(&format!("{base}-{number}")) {
            number += 1;
        }
        let id = format!("{base}-{number}");
        ids.insert(base, number + 1);
        ids.insert(id.clone(), 2);
        id
    }

    /// One of some words.
    fn choice<T: Copy>(&mut self, key: &str, node: &Node, choices: &[(&str, T)]) -> Option<(T, Place)> {
        let found = choices.iter().find(|(name, _)| node.text() == Some(name));
        if found.is_none() {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            let mut diagnostic =
                Diagnostic::error(node.place.clone(), format!("`{key}` cannot be {}", node.kind()))
                    .label(format!("one of: {}", names.join(", ")));
            if let Some(text) = node.text() {
                diagnostic = diagnostic.suggest(text, names);
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
