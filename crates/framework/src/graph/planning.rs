//! Planning: binds every step to what comes before it, and collects all problems on the way.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::connections::Connections;
use super::explain::{Delivery, promise};
use super::narrow;
use super::only::{self, Others};
use super::plan::{ChainPlan, OnError, Outputs, Plan};
use super::steps::{Draft, SinkUse};
use super::topics;
use crate::config::{
    ChainDecl, DeliveryDecl, Diagnostic, Document, Head, Kind, OnErrorDecl, Output, StepDecl, StepRef,
};
use crate::log::Log;
use crate::plugin::{BindContext, Build, Capability, Input, Plugin, Registry, dead_schema};

/// What planning needs beside the file.
#[derive(Debug, Clone, Copy)]
pub struct PlanOptions<'a> {
    /// The plugins.
    pub registry: &'a Registry,
    /// The folder that relative paths of the file start at.
    pub base: &'a Path,
    /// Plan only these chains, with all that stand behind the same sources; empty for all.
    pub only: &'a [String],
}

/// Makes a plan of what was written. Gives the warnings with it.
///
/// # Errors
/// Every problem of the file; nothing has been started.
pub fn plan(
    document: &Document,
    options: PlanOptions<'_>,
) -> Result<(Plan, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let connections = connections(document, options, &mut problems);
    // The first pass finds which columns each source needs to give; the second binds everything to just those.
    let mut needed = BTreeMap::new();
    for last in [false, true] {
        let mut planner = Planner::new(document, options, &connections, &needed);
        planner.chains();
        if !last && planner.problems.is_empty() && problems.is_empty() {
            needed = narrow::needed_columns(&planner.drafts);
            continue;
        }
        problems.append(&mut planner.problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let others = Others::of(document, options, &connections, &planner.drafts);
        return planner.finish(&others);
    }
    Err(problems)
}

fn connections(document: &Document, options: PlanOptions<'_>, problems: &mut Vec<Diagnostic>) -> Connections {
    let registry = options.registry;
    let context = BindContext { registry, base: options.base, connections: &[] };
    let mut connections = Connections::default();
    for decl in &document.connections {
        let Some(plugin) = registry.get(Kind::Connection, &decl.plugin.text) else {
            let names = registry.names(Kind::Connection);
            problems.push(
                Diagnostic::error(
                    decl.plugin.place.clone(),
                    format!("there is no connection plugin `{}`", decl.plugin.text),
                )
                .label(format!("the connection plugins are: {}", names.join(", ")))
                .suggest(&decl.plugin.text, names.iter().copied())
                .help("a connection's name is its plugin's, or it says `plugin: kafka` beside its settings"),
            );
            continue;
        };
        if let Build::Connection(build) = plugin.build {
            match build(&decl.with, &context) {
                Ok(log) => connections.add(decl, log, problems),
                Err(mut found) => problems.append(&mut found),
            }
        }
    }
    connections
}

/// What an output of a step gives to those behind it.
#[derive(Clone)]
pub(super) struct Given {
    /// Index of the draft.
    pub(super) chain: usize,
    /// The node; `None` for the source.
    pub(super) node: Option<usize>,
    pub(super) output: Output,
    pub(super) input: Input,
    /// The window on the way from the source, where there is one.
    pub(super) windowed: bool,
}

impl Given {
    fn is_same_output(&self, other: &Self) -> bool {
        (self.chain, self.node, self.output) == (other.chain, other.node, other.output)
    }
}

pub(super) struct Planner<'a> {
    document: &'a Document,
    pub(super) options: PlanOptions<'a>,
    names: Vec<String>,
    pub(super) connections: &'a [(String, Arc<dyn Log>)],
    pub(super) names_of_logs: &'a Connections,
    pub(super) needed: &'a BTreeMap<String, Vec<String>>,
    pub(super) drafts: Vec<Draft>,
    /// What each step gives on its main output, and what comes in to it: by chain name and step id.
    pub(super) given: BTreeMap<(String, String), (Given, Option<Input>)>,
    /// Every `from:` of the file.
    references: Vec<StepRef>,
    pub(super) problems: Vec<Diagnostic>,
    pub(super) warnings: Vec<Diagnostic>,
}

