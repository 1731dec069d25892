//! A plan: valid by construction, made only by [`plan`](super::plan()).

use std::sync::Arc;
use std::time::Duration;

use arrow_schema::SchemaRef;

use super::repartition::Repartition;
use crate::config::Retry;
use crate::log::{Log, LogDescription, TopicSpec};
use crate::plugin::{BoundSource, LogSink, Sink, SourceBody, Stamper, Transform};
use crate::time::Speaker;
use crate::window::WindowOperator;

/// How many rows of a partition a chain reads again after a restart, at most and about, where it keeps a
/// changelog: what is read in a second or two.
pub const REPLAY_ROWS: i64 = 2_000_000;
/// How long ago the first of them was read, at most. Below this a state is not worth writing, however few
/// rows it is of.
pub const REPLAY_TIME: Duration = Duration::from_secs(120);

/// How many bytes of a committed position's note a window takes at most, beside its name and the offsets of
/// late rows: with times of before the year 10000 and offsets below 10^16.
pub const NOTE_OF_A_WINDOW: usize = 160;

/// Everything that a run needs, with all names resolved.
pub struct Plan {
    /// The pipeline's name; consumer groups and transactional ids begin with it.
    pub name: String,
    /// The logs, by connection name, in the order of the file.
    pub connections: Vec<(String, Arc<dyn Log>)>,
    /// The topics that the chains use.
    pub topics: Vec<TopicUse>,
    /// One entry per source, in the order of the file.
    pub chains: Vec<ChainPlan>,
}

/// How the chains of a file use a topic.
#[derive(Debug, Clone)]
pub struct TopicUse {
    /// Index into [`Plan::connections`].
    pub connection: usize,
    /// What the chains need of it.
    pub spec: TopicSpec,
    /// The topic that it has as many partitions as, where it is made and nobody says how many.
    pub like: Option<String>,
    /// The chains that write it: indices into [`Plan::chains`].
    pub writers: Vec<usize>,
    /// The chains that read it.
    pub readers: Vec<usize>,
}

/// A source and the tree of steps behind it: what one task runs.
pub struct ChainPlan {
    /// The name of the chain that has the source.
    pub name: String,
    /// The name under which its positions are kept: the same, unless the file says `was`.
    pub kept_as: String,
    /// The source.
    pub source: SourcePlan,
    /// The steps, each after the one it gets its rows from. Chains that begin `from:` one of these steps are
    /// among them.
    pub nodes: Vec<Node>,
    /// True where every sink wants all rows in every running copy: topics are read without a group.
    pub per_instance: bool,
    /// True where its source says `delivery: at_least_once`: results are written without a transaction, and
    /// positions kept after them.
    pub at_least_once: bool,
    /// How several workers can share it, where it reads a topic of a log that they share.
    pub sharing: Sharing,
}

/// How several workers can share a chain that reads a topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Sharing {
    /// By its partitions: what a window counts together is in one of them.
    #[default]
    Partitions,
    /// Not at all: the file says `repartition: false` at this window, `CHAIN.STEP`.
    Alone {
        /// The window.
        step: String,
    },
    /// Not at all: this window gives zeros for keys that the file names, and no worker knows which keys are
    /// another one's.
    Zeros {
        /// The window, `CHAIN.STEP`.
        step: String,
    },
    /// It is not known: each of several may count a part of what this window counts together.
    Unknown {
        /// The window, `CHAIN.STEP`.
        step: String,
        /// The topic.
        topic: String,
    },
}

impl Sharing {
    /// What holds where both do: the one that promises less.
    pub(super) fn or(self, other: Self) -> Self {
        match (&self, &other) {
            (Self::Unknown { .. }, _) => self,
            (_, Self::Unknown { .. }) => other,
            (Self::Zeros { .. }, _) => self,
            (_, Self::Zeros { .. }) => other,
            (Self::Alone { .. }, _) => self,
            _ => other,
        }
    }
}

/// The source of a chain.
pub struct SourcePlan {
    /// The step's id.
    pub id: String,
    /// The plugin's name.
    pub plugin: String,
    /// What it gives, and the part that does the work.
    pub bound: BoundSource,
    /// True where it can start again at a position.
    pub replayable: bool,
    /// True where its rows have the same times when they are read again.
    pub times_recur: bool,
    /// Gives its rows their times, where those stand in their fields.
    pub stamper: Option<Stamper>,
    /// What becomes of records that it cannot use.
    pub on_error: OnError,
    /// How its passing faults are tried again.
    pub retry: Retry,
    /// Where its rows go.
    pub outputs: Outputs,
    /// For the second part of a chain that was cut: what its topic was made of.
    pub repartitioned: Option<Repartitioned>,
}

/// What a repartition topic was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repartitioned {
    /// The topic that the first part reads, on the same connection: each of its partitions has a watermark of
    /// its own.
    pub topic: String,
}

/// Which nodes get the rows of each output of a step: indices into [`ChainPlan::nodes`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outputs {
    /// The rows that go on.
    pub main: Vec<usize>,
    /// Rows that came after their window had closed.
    pub late: Vec<usize>,
    /// Records that could not be used.
    pub dead: Vec<usize>,
}

