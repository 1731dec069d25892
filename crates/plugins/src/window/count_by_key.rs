//! `count-by-key`: how many rows each key has in a window.

use std::any::Any;
use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field};
use pipectl_framework::plugin::{
    Aggregate, AggregateState, BoundWindow, Groups, Input, KeyColumn, Problem, Reads, Result, Results,
    WindowPlugin,
};
use pipectl_framework::register;
use schemars::JsonSchema;
use serde::Deserialize;

/// Counts the rows of each key.
///
/// A result has the columns `window_start`, `window_end`, `key` (text) and `count` (integer). A row without a value in the key
/// column (null) counts under a key of its own, null, which is not the empty text.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CountByKey {
    /// The field whose values are counted: text, an integer, or true or false.
    pub key: String,
}

register!(window: CountByKey);

impl WindowPlugin for CountByKey {
    const NAME: &'static str = "count-by-key";
    const SUMMARY: &'static str = "counts the rows of each key in a window";
    const EXAMPLE: &'static str =
        "- window: count-by-key\n  with: { key: gender, size: 1s, slide: 1s, zero_fill: seen }";

    fn bind(self, input: &Input) -> Result<BoundWindow, Problem> {
        let column = input.column("key", &self.key)?;
        Ok(BoundWindow {
            keys: vec![KeyColumn { column, name: "key".into() }],
            reads: Reads::Only(vec![self.key]),
            aggregate: Box::new(Count),
        })
    }
}

/// The aggregate: a number of rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Count;

impl Aggregate for Count {
    fn fields(&self) -> Vec<Field> {
        vec![Field::new("count", DataType::Int64, false)]
    }

    fn state(&self) -> Box<dyn AggregateState> {
        Box::new(Counts::default())
    }
}

/// Up to this many groups, rows are counted on several tracks: an increment need not wait for the one before, of the same key.
const FEW: usize = 64;
const TRACKS: usize = 4;

#[derive(Default)]
struct Counts(Vec<i64>);

impl Counts {
    fn grow(&mut self, groups: usize) {
        if self.0.len() < groups {
            self.0.resize(groups, 0);
        }
    }

    fn of(other: &dyn AggregateState) -> &[i64] {
        other.as_any().downcast_ref::<Self>().map_or(&[], |counts| &counts.0)
    }
}

impl AggregateState for Counts {
    fn add(&mut self, _: &RecordBatch, groups: Groups<'_>) {
        self.grow(groups.count);
        if groups.count > FEW {
            for group in groups.ids {
                self.0[*group as usize] += 1;
            }
            return;
        }
        let mut tracks = [[0_u32; FEW]; TRACKS];
        let (chunks, rest) = groups.ids.as_chunks::<TRACKS>();
        for chunk in chunks {
            for (track, group) in tracks.iter_mut().zip(chunk) {
                track[*group as usize % FEW] += 1;
            }
        }
        for group in rest {
            tracks[0][*group as usize % FEW] += 1;
        }
        for (group, count) in self.0.iter_mut().enumerate().take(FEW) {
            *count += tracks.iter().map(|track| i64::from(track[group])).sum::<i64>();
        }
    }

    fn merge(&mut self, other: &dyn AggregateState, into: &[u32]) {
        for (count, group) in Self::of(other).iter().zip(into) {
            let group = *group as usize;
            self.grow(group + 1);
            self.0[group] += count;
        }
    }

    fn remove(&mut self, other: &dyn AggregateState, from: &[u32]) -> bool {
        for (count, group) in Self::of(other).iter().zip(from) {
            if let Some(own) = self.0.get_mut(*group as usize) {
                *own -= count;
            }
        }
        true
    }

    fn finish(&self, groups: &[u32]) -> Result<Results> {
        let count = |group: &u32| self.0.get(*group as usize).copied().unwrap_or(0);
        Ok(Results::each(vec![Arc::new(Int64Array::from_iter_values(groups.iter().map(count)))]))
    }

    fn is_empty(&self, group: u32) -> bool {
        self.0.get(group as usize).is_none_or(|count| *count == 0)
    }

    fn clear(&mut self) {
        self.0.clear();
    }

    fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<i64>()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::RecordBatchOptions;
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    use arrow_schema::Schema;
    use pipectl_framework::plugin::Rows;
    use pipectl_framework::testing::laws;
    use proptest::prelude::*;

    fn added(ids: &[u32], count: usize) -> Counts {
        let mut state = Counts::default();
        state.add(
            &RecordBatch::new_empty(Arc::new(Schema::empty())),
            Groups { ids, rows: Rows::From(0), count },
        );
        state
    }

    fn finished(state: &Counts, groups: usize) -> Vec<i64> {
        let groups: Vec<u32> = (0..groups as u32).collect();
        state.finish(&groups).unwrap().columns[0].as_primitive::<Int64Type>().values().to_vec()
    }

    fn ids() -> impl Strategy<Value = (usize, Vec<u32>)> {
        (1_usize..200).prop_flat_map(|n| (Just(n), prop::collection::vec(0..n as u32, 0..300)))
    }

    proptest! {
        #[test]
        fn counts_are_what_a_loop_counts((groups, ids) in ids()) {
            let mut expected = vec![0; groups];
            for id in &ids {
                expected[*id as usize] += 1;
            }
            let state = added(&ids, groups);
            prop_assert_eq!(finished(&state, groups), expected.clone());
            for (group, count) in expected.iter().enumerate() {
                prop_assert_eq!(state.is_empty(group as u32), *count == 0);
            }
        }

        #[test]
        fn the_laws_of_aggregates_hold((groups, ids) in ids()) {
            let rows = RecordBatchOptions::new().with_row_count(Some(ids.len()));
            let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &rows).unwrap();
            prop_assert_eq!(laws::aggregate(&Count, &batch, &ids, groups), Ok(()));
        }
    }

    #[test]
    fn a_field_that_is_not_there_is_a_problem_at_the_key() {
        let schema = Arc::new(Schema::new(vec![Field::new("gender", DataType::Utf8, true)]));
        let input = Input { schema, given_by: "the csv source".into() };
        let problem = CountByKey { key: "gendr".into() }.bind(&input).err().unwrap();
        assert_eq!((problem.path.as_str(), problem.help), ("key", vec!["did you mean `gender`?".to_owned()]));
    }
}
