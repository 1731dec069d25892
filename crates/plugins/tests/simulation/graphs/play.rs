//! Runs of a file, one after another, over inputs that grow.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::BinaryArray;
use pipectl_framework::config::Document;
use pipectl_framework::graph::{Delivery, NodeBody, PlanOptions, explain, plan};
use pipectl_framework::log::memory::{MemoryLog, MemoryOptions};
use pipectl_framework::log::{Append, Keeps, Log, LogWriter, TopicSpec, WriterOptions};
use pipectl_framework::run::RunOptions;

use super::file;
use super::input::{LARGEST, Record, header};
use super::oracle::{Found, Left, check};
use crate::shipped::plain::{Record as Held, records};
use crate::shipped::seen::{Gate, Seen, watched};
use crate::worker::{Program, REGISTRY, Worker, parse};
use pipectl_framework::testing::simulation::Random;
use pipectl_framework::testing::simulation::{Faults, Process, SESSION_TIMEOUT, World};

/// What is played.
#[derive(Debug, Clone)]
pub(crate) struct Play {
    pub(crate) yaml: String,
    /// The topics that somebody else writes: name, partitions, and what comes before and in each phase; the
    /// last portion comes at the end.
    pub(crate) topics: Vec<(String, u32, Vec<Vec<Record>>)>,
    /// The files, in the same way.
    pub(crate) files: Vec<(String, Vec<Vec<Record>>)>,
    pub(crate) phases: Vec<Phase>,
    pub(crate) stretch: i64,
    /// After so many rows of a partition, or so many milliseconds, open windows go to the changelog; `None`
    /// as where nobody says.
    pub(crate) replay: Option<(i64, u64)>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Phase {
    pub(crate) how: How,
    pub(crate) faults: bool,
    /// How the paths of files are written.
    pub(crate) spelling: usize,
    pub(crate) edit: Edit,
}

/// What stands otherwise in the file of a run, and changes nothing of what the steps of the others give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edit {
    None,
    /// Its chains, in the opposite order.
    Reversed,
    /// One more window over the first source, above all others; the next run is without it again.
    Inserted,
}

impl Edit {
    fn of(self, yaml: &str) -> String {
        let (head, chains) = yaml.split_at(yaml.find("  c").unwrap_or_default());
        match self {
            Self::None => yaml.to_owned(),
            Self::Reversed => {
                let mut blocks: Vec<String> = Vec::new();
                for line in chains.lines() {
                    match blocks.last_mut().filter(|_| line.starts_with("   ")) {
                        Some(block) => block.extend([line, "\n"]),
                        None => blocks.push(format!("{line}\n")),
                    }
                }
                blocks.reverse();
                format!("{head}{}", blocks.concat())
            }
            Self::Inserted => format!(
                "{head}  x0:
    - from: c1.s
    - window: count-by-key
      id: w
      with: {{ key: k, size: 1m, idle: 10m }}
    - sink: kafka
      with: {{ topic: extra, partitions: 1 }}
{chains}"
            ),
        }
    }
}

/// How a run goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum How {
    /// To the end of what is there.
    Once,
    /// Stopped in order after so many milliseconds.
    Stopped { workers: usize, length: u64 },
    /// Ended where it stands.
    Killed { workers: usize, length: u64 },
}

impl Play {
    /// The file as it stands in a run.
    fn spelt(&self, phase: Phase) -> String {
        let mut yaml = phase.edit.of(&self.yaml);
        for (name, _) in &self.files {
            let path = match phase.spelling {
                0 => name.clone(),
                1 => format!("./{name}"),
                _ => format!("sub/../{name}"),
            };
            yaml = yaml.replace(&format!("path: {name}"), &format!("path: {path}"));
        }
        yaml
    }

    fn on_disk(&self) -> bool {
        self.yaml.contains("embedded:")
    }

    /// The same with a file that is edited between the runs.
    pub(crate) fn edited(mut self, random: &mut Random) -> Self {
        for phase in &mut self.phases {
            phase.edit = random.pick(&[Edit::None, Edit::Reversed, Edit::Inserted]);
        }
        self
    }

    /// The same without its phases: everything comes at the end.
    pub(crate) fn at_once(mut self) -> Self {
        self.phases.clear();
        self.topics.iter_mut().for_each(|(_, _, portions)| *portions = vec![portions.concat()]);
        self.files.iter_mut().for_each(|(_, portions)| *portions = vec![portions.concat()]);
        self
    }

