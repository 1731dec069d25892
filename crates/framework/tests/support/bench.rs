//! A window operator under a hand-held clock, its results as text.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMillisecondType};
use arrow_array::{RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use pipectl_framework::batch::{Batch, Origin, Partition};
use pipectl_framework::plugin::Input;
use pipectl_framework::window::{SavedPart, WindowOperator, WindowOutput, WindowSettings};

use super::aggregates::Count;

pub struct Bench {
    pub operator: WindowOperator,
    pub wall: i64,
    pub rejected: usize,
    pub late: usize,
    out: WindowOutput,
    now: Duration,
    offset: i64,
    replay: bool,
    /// The pieces of each part that was saved.
    changelog: BTreeMap<String, Vec<Vec<u8>>>,
}

impl Bench {
    pub fn new(settings: WindowSettings) -> Self {
        let aggregate = Box::new(Count { invertible: true });
        let schema = Arc::new(Schema::new(vec![Field::new("value", DataType::Utf8, true)]));
        let input = Input { schema, given_by: "the test".into() };
        let settings = WindowSettings { key: vec!["value".into()], ..settings };
        let mut operator = WindowOperator::new(settings, aggregate, &input).unwrap();
        operator.assign(Partition::new("t", 0), None, Duration::ZERO);
        let out = WindowOutput::default();
        Self {
            operator,
            wall: 0,
            rejected: 0,
            late: 0,
            out,
            now: Duration::ZERO,
            offset: 0,
            replay: false,
            changelog: BTreeMap::new(),
        }
    }

    pub fn now(&self) -> Duration {
        self.now
    }

    pub fn push(&mut self, rows: &[(i64, &str)]) {
        let rows: Vec<(i64, Option<&str>)> = rows.iter().map(|(t, key)| (*t, Some(*key))).collect();
        self.push_keys(&rows);
    }

    /// A batch of (time, key).
    pub fn push_keys(&mut self, rows: &[(i64, Option<&str>)]) {
        let partition = Partition::new("t", 0);
        let schema = Arc::new(Schema::new(vec![Field::new("value", DataType::Utf8, true)]));
        let keys: StringArray = rows.iter().map(|row| row.1).collect();
        let columns = RecordBatch::try_new(schema, vec![Arc::new(keys)]).unwrap();
        let offsets = (self.offset..).take(rows.len()).collect();
        self.offset += rows.len() as i64;
        let origin = Origin { partition: partition.clone(), offsets, replay: self.replay };
        let batch = Batch::new(columns, rows.iter().map(|row| row.0).collect(), origin).unwrap();
        self.operator.push(&batch, self.now, self.wall, &mut self.out).unwrap();
        self.operator.observe(&partition, batch.times(), self.now, self.wall);
        self.wait(0);
    }

    pub fn wait(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        self.operator.tick(self.now, self.wall, &mut self.out).unwrap();
    }

    pub fn caught_up(&mut self) {
        self.operator.caught_up(&Partition::new("t", 0), true, self.now);
    }

    /// A second partition, of which nothing is known.
    pub fn second_partition(&mut self) -> Partition {
        let second = Partition::new("t", 1);
        self.operator.assign(second.clone(), None, self.now);
        second
    }

    /// An operator that goes on where this one's last commit stood; the rows that are read again are `again`,
    /// from the committed offset on.
    pub fn restart(&mut self, settings: WindowSettings, again: &[(i64, &str)]) {
        let partition = Partition::new("t", 0);
        let low = self.operator.low(&partition, self.offset);
        let (restored, _) = self.operator.note(&partition, self.offset, low, 1024);
        let mut next = Self::new(settings);
        (next.wall, next.now, next.offset) = (self.wall, self.now, low);
        next.operator.assign(partition.clone(), Some(restored), self.now);
        assert_eq!(self.offset - low, again.len() as i64, "rows to read again");
        next.changelog = std::mem::take(&mut self.changelog);
        for piece in next.changelog.get("keys").into_iter().flatten() {
            next.operator.load(&partition, piece).unwrap();
        }
        next.replay = true;
        next.push(again);
        next.replay = false;
        *self = next;
    }

    /// The offset from which rows would be read again.
    pub fn low(&self) -> usize {
        self.operator.low(&Partition::new("t", 0), self.offset) as usize
    }

    /// Keeps the keys that are to be known after a restart.
    pub fn save_keys(&mut self) {
        let piece = self.operator.save_keys(&Partition::new("t", 0));
        self.changelog.entry("keys".to_owned()).or_default().extend(piece);
    }

    /// An operator that gets the state back that is saved now.
    pub fn restart_from_changelog(&mut self, settings: WindowSettings) {
        let partition = Partition::new("t", 0);
        let parts = self.operator.save(&partition, self.offset);
        let mut before = std::mem::take(&mut self.changelog);
        let kept = |part: SavedPart| {
            let pieces = part.pieces.or_else(|| before.remove(&part.name));
            (part.name, pieces.unwrap())
        };
        let changelog: BTreeMap<_, _> = parts.into_iter().map(kept).collect();
        self.restart(settings, &[]);
        for piece in changelog.values().flatten() {
            self.operator.load(&partition, piece).unwrap();
        }
        self.operator.is_replayed(&partition, self.now);
        self.changelog = changelog;
    }

    /// The same without saving anything: the state is as of when it was saved last.
    pub fn restart_from_what_was_saved(&mut self, settings: WindowSettings) {
        self.restart(settings, &[]);
        for piece in self.changelog.values().flatten() {
            self.operator.load(&Partition::new("t", 0), piece).unwrap();
        }
        self.operator.is_replayed(&Partition::new("t", 0), self.now);
    }

    pub fn wakeup(&self) -> Option<Duration> {
        self.operator.next_wakeup(self.now)
    }

    /// The results since the last call, as `start..end key=count ...` with the keys in order.
    pub fn given(&mut self) -> Vec<String> {
        let out = std::mem::take(&mut self.out);
        self.rejected += out.rejected.rows().len();
        self.late += out.late.iter().map(Batch::rows).sum::<usize>();
        out.results.iter().map(text).collect()
    }

    /// The data is at its end; the results since the last call.
    pub fn finish(&mut self) -> Vec<String> {
        self.operator.finish(&mut self.out).unwrap();
        self.given()
    }
}

/// `start..end key=count ...`, a new `start` where rows have another, and `early` behind the result of a
/// window that is open.
pub fn text(batch: &Batch) -> String {
    let columns = batch.columns();
    let time = |i: usize, row| columns.column(i).as_primitive::<TimestampMillisecondType>().value(row);
    let counts = columns.column(3).as_primitive::<Int64Type>().values();
    let mut rows: Vec<(i64, String)> = columns
        .column(2)
        .as_string::<i32>()
        .iter()
        .zip(counts)
        .enumerate()
        .map(|(row, (key, count))| (time(0, row), format!("{}={count}", key.unwrap_or("null"))))
        .collect();
    rows.sort();
    let texts: Vec<String> = rows
        .chunk_by(|a, b| a.0 == b.0)
        .map(|rows| {
            let keys: Vec<&str> = rows.iter().map(|row| row.1.as_str()).collect();
            format!("{}..{} {}", rows[0].0, time(1, 0), keys.join(" "))
        })
        .collect();
    let early = columns.num_columns() > 4 && columns.column(4).as_boolean().value(0);
    texts.join(" ") + if early { " early" } else { "" }
}
