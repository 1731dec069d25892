//! What a seed runs: a pipeline file, its input, and how many workers share it.

use std::fmt::Write;

use pipectl_framework::log::partitioner;

use pipectl_framework::testing::simulation::Random;

/// 2026-01-01T00:00:00Z.
pub(crate) const START: i64 = 1_767_225_600_000;

/// The most records of one key in one window: each has a bit of its own in the window's sum.
pub(crate) const BITS: u64 = 60;

/// Where the records come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// A topic that somebody else writes.
    Topic,
    /// A file, copied to the topic by a chain that keeps its position (`run::keeper`).
    File,
    /// A file, and windows right over it.
    FileAlone,
}

/// Which windows, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Grid { size: i64, slide: i64 },
    Session { gap: i64 },
}

#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) input: Input,
    pub(crate) shape: Shape,
    pub(crate) partitions: u32,
    pub(crate) keys: Vec<String>,
    pub(crate) workers: usize,
    pub(crate) out_of_orderness: i64,
    pub(crate) lateness: i64,
    pub(crate) zero_fill: bool,
    /// True where no row can be late, so none may be: rows lie no further behind than `out_of_orderness`, and
    /// no partition is taken for idle before the end.
    pub(crate) punctual: bool,
    /// Milliseconds of faults.
    pub(crate) length: u64,
    /// True where the last run reads to the end and closes every window; else time closes them.
    pub(crate) once_at_end: bool,
    /// See `log::SimulatedLog`.
    pub(crate) stretch: i64,
}

/// A record of the input, as it was made.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) id: i64,
    pub(crate) key: String,
    pub(crate) time: i64,
    pub(crate) bit: u64,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Counts,
    /// A filter leaves it out.
    Filtered,
    /// It is no record of its format.
    Broken,
}

impl Record {
    pub(crate) fn json(&self) -> String {
        if self.kind == Kind::Broken {
            return format!("broken {}", self.id);
        }
        let f = if self.kind == Kind::Counts { "x" } else { "y" };
        format!(r#"{{"id":{},"k":"{}","f":"{f}","w":{}}}"#, self.id, self.key, 1_u64 << self.bit)
    }

    pub(crate) fn line(&self) -> String {
        if self.kind == Kind::Broken {
            return format!("broken {}", self.id);
        }
        let f = if self.kind == Kind::Counts { "x" } else { "y" };
        format!("{},{},{f},{},{}", self.id, self.key, 1_u64 << self.bit, self.time)
    }
}

impl Scenario {
    pub(crate) fn new(random: &mut Random) -> Self {
        let input = random.pick(&[Input::Topic, Input::Topic, Input::Topic, Input::File, Input::FileAlone]);
        let shape = match random.between(0, 4) {
            0 => Shape::Session { gap: random.pick(&[400, 1000, 2000]) },
            1 => {
                let slide = random.pick(&[500, 1000]);
                Shape::Grid { size: slide * random.pick(&[2, 3, 5]), slide }
            }
            _ => {
                let size = random.pick(&[500, 1000, 3000]);
                Shape::Grid { size, slide: size }
            }
        };
        let session = matches!(shape, Shape::Session { .. });
        let punctual = random.chance(600);
        let partitions = random.pick(&[1, 2, 3, 4]);
        let lateness = if session { 0 } else { random.pick(&[0, 0, 0, 1500]) };
        Self {
            input,
            shape,
            partitions,
            keys: keys(random, partitions),
            workers: if input == Input::FileAlone { 1 } else { random.between(1, 4) as usize },
            out_of_orderness: random.pick(&[0, 200, 1000]),
            lateness,
            zero_fill: !session && !punctual && random.chance(300),
            punctual,
            length: random.between(5_000, 25_000),
            once_at_end: random.chance(300),
            stretch: random.pick(&[1, 2, 3]),
        }
    }

    /// After how long without a record a partition is idle, in milliseconds.
    pub(crate) fn idle(&self) -> u64 {
        if self.punctual { 60_000 } else { 1000 }
    }

