//! What must come out, worked out again from the input alone.

use std::collections::{BTreeMap, BTreeSet};

use pipectl_framework::log::memory::MemoryLog;
use serde_json::Value;

use crate::scenario::{BITS, Input, Kind, Record, Scenario, Shape};
use crate::shipped::plain::records;
use pipectl_framework::testing::simulation::World;

/// Everything that a topic holds, committed, in the order of each partition.
pub(crate) async fn read(log: &MemoryLog, topic: &str) -> Vec<(i64, String)> {
    let records = records(log, topic).await;
    records.into_iter().map(|record| (record.time, record.value)).collect()
}

/// A window of a key: start, end, key.
type Window = (i64, i64, String);

/// The windows that each record is in.
fn windows(shape: Shape, records: &[&Record]) -> BTreeMap<Window, Vec<usize>> {
    let mut windows: BTreeMap<Window, Vec<usize>> = BTreeMap::new();
    match shape {
        Shape::Grid { size, slide } => {
            for (index, record) in records.iter().enumerate() {
                let mut start = record.time.div_euclid(slide) * slide;
                while start + size > record.time {
                    windows.entry((start, start + size, record.key.clone())).or_default().push(index);
                    start -= slide;
                }
            }
        }
        Shape::Session { gap } => {
            let mut order: Vec<usize> = (0..records.len()).collect();
            order.sort_by_key(|index| (&records[*index].key, records[*index].time));
            let mut session: Vec<usize> = Vec::new();
            for index in order {
                let last = session.last().map(|last| records[*last]);
                let fits =
                    last.is_some_and(|l| l.key == records[index].key && records[index].time < l.time + gap);
                if !fits {
                    close(&mut windows, &mut session, records, gap);
                }
                session.push(index);
            }
            close(&mut windows, &mut session, records, gap);
        }
    }
    windows
}

fn close(
    windows: &mut BTreeMap<Window, Vec<usize>>,
    session: &mut Vec<usize>,
    records: &[&Record],
    gap: i64,
) {
    let session = std::mem::take(session);
    if let (Some(first), Some(last)) = (session.first(), session.last()) {
        let window = (records[*first].time, records[*last].time + gap, records[*first].key.clone());
        windows.insert(window, session);
    }
}

/// Looks at everything that came out.
pub(crate) async fn check(world: &World, scenario: &Scenario, records: &[Record], log: &MemoryLog) {
    let out = read(log, "out").await;
    let late = ids(world, &read(log, "late").await);
    let dead = dead(&read(log, "dead").await);
    // Where a file is copied, a row that is broken never reaches the topic.
    let broken: BTreeMap<i64, u64> =
        records.iter().filter(|r| r.kind == Kind::Broken).map(|r| (r.id, 1)).collect();
    if dead != broken {
        world.violation(format!("dead letters: {dead:?}, expected {broken:?}"));
    }
    if scenario.input == Input::File {
        copied(world, records, &read(log, "rows").await);
    }
    for (id, times) in &late {
        if *times != 1 {
            world.violation(format!("record {id} was given as late {times} times"));
        }
        if scenario.punctual {
            world.violation(format!("record {id} was given as late, and none is"));
        }
    }
    // A row that is late for a session is part of none; where that is a window of time, others may still
    // count it.
    let session = matches!(scenario.shape, Shape::Session { .. });
    let counts = |r: &&Record| r.kind == Kind::Counts && !(session && late.contains_key(&r.id));
    let counting: Vec<&Record> = records.iter().filter(counts).collect();
    let windows = windows(scenario.shape, &counting);
    let mut results = results(world, scenario, &out);
    if session {
        results.retain(|window, result| !grew(window, *result, &windows, &counting));
    }
    let mut counted_in: BTreeMap<i64, Vec<(i64, bool)>> = BTreeMap::new();
    for (window, members) in &windows {
        let (_, end, key) = window;
        assert!(
            members.len() as u64 <= BITS,
            "{} records of {key} in a window: a bit is used twice",
            members.len()
        );
        let (_, got) = results.get(window).copied().unwrap_or((0, 0));
        let mut expected = 0;
        for member in members {
            let record = counting[*member];
            expected |= 1_u64 << record.bit;
            counted_in.entry(record.id).or_default().push((*end, got & (1 << record.bit) != 0));
        }
        if got & !expected != 0 {
            world
                .violation(format!("window {window:?} has counted what is not in it: {got:b}, {expected:b}"));
        }
    }
    for (window, (rows, sum)) in &results {
        if u64::from(sum.count_ones()) != *rows {
            world.violation(format!("window {window:?}: {rows} rows, but the sum of the weights is {sum:b}"));
        }
        if !windows.contains_key(window) && (*rows > 0 || !scenario.zero_fill) {
            world.violation(format!("a window that cannot be: {window:?}, {rows} rows"));
        }
    }
    for (id, mut windows) in counted_in {
        windows.sort_unstable();
        let missed = windows.iter().filter(|(_, counted)| !counted).count();
        let first = windows.iter().position(|(_, counted)| *counted).unwrap_or(windows.len());
        let is_late = late.contains_key(&id);
        if missed > 0 && scenario.punctual {
            let record = &records[id as usize];
            world.violation(format!("{record:?} is missing in {missed} of its windows: {windows:?}"));
        } else if missed != first {
            world.violation(format!(
                "{:?} counted in an earlier window, but not in a later: {windows:?}",
                records[id as usize]
            ));
        } else if (missed == windows.len()) != is_late {
            let what = if is_late { "counted and late" } else { "lost" };
            world.violation(format!("record {id} is {what}: {windows:?}"));
        }
    }
    world.add("records", records.len() as u64);
    world.add("windows checked", windows.len() as u64);
    world.add("late records", late.len() as u64);
    world.add("dead letters", dead.len() as u64);
    if scenario.punctual {
        world.add("windows checked, all punctual", windows.len() as u64);
    }
}

