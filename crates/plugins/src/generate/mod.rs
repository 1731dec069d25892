//! The `generate` source: rows made up, for trials and benchmarks.
//!
//! A cell follows from the seed, the field and the row's number alone, so that two runs give the same rows,
//! and a restart goes on where it stopped.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use indexmap::IndexMap;
use pipectl_framework::config::Rate;
use pipectl_framework::log::Position;
use pipectl_framework::plugin::{
    Batch, BindContext, BoundSource, Capability, Error, Origin, Partition, Problem, Progress, Result, Source,
    SourceContext, SourceEvent, SourcePlugin,
};
use pipectl_framework::register;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::columns::TextColumn;
use crate::replay::{Due, Replay, Speed};

/// Rows made up.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Generate {
    /// The fields, each with how its cells are made: `{ values: [...] }`, `{ between: [from, to] }` or
    /// `{ sequence: true }`.
    #[schemars(with = "BTreeMap<String, Made>")]
    fields: IndexMap<String, Made>,
    /// How many rows to give. Default: no end.
    count: Option<u64>,
    /// How many rows to give a second, such as `1000/s`; row `i` is then stamped `start + i / rate`. Default:
    /// `max`, as fast as they are taken, each stamped with the time it is made.
    rate: Option<Rate>,
    /// How much faster than its own clock a `rate` runs: `10`, or `max` for not waiting at all. Default: 1.
    #[serde(default)]
    speed: Speed,
    /// Another seed gives other rows. Default: 0.
    #[serde(default)]
    seed: u64,
}

/// How the cells of a field are made: exactly one of the first three.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Made {
    /// One of these, as text, by chance.
    values: Option<Vec<Value>>,
    /// An integer from the first to the second, both included, by chance.
    between: Option<[i64; 2]>,
    /// The row's number, from 0.
    #[serde(default)]
    sequence: bool,
    /// How often each of the `values` comes, compared to the others. Default: all as often.
    weights: Option<Vec<u32>>,
}

register!(source: Generate);

