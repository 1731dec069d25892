//! `rate`: how many of some rows there are for each of some others, such as purchases for each click.

use std::any::Any;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{DataType, Field};
use pipectl_framework::plugin::{
    Aggregate, AggregateState, BindContext, BoundWindow, Groups, Input, Problem, Result, Results,
    WindowPlugin, saved,
};
use pipectl_framework::register;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::condition::{Condition, Matcher};

/// How many of some rows there are for each of some others: the ratio of two filtered counts.
///
/// A result has the ratio (null where there is nothing to divide by) and both counts.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Rate {
    /// The rows that are counted, as in a `filter`: `{ field: action, equals: "2" }`.
    of: Condition,
    /// The rows that they are divided by. Default: all rows.
    per: Option<Condition>,
    /// The name of the ratio's column, and the beginning of the counts': `as: conversion` gives `conversion`,
    /// `conversion_of` and `conversion_per`. Default: `rate`, `rate_of`, `rate_per`.
    r#as: Option<String>,
}

register!(window: Rate);

impl WindowPlugin for Rate {
    const NAME: &'static str = "rate";
    const SUMMARY: &'static str = "the ratio of two filtered counts, such as purchases per click";
    const EXAMPLE: &'static str = "\
- window: rate
  with:
    of: { field: action, equals: \"2\" }
    per: { field: action, equals: \"0\" }
    size: 1m";

    fn bind(self, input: &Input, _context: &BindContext<'_>) -> Result<BoundWindow, Problem> {
        let mut reads = vec![self.of.field.clone()];
        reads.extend(self.per.iter().map(|per| per.field.clone()));
        let bind = |path: &str, condition: Condition| {
            condition.bind(input, "a condition").map_err(|problem| problem.within(path, false))
        };
        let of = Arc::new(bind("of", self.of)?);
        let per = self.per.map(|per| bind("per", per)).transpose()?.map(Arc::new);
        let name = self.r#as.unwrap_or_else(|| "rate".to_owned());
        Ok(BoundWindow { reads, aggregate: Box::new(Ratio { of, per, name }) })
    }
}

struct Ratio {
    of: Arc<Matcher>,
    per: Option<Arc<Matcher>>,
    name: String,
}

impl Aggregate for Ratio {
    fn fields(&self) -> Vec<Field> {
        vec![
            Field::new(&self.name, DataType::Float64, true),
            Field::new(format!("{}_of", self.name), DataType::Int64, false),
            Field::new(format!("{}_per", self.name), DataType::Int64, false),
        ]
    }

    fn state(&self) -> Box<dyn AggregateState> {
        Box::new(Counts { of: self.of.clone(), per: self.per.clone(), counts: Vec::new() })
    }

    fn removes(&self) -> bool {
        true
    }
}

struct Counts {
    of: Arc<Matcher>,
    per: Option<Arc<Matcher>>,
    /// By group: the rows of `of`, and of `per`.
    counts: Vec<[i64; 2]>,
}

impl Counts {
    fn at(&mut self, group: u32) -> &mut [i64; 2] {
        let group = group as usize;
        if self.counts.len() <= group {
            self.counts.resize(group + 1, [0; 2]);
        }
        &mut self.counts[group]
    }

    fn combine(&mut self, group: u32, counts: &[i64; 2], times: i64) {
        let own = self.at(group);
        own[0] += times * counts[0];
        own[1] += times * counts[1];
    }

    fn others(other: &dyn AggregateState) -> &[[i64; 2]] {
        other.as_any().downcast_ref::<Self>().map_or(&[], |other| &other.counts)
    }
}

impl AggregateState for Counts {
    fn add(&mut self, batch: &RecordBatch, groups: Groups<'_>) {
        // Planning has checked the columns' types: a condition cannot fail.
        let none = || BooleanBuffer::new_unset(batch.num_rows());
        let of = self.of.rows(batch).unwrap_or_else(|_| none());
        let per = self.per.as_ref().map(|per| per.rows(batch).unwrap_or_else(|_| none()));
        for (row, group) in groups.iter() {
            let own = self.at(group);
            own[0] += i64::from(of.value(row));
            own[1] += i64::from(per.as_ref().is_none_or(|per| per.value(row)));
        }
    }

    fn merge(&mut self, other: &dyn AggregateState, into: &[u32]) {
        for (counts, group) in Self::others(other).iter().zip(into) {
            self.combine(*group, counts, 1);
        }
    }

    fn remove(&mut self, other: &dyn AggregateState, from: &[u32]) {
        for (counts, group) in Self::others(other).iter().zip(from) {
            self.combine(*group, counts, -1);
        }
    }

    fn merge_group(&mut self, other: &dyn AggregateState, from: u32, into: u32) {
        if let Some(counts) = Self::others(other).get(from as usize) {
            self.combine(into, counts, 1);
        }
    }

    fn save(&self, group: u32, bytes: &mut Vec<u8>) {
        let counts = self.counts.get(group as usize).copied().unwrap_or_default();
        saved::write(&counts, bytes);
    }

    fn load(&mut self, group: u32, bytes: &[u8]) -> Result<()> {
        *self.at(group) = saved::read(bytes)?;
        Ok(())
    }

    fn reset(&mut self, group: u32) {
        *self.at(group) = [0; 2];
    }

    fn finish(&self, groups: &[u32], _rows: &[i64]) -> Result<Results> {
        let counts: Vec<[i64; 2]> =
            groups.iter().map(|g| self.counts.get(*g as usize).copied().unwrap_or_default()).collect();
        let ratio = |[of, per]: &[i64; 2]| (*per != 0).then(|| *of as f64 / *per as f64);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Float64Array::from_iter(counts.iter().map(ratio))),
            Arc::new(Int64Array::from_iter_values(counts.iter().map(|c| c[0]))),
            Arc::new(Int64Array::from_iter_values(counts.iter().map(|c| c[1]))),
        ];
        Ok(Results::each(columns))
    }

    fn bytes(&self) -> usize {
        self.counts.capacity() * size_of::<[i64; 2]>()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
