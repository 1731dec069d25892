//! An aggregate in ten lines: how one value changes a key's result. The framework makes an [`Aggregate`] of
//! it, over Arrow columns, for every kind of window.
//!
//! ```
//! use pipectl_framework::plugin::fold::{self, Fold};
//! use serde::{Deserialize, Serialize};
//!
//! /// The greatest less the least.
//! #[derive(Default, Clone, Serialize, Deserialize)]
//! struct Spread(Option<(f64, f64)>);
//!
//! impl Fold for Spread {
//!     type Value = f64;
//!     type Output = f64;
//!     fn add(&mut self, x: f64) {
//!         self.merge(&Spread(Some((x, x))));
//!     }
//!     fn merge(&mut self, other: &Self) {
//!         self.0 = match (self.0, other.0) {
//!             (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
//!             (one, another) => one.or(another),
//!         };
//!     }
//!     fn finish(&self) -> Option<f64> {
//!         self.0.map(|(least, greatest)| greatest - least)
//!     }
//! }
//! # let schema = std::sync::Arc::new(arrow_schema::Schema::new(vec![arrow_schema::Field::new("x", arrow_schema::DataType::Float64, true)]));
//! # let batch = arrow_array::RecordBatch::try_new(schema, vec![std::sync::Arc::new(arrow_array::Float64Array::from(vec![1.0, 5.0, 2.0, 9.0]))]).unwrap();
//! let spread = fold::aggregate::<Spread>("spread", 0); // in `WindowPlugin::bind`: the result's column, and the input's
//! pipectl_framework::testing::laws::aggregate(&*spread, &batch, &[0, 1, 0, 1], 2).unwrap();
//! ```

use std::marker::PhantomData;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Aggregate, AggregateState, Groups, Results, saved};
use crate::error::Result;

/// What a window keeps of one key's values. `default()` is the result of no value. serde writes and reads it
/// where the state of long windows is kept in a changelog.
pub trait Fold: Default + Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The type of the column that it is given: `i64`, `f64` (also of an integer column) or [`Text`].
    type Value: Value;
    /// The type of its result: `i64`, `f64` or `String`.
    type Output: Output;
    /// True where [`remove`](Self::remove) does what it says.
    const REMOVES: bool = false;

    /// True where the results of sets of values that have no row in common add up to the result of all of
    /// them: [`Aggregate::adds`].
    const ADDS: bool = false;

    /// Takes a value in. Nulls are left out before.
    fn add(&mut self, value: <Self::Value as Value>::Of<'_>);

    /// Takes in all that `other` has taken in.
    fn merge(&mut self, other: &Self);

    /// Undoes `merge`.
    fn remove(&mut self, _other: &Self) {}

    /// The result; `None` for null.
    fn finish(&self) -> Option<Self::Output>;

    /// The result, where it may be that it cannot be represented.
    ///
    /// # Errors
    /// An overflow; it ends the run.
    fn try_finish(&self) -> Result<Option<Self::Output>> {
        Ok(self.finish())
    }

    /// The bytes that it holds outside itself.
    fn heap_bytes(&self) -> usize {
        0
    }
}

/// A type of column that a [`Fold`] may be given.
pub trait Value: 'static {
    /// One value.
    type Of<'a>;
    /// Calls `f` with each chosen row's group and value; rows that are null are passed over.
    fn each<'a>(column: &'a ArrayRef, groups: Groups<'_>, f: impl FnMut(u32, Self::Of<'a>));
}

/// A type of result of a [`Fold`].
pub trait Output: Sized + 'static {
    /// The type of the result's column.
    const TYPE: DataType;
    /// Puts values in a column.
    fn column(values: impl Iterator<Item = Option<Self>>) -> ArrayRef;
}

/// The values of a text column.
pub enum Text {}

/// The values of any column that may be counted: text, integers, numbers, true or false. `-0.0` is `0.0`, and
/// NaN is one value.
pub enum Any {}

/// A value of [`Any`] column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cell<'a> {
    /// Of a text column.
    Text(&'a str),
    /// Of an integer column.
    Integer(i64),
    /// Of a number column, as its bits.
    Number(u64),
    /// Of a column of true and false.
    Boolean(bool),
}