    /// The key of the next row: each has its silences, which end its sessions and empty its windows.
    pub(crate) fn key(&self, now: u64, random: &mut Random) -> usize {
        let awake = (now / 4000 % 2) as usize;
        let some = random.between(0, self.keys.len() as u64 / 2) as usize;
        2 * some + awake
    }

    /// How far behind the clock the time of the next row lies.
    pub(crate) fn behind(&self, random: &mut Random) -> i64 {
        // A late row does not bridge the silences of a key: what hangs together stays short enough for its
        // bits.
        let most = match (self.punctual, self.shape) {
            (true, _) => self.out_of_orderness + 1,
            (false, Shape::Session { .. }) => 1800,
            (false, Shape::Grid { .. }) => self.out_of_orderness + 2000,
        };
        if random.chance(500) { 0 } else { random.between(0, most as u64) as i64 }
    }

    pub(crate) fn yaml(&self) -> String {
        let mut yaml = String::new();
        let partitions = self.partitions;
        let windows = match self.shape {
            Shape::Grid { size, slide } => format!("size: {size}ms, slide: {slide}ms"),
            Shape::Session { gap } => format!("gap: {gap}ms"),
        };
        let mut more = format!(
            "out_of_orderness: {}ms, idle: {}ms, lateness: {}ms",
            self.out_of_orderness,
            self.idle(),
            self.lateness
        );
        if self.zero_fill {
            more += ", zero_fill: seen";
        }
        let file = format!(
            "    - source: csv
      id: file
      on_error: dead_letter
      time: {{ field: t, format: epoch_ms }}
      with: {{ path: rows.csv, rate: {RATE}/s }}
    - transform: cast
      with: {{ fields: {{ id: integer, w: integer }} }}
"
        );
        yaml += "name: sim\nconnections: { kafka: { brokers: '127.0.0.1:1' } }\npipelines:\n";
        if self.input == Input::File {
            let _ = write!(
                yaml,
                "  feed:\n{file}    - sink: kafka\n      with: {{ topic: rows, encode: json, key: k, partitions: {partitions} }}\n"
            );
        }
        yaml += "  count:\n";
        if self.input == Input::FileAlone {
            yaml += &file;
        } else {
            yaml += "    - source: kafka
      id: rows
      on_error: dead_letter
      with: { topic: rows, format: { json: { fields: { id: integer, k: text, f: text, w: integer } } } }
";
        }
        let _ = write!(
            yaml,
            "    - transform: filter
      with: {{ field: f, equals: x }}
    - window: aggregates
      id: window
      with: {{ key: k, {windows}, {more}, columns: {{ n: count, w: {{ sum: {{ field: w }} }} }} }}
    - sink: kafka
      with: {{ topic: out, partitions: 2 }}
  late:
    - from: count.window.late
    - sink: kafka
      with: {{ topic: late, partitions: 2 }}
"
        );
        let dead = match self.input {
            Input::Topic => "count.rows.dead",
            Input::File => "[count.rows.dead, feed.file.dead]",
            Input::FileAlone => "count.file.dead",
        };
        let dead: Vec<&str> = dead.trim_matches(['[', ']']).split(", ").collect();
        for (index, dead) in dead.iter().enumerate() {
            let _ = write!(
                yaml,
                "  dead{index}:\n    - from: {dead}\n    - sink: kafka\n      with: {{ topic: dead, partitions: 1 }}\n"
            );
        }
        yaml
    }
}

/// Rows a second of a file.
pub(crate) const RATE: u64 = 15;

/// Keys enough that every partition has one.
fn keys(random: &mut Random, partitions: u32) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    for partition in 0..partitions {
        let mut wanted = random.between(4, 7);
        while wanted > 0 {
            let key = format!("k{}", random.between(0, 1000));
            if partitioner::partition_of(key.as_bytes(), partitions) == partition && !keys.contains(&key) {
                keys.push(key);
                wanted -= 1;
            }
        }
    }
    keys
}
