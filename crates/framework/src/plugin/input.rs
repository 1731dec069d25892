//! What comes in to a step, at planning time.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};

use crate::config::Problem;

/// The schema of the rows that a step will get, and who gives it.
#[derive(Debug, Clone)]
pub struct Input {
    /// The columns.
    pub schema: SchemaRef,
    /// The step before, for messages, such as `the csv source`.
    pub given_by: String,
}

/// The mark of a schema that may have further columns, of which nobody knows.
const OPEN: &str = "pipectl.open";
/// The mark of a column whose type nobody knows.
const UNTYPED: &str = "pipectl.untyped";
/// The mark of a column that is not there, and taken to be.
const ASSUMED: &str = "pipectl.assumed";

fn marks(keys: &[&str]) -> HashMap<String, String> {
    keys.iter().map(|key| ((*key).to_owned(), String::new())).collect()
}

impl Input {
    /// What comes from a step that cannot be used: it may have any column, of any type. The steps behind it
    /// are bound to this only to find what is wrong with them; they never run.
    pub(crate) fn unknown(given_by: impl Into<String>) -> Self {
        let schema = Schema::empty().with_metadata(marks(&[OPEN]));
        Self { schema: Arc::new(schema), given_by: given_by.into() }
    }

    /// True where it may have further columns.
    pub(crate) fn is_open(&self) -> bool {
        self.schema.metadata().contains_key(OPEN)
    }

    /// True where it has this column, of a type that nobody knows.
    pub(crate) fn is_untyped(&self, name: &str) -> bool {
        self.schema.field_with_name(name).is_ok_and(|field| field.metadata().contains_key(UNTYPED))
    }

    /// True where not all of it is known.
    pub(crate) fn is_vague(&self) -> bool {
        self.is_open() || self.schema.fields().iter().any(|field| field.metadata().contains_key(UNTYPED))
    }

    /// The same columns, of types that nobody knows.
    pub(crate) fn untyped(&self) -> Self {
        let names: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        self.with(&names, &[UNTYPED])
    }

    /// The same with these columns, which are taken to be there, of types that nobody knows.
    pub(crate) fn assuming(&self, names: &[&str]) -> Self {
        self.with(names, &[UNTYPED, ASSUMED])
    }

    fn with(&self, names: &[&str], as_said: &[&str]) -> Self {
        let mut fields: Vec<Arc<Field>> = self.schema.fields().iter().cloned().collect();
        for name in names {
            let field = Arc::new(Field::new(*name, DataType::Utf8, true).with_metadata(marks(as_said)));
            match fields.iter_mut().find(|field| field.name() == *name) {
                Some(there) => *there = field,
                None => fields.push(field),
            }
        }
        let schema = Schema::new(fields).with_metadata(self.schema.metadata().clone());
        Self { schema: Arc::new(schema), given_by: self.given_by.clone() }
    }

    /// The index of column `name`; `path` is where the name stands inside the plugin's `with:`, such as
    /// `fields[0]`.
    ///
    /// # Errors
    /// Where there is no such column: a [`Problem`] that lists those that are there and suggests one.
    pub fn column(&self, path: &str, name: &str) -> Result<usize, Problem> {
        self.schema.index_of(name).map_err(|_| {
            let there = self.schema.fields().iter().filter(|field| !field.metadata().contains_key(ASSUMED));
            let names: Vec<&str> = there.map(|field| field.name().as_str()).collect();
            Problem::new(path, format!("unknown field `{name}`"))
                .label(format!("{} gives: {}", self.given_by, names.join(", ")))
                .suggest(name, names)
                .of_field(name)
        })
    }

    /// The index of column `name`, which must be text.
    ///
    /// # Errors
    /// As [`column`](Self::column), and where the column is of another type.
    pub fn text_column(&self, path: &str, name: &str) -> Result<usize, Problem> {
        let index = self.column(path, name)?;
        self.expect_type(path, index, "text", |t| *t == DataType::Utf8)?;
        Ok(index)
    }

    /// The index of column `name`, which must be a number (integer or floating point).
    ///
    /// # Errors
    /// As [`column`](Self::column), and where the column is of another type.
    pub fn number_column(&self, path: &str, name: &str) -> Result<usize, Problem> {
        let index = self.column(path, name)?;
        self.expect_type(path, index, "a number", |t| matches!(t, DataType::Int64 | DataType::Float64))?;
        Ok(index)
    }

    fn expect_type(
        &self,
        path: &str,
        index: usize,
        wanted: &str,
        ok: impl Fn(&DataType) -> bool,
    ) -> Result<(), Problem> {
        let field = self.schema.field(index);
        if ok(field.data_type()) || self.is_untyped(field.name()) {
            return Ok(());
        }
        Err(Problem::new(path, format!("field `{}` is not {wanted}", field.name()))
            .label(format!("{} gives it as {}", self.given_by, type_name(field.data_type())))
            .of_field(field.name()))
    }

    /// A schema like the input's with the columns at `indices`, in that order.
    pub fn project(&self, indices: &[usize]) -> SchemaRef {
        let fields: Vec<_> = indices.iter().map(|i| self.schema.fields()[*i].clone()).collect();
        Arc::new(Schema::new(fields))
    }
}

/// The name of a column's type as an editor of a file would say it.
pub(crate) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 => "text".into(),
        DataType::Int64 => "integer".into(),
        DataType::Float64 => "number".into(),
        DataType::Boolean => "true or false".into(),
        DataType::Timestamp(..) => "time".into(),
        DataType::Binary => "bytes".into(),
        other => other.to_string(),
    }
}
