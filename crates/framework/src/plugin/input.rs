//! What comes in to a step, at planning time.

use arrow_schema::{DataType, Schema, SchemaRef};

use crate::config::Problem;

/// The schema of the rows that a step will get, and who gives it.
#[derive(Debug, Clone)]
pub struct Input {
    /// The columns.
    pub schema: SchemaRef,
    /// The step before, for messages, such as `the csv source`.
    pub given_by: String,
}

impl Input {
    /// The index of column `name`; `path` is where the name stands inside the plugin's `with:`, such as `fields[0]`.
    ///
    /// # Errors
    /// Where there is no such column: a [`Problem`] that lists those that are there and suggests one.
    pub fn column(&self, path: &str, name: &str) -> Result<usize, Problem> {
        self.schema.index_of(name).map_err(|_| {
            let names: Vec<&str> = self.schema.fields().iter().map(|f| f.name().as_str()).collect();
            Problem::new(path, format!("unknown field `{name}`"))
                .label(format!("{} gives: {}", self.given_by, names.join(", ")))
                .suggest(name, names)
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
        if ok(field.data_type()) {
            return Ok(());
        }
        Err(Problem::new(path, format!("field `{}` is not {wanted}", field.name())).label(format!(
            "{} gives it as {}",
            self.given_by,
            type_name(field.data_type())
        )))
    }

    /// A schema like the input's with the columns at `indices`, in that order.
    pub fn project(&self, indices: &[usize]) -> SchemaRef {
        let fields: Vec<_> = indices.iter().map(|i| self.schema.fields()[*i].clone()).collect();
        std::sync::Arc::new(Schema::new(fields))
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