    /// The rows of each topic and file, a line each.
    pub(crate) fn rows(&self) -> String {
        let topics = self.topics.iter().map(|(name, _, portions)| (name, portions));
        let files = self.files.iter().map(|(name, portions)| (name, portions));
        let line = |name: &str, phase: usize, row: &Record| {
            format!("{name}, phase {phase}, {}: {}\n", row.time - crate::scenario::START, row.value)
        };
        let of = |(name, portions): (&String, &Vec<Vec<Record>>)| {
            let phases = portions.iter().enumerate();
            phases.flat_map(|(n, rows)| rows.iter().map(move |row| line(name, n, row))).collect::<String>()
        };
        topics.chain(files).map(of).collect()
    }

    pub(crate) fn show(&self) -> String {
        let mut text = format!("{}\n", self.yaml);
        let count = |portions: &[Vec<Record>]| portions.iter().map(Vec::len).collect::<Vec<_>>();
        for (name, partitions, portions) in &self.topics {
            let _ = writeln!(
                text,
                "topic {name} of {partitions} partitions: rows of each phase {:?}",
                count(portions)
            );
        }
        for (name, portions) in &self.files {
            let _ = writeln!(text, "file {name}: rows of each phase {:?}", count(portions));
        }
        if let Some((rows, millis)) = self.replay {
            let _ = writeln!(text, "open windows go to the changelog after {rows} rows or {millis} ms");
        }
        for (number, phase) in self.phases.iter().enumerate() {
            let _ = writeln!(text, "{number}: {phase:?}");
        }
        text
    }
}

/// The window of [`Edit::Inserted`].
const INSERTED: &str = "x0.w";

/// For how long faults go on while a run is to come to its end.
const LONGEST_FAULTS: Duration = Duration::from_secs(600);

/// Plays it, and looks at what came of it.
pub(crate) async fn play(world: &Arc<World>, play: &Play, random: &mut Random, folder: &Path) -> Found {
    std::fs::create_dir_all(folder.join("sub")).expect("a folder");
    let log = small();
    let specs = play.topics.iter().map(|(name, partitions, _)| topic(name, *partitions));
    log.ensure_topics(&specs.collect::<Vec<_>>()).await.expect("topics");
    let stage = Stage { world, play, folder, log: &log, seen: Seen::default() };
    play.files.iter().for_each(|(name, _)| write(&folder.join(name), &format!("{}\n", header())));
    for (number, phase) in play.phases.iter().enumerate() {
        world.note(0, &format!("phase {number}"));
        stage.phase(number, *phase, random).await;
    }
    world.set_faults(Faults::default());
    world.note(0, "no more faults");
    // Dead members are forgotten, and what is under way is settled.
    tokio::time::sleep(3 * SESSION_TIMEOUT).await;
    stage.files(play.phases.len());
    stage.topics(play.phases.len(), None).await;
    let document = parse(&play.yaml, &[]);
    stage.start(&document, true).join(world).await;
    let found = stage.left(&document).await;
    log_what_was_found(world, &found);
    found
}

fn log_what_was_found(world: &World, found: &Found) {
    found.wrong.iter().for_each(|what| world.violation(what.clone()));
    let figures = [
        ("rows of sources", found.rows),
        ("late rows", found.late),
        ("dead letters", found.dead),
        ("windows checked", found.windows),
        ("results checked", found.results),
        ("rows too large for a sink", found.large),
        ("rows without room in a window", found.roomless),
        ("rows there again, as they may be", found.repeated),
        ("windows held against an undisturbed run", found.compared),
    ];
    for (name, count) in figures {
        world.add(name, count);
    }
}

/// A log whose records may not be as large as some rows are.
fn small() -> MemoryLog {
    MemoryLog::new(MemoryOptions { max_record_bytes: LARGEST, ..MemoryOptions::default() })
}

fn topic(name: &str, partitions: u32) -> TopicSpec {
    TopicSpec { name: name.to_owned(), partitions: Some(partitions), create: true, keeps: Keeps::AsTheLog }
}

fn write(path: &Path, text: &str) {
    use std::io::Write as _;
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).expect("a file");
    file.write_all(text.as_bytes()).expect("room");
}

struct Stage<'a> {
    world: &'a Arc<World>,
    play: &'a Play,
    folder: &'a Path,
    log: &'a MemoryLog,
    /// What plugins' own sinks got.
    seen: Seen,
}