/// What becomes of a record that a step cannot use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// The run fails, naming the record.
    #[default]
    Fail,
    /// It is counted and left out.
    Skip,
    /// It goes to the step's `dead` output.
    DeadLetter,
}

/// A step behind the source.
pub struct Node {
    /// The chain in which the step is written.
    pub chain: String,
    /// The step's id, unique in its chain.
    pub id: String,
    /// The name, `CHAIN.STEP`, under which its state is kept: its own, unless the file says `was`.
    pub kept_as: String,
    /// The plugin's name.
    pub plugin: String,
    /// The schema of what comes in.
    pub input: SchemaRef,
    /// What becomes of rows that it cannot use.
    pub on_error: OnError,
    /// How its passing faults are tried again.
    pub retry: Retry,
    /// The part that does the work.
    pub body: NodeBody,
    /// Where its rows go; sinks have none but `dead`.
    pub outputs: Outputs,
}

/// The part of a step that does the work.
pub enum NodeBody {
    /// Changes rows, to such as have this schema.
    Transform(Box<dyn Transform>, SchemaRef),
    /// Counts rows per key and window.
    Window(Box<WindowOperator>),
    /// Writes rows to a sink of the plugin's own.
    Sink(Box<dyn Sink>),
    /// Writes rows to a topic; the index is into [`Plan::connections`].
    Topic(usize, LogSink),
    /// Writes rows to a topic of the framework's own, from which the chain's second part reads them by key.
    Repartition(usize, Box<Repartition>, Speaker),
}

impl NodeBody {
    /// What a person calls it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Transform(..) => "transform",
            Self::Window(_) => "window",
            Self::Sink(_) | Self::Topic(..) => "sink",
            Self::Repartition(..) => "repartition",
        }
    }
}

impl ChainPlan {
    /// The connections that its sinks write topics on, one entry a sink.
    pub(super) fn written(&self) -> impl Iterator<Item = usize> {
        self.nodes.iter().filter_map(|node| match &node.body {
            NodeBody::Topic(connection, _) | NodeBody::Repartition(connection, ..) => Some(*connection),
            _ => None,
        })
    }

    /// The connection in whose log the chain keeps the position of a plugin's source, in the transaction of
    /// its rows: the first that it writes to and that can. `None` for a topic, which keeps positions itself,
    /// and where nothing does.
    pub fn keeps_position_in(&self, connections: &[(String, Arc<dyn Log>)]) -> Option<usize> {
        if !self.source.replayable || matches!(self.source.bound.body, SourceBody::Log(_)) {
            return None;
        }
        self.first_written(connections, |log| log.durable && log.transactional)
    }

    /// The connection in whose log workers that share it agree on the one of them that runs this chain, which
    /// reads a plugin's source. `None` for a topic, whose partitions are shared, and where every worker runs
    /// the chain for itself.
    pub fn takes_turns_in(&self, connections: &[(String, Arc<dyn Log>)]) -> Option<usize> {
        if matches!(self.source.bound.body, SourceBody::Log(_)) {
            return None;
        }
        self.first_written(connections, |log| log.shared && log.transactional)
    }

    /// The first of the connections that the chain writes to whose log is one of these.
    fn first_written(
        &self,
        connections: &[(String, Arc<dyn Log>)],
        which: impl Fn(&LogDescription) -> bool,
    ) -> Option<usize> {
        self.written().filter(|c| connections.get(*c).is_some_and(|(_, log)| which(&log.describe()))).min()
    }
}

impl ChainPlan {
    /// The topic that keeps the state of long windows: see [`keeps_windows`](Self::keeps_windows).
    pub fn changelog_topic(&self, pipeline: &str) -> String {
        format!("{pipeline}.{}.changelog", self.kept_as)
    }

    /// True where the state of long windows goes to a changelog, in the transaction of the results: a chain
    /// over a topic of a log that keeps them, whose sinks are on the same log.
    pub fn keeps_windows(&self, connections: &[(String, Arc<dyn Log>)]) -> bool {
        let SourceBody::Log(source) = &self.source.bound.body else { return false };
        let home = connections.iter().position(|(name, _)| *name == source.connection);
        let on_home =
            |node: &Node| matches!(&node.body, NodeBody::Topic(connection, _) if Some(*connection) == home);
        let windowed = self.nodes.iter().any(|node| matches!(node.body, NodeBody::Window(_)));
        let keeps = home.and_then(|home| connections.get(home)).map(|(_, log)| log.describe());
        windowed
            && !self.per_instance
            && !self.at_least_once
            && keeps.is_some_and(|log| log.durable && log.transactional)
            && self.nodes.iter().any(on_home)
    }
}

impl Plan {
    /// The chains whose topics chain `chain` reads: they end before it under `--once`.
    pub fn upstream(&self, chain: usize) -> Vec<usize> {
        let mut upstream: Vec<usize> = self
            .topics
            .iter()
            .filter(|t| t.readers.contains(&chain))
            .flat_map(|t| t.writers.iter().copied())
            .collect();
        upstream.sort_unstable();
        upstream.dedup();
        upstream
    }

    /// The chains that read a topic of chain `chain`.
    pub fn downstream(&self, chain: usize) -> Vec<usize> {
        (0..self.chains.len()).filter(|c| self.upstream(*c).contains(&chain)).collect()
    }
}
