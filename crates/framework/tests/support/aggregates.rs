//! Aggregates to test windows with: a count that can be taken back, and one that cannot.

use std::any::Any;
use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field};
use pipectl_framework::plugin::{Aggregate, AggregateState, Groups, Result, Results, saved};

/// Counts rows; with `invertible` false, a state cannot be taken out.
pub struct Count {
    pub invertible: bool,
}

impl Aggregate for Count {
    fn fields(&self) -> Vec<Field> {
        vec![Field::new("count", DataType::Int64, false)]
    }

    fn state(&self) -> Box<dyn AggregateState> {
        Box::new(Counts { counts: Vec::new() })
    }

    fn removes(&self) -> bool {
        self.invertible
    }
}

struct Counts {
    counts: Vec<i64>,
}

impl Counts {
    fn of(&mut self, group: u32) -> &mut i64 {
        let index = group as usize;
        if self.counts.len() <= index {
            self.counts.resize(index + 1, 0);
        }
        &mut self.counts[index]
    }
}

impl AggregateState for Counts {
    fn add(&mut self, batch: &RecordBatch, groups: Groups<'_>) {
        for (row, group) in groups.iter() {
            assert!(row < batch.num_rows() && (group as usize) < groups.count);
            *self.of(group) += 1;
        }
    }

    fn merge(&mut self, other: &dyn AggregateState, into: &[u32]) {
        for (count, group) in other.as_any().downcast_ref::<Self>().unwrap().counts.iter().zip(into) {
            *self.of(*group) += count;
        }
    }

    fn remove(&mut self, other: &dyn AggregateState, from: &[u32]) {
        for (count, group) in other.as_any().downcast_ref::<Self>().unwrap().counts.iter().zip(from) {
            *self.of(*group) -= count;
        }
    }

    fn merge_group(&mut self, other: &dyn AggregateState, from: u32, into: u32) {
        let other = other.as_any().downcast_ref::<Self>().unwrap();
        *self.of(into) += other.counts.get(from as usize).copied().unwrap_or(0);
    }

    fn save(&self, group: u32, bytes: &mut Vec<u8>) {
        saved::write(&self.counts.get(group as usize).copied().unwrap_or_default(), bytes);
    }

    fn load(&mut self, group: u32, bytes: &[u8]) -> Result<()> {
        *self.of(group) = saved::read(bytes)?;
        Ok(())
    }

    fn reset(&mut self, group: u32) {
        *self.of(group) = 0;
    }

    fn finish(&self, groups: &[u32], rows: &[i64]) -> Result<Results> {
        for (group, rows) in groups.iter().zip(rows) {
            assert_eq!(
                self.counts.get(*group as usize).copied().unwrap_or(0),
                *rows,
                "the framework counts too"
            );
        }
        let count = |g: &u32| self.counts.get(*g as usize).copied().unwrap_or(0);
        Ok(Results::each(vec![Arc::new(Int64Array::from_iter_values(groups.iter().map(count)))]))
    }

    fn bytes(&self) -> usize {
        self.counts.len() * 8
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
