//! Workers of one pipeline, each with a file of its own.

use crate::cluster::Cluster;
use crate::support::{Ended, Pipeline, Running, assert_snapshot, records, suffix, wait_until};

struct Counts {
    cluster: Cluster,
    suffix: String,
}

impl Counts {
    fn find() -> Option<Self> {
        let counts = Self { cluster: Cluster::find("workers with other files")?, suffix: suffix() };
        for topic in ["in", "copy", "counts"] {
            counts.cluster.create(&counts.name(topic), 2, &[]);
        }
        Some(counts)
    }

    fn name(&self, of: &str) -> String {
        format!("{of}{}", self.suffix)
    }

    /// The file: it counts in `window`, behind `steps`.
    fn file(&self, window: &str, steps: &str) -> String {
        let Self { suffix, cluster } = self;
        let brokers = &cluster.brokers;
        format!(
            "name: other{suffix}
connections: {{ kafka: {{ brokers: '{brokers}' }} }}
pipelines:
  rows:
    - source: kafka
      id: in
      with: {{ topic: in{suffix}, format: text, keyed_by: value }}
    - sink: kafka
      with: {{ topic: copy{suffix}, value: value }}
  counts:
    - from: rows.in
{steps}    - window: count-by-key
      id: win
      with: {{ key: value, {window} }}
    - sink: kafka
      with: {{ topic: counts{suffix} }}
"
        )
    }

    /// A worker with such a file, with a folder for its name that nobody else has.
    fn start(&self, window: &str, steps: &str) -> (Pipeline, Running) {
        let pipeline = Pipeline::new(&self.file(window, steps));
        let mut command = pipeline.command(&["run", "pipeline.yaml"]);
        command.env("XDG_STATE_HOME", pipeline.folder.path().join("state"));
        let running = Running::new(command.spawn().unwrap());
        (pipeline, running)
    }

    fn write(&self, numbers: std::ops::Range<u32>) {
        for partition in [0, 1] {
            self.cluster.write(&self.name("in"), partition, numbers.clone());
        }
    }

    fn copied(&self) -> usize {
        records(&self.cluster.brokers, &self.name("copy")).len()
    }
}

/// By the group; or by what was committed, where the other was so slow that the group took it for dead.
fn is_refused(ended: &Ended) -> bool {
    ended.code == Some(4)
        || (ended.code == Some(1) && ended.said.contains("is not the one that wrote its state"))
}

#[test]
fn a_worker_that_counts_otherwise_is_refused_before_it_reads() {
    let Some(counts) = Counts::find() else { return };
    counts.write(0..3);
    let (_first_file, mut first) = counts.start("size: 10s", "");
    wait_until("six are copied", || counts.copied() == 6);
    // Nothing is committed yet that has a window in it but by the first; the second is given half of the
    // partitions.
    let (_second_file, second) = counts.start("size: 30s", "");
    let ended = second.end();
    assert!(is_refused(&ended), "{}", ended.said);
    if ended.code == Some(4) {
        assert_snapshot("group-counts-otherwise", &ended.messages(&[(&counts.suffix, "-X")]));
    }
    assert!(first.is_alive());
    // What may be changed while others run.
    let steps = "    - transform: filter\n      with: { field: value, in: [\"0\", \"1\", \"2\", \"3\", \"4\", \"5\"] }\n";
    let (_third_file, third) = counts.start("size: 10s, lateness: 1m, idle: 3s", steps);
    counts.write(3..6);
    wait_until("the rest is copied", || counts.copied() == 12);
    let (first, third) = (first.stop(), third.stop());
    assert_eq!((first.code, third.code), (Some(0), Some(0)), "{}\n{}", first.said, third.said);
}

/// Nobody was first.
#[test]
fn of_workers_that_start_at_once_those_with_one_file_go_on_at_most() {
    let Some(counts) = Counts::find() else { return };
    counts.write(0..3);
    let started = ["size: 10s", "size: 30s"].map(|window| counts.start(window, ""));
    let (_files, mut running): (Vec<Pipeline>, Vec<Running>) = started.into_iter().unzip();
    while running.iter_mut().all(Running::is_alive) {
        running[0].go_on(std::time::Duration::from_millis(100));
    }
    for mut running in running {
        let alive = running.is_alive();
        let ended = if alive { running.stop() } else { running.end() };
        assert!(is_refused(&ended) || (alive && ended.code == Some(0)), "{}", ended.said);
    }
}

#[test]
fn a_chain_whose_positions_are_deleted_says_so() {
    let Some(counts) = Counts::find() else { return };
    counts.write(0..3);
    let pipeline = Pipeline::new(&counts.file("size: 50m", ""));
    for (round, deleted) in [(1, false), (1, false), (2, true)] {
        if deleted {
            counts.cluster.delete_group(&format!("{}.rows", counts.name("other")));
        }
        let ended = pipeline.once();
        assert_eq!((ended.code, counts.copied()), (Some(0), 6 * round), "{}", ended.said);
        let messages = ended.messages(&[(&counts.suffix, "-X")]);
        if deleted {
            assert_snapshot("group-deleted", &messages);
        } else {
            assert_eq!(messages, "");
        }
    }
}

#[test]
fn a_chain_and_a_window_that_are_renamed_go_on_where_they_stood() {
    let Some(counts) = Counts::find() else { return };
    let file = counts.file("size: 50m, zero_fill: seen", "");
    let renamed = file
        .replace("  rows:\n    - source: kafka\n", "  lines:\n    - source: kafka\n      was: rows\n")
        .replace("  counts:\n    - from: rows.in\n", "  totals:\n    - from: lines.in\n      was: counts\n")
        .replace("id: win\n", "id: all\n      was: win\n");
    assert_eq!(renamed.matches("was:").count(), 3);
    for (round, file) in [file, renamed.clone(), renamed].iter().enumerate() {
        counts.write(0..3);
        let ended = Pipeline::new(file).once();
        assert_eq!(ended.code, Some(0), "{}", ended.said);
        assert_eq!(counts.copied(), 6 * (round + 1));
    }
    // The last of each window; a second window may have begun meanwhile.
    let mut last = std::collections::BTreeMap::new();
    for result in records(&counts.cluster.brokers, &counts.name("counts")) {
        let result: serde_json::Value = serde_json::from_str(&result).unwrap();
        let of = (result["window_start"].as_i64(), result["key"].as_str().unwrap().to_owned());
        last.insert(of, result["count"].as_i64().unwrap());
    }
    assert_eq!(last.values().sum::<i64>(), 18, "{last:?}");
}
