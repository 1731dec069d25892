//! One seed: workers share a pipeline while things go wrong, then everything comes to rest and is looked at.

use crate::told;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::BinaryArray;
use pipectl_framework::log::memory::MemoryLog;
use pipectl_framework::log::{Append, Keeps, Log, LogWriter, TopicSpec, WriterOptions};
use tokio::runtime::Runtime;

use crate::oracle;
use crate::scenario::{BITS, Input, Kind, RATE, Record, START, Scenario, Shape};
use crate::worker::{Program, Worker, parse};
use pipectl_framework::testing::simulation::Random;
use pipectl_framework::testing::simulation::{Faults, Figures, World};

/// What came of a seed.
pub(crate) struct Report {
    pub(crate) figures: Figures,
    pub(crate) violations: Vec<String>,
    pub(crate) hash: u64,
    /// What was run, where a line of figures does not say it.
    pub(crate) shown: String,
}

/// Runs a seed.
pub(crate) fn run(seed: u64, print: bool) -> Report {
    caught(|| run_on_a_runtime(seed, print))
}

/// A panic is a violation as well.
pub(crate) fn caught(run: impl FnOnce() -> Report) -> Report {
    std::panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let violations = vec![format!("panic: {}", text.unwrap_or_default())];
        Report { figures: Figures::new(), violations, hash: 0, shown: String::new() }
    })
}

/// One whose clock moves only when nothing else can.
pub(crate) fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().expect("a runtime")
}

fn run_on_a_runtime(seed: u64, print: bool) -> Report {
    let folder = tempfile::tempdir().expect("a folder");
    runtime().block_on(async {
        let world = World::new(seed, told(print));
        let mut random = Random::new(seed ^ 0xa5a5);
        let scenario = Scenario::new(&mut random);
        if print {
            println!("{scenario:#?}\n{}", scenario.yaml());
        }
        Trial::new(world.clone(), scenario, random, folder.path()).await.run().await;
        let hash = world.hash();
        let (figures, violations) = (world.take_figures(), world.take_violations());
        Report { figures, violations, hash, shown: String::new() }
    })
}

struct Trial<'a> {
    world: Arc<World>,
    scenario: Scenario,
    random: Random,
    folder: &'a Path,
    log: MemoryLog,
    records: Vec<Record>,
}

/// The longest session, in milliseconds: each key falls silent every four seconds.
const LONGEST: i64 = 8000;

impl<'a> Trial<'a> {
    async fn new(world: Arc<World>, scenario: Scenario, random: Random, folder: &'a Path) -> Self {
        let log = MemoryLog::default();
        let topics = [("rows", scenario.partitions), ("out", 2), ("late", 2), ("dead", 1)];
        let specs = topics.map(|(name, partitions)| TopicSpec {
            name: name.to_owned(),
            partitions: Some(partitions),
            create: true,
            keeps: Keeps::AsTheLog,
        });
        log.ensure_topics(&specs).await.expect("topics");
        Self { world, scenario, random, folder, log, records: Vec::new() }
    }

    /// Makes a record that lies a little behind `now`.
    fn record(&mut self, now: u64) -> Record {
        let key = self.scenario.key(now, &mut self.random);
        let kind = match self.random.between(0, 100) {
            0..=2 => Kind::Broken,
            3..=10 => Kind::Filtered,
            _ => Kind::Counts,
        };
        let name = self.scenario.keys[key].clone();
        let time = START + now as i64 - self.scenario.behind(&mut self.random);
        let bit = self.free_bit(&name, time);
        // Where all bits are in use nearby, it is one that does not count.
        let (bit, kind) = bit.map_or((0, Kind::Filtered), |bit| (bit, kind));
        let record = Record { id: self.records.len() as i64, key: name, time, bit, kind };
        self.records.push(record.clone());
        record
    }

    /// A bit that no other record of the key has that may be in one window with it.
    fn free_bit(&self, key: &str, time: i64) -> Option<u64> {
        let longest = match self.scenario.shape {
            Shape::Grid { size, .. } => size,
            Shape::Session { .. } => LONGEST,
        };
        let near = |r: &&Record| r.key == key && (r.time - time).abs() <= longest;
        let used = self.records.iter().filter(near).fold(0_u64, |used, r| used | 1 << r.bit);
        (0..BITS).find(|bit| used & (1 << bit) == 0)
    }

    async fn produce(&mut self, writer: &mut dyn LogWriter, most: u64) {
        let now = self.world.now();
        let records: Vec<Record> = (0..self.random.between(0, most)).map(|_| self.record(now)).collect();
        let keys: Vec<&[u8]> = records.iter().map(|r| r.key.as_bytes()).collect();
        let values: Vec<String> = records.iter().map(Record::json).collect();
        let append = Append {
            topic: "rows".into(),
            partition: None,
            keys: Some(BinaryArray::from_vec(keys)),
            values: BinaryArray::from_iter_values(values),
            headers: Vec::new(),
            timestamps: records.iter().map(|r| r.time).collect(),
        };
        writer.append(append).await.expect("room");
    }

    /// Writes the file that a source reads as long as there are faults.
    fn write_file(&mut self) {
        let rows = self.scenario.length * RATE / 1000;
        let mut text = String::from("id,k,f,w,t\n");
        for row in 0..rows {
            text += &self.record(row * 1000 / RATE).line();
            text.push('\n');
        }
        std::fs::write(self.folder.join("rows.csv"), text).expect("a file");
    }

    fn faults(&mut self) -> Faults {
        let random = &mut self.random;
        let mut some = |most: u64| if random.chance(500) { random.between(1, most) } else { 0 };
        Faults {
            crash: some(6),
            crash_in_commit: some(80),
            retry: some(20),
            abort: some(40),
            ambiguous: some(100),
            delay: some(200),
            longest: some(600),
        }
    }