/// True where a session has got more rows since it was given, which it was given again with: a part of it is
/// no result of its own.
fn grew(
    window: &Window,
    (_, sum): (u64, u64),
    windows: &BTreeMap<Window, Vec<usize>>,
    counting: &[&Record],
) -> bool {
    let (start, end, key) = window;
    let whole = windows.iter().find(|((from, to, of), _)| of == key && from <= start && end <= to);
    whole.is_some_and(|(found, members)| {
        let all = members.iter().fold(0, |sum, member| sum | 1_u64 << counting[*member].bit);
        found != window && all & sum == sum
    })
}

/// The last result of each window, in rows and the sum of their bits.
fn results(world: &World, scenario: &Scenario, out: &[(i64, String)]) -> BTreeMap<Window, (u64, u64)> {
    let mut results: BTreeMap<Window, (u64, u64)> = BTreeMap::new();
    let grows = matches!(scenario.shape, Shape::Session { .. }) && !scenario.punctual;
    for (_, text) in out {
        let row: Value = serde_json::from_str(text).expect("JSON");
        let number = |name: &str| row[name].as_i64().unwrap_or_else(|| panic!("{name} in {text}"));
        let key = row["key"].as_str().unwrap_or_default().to_owned();
        let window = (number("window_start"), number("window_end"), key);
        let result = (number("n") as u64, number("w") as u64);
        match results.insert(window.clone(), result) {
            None => {}
            // Given again for a late row, whole.
            Some(before) if scenario.lateness > 0 && before.1 & !result.1 == 0 => {}
            // A session between whose first and last row another has come.
            Some(before) if grows && before.1 & !result.1 == 0 && before.1 != result.1 => {}
            Some(before) => {
                world.violation(format!("two results of {window:?}: {before:?}, then {result:?}"));
            }
        }
    }
    results
}

fn ids(world: &World, rows: &[(i64, String)]) -> BTreeMap<i64, u64> {
    let mut ids: BTreeMap<i64, u64> = BTreeMap::new();
    for (_, text) in rows {
        match serde_json::from_str::<Value>(text).ok().and_then(|row| row["id"].as_i64()) {
            Some(id) => *ids.entry(id).or_default() += 1,
            None => world.violation(format!("a row without an id: {text}")),
        }
    }
    ids
}

/// The numbers of the broken records among the dead letters.
fn dead(rows: &[(i64, String)]) -> BTreeMap<i64, u64> {
    let mut ids: BTreeMap<i64, u64> = BTreeMap::new();
    for (_, text) in rows {
        let row: Value = serde_json::from_str(text).expect("JSON");
        let record = row["record"].as_str().unwrap_or_default();
        let id = record.trim_start_matches("broken ").trim().parse().unwrap_or(-1);
        *ids.entry(id).or_default() += 1;
    }
    ids
}

/// Every row of a file must be in the topic once, with its own time.
fn copied(world: &World, records: &[Record], rows: &[(i64, String)]) {
    let mut seen = BTreeSet::new();
    for (time, text) in rows {
        let row: Value = serde_json::from_str(text).unwrap_or_default();
        let id = row["id"].as_i64().unwrap_or(-1);
        if !seen.insert(id) {
            world.violation(format!("row {id} of the file was copied twice"));
        }
        let made = usize::try_from(id).ok().and_then(|id| records.get(id));
        if made.is_none_or(|made| made.time != *time || made.kind == Kind::Broken) {
            world.violation(format!("the copy of row {id} is another one: {text} at {time}"));
        }
    }
    let wanted = records.iter().filter(|r| r.kind != Kind::Broken).count();
    if seen.len() != wanted {
        world.violation(format!("{} rows of the file were copied, of {wanted}", seen.len()));
    }
}
