//! `quantiles` of a number field, such as the median and the 99th percentile.

use std::any::Any;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, Float64Array, RecordBatch};
use arrow_schema::{DataType, Field};
use pipectl_framework::plugin::{
    Aggregate, AggregateState, BindContext, BoundWindow, Groups, Input, Problem, Result, Results,
    WindowPlugin,
};
use pipectl_framework::register;
use schemars::JsonSchema;
use serde::Deserialize;

use super::numbers::needs_cast;
use super::sketch::Sketch;

/// Quantiles of a number field, each within 1 % of its true value: the value at the lower rank.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Quantiles {
    /// The field: an integer or a number. Nulls, NaN and infinities are left out.
    field: String,
    /// Which quantiles, each from 0 to 1. Default: `[0.5, 0.95, 0.99]`.
    #[serde(default = "usual")]
    of: Vec<f64>,
    /// The beginning of the names of the result's columns: `as: latency` gives `latency_p50`, ... Default:
    /// just `p50`, ...
    r#as: Option<String>,
}

fn usual() -> Vec<f64> {
    vec![0.5, 0.95, 0.99]
}

register!(window: Quantiles);

impl WindowPlugin for Quantiles {
    const NAME: &'static str = "quantiles";
    const SUMMARY: &'static str = "quantiles of a number field, such as the median";
    const EXAMPLE: &'static str =
        "- window: quantiles\n  with: { field: latency_ms, of: [0.5, 0.99], size: 1m }";

    fn bind(self, input: &Input, _context: &BindContext<'_>) -> Result<BoundWindow, Problem> {
        let column =
            input.number_column("field", &self.field).map_err(|problem| needs_cast(problem, &self.field))?;
        if self.of.is_empty() {
            return Err(Problem::new("of", "no quantile is asked for").help("such as `of: [0.5, 0.99]`"));
        }
        let prefix = self.r#as.map_or(String::new(), |name| format!("{name}_"));
        let mut names: Vec<String> = Vec::new();
        for (index, q) in self.of.iter().enumerate() {
            if !(0.0..=1.0).contains(q) {
                return Err(Problem::new(format!("of[{index}]"), format!("{q} is not between 0 and 1"))
                    .help("the 99th percentile is written 0.99"));
            }
            // 0.999 is p99.9, not p99.90000000000001.
            let percent = (q * 1e8).round() / 1e6;
            names.push(format!("{prefix}p{percent}"));
        }
        let aggregate = Box::new(Sketched { column, quantiles: self.of.into(), names });
        Ok(BoundWindow { reads: vec![self.field], aggregate })
    }
}

struct Sketched {
    column: usize,
    quantiles: Arc<[f64]>,
    names: Vec<String>,
}

impl Aggregate for Sketched {
    fn fields(&self) -> Vec<Field> {
        self.names.iter().map(|name| Field::new(name, DataType::Float64, true)).collect()
    }

    fn state(&self) -> Box<dyn AggregateState> {
        Box::new(Sketches {
            column: self.column,
            quantiles: self.quantiles.clone(),
            sketches: Vec::new(),
            bytes: 0,
        })
    }
}

/// A sketch for each group.
struct Sketches {
    column: usize,
    quantiles: Arc<[f64]>,
    sketches: Vec<Option<Box<Sketch>>>,
    /// What the sketches hold.
    bytes: usize,
}

impl Sketches {
    fn change(&mut self, group: u32, change: impl FnOnce(&mut Sketch)) {
        let group = group as usize;
        if self.sketches.len() <= group {
            self.sketches.resize_with(group + 1, || None);
        }
        let sketch = self.sketches[group].get_or_insert_with(|| {
            self.bytes += size_of::<Sketch>();
            Box::default()
        });
        let before = sketch.heap_bytes();
        change(sketch);
        self.bytes = (self.bytes + sketch.heap_bytes()).saturating_sub(before);
    }

    fn others(other: &dyn AggregateState) -> &[Option<Box<Sketch>>] {
        other.as_any().downcast_ref::<Self>().map_or(&[], |other| &other.sketches)
    }

    fn put(&mut self, group: u32, other: &Sketch) {
        self.change(group, |sketch| sketch.merge(other));
    }
}

impl AggregateState for Sketches {
    fn add(&mut self, batch: &RecordBatch, groups: Groups<'_>) {
        let column = batch.column(self.column);
        let (integers, floats) =
            (column.as_primitive_opt::<Int64Type>(), column.as_primitive_opt::<Float64Type>());
        for (row, group) in groups.iter().filter(|(row, _)| column.is_valid(*row)) {
            let value = match (integers, floats) {
                (Some(integers), _) => integers.value(row) as f64,
                (_, Some(floats)) => floats.value(row),
                _ => continue,
            };
            if value.is_finite() {
                self.change(group, |sketch| sketch.add(value));
            }
        }
    }

    fn merge(&mut self, other: &dyn AggregateState, into: &[u32]) {
        for (sketch, group) in Self::others(other).iter().zip(into) {
            if let Some(sketch) = sketch {
                self.put(*group, sketch);
            }
        }
    }

    fn merge_group(&mut self, other: &dyn AggregateState, from: u32, into: u32) {
        if let Some(Some(sketch)) = Self::others(other).get(from as usize) {
            self.put(into, sketch);
        }
    }

    fn save(&self, group: u32, bytes: &mut Vec<u8>) {
        if let Some(Some(sketch)) = self.sketches.get(group as usize) {
            sketch.save(bytes);
        }
    }

    fn load(&mut self, group: u32, bytes: &[u8]) -> Result<()> {
        if !bytes.is_empty() {
            let sketch = Sketch::load(bytes)?;
            self.change(group, |own| *own = sketch);
        }
        Ok(())
    }

    fn reset(&mut self, group: u32) {
        if let Some(sketch) = self.sketches.get_mut(group as usize) {
            let bytes = sketch.take().map_or(0, |sketch| size_of::<Sketch>() + sketch.heap_bytes());
            self.bytes = self.bytes.saturating_sub(bytes);
        }
    }

    fn finish(&self, groups: &[u32], _rows: &[i64]) -> Result<Results> {
        let columns = self.quantiles.iter().map(|q| {
            let values = groups.iter().map(|group| {
                let sketch = self.sketches.get(*group as usize).and_then(Option::as_ref)?;
                sketch.quantile(*q)
            });
            Arc::new(Float64Array::from_iter(values)) as ArrayRef
        });
        Ok(Results::each(columns.collect()))
    }

    fn bytes(&self) -> usize {
        self.sketches.capacity() * size_of::<Option<Box<Sketch>>>() + self.bytes
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
