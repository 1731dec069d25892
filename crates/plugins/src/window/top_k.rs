//! `top-k`: the values of a field that most rows have.

use std::any::Any;
use std::cmp::Reverse;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field};
use hashbrown::HashMap;
use pipectl_framework::plugin::fold::{self, Cell, Value};
use pipectl_framework::plugin::{
    Aggregate, AggregateState, BindContext, BoundWindow, Groups, Input, PerKey, Problem, Ranked, Result,
    Results, WindowPlugin, saved,
};
use pipectl_framework::register;
use schemars::JsonSchema;
use serde::Deserialize;

/// The values of a field that most rows have, in order; with a `key`, those of each key.
///
/// A result has a row for each of them: the value, its `rank` from 1, and its `count`. Values of equally many
/// rows stand in the order of their texts. It is exact: every different value is counted, for each key and
/// pane. Nulls are left out.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TopK {
    /// The field: text, an integer, a number, or true or false.
    field: String,
    /// How many to give, at least 1. Default: 10.
    #[serde(default = "ten")]
    k: u32,
    /// The name of the values' column in the result. Default: the field's.
    r#as: Option<String>,
}

/// The column of the places.
const RANK: &str = "rank";

fn ten() -> u32 {
    10
}

register!(window: TopK);

impl WindowPlugin for TopK {
    const NAME: &'static str = "top-k";
    const SUMMARY: &'static str = "the values of a field that most rows have";
    const EXAMPLE: &'static str = "- window: top-k\n  with: { field: province, k: 5, size: 1m }";

    fn bind(self, input: &Input, _context: &BindContext<'_>) -> Result<BoundWindow, Problem> {
        let column = countable(input, &self.field)?;
        if self.k == 0 {
            return Err(Problem::new("k", "the top 0 values are none"));
        }
        let name = self.r#as.unwrap_or_else(|| self.field.clone());
        let aggregate = Box::new(Top { column, k: self.k as usize, name });
        Ok(BoundWindow { reads: vec![self.field], aggregate })
    }
}

/// A column whose values can be told apart.
pub(super) fn countable(input: &Input, name: &str) -> Result<usize, Problem> {
    let column = input.column("field", name)?;
    match input.schema.field(column).data_type() {
        DataType::Utf8 | DataType::Int64 | DataType::Float64 | DataType::Boolean => Ok(column),
        other => Err(Problem::new("field", format!("the values of field `{name}` cannot be counted"))
            .label(format!("{} gives it as {other}", input.given_by))
            .of_field(name)),
    }
}

struct Top {
    column: usize,
    k: usize,
    name: String,
}

impl Aggregate for Top {
    fn fields(&self) -> Vec<Field> {
        vec![
            Field::new(&self.name, DataType::Utf8, false),
            Field::new(RANK, DataType::Int64, false),
            Field::new("count", DataType::Int64, false),
        ]
    }

    fn state(&self) -> Box<dyn AggregateState> {
        Box::new(Ranks { column: self.column, k: self.k, groups: Vec::new(), bytes: 0, text: String::new() })
    }

    fn removes(&self) -> bool {
        true
    }

    fn per_key(&self) -> PerKey {
        PerKey::Ranked(Ranked { place: RANK.to_owned(), name: self.name.clone() })
    }
}

type Counts = HashMap<Box<str>, i64, foldhash::fast::FixedState>;

/// What an entry of a table takes beside its text.
const ENTRY: usize = size_of::<(Box<str>, i64)>() + 1;

struct Ranks {
    column: usize,
    k: usize,
    groups: Vec<Counts>,
    bytes: usize,
    text: String,
}

impl Ranks {
    fn count(&mut self, group: u32, value: &str, rows: i64) {
        let group = group as usize;
        if self.groups.len() <= group {
            self.groups.resize_with(group + 1, Counts::default);
        }
        let counts = &mut self.groups[group];
        match counts.get_mut(value) {
            Some(count) => {
                *count += rows;
                if *count == 0 {
                    counts.remove(value);
                    self.bytes = self.bytes.saturating_sub(value.len() + ENTRY);
                }
            }
            None => {
                counts.insert(value.into(), rows);
                self.bytes += value.len() + ENTRY;
            }
        }
    }