impl Stage<'_> {
    fn start(&self, document: &Document, once: bool) -> Worker {
        let program = Program { document, base: self.folder, log: self.log, stretch: self.play.stretch };
        let process = Process::new(self.world.number());
        let gate = Gate(Some((self.world.clone(), process.clone())));
        let plan = program.plan(self.world, &process, &[]);
        let plan = watched(plan, &self.seen, process.number(), &gate);
        // A run without the window that another had gives up its state, as an operator would.
        let reset_state = vec![INSERTED.to_owned()];
        let tune = |options: RunOptions| {
            let options = RunOptions { once, reset_state: reset_state.clone(), ..options };
            match self.play.replay {
                None => options,
                Some((replay_rows, millis)) => {
                    RunOptions { replay_rows, replay_time: Duration::from_millis(millis), ..options }
                }
            }
        };
        Worker::start_with(self.world, process, plan, Vec::new(), &tune)
    }

    /// The files grow.
    fn files(&self, portion: usize) {
        for (name, portions) in &self.play.files {
            let rows = portions.get(portion).into_iter().flatten();
            write(&self.folder.join(name), &rows.map(|row| format!("{}\n", row.value)).collect::<String>());
        }
    }

    /// The topics grow: all at once, or as time goes by.
    async fn topics(&self, portion: usize, mut slowly: Option<(&mut Random, u64)>) {
        let mut writers: Vec<(&str, Box<dyn LogWriter>, &[Record])> = Vec::new();
        for (name, _, portions) in &self.play.topics {
            let options =
                WriterOptions { transactional_id: None, transaction_timeout: Duration::from_secs(10) };
            let rows = portions.get(portion).map(Vec::as_slice).unwrap_or_default();
            writers.push((name, self.log.writer(options).await.expect("a writer"), rows));
        }
        while writers.iter().any(|(_, _, rows)| !rows.is_empty()) {
            for (name, writer, rows) in &mut writers {
                let count = match &mut slowly {
                    None => rows.len(),
                    Some((random, _)) => random.between(0, 12).min(rows.len() as u64) as usize,
                };
                let (now, later) = rows.split_at(count);
                *rows = later;
                append(&mut **writer, name, now).await;
            }
            if let Some((random, pause)) = &mut slowly {
                tokio::time::sleep(Duration::from_millis(random.between(1, *pause))).await;
            }
        }
    }

    async fn phase(&self, number: usize, phase: Phase, random: &mut Random) {
        let world = self.world;
        world.set_faults(if phase.faults { faults(random) } else { Faults::default() });
        self.files(number);
        let document = parse(&self.play.spelt(phase), &[]);
        match phase.how {
            How::Once => {
                world.count("run to the end");
                self.topics(number, None).await;
                // A transaction of many results may never come through all of them.
                let of = world.clone();
                world.later(LONGEST_FAULTS, async move { of.set_faults(Faults::default()) });
                for _ in 0..20 {
                    let worker = self.start(&document, true);
                    if worker.join(world).await {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(random.between(0, 8000))).await;
                }
            }
            How::Stopped { workers, length } | How::Killed { workers, length } => {
                let killed = matches!(phase.how, How::Killed { .. });
                let mut slots: Vec<Option<Worker>> =
                    (0..workers).map(|_| Some(self.start(&document, false))).collect();
                let until = world.now() + length;
                self.topics(number, Some((&mut *random, length / 8 + 2))).await;
                while world.now() < until {
                    for slot in &mut slots {
                        let Some(worker) = slot.take() else { continue };
                        if worker.process.is_dead() {
                            worker.crash(world).await;
                            tokio::time::sleep(Duration::from_millis(random.between(0, 1000))).await;
                            *slot = Some(self.start(&document, false));
                        } else if worker.has_ended() {
                            worker.join(world).await;
                        } else {
                            if phase.faults && random.chance(40) {
                                self.befalls(&worker, random).await;
                            }
                            *slot = Some(worker);
                        }
                    }
                    tokio::time::sleep(Duration::from_millis(random.between(20, 400))).await;
                }
                for worker in slots.into_iter().flatten() {
                    if killed {
                        world.count("run killed");
                        worker.crash(world).await;
                    } else {
                        world.count("run stopped in order");
                        worker.drain();
                        worker.join(world).await;
                    }
                }
            }
        }
    }

    /// Something that is no crash befalls a worker of a cluster.
    async fn befalls(&self, worker: &Worker, random: &mut Random) {
        let world = self.world;
        if self.play.on_disk() {
            return;
        }
        match random.between(0, 5) {
            0 => {
                world.count("group thrown out");
                self.log.expel("sim.c1");
            }
            1 => {
                world.count("one worker thrown out");
                worker.process.expel(world);
            }
            2 => {
                world.count("worker stood still");
                let length = random.between(100, 12_000);
                world.stand_still(&worker.process, length);
            }
            3 => {
                world.count("worker cut off");
                worker.process.cut_off(world.now() + random.between(100, 5000));
            }
            _ => {
                // Somebody takes its transactional ids.
                world.fence(&worker.process, self.log).await.expect("a writer");
            }
        }
    }

    /// What is there at the end.
    async fn left(&self, document: &Document) -> Found {
        let undisturbed = self.undisturbed(document).await;
        let (mut topics, partitions) = held(document, self.folder, self.log).await;
        let mut notes = self.seen.lock();
        for ((sink, _), tries) in std::mem::take(&mut notes.sinks) {
            let rows = topics.entry(sink).or_default();
            rows.extend(tries.into_iter().flatten().map(|row| Held {
                partition: row.partition,
                offset: row.offset,
                time: row.time,
                key: None,
                value: row.value,
            }));
        }
        drop(notes);
        let loose = self.loose(document);
        let left = Left {
            topics: &topics,
            partitions: &partitions,
            folder: self.folder,
            loose: &loose,
            undisturbed: &undisturbed,
        };
        check(&file::read(document), &left)
    }

    /// The topics and sinks in which rows may stand again, by what `explain` says of their chains: none where
    /// nothing crashed.
    fn loose(&self, document: &Document) -> BTreeSet<String> {
        let crashed = |phase: &Phase| phase.faults || matches!(phase.how, How::Killed { .. });
        let options = PlanOptions {
            registry: &REGISTRY,
            base: self.folder,
            only: &[],
            purpose: pipectl_framework::plugin::Purpose::Check,
        };
        let (plan, _) = plan(document, options).expect("a plan");
        let mut loose = BTreeSet::new();
        for (chain, explained) in plan.chains.iter().zip(explain(&plan)) {
            self.world.count(explained.delivery.name());
            if explained.delivery == Delivery::ExactlyOnce || !self.play.phases.iter().any(crashed) {
                continue;
            }
            // What is in the transaction stays there, whatever sink stands beside it.
            loose.extend(chain.nodes.iter().filter_map(|node| match &node.body {
                NodeBody::Sink(_) => Some(format!("{}.{}", node.chain, node.id)),
                NodeBody::Topic(_, sink) if chain.at_least_once => Some(sink.topic.clone()),
                _ => None,
            }));
        }
        loose
    }

    /// What one run over the whole input leaves that nothing disturbs.
    async fn undisturbed(&self, document: &Document) -> BTreeMap<String, Vec<Held>> {
        let log = small();
        for (name, partitions, portions) in &self.play.topics {
            log.ensure_topics(&[topic(name, *partitions)]).await.expect("a topic");
            let options =
                WriterOptions { transactional_id: None, transaction_timeout: Duration::from_secs(10) };
            let mut writer = log.writer(options).await.expect("a writer");
            append(&mut *writer, name, &portions.concat()).await;
        }
        let world = World::new(0, None);
        let stage =
            Stage { world: &world, play: self.play, folder: self.folder, log: &log, seen: Seen::default() };
        stage.start(document, true).join(&world).await;
        let violations = world.take_violations();
        violations.into_iter().for_each(|what| self.world.violation(format!("undisturbed: {what}")));
        held(document, self.folder, &log).await.0
    }
}

