//! Planning: binds every step to what comes before it, and collects all problems on the way.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::connections::Connections;
use super::explain::{Delivery, promise};
use super::meaning;
use super::narrow;
use super::only::{self, Others};
use super::plan::{ChainPlan, OnError, Outputs, Plan};
use super::steps::{Draft, SinkUse};
use super::topics;
use crate::config::{
    ChainDecl, DeliveryDecl, Diagnostic, Document, Head, Kind, OnErrorDecl, Output, StepDecl, StepRef,
};
use crate::log::Log;
use crate::plugin::{BindContext, Build, Capability, Input, Plugin, Purpose, Registry};

/// What planning needs beside the file.
#[derive(Debug, Clone, Copy)]
pub struct PlanOptions<'a> {
    /// The plugins.
    pub registry: &'a Registry,
    /// The folder that relative paths of the file start at.
    pub base: &'a Path,
    /// Plan only these chains, with all that stand behind the same sources; empty for all.
    pub only: &'a [String],
    /// What the plan is made for.
    pub purpose: Purpose,
}

/// Makes a plan of what was written. Gives the warnings with it.
///
/// # Errors
/// Every problem of the file; nothing has been started.
pub fn plan(
    document: &Document,
    options: PlanOptions<'_>,
) -> Result<(Plan, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut problems = document.problems.clone();
    let connections = connections(document, options, &mut problems);
    // The first pass finds which columns each source needs to give; the second binds everything to just
    // those.
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
            // Who writes a topic is known where the ends of every chain are.
            if planner.ends_known && options.only.is_empty() && document.problems.is_empty() {
                topics::unwritten_topics(&planner.drafts, planner.connections, &mut problems);
            }
            problems.retain(|problem| !document.is_follow_up(problem));
            return Err(problems);
        }
        let others = Others::of(document, options, &connections, &planner.drafts);
        return planner.finish(&others);
    }
    Err(problems)
}

fn connections(document: &Document, options: PlanOptions<'_>, problems: &mut Vec<Diagnostic>) -> Connections {
    let registry = options.registry;
    let context = BindContext { registry, base: options.base, connections: &[], purpose: options.purpose };
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
    /// Who gives it: a draft, and a node of it or the source (`None`). `None` where the source could not be
    /// bound; what stands behind is only looked at for further problems.
    pub(super) by: Option<(usize, Option<usize>)>,
    pub(super) output: Output,
    pub(super) input: Input,
    /// For each of its fields the field of the source that it is, unchanged; `None` for one that was made on
    /// the way, and none at all behind a window.
    pub(super) origins: Vec<Option<Arc<str>>>,
    /// True where there is a window on the way from the source.
    pub(super) windowed: bool,
}

impl Given {
    /// What a source gives that could not be bound.
    pub(super) fn unknown(given_by: impl Into<String>) -> Self {
        let input = Input::unknown(given_by);
        Self { by: None, output: Output::Main, input, origins: Vec::new(), windowed: false }
    }

    /// The fields of several that are given together, each as far as all of them say the same of it.
    pub(super) fn joined_origins(parents: &[Self]) -> Vec<Option<Arc<str>>> {
        let Some((first, others)) = parents.split_first() else { return Vec::new() };
        let same = |(column, origin): (usize, &Option<Arc<str>>)| {
            let agrees = |other: &Self| other.origins.get(column) == Some(origin);
            origin.clone().filter(|_| others.iter().all(agrees))
        };
        first.origins.iter().enumerate().map(same).collect()
    }

    pub(super) fn is_of_another_source(&self, other: &Self) -> bool {
        matches!((self.by, other.by), (Some((one, _)), Some((other, _))) if one != other)
    }

    pub(super) fn gives_other_fields(&self, other: &Self) -> bool {
        !self.input.is_vague() && !other.input.is_vague() && self.input.schema != other.input.schema
    }
}

pub(super) struct Planner<'a> {
    pub(super) document: &'a Document,
    pub(super) options: PlanOptions<'a>,
    names: Vec<String>,
    pub(super) connections: &'a [(String, Arc<dyn Log>)],
    pub(super) names_of_logs: &'a Connections,
    pub(super) needed: &'a BTreeMap<String, Vec<String>>,
    pub(super) drafts: Vec<Draft>,
    /// What each step gives on its main output, and what comes in to it: by chain name and step id.
    pub(super) given: BTreeMap<(String, String), (Given, Option<Given>)>,
    /// Every `from:` of the file.
    references: Vec<StepRef>,
    pub(super) problems: Vec<Diagnostic>,
    /// False where a source or a sink could not be bound.
    pub(super) ends_known: bool,
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
                Head::Plugin(..) | Head::Unknown(_) => None,
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
            ends_known: true,
            warnings: Vec::new(),
        }
    }

    /// The pipeline's name.
    pub(super) fn name(&self) -> &str {
        &self.document.name.text
    }

    pub(super) fn context(&self) -> BindContext<'_> {
        let PlanOptions { registry, base, purpose, .. } = self.options;
        BindContext { registry, base, connections: &self.names, purpose }
    }

    /// Plans the chains, each after those that it begins `from:`.
    pub(super) fn chains(&mut self) {
        let waiting = only::wanted(self.document, self.options.only, &mut self.problems);
        self.in_order(waiting);
    }

    /// Plans the steps of a chain behind what it begins with.
    pub(super) fn chain(&mut self, decl: &ChainDecl, mut parents: Vec<Given>) {
        let mut behind_a_sink = false;
        for step in decl.steps.iter().skip(1) {
            parents = match step.head.kind() {
                // Such a chain has been refused; the next begins here, or where nobody can tell.
                Some(Kind::Source) => vec![self.source(decl, step)],
                Some(Kind::Sink) | None => self.step(decl, step, &parents),
                Some(_) if behind_a_sink => {
                    self.step(decl, step, &[Given::unknown(format!("the sink of `{}`", decl.name.text))])
                }
                Some(_) => self.step(decl, step, &parents),
            };
            behind_a_sink = step.head.kind() == Some(Kind::Sink);
        }
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
            let Some((draft, by)) = parent.by else { continue };
            let draft = &mut self.drafts[draft];
            let outputs: &mut Outputs = match by {
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
        meaning::tell(&mut self.drafts, &others.drafts, self.connections, &mut self.problems);
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
