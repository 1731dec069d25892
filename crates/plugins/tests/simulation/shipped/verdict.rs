//! What came of a chain that went through crashes, against what comes of the same input undisturbed: by what
//! `explain` says of it.

use std::collections::{BTreeMap, BTreeSet};

use pipectl_framework::graph::Delivery;
use serde_json::Value;

use super::plain::{Came, Facts, From, Input, Record, records, run};
use super::play::{Life, Past};
use super::seen::{Given, Shown};
use super::stage::{On, Stage};
use crate::scenario::START;

/// What was looked at, and found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) wrong: Vec<String>,
    pub(crate) rows: u64,
    /// Rows that were there again, of chains that may repeat.
    pub(crate) repeated: u64,
    /// Zeros that are missing, of chains that may forget them.
    pub(crate) forgotten: u64,
}

/// A row of a result, wherever it stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    time: i64,
    key: Option<String>,
    value: String,
}

/// Each row, with how often it is there.
type Rows = BTreeMap<Row, u64>;

/// Looks at everything that a chain gave in the life of a log.
pub(crate) async fn check(stage: &Stage, chain: &Facts, life: &Life, findings: &mut Findings) {
    let before = findings.wrong.len();
    match (chain.delivery, &chain.from) {
        (Delivery::ExactlyOnce | Delivery::AtLeastOnce, From::Topic(topic)) => {
            let input = records(&life.log, topic).await;
            let (least, most) = from_topic(stage, chain, &input).await;
            kept(chain, life, &least, &most, findings).await;
        }
        (Delivery::ExactlyOnce | Delivery::AtLeastOnce, From::File { .. }) if chain.timed => {
            let input = || Input::File { rows: stage.rows(), opened: START };
            let most = run(stage, chain, input(), true).await;
            let least = run(stage, chain, input(), !chain.forgets_keys).await;
            kept(chain, life, &least, &most, findings).await;
        }
        (Delivery::ExactlyOnce, From::File { repeats }) => {
            assert!(!chain.windowed, "the times of `{}` depend on when it was started", chain.name);
            let came = run(stage, chain, Input::File { rows: stage.rows(), opened: START }, true).await;
            for (topic, once) in &came.topics {
                copied(*repeats, &records(&life.log, topic).await, once, findings);
            }
        }
        (Delivery::Live, From::Topic(topic)) => {
            let input = records(&life.log, topic).await;
            let came = run(stage, chain, Input::Topic { records: &input, joined: false }, true).await;
            for sink in &chain.sinks {
                live(topic, sink, life, &came, findings);
            }
        }
        (Delivery::Anew, From::Topic(topic)) => {
            let input = records(&life.log, topic).await;
            let (least, most) = from_topic(stage, chain, &input).await;
            // A process that died owed nobody anything any more.
            let in_order = life.processes.iter().all(|past| past.in_order);
            let least = if in_order { least } else { Came::default() };
            kept(chain, life, &least, &most, findings).await;
        }
        (Delivery::Anew | Delivery::Live, From::File { repeats }) => {
            for past in &life.processes {
                anew(stage, chain, *repeats, life, past, findings).await;
            }
        }
        (Delivery::AtLeastOnce, From::File { .. }) => panic!("rows of `{}` cannot be told apart", chain.name),
    }
    for wrong in &mut findings.wrong[before..] {
        let said = chain.delivery.name();
        *wrong = format!("{}, chain `{}` ({said}): {wrong}", stage.case.name(), chain.name);
    }
}

/// What a chain must give of a topic, and what it may. They differ by the zeros of keys: whether a window has
/// those behind the last row of their partition depends on how far the other partitions of its worker are. So
/// it gives at least what it would give of each partition by itself, and at most what it would give of all
/// together.
async fn from_topic(stage: &Stage, chain: &Facts, input: &[Record]) -> (Came, Came) {
    let most = run(stage, chain, Input::Topic { records: input, joined: false }, true).await;
    // Or, where a restart forgets which keys were seen, without any zeros.
    let zeros = !chain.forgets_keys;
    let partitions: BTreeSet<i32> = input.iter().map(|record| record.partition).collect();
    let mut least = Came::default();
    for partition in partitions {
        let records: Vec<Record> = input.iter().filter(|r| r.partition == partition).cloned().collect();
        let joined = chain.windowed;
        let came = run(stage, chain, Input::Topic { records: &records, joined }, zeros).await;
        for (topic, records) in came.topics {
            least.topics.entry(topic).or_default().extend(records);
        }
        for (sink, rows) in came.sinks {
            least.sinks.entry(sink).or_default().extend(rows);
        }
    }
    (least, most)
}

