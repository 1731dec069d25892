//! Everything together: brokers, workers, records, and who watches; and the end, where all of it is checked.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::check::{Found, Topics, Verdict};
use crate::cluster::Cluster;
use crate::monitor::{Arrivals, Effect, Monitor};
use crate::producer::Records;
use crate::report::{Distribution, Figures};
use crate::time::{Random, now, pause, until};
use crate::workers::Workers;
use crate::{Error, KEYS, OUTPUTS, PARTITIONS, Result, Settings};

/// How long everything may take to come back after a fault.
pub(crate) const RECOVERY: Duration = Duration::from_secs(60);
/// How long the brokers themselves may take to come back.
const OUTAGE: Duration = Duration::from_secs(180);
/// How long results are watched before the first fault.
const UNDISTURBED: Duration = Duration::from_secs(5);
/// How many workers there are.
const WORKERS: usize = 3;

/// A fault, and when it happened, in milliseconds since 1970.
#[derive(Debug, Clone)]
struct Fault {
    kind: String,
    at: i64,
}

/// A run.
pub(crate) struct Stage {
    // Dropped in this order: workers and clients before the brokers.
    pub(crate) workers: Workers,
    records: Records,
    monitor: Monitor,
    pub(crate) cluster: Cluster,
    pub(crate) random: Random,
    /// When no further fault begins.
    limit: Option<Instant>,
    topics: Topics,
    faults: Vec<Fault>,
    began: i64,
    /// Faults that nothing recovered from in time.
    unrecovered: Vec<String>,
    folder: PathBuf,
}

impl Stage {
    /// Starts everything and waits until results come.
    pub(crate) fn open(settings: &Settings, name: &str, brokers: usize) -> Result<Self> {
        // Kept: whoever looks for the cause of a failure wants the logs; the caller removes it where all is
        // well.
        let folder = tempfile::Builder::new().prefix("chaos-").tempdir()?.keep();
        println!("{name}: seed {}, files in {}", settings.seed, folder.display());
        let cluster = Cluster::start(&folder.join("kafka"), settings.brokers.unwrap_or(brokers))?;
        let suffix = now().to_string();
        let topics = Topics {
            input: format!("in-{suffix}"),
            counts: format!("counts-{suffix}"),
            late: format!("late-{suffix}"),
            copies: format!("copies-{suffix}"),
        };
        cluster.create(&[
            (&topics.input, PARTITIONS),
            (&topics.counts, OUTPUTS),
            (&topics.late, OUTPUTS),
            (&topics.copies, OUTPUTS),
        ])?;
        let mut workers = Workers::new(&settings.program()?, &folder, cluster.address(), &suffix)?;
        for _ in 0..WORKERS {
            workers.add()?;
        }
        let records = Records::start(&cluster, &topics.input, settings.rate)?;
        let monitor = Monitor::start(&cluster, &topics.counts, &topics.copies)?;
        let mut stage = Self {
            workers,
            records,
            monitor,
            cluster,
            random: Random::new(settings.seed),
            limit: settings.limit.map(|minutes| Instant::now() + Duration::from_secs_f64(minutes * 60.0)),
            topics,
            faults: Vec::new(),
            began: 0,
            unrecovered: Vec::new(),
            folder,
        };
        if !stage.recovers(now())? {
            return Err(Error::from(format!("no results; logs in {}", stage.folder.display())));
        }
        stage.began = now();
        pause(UNDISTURBED)?;
        Ok(stage)
    }

    /// The group of the chain that counts.
    pub(crate) fn group(&self) -> String {
        let suffix = self.topics.input.trim_start_matches("in-");
        format!("chaos-{suffix}.counts")
    }

    /// True where there is no time for another fault.
    pub(crate) fn over(&self) -> bool {
        self.limit.is_some_and(|limit| Instant::now() > limit)
    }

    /// Notes a fault that happens now.
    pub(crate) fn fault(&mut self, kind: &str) -> i64 {
        let at = now();
        self.faults.push(Fault { kind: kind.to_owned(), at });
        at
    }

