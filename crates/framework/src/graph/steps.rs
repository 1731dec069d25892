//! Binds single steps.

use std::sync::Arc;

use super::plan::{NOTE_OF_A_WINDOW, Node, NodeBody, OnError, SourcePlan};
use super::planning::{Given, Planner};
use crate::config::{
    ChainDecl, DeliveryDecl, Diagnostic, Kind, Output, Place, Problem, Retry, RetryDecl, StepDecl, Value,
};
use crate::log::MAX_METADATA;
use crate::plugin::{
    BoundSource, Build, Capability, EventTime, Input, Plugin, Reads, SinkBody, SourceBody, Stamper,
};
use crate::window::{Fingerprint, WindowOperator, WindowSettings};

/// A chain while it is planned.
pub(super) struct Draft {
    pub(super) name: String,
    /// The name under which its positions are kept.
    pub(super) kept_as: String,
    pub(super) source: SourcePlan,
    /// Where the source names its topic.
    pub(super) source_topic: Option<Place>,
    /// Where it says how others key it.
    pub(super) keyed_by: Option<Place>,
    /// How the file says that the chain delivers.
    pub(super) delivery: Option<(DeliveryDecl, Place)>,
    /// The fields that the rows' time stands in.
    pub(super) time_fields: Vec<String>,
    pub(super) nodes: Vec<DraftNode>,
    pub(super) sinks: Vec<SinkUse>,
}

impl Draft {
    /// The problem that a position has no room for what each window wants back with it.
    pub(super) fn too_many_windows(&self) -> Option<Diagnostic> {
        let place = self.source_topic.clone()?;
        let windows = self.nodes.iter().filter(|entry| matches!(entry.node.body, NodeBody::Window(_)));
        let sizes: Vec<usize> = windows.map(|entry| entry.node.kept_as.len() + NOTE_OF_A_WINDOW).collect();
        (sizes.iter().sum::<usize>() > MAX_METADATA).then(|| {
            let message = format!("{} windows stand behind one source, which are too many", sizes.len());
            Diagnostic::error(place, message)
                .label("the position in the topic has no room for what they want back after a restart")
                .help("write the rows to a topic, and let a part of the windows read that")
        })
    }
}

pub(super) struct DraftNode {
    pub(super) node: Node,
    pub(super) reads: Reads,
    /// The draft that reads what it writes, where the chain is cut here.
    pub(super) leads_to: Option<usize>,
    /// How many partitions that topic is made with.
    pub(super) partitions: Option<u32>,
    /// True where the file says that one worker is all there will be: `repartition: false`.
    pub(super) one_worker: bool,
    /// For each field that comes in the field of the source that it is, unchanged: see [`Given::origins`].
    pub(super) origins: Vec<Option<Arc<str>>>,
    /// Of a transform, for each column that goes on the one that it is, unchanged:
    /// see [`BoundTransform::origins`](crate::plugin::BoundTransform::origins).
    pub(super) made_of: Vec<Option<usize>>,
    /// Of a sink and a window, what stands in its `with:`.
    pub(super) with: Option<crate::config::Node>,
}

/// Each field of a source is itself.
pub(super) fn names(input: &Input) -> Vec<Option<Arc<str>>> {
    input.schema.fields().iter().map(|field| Some(field.name().as_str().into())).collect()
}

/// A sink as far as the chain's guarantees depend on it.
pub(super) struct SinkUse {
    pub(super) capabilities: &'static [Capability],
}

