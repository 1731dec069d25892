//! What each sink must hold at the end, from the input alone: every step of the file is evaluated over all of
//! its rows, one by one.
//!
//! Which rows were late, and when a dead letter was made, is taken from the topics that hold them; whether
//! they may be late is looked at. What stands in a topic that the file reads as well is the input of the next
//! step, so each chain is held against what it really got.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use pipectl_framework::config::Output;
use serde_json::{Map, Value};

use super::file::{Body, Chain, Reference, Spec, Step};
use super::input::LARGEST;
use super::windows::{self, Window};
use crate::shipped::plain::Record;

/// A row on its way.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) cells: Map<String, Value>,
    pub(crate) time: i64,
    /// The greatest time before it in its partition of the source.
    pub(crate) before: i64,
}

/// Rows, as they come out of a step.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) rows: Vec<Row>,
    /// Of how many partitions the source is; 0 where nobody knows in which order the rows came.
    pub(crate) partitions: usize,
    /// True where they come from outside of the file: in each run in the same order.
    pub(crate) outside: bool,
    /// True where they come from a topic: what their windows keep is written with their results.
    pub(crate) by_topic: bool,
    /// The window that they are results of.
    window: Option<usize>,
}

/// What a simulation left behind.
pub(crate) struct Left<'a> {
    pub(crate) topics: &'a BTreeMap<String, Vec<Record>>,
    /// How many partitions each topic has.
    pub(crate) partitions: &'a BTreeMap<String, usize>,
    /// Where the files are.
    pub(crate) folder: &'a Path,
    /// Topics and sinks in which rows may stand again.
    pub(crate) loose: &'a BTreeSet<String>,
    /// What one undisturbed run over the whole input leaves.
    pub(crate) undisturbed: &'a BTreeMap<String, Vec<Record>>,
}

impl Left<'_> {
    /// The rows of a topic, as JSON has them.
    pub(crate) fn rows(&self, topic: &str) -> Vec<Row> {
        records(self.topics.get(topic).map(Vec::as_slice).unwrap_or_default(), None).0
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) wrong: Vec<String>,
    pub(crate) rows: u64,
    pub(crate) late: u64,
    pub(crate) dead: u64,
    pub(crate) windows: u64,
    pub(crate) results: u64,
    /// Rows that fit in no topic, each time that one was to be written.
    pub(crate) large: u64,
    /// Rows for which there was no room.
    pub(crate) roomless: u64,
    /// Rows that stand again where they may.
    pub(crate) repeated: u64,
    /// Windows held against an undisturbed run.
    pub(crate) compared: u64,
}

/// So much of a record that was too large is kept in its letter, at least.
const KEPT: usize = 1000;

struct Oracle<'a> {
    left: &'a Left<'a>,
    streams: BTreeMap<Reference, Stream>,
    /// The records that each step cannot use, as they stand in a dead letter.
    dead: BTreeMap<(String, String), Vec<String>>,
    windows: Vec<Window>,
    /// The topics that the file writes.
    written: BTreeSet<String>,
    /// The topic that holds what comes of such outputs.
    observers: BTreeMap<Vec<Reference>, String>,
    found: Found,
}

/// Looks at every sink of a file.
pub(crate) fn check(chains: &[Chain], left: &Left<'_>) -> Found {
    let mut observers = BTreeMap::new();
    for chain in chains {
        if let (Body::From(references), Some(Step { body: Body::Sink(topic), .. })) =
            (&chain.steps[0].body, chain.steps.get(1))
            && references.iter().any(|(_, _, output)| *output != Output::Main)
        {
            observers.entry(references.clone()).or_insert_with(|| topic.clone());
        }
    }
    let sinks = chains.iter().flat_map(|chain| &chain.steps).filter_map(|step| match &step.body {
        Body::Sink(topic) => Some(topic.clone()),
        _ => None,
    });
    let written = sinks.collect();
    let mut oracle = Oracle {
        left,
        streams: BTreeMap::new(),
        dead: BTreeMap::new(),
        windows: Vec::new(),
        written,
        observers,
        found: Found::default(),
    };
    let mut waiting: Vec<&Chain> = chains.iter().collect();
    while !waiting.is_empty() {
        let before = waiting.len();
        waiting.retain(|chain| !oracle.chain(chain));
        assert!(waiting.len() < before, "chains wait for each other: {waiting:?}");
    }
    let windows = std::mem::take(&mut oracle.windows);
    for window in &windows {
        windows::check(window, left, &mut oracle.found);
        // Which rows are late for a session depends on which sessions are open: as in one run over all of
        // them.
        if let (true, Some(topic)) = (window.input.outside && window.decided(), &window.late) {
            oracle.found.compared += 1;
            // A dead letter also says where the record stood, which is another place where a path is spelt
            // otherwise.
            let name = |row: &Row| match row.cells.get("record").and_then(Value::as_str) {
                Some(record) => identity(record),
                None => row.name(),
            };
            let rows = |topics: &BTreeMap<String, Vec<Record>>, topic: &String| {
                let (rows, _) = records(topics.get(topic).map(Vec::as_slice).unwrap_or_default(), None);
                rows.iter().map(name).collect::<Vec<_>>()
            };
            let place = format!("{}, beside an undisturbed run", window.place);
            // Each worker has room of its own, and the order in which it reads partitions decides who gets
            // it.
            let roomless = window.roomless.iter().filter(|_| window.spec.repartition <= 1);
            for topic in std::iter::once(topic).chain(roomless) {
                let (alone, beside) = (rows(left.undisturbed, topic), rows(left.topics, topic));
                oracle.same(&place, topic, &alone, &beside);
            }
        }
    }
    oracle.found
}

