//! A shipped file while things go wrong.

use crate::told;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::BinaryArray;
use pipectl_framework::graph::Plan;
use pipectl_framework::log::memory::MemoryLog;
use pipectl_framework::log::{Append, Log, LogWriter, WriterOptions};
use pipectl_framework::plugin::SourceBody;
use pipectl_framework::run::RunOptions;

use super::plain::{Facts, From, facts, records};
use super::seen::{Gate, Seen, watched};
use super::stage::{On, Stage};
use crate::scenario::START;
use crate::worker::Worker;
use pipectl_framework::testing::simulation::Random;
use pipectl_framework::testing::simulation::SimulatedLog;
use pipectl_framework::testing::simulation::{Faults, Figures, Process, SESSION_TIMEOUT, World};

/// The life of a log, and of the processes that had it.
pub(crate) struct Life {
    pub(crate) log: MemoryLog,
    pub(crate) seen: Seen,
    pub(crate) processes: Vec<Past>,
    /// An offset that a process sees is so many times the one in the log.
    pub(crate) stretch: i64,
    pub(crate) figures: Figures,
    pub(crate) violations: Vec<String>,
}

/// A process that has ended.
pub(crate) struct Past {
    pub(crate) number: u64,
    /// False where it crashed, or was fenced.
    pub(crate) in_order: bool,
    /// How many records each partition of a topic had when it began; known where nothing went wrong while it
    /// ran, but for a crash at its end.
    pub(crate) began_at: Option<BTreeMap<(String, i32), i64>>,
}

/// A process as it is to be started.
struct Cast<'a> {
    stage: &'a Stage,
    world: Arc<World>,
    log: MemoryLog,
    seen: Seen,
    stretch: i64,
    processes: Vec<Past>,
}

impl<'a> Cast<'a> {
    async fn new(stage: &'a Stage, random: &mut Random, print: bool) -> Self {
        let stretch = if stage.case.on == On::Kafka { random.between(1, 4) as i64 } else { 1 };
        Self {
            stage,
            world: World::new(random.next(), told(print)),
            log: stage.log().await,
            seen: Seen::default(),
            stretch,
            processes: Vec::new(),
        }
    }

    fn start(&self, once: bool) -> Worker {
        let process = Process::new(self.world.number());
        let mut plan = self.stage.plan();
        for (_, log) in &mut plan.connections {
            let described = log.describe();
            *log = Arc::new(
                SimulatedLog::new(&self.world, &process, &self.log, self.stretch).described(described),
            );
        }
        let gate = Gate(Some((self.world.clone(), process.clone())));
        let plan = watched(plan, &self.seen, process.number(), &gate);
        let tune = |options| RunOptions { once, ..options };
        Worker::start_with(&self.world, process, plan, Vec::new(), &tune)
    }

    fn ended(&mut self, number: u64, in_order: bool) {
        self.processes.push(Past { number, in_order, began_at: None });
    }

    async fn crash(&mut self, worker: Worker) {
        let number = worker.process.number();
        worker.crash(&self.world).await;
        self.ended(number, false);
    }

    async fn join(&mut self, worker: Worker) {
        let number = worker.process.number();
        let in_order = worker.join(&self.world).await;
        self.ended(number, in_order);
    }

    /// How many records each partition has.
    async fn ends(&self, plan: &Plan) -> BTreeMap<(String, i32), i64> {
        let mut ends = BTreeMap::new();
        for topic in &plan.topics {
            for record in records(&self.log, &topic.spec.name).await {
                ends.insert((topic.spec.name.clone(), record.partition), record.offset + 1);
            }
        }
        ends
    }

    fn over(self) -> Life {
        let (figures, violations) = (self.world.take_figures(), self.world.take_violations());
        let Self { log, seen, processes, stretch, .. } = self;
        Life { log, seen, processes, stretch, figures, violations }
    }
}

/// Some of the time, a number up to `most`.
fn some(random: &mut Random, most: u64) -> u64 {
    if random.chance(500) { random.between(1, most) } else { 0 }
}

