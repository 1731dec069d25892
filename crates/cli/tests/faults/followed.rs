//! A file that is followed, under kill -9: written in odd pieces, renamed, and copied and cut short
//! meanwhile.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::support::{Pipeline, Running, assert_snapshot, undated};

/// 2026-01-01T00:00:00Z, in milliseconds: row `i` is of millisecond `i` of that day.
const MIDNIGHT: u64 = 1_767_225_600_000;
/// A window, in milliseconds, and so in rows.
const WINDOW: u64 = 100;
const KEYS: u64 = 3;
/// How long the program waits for a late writer before it leaves a file that was renamed, and some more.
const SETTLED: Duration = Duration::from_millis(6500);

/// `SplitMix64`, by Steele, Lea and Flood.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

const YAML: &str = "name: followed
connections: { kafka: { brokers: 'embedded:log', partitions: 1 } }
pipelines:
  rows:
    - source: csv
      time: { field: t, format: epoch_ms }
      with: { path: rows.csv, follow: true }
    - sink: kafka
      with: { topic: ids, value: id }
  counts:
    - from: rows.csv
    - window: count-by-key
      with: { key: key, size: 100ms, idle: 1h }
    - sink: kafka
      with: { topic: counts, encode: json }
";

/// A form of file.
#[derive(Clone, Copy)]
struct Form {
    source: &'static str,
    file: &'static str,
    /// Further settings of the source.
    with: &'static str,
    header: &'static str,
    row: fn(u64) -> String,
}

const TABLE: Form = Form {
    source: "csv",
    file: "rows.csv",
    with: "",
    header: "id,key,t\n",
    row: |row| format!("{row},{},{}\n", row % KEYS, MIDNIGHT + row),
};

const OBJECTS: Form = Form {
    source: "jsonl",
    file: "rows.jsonl",
    with: ", fields: { id: text, key: text, t: integer }",
    header: "",
    row: |row| format!("{{\"id\":\"{row}\",\"key\":\"{}\",\"t\":{}}}\n", row % KEYS, MIDNIGHT + row),
};

impl Form {
    fn yaml(self) -> String {
        let Self { source, file, with, .. } = self;
        let yaml = YAML.replace("rows.csv, follow: true", &format!("{file}, follow: true{with}"));
        yaml.replace("source: csv", &format!("source: {source}"))
            .replace("rows.csv\n", &format!("rows.{source}\n"))
    }
}

/// Writes rows, in pieces that know nothing of lines.
struct Writer {
    form: Form,
    path: PathBuf,
    file: File,
    rest: String,
    rows: u64,
    rotations: u64,
    random: Random,
}

impl Writer {
    fn new(pipeline: &Pipeline, form: Form, seed: u64) -> Self {
        let path = pipeline.folder.path().join(form.file);
        std::fs::write(&path, form.header).unwrap();
        let file = OpenOptions::new().append(true).open(&path).unwrap();
        Self { form, path, file, rest: String::new(), rows: 0, rotations: 0, random: Random(seed) }
    }

    fn piece(&mut self) {
        while self.rest.len() < 100 {
            let row = self.rows;
            self.rest.push_str(&(self.form.row)(row));
            self.rows += 1;
        }
        let rest = self.rest.split_off(1 + self.random.below(90) as usize);
        self.file.write_all(std::mem::replace(&mut self.rest, rest).as_bytes()).unwrap();
    }

    fn write_for(&mut self, millis: u64) {
        let until = Instant::now() + Duration::from_millis(millis);
        while Instant::now() < until {
            self.piece();
            std::thread::sleep(Duration::from_millis(self.random.below(6)));
        }
    }

    fn finish_line(&mut self) {
        self.file.write_all(std::mem::take(&mut self.rest).as_bytes()).unwrap();
    }

    fn rotate(&mut self) {
        self.rotations += 1;
        let to = self.path.with_file_name(format!("{}.{}", self.form.file, self.rotations));
        if self.rotations.is_multiple_of(2) {
            self.finish_line();
            std::fs::copy(&self.path, to).unwrap();
            self.file.set_len(0).unwrap();
        } else {
            std::fs::rename(&self.path, to).unwrap();
            // The writer has not noticed yet.
            self.write_for(150);
            self.finish_line();
            self.file = OpenOptions::new().append(true).create(true).open(&self.path).unwrap();
        }
        // It comes in pieces too.
        self.rest.push_str(self.form.header);
    }
}

/// The rows of a topic as the program shows them.
fn rows(pipeline: &Pipeline, topic: &str, format: &str) -> Vec<serde_json::Value> {
    let yaml = format!(
        "name: reads-{topic}
connections: {{ kafka: {{ brokers: 'embedded:log', partitions: 1 }} }}
pipelines:
  show:
    - source: kafka
      with: {{ topic: {topic}, format: {format} }}
    - sink: stdout
"
    );
    std::fs::write(pipeline.folder.path().join("read.yaml"), yaml).unwrap();
    let ended = Running::new(pipeline.command(&["run", "read.yaml", "--once"]).spawn().unwrap()).end();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    ended.out.lines().map(|row| serde_json::from_str(row).unwrap()).collect()
}