    fn others(other: &dyn AggregateState) -> &[Counts] {
        other.as_any().downcast_ref::<Self>().map_or(&[], |other| &other.groups)
    }
}

impl AggregateState for Ranks {
    fn add(&mut self, batch: &RecordBatch, groups: Groups<'_>) {
        use std::fmt::Write as _;
        let mut text = std::mem::take(&mut self.text);
        fold::Any::each(batch.column(self.column), groups, |group, cell| {
            let written = match cell {
                Cell::Text(value) => return self.count(group, value, 1),
                Cell::Integer(n) => write!(text, "{n}"),
                Cell::Number(bits) => write!(text, "{}", f64::from_bits(bits)),
                Cell::Boolean(b) => write!(text, "{b}"),
            };
            // Writing to a text does not fail.
            if written.is_ok() {
                self.count(group, &text, 1);
            }
            text.clear();
        });
        self.text = text;
    }

    fn merge(&mut self, other: &dyn AggregateState, into: &[u32]) {
        for (counts, group) in Self::others(other).iter().zip(into) {
            counts.iter().for_each(|(value, rows)| self.count(*group, value, *rows));
        }
    }

    fn remove(&mut self, other: &dyn AggregateState, from: &[u32]) {
        for (counts, group) in Self::others(other).iter().zip(from) {
            counts.iter().for_each(|(value, rows)| self.count(*group, value, -rows));
        }
    }

    fn merge_group(&mut self, other: &dyn AggregateState, from: u32, into: u32) {
        if let Some(counts) = Self::others(other).get(from as usize) {
            counts.iter().for_each(|(value, rows)| self.count(into, value, *rows));
        }
    }

    fn save(&self, group: u32, bytes: &mut Vec<u8>) {
        if let Some(counts) = self.groups.get(group as usize) {
            let counts: Vec<(&str, i64)> = counts.iter().map(|(value, rows)| (&**value, *rows)).collect();
            saved::write(&counts, bytes);
        }
    }

    fn load(&mut self, group: u32, bytes: &[u8]) -> Result<()> {
        if !bytes.is_empty() {
            let counts: Vec<(Box<str>, i64)> = saved::read(bytes)?;
            counts.iter().for_each(|(value, rows)| self.count(group, value, *rows));
        }
        Ok(())
    }

    fn reset(&mut self, group: u32) {
        if let Some(counts) = self.groups.get_mut(group as usize) {
            let bytes: usize = counts.keys().map(|value| value.len() + ENTRY).sum();
            self.bytes = self.bytes.saturating_sub(bytes);
            *counts = Counts::default();
        }
    }

    fn finish(&self, groups: &[u32], _rows: &[i64]) -> Result<Results> {
        let (mut rows, mut values, mut ranks, mut counts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (row, group) in groups.iter().enumerate() {
            let Some(group) = self.groups.get(*group as usize) else { continue };
            let mut ranked: Vec<(Reverse<i64>, &str)> =
                group.iter().map(|(value, count)| (Reverse(*count), &**value)).collect();
            if ranked.len() > self.k {
                ranked.select_nth_unstable(self.k);
                ranked.truncate(self.k);
            }
            ranked.sort_unstable();
            for (rank, (Reverse(count), value)) in (1..).zip(ranked) {
                rows.push(row as u32);
                values.push(value);
                ranks.push(rank);
                counts.push(count);
            }
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(values)),
            Arc::new(Int64Array::from(ranks)),
            Arc::new(Int64Array::from(counts)),
        ];
        Ok(Results { rows: Some(rows), columns })
    }

    fn bytes(&self) -> usize {
        self.groups.capacity() * size_of::<Counts>() + self.bytes
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
