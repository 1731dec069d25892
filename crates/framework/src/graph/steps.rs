//! Binds single steps.

use super::plan::{NOTE_OF_A_WINDOW, Node, NodeBody, SourcePlan};
use super::planning::{Given, Planner};
use crate::config::{
    ChainDecl, DeliveryDecl, Diagnostic, Kind, Output, Place, Problem, Retry, RetryDecl, StepDecl, Value,
};
use crate::log::MAX_METADATA;
use crate::plugin::{Build, Capability, EventTime, Input, Plugin, Reads, SinkBody, SourceBody};
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
}

/// A sink as far as the chain's guarantees depend on it.
pub(super) struct SinkUse {
    pub(super) capabilities: &'static [Capability],
}

impl Planner<'_> {
    pub(super) fn source(&mut self, chain: &ChainDecl, step: &StepDecl) -> Option<Given> {
        let plugin = self.plugin(step)?;
        let Build::Source(build) = plugin.build else { return None };
        let built = build(&step.with, &self.context());
        let mut bound = self.keep(built)?;
        if let SourceBody::Log(source) = &mut bound.body {
            self.names_of_logs.name(&mut source.connection);
        }
        if let (SourceBody::Custom(source, _), Some(columns)) =
            (&mut bound.body, self.needed.get(&chain.name.text))
            && let Some(schema) = source.narrow(columns)
        {
            bound.schema = schema;
        }
        let on_error = self.on_error(chain, step);
        let retry = self.retry(step)?;
        let given_by = match &bound.body {
            SourceBody::Custom(..) => format!("the {} source", plugin.name),
            SourceBody::Log(source) => format!("topic `{}`", source.topic),
        };
        let input = Input { schema: bound.schema.clone(), given_by };
        let (stamper, time_fields) = match &step.time {
            None => (None, Vec::new()),
            Some(node) => {
                let built = node
                    .deserialize::<EventTime>()
                    .and_then(|time| time.bind(&input).map_err(|problem| vec![node.diagnose(&problem)]));
                let (stamper, fields) = self.keep(built)?;
                (Some(stamper), fields)
            }
        };
        let source_topic = matches!(bound.body, SourceBody::Log(_)).then(|| step.with.locate("topic"));
        let times_recur = stamper.is_some()
            || matches!(bound.body, SourceBody::Log(_))
            || plugin.capabilities.contains(&Capability::EventTime);
        let source = SourcePlan {
            id: step.id.clone(),
            plugin: plugin.name.to_owned(),
            bound,
            replayable: plugin.capabilities.contains(&Capability::Replayable),
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
            time_fields,
            nodes: Vec::new(),
            sinks: Vec::new(),
        });
        let given =
            Given { chain: self.drafts.len() - 1, node: None, output: Output::Main, input, windowed: false };
        self.remember(chain, step, given.clone(), None);
        Some(given)
    }

    /// Binds a step behind `parents`; gives what the next step stands behind.
    pub(super) fn step(
        &mut self,
        chain: &ChainDecl,
        step: &StepDecl,
        parents: &[Given],
    ) -> Option<Vec<Given>> {
        let plugin = self.plugin(step)?;
        let cut = self.cut(chain, step, parents).ok()?;
        let parents = cut.as_deref().unwrap_or(parents);
        let first = parents.first()?.clone();
        let on_error = self.on_error(chain, step);
        let retry = self.retry(step)?;
        let (body, reads, output, windowed) = match plugin.kind {
            Kind::Transform => self.transform(&plugin, step, &first)?,
            Kind::Window => self.window(&plugin, step, &first)?,
            Kind::Sink => self.sink(&plugin, step, &first)?,
            _ => return None,
        };
        let is_sink = plugin.kind == Kind::Sink;
        let draft = &mut self.drafts[first.chain];
        let index = draft.nodes.len();
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
        });
        self.attach(parents, index);
        let given =
            Given { chain: first.chain, node: Some(index), output: Output::Main, input: output, windowed };
        self.remember(chain, step, given.clone(), Some(first.input));
        // Sinks in a row each get the same rows.
        Some(if is_sink { parents.to_vec() } else { vec![given] })
    }

    /// How a step's passing faults are tried again.
    fn retry(&mut self, step: &StepDecl) -> Option<Retry> {
        let Some(node) = &step.retry else { return Some(Retry::default()) };
        let read = node.deserialize::<RetryDecl>();
        self.keep(
            read.and_then(|written| Retry::of(&written).map_err(|problem| vec![node.diagnose(&problem)])),
        )
    }

    fn transform(&mut self, plugin: &Plugin, step: &StepDecl, first: &Given) -> Option<Bound> {
        let Build::Transform(build) = plugin.build else { return None };
        let bound = self.keep(build(&step.with, &first.input))?;
        let output = Input { schema: bound.schema, given_by: format!("the {} transform", plugin.name) };
        Some((NodeBody::Transform(bound.body), bound.reads, output, first.windowed))
    }

    fn window(&mut self, plugin: &Plugin, step: &StepDecl, first: &Given) -> Option<Bound> {
        let Build::Window(build) = plugin.build else { return None };
        if first.windowed {
            self.problems.push(
                Diagnostic::error(step.head_place(), "a window behind a window")
                    .help("write the first window's results to a topic, and read that in a new chain"),
            );
            return None;
        }
        let problems = unknown_keys(plugin, step);
        if !problems.is_empty() {
            self.problems.extend(problems);
            return None;
        }
        let (settings, rest) = WindowSettings::split(&step.with);
        // Both halves are read before either may fail, so that all problems are shown at once.
        let settings = self.keep(settings);
        let built = (build.step)(&rest, &first.input, &self.context());
        let bound = self.keep(built);
        let (Some(settings), Some(bound)) = (settings, bound) else { return None };
        if build.needs_key && settings.key.is_empty() {
            let problem = Problem::new("", "the key `key` is missing")
                .help("name the field whose values are told apart, such as `key: gender`");
            self.problems.push(step.with.diagnose(&problem));
            return None;
        }
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
        let operator = match WindowOperator::new(settings, bound.aggregate, &first.input) {
            Ok(operator) => operator.marked(fingerprint),
            Err(problem) => {
                self.problems.push(step.with.diagnose(&problem));
                return None;
            }
        };
        let output =
            Input { schema: operator.output_schema(), given_by: format!("the {} window", plugin.name) };
        Some((NodeBody::Window(Box::new(operator)), Reads::Only(reads), output, true))
    }

    fn sink(&mut self, plugin: &Plugin, step: &StepDecl, first: &Given) -> Option<Bound> {
        let Build::Sink(build) = plugin.build else { return None };
        let built = build(&step.with, &first.input, &self.context());
        let bound = self.keep(built)?;
        let (body, reads) = match bound.body {
            SinkBody::Custom(sink) => (NodeBody::Sink(sink), bound.reads),
            SinkBody::Log(mut sink) => {
                self.names_of_logs.name(&mut sink.connection);
                // A connection that is not there has been reported where it is declared.
                let connection = self.connections.iter().position(|(name, _)| *name == sink.connection)?;
                let reads = sink.encoder.reads();
                (NodeBody::Topic(connection, sink), reads)
            }
        };
        Some((body, reads, first.input.clone(), first.windowed))
    }

    fn remember(&mut self, chain: &ChainDecl, step: &StepDecl, given: Given, input: Option<Input>) {
        self.given.insert((chain.name.text.clone(), step.id.clone()), (given, input));
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

type Bound = (NodeBody, Reads, Input, bool);

/// The keys of a window's `with:` that are neither the framework's nor the plugin's, each with all that may stand there.
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