impl Planner<'_> {
    /// Binds a source. What stands behind one that has problems is looked at all the same.
    pub(super) fn source(&mut self, chain: &ChainDecl, step: &StepDecl) -> Given {
        let on_error = self.on_error(chain, step);
        let retry = self.retry(step);
        let given = self.bind_source(chain, step, on_error, retry);
        let given = given.unwrap_or_else(|| {
            self.ends_known = false;
            let unknown = Given::unknown(format!("the source of `{}`", chain.name.text));
            self.stamper(step, &unknown.input);
            unknown
        });
        self.remember(chain, step, given.clone(), None);
        given
    }

    fn bind_source(
        &mut self,
        chain: &ChainDecl,
        step: &StepDecl,
        on_error: OnError,
        retry: Retry,
    ) -> Option<Given> {
        let plugin = self.plugin(step)?;
        let Build::Source(build) = plugin.build else { return None };
        let built = build(&step.with, &self.context());
        let mut bound = self.keep(built)?;
        self.passes_once(&bound, step);
        if let SourceBody::Log(source) = &mut bound.body {
            self.names_of_logs.name(&mut source.connection);
        }
        if let Some(columns) = self.needed.get(&chain.name.text) {
            let narrowed = match &mut bound.body {
                SourceBody::Custom(source, _) => source.narrow(columns),
                SourceBody::Log(source) => source.decoder.narrow(columns),
            };
            bound.schema = narrowed.unwrap_or(bound.schema);
        }
        let given_by = match &bound.body {
            SourceBody::Custom(..) => format!("the {} source", plugin.name),
            SourceBody::Log(source) => format!("topic `{}`", source.topic),
        };
        let input = Input { schema: bound.schema.clone(), given_by };
        let (stamper, time_fields) = self.stamper(step, &input).unzip();
        let source_topic = matches!(bound.body, SourceBody::Log(_)).then(|| step.with.locate("topic"));
        let times_recur = stamper.is_some()
            || matches!(bound.body, SourceBody::Log(_))
            || plugin.capabilities.contains(&Capability::EventTime);
        let source = SourcePlan {
            id: step.id.clone(),
            plugin: plugin.name.to_owned(),
            replayable: bound.passing.is_none() && plugin.capabilities.contains(&Capability::Replayable),
            bound,
            times_recur,
            stamper,
            on_error,
            retry,
            outputs: super::Outputs::default(),
            repartitioned: None,
        };
        self.drafts.push(Draft {
            name: chain.name.text.clone(),
            kept_as: chain.kept_as().to_owned(),
            source,
            source_topic,
            keyed_by: step.with.get("keyed_by").map(|node| node.place.clone()),
            delivery: step.delivery.clone(),
            time_fields: time_fields.unwrap_or_default(),
            nodes: Vec::new(),
            sinks: Vec::new(),
        });
        let by = Some((self.drafts.len() - 1, None));
        let origins = names(&input);
        Some(Given { by, output: Output::Main, input, origins, windowed: false })
    }

    /// Says that a source reads what another one reads, where it passes by: each would get a part of it.
    fn passes_once(&mut self, bound: &BoundSource, step: &StepDecl) {
        let Some(what) = &bound.passing else { return };
        let Some(other) = self.drafts.iter().find(|draft| draft.source.bound.passing.as_ref() == Some(what))
        else {
            return;
        };
        let (name, id) = (&other.name, &other.source.id);
        let place = step.with.locate("path");
        self.problems.push(
            Diagnostic::error(place, format!("only one source can read {what}"))
                .label(format!("`{name}.{id}` reads it"))
                .help(format!(
                    "begin this chain with `from: {name}.{id}` in place of the source: it gets the same rows"
                )),
        );
    }

    /// What gives the rows of a source their times, and the fields that it looks at; `None` where the file
    /// does not say, or says it wrong.
    fn stamper(&mut self, step: &StepDecl, input: &Input) -> Option<(Stamper, Vec<String>)> {
        let node = step.time.as_ref()?;
        let attempt = self.attempt(input, node, |input, _| {
            let time = node.deserialize::<EventTime>()?;
            time.bind(input).map_err(|problem| vec![node.diagnose(&problem)])
        });
        attempt.bound
    }

    /// Binds a step behind `parents`; gives what the next step stands behind.
    pub(super) fn step(&mut self, chain: &ChainDecl, step: &StepDecl, parents: &[Given]) -> Vec<Given> {
        let on_error = self.on_error(chain, step);
        let retry = self.retry(step);
        let plugin = self.plugin(step);
        let cut = self.cut(chain, step, parents);
        let parents = cut.as_deref().unwrap_or(parents);
        let Some(mut first) = parents.first().cloned() else { return Vec::new() };
        first.origins = Given::joined_origins(parents);
        let kind = step.head.kind();
        let bound = match &plugin {
            Some(plugin) if plugin.kind == Kind::Transform => self.transform(plugin, step, &first),
            Some(plugin) if plugin.kind == Kind::Window => self.window(plugin, step, &first),
            Some(plugin) if plugin.kind == Kind::Sink => self.sink(plugin, step, &first),
            None if kind == Some(Kind::Window) => self.unknown_window(step),
            _ => Bound::nothing(format!("the step `{}`", step.id)),
        };
        let is_sink = kind == Some(Kind::Sink);
        self.ends_known &= bound.body.is_some() || !is_sink;
        // What stands behind a step that cannot be used stands behind the one before it.
        let mut by = first.by;
        if let (Some((draft, _)), Some((body, reads)), Some(plugin)) = (first.by, bound.body, plugin) {
            let draft = &mut self.drafts[draft];
            by = Some((first.by.map_or(0, |(draft, _)| draft), Some(draft.nodes.len())));
            if is_sink {
                draft.sinks.push(SinkUse { capabilities: plugin.capabilities });
            }
            draft.nodes.push(DraftNode {
                node: Node {
                    chain: chain.name.text.clone(),
                    id: step.id.clone(),
                    kept_as: chain.step_kept_as(step),
                    plugin: plugin.name.to_owned(),
                    input: first.input.schema.clone(),
                    on_error,
                    retry,
                    body,
                    outputs: super::Outputs::default(),
                },
                reads,
                leads_to: None,
                partitions: None,
                one_worker: step.repartition.as_ref().is_some_and(|node| node.value == Value::Bool(false)),
                origins: first.origins.clone(),
                made_of: bound.made_of,
                with: (is_sink || kind == Some(Kind::Window)).then(|| step.with.clone()),
            });
            let index = draft.nodes.len() - 1;
            self.attach(parents, index);
        }
        let windowed = first.windowed || kind == Some(Kind::Window);
        let given = Given { by, output: Output::Main, input: bound.output, origins: bound.origins, windowed };
        self.remember(chain, step, given.clone(), Some(first));
        // Sinks in a row each get the same rows.
        if is_sink { parents.to_vec() } else { vec![given] }
    }

    /// How a step's passing faults are tried again.
    fn retry(&mut self, step: &StepDecl) -> Retry {
        let Some(node) = &step.retry else { return Retry::default() };
        let read = node.deserialize::<RetryDecl>();
        let read =
            read.and_then(|written| Retry::of(&written).map_err(|problem| vec![node.diagnose(&problem)]));
        self.keep(read).unwrap_or_default()
    }

    fn transform(&mut self, plugin: &Plugin, step: &StepDecl, first: &Given) -> Bound {
        let given_by = format!("the {} transform", plugin.name);
        let Build::Transform(build) = plugin.build else { return Bound::nothing(given_by) };
        let mut attempt = self.attempt(&first.input, &step.with, |input, _| build(&step.with, input));
        let Some(bound) = attempt.bound.take() else { return Bound::nothing(given_by) };
        let promised = bound.schema.clone();
        let output = Input { schema: bound.schema, given_by };
        let output = attempt.output(&first.input, &bound.reads, output);
        let origin = |column: Option<usize>| first.origins.get(column?)?.clone();
        let origins = bound.origins.iter().copied().map(origin).collect();
        let body = Some((NodeBody::Transform(bound.body, promised), bound.reads));
        Bound { body, output, origins, made_of: bound.origins }
    }

    fn window(&mut self, plugin: &Plugin, step: &StepDecl, first: &Given) -> Bound {
        let given_by = format!("the {} window", plugin.name);
        let Build::Window(build) = plugin.build else { return Bound::nothing(given_by) };
        if first.windowed {
            self.problems.push(
                Diagnostic::error(step.head_place(), "a window behind a window")
                    .help("write the first window's results to a topic, and read that in a new chain"),
            );
        }
        let unknown = unknown_keys(plugin, step);
        let misspelt = !unknown.is_empty();
        let mut clean = !misspelt;
        let without = step.with.without(unknown.iter().map(|problem| &problem.primary.place));
        self.problems.extend(unknown);
        let before = self.problems.len();
        let (settings, rest) = WindowSettings::split(&without);
        // Both halves are read before either may fail, so that all problems are shown at once.
        let settings = self.keep(settings);
        let attempt = self.attempt(&first.input, &rest, |input, context| (build.step)(&rest, input, context));
        clean &= attempt.clean;
        if misspelt {
            // What is missing may be what is misspelt.
            let whole = |problem: &Diagnostic| problem.primary.place == step.with.locate("");
            let found = self.problems.split_off(before);
            self.problems.extend(found.into_iter().filter(|problem| !whole(problem)));
        }
        let Some(settings) = settings else { return Bound::nothing(given_by) };
        if !misspelt && build.needs_key && settings.key.is_empty() {
            let problem = Problem::new("", "the key `key` is missing")
                .help("name the field whose values are told apart, such as `key: gender`");
            self.problems.push(step.with.diagnose(&problem));
            clean = false;
        }
        let keys = self.attempt(&first.input, &step.with, |input, _| {
            settings.key_columns(input).map_err(|problem| vec![step.with.diagnose(&problem)])
        });
        clean &= keys.clean;
        let (Some(bound), true) = (attempt.bound, clean) else { return Bound::nothing(given_by) };
        let mut reads = bound.reads;
        let fingerprint = Fingerprint::new(
            &settings,
            plugin.name,
            &rest.to_json(),
            bound.aggregate.version(),
            &reads,
            &first.input.schema,
        );
        reads.extend(settings.key.iter().cloned());
        let operator = match WindowOperator::new(settings, bound.aggregate, &keys.input) {
            Ok(operator) => operator.marked(fingerprint),
            Err(problem) => {
                self.problems.push(step.with.diagnose(&problem));
                return Bound::nothing(given_by);
            }
        };
        let output = Input { schema: operator.output_schema(), given_by };
        // The names of a result are known whatever comes in, but not all types.
        let output = if first.input.is_vague() { output.untyped() } else { output };
        let body = Some((NodeBody::Window(Box::new(operator)), Reads::Only(reads)));
        Bound { body, output, origins: Vec::new(), made_of: Vec::new() }
    }

    /// Of a window whose plugin nobody knows the framework's own settings are checked, as far as they stand
    /// there.
    fn unknown_window(&mut self, step: &StepDecl) -> Bound {
        let (settings, _) = WindowSettings::split(&step.with);
        let whole = step.with.locate("");
        let problems = settings.err().into_iter().flatten();
        self.problems.extend(problems.filter(|problem| problem.primary.place != whole));
        Bound::nothing(format!("the window `{}`", step.id))
    }

    fn sink(&mut self, plugin: &Plugin, step: &StepDecl, first: &Given) -> Bound {
        let mut output = Bound {
            body: None,
            output: first.input.clone(),
            origins: first.origins.clone(),
            made_of: Vec::new(),
        };
        let Build::Sink(build) = plugin.build else { return output };
        let attempt =
            self.attempt(&first.input, &step.with, |input, context| build(&step.with, input, context));
        let Some(bound) = attempt.bound else { return output };
        output.body = match bound.body {
            SinkBody::Custom(sink) => Some((NodeBody::Sink(sink), bound.reads)),
            SinkBody::Log(mut sink) => {
                self.names_of_logs.name(&mut sink.connection);
                // A connection that is not there has been reported where it is declared.
                let connection = self.connections.iter().position(|(name, _)| *name == sink.connection);
                let reads = sink.encoder.reads();
                connection.map(|connection| (NodeBody::Topic(connection, sink), reads))
            }
        };
        output
    }

    fn remember(&mut self, chain: &ChainDecl, step: &StepDecl, given: Given, before: Option<Given>) {
        self.given.insert((chain.name.text.clone(), step.id.clone()), (given, before));
    }

    /// The value, or its problems on the list.
    pub(super) fn keep<T>(&mut self, built: Result<T, Vec<Diagnostic>>) -> Option<T> {
        match built {
            Ok(value) => Some(value),
            Err(mut problems) => {
                self.problems.append(&mut problems);
                None
            }
        }
    }
}

