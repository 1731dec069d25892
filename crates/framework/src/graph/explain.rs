//! What a plan promises: per chain, what a crash can lose or repeat, and what more workers would change.
//! Derived from the ends of the chain and from its `delivery`; one that is written out and cannot be kept is
//! a problem.

use std::time::Duration;

use arrow_schema::Schema;

use super::plan::{ChainPlan, NodeBody, OnError, Plan, REPLAY_ROWS, REPLAY_TIME, Sharing};
use crate::config::Retry;
use crate::plugin::{SourceBody, type_name};
use crate::window::WindowOperator;

/// What a crash does to the results of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// Nothing is lost and nothing is there twice.
    ExactlyOnce,
    /// Nothing is lost; what was not committed may be written again.
    AtLeastOnce,
    /// Nothing is kept: the next run begins anew.
    Anew,
    /// Every copy shows what it reads while it runs.
    Live,
}

impl Delivery {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::ExactlyOnce => "exactly once",
            Self::AtLeastOnce => "at least once",
            Self::Anew => "begins anew",
            Self::Live => "live",
        }
    }
}

/// A chain, explained.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Explained {
    /// Its name.
    pub chain: String,
    /// What a crash does to its results.
    pub delivery: Delivery,
    /// Sentences: why, and what else a crash or more workers do.
    pub because: Vec<String>,
    /// Each step's id with the fields that come in to it, or, for the source, that it gives.
    pub steps: Vec<(String, String)>,
}

/// Explains every chain of a plan.
pub fn explain(plan: &Plan) -> Vec<Explained> {
    plan.chains.iter().map(|chain| explain_chain(plan, chain)).collect()
}

fn explain_chain(plan: &Plan, chain: &ChainPlan) -> Explained {
    let Promise { delivery, why, .. } = promise(plan, chain);
    let mut because = vec![why];
    let changelog = chain.keeps_windows(&plan.connections).then(|| chain.changelog_topic(&plan.name));
    for node in &chain.nodes {
        if let NodeBody::Window(window) = &node.body
            && delivery != Delivery::Live
        {
            because.push(windows(&node.id, window, delivery, changelog.as_deref()));
            if window.keeps_keys() && changelog.is_none() && delivery != Delivery::Anew {
                because.push(format!(
                    "After a restart `{}` gives no zeros for a key that it had seen before the next row of that key.",
                    node.id
                ));
            }
        }
    }
    for node in &chain.nodes {
        if let NodeBody::Repartition(_, repartition, _) = &node.body {
            because.push(format!(
                "Rows go through topic `{}`, keyed by what `{}.{}` counts by.",
                repartition.topic(),
                node.chain,
                node.id.trim_end_matches(".repartition")
            ));
        }
    }
    if let (Some(from), SourceBody::Log(source)) = (&chain.source.repartitioned, &chain.source.bound.body) {
        because.push(format!("Topic `{}` mixes the partitions of `{}`: each has a watermark of its own, and windows wait for the slowest.", source.topic, from.topic));
    }
    if let SourceBody::Log(source) = &chain.source.bound.body
        && let Some(start) = source.start
    {
        let begins =
            if chain.per_instance { "Each copy reads" } else { "Where nothing is committed yet it reads" };
        because.push(format!("{begins} topic `{}` {start}.", source.topic));
    }
    if chain.kept_as != chain.name {
        because.push(format!("Its positions are kept under its earlier name, `{}`.", chain.kept_as));
    }
    let policies = std::iter::once((&chain.source.id, chain.source.on_error))
        .chain(chain.nodes.iter().map(|node| (&node.id, node.on_error)));
    because.extend(policies.filter_map(|(id, policy)| match policy {
        OnError::Fail => None,
        OnError::Skip => Some(format!("`{id}` counts records that it cannot use, and drops them.")),
        OnError::DeadLetter => Some(format!(
            "Records that `{id}` cannot use go to `{}.{id}.dead`, and commit with the others.",
            chain.name
        )),
    }));
    let retries = std::iter::once((&chain.source.id, chain.source.retry))
        .chain(chain.nodes.iter().map(|node| (&node.id, node.retry)))
        .filter(|(_, retry)| *retry != Retry::default());
    because.extend(retries.map(|(id, retry)| match retry {
        Retry::Off => format!("The first passing fault of `{id}` ends the run."),
        Retry::Waits { first, longest, give_up_after } => {
            let end = give_up_after
                .map(|after| format!("; after {} the run fails", length(after)))
                .unwrap_or_default();
            format!(
                "Passing faults of `{id}` are tried again after {} to {}{end}.",
                length(first),
                length(longest)
            )
        }
    }));
    if matches!(chain.source.bound.body, SourceBody::Custom(..)) && !chain.source.bound.bounded {
        because.push(format!(
            "`{}` has no end of its own: the chain goes on until the run is stopped.",
            chain.source.id
        ));
    }
    because.push(workers(plan, chain));
    let mut steps = vec![(chain.source.id.clone(), fields(&chain.source.bound.schema))];
    steps.extend(chain.nodes.iter().map(|node| (node.id.clone(), fields(&node.input))));
    Explained { chain: chain.name.clone(), delivery, because, steps }
}