/// On a log that outlives processes: they come and go, then everything comes to rest, and one reads on to the
/// end.
pub(crate) async fn lasting(stage: &Stage, random: &mut Random, print: bool) -> Life {
    let mut cast = Cast::new(stage, random, print).await;
    let world = cast.world.clone();
    let shared = stage.case.on == On::Kafka;
    // What goes wrong short of a crash goes wrong with a cluster.
    let mut of_a_cluster = |most| if shared { some(random, most) } else { 0 };
    let (retry, abort, ambiguous) = (of_a_cluster(20), of_a_cluster(40), of_a_cluster(100));
    world.set_faults(Faults {
        crash: some(random, 12),
        // What may be repeated is what stands between two commits.
        crash_in_commit: if stage.case.at_least_once.is_some() { 150 } else { 20 + some(random, 80) },
        retry,
        abort,
        ambiguous,
        delay: some(random, 200),
        longest: some(random, 600),
    });
    let plan = stage.plan();
    let chains = facts(&plan);
    let mut feeds = feeds(&plan, &chains, &cast.log).await;
    let length = random.between(4_000, 12_000);
    let mut slots: Vec<(Option<Worker>, u64)> = (0..if shared { random.between(1, 4) } else { 1 })
        .map(|slot| (None, if slot == 0 { 0 } else { random.between(0, 3000) }))
        .collect();
    while world.now() < length {
        for (slot, restart_at) in &mut slots {
            if let Some(worker) = slot.take() {
                if worker.process.is_dead() {
                    cast.crash(worker).await;
                    *restart_at = world.now() + random.between(0, 4000);
                } else if worker.has_ended() {
                    cast.join(worker).await;
                    *restart_at = world.now() + random.between(0, 4000);
                } else {
                    *slot = Some(worker);
                }
            }
            if slot.is_none() && world.now() >= *restart_at {
                *slot = Some(cast.start(false));
            }
        }
        for feed in &mut feeds {
            feed.give(world.now(), random).await;
        }
        if random.chance(80) {
            let index = random.between(0, slots.len() as u64) as usize;
            let (slot, restart_at) = &mut slots[index];
            if let Some(worker) = slot.take() {
                *slot = fault(&mut cast, worker, &chains, random).await;
                *restart_at = world.now() + random.between(0, 4000);
            }
        }
        tokio::time::sleep(Duration::from_millis(random.between(20, 400))).await;
    }
    world.set_faults(Faults::default());
    world.note(0, "no more faults");
    for worker in slots.into_iter().filter_map(|(slot, _)| slot) {
        worker.drain();
        cast.join(worker).await;
    }
    // Dead members are forgotten, and what is under way is settled.
    tokio::time::sleep(3 * SESSION_TIMEOUT).await;
    let began_at = cast.ends(&plan).await;
    let last = cast.start(true);
    cast.join(last).await;
    if let Some(last) = cast.processes.last_mut() {
        last.began_at = Some(began_at);
    }
    cast.over()
}

/// Something befalls a worker. Gives it back where it lives on.
async fn fault(cast: &mut Cast<'_>, worker: Worker, chains: &[Facts], random: &mut Random) -> Option<Worker> {
    let world = cast.world.clone();
    // Whatever else can happen takes a second process, or a cluster that takes this one for dead.
    let kinds = if cast.stage.case.on == On::Kafka { 5 } else { 2 };
    match random.between(0, kinds) {
        0 => {
            world.count("crash");
            cast.crash(worker).await;
            return None;
        }
        1 => {
            world.count("drain");
            worker.drain();
            cast.join(worker).await;
            return None;
        }
        2 => {
            world.count("group thrown out");
            let name = cast.stage.plan().name;
            for chain in chains.iter().filter(|chain| matches!(chain.from, From::Topic(_))) {
                cast.log.expel(&format!("{name}.{}", chain.name));
            }
        }
        3 => {
            world.count("one worker thrown out");
            worker.process.expel(&world);
        }
        _ => {
            world.count("worker stood still");
            let length = random.between(100, 12_000);
            world.stand_still(&worker.process, length);
        }
    }
    Some(worker)
}