impl<'a> Planner<'a> {
    pub(super) fn new(
        document: &'a Document,
        options: PlanOptions<'a>,
        connections: &'a Connections,
        needed: &'a BTreeMap<String, Vec<String>>,
    ) -> Self {
        let references = document
            .chains
            .iter()
            .filter_map(|c| match &c.steps[0].head {
                Head::From(references) => Some(references.clone()),
                Head::Plugin(..) => None,
            })
            .flatten()
            .collect();
        Self {
            document,
            options,
            names: document.connections.iter().map(|c| c.name.text.clone()).collect(),
            connections: &connections.logs,
            names_of_logs: connections,
            needed,
            drafts: Vec::new(),
            given: BTreeMap::new(),
            references,
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// The pipeline's name.
    pub(super) fn name(&self) -> &str {
        &self.document.name.text
    }

    pub(super) fn context(&self) -> BindContext<'_> {
        BindContext { registry: self.options.registry, base: self.options.base, connections: &self.names }
    }

    /// Plans the chains, each after those that it begins `from:`.
    pub(super) fn chains(&mut self) {
        let mut waiting = only::wanted(self.document, self.options.only, &mut self.problems);
        loop {
            let before = waiting.len();
            let (ready, rest): (Vec<&ChainDecl>, Vec<&ChainDecl>) =
                waiting.into_iter().partition(|chain| self.is_ready(chain));
            for chain in ready {
                self.chain(chain);
            }
            waiting = rest;
            if waiting.is_empty() || waiting.len() == before {
                break;
            }
        }
        for chain in waiting {
            self.unresolved(chain);
        }
    }

    /// True where every step that the chain begins `from:` has been planned, or will never be.
    fn is_ready(&self, chain: &ChainDecl) -> bool {
        match &chain.steps[0].head {
            Head::Plugin(..) => true,
            Head::From(references) => {
                references.iter().all(|r| self.given.contains_key(&(r.chain.clone(), r.step.clone())))
            }
        }
    }

    /// Says why a chain's `from:` leads nowhere.
    fn unresolved(&mut self, chain: &ChainDecl) {
        let Head::From(references) = &chain.steps[0].head else { return };
        for reference in references {
            if self.given.contains_key(&(reference.chain.clone(), reference.step.clone())) {
                continue;
            }
            let target = self.document.chains.iter().find(|c| c.name.text == reference.chain);
            let place = reference.place.clone();
            let problem = match target {
                None => {
                    let names: Vec<&str> =
                        self.document.chains.iter().map(|c| c.name.text.as_str()).collect();
                    Diagnostic::error(place, format!("there is no chain `{}`", reference.chain))
                        .label(format!("the file has: {}", names.join(", ")))
                        .suggest(&reference.chain, names.iter().copied())
                }
                Some(target) => match target.steps.iter().find(|s| s.id == reference.step) {
                    None => {
                        let ids: Vec<&str> = target.steps.iter().map(|s| s.id.as_str()).collect();
                        Diagnostic::error(
                            place,
                            format!("the chain `{}` has no step `{}`", reference.chain, reference.step),
                        )
                        .label(format!("it has: {}", ids.join(", ")))
                        .suggest(&reference.step, ids.iter().copied())
                    }
                    // The step has problems of its own, which are shown; or the chains go round in a circle.
                    Some(_) if !self.problems.is_empty() => continue,
                    Some(_) => Diagnostic::error(place, "these chains begin `from:` each other, in a circle")
                        .help("begin one of them with a source"),
                },
            };
            self.problems.push(problem);
        }
    }

    fn chain(&mut self, decl: &ChainDecl) {
        let Some(mut parents) = self.begin(decl) else { return };
        for step in &decl.steps[1..] {
            let Some(next) = self.step(decl, step, &parents) else { return };
            parents = next;
        }
    }

    /// The first step: a source, or the outputs of other steps.
    fn begin(&mut self, decl: &ChainDecl) -> Option<Vec<Given>> {
        let first = &decl.steps[0];
        match &first.head {
            Head::From(references) => self.join(references),
            Head::Plugin(..) => self.source(decl, first).map(|given| vec![given]),
        }
    }

    /// The outputs that a chain begins `from:`: of one tree, and of one schema.
    fn join(&mut self, references: &[StepRef]) -> Option<Vec<Given>> {
        let mut joined: Vec<Given> = Vec::new();
        for reference in references {
            let (given, before) =
                self.given.get(&(reference.chain.clone(), reference.step.clone())).cloned()?;
            let step = self.declared(reference)?;
            let given = match reference.output {
                Output::Main if matches!(step.head, Head::Plugin(Kind::Sink, _)) => {
                    self.problems.push(self.gives_no_rows(reference));
                    return None;
                }
                Output::Main => given,
                Output::Late => match (&step.head, before) {
                    (Head::Plugin(Kind::Window, _), Some(input)) => Given {
                        output: Output::Late,
                        input: Input { given_by: format!("the late output of {}", input.given_by), ..input },
                        ..given
                    },
                    _ => {
                        self.problems.push(
                            Diagnostic::error(reference.place.clone(), "only a window has a `late` output")
                                .help(format!(
                                    "write `{}.{}` for the rows that go on",
                                    reference.chain, reference.step
                                )),
                        );
                        return None;
                    }
                },
                Output::Dead => {
                    if !matches!(step.on_error, Some((OnErrorDecl::DeadLetter, _))) {
                        self.warnings.push(
                            Diagnostic::warning(reference.place.clone(), "this output never gives a record")
                                .label(format!(
                                    "{}.{} does not send any there",
                                    reference.chain, reference.step
                                ))
                                .help(format!(
                                    "add `on_error: dead_letter` to the step `{}`",
                                    reference.step
                                )),
                        );
                    }
                    let input = Input { schema: dead_schema(), given_by: "a dead letter".into() };
                    Given { output: Output::Dead, input, ..given }
                }
            };
            if let Some(first) = joined.first() {
                let problem = if first.chain != given.chain {
                    Some("these steps do not stand behind the same source")
                } else if first.input.schema != given.input.schema {
                    Some("these steps do not give the same fields")
                } else {
                    None
                };
                if let Some(problem) = problem {
                    self.problems.push(
                        Diagnostic::error(reference.place.clone(), problem)
                            .help("write both to one topic, and read that"),
                    );
                    return None;
                }
            }
            if let Some(first) = joined.iter().position(|other| other.is_same_output(&given)) {
                self.problems.push(
                    Diagnostic::error(reference.place.clone(), "this output stands in the list twice")
                        .label("each of its rows would come twice")
                        .also(references[first].place.clone(), "the first")
                        .help("take one of them away"),
                );
                return None;
            }
            joined.push(given);
        }
        Some(joined)
    }

    /// A chain that begins `from:` a sink.
    fn gives_no_rows(&self, reference: &StepRef) -> Diagnostic {
        let StepRef { chain, step, place, .. } = reference;
        let steps = self.document.chains.iter().find(|c| c.name.text == *chain).map(|c| &c.steps);
        let before = steps.into_iter().flatten().take_while(|s| s.id != *step);
        let before = before.filter(|s| !matches!(s.head, Head::Plugin(Kind::Sink, _))).last();
        let help = match before {
            Some(StepDecl { head: Head::From(references), .. }) => {
                format!(
                    "begin where `{chain}` begins, `from: {}`",
                    references.iter().map(StepRef::to_string).collect::<Vec<_>>().join(", ")
                )
            }
            Some(before) => format!("`from: {chain}.{}` gives the rows that come in to it", before.id),
            None => "begin with the step before it".to_owned(),
        };
        Diagnostic::error(place.clone(), "a sink gives no rows")
            .label(format!("`{chain}.{step}` writes them"))
            .help(help)
            .help(format!("`from: {chain}.{step}.dead` gives those that it could not use"))
    }

    fn declared(&self, reference: &StepRef) -> Option<&'a StepDecl> {
        let chain = self.document.chains.iter().find(|c| c.name.text == reference.chain)?;
        chain.steps.iter().find(|s| s.id == reference.step)
    }

