//! From the columns of a batch to results: which rows are of one window, and when that was.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMillisecondType};
use arrow_array::{Array, ArrayRef, Int64Array, StringArray};
use arrow_schema::{DataType, TimeUnit};
use pipectl_framework::plugin::{Batch, Input, Problem};

/// The column with the end of a row's window, where the rows still have it.
pub const WINDOW_END: &str = "window_end";

/// The columns of the input that make results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// Several make one key together; with none all rows are of one line.
    keys: Vec<usize>,
    /// Each with its name.
    values: Vec<(String, usize)>,
    /// The column of the places, and those whose values have places of their own.
    places: Option<(usize, Vec<usize>)>,
    window_end: Option<usize>,
}

impl Columns {
    /// Finds them.
    ///
    /// # Errors
    /// Where a column is missing or of another type.
    pub fn find(input: &Input, keys: &[String], values: &[String]) -> Result<Self, Problem> {
        let window_end = input.schema.index_of(WINDOW_END).ok().filter(|index| {
            let of = input.schema.field(*index).data_type();
            matches!(of, DataType::Int64 | DataType::Timestamp(TimeUnit::Millisecond, _))
        });
        Ok(Self {
            keys: keys.iter().map(|key| find_key(input, key)).collect::<Result<_, _>>()?,
            values: values
                .iter()
                .map(|value| Ok((value.clone(), find_value(input, value)?)))
                .collect::<Result<_, Problem>>()?,
            places: None,
            window_end,
        })
    }

    /// The same where rows are the first few in an order: `place` is the column that numbers them, and each
    /// value of `groups` has places of its own.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn ranked(mut self, input: &Input, place: &str, groups: &[String]) -> Result<Self, Problem> {
        let groups = groups.iter().map(|group| find_key(input, group)).collect::<Result<_, _>>()?;
        self.places = Some((input.number_column("key", place)?, groups));
        Ok(self)
    }

    /// How many numbers a row has.
    pub fn values(&self) -> usize {
        self.values.len()
    }

    /// How many parts a key has.
    pub fn parts(&self) -> usize {
        self.keys.len() + usize::from(self.values.len() > 1 || self.keys.is_empty())
    }

    /// The results in a batch, in its order: stretches of rows of one window, each with the window's event
    /// time (its last millisecond). Without a column that tells the window, rows with the same event time are
    /// of one.
    pub fn results(&self, batch: &Batch) -> Vec<(i64, Rows)> {
        let Some(lines) = self.lines(batch) else { return Vec::new() };
        let lines = Arc::new(lines);
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
                _ => results.push((t, Rows { lines: Arc::clone(&lines), range: row..row + 1 })),
            }
        }
        results
    }

    /// What the rows of a batch are; `None` where a column is of another type than planning has seen.
    fn lines(&self, batch: &Batch) -> Option<Lines> {
        // With several columns of numbers, each makes a line of its own of every key.
        let named = |name: &str| match self.values.len() {
            1 if !self.keys.is_empty() => joined(batch, &self.keys, None),
            _ => joined(batch, &self.keys, Some(name)),
        };
        let of_column =
            |(name, index): &(String, usize)| Some((named(name)?, Values::of(batch.column(*index))?));
        let places = match &self.places {
            None => None,
            Some((place, groups)) => Some((joined(batch, groups, None)?, Values::of(batch.column(*place))?)),
        };
        Some(Lines { columns: self.values.iter().map(of_column).collect::<Option<_>>()?, places })
    }
}

/// The column of a part of the key.
///
/// # Errors
/// Where it is missing or of another type.
pub fn find_key(input: &Input, key: &str) -> Result<usize, Problem> {
    input.text_column("key", key).map_err(|problem| {
        problem.help("`key: FIELD` names the field of the lines; where it is not said, that is `key`")
    })
}

/// A column of numbers.
///
/// # Errors
/// Where it is missing or of another type.
pub fn find_value(input: &Input, value: &str) -> Result<usize, Problem> {
    input.number_column("value", value).map_err(|problem| {
        problem.help("`value: FIELD` names the field of the numbers; where it is not said, that is `count`")
    })
}

/// What stands between the parts of a key of several columns.
pub const BETWEEN: &str = " / ";