    async fn run(mut self) {
        let yaml = self.scenario.yaml();
        let document = parse(&yaml, &[]);
        let (log, folder, stretch) = (self.log.clone(), self.folder.to_owned(), self.scenario.stretch);
        let program = Program { document: &document, base: &folder, log: &log, stretch };
        let options = WriterOptions { transactional_id: None, transaction_timeout: Duration::from_secs(10) };
        let mut producer = log.writer(options).await.expect("a writer");
        if self.scenario.input != Input::Topic {
            self.write_file();
        }
        let faults = self.faults();
        self.world.set_faults(faults);
        let mut workers: Vec<Option<Worker>> = Vec::new();
        let mut restart_at: Vec<u64> = Vec::new();
        for worker in 0..self.scenario.workers {
            workers.push(None);
            restart_at.push(if worker == 0 { 0 } else { self.random.between(0, 3000) });
        }
        let nemesis: Vec<u64> =
            (0..8).map(|_| if self.random.chance(500) { self.random.between(1, 60) } else { 0 }).collect();
        while self.world.now() < self.scenario.length {
            self.look_after(&program, &mut workers, &mut restart_at).await;
            if self.scenario.input == Input::Topic {
                let most = if self.random.chance(100) { 30 } else { 8 };
                self.produce(&mut *producer, most).await;
            }
            for (fault, per_mille) in nemesis.iter().enumerate() {
                if self.random.chance(*per_mille) {
                    self.fault(fault, &program, &mut workers, &mut restart_at).await;
                }
            }
            let pause = self.random.between(20, 600);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        self.world.set_faults(Faults::default());
        self.rest(&program, workers, &mut restart_at).await;
        oracle::check(&self.world, &self.scenario, &self.records, &log).await;
    }

    /// The chains of a worker. A file has one reader.
    fn chains(&self, worker: usize) -> Vec<String> {
        if worker == 0 || self.scenario.input == Input::Topic {
            return Vec::new();
        }
        vec!["dead0".to_owned(), "late".to_owned()]
    }

    /// Starts workers that are due, and takes note of those that have ended.
    async fn look_after(
        &mut self,
        program: &Program<'_>,
        workers: &mut [Option<Worker>],
        restart_at: &mut [u64],
    ) {
        for (index, slot) in workers.iter_mut().enumerate() {
            if let Some(worker) = slot.take() {
                if worker.process.is_dead() {
                    worker.crash(&self.world).await;
                    restart_at[index] = self.world.now() + self.random.between(0, 4000);
                } else if worker.has_ended() {
                    worker.join(&self.world).await;
                    restart_at[index] = self.world.now() + self.random.between(0, 4000);
                } else {
                    *slot = Some(worker);
                }
            }
            if slot.is_none() && self.world.now() >= restart_at[index] {
                *slot = Some(Worker::start(&self.world, program, self.chains(index), false));
            }
        }
    }

    async fn fault(
        &mut self,
        fault: usize,
        program: &Program<'_>,
        workers: &mut [Option<Worker>],
        restart_at: &mut [u64],
    ) {
        let index = self.random.between(0, workers.len() as u64) as usize;
        let Some(worker) = workers[index].take() else { return };
        let (world, now) = (self.world.clone(), self.world.now());
        match fault {
            0 => {
                world.count("crash");
                worker.crash(&world).await;
                restart_at[index] = now + self.random.between(0, 10_000);
                return;
            }
            1 => {
                // It stops in order; or it is killed while it does.
                world.count("drain");
                worker.drain();
                worker.join(&world).await;
                restart_at[index] = now + self.random.between(0, 3000);
                return;
            }
            2 => {
                world.count("group thrown out");
                self.log.expel("sim.count");
            }
            3 => {
                world.count("one worker thrown out");
                worker.process.expel(&world);
            }
            4 => {
                world.count("worker stood still");
                let length = self.random.between(100, 12_000);
                world.stand_still(&worker.process, length);
            }
            5 => {
                world.count("worker cut off");
                worker.process.cut_off(now + self.random.between(100, 5000));
            }
            6 => {
                // Somebody takes its transactional ids.
                world.fence(&worker.process, &self.log).await.expect("a writer");
            }
            _ => {
                // A second copy takes its place before it is gone.
                world.count("second copy");
                let copy = Worker::start(&world, program, worker.only.clone(), false);
                let pause = self.random.between(0, 2000);
                tokio::time::sleep(Duration::from_millis(pause)).await;
                if self.random.chance(500) {
                    worker.crash(&world).await;
                } else {
                    worker.drain();
                    worker.join(&world).await;
                }
                workers[index] = Some(copy);
                return;
            }
        }
        workers[index] = Some(worker);
    }

    /// No more faults: everything is read, and every window closes.
    async fn rest(
        &mut self,
        program: &Program<'_>,
        mut workers: Vec<Option<Worker>>,
        restart_at: &mut [u64],
    ) {
        let world = self.world.clone();
        world.note(0, "no more faults");
        restart_at.fill(0);
        // Whatever still stands still or is cut off comes back meanwhile, and dead members are forgotten.
        for _ in 0..20 {
            self.look_after(program, &mut workers, restart_at).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        if !self.scenario.once_at_end {
            // Twice: a worker that somebody fenced may find out when it commits its first result, and waits
            // for its idle partitions anew.
            let idle = Duration::from_millis(2 * self.scenario.idle() + 20_000);
            tokio::time::sleep(idle).await;
        }
        for worker in workers.into_iter().flatten() {
            worker.drain();
            worker.join(&world).await;
        }
        if self.scenario.once_at_end {
            Worker::start(&world, program, Vec::new(), true).join(&world).await;
        }
    }
}