    /// The plugin of a step, or the problem that there is none.
    pub(super) fn plugin(&mut self, step: &StepDecl) -> Option<Plugin> {
        let Head::Plugin(kind, written) = &step.head else { return None };
        let registry = self.options.registry;
        if let Some(plugin) = registry.get(*kind, &written.text) {
            return Some(*plugin);
        }
        let names = registry.names(*kind);
        let mut problem =
            Diagnostic::error(written.place.clone(), format!("there is no {kind} `{}`", written.text))
                .label(format!("the {kind}s are: {}", names.join(", ")))
                .suggest(&written.text, names.iter().copied());
        if let Some(other) = Kind::ALL.into_iter().find(|k| registry.get(*k, &written.text).is_some()) {
            problem = problem.help(format!("`{}` is a {other}", written.text));
        }
        self.problems.push(problem);
        None
    }

    /// A step's `on_error`; sending records to `dead` needs somebody who reads them.
    pub(super) fn on_error(&mut self, chain: &ChainDecl, step: &StepDecl) -> OnError {
        match &step.on_error {
            None | Some((OnErrorDecl::Fail, _)) => OnError::Fail,
            Some((OnErrorDecl::Skip, _)) => OnError::Skip,
            Some((OnErrorDecl::DeadLetter, place)) => {
                let read = self
                    .references
                    .iter()
                    .any(|r| r.output == Output::Dead && r.chain == chain.name.text && r.step == step.id);
                if !read {
                    let reference = format!("{}.{}.dead", chain.name.text, step.id);
                    self.problems.push(
                        Diagnostic::error(place.clone(), format!("no chain reads `{reference}`"))
                            .label("records would be lost here")
                            .help(format!("add a chain that begins with `- from: {reference}`, or write `on_error: skip` to count and drop them")),
                    );
                }
                OnError::DeadLetter
            }
        }
    }