/// On a log that dies with its process, or on none: each begins anew.
pub(crate) async fn fleeting(stage: &Stage, random: &mut Random, print: bool) -> Vec<Life> {
    let mut lives = Vec::new();
    let count = random.between(2, 5);
    for life in 1..=count {
        let last = life == count;
        let mut cast = Cast::new(stage, random, print).await;
        let world = cast.world.clone();
        if !last {
            world.set_faults(Faults {
                crash: random.between(2, 40),
                crash_in_commit: some(random, 100),
                delay: some(random, 200),
                longest: some(random, 600),
                ..Faults::default()
            });
        }
        let once = last || random.chance(500);
        let until = if last { u64::MAX } else { random.between(300, 8000) };
        let worker = cast.start(once);
        while !worker.process.is_dead() && !worker.has_ended() && world.now() < until {
            tokio::time::sleep(Duration::from_millis(random.between(1, 200))).await;
        }
        if worker.process.is_dead() || (!worker.has_ended() && random.chance(500)) {
            cast.crash(worker).await;
        } else {
            worker.drain();
            cast.join(worker).await;
        }
        for past in &mut cast.processes {
            past.began_at = Some(BTreeMap::new());
        }
        lives.push(cast.over());
    }
    lives
}

/// What somebody else writes: a topic that the file only reads.
struct Feed {
    topic: String,
    /// True for JSON with these fields, false for a text.
    fields: Option<Vec<(String, bool)>>,
    writer: Box<dyn LogWriter>,
}

async fn feeds(plan: &Plan, chains: &[Facts], log: &MemoryLog) -> Vec<Feed> {
    let mut feeds = Vec::new();
    for (chain, facts) in plan.chains.iter().zip(chains) {
        let (From::Topic(topic), SourceBody::Log(source)) = (&facts.from, &chain.source.bound.body) else {
            continue;
        };
        let is_written = plan.topics.iter().any(|t| t.spec.name == *topic && !t.writers.is_empty());
        if is_written || feeds.iter().any(|feed: &Feed| feed.topic == *topic) {
            continue;
        }
        let fields = chain.source.bound.schema.fields().iter();
        let fields = fields.map(|field| (field.name().clone(), field.data_type().is_integer())).collect();
        let fields = match source.format.as_str() {
            "json" => Some(fields),
            "text" => None,
            other => panic!("topic `{topic}` is of `{other}`: let `play.rs` of the simulation write that"),
        };
        let options = WriterOptions { transactional_id: None, transaction_timeout: Duration::from_secs(10) };
        let writer = log.writer(options).await.expect("a writer");
        feeds.push(Feed { topic: topic.clone(), fields, writer });
    }
    feeds
}

impl Feed {
    async fn give(&mut self, now: u64, random: &mut Random) {
        let rows: Vec<(String, String)> = (0..random.between(0, 6))
            .map(|_| {
                let key = format!("k{}", random.between(0, 6));
                let value = match &self.fields {
                    None => key.clone(),
                    Some(fields) => {
                        let cell = |(name, number): &(String, bool)| match number {
                            true => (name.clone(), serde_json::Value::from(7)),
                            false => (name.clone(), serde_json::Value::from(key.as_str())),
                        };
                        serde_json::Value::Object(fields.iter().map(cell).collect()).to_string()
                    }
                };
                (key, value)
            })
            .collect();
        let append = Append {
            topic: self.topic.as_str().into(),
            partition: None,
            keys: Some(BinaryArray::from_iter_values(rows.iter().map(|(key, _)| key.as_bytes()))),
            values: BinaryArray::from_iter_values(rows.iter().map(|(_, value)| value.as_bytes())),
            headers: Vec::new(),
            timestamps: rows.iter().map(|_| START + now as i64).collect(),
        };
        self.writer.append(append).await.expect("room");
    }
}