/// What the topics of a file hold, and how many partitions each has.
async fn held(
    document: &Document,
    base: &Path,
    log: &MemoryLog,
) -> (BTreeMap<String, Vec<Held>>, BTreeMap<String, usize>) {
    let (plan, _) = plan(
        document,
        PlanOptions {
            registry: &REGISTRY,
            base,
            only: &[],
            purpose: pipectl_framework::plugin::Purpose::Check,
        },
    )
    .expect("a plan");
    let (mut topics, mut partitions) = (BTreeMap::new(), BTreeMap::new());
    for topic in &plan.topics {
        let name = topic.spec.name.clone();
        let made = log.ensure_topics(std::slice::from_ref(&topic.spec)).await.expect("a topic");
        partitions.insert(name.clone(), made[0] as usize);
        topics.insert(name.clone(), records(log, &name).await);
    }
    (topics, partitions)
}

async fn append(writer: &mut dyn LogWriter, topic: &str, rows: &[Record]) {
    if rows.is_empty() {
        return;
    }
    let append = Append {
        topic: topic.into(),
        partition: None,
        keys: Some(BinaryArray::from_iter_values(rows.iter().map(|row| row.key.as_bytes()))),
        values: BinaryArray::from_iter_values(rows.iter().map(|row| row.value.as_bytes())),
        headers: Vec::new(),
        timestamps: rows.iter().map(|row| row.time).collect(),
    };
    writer.append(append).await.expect("room");
}

fn faults(random: &mut Random) -> Faults {
    let mut some = |most: u64| if random.chance(500) { random.between(1, most) } else { 0 };
    Faults {
        crash: some(12),
        crash_in_commit: some(100),
        retry: some(20),
        abort: some(40),
        ambiguous: some(100),
        delay: some(200),
        longest: some(600),
    }
}