    /// Makes `node` a child of what it gets its rows from.
    pub(super) fn attach(&mut self, parents: &[Given], node: usize) {
        for parent in parents {
            let draft = &mut self.drafts[parent.chain];
            let outputs: &mut Outputs = match parent.node {
                None => &mut draft.source.outputs,
                Some(index) => &mut draft.nodes[index].node.outputs,
            };
            match parent.output {
                Output::Main => outputs.main.push(node),
                Output::Late => outputs.late.push(node),
                Output::Dead => outputs.dead.push(node),
            }
        }
    }

    fn finish(mut self, others: &Others) -> Result<(Plan, Vec<Diagnostic>), Vec<Diagnostic>> {
        let (topics, sharing) =
            topics::join(&self.drafts, others, self.connections, &mut self.problems, &mut self.warnings);
        self.problems.extend(self.drafts.iter().filter_map(Draft::too_many_windows));
        self.problems.extend(self.names_of_logs.clashes(&self.drafts, &self.document.connections));
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        let said: Vec<_> = self.drafts.iter_mut().map(|draft| draft.delivery.take()).collect();
        let chains = self
            .drafts
            .into_iter()
            .zip(&said)
            .zip(sharing)
            .map(|((draft, said), sharing)| ChainPlan {
                sharing,
                at_least_once: matches!(said, Some((DeliveryDecl::AtLeastOnce, _))),
                per_instance: !draft.sinks.is_empty() && draft.sinks.iter().all(SinkUse::per_instance),
                name: draft.name,
                kept_as: draft.kept_as,
                source: draft.source,
                nodes: draft.nodes.into_iter().map(|n| n.node).collect(),
            })
            .collect();
        let plan = Plan {
            name: self.document.name.text.clone(),
            connections: self.connections.to_vec(),
            topics,
            chains,
        };
        for (chain, said) in plan.chains.iter().zip(said) {
            let Some((DeliveryDecl::ExactlyOnce, place)) = said else { continue };
            let promise = promise(&plan, chain);
            if promise.delivery == Delivery::ExactlyOnce {
                continue;
            }
            let message = format!("the chain `{}` cannot deliver exactly once", chain.name);
            let mut why = promise.why.trim_end_matches('.').to_owned();
            why.get_mut(..1).map(str::make_ascii_lowercase);
            // A file must run as it is on a machine that has no broker yet.
            if promise.in_memory {
                self.warnings.push(Diagnostic::warning(place, message).label(why).help(promise.remedy));
            } else {
                self.problems.push(Diagnostic::error(place, message).label(why).help(promise.remedy));
            }
        }
        if self.problems.is_empty() { Ok((plan, self.warnings)) } else { Err(self.problems) }
    }
}

impl SinkUse {
    pub(super) fn per_instance(&self) -> bool {
        self.capabilities.contains(&Capability::PerInstance)
    }
}
