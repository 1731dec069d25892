//! Records that the brokers refuse by rules of their own, and results of windows that lie ahead.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat, Utc};

use crate::cluster::Cluster;
use crate::support::{Ended, Pipeline, assert_snapshot, records, suffix, undated};

fn now() -> DateTime<Utc> {
    DateTime::from(UNIX_EPOCH + SystemTime::now().duration_since(UNIX_EPOCH).unwrap())
}

fn text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Copies a file with the column `at`.
fn copies(brokers: &str, suffix: &str, on_error: &str) -> Pipeline {
    let letters = format!(
        "  letters:
    - from: rows.out.dead
    - sink: kafka
      with: {{ topic: dead{suffix} }}
"
    );
    Pipeline::new(&format!(
        "name: refused{suffix}
connections: {{ kafka: {{ brokers: '{brokers}' }} }}
pipelines:
  rows:
    - source: csv
      time: {{ field: at }}
      with: {{ path: rows.csv }}
    - sink: kafka
      id: out
      on_error: {on_error}
      with: {{ topic: out{suffix}, create: false }}
{}",
        if on_error == "dead_letter" { &letters } else { "" }
    ))
}

fn write(pipeline: &Pipeline, key: &str, rows: impl Iterator<Item = (usize, DateTime<Utc>)>) {
    let rows = rows.map(|(id, time)| format!("{id},k{},{}\n", id % 7, text(time)));
    let file: String = std::iter::once(format!("id,{key},at\n")).chain(rows).collect();
    std::fs::write(pipeline.folder.path().join("rows.csv"), file).unwrap();
}

/// What was said, without what differs from run to run.
fn said(ended: &Ended, suffix: &str, times: &[(DateTime<Utc>, &str)]) -> String {
    let counted = ended.said.lines().filter(|line| line.contains("could not use"));
    let all: String = ended.messages(&[]).lines().chain(counted).map(|line| format!("{line}\n")).collect();
    let all = times.iter().fold(all, |all, (time, name)| all.replace(&text(*time), name));
    undated(&all.replace(suffix, "-X")).lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

fn ids(brokers: &str, topic: &str) -> Vec<usize> {
    let id = |record: &String| {
        let value: serde_json::Value = serde_json::from_str(record).unwrap();
        value["id"].as_str().unwrap().parse().unwrap()
    };
    let mut ids: Vec<usize> = records(brokers, topic).iter().map(id).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn a_row_that_its_topic_does_not_take_is_for_on_error_and_its_neighbours_are_written() {
    let Some(cluster) = Cluster::find("rows that the brokers refuse") else { return };
    let second = Duration::from_secs(1);
    let rules = [
        ("ahead", ("message.timestamp.type", "CreateTime"), "key", &[1, 4][..]),
        ("behind", ("message.timestamp.before.max.ms", "3600000"), "key", &[1, 4]),
        // Without a column of the name `key` no record has one.
        ("without-key", ("cleanup.policy", "compact"), "k", &[0, 1, 2, 3, 4, 5]),
    ];
    for (rule, config, key, refused) in rules {
        for (on_error, code) in [("fail", 1), ("skip", 0), ("dead_letter", 0)] {
            let suffix = suffix();
            let out = format!("out{suffix}");
            cluster.create(&out, 1, &[config]);
            let pipeline = copies(&cluster.brokers, &suffix, on_error);
            let now = now();
            let (ahead, behind) = (now + second * 9_030, now - second * 9_030);
            let far = match rule {
                "ahead" => ahead,
                "behind" => behind,
                _ => now - second,
            };
            write(
                &pipeline,
                key,
                (0..6).map(|id| (id, if refused.contains(&id) { far } else { now - second })),
            );
            let ended = pipeline.once();
            assert_eq!(ended.code, Some(code), "{rule} {on_error}: {}", ended.said);
            let times = [(ahead, "AHEAD"), (behind, "BEHIND")];
            assert_snapshot(&format!("row-refused-{rule}-{on_error}"), &said(&ended, &suffix, &times));
            let written: Vec<usize> = match on_error {
                "fail" => Vec::new(),
                _ => (0..6).filter(|id| !refused.contains(id)).collect(),
            };
            assert_eq!(ids(&cluster.brokers, &out), written, "{rule} {on_error}");
            if on_error == "dead_letter" {
                let letters = records(&cluster.brokers, &format!("dead{suffix}"));
                let offset = |letter: &String| {
                    serde_json::from_str::<serde_json::Value>(letter).unwrap()["offset"].as_u64().unwrap()
                };
                let mut offsets: Vec<usize> = letters.iter().map(|letter| offset(letter) as usize).collect();
                offsets.sort_unstable();
                assert_eq!(offsets, refused, "{letters:?}");
            }
        }
    }
}

/// Many transactions, with a refused row in every batch: each other row is there once.
#[test]
fn many_rows_with_refused_ones_among_them_are_written_exactly_once() {
    let Some(cluster) = Cluster::find("many rows that the brokers refuse") else { return };
    let suffix = suffix();
    let out = format!("out{suffix}");
    cluster.create(&out, 3, &[]);
    let pipeline = copies(&cluster.brokers, &suffix, "skip");
    let (now, is_far) = (now(), |id: &usize| id % 997 == 3);
    let time = |id: usize| now + Duration::from_secs(if is_far(&id) { 9_000 } else { 0 });
    write(&pipeline, "key", (0..30_000).map(|id| (id, time(id))));
    let ended = pipeline.once();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    let expected: Vec<usize> = (0..30_000).filter(|id| !is_far(id)).collect();
    assert!(ids(&cluster.brokers, &out) == expected, "{}", ended.said);
    assert!(ended.said.contains("30000  29969         0     0    31          0"), "{}", ended.said);
}

/// A day's window, with updates and at the end of the data, and a session of half a day: their results lie
/// ahead.
#[test]
fn results_that_lie_ahead_are_written() {
    let Some(cluster) = Cluster::find("results that lie ahead") else { return };
    let windows = [
        "{ size: 1000d }",
        "{ size: 1000d, emit: updates, every: 10ms }",
        "{ gap: 12h, key: key }",
        "{ gap: 12h, key: key, emit: updates, every: 10ms }",
    ];
    for window in windows {
        let suffix = suffix();
        let pipeline = Pipeline::new(&format!(
            "name: ahead{suffix}
connections: {{ kafka: {{ brokers: '{}' }} }}
pipelines:
  rows:
    - source: csv
      time: {{ field: at }}
      with: {{ path: rows.csv }}
    - window: count
      with: {window}
    - sink: kafka
      with: {{ topic: out{suffix}, partitions: 1 }}
",
            cluster.brokers
        ));
        let now = now();
        write(&pipeline, "key", (0..3).map(|id| (id * 7, now - Duration::from_secs(60))));
        let ended = pipeline.once();
        assert_eq!(ended.code, Some(0), "{window}: {}", ended.said);
        let out = records(&cluster.brokers, &format!("out{suffix}"));
        let last: serde_json::Value = serde_json::from_str(out.last().unwrap()).unwrap();
        assert_eq!(last["count"], 3, "{window}: {out:?}");
    }
}
