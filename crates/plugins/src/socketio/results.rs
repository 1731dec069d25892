//! From the columns of a batch to results: which rows are of one window, and when that was.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMillisecondType};
use arrow_array::{Array, ArrayRef, StringArray};
use arrow_schema::{DataType, TimeUnit};
use pipectl_framework::plugin::{Batch, Input, Problem};

/// The column with the end of a row's window, where the rows still have it.
pub const WINDOW_END: &str = "window_end";

/// The columns of the input that the sink looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// Several make one key together; with none all rows are of one line.
    keys: Vec<usize>,
    /// The name of the only line.
    name: String,
    value: usize,
    window_end: Option<usize>,
}

impl Columns {
    /// Finds them.
    ///
    /// # Errors
    /// Where a column is missing or of another type.
    pub fn find(input: &Input, keys: &[String], value: &str) -> Result<Self, Problem> {
        let window_end = input.schema.index_of(WINDOW_END).ok().filter(|index| {
            let of = input.schema.field(*index).data_type();
            matches!(of, DataType::Int64 | DataType::Timestamp(TimeUnit::Millisecond, _))
        });
        Ok(Self {
            keys: keys
                .iter()
                .map(|key| {
                    input.text_column("key", key).map_err(|problem| {
                        problem.help(
                            "`key: FIELD` names the field of the lines; where it is not said, that is `key`",
                        )
                    })
                })
                .collect::<Result<_, _>>()?,
            name: value.to_owned(),
            value: input.number_column("value", value).map_err(|problem| {
                problem.help(
                    "`value: FIELD` names the field of the numbers; where it is not said, that is `count`",
                )
            })?,
            window_end,
        })
    }

    /// The results in a batch, in its order: stretches of rows of one window, each with the window's event time (its
    /// last millisecond). Without a column that tells the window, rows with the same event time are of one.
    pub fn results(&self, batch: &Batch) -> Vec<(i64, Rows)> {
        let Some(keys) = self.keys(batch) else { return Vec::new() };
        let Some(values) = Values::of(batch.column(self.value)) else { return Vec::new() };
        let ends = self.window_end.map(|index| batch.column(index));
        let time = |row: usize| match ends.and_then(|ends| integer(ends, row)) {
            Some(end) => end.saturating_sub(1),
            None => batch.times()[row],
        };
        let mut results: Vec<(i64, Rows)> = Vec::new();
        for row in 0..batch.rows() {
            let t = time(row);
            match results.last_mut() {
                Some((last, rows)) if *last == t => rows.range.end = row + 1,
                _ => results
                    .push((t, Rows { keys: keys.clone(), values: values.clone(), range: row..row + 1 })),
            }
        }
        results
    }
}

/// What stands between the parts of a key of several columns.
const BETWEEN: &str = " / ";

impl Columns {
    /// The key of each row.
    fn keys(&self, batch: &Batch) -> Option<StringArray> {
        let columns: Option<Vec<&StringArray>> =
            self.keys.iter().map(|index| batch.column(*index).as_string_opt::<i32>()).collect();
        Some(match columns?.as_slice() {
            [] => StringArray::from_iter_values(std::iter::repeat_n(&self.name, batch.rows())),
            [only] => (*only).clone(),
            several => {
                let part = |column: &&StringArray, row| {
                    if column.is_valid(row) { column.value(row).to_owned() } else { String::new() }
                };
                let key = |row| several.iter().map(|c| part(c, row)).collect::<Vec<_>>().join(BETWEEN);
                (0..batch.rows()).map(|row| Some(key(row))).collect()
            }
        })
    }
}

fn integer(array: &ArrayRef, row: usize) -> Option<i64> {
    if array.is_null(row) {
        return None;
    }
    match array.data_type() {
        DataType::Int64 => Some(array.as_primitive_opt::<Int64Type>()?.value(row)),
        _ => Some(array.as_primitive_opt::<TimestampMillisecondType>()?.value(row)),
    }
}

/// A column of numbers. Cloning copies no values.
#[derive(Debug, Clone)]
enum Values {
    Whole(arrow_array::Int64Array),
    Real(arrow_array::Float64Array),
}