/// What a chain promises, and what would let it promise more.
pub(super) struct Promise {
    pub(super) delivery: Delivery,
    pub(super) why: String,
    /// What to do for exactly once.
    pub(super) remedy: String,
    /// True where only the end of the process breaks it: the log is in memory.
    pub(super) in_memory: bool,
}

const ON_DISK: &str = "`brokers: embedded:DIR` keeps the log on disk, or name a Kafka cluster";

impl Promise {
    fn new(delivery: Delivery, why: String, remedy: impl Into<String>) -> Self {
        Self { delivery, why, remedy: remedy.into(), in_memory: false }
    }

    fn in_memory(name: &str) -> Self {
        let why = format!("`{name}` is in memory: after a crash or a stop everything begins anew.");
        Self { in_memory: true, ..Self::new(Delivery::Anew, why, ON_DISK) }
    }
}

/// Derives it from the ends of the chain, and from what its source says of `delivery`.
pub(super) fn promise(plan: &Plan, chain: &ChainPlan) -> Promise {
    if chain.per_instance {
        let why = "Each copy of the program reads every partition from where it starts, and keeps no position: after a crash it shows what comes then.";
        let remedy = "the chain that writes its topic can promise it";
        return Promise::new(Delivery::Live, why.to_owned(), remedy);
    }
    let id = &chain.source.id;
    let home = match &chain.source.bound.body {
        SourceBody::Log(source) => plan.connections.iter().position(|(name, _)| *name == source.connection),
        SourceBody::Custom(..) => chain.keeps_position_in(&plan.connections),
    };
    let Some((name, log)) = home.and_then(|home| plan.connections.get(home)) else {
        if !chain.source.replayable {
            let passing = chain.source.bound.passing.as_ref();
            let what =
                passing.map_or_else(|| format!("What `{id}` gave"), |what| format!("What came on {what}"));
            let faults = passing.map_or("", |_| " A passing fault ends the run then.");
            let why = format!(
                "{what} and was not written yet is lost in a crash; it cannot be read again.{faults}"
            );
            let remedy = format!(
                "a chain that reads a topic can promise it: let one that does begin where `{id}` has been written"
            );
            return Promise::new(Delivery::Anew, why, remedy);
        }
        let why = format!("Nothing keeps the position of `{id}`: the next run reads it from its beginning.");
        let in_memory =
            chain.written().filter_map(|c| plan.connections.get(c)).any(|(_, log)| !log.describe().durable);
        let remedy = if in_memory {
            ON_DISK
        } else {
            "write to a topic of Kafka or of `embedded:DIR`: the position is kept there, together with the rows"
        };
        return Promise { in_memory, ..Promise::new(Delivery::Anew, why, remedy) };
    };
    let described = log.describe();
    if !described.durable {
        return Promise::in_memory(name);
    }
    let position = match &chain.source.bound.body {
        SourceBody::Log(_) => "the position in the topic".to_owned(),
        SourceBody::Custom(..) => format!("the position (in topic `{}.positions`)", plan.name),
    };
    if chain.at_least_once {
        let why = format!(
            "`delivery: at_least_once`: results are written first, then {position}: after a crash what came since the last commit is written again."
        );
        return Promise::new(Delivery::AtLeastOnce, why, "take `delivery: at_least_once` away");
    }
    // The sinks that do not commit together with the position.
    let elsewhere: Vec<&str> = chain
        .nodes
        .iter()
        .filter(|node| match &node.body {
            NodeBody::Sink(_) => true,
            NodeBody::Topic(connection, _) | NodeBody::Repartition(connection, ..) => {
                Some(*connection) != home
            }
            NodeBody::Transform(..) | NodeBody::Window(_) => false,
        })
        .map(|node| node.id.as_str())
        .collect();
    if elsewhere.is_empty() && described.transactional {
        let one = if chain.sharing == Sharing::Partitions { "" } else { " This holds for one worker." };
        let why = format!(
            "Results and {position} are one transaction: a crash loses nothing and repeats nothing.{one}"
        );
        return Promise::new(Delivery::ExactlyOnce, why, "");
    }
    let elsewhere = elsewhere.join("`, `");
    let why = format!(
        "`{elsewhere}` is not part of the transaction that commits {position}: after a crash it gets again what came since the last commit."
    );
    let remedy = format!(
        "write to a topic of `{name}` in place of `{elsewhere}`, and read that topic in a chain of its own"
    );
    Promise::new(Delivery::AtLeastOnce, why, remedy)
}