/// A step as far as it could be bound.
struct Bound {
    body: Option<(NodeBody, Reads)>,
    output: Input,
    /// See [`Given::origins`].
    origins: Vec<Option<Arc<str>>>,
    /// See [`DraftNode::made_of`].
    made_of: Vec<Option<usize>>,
}

impl Bound {
    /// Nobody knows what comes out of it.
    fn nothing(given_by: String) -> Self {
        Self { body: None, output: Input::unknown(given_by), origins: Vec::new(), made_of: Vec::new() }
    }
}

/// The keys of a window's `with:` that are neither the framework's nor the plugin's, each with all that may
/// stand there.
fn unknown_keys(plugin: &Plugin, step: &StepDecl) -> Vec<Diagnostic> {
    let schema = (plugin.config_schema)();
    let own = schema.get("properties").and_then(serde_json::Value::as_object);
    let known: Vec<&str> =
        own.into_iter().flat_map(|p| p.keys().map(String::as_str)).chain(WindowSettings::KEYS).collect();
    let unknown = step.with.entries().iter().filter(|e| !known.contains(&e.key.as_str()));
    unknown
        .map(|entry| {
            Diagnostic::error(entry.place.clone(), format!("unknown key `{}`", entry.key))
                .label(format!("the keys are: {}", known.join(", ")))
                .suggest(&entry.key, known.iter().copied())
        })
        .collect()
}