    /// Waits until every key and partition has a result from after a time; false where that took too long.
    /// The time counts from when the brokers take records again that were made since: before that no results
    /// can come.
    pub(crate) fn recovers(&mut self, since: i64) -> Result<bool> {
        let Self { workers, records, monitor, .. } = self;
        until(OUTAGE, || {
            workers.look_at_all()?;
            Ok(records.taken(since))
        })?;
        until(RECOVERY, || {
            workers.look_at_all()?;
            Ok(monitor.recovered(since))
        })
    }

    /// The same, and what does not recover is told at the end.
    pub(crate) fn wait_for_recovery(&mut self, kind: &str, since: i64) -> Result<()> {
        let recovered = self.recovers(since)?;
        let (number, took) = (self.faults.len(), (now() - since) as f64 / 1000.0);
        if recovered {
            eprintln!("  {number:>4} {kind}: works again after {took:.1} s");
        } else {
            eprintln!("  {number:>4} {kind}: NOT after {took:.1} s");
            self.unrecovered.push(format!("{kind} at {since}"));
        }
        Ok(())
    }

    /// Waits until every copy of every partition is in step again; for a while, as Kafka may not get there.
    pub(crate) fn wait_until_whole(&mut self) -> Result<()> {
        let Self { workers, cluster, .. } = self;
        let whole = until(OUTAGE, || {
            workers.look_at_all()?;
            cluster.is_whole()
        })?;
        if !whole {
            eprintln!("       Kafka has not all copies in step after {} s", OUTAGE.as_secs());
        }
        Ok(())
    }

    /// Waits a random time, while no worker may end by itself.
    pub(crate) fn breathe(&mut self, least: u64, most: u64) -> Result<()> {
        let length = self.random.millis(least, most);
        until(length, || self.workers.look_at_all().map(|()| false)).map(|_| ())
    }

    /// A worker that runs, at random.
    pub(crate) fn any_worker(&mut self) -> Option<usize> {
        let running = self.workers.running();
        (!running.is_empty()).then(|| running[self.random.below(running.len())])
    }

    /// Ends everything in order and checks what stands in the topics. True where all is well.
    pub(crate) fn close(mut self, figures: &mut Figures) -> Result<bool> {
        let ended = now();
        let (acknowledged, refused) = self.records.finish()?;
        for worker in 0..self.workers.len() {
            if self.workers.process(worker).is_none() {
                self.workers.start(worker, None)?;
            }
        }
        let began = Instant::now();
        let mut found = Found::read(&self.cluster, &self.topics)?;
        while !found.whole() && began.elapsed() < RECOVERY {
            pause(Duration::from_secs(2))?;
            self.workers.look_at_all()?;
            found = Found::read(&self.cluster, &self.topics)?;
        }
        for worker in self.workers.running() {
            self.workers.stop(worker)?;
        }
        // Whatever a worker wrote on its way out is looked at as well.
        let found = Found::read(&self.cluster, &self.topics)?;
        let verdict = found.judge(&acknowledged);
        let mut seen = found.lines;
        let mut console = self.cluster.console(&self.topics.counts)?;
        seen.sort_unstable();
        console.sort_unstable();
        let (results, copies) = self.monitor.finish();
        figures.say("records", json!(verdict.records));
        figures.say("seconds of records", json!((ended - self.began) / 1000));
        figures.say("records that the brokers refused", json!(refused));
        tell_verdict(figures, &verdict);
        figures.say("lines of Kafka's console consumer", json!(console.len()));
        figures.say("lines that differ from what the checker read", json!(differing(&seen, &console)));
        figures.say("faults that were not recovered from within 60 s", json!(self.unrecovered));
        let taken = self.records.arrivals();
        self.tell_times(
            figures,
            [
                ("records that the brokers took", &taken, PARTITIONS),
                ("results", &results, KEYS),
                ("copies", &copies, PARTITIONS),
            ],
        );
        let gap = results.longest_gap(self.began, now());
        figures.say("longest time without a result of a key (ms)", json!(gap));
        let well = verdict.wrong() == 0 && seen == console && self.unrecovered.is_empty();
        if well {
            let folder = self.folder.clone();
            drop(self);
            remove(&folder);
        } else {
            println!("logs are kept in {}", self.folder.display());
        }
        Ok(well)
    }