impl SourcePlugin for Generate {
    const NAME: &'static str = "generate";
    const SUMMARY: &'static str = "rows made up, for trials and benchmarks";
    const EXAMPLE: &'static str = "\
- source: generate
  with:
    rate: 1000/s
    fields:
      user_id: { sequence: true }
      gender: { values: [\"0\", \"1\", \"2\"], weights: [5, 4, 1] }
";
    const CAPABILITIES: &'static [Capability] = &[Capability::Replayable, Capability::Bounded];

    fn bind(self, _context: &BindContext<'_>) -> Result<BoundSource, Problem> {
        if self.fields.is_empty() {
            return Err(Problem::new("fields", "at least one field is needed"));
        }
        let fields = self.fields.into_iter().enumerate();
        let cells = fields.map(|(i, (name, made))| Cells::new(name, made, mix(self.seed ^ mix(i as u64))));
        let cells = cells.collect::<Result<Vec<_>, Problem>>()?;
        let source = Generator {
            schema: schema(&cells),
            cells,
            count: self.count,
            replay: Replay::new(self.rate, self.speed),
            opened: None,
        };
        Ok(BoundSource::custom(NAME, source.schema.clone(), self.count.is_some(), source))
    }
}

const NAME: &str = "generate";

/// One step of splitmix64: every input has another output, and near inputs have far outputs.
fn mix(input: u64) -> u64 {
    let mut z = input.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number below `bound`, from 64 random bits.
fn below(bound: u64, random: u64) -> u64 {
    ((u128::from(random) * u128::from(bound)) >> 64) as u64
}

/// How the cells of one field are made.
#[derive(Debug)]
struct Cells {
    name: String,
    seed: u64,
    rule: Rule,
}

#[derive(Debug)]
enum Rule {
    Sequence,
    /// The first, and how many there are.
    Between(i64, u64),
    /// The values, each with the sum of the weights up to its own.
    Values(Vec<(u64, String)>),
}

impl Cells {
    fn new(name: String, made: Made, seed: u64) -> Result<Self, Problem> {
        let path = format!("fields.{name}");
        let rule = match (made.values, made.between, made.sequence) {
            (None, None, true) => Rule::Sequence,
            (None, Some([from, to]), false) if from <= to && to.abs_diff(from) < u64::MAX => {
                Rule::Between(from, to.abs_diff(from) + 1)
            }
            (None, Some(_), false) => {
                return Err(Problem::new(
                    format!("{path}.between"),
                    "the first must not be above the second",
                ));
            }
            (Some(values), None, false) => Rule::Values(weigh(&path, &values, made.weights.as_deref())?),
            _ => {
                return Err(Problem::new(
                    path,
                    "exactly one of `values`, `between` and `sequence` is needed",
                )
                .help(
                    "write `{ values: [\"0\", \"1\"] }`, `{ between: [1, 100] }` or `{ sequence: true }`",
                ));
            }
        };
        Ok(Self { name, seed, rule })
    }

    /// The cells of `rows` rows from row `from` on.
    fn make(&self, from: u64, rows: usize) -> std::result::Result<ArrayRef, arrow_schema::ArrowError> {
        let numbers = from..from + rows as u64;
        let random = |row: u64| mix(self.seed ^ mix(row));
        Ok(match &self.rule {
            Rule::Sequence => Arc::new(numbers.map(|row| row as i64).collect::<Int64Array>()),
            Rule::Between(first, count) => Arc::new(
                numbers
                    .map(|row| first.wrapping_add(below(*count, random(row)) as i64))
                    .collect::<Int64Array>(),
            ),
            Rule::Values(values) => {
                let all = values.last().map_or(0, |(sum, _)| *sum);
                let mut column = TextColumn::with_capacity(rows, rows * 8);
                for row in numbers {
                    let ticket = below(all, random(row));
                    let value = values.iter().find(|(sum, _)| ticket < *sum);
                    column.push(value.map_or(b"", |(_, text)| text.as_bytes()));
                }
                Arc::new(column.finish(None)?)
            }
        })
    }
}

/// The values with the sums of their weights.
fn weigh(path: &str, values: &[Value], weights: Option<&[u32]>) -> Result<Vec<(u64, String)>, Problem> {
    if weights.is_some_and(|w| w.len() != values.len()) {
        return Err(Problem::new(
            format!("{path}.weights"),
            format!("a weight for each of the {} values is needed", values.len()),
        ));
    }
    let mut sum = 0;
    let mut weighed = Vec::with_capacity(values.len());
    for (index, value) in values.iter().enumerate() {
        sum += u64::from(weights.and_then(|w| w.get(index)).copied().unwrap_or(1));
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            _ => {
                return Err(Problem::new(format!("{path}.values[{index}]"), "a value is a text or a number"));
            }
        };
        weighed.push((sum, text));
    }
    if sum == 0 {
        return Err(Problem::new(path, "at least one value with a weight above 0 is needed"));
    }
    Ok(weighed)
}

fn schema(cells: &[Cells]) -> SchemaRef {
    let fields = cells.iter().map(|c| {
        let data_type = if matches!(c.rule, Rule::Values(_)) { DataType::Utf8 } else { DataType::Int64 };
        Field::new(&c.name, data_type, false)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

struct Generator {
    schema: SchemaRef,
    cells: Vec<Cells>,
    count: Option<u64>,
    replay: Replay,
    opened: Option<Opened>,
}

struct Opened {
    context: SourceContext,
    row: u64,
    caught_up: bool,
}

impl Generator {
    fn event(&self, clock_now: i64, from: u64, rows: usize) -> Result<SourceEvent> {
        let broken = |e| Error::fatal("rows could not be made").caused_by(e);
        let columns = self.cells.iter().map(|c| c.make(from, rows)).collect::<std::result::Result<_, _>>();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let columns = columns
            .and_then(|columns| RecordBatch::try_new_with_options(self.schema.clone(), columns, &options))
            .map_err(broken)?;
        let numbers = from..from + rows as u64;
        let times = numbers.clone().map(|row| self.replay.stamp(row, clock_now)).collect();
        let partition = Partition::new(NAME, 0);
        let offsets = numbers.map(|row| row as i64).collect();
        let origin = Origin { partition: partition.clone(), offsets, replay: false };
        let next = from + rows as u64;
        let last = self.replay.stamps().then(|| self.replay.stamp(next - 1, clock_now));
        let metadata = last.map_or(String::new(), |time| time.to_string());
        let position = Position { partition, offset: next as i64, metadata };
        let batch = Batch::new(columns, times, origin).map_err(broken)?;
        Ok(SourceEvent::Batch { batch, rejects: Vec::new(), position })
    }
}

#[async_trait]
impl Source for Generator {
    async fn open(&mut self, context: &SourceContext, position: Option<&Position>) -> Result<()> {
        if context.once && self.count.is_none() {
            return Err(Error::fatal("the generate source has no `count`, so `--once` would never end")
                .remedy("give it a `count`, or run without `--once`"));
        }
        let row = position.map_or(0, |p| u64::try_from(p.offset).unwrap_or_default());
        let after = position.and_then(|p| p.metadata.parse().ok());
        self.replay.start(&context.clock, row, after);
        self.opened = Some(Opened { context: context.clone(), row, caught_up: false });
        Ok(())
    }

    async fn next(&mut self) -> Result<SourceEvent> {
        // A source at full speed never waits for anything: let the other tasks of this thread run.
        tokio::task::yield_now().await;
        loop {
            let Some(opened) = &mut self.opened else {
                return Err(Error::fatal("the generate source was read before it was opened"));
            };
            let left = self.count.map_or(u64::MAX, |count| count.saturating_sub(opened.row));
            if left == 0 {
                return Ok(SourceEvent::End);
            }
            let Opened { context, row, caught_up } = opened;
            match self.replay.due(&context.clock, *row, context.batch_rows) {
                Due::At(_) if !*caught_up => {
                    *caught_up = true;
                    return Ok(SourceEvent::CaughtUp);
                }
                Due::At(at) => context.clock.sleep_until(at).await,
                Due::Rows(due) => {
                    let rows = due.min(usize::try_from(left).unwrap_or(usize::MAX));
                    let (from, now) = (*row, context.clock.stamp());
                    *row += rows as u64;
                    *caught_up = false;
                    return self.event(now, from, rows);
                }
            }
        }
    }

    fn progress(&self) -> Option<Progress> {
        let opened = self.opened.as_ref()?;
        self.count.map(|total| Progress { done: opened.row, total })
    }

    fn narrow(&mut self, columns: &[String]) -> Option<SchemaRef> {
        self.cells.retain(|c| columns.contains(&c.name));
        self.schema = schema(&self.cells);
        Some(self.schema.clone())
    }
}

#[cfg(test)]
mod tests;
