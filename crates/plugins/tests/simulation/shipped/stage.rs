//! A shipped file made ready for a seed: on which log, with which input, and with what `--set` changes of it.
//!
//! Changed is only what a crash has nothing to do with: where the brokers are; a pace and times that do not
//! depend on when a row is read; and that a partition in which nothing comes holds the others up, for a fault
//! of ten seconds makes rows late otherwise, as it should.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipectl_framework::config::{ChainDecl, Document, Head, Kind, SourceFile, StepDecl, render};
use pipectl_framework::graph::{Plan, PlanOptions, plan};
use pipectl_framework::log::memory::MemoryLog;
use pipectl_framework::log::{Log, TopicSpec};
use tempfile::TempDir;

use super::files::{File, root};
use crate::scenario::START;
use crate::worker::{REGISTRY, parse};
use pipectl_framework::testing::simulation::Random;

/// So many rows of a data file are drawn from.
const DRAWN_FROM: usize = 2000;

/// Where a file runs: the logs that `explain` tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    Kafka,
    Disk,
    Memory,
    /// The file names no log.
    Nothing,
}

impl On {
    fn brokers(self) -> &'static str {
        match self {
            Self::Kafka | Self::Nothing => "127.0.0.1:1",
            Self::Disk => "embedded:log",
            Self::Memory => "embedded",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kafka => "Kafka",
            Self::Disk => "the log on disk",
            Self::Memory => "the log in memory",
            Self::Nothing => "no log",
        }
    }

    /// True where the log outlives the process.
    pub(crate) fn lasts(self) -> bool {
        matches!(self, Self::Kafka | Self::Disk)
    }
}

/// A file, a log, and the chain that is told to deliver at least once.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) file: Arc<File>,
    pub(crate) on: On,
    pub(crate) at_least_once: Option<String>,
}

impl Case {
    pub(crate) fn name(&self) -> String {
        let name = format!("{} on {}", self.file.name, self.on.name());
        match &self.at_least_once {
            Some(chain) => format!("{name}, `{chain}` with `delivery: at_least_once`"),
            None => name,
        }
    }
}

/// A CSV file, made for a seed.
struct Data {
    /// In the repository.
    path: PathBuf,
    header: String,
    rows: Vec<String>,
}

pub(crate) struct Stage {
    pub(crate) case: Case,
    folder: TempDir,
    data: Vec<Data>,
    document: Document,
    /// The same for an undisturbed run.
    plain: Document,
    /// And for one without the zeros of keys that were seen before.
    without_zeros: Document,
    /// Of topics of which nobody says how many they have.
    partitions: u32,
}

impl Stage {
    pub(crate) fn new(case: &Case, random: &mut Random) -> Self {
        let file = &case.file;
        let anything = |_: &str| Some(On::Kafka.brokers().to_owned());
        let source = SourceFile::new(&file.name, file.text.as_str());
        let written = Document::parse(&source, &[], &anything)
            .unwrap_or_else(|problems| panic!("{}", render(&problems, false)));
        // Either rows have times of their own, by which each is known, or the file is as it was written.
        let must_be_known = case.at_least_once.is_some() || written.chains.iter().any(has_window);
        let own_times = case.on.lasts() && (must_be_known || random.chance(500));
        let mut data = BTreeMap::new();
        let mut set = Vec::new();
        for chain in &written.chains {
            set.extend(settings(case, chain, own_times));
            if let Some(path) = csv_path(chain) {
                let path = file.folder.join(path);
                data.entry(path.clone()).or_insert_with(|| draw(&path, &file.name, random));
            }
        }
        let with_brokers = |on: On| {
            let connections = written.connections.iter().map(|connection| &connection.name.text);
            let brokers = connections.map(|name| format!("connections.{name}.brokers={}", on.brokers()));
            brokers.chain(set.iter().cloned()).collect::<Vec<_>>()
        };
        let document = parse(&file.text, &with_brokers(case.on));
        let plain = parse(&file.text, &with_brokers(On::Kafka));
        let zeros = written.chains.iter().flat_map(zero_fills);
        let without_zeros = with_brokers(On::Kafka).into_iter().chain(zeros).collect::<Vec<_>>();
        let without_zeros = parse(&file.text, &without_zeros);
        // Rows that are there again have times that others have passed: which of them are late is only
        // certain within a partition.
        let several = case.on.lasts() && case.at_least_once.is_none();
        let partitions = if several { random.between(1, 3) } else { 1 };
        let folder = tempfile::tempdir().expect("a folder");
        let stage = Self {
            case: case.clone(),
            folder,
            data: data.into_values().collect(),
            document,
            plain,
            without_zeros,
            partitions: partitions as u32,
        };
        stage.write(stage.folder.path(), None);
        stage
    }