/// A number as it is told apart from others: one zero, and one that is none.
fn plain(number: f64) -> f64 {
    // The sum of both zeros is the positive one.
    if number.is_nan() { f64::NAN } else { number + 0.0 }
}

/// Calls `f` for rows that are not null.
fn rows_of<'a, T>(
    column: &'a dyn Array,
    groups: Groups<'_>,
    value: impl Fn(usize) -> T,
    mut f: impl FnMut(u32, T),
) where
    T: 'a,
{
    match column.nulls().filter(|n| n.null_count() > 0) {
        None => groups.iter().for_each(|(row, group)| f(group, value(row))),
        Some(nulls) => {
            groups
                .iter()
                .filter(|(row, _)| nulls.is_valid(*row))
                .for_each(|(row, group)| f(group, value(row)));
        }
    }
}

impl Value for f64 {
    type Of<'a> = f64;

    fn each<'a>(column: &'a ArrayRef, groups: Groups<'_>, f: impl FnMut(u32, Self::Of<'a>)) {
        if let Some(values) = column.as_primitive_opt::<Int64Type>() {
            rows_of(column, groups, |row| values.value(row) as f64, f);
        } else if let Some(values) = column.as_primitive_opt::<Float64Type>() {
            rows_of(column, groups, |row| plain(values.value(row)), f);
        }
    }
}

impl Value for i64 {
    type Of<'a> = i64;

    fn each<'a>(column: &'a ArrayRef, groups: Groups<'_>, f: impl FnMut(u32, Self::Of<'a>)) {
        if let Some(values) = column.as_primitive_opt::<Int64Type>() {
            rows_of(column, groups, |row| values.value(row), f);
        }
    }
}

impl Value for Text {
    type Of<'a> = &'a str;

    fn each<'a>(column: &'a ArrayRef, groups: Groups<'_>, f: impl FnMut(u32, &'a str)) {
        if let Some(values) = column.as_string_opt::<i32>() {
            rows_of(column, groups, |row| values.value(row), f);
        }
    }
}

impl Value for Any {
    type Of<'a> = Cell<'a>;

    fn each<'a>(column: &'a ArrayRef, groups: Groups<'_>, f: impl FnMut(u32, Cell<'a>)) {
        if let Some(values) = column.as_string_opt::<i32>() {
            rows_of(column, groups, |row| Cell::Text(values.value(row)), f);
        } else if let Some(values) = column.as_primitive_opt::<Int64Type>() {
            rows_of(column, groups, |row| Cell::Integer(values.value(row)), f);
        } else if let Some(values) = column.as_primitive_opt::<Float64Type>() {
            rows_of(column, groups, |row| Cell::Number(plain(values.value(row)).to_bits()), f);
        } else if let Some(values) = column.as_boolean_opt() {
            rows_of(column, groups, |row| Cell::Boolean(values.value(row)), f);
        }
    }
}

impl Output for f64 {
    const TYPE: DataType = DataType::Float64;

    fn column(values: impl Iterator<Item = Option<Self>>) -> ArrayRef {
        Arc::new(Float64Array::from_iter(values))
    }
}

impl Output for i64 {
    const TYPE: DataType = DataType::Int64;

    fn column(values: impl Iterator<Item = Option<Self>>) -> ArrayRef {
        Arc::new(Int64Array::from_iter(values))
    }
}

impl Output for String {
    const TYPE: DataType = DataType::Utf8;

    fn column(values: impl Iterator<Item = Option<Self>>) -> ArrayRef {
        let mut column = StringBuilder::new();
        values.for_each(|value| column.append_option(value));
        Arc::new(column.finish())
    }
}

/// An aggregate that gives each key the fold of column `input`, in a result column `name`.
pub fn aggregate<F: Fold>(name: &str, input: usize) -> Box<dyn Aggregate> {
    Box::new(Folded::<F> {
        name: name.to_owned(),
        input,
        about: format!("column `{name}`").into(),
        fold: PhantomData,
    })
}