/// Nothing is lost, and nothing is there again that may not be.
async fn kept(chain: &Facts, life: &Life, least: &Came, most: &Came, findings: &mut Findings) {
    for topic in &chain.topics {
        let of = |came: &Came| rows_of(came.topics.get(topic).map(Vec::as_slice).unwrap_or_default());
        let actual = rows_of(&records(&life.log, topic).await);
        compare(&format!("topic `{topic}`"), chain, &actual, &of(least), &of(most), findings);
    }
    for sink in &chain.sinks {
        let of = |came: &Came| shown_of(came.sinks.get(sink).map(Vec::as_slice).unwrap_or_default());
        let notes = life.seen.lock();
        let tries = notes.sinks.iter().filter(|((at, _), _)| at == sink).flat_map(|(_, tries)| tries);
        let actual = shown_of(&tries.flatten().cloned().collect::<Vec<_>>());
        compare(&format!("sink `{sink}`"), chain, &actual, &of(least), &of(most), findings);
    }
}

fn compare(place: &str, chain: &Facts, actual: &Rows, least: &Rows, most: &Rows, findings: &mut Findings) {
    let again = chain.delivery == Delivery::AtLeastOnce;
    for (row, times) in actual {
        findings.rows += times;
        match most.get(row) {
            None => findings.wrong.push(format!("{place} has a row that is not right: {row:?}")),
            Some(right) if times > right && again => findings.repeated += times - right,
            Some(right) if times > right => {
                findings.wrong.push(format!("{place} has {times} times, and not {right}: {row:?}"));
            }
            Some(_) => {}
        }
    }
    for (row, times) in least {
        let there = actual.get(row).copied().unwrap_or_default();
        if there < *times {
            findings.wrong.push(format!("{place} has lost a row, or has it {there} times: {row:?}"));
        }
    }
    if chain.forgets_keys {
        findings.forgotten += most.keys().filter(|row| !actual.contains_key(row)).count() as u64;
    }
}

/// A record may hold several rows, as an array.
fn rows_of(records: &[Record]) -> Rows {
    let mut rows = Rows::new();
    for record in records {
        let values = match serde_json::from_str(&record.value) {
            Ok(Value::Array(values)) => values.iter().map(Value::to_string).collect(),
            _ => vec![record.value.clone()],
        };
        for value in values {
            *rows.entry(Row { time: record.time, key: record.key.clone(), value }).or_default() += 1;
        }
    }
    rows
}

fn shown_of(shown: &[Shown]) -> Rows {
    let mut rows = Rows::new();
    for shown in shown {
        *rows.entry(Row { time: shown.time, key: None, value: shown.value.clone() }).or_default() += 1;
    }
    rows
}

/// What stands in each partition, in its order, but for the times.
fn in_order(records: &[Record]) -> BTreeMap<i32, Vec<(Option<&str>, &str)>> {
    let mut partitions: BTreeMap<i32, Vec<_>> = BTreeMap::new();
    for record in records {
        partitions.entry(record.partition).or_default().push((record.key.as_deref(), record.value.as_str()));
    }
    partitions
}

/// A topic has each row of a file once, in the file's order, or, where it repeats, that several times; the
/// last process reads to the file's end.
fn copied(repeats: bool, actual: &[Record], once: &[Record], findings: &mut Findings) {
    findings.rows += actual.len() as u64;
    let passes = actual.len() / once.len().max(1);
    if actual.len() != passes * once.len() || passes == 0 || (passes > 1 && !repeats) {
        findings.wrong.push(format!("{} rows of a file that has {}", actual.len(), once.len()));
    }
    let actual = in_order(actual);
    for (partition, rows) in in_order(once) {
        let expected = rows.iter().cycle();
        let there = actual.get(&partition).map(Vec::as_slice).unwrap_or_default();
        if let Some((at, _)) = there.iter().zip(expected).enumerate().find(|(_, (a, b))| a != b) {
            findings.wrong.push(format!("partition {partition} has another row at {at}: {:?}", there[at]));
        }
        if there.len() != passes * rows.len() {
            let wrong =
                format!("partition {partition} has {} rows of {passes} times {}", there.len(), rows.len());
            findings.wrong.push(wrong);
        }
    }
}