/// The values of several columns of text as one, with a text behind them where there is one.
fn joined(batch: &Batch, columns: &[usize], last: Option<&str>) -> Option<StringArray> {
    let columns: Option<Vec<&StringArray>> =
        columns.iter().map(|index| batch.column(*index).as_string_opt::<i32>()).collect();
    let columns = columns?;
    if let ([only], None) = (columns.as_slice(), last) {
        return Some((*only).clone());
    }
    let part = |column: &StringArray, row| {
        if column.is_valid(row) { column.value(row).to_owned() } else { String::new() }
    };
    let key = |row| {
        let parts = columns.iter().map(|column| part(column, row)).chain(last.map(str::to_owned));
        Some(parts.collect::<Vec<_>>().join(BETWEEN))
    };
    Some((0..batch.rows()).map(key).collect())
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
    Whole(Int64Array),
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

/// What the rows of a batch are.
#[derive(Debug)]
struct Lines {
    /// For each column of numbers, the keys and the values.
    columns: Vec<(StringArray, Values)>,
    /// The groups and the numbers of the places.
    places: Option<(StringArray, Values)>,
}

/// The rows of one result.
#[derive(Debug, Clone)]
pub struct Rows {
    lines: Arc<Lines>,
    range: Range<usize>,
}

/// A value of a result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row<'a> {
    /// The line that it is of.
    pub key: &'a str,
    /// `None` where there is none.
    pub value: Option<f64>,
    /// Its place, where the rows of a window are the first few in an order.
    pub place: Option<Place<'a>>,
}

/// A place in an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// What has the order: each group has places of its own.
    pub group: &'a str,
    /// From 1 on.
    pub number: i64,
}

impl<'a> From<(&'a str, Option<f64>)> for Row<'a> {
    fn from((key, value): (&'a str, Option<f64>)) -> Self {
        Self { key, value, place: None }
    }
}

impl Rows {
    /// Key, value and place of each row; a null key counts as the empty text.
    pub fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        let places = self.lines.places.as_ref();
        let place = move |row| {
            let (groups, numbers) = places?;
            Some(Place { group: text(groups, row), number: numbers.get(row)? as i64 })
        };
        self.range.clone().flat_map(move |row| {
            self.lines.columns.iter().map(move |(keys, values)| Row {
                key: text(keys, row),
                value: values.get(row),
                place: place(row),
            })
        })
    }
}

fn text(column: &StringArray, row: usize) -> &str {
    if column.is_valid(row) { column.value(row) } else { "" }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Float64Array, RecordBatch, TimestampMillisecondArray};
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
        let mut all = Vec::new();
        for (t, rows) in results {
            all.push((*t, rows.iter().map(|row| (row.key, row.value)).collect()));
        }
        all
    }

    fn keys(keys: &[Option<&str>]) -> ArrayRef {
        Arc::new(StringArray::from(keys.to_vec()))
    }

    #[test]
    fn rows_of_one_event_time_are_one_result() {
        let counts: ArrayRef = Arc::new(Int64Array::from(vec![Some(5), Some(7), None, Some(1)]));
        let keys = keys(&[Some("0"), Some("1"), Some("0"), None]);
        let (input, batch) = batch(vec![("key", keys), ("count", counts)], vec![999, 999, 1999, 999]);
        let results =
            Columns::find(&input, &["key".to_owned()], &["count".to_owned()]).unwrap().results(&batch);
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
            let results =
                Columns::find(&input, &["key".to_owned()], &["share".to_owned()]).unwrap().results(&batch);
            assert_eq!(
                found(&results),
                [(999, vec![("a", Some(0.5)), ("b", Some(0.25))]), (3, vec![("a", Some(1.0))])]
            );
        }
    }

    #[test]
    fn a_missing_column_is_named() {
        let (input, _) = batch(vec![("key", keys(&[])), ("total", keys(&[]))], vec![]);
        let problem = Columns::find(&input, &["key".to_owned()], &["count".to_owned()]).unwrap_err();
        assert_eq!((problem.path.as_str(), problem.message.as_str()), ("value", "unknown field `count`"));
        let problem = Columns::find(&input, &["key".to_owned()], &["total".to_owned()]).unwrap_err();
        assert_eq!(problem.message, "field `total` is not a number");
    }
}
