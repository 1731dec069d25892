//! Several workers on one real Kafka: the same command N times, or each with chains of its own.

#![allow(clippy::print_stderr, clippy::unwrap_used)] // a test fails by panicking, and says when it is skipped

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Longer than anything here should take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a group takes to miss a member (`session.timeout.ms`).
const SESSION: Duration = Duration::from_secs(10);

fn kafka(what: &str) -> Option<String> {
    let brokers = std::env::var("PIPECTL_TEST_KAFKA").ok();
    if brokers.is_none() {
        eprintln!("SKIPPED {what}: set PIPECTL_TEST_KAFKA to host:port of a broker");
    }
    brokers
}

fn suffix() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("-{}-{}", std::process::id(), now.as_nanos())
}

/// A process and what it says on standard error. Killed when it is dropped.
struct Worker {
    child: Child,
    said: Receiver<String>,
    heard: Vec<String>,
}

impl Worker {
    fn start(brokers: &str, arguments: &[&str]) -> Self {
        Self::writing(brokers, arguments, Stdio::null())
    }

    /// With its standard output somewhere.
    fn writing(brokers: &str, arguments: &[&str], out: Stdio) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_pipectl"))
            .args(arguments)
            .current_dir(root)
            .env("KAFKA_BROKERS", brokers)
            .stdout(out)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (told, said) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| told.send(line)));
        Self { child, said, heard: Vec::new() }
    }

    /// Waits for a line; gives it and the time that it took.
    fn until(&mut self, text: &str) -> (String, Duration) {
        let since = Instant::now();
        loop {
            let line = self.said.recv_timeout(PATIENCE.saturating_sub(since.elapsed()));
            assert!(line.is_ok(), "never said `{text}`: {:#?}", self.heard);
            let line = line.unwrap();
            self.heard.push(line.clone());
            if line.contains(text) {
                return (line, since.elapsed());
            }
        }
    }

    /// The last that it said of these, so far.
    fn said_last<'a>(&mut self, texts: &[&'a str]) -> Option<&'a str> {
        self.heard.extend(self.said.try_iter());
        self.heard.iter().rev().find_map(|line| texts.iter().find(|text| line.contains(**text)).copied())
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(name).arg(self.child.id().to_string()).status();
        assert!(sent.unwrap().success());
    }

    fn ends(&mut self) -> (ExitStatus, String) {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.heard.extend(self.said.iter());
                return (status, self.heard.join("\n"));
            }
            assert!(since.elapsed() < PATIENCE, "does not end: {:#?}", self.heard);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn stops(&mut self) -> Duration {
        let since = Instant::now();
        self.signal("-TERM");
        let (status, said) = self.ends();
        assert!(status.success() && !said.contains("does not hold"), "{status}: {said}");
        since.elapsed()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a topic to its end: the values of a column, each with how often it is there.
fn rows_of(folder: &Path, brokers: &str, topic: &str, format: &str, column: &str) -> BTreeMap<String, usize> {
    let yaml = format!(
        "name: reads-{topic}{}
connections: {{ kafka: {{ brokers: '{brokers}' }} }}
pipelines:
  show:
    - source: kafka
      with: {{ topic: {topic}, format: {format} }}
    - sink: stdout
",
        suffix()
    );
    let file = folder.join("read.yaml");
    std::fs::write(&file, yaml).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_pipectl"))
        .args(["run", file.to_str().unwrap(), "--once"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut found = BTreeMap::new();
    for row in String::from_utf8(output.stdout).unwrap().lines() {
        let row: serde_json::Value = serde_json::from_str(row).unwrap();
        let value = row[column].as_str().map_or_else(|| row[column].to_string(), str::to_owned);
        *found.entry(value).or_default() += 1;
    }
    found
}

/// Waits until one of two stands by for the other: which is Kafka's business. Gives the one that runs the
/// file first.
fn settled(mut first: Worker, mut second: Worker) -> (Worker, Worker) {
    let since = Instant::now();
    loop {
        if second.said_last(TURN) == Some(STANDS_BY) {
            return (first, second);
        }
        if first.said_last(TURN) == Some(STANDS_BY) {
            return (second, first);
        }
        assert!(since.elapsed() < PATIENCE, "nobody stands by: {:#?} {:#?}", first.heard, second.heard);
        std::thread::sleep(Duration::from_millis(50));
    }
}

const STANDS_BY: &str = "rows: stands by: another worker runs this chain";
const RUNS_HERE: &str = "rows: runs here now";
const TURN: &[&str] = &[STANDS_BY, RUNS_HERE];

const ROWS: usize = 30_000;

/// A file of unique rows that go to a topic of six partitions, and are counted from there.
fn unique_rows(folder: &Path, brokers: &str, suffix: &str) -> PathBuf {
    let rows: String = (0..ROWS).map(|row| format!("row-{row},{}\n", row % 7)).collect();
    std::fs::write(folder.join("rows.csv"), format!("id,key\n{rows}")).unwrap();
    let yaml = format!(
        "name: scale{suffix}
connections: {{ kafka: {{ brokers: '{brokers}', partitions: 6 }} }}
pipelines:
  rows:
    - source: csv
      with: {{ path: rows.csv, rate: 1000/s }}
    - sink: kafka
      with: {{ topic: rows{suffix}, value: id }}
    - sink: kafka
      with: {{ topic: keys{suffix}, value: key, key: key }}
  count:
    - source: kafka
      with: {{ topic: keys{suffix}, format: text }}
    - window: count-by-key
      with: {{ key: value, size: 1s, out_of_orderness: 30s }}
    - sink: kafka
      with: {{ topic: counts{suffix}, encode: pairs }}
"
    );
    let file = folder.join("pipeline.yaml");
    std::fs::write(&file, yaml).unwrap();
    file
}

#[test]
fn copies_of_one_file_share_it_and_whoever_has_the_csv_is_replaced_when_it_dies_or_stops() {
    let Some(brokers) = kafka("copies of one file on a Kafka") else { return };
    let (folder, suffix) = (tempfile::tempdir().unwrap(), suffix());
    let file = unique_rows(folder.path(), &brokers, &suffix);
    let run = || Worker::start(&brokers, &["run", file.to_str().unwrap()]);
    let mut first = run();
    first.until("kafka: Kafka at");
    std::thread::sleep(Duration::from_secs(5));
    let second = run();
    let (mut leads, mut stands_by) = settled(first, second);
    std::thread::sleep(Duration::from_secs(2));
    leads.signal("-KILL");
    let (_, took) = stands_by.until(RUNS_HERE);
    eprintln!("killed: taken over after {took:?}");
    assert!(took < SESSION + Duration::from_secs(1), "{took:?}");
    assert_eq!(leads.ends().0.code(), None, "killed");

    let (mut leads, mut stands_by) = settled(stands_by, run());
    let took = leads.stops();
    let (_, taken) = stands_by.until(RUNS_HERE);
    eprintln!("stopped in {took:?}, taken over {taken:?} later");
    assert!(taken < Duration::from_secs(3), "{taken:?}");

    let last = Worker::start(&brokers, &["run", file.to_str().unwrap(), "--once"]);
    std::thread::sleep(Duration::from_secs(5));
    stands_by.stops();
    finished(last, folder.path(), &brokers, &suffix);
}

#[test]
fn a_worker_that_stood_still_finds_that_its_turn_is_over_and_stands_by() {
    let Some(brokers) = kafka("a worker that stands still on a Kafka") else { return };
    let (folder, suffix) = (tempfile::tempdir().unwrap(), suffix());
    let file = unique_rows(folder.path(), &brokers, &suffix);
    let run = |more: &[&str]| Worker::start(&brokers, &[&["run", file.to_str().unwrap()], more].concat());
    let (mut stood, mut other) = settled(run(&[]), run(&[]));
    stood.signal("-STOP");
    other.until(RUNS_HERE);
    std::thread::sleep(Duration::from_secs(1));
    stood.signal("-CONT");
    std::thread::sleep(Duration::from_secs(3));
    assert!(stood.child.try_wait().unwrap().is_none(), "it goes on: {:#?}", stood.heard);
    stood.stops();
    other.stops();
    finished(run(&["--once"]), folder.path(), &brokers, &suffix);
}

/// The shipped file with topics of its own, as fast as it goes, once through its file, and with rows in the
/// place of the page.
fn shipped(folder: &Path, suffix: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let mut yaml = std::fs::read_to_string(root.join("pipeline.yaml")).unwrap();
    let data = root.join("data/user_log.csv");
    for (from, to) in [
        ("name: taobao-gender", format!("name: shipped{suffix}")),
        ("topic: sex", format!("topic: sex{suffix}")),
        ("topic: result", format!("topic: result{suffix}")),
        ("path: data/user_log.csv, rate: 10/s, repeat: true", format!("path: '{}'", data.display())),
    ] {
        assert!(yaml.contains(from), "the shipped file has no `{from}` any more");
        yaml = yaml.replace(from, &to);
    }
    let (rest, _) = yaml.split_once("    - sink: socketio").unwrap();
    let file = folder.join("shipped.yaml");
    std::fs::write(&file, format!("{rest}    - sink: stdout\n")).unwrap();
    file
}

/// The sums of a file of results so far.
fn sums(path: &Path) -> BTreeMap<String, i64> {
    let mut sums = BTreeMap::new();
    let text = std::fs::read_to_string(path).unwrap();
    // The last line may not be whole yet.
    for row in text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()) {
        *sums.entry(row["key"].as_str().unwrap().to_owned()).or_default() += row["count"].as_i64().unwrap();
    }
    sums
}

/// What the shipped file counts in the sample.
fn expected() -> BTreeMap<String, i64> {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/user_log.csv");
    let mut counts = BTreeMap::new();
    for line in std::fs::read_to_string(sample).unwrap().lines().skip(1) {
        *counts.entry(line.split(',').nth(9).unwrap().to_owned()).or_default() += 1;
    }
    counts
}

fn until_there(path: &Path) {
    let (since, expected) = (Instant::now(), expected());
    while sums(path) != expected {
        assert!(since.elapsed() < PATIENCE, "{:?} are there, not {expected:?}", sums(path));
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn three_workers_with_a_chain_each_give_the_whole_result() {
    let Some(brokers) = kafka("three workers with a chain each on a Kafka") else { return };
    let (folder, suffix) = (tempfile::tempdir().unwrap(), suffix());
    let file = shipped(folder.path(), &suffix);
    let results = folder.path().join("results");
    let only = |chain: &str, more: &[&str], out: Stdio| {
        let arguments = [&["run", file.to_str().unwrap(), "--only", chain], more].concat();
        Worker::writing(&brokers, &arguments, out)
    };
    // Whoever writes a topic makes it: the first is there before the second, and so on.
    let (status, said) = only("shoppers", &["--once"], Stdio::null()).ends();
    assert!(status.success() && !said.contains("does not hold"), "{said}");
    let mut counts = only("count-by-gender", &[], Stdio::null());
    let since = Instant::now();
    let mut dashboard = loop {
        let mut dashboard = only("dashboard", &[], std::fs::File::create(&results).unwrap().into());
        std::thread::sleep(Duration::from_secs(2));
        if dashboard.child.try_wait().unwrap().is_none() {
            break dashboard;
        }
        let said = dashboard.ends().1;
        assert!(said.contains("is not there") && since.elapsed() < PATIENCE, "{said}");
    };
    until_there(&results);
    counts.stops();
    dashboard.stops();
    assert_eq!(sums(&results), expected(), "and no more than that");
}

#[test]
fn two_copies_of_the_whole_file_share_it_and_give_each_result_once() {
    let Some(brokers) = kafka("two copies of the shipped file on a Kafka") else { return };
    let (folder, suffix) = (tempfile::tempdir().unwrap(), suffix());
    let file = shipped(folder.path(), &suffix);
    let yaml = std::fs::read_to_string(&file).unwrap();
    // Six partitions, each key in one, so that both count; and no window is given for keys that it does not
    // have.
    let shared = yaml
        .replace("embedded}\n", "embedded}\n    partitions: 6\n")
        .replace("value: gender }", "value: gender, key: gender }")
        .replace(", zero_fill: seen", "")
        .replace("encode: pairs", "encode: json")
        .replace(
            "format: pairs",
            "format: { json: { fields: { key: text, window_start: time, count: integer } } }",
        );
    std::fs::write(&file, shared).unwrap();
    let outs = [folder.path().join("first"), folder.path().join("second")];
    let mut copies = outs.each_ref().map(|out| {
        let out = std::fs::File::create(out).unwrap();
        Worker::writing(&brokers, &["run", file.to_str().unwrap()], out.into())
    });
    let both = folder.path().join("both");
    let join = || {
        let texts = outs.each_ref().map(|out| std::fs::read_to_string(out).unwrap());
        std::fs::write(&both, texts.concat()).unwrap();
        sums(&both)
    };
    let (since, expected) = (Instant::now(), expected());
    while join() != expected {
        assert!(since.elapsed() < PATIENCE, "{:?} are there, not {expected:?}", sums(&both));
        std::thread::sleep(Duration::from_millis(100));
    }
    copies.iter_mut().for_each(|copy| {
        copy.stops();
    });
    let results = rows_of(folder.path(), &brokers, &format!("result{suffix}"), "text", "value");
    let twice: Vec<_> = results.iter().filter(|(_, times)| **times != 1).collect();
    assert!(!results.is_empty() && twice.is_empty(), "each result is there, once: {twice:?}");
    let mut counted = BTreeMap::new();
    for row in results.keys() {
        let row: serde_json::Value = serde_json::from_str(row).unwrap();
        *counted.entry(row["key"].as_str().unwrap().to_owned()).or_default() +=
            row["count"].as_i64().unwrap();
    }
    assert_eq!(counted, expected);
}

/// Waits for a worker that runs to the end of the file, and looks at what is there.
fn finished(mut last: Worker, folder: &Path, brokers: &str, suffix: &str) {
    let (status, said) = last.ends();
    assert!(status.success() && !said.contains("does not hold"), "{said}");
    let rows = rows_of(folder, brokers, &format!("rows{suffix}"), "text", "value");
    let twice: Vec<_> = rows.iter().filter(|(_, times)| **times != 1).take(5).collect();
    assert_eq!((rows.len(), twice), (ROWS, vec![]), "each row is there, once");
    let counts = rows_of(folder, brokers, &format!("counts{suffix}"), "pairs", "count");
    let counted = counts.iter().map(|(count, times)| count.parse::<usize>().unwrap() * times).sum::<usize>();
    assert_eq!(counted, ROWS, "each row counts, once");
}