/// A page shows what comes while its process runs: whole stretches of the topic, forward, each record as it
/// is.
fn live(topic: &str, sink: &str, life: &Life, came: &Came, findings: &mut Findings) {
    let mut right: BTreeMap<i32, BTreeMap<i64, Vec<&str>>> = BTreeMap::new();
    for shown in came.sinks.get(sink).map(Vec::as_slice).unwrap_or_default() {
        let records = right.entry(shown.partition).or_default();
        records.entry(shown.offset).or_default().push(shown.value.as_str());
    }
    let notes = life.seen.lock();
    for past in &life.processes {
        let tries = notes.sinks.get(&(sink.to_owned(), past.number)).map(Vec::as_slice).unwrap_or_default();
        for (partition, right) in &right {
            let mut shown_up_to = -1;
            let mut all = Vec::new();
            for rows in tries {
                let mut stretch: BTreeMap<i64, Vec<&str>> = BTreeMap::new();
                let mut last = shown_up_to;
                for row in rows.iter().filter(|row| row.partition == *partition) {
                    findings.rows += 1;
                    let offset = row.offset / life.stretch;
                    if offset < last || offset <= shown_up_to {
                        findings.wrong.push(format!("`{sink}` went back: {row:?}"));
                    }
                    last = offset;
                    stretch.entry(offset).or_default().push(&row.value);
                }
                shown_up_to = last;
                let (Some(first), Some(last)) = (stretch.keys().next(), stretch.keys().last()) else {
                    continue;
                };
                if !right.range(first..=last).eq(stretch.iter()) {
                    let wrong = format!("`{sink}` showed {stretch:?} of partition {partition} of `{topic}`");
                    findings.wrong.push(wrong);
                }
                all.extend(stretch.into_keys());
            }
            if let (true, Some(began_at)) = (past.in_order, &past.began_at) {
                let from = began_at.get(&(topic.to_owned(), *partition)).copied().unwrap_or_default();
                let expected: Vec<i64> = right.range(from..).map(|(offset, _)| *offset).collect();
                if all != expected {
                    findings.wrong.push(format!(
                        "`{sink}` showed {all:?} of partition {partition} and not {expected:?}"
                    ));
                }
            }
        }
    }
}

/// A process begins with the file's first row, whatever was before it; and what it gives up to its end is
/// what an undisturbed one gives.
async fn anew(
    stage: &Stage,
    chain: &Facts,
    repeats: bool,
    life: &Life,
    past: &Past,
    findings: &mut Findings,
) {
    let given = life.seen.lock().sources.get(&(chain.name.clone(), past.number)).copied();
    // One that died before it had opened the file.
    let Some(Given { opened, rows }) = given else { return };
    // One that was stopped in order had so many rows; one that crashed was on its way to the end.
    let whole = if repeats { (rows / stage.rows() + 2) * stage.rows() } else { stage.rows() };
    let rows = if past.in_order { rows } else { whole };
    let came = run(stage, chain, Input::File { rows, opened }, true).await;
    let mut begins = |place: &str, actual: &[String], right: &[String]| {
        findings.rows += actual.len() as u64;
        let enough = if past.in_order { actual.len() == right.len() } else { actual.len() <= right.len() };
        if !enough || actual.iter().zip(right).any(|(a, b)| a != b) {
            let at = actual.iter().zip(right).take_while(|(a, b)| a == b).count();
            findings.wrong.push(format!(
                "{place} of process {}, with {} of {} rows, differs at {at}: {:?} and not {:?}",
                past.number,
                actual.len(),
                right.len(),
                actual.get(at),
                right.get(at)
            ));
        }
    };
    let text = |shown: &Shown| format!("{} {}", shown.time, shown.value);
    for sink in &chain.sinks {
        let tries = life.seen.lock().sinks.get(&(sink.clone(), past.number)).cloned().unwrap_or_default();
        let actual: Vec<String> = tries.concat().iter().map(text).collect();
        let right: Vec<String> = came.sinks.get(sink).into_iter().flatten().map(text).collect();
        begins(&format!("sink `{sink}`"), &actual, &right);
    }
    for topic in &chain.topics {
        assert!(
            stage.case.on == On::Memory,
            "rows of each process in a topic that lasts cannot be told apart"
        );
        let all = records(&life.log, topic).await;
        for (partition, right) in by_partition(&came.topics[topic]) {
            let actual = by_partition(&all).remove(&partition).unwrap_or_default();
            begins(&format!("partition {partition} of topic `{topic}`"), &actual, &right);
        }
    }
}

fn by_partition(records: &[Record]) -> BTreeMap<i32, Vec<String>> {
    let mut partitions: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for Record { partition, time, key, value, .. } in records {
        partitions.entry(*partition).or_default().push(format!("{time} {key:?} {value}"));
    }
    partitions
}
