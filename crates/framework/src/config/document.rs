//! The file as it was written: names, chains and steps, each with its place; nothing resolved.

use std::fmt;
use std::sync::Arc;

use super::diagnostic::Diagnostic;
use super::interpolate::interpolate;
use super::place::{Place, SourceFile};
use super::set;
use super::shape::Shape;
use super::yaml::{self, Node};

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
    /// What is wrong with all this. Such a document can be planned, to find what else is wrong, but never
    /// run.
    pub(crate) problems: Vec<Diagnostic>,
    /// The values that are not those that were meant, as a variable that is not set.
    pub(crate) holes: Vec<Place>,
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
    /// What it is cannot be told, or only of which kind; that has been reported.
    Unknown(Option<Kind>),
}

impl Head {
    /// The kind of the step: a source, too, where it begins `from:` others. `None` where it cannot be told.
    pub(crate) fn kind(&self) -> Option<Kind> {
        match self {
            Self::Plugin(kind, _) => Some(*kind),
            Self::From(_) => Some(Kind::Source),
            Self::Unknown(kind) => *kind,
        }
    }
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

impl std::fmt::Display for StepRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let output = match self.output {
            Output::Main => "",
            Output::Late => ".late",
            Output::Dead => ".dead",
        };
        write!(f, "{}.{}{output}", self.chain, self.step)
    }
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

/// What a crash may do to the results of a chain, as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryDecl {
    /// `exactly_once`
    ExactlyOnce,
    /// `at_least_once`
    AtLeastOnce,
}

/// A step.
#[derive(Debug, Clone)]
pub struct StepDecl {
    /// What it is.
    pub head: Head,
    /// Its id, unique in the chain: as written, or the plugin's name (`-2` behind the second of the same
    /// name).
    pub id: String,
    /// The name under which its state is kept, where that is another one: at the first step of a chain the
    /// chain's, at a window `STEP` or `CHAIN.STEP`.
    pub was: Option<Written>,
    /// What becomes of records that it cannot use.
    pub on_error: Option<(OnErrorDecl, Place)>,
    /// Where the time of a source's rows stands, where that is in their fields.
    pub time: Option<Node>,
    /// How passing faults of a source or a sink are tried again.
    pub retry: Option<Node>,
    /// Whether the rows of a window go through a topic of their own first.
    pub repartition: Option<Node>,
    /// How the chain of a source is to deliver.
    pub delivery: Option<(DeliveryDecl, Place)>,
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
        let document = Self::read(file, set, environment)?;
        if document.problems.is_empty() { Ok(document) } else { Err(document.problems) }
    }

    /// As [`parse`](Self::parse), but keeps a document with problems as far as it can be understood: planning
    /// finds what else is wrong, and then gives all problems together.
    ///
    /// # Errors
    /// Where nothing of it can be understood.
    pub fn read(
        file: &Arc<SourceFile>,
        set: &[String],
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut root = yaml::parse(file)?;
        let (mut problems, mut holes) = (Vec::new(), Vec::new());
        for argument in set {
            if let Err(problem) = set::apply(&mut root, argument) {
                problems.push(problem);
            }
        }
        // Where an argument changes nothing, the file is not what was meant.
        let set_failed = !problems.is_empty();
        interpolate(&mut root, environment, &mut problems, &mut holes);
        match (Shape { problems: &mut problems }).document(&root) {
            Some(document) if !set_failed => Ok(Self { problems, holes, ..document }),
            _ => Err(problems),
        }
    }
}

impl Document {
    /// True for what is said of a value that is not the one that was meant, such as a variable that is not
    /// set.
    pub(crate) fn is_follow_up(&self, problem: &Diagnostic) -> bool {
        let place = &problem.primary.place;
        let inside =
            |hole: &Place| hole.file == place.file && hole.start <= place.start && place.end <= hole.end;
        self.holes.iter().any(inside) && !self.problems.contains(problem)
    }
}

impl StepDecl {
    /// What stands where a step should be, and cannot be understood.
    pub(super) fn unknown(node: &Node, kind: Option<Kind>) -> Self {
        Self {
            was: None,
            head: Head::Unknown(kind),
            id: String::new(),
            on_error: None,
            time: None,
            retry: None,
            repartition: None,
            delivery: None,
            with: Node::empty_map(node.place.clone()),
            place: node.place.clone(),
        }
    }

    /// Where the step says what it is.
    pub fn head_place(&self) -> Place {
        match &self.head {
            Head::Plugin(_, plugin) => plugin.place.clone(),
            Head::From(references) => references.first().map_or(self.place.clone(), |r| r.place.clone()),
            Head::Unknown(_) => self.place.clone(),
        }
    }
}