impl Row {
    /// Tells it from others.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.time, sorted(&self.cells))
    }
}

/// The same text whatever the order of the columns.
fn sorted(cells: &Map<String, Value>) -> String {
    let cells: BTreeMap<&String, &Value> = cells.iter().collect();
    serde_json::to_string(&cells).expect("JSON")
}

impl Oracle<'_> {
    fn wrong(&mut self, what: String) {
        self.found.wrong.push(what);
    }

    fn topic(&self, topic: &str) -> &[Record] {
        self.left.topics.get(topic).map(Vec::as_slice).unwrap_or_default()
    }

    /// Follows a chain; false where it has to wait for another.
    fn chain(&mut self, chain: &Chain) -> bool {
        let name = &chain.name;
        let Some(mut stream) = self.begin(chain) else { return false };
        self.remember(name, &chain.steps[0].id, &stream);
        for step in &chain.steps[1..] {
            match &step.body {
                Body::Sink(topic) => {
                    self.sink(chain, step, topic, &stream);
                    continue;
                }
                Body::Window(spec) => stream = self.window(name, step, spec, stream),
                _ => {
                    let mut dead = Vec::new();
                    stream.rows = stream
                        .rows
                        .into_iter()
                        .filter_map(|row| transform(&step.body, row, &mut dead))
                        .collect();
                    if step.dead_letters {
                        self.dead.insert((name.clone(), step.id.clone()), dead);
                    }
                }
            }
            self.remember(name, &step.id, &stream);
        }
        true
    }

    fn remember(&mut self, chain: &str, step: &str, stream: &Stream) {
        self.streams.insert((chain.to_owned(), step.to_owned(), Output::Main), stream.clone());
    }

    fn begin(&mut self, chain: &Chain) -> Option<Stream> {
        let step = &chain.steps[0];
        let by_topic = matches!(step.body, Body::Topic { .. });
        let (rows, dead, partitions, outside) = match &step.body {
            Body::File { path, timed } => {
                let (rows, dead) = file(&self.left.folder.join(path), *timed);
                (rows, dead, 1, true)
            }
            Body::Topic { topic, fields } => {
                let (rows, dead) = records(self.topic(topic), Some(fields));
                (
                    rows,
                    dead,
                    self.left.partitions.get(topic).copied().unwrap_or(1),
                    !self.written.contains(topic),
                )
            }
            Body::From(references) => return self.join(references),
            other => panic!("a chain does not begin with {other:?}"),
        };
        self.dead.insert((chain.name.clone(), step.id.clone()), dead);
        self.found.rows += rows.len() as u64;
        Some(Stream { rows, partitions, outside, by_topic, window: None })
    }

    fn join(&self, references: &[Reference]) -> Option<Stream> {
        let ready = |(chain, step, _): &Reference| {
            self.streams.contains_key(&(chain.clone(), step.clone(), Output::Main))
                || self.dead.contains_key(&(chain.clone(), step.clone()))
        };
        if !references.iter().all(ready) {
            return None;
        }
        if let Some(topic) = self.observers.get(references) {
            let (rows, _) = records(self.topic(topic), None);
            return Some(Stream { rows, partitions: 0, outside: false, by_topic: false, window: None });
        }
        let mut joined =
            Stream { rows: Vec::new(), partitions: 0, outside: false, by_topic: false, window: None };
        for reference in references {
            let stream = self.streams.get(reference).unwrap_or_else(|| panic!("nobody keeps {reference:?}"));
            joined.rows.extend(stream.rows.iter().cloned());
            joined.partitions = stream.partitions;
            joined.outside = stream.outside;
            joined.by_topic = stream.by_topic;
            joined.window = stream.window;
        }
        Some(joined)
    }

    fn window(&mut self, chain: &str, step: &Step, spec: &Spec, input: Stream) -> Stream {
        let late = self.observers.get(&vec![(chain.to_owned(), step.id.clone(), Output::Late)]).cloned();
        let place = format!("{chain}.{}", step.id);
        let dead = vec![(chain.to_owned(), step.id.clone(), Output::Dead)];
        let roomless = self.observers.get(&dead).cloned();
        // Which rows have no room is looked at with the window.
        let (letters, _) =
            records(roomless.as_ref().map(|topic| self.topic(topic)).unwrap_or_default(), None);
        let record =
            |row: &Row| row.cells.get("record").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.dead.insert((chain.to_owned(), step.id.clone()), letters.iter().map(record).collect());
        self.windows.push(Window { place, spec: spec.clone(), input, late, roomless, sinks: Vec::new() });
        Stream {
            rows: Vec::new(),
            partitions: 0,
            outside: false,
            by_topic: false,
            window: Some(self.windows.len() - 1),
        }
    }

    fn sink(&mut self, chain: &Chain, step: &Step, topic: &str, stream: &Stream) {
        self.dead.entry((chain.name.clone(), step.id.clone())).or_default();
        if let Some(window) = stream.window {
            self.windows[window].sinks.push(topic.to_owned());
            return;
        }
        let place = format!("{}.{}", chain.name, step.id);
        let (got, _) = records(self.topic(topic), None);
        if let Body::From(references) = &chain.steps[0].body
            && self.observers.get(references).is_some_and(|observer| observer == topic)
        {
            self.observed(&place, topic, references, &got);
            return;
        }
        // A sink of a plugin's own has no bound.
        let fits = |row: &&Row| topic == place || sorted(&row.cells).len() <= LARGEST;
        let (fits, large): (Vec<&Row>, Vec<&Row>) = stream.rows.iter().partition(fits);
        self.found.large += large.len() as u64;
        let large = large.into_iter().map(|row| sorted(&row.cells)).collect();
        self.dead.insert((chain.name.clone(), step.id.clone()), large);
        let expected: Vec<String> = fits.into_iter().map(Row::name).collect();
        self.same(&place, topic, &expected, &got.iter().map(Row::name).collect::<Vec<_>>());
    }

    /// Late rows are looked at with their window. Dead letters are those of the steps.
    fn observed(&mut self, place: &str, topic: &str, references: &[Reference], got: &[Row]) {
        if references.iter().any(|(_, _, output)| *output == Output::Late) {
            self.found.late += got.len() as u64;
            return;
        }
        self.found.dead += got.len() as u64;
        let record =
            |row: &Row| row.cells.get("record").and_then(Value::as_str).unwrap_or_default().to_owned();
        let got: Vec<String> = got.iter().map(record).collect();
        let of = |(chain, step, _): &Reference| {
            self.dead.get(&(chain.clone(), step.clone())).cloned().unwrap_or_default()
        };
        let expected: Vec<String> = references.iter().flat_map(of).collect();
        let names = |records: &[String]| records.iter().map(|record| identity(record)).collect::<Vec<_>>();
        let before = self.found.wrong.len();
        self.same(&format!("{place}, dead letters"), topic, &names(&expected), &names(&got));
        if self.found.wrong.len() == before {
            let plain = |records: &[String]| records.iter().map(|record| plainly(record)).collect::<Vec<_>>();
            self.same(
                &format!("{place}, dead letters as they are kept"),
                topic,
                &plain(&expected),
                &plain(&got),
            );
        }
    }

    /// Each row as often as it must be there.
    fn same(&mut self, place: &str, topic: &str, expected: &[String], got: &[String]) {
        let count = |rows: &[String]| {
            let mut times: BTreeMap<String, i64> = BTreeMap::new();
            rows.iter().for_each(|row| *times.entry(row.clone()).or_default() += 1);
            times
        };
        let (expected, got) = (count(expected), count(got));
        let rows: BTreeSet<&String> = expected.keys().chain(got.keys()).collect();
        let times = |of: &BTreeMap<String, i64>, row: &String| of.get(row).copied().unwrap_or_default();
        let loose = self.left.loose.contains(topic);
        let mut wrong = Vec::new();
        for row in rows {
            let (right, there) = (times(&expected, row), times(&got, row));
            if loose && right > 0 && there > right {
                self.found.repeated += (there - right) as u64;
            } else if there != right {
                wrong.push(format!("{there} times and not {right}: {row}"));
            }
        }
        if let Some(first) = wrong.first() {
            self.wrong(format!("{place}, `{topic}`: {} rows are wrong; {first}", wrong.len()));
        }
    }
}

