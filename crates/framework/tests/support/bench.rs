//! A window operator under a hand-held clock, its results as text.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMillisecondType};
use arrow_array::{RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use pipectl_framework::batch::{Batch, Origin, Partition};
use pipectl_framework::plugin::Input;
use pipectl_framework::window::{WindowOperator, WindowOutput, WindowSettings};

use super::aggregates::Count;

pub struct Bench {
    pub operator: WindowOperator,
    pub wall: i64,
    pub rejected: usize,
    pub late: usize,
    out: WindowOutput,
    now: Duration,
    offset: i64,
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
        Self { operator, wall: 0, rejected: 0, late: 0, out, now: Duration::ZERO, offset: 0 }
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
        let origin = Origin { partition: partition.clone(), offsets, replay: false };
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

    /// Closes every window; the results since the last call.
    pub fn finish(&mut self) -> Vec<String> {
        self.operator.finish(&mut self.out).unwrap();
        self.given()
    }
}

fn text(batch: &Batch) -> String {
    let columns = batch.columns();
    let time = |i: usize| columns.column(i).as_primitive::<TimestampMillisecondType>().value(0);
    let counts = columns.column(3).as_primitive::<Int64Type>().values();
    let mut keys: Vec<String> = columns
        .column(2)
        .as_string::<i32>()
        .iter()
        .zip(counts)
        .map(|(key, count)| format!("{}={count}", key.unwrap_or("null")))
        .collect();
    keys.sort();
    format!("{}..{} {}", time(0), time(1), keys.join(" "))
}
