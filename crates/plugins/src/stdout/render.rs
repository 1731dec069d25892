//! Rows as JSON lines, CSV or a table.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMillisecondType};
use arrow_array::{ArrayRef, RecordBatch};
use pipectl_framework::plugin::{Batch, Error, Input, Problem, Result};
use unicode_width::UnicodeWidthStr;

use super::Form;
use crate::format::{RowWriter, Times, rfc3339};

/// The widest that a column of a table is made for its first rows; longer cells push the others aside.
const WIDEST: usize = 40;

/// Writes batches in one form.
pub(super) enum Renderer {
    Json(RowWriter),
    /// `true` once the header is written.
    Csv(bool),
    /// The widths of the columns, once the header is written.
    Table(Option<Vec<usize>>),
}

impl Renderer {
    pub(super) fn new(form: Form, input: &Input) -> Result<Self, Problem> {
        Ok(match form {
            Form::Json => Self::Json(RowWriter::of_all(input, Times::Rfc3339)?),
            Form::Csv => Self::Csv(false),
            Form::Table => Self::Table(None),
        })
    }

    /// Adds the rows of a batch to `out`.
    pub(super) fn render(&mut self, batch: &Batch, out: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::Json(writer) => writer.write(batch, |_, object| match object {
                Ok(object) => {
                    out.extend_from_slice(object);
                    out.push(b'\n');
                    Ok(())
                }
                Err(why) => Err(Error::fatal(format!("a row cannot be written as JSON: {why}"))
                    .remedy("write `format: csv` or `format: table`")),
            }),
            Self::Csv(headed) => {
                csv(batch.columns(), headed, out);
                Ok(())
            }
            Self::Table(widths) => {
                table(batch.columns(), widths, out);
                Ok(())
            }
        }
    }
}

fn names(columns: &RecordBatch) -> Vec<&str> {
    columns.schema_ref().fields().iter().map(|f| f.name().as_str()).collect()
}

fn csv(columns: &RecordBatch, headed: &mut bool, out: &mut Vec<u8>) {
    if !std::mem::replace(headed, true) {
        csv_record(names(columns).into_iter(), out);
    }
    let mut cells = Vec::new();
    for row in 0..columns.num_rows() {
        cells.clear();
        cells.extend(columns.columns().iter().map(|column| cell(column, row)));
        csv_record(cells.iter().map(String::as_str), out);
    }
}

fn csv_record<'a>(cells: impl ExactSizeIterator<Item = &'a str>, out: &mut Vec<u8>) {
    let alone = cells.len() == 1;
    for (index, cell) in cells.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        // A record of one empty cell would be a blank line.
        if cell.contains([',', '"', '\n', '\r']) || (alone && cell.is_empty()) {
            out.push(b'"');
            out.extend_from_slice(cell.replace('"', "\"\"").as_bytes());
            out.push(b'"');
        } else {
            out.extend_from_slice(cell.as_bytes());
        }
    }
    out.push(b'\n');
}

fn table(columns: &RecordBatch, widths: &mut Option<Vec<usize>>, out: &mut Vec<u8>) {
    let shown = |column: &ArrayRef, row| cell(column, row).escape_debug().to_string();
    if widths.is_none() {
        let widest = |(name, column): (&str, &ArrayRef)| {
            let cells = (0..column.len()).map(|row| shown(column, row).width().min(WIDEST));
            cells.max().unwrap_or_default().max(name.width())
        };
        let found: Vec<_> = names(columns).into_iter().zip(columns.columns()).map(widest).collect();
        table_line(names(columns).into_iter().map(str::to_owned), &found, out);
        table_line(found.iter().map(|w| "-".repeat(*w)), &found, out);
        *widths = Some(found);
    }
    let widths = widths.as_deref().unwrap_or_default();
    for row in 0..columns.num_rows() {
        table_line(columns.columns().iter().map(|column| shown(column, row)), widths, out);
    }
}

fn table_line(cells: impl Iterator<Item = String>, widths: &[usize], out: &mut Vec<u8>) {
    let mut line = String::new();
    for (cell, width) in cells.zip(widths) {
        line.push_str(&cell);
        line.extend(std::iter::repeat_n(' ', (width + 2).saturating_sub(cell.width()).max(1)));
    }
    out.extend_from_slice(line.trim_end().as_bytes());
    out.push(b'\n');
}

