//! Lifts a plain function to a transform, so that an author never builds arrays by hand.

use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};

use super::{BoundTransform, Input, Reads, Rejects, Transform};
use crate::batch::Batch;
use crate::config::Problem;
use crate::error::{Error, Result};

/// A transform that puts `function` of text column `from` into text column `to`: a new last column, or in
/// place where `to` is there already. `path` is where the name of `from` stands in `with:`. A null goes in as
/// `None`.
///
/// The function writes nothing per row but its result: it may return borrowed text.
///
/// # Errors
/// Where `from` is not a text column of the input.
pub fn map_text<F>(
    input: &Input,
    path: &str,
    from: &str,
    to: &str,
    function: F,
) -> Result<BoundTransform, Problem>
where
    F: for<'a> Fn(Option<&'a str>) -> Option<std::borrow::Cow<'a, str>> + Send + Sync + 'static,
{
    let source = input.text_column(path, from)?;
    let mut fields: Vec<_> = input.schema.fields().iter().cloned().collect();
    let field = Arc::new(Field::new(to, DataType::Utf8, true));
    let target = match input.schema.index_of(to) {
        Ok(index) => {
            fields[index] = field;
            index
        }
        Err(_) => {
            fields.push(field);
            fields.len() - 1
        }
    };
    let schema = Arc::new(Schema::new(fields));
    let body = Box::new(MapText { source, target, schema: schema.clone(), function });
    let origins = (0..schema.fields().len()).map(|column| (column != target).then_some(column)).collect();
    Ok(BoundTransform { schema, reads: Reads::AndPasses(vec![from.to_owned()]), origins, body })
}

struct MapText<F> {
    source: usize,
    target: usize,
    schema: Arc<Schema>,
    function: F,
}

impl<F> Transform for MapText<F>
where
    F: for<'a> Fn(Option<&'a str>) -> Option<std::borrow::Cow<'a, str>> + Send + Sync + 'static,
{
    fn apply(&self, batch: Batch, _rejects: &mut Rejects) -> Result<Batch> {
        let values = batch.column(self.source).as_string::<i32>();
        let mut mapped = StringBuilder::with_capacity(values.len(), values.value_data().len());
        for value in values {
            mapped.append_option((self.function)(value));
        }
        let mut columns: Vec<ArrayRef> = batch.columns().columns().to_vec();
        let mapped: ArrayRef = Arc::new(mapped.finish());
        if self.target < columns.len() {
            columns[self.target] = mapped;
        } else {
            columns.push(mapped);
        }
        let columns = RecordBatch::try_new(self.schema.clone(), columns)
            .map_err(|e| Error::fatal("a mapped column does not fit its schema").caused_by(e))?;
        batch.with_columns(columns).map_err(|e| Error::fatal("a mapped batch lost rows").caused_by(e))
    }
}