impl Values {
    fn of(array: &ArrayRef) -> Option<Self> {
        match array.data_type() {
            DataType::Int64 => array.as_primitive_opt::<Int64Type>().cloned().map(Self::Whole),
            _ => array.as_primitive_opt::<Float64Type>().cloned().map(Self::Real),
        }
    }

    fn get(&self, row: usize) -> Option<f64> {
        match self {
            Self::Whole(array) => array.is_valid(row).then(|| array.value(row) as f64),
            Self::Real(array) => array.is_valid(row).then(|| array.value(row)),
        }
    }
}

/// The rows of one result.
#[derive(Debug, Clone)]
pub struct Rows {
    keys: StringArray,
    values: Values,
    range: Range<usize>,
}

impl Rows {
    /// Key and value of each row; a null key counts as the empty text.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<f64>)> {
        self.range.clone().map(|row| {
            let key = if self.keys.is_valid(row) { self.keys.value(row) } else { "" };
            (key, self.values.get(row))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Float64Array, Int64Array, RecordBatch, TimestampMillisecondArray};
    use arrow_schema::{Field, Schema};
    use pipectl_framework::plugin::{Origin, Partition};

    use super::*;

    fn batch(columns: Vec<(&str, ArrayRef)>, times: Vec<i64>) -> (Input, Batch) {
        let rows = times.len();
        let fields: Vec<Field> =
            columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
        let schema = Arc::new(Schema::new(fields));
        let columns = columns.into_iter().map(|(_, array)| array).collect();
        let origin =
            Origin { partition: Partition::new("result", 0), offsets: vec![0; rows].into(), replay: false };
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
        (Input { schema, given_by: "the test".into() }, Batch::new(batch, times.into(), origin).unwrap())
    }

    type Found<'a> = Vec<(i64, Vec<(&'a str, Option<f64>)>)>;

    fn found(results: &[(i64, Rows)]) -> Found<'_> {
        results.iter().map(|(t, rows)| (*t, rows.iter().collect())).collect()
    }

    fn keys(keys: &[Option<&str>]) -> ArrayRef {
        Arc::new(StringArray::from(keys.to_vec()))
    }

    #[test]
    fn rows_of_one_event_time_are_one_result() {
        let counts: ArrayRef = Arc::new(Int64Array::from(vec![Some(5), Some(7), None, Some(1)]));
        let keys = keys(&[Some("0"), Some("1"), Some("0"), None]);
        let (input, batch) = batch(vec![("key", keys), ("count", counts)], vec![999, 999, 1999, 999]);
        let results = Columns::find(&input, &["key".to_owned()], "count").unwrap().results(&batch);
        assert_eq!(
            found(&results),
            [
                (999, vec![("0", Some(5.0)), ("1", Some(7.0))]),
                (1999, vec![("0", None)]),
                (999, vec![("", Some(1.0))]),
            ]
        );
    }

    #[test]
    fn a_column_with_the_windows_end_decides_before_the_event_time() {
        let shares: ArrayRef = Arc::new(Float64Array::from(vec![0.5, 0.25, 1.0]));
        let names = keys(&[Some("a"), Some("b"), Some("a")]);
        for ends in [
            Arc::new(TimestampMillisecondArray::from(vec![Some(1000), Some(1000), None])) as ArrayRef,
            Arc::new(Int64Array::from(vec![Some(1000), Some(1000), None])),
        ] {
            let columns = vec![("key", names.clone()), ("share", shares.clone()), (WINDOW_END, ends)];
            let (input, batch) = batch(columns, vec![1, 2, 3]);
            let results = Columns::find(&input, &["key".to_owned()], "share").unwrap().results(&batch);
            assert_eq!(
                found(&results),
                [(999, vec![("a", Some(0.5)), ("b", Some(0.25))]), (3, vec![("a", Some(1.0))])]
            );
        }
    }

    #[test]
    fn a_missing_column_is_named() {
        let (input, _) = batch(vec![("key", keys(&[])), ("total", keys(&[]))], vec![]);
        let problem = Columns::find(&input, &["key".to_owned()], "count").unwrap_err();
        assert_eq!((problem.path.as_str(), problem.message.as_str()), ("value", "unknown field `count`"));
        let problem = Columns::find(&input, &["key".to_owned()], "total").unwrap_err();
        assert_eq!(problem.message, "field `total` is not a number");
    }
}