/// A cell as text; nothing for a null.
fn cell(column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) {
        String::new()
    } else if let Some(column) = column.as_string_opt::<i32>() {
        column.value(row).to_owned()
    } else if let Some(column) = column.as_primitive_opt::<Int64Type>() {
        column.value(row).to_string()
    } else if let Some(column) = column.as_primitive_opt::<Float64Type>() {
        column.value(row).to_string()
    } else if let Some(column) = column.as_boolean_opt() {
        column.value(row).to_string()
    } else if let Some(column) = column.as_primitive_opt::<TimestampMillisecondType>() {
        let millis = column.value(row);
        rfc3339(millis).unwrap_or_else(|| millis.to_string())
    } else {
        format!("({})", column.data_type())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Float64Array, Int64Array, TimestampMillisecondArray};
    use proptest::prelude::*;

    use super::*;
    use crate::format::testing::{batch, input, texts};

    fn rendered(form: Form, batches: &[Batch]) -> String {
        let mut renderer = Renderer::new(form, &input(&batches[0])).unwrap();
        let mut out = Vec::new();
        for batch in batches {
            renderer.render(batch, &mut out).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    fn result(province: &str, count: i64) -> Batch {
        let start = TimestampMillisecondArray::from(vec![1_762_819_200_000]).with_timezone("UTC");
        batch(vec![
            ("window_start", Arc::new(start)),
            ("key", texts(&[Some(province)])),
            ("count", Arc::new(Int64Array::from(vec![count]))),
            ("share", Arc::new(Float64Array::from(vec![None]))),
        ])
    }

    #[test]
    fn the_three_forms() {
        let batches = [result("四川", 5), result("a,\"b\"\n", 12_345)];
        assert_eq!(
            rendered(Form::Json, &batches),
            "{\"window_start\":\"2025-11-11T00:00:00.000Z\",\"key\":\"四川\",\"count\":5,\"share\":null}\n\
             {\"window_start\":\"2025-11-11T00:00:00.000Z\",\"key\":\"a,\\\"b\\\"\\n\",\"count\":12345,\"share\":null}\n"
        );
        assert_eq!(
            rendered(Form::Csv, &batches),
            "window_start,key,count,share\n\
             2025-11-11T00:00:00.000Z,四川,5,\n\
             2025-11-11T00:00:00.000Z,\"a,\"\"b\"\"\n\",12345,\n"
        );
        assert_eq!(
            rendered(Form::Table, &batches),
            "window_start              key   count  share\n\
             ------------------------  ----  -----  -----\n\
             2025-11-11T00:00:00.000Z  四川  5\n\
             2025-11-11T00:00:00.000Z  a,\\\"b\\\"\\n 12345\n"
        );
    }

    proptest! {
        #[test]
        fn csv_is_read_back_by_the_crate_csv(
            cells in (1usize..4).prop_flat_map(|w| prop::collection::vec(prop::collection::vec("[a,\"\n\r四 ]{0,4}", w), 1..10)),
        ) {
            let width = cells[0].len();
            let columns = (0..width).map(|c| texts(&cells.iter().map(|row| Some(&row[c])).collect::<Vec<_>>()));
            let names = ["x", "y", "z"];
            let text = rendered(Form::Csv, &[batch(names.into_iter().zip(columns).collect())]);
            let mut reader = ::csv::Reader::from_reader(text.as_bytes());
            prop_assert_eq!(reader.headers().unwrap().iter().collect::<Vec<_>>(), &names[..width]);
            let read: Vec<Vec<String>> =
                reader.records().map(|r| r.unwrap().iter().map(str::to_owned).collect()).collect();
            prop_assert_eq!(read, cells);
        }
    }

    #[test]
    fn a_number_without_a_form_in_json_is_an_error_with_a_remedy() {
        let rows = batch(vec![("n", Arc::new(Float64Array::from(vec![f64::NAN])))]);
        let mut renderer = Renderer::new(Form::Json, &input(&rows)).unwrap();
        let error = renderer.render(&rows, &mut Vec::new()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a row cannot be written as JSON: column `n` is NaN, for which JSON has no number"
        );
        assert_eq!(rendered(Form::Csv, &[rows]), "n\nNaN\n");
    }
}