#[test]
fn a_followed_table_is_read_once_through_kills_and_rotations() {
    is_read_once(TABLE);
}

#[test]
fn followed_objects_are_read_once_through_kills_and_rotations() {
    is_read_once(OBJECTS);
}

fn is_read_once(form: Form) {
    let rounds: u64 = std::env::var("PIPECTL_FOLLOW_ROUNDS").map_or(4, |rounds| rounds.parse().unwrap());
    let seed = std::env::var("PIPECTL_FOLLOW_SEED").map_or(1, |seed| seed.parse().unwrap());
    let pipeline = Pipeline::new(&form.yaml());
    let mut writer = Writer::new(&pipeline, form, seed);
    // What nobody has seen yet cannot be known when it is rotated.
    writer.write_for(200);
    assert_eq!(pipeline.once().code, Some(0));
    for round in 0..rounds {
        // One rotation at any moment, before, while and after the program runs and is killed.
        let mut left = true;
        let mut perhaps = |writer: &mut Writer, last: bool| {
            let time = writer.random.below(700);
            writer.write_for(time);
            if left && (last || writer.random.below(3) == 0) {
                left = false;
                writer.rotate();
            }
        };
        perhaps(&mut writer, false);
        let mut run = pipeline.start(&[]);
        perhaps(&mut writer, false);
        run.go_on(Duration::from_millis(500 + writer.random.below(900)));
        perhaps(&mut writer, false);
        perhaps(&mut writer, false);
        run.signal("KILL");
        assert_eq!(run.end().code, None);
        perhaps(&mut writer, true);
        // What was rotated is read before the next rotation.
        let run = pipeline.start(&[]);
        writer.write_for(SETTLED.as_millis() as u64);
        run.signal(if round % 2 == 0 { "KILL" } else { "TERM" });
        let ended = run.end();
        assert!(!ended.said.contains("lost") && !ended.said.contains("not read"), "{}", ended.said);
    }
    assert_eq!(writer.rotations, rounds);
    writer.finish_line();
    let ended = pipeline.once();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(!ended.said.contains("does not hold"), "{}", ended.said);
    assert_eq!(pipeline.once().messages(&[]), "", "there is nothing more");

    let ids = rows(&pipeline, "ids", "text");
    let ids: Vec<u64> = ids.iter().map(|row| row["value"].as_str().unwrap().parse().unwrap()).collect();
    let first = ids.iter().enumerate().find(|(index, id)| *index as u64 != **id);
    assert!(
        ids.len() as u64 == writer.rows && first.is_none(),
        "{} of {}: {first:?}",
        ids.len(),
        writer.rows
    );
    let mut counts = BTreeMap::new();
    let fields = "{ json: { fields: { key: text, window_start: time, count: integer } } }";
    for row in rows(&pipeline, "counts", fields) {
        // At the end of the data open windows are given, and later again with more rows.
        let cell =
            (row["window_start"].as_str().unwrap().to_owned(), row["key"].as_str().unwrap().to_owned());
        counts.insert(cell, row["count"].as_u64().unwrap());
    }
    let counted: u64 = counts.values().sum();
    assert_eq!(counted, writer.rows);
    assert!(counts.values().all(|count| *count <= WINDOW / KEYS + 1), "{counts:?}");
}

#[test]
fn what_is_lost_of_a_followed_file_is_told_and_a_stop_drains() {
    let pipeline = Pipeline::new(&YAML.replace("time: { field: t, format: epoch_ms }\n      ", "").replace(
        "  counts:
    - from: rows.csv
    - window: count-by-key
      with: { key: key, size: 100ms, idle: 1h }
    - sink: kafka
      with: { topic: counts, encode: json }
",
        "",
    ));
    let path = pipeline.folder.path().join("rows.csv");
    let append = |text: &str| {
        OpenOptions::new().append(true).open(&path).unwrap().write_all(text.as_bytes()).unwrap();
    };
    let log = pipeline.folder.path().join("log/commits");
    let commits =
        || std::fs::read(&log).ok().and_then(|bytes| bytes.first_chunk().map(|b| u64::from_le_bytes(*b)));
    let mut run = pipeline.start(&[]);
    crate::support::wait_until("it has committed", || commits().is_some_and(|commits| commits > 1));
    append("4,b\n");
    run.go_on(Duration::from_secs(3));
    std::fs::write(&path, "").unwrap();
    run.wait_for("was cut short");
    append("id,key\n5,a\n6");
    run.go_on(Duration::from_millis(1500));
    // A stop leaves what is not whole to the next run.
    let ended = run.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert_snapshot("follow-cut-short", &undated(&ended.messages(&[])));
    append(",b\n");
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "id,key\n7,a\n").unwrap();
    let ended = pipeline.once();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert_snapshot("follow-lost", &undated(&ended.messages(&[])));
    let ids: Vec<String> =
        rows(&pipeline, "ids", "text").iter().map(|row| row["value"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, ["1", "2", "3", "4", "5", "7"]);
}