fn windows(id: &str, window: &WindowOperator, delivery: Delivery, changelog: Option<&str>) -> String {
    if delivery == Delivery::Anew {
        return format!("Open windows of `{id}` are lost in a crash; a stop closes them first.");
    }
    let (what, rows) = match window.longest() {
        Some(longest) => ("windows", format!("up to {} of rows", length(longest))),
        None => ("sessions", "from the first row of the oldest".to_owned()),
    };
    let again = format!("After a restart `{id}` reads its open {what} again: {rows}");
    match changelog {
        // Whoever keeps up reads no more than this in that time.
        Some(topic) if window.longest().is_none_or(|longest| longest > REPLAY_TIME) => format!(
            "{again}, but not what was read more than {} or {} rows before: the state of that is in topic `{topic}`.",
            length(REPLAY_TIME),
            REPLAY_ROWS
        ),
        _ => format!("{again}."),
    }
}

fn workers(plan: &Plan, chain: &ChainPlan) -> String {
    match &chain.source.bound.body {
        _ if chain.per_instance => "Any number of copies may run; each has all of it.".to_owned(),
        SourceBody::Custom(..) if chain.source.bound.passing.is_some() => {
            match chain.takes_turns_in(&plan.connections) {
                Some(_) => {
                    "One worker at a time: another one, with an input of its own, stands by until it is gone."
                }
                None => "One worker: a second copy has an input of its own.",
            }
            .to_owned()
        }
        SourceBody::Custom(..) if chain.takes_turns_in(&plan.connections).is_some() => {
            "One worker at a time: the others stand by, and one of them goes on when it is gone.".to_owned()
        }
        SourceBody::Custom(..) if chain.keeps_position_in(&plan.connections).is_some() => {
            "One process: nobody else can open its log.".to_owned()
        }
        SourceBody::Custom(..) => "One worker: a second copy reads everything as well.".to_owned(),
        SourceBody::Log(source) => {
            let shared = plan
                .connections
                .iter()
                .any(|(name, log)| *name == source.connection && log.describe().shared);
            match (shared, &chain.sharing) {
                (true, Sharing::Unknown { step, topic }) => format!(
                    "One worker: how topic `{topic}` is keyed is not known, and each of several may count a part in `{step}`. `keyed_by` beside the topic or `repartition` beside the window settles it."
                ),
                (true, Sharing::Zeros { step }) => format!(
                    "One worker: `{step}` gives zeros for the keys that `zero_fill` names, and each of several would give them for keys of the others."
                ),
                (true, Sharing::Alone { step }) => format!(
                    "One worker: `repartition: false` at `{step}` says so, and each of several would count a part."
                ),
                (true, Sharing::Partitions) => {
                    format!("As many workers as topic `{}` has partitions can share it.", source.topic)
                }
                (false, _) => "One process: nobody else can read its log.".to_owned(),
            }
        }
    }
}

/// A length of time in its greatest whole unit.
fn length(length: Duration) -> String {
    crate::config::DurationText(length).to_string()
}

fn fields(schema: &Schema) -> String {
    let field =
        |f: &std::sync::Arc<arrow_schema::Field>| format!("{} {}", f.name(), type_name(f.data_type()));
    schema.fields().iter().map(field).collect::<Vec<_>>().join(", ")
}