    pub(crate) fn show(&self) {
        println!("{}, {} partitions", self.case.name(), self.partitions);
    }

    /// Writes the input into a folder that stands for the repository: all of it, or so many rows, from the
    /// beginning again at its end. Gives the pipeline file's folder.
    pub(crate) fn write(&self, folder: &Path, rows: Option<u64>) -> PathBuf {
        let base = folder.join(&self.case.file.folder);
        std::fs::create_dir_all(&base).expect("a folder");
        for data in &self.data {
            let rows = rows.map_or(data.rows.len(), |rows| rows as usize);
            let mut text = format!("{}\n", data.header);
            for row in data.rows.iter().cycle().take(rows) {
                text += row;
                text.push('\n');
            }
            let path = plainly(&folder.join(&data.path));
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        base
    }

    /// How many rows a file of the input has.
    pub(crate) fn rows(&self) -> u64 {
        self.data.iter().map(|data| data.rows.len() as u64).max().unwrap_or_default()
    }

    /// The plan, on the logs that the file names.
    pub(crate) fn plan(&self) -> Plan {
        self.planned(&self.document, &self.folder.path().join(&self.case.file.folder), &[])
    }

    /// The plan of some chains by themselves.
    pub(crate) fn plain(&self, base: Option<&Path>, only: &[String], zeros: bool) -> Plan {
        let own = self.folder.path().join(&self.case.file.folder);
        let document = if zeros { &self.plain } else { &self.without_zeros };
        self.planned(document, base.unwrap_or(&own), only)
    }

    fn planned(&self, document: &Document, base: &Path, only: &[String]) -> Plan {
        let planned = plan(
            document,
            PlanOptions {
                registry: &REGISTRY,
                base,
                only,
                purpose: pipectl_framework::plugin::Purpose::Check,
            },
        );
        let (plan, _) = planned.unwrap_or_else(|problems| {
            panic!(
                "{} cannot be planned; a plugin of another crate must be linked into the simulation, as the \
                 `age-group` transform is: {}",
                self.case.name(),
                render(&problems, false)
            )
        });
        assert!(plan.connections.len() <= 1, "{}: one log is simulated, not several", self.case.name());
        plan
    }

    /// The topics of a plan, with as many partitions as they have in this seed.
    pub(crate) fn topics(&self, plan: &Plan) -> Vec<TopicSpec> {
        let topics = plan.topics.iter().map(|topic| TopicSpec {
            partitions: topic.spec.partitions.or(Some(self.partitions)),
            create: true,
            ..topic.spec.clone()
        });
        topics.collect()
    }

    /// An empty log with the file's topics.
    pub(crate) async fn log(&self) -> MemoryLog {
        let log = MemoryLog::default();
        log.ensure_topics(&self.topics(&self.plan())).await.expect("topics");
        log
    }
}

/// True where rows of a file are counted in windows.
fn has_window(chain: &ChainDecl) -> bool {
    is_csv(&chain.steps[0]) && chain.steps.iter().any(is_window)
}

fn is_csv(step: &StepDecl) -> bool {
    match &step.head {
        Head::Plugin(Kind::Source, plugin) => plugin.text == "csv",
        _ => false,
    }
}

fn is_window(step: &StepDecl) -> bool {
    matches!(&step.head, Head::Plugin(Kind::Window, _))
}

/// Takes the zeros of a chain's windows away.
fn zero_fills(chain: &ChainDecl) -> Vec<String> {
    let fills = |step: &StepDecl| is_window(step) && step.with.get("zero_fill").is_some();
    let steps = chain.steps.iter().enumerate().filter(|(_, step)| fills(step));
    steps.map(|(index, _)| format!("pipelines.{}.{index}.with.zero_fill=off", chain.name.text)).collect()
}

/// The file that a chain reads; an empty list where it reads a topic.
fn csv_path(chain: &ChainDecl) -> Option<String> {
    let step = &chain.steps[0];
    match &step.head {
        Head::Plugin(Kind::Source, plugin) if plugin.text == "kafka" => None,
        Head::From(_) => None,
        Head::Plugin(Kind::Source, plugin) if plugin.text == "csv" && step.with.get("columns").is_none() => {
            let path = step.with.get("path").and_then(|path| path.text());
            Some(path.expect("a path").to_owned())
        }
        Head::Plugin(..) | Head::Unknown(_) => panic!(
            "chain `{}` reads what the simulation cannot make: let `stage.rs` of it make input for this source",
            chain.name.text
        ),
    }
}

/// What `--set` changes in a chain.
fn settings(case: &Case, chain: &ChainDecl, own_times: bool) -> Vec<String> {
    let name = &chain.name.text;
    let mut set = Vec::new();
    let source = &chain.steps[0];
    if is_csv(source) {
        let timed = source.time.is_some();
        if own_times && !timed {
            set.push(format!("pipelines.{name}.0.time={{ field: t, format: epoch_ms }}"));
        }
        if (own_times || timed) && source.with.get("repeat").is_some() {
            set.push(format!("pipelines.{name}.0.with.repeat=false"));
        }
        if !timed && source.with.get("rate").is_none() {
            // Without a rate a row has the time at which it was read.
            set.push(format!("pipelines.{name}.0.with.rate=20/s"));
            set.push(format!("pipelines.{name}.0.with.speed=max"));
        }
    }
    if case.at_least_once.as_ref() == Some(name) {
        set.push(format!("pipelines.{name}.0.delivery=at_least_once"));
    }
    for (index, step) in chain.steps.iter().enumerate().filter(|(_, step)| is_window(step)) {
        let time = step.with.get("time").and_then(|time| time.text());
        assert!(
            time != Some("processing"),
            "{name}.{}: no two runs count the same by the wall clock",
            step.id
        );
        set.push(format!("pipelines.{name}.{index}.with.idle=10m"));
    }
    set
}

/// Draws rows from a data file of the repository: some keys come often. Each gets a time `t` of its own,
/// later than the one before.
fn draw(path: &Path, file: &str, random: &mut Random) -> Data {
    let shipped = std::fs::File::open(root().join(path));
    let shipped = shipped.unwrap_or_else(|error| panic!("{file} reads {}: {error}", path.display()));
    let mut lines = BufReader::new(shipped).lines().map(|line| line.expect("a line"));
    let header = lines.next().expect("a header");
    let lines: Vec<String> = lines.take(DRAWN_FROM).collect();
    let near = random.between(0, lines.len() as u64 - 60);
    let mut time = START;
    let rows = (0..random.between(40, 100)).map(|_| {
        let index = if random.chance(600) {
            near + random.between(0, 60)
        } else {
            random.between(0, lines.len() as u64)
        };
        time += random.between(1, 200) as i64;
        format!("{},{time}", lines[index as usize])
    });
    let rows = rows.collect();
    Data { path: path.to_owned(), header: format!("{header},t"), rows }
}

/// Takes each `FOLDER/..` out of a path.
fn plainly(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        if part == std::path::Component::ParentDir {
            plain.pop();
        } else {
            plain.push(part);
        }
    }
    plain
}