/// What tells a record from others: its id, or what stands behind `broken`.
pub(super) fn identity(record: &str) -> String {
    let id = serde_json::from_str::<Value>(record).ok().and_then(|row| row.get("id").cloned());
    match (id, record.split_once(r#""id":"#)) {
        (Some(Value::String(id)), _) => id,
        (Some(id), _) => id.to_string(),
        // It was too large, and was cut.
        (None, Some((_, id))) => {
            id.trim_start_matches('"').chars().take_while(char::is_ascii_digit).collect()
        }
        (None, None) => record.trim_start_matches("broken").trim().to_owned(),
    }
}

/// The same text for the same JSON.
fn plainly(record: &str) -> String {
    // Of one that was too large only the beginning is kept.
    if record.len() >= KEPT {
        return identity(record);
    }
    serde_json::from_str(record).map_or_else(|_| record.trim().to_owned(), |row| sorted(&row))
}

/// The rows of records, and the records that are none. Without `fields` as JSON has them.
pub(crate) fn records(
    records: &[Record],
    fields: Option<&BTreeMap<String, String>>,
) -> (Vec<Row>, Vec<String>) {
    let (mut rows, mut dead) = (Vec::new(), Vec::new());
    let mut before: BTreeMap<i32, i64> = BTreeMap::new();
    for record in records {
        let latest = before.entry(record.partition).or_insert(i64::MIN);
        match serde_json::from_str(&record.value) {
            Ok(Value::Object(mut cells)) => {
                if let Some(fields) = fields {
                    cells.retain(|name, _| fields.contains_key(name));
                }
                rows.push(Row { cells, time: record.time, before: *latest });
            }
            _ => dead.push(record.value.clone()),
        }
        // A record of a topic that is no row has a time all the same.
        *latest = (*latest).max(record.time);
    }
    (rows, dead)
}

/// The rows of a file, and the records in it that are none.
fn file(path: &Path, timed: bool) -> (Vec<Row>, Vec<String>) {
    let text = std::fs::read_to_string(path).expect("a file");
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let (mut rows, mut dead, mut before) = (Vec::new(), Vec::new(), i64::MIN);
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        if cells.len() != header.len() {
            dead.push(line.to_owned());
            continue;
        }
        let cells: Map<String, Value> =
            header.iter().zip(cells).map(|(name, cell)| ((*name).to_owned(), Value::from(cell))).collect();
        let time = cells.get("t").and_then(Value::as_str).and_then(|t| t.parse().ok());
        match time {
            Some(time) if timed => {
                rows.push(Row { cells, time, before });
                before = before.max(time);
            }
            _ => dead.push(Value::Object(cells).to_string()),
        }
    }
    (rows, dead)
}

/// What a transform makes of a row; `None` where it goes no further.
fn transform(body: &Body, mut row: Row, dead: &mut Vec<String>) -> Option<Row> {
    match body {
        Body::Filter { field, values, not } => {
            let is = row.cells.get(field).is_some_and(|cell| values.contains(cell));
            (is != *not).then_some(row)
        }
        Body::Cast(fields) => {
            let before = row.cells.clone();
            for (name, to) in fields {
                let Some(Value::String(text)) = row.cells.get(name) else { continue };
                let value = match to.as_str() {
                    _ if text.is_empty() => Some(Value::Null),
                    "integer" => text.parse::<i64>().ok().map(Value::from),
                    other => panic!("the oracle does not cast to {other}"),
                };
                let Some(value) = value else {
                    dead.push(Value::Object(before).to_string());
                    return None;
                };
                row.cells.insert(name.clone(), value);
            }
            Some(row)
        }
        Body::Select { fields, rename } => {
            let given = fields.iter().filter_map(|name| {
                let cell = row.cells.get(name).cloned()?;
                Some((rename.get(name).unwrap_or(name).clone(), cell))
            });
            row.cells = given.collect();
            Some(row)
        }
        other => panic!("no transform: {other:?}"),
    }
}