/// The same; a result that cannot be represented is told with the name of `field`, which is that of column
/// `input`.
pub fn aggregate_of<F: Fold>(name: &str, input: usize, field: &str) -> Box<dyn Aggregate> {
    let about = format!("column `{name}`, of field `{field}`").into();
    Box::new(Folded::<F> { name: name.to_owned(), input, about, fold: PhantomData })
}

struct Folded<F> {
    name: String,
    input: usize,
    /// What is said of a result that cannot be represented.
    about: Arc<str>,
    fold: PhantomData<fn() -> F>,
}

impl<F: Fold> Aggregate for Folded<F> {
    fn fields(&self) -> Vec<Field> {
        vec![Field::new(&self.name, F::Output::TYPE, true)]
    }

    fn state(&self) -> Box<dyn AggregateState> {
        Box::new(Folds::<F> {
            input: self.input,
            about: Arc::clone(&self.about),
            values: Vec::new(),
            heap: 0,
        })
    }

    fn removes(&self) -> bool {
        F::REMOVES
    }

    fn adds(&self) -> Vec<bool> {
        vec![F::ADDS]
    }
}

struct Folds<F> {
    input: usize,
    about: Arc<str>,
    values: Vec<F>,
    /// Bytes outside `values`, as far as they were looked at.
    heap: usize,
}

impl<F: Fold> Folds<F> {
    fn of(&mut self, group: u32) -> &mut F {
        let index = group as usize;
        if self.values.len() <= index {
            self.values.resize_with(index + 1, F::default);
        }
        &mut self.values[index]
    }

    fn others(other: &dyn AggregateState) -> &[F] {
        other.as_any().downcast_ref::<Self>().map_or(&[], |folds| &folds.values)
    }

    fn change(&mut self, group: u32, change: impl FnOnce(&mut F)) {
        let value = self.of(group);
        let before = value.heap_bytes();
        change(value);
        let after = value.heap_bytes();
        self.heap = (self.heap + after).saturating_sub(before);
    }
}

impl<F: Fold> AggregateState for Folds<F> {
    fn add(&mut self, batch: &RecordBatch, groups: Groups<'_>) {
        if self.values.len() < groups.count {
            self.values.resize_with(groups.count, F::default);
        }
        let mut heap = self.heap;
        let values = &mut self.values;
        F::Value::each(batch.column(self.input), groups, |group, value| {
            let fold = &mut values[group as usize];
            let before = fold.heap_bytes();
            fold.add(value);
            heap = (heap + fold.heap_bytes()).saturating_sub(before);
        });
        self.heap = heap;
    }

    fn merge(&mut self, other: &dyn AggregateState, into: &[u32]) {
        for (value, group) in Self::others(other).iter().zip(into) {
            self.change(*group, |own| own.merge(value));
        }
    }

    fn remove(&mut self, other: &dyn AggregateState, from: &[u32]) {
        for (value, group) in Self::others(other).iter().zip(from) {
            self.change(*group, |own| own.remove(value));
        }
    }

    fn merge_group(&mut self, other: &dyn AggregateState, from: u32, into: u32) {
        if let Some(value) = Self::others(other).get(from as usize) {
            self.change(into, |own| own.merge(value));
        }
    }

    fn save(&self, group: u32, bytes: &mut Vec<u8>) {
        if let Some(value) = self.values.get(group as usize) {
            saved::write(value, bytes);
        }
    }

    fn load(&mut self, group: u32, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let value = saved::read(bytes)?;
        self.change(group, |own| *own = value);
        Ok(())
    }

    fn reset(&mut self, group: u32) {
        let value = std::mem::take(self.of(group));
        self.heap = self.heap.saturating_sub(value.heap_bytes());
    }

    fn finish(&self, groups: &[u32], _rows: &[i64]) -> Result<Results> {
        let none = F::default();
        let values = groups.iter().map(|g| self.values.get(*g as usize).unwrap_or(&none).try_finish());
        let values = values.collect::<Result<Vec<_>>>().map_err(|e| e.at(&self.about))?;
        Ok(Results::each(vec![F::Output::column(values.into_iter())]))
    }

    fn bytes(&self) -> usize {
        self.values.capacity() * size_of::<F>() + self.heap
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}