    fn tell_times(&self, figures: &mut Figures, kinds_of_arrivals: [(&str, &Arrivals, usize); 3]) {
        let [_, (_, results, _), _] = kinds_of_arrivals;
        let first = self.faults.first().map_or(i64::MAX, |fault| fault.at);
        let mut calm = Distribution::default();
        // The last window before the first fault may be touched by it.
        results.delays(self.began, first - 2000).into_iter().for_each(|delay| calm.add(delay));
        figures.say("window end to result, undisturbed", calm.json());
        let mut kinds: Vec<&str> = self.faults.iter().map(|fault| fault.kind.as_str()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        for kind in kinds {
            let count = self.faults.iter().filter(|fault| fault.kind == kind).count();
            figures.say(&format!("{kind}: faults"), json!(count));
            for (of, arrivals, lanes) in kinds_of_arrivals {
                let (mut alone, mut together) = (Distribution::default(), Distribution::default());
                let (mut silence, mut never) = (Distribution::default(), 0);
                let effects: Vec<_> =
                    self.faults.iter().map(|fault| (fault, arrivals.effect(lanes, fault.at))).collect();
                for (fault, effect) in effects.iter().filter(|(fault, _)| fault.kind == kind) {
                    let Some(effect) = effect else {
                        never += 1;
                        continue;
                    };
                    let end = fault.at + effect.recovery;
                    let overlaps = |(other, its): &(&Fault, Option<Effect>)| {
                        let over = its.map_or(i64::MAX, |its| other.at + its.recovery);
                        other.at != fault.at && other.at < end && over > fault.at
                    };
                    let times = if effects.iter().any(overlaps) { &mut together } else { &mut alone };
                    times.add(effect.recovery);
                    silence.add(effect.silence);
                }
                if never > 0 {
                    figures.say(&format!("{kind}: {of} never came back"), json!(never));
                }
                for (what, times) in [
                    ("recovery", &alone),
                    ("recovery, while another fault was not over", &together),
                    ("longest wait for a thing that was due", &silence),
                ] {
                    if !times.is_empty() {
                        figures.say(&format!("{kind}: {of}, {what}"), times.json());
                    }
                }
            }
        }
    }
}

fn tell_verdict(figures: &mut Figures, verdict: &Verdict) {
    figures.say("cells of window and key", json!(verdict.cells));
    figures.say("cells lost", json!(verdict.cells_lost));
    figures.say("cells twice", json!(verdict.cells_twice));
    figures.say("cells with a wrong count", json!(verdict.cells_wrong));
    figures.say("cells without a record", json!(verdict.cells_invented));
    figures.say("rows given as late", json!(verdict.late));
    figures.say("copies lost", json!(verdict.ids_lost));
    figures.say("copies twice", json!(verdict.ids_twice));
    figures.say("acknowledged records that Kafka lost", json!(verdict.acknowledged_lost));
    if !verdict.examples.is_empty() {
        figures.say("examples", json!(verdict.examples));
    }
}

/// How many lines are in only one of two sorted lists, or more often in one.
fn differing(one: &[String], other: &[String]) -> usize {
    let (mut a, mut b, mut differ) = (0, 0, 0);
    while a < one.len() || b < other.len() {
        match (one.get(a), other.get(b)) {
            (Some(x), Some(y)) if x == y => {
                a += 1;
                b += 1;
                continue;
            }
            (Some(x), Some(y)) if x < y => a += 1,
            (Some(_), None) => a += 1,
            _ => b += 1,
        }
        differ += 1;
    }
    differ
}

fn remove(folder: &Path) {
    if let Err(e) = std::fs::remove_dir_all(folder) {
        println!("{} stays: {e}", folder.display());
    }
}

/// A run's outcome as it goes into the file of figures.
pub(crate) fn outcome(name: &str, figures: &Figures, well: bool) -> Value {
    json!({ "run": name, "well": well, "figures": figures.json() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_only_one_has_are_counted() {
        let lines = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        for (one, other, differ) in [("abc", "abc", 0), ("abc", "ac", 1), ("", "ab", 2), ("aab", "abd", 2)] {
            assert_eq!(differing(&lines(one), &lines(other)), differ, "{one} {other}");
        }
    }
}
