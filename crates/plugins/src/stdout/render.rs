//! Rows as JSON lines, CSV or a table.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMillisecondType};
use arrow_array::{ArrayRef, RecordBatch};
use pipectl_framework::plugin::{Batch, Input, Problem, Rejects, Result};
use unicode_width::UnicodeWidthStr;

use super::Form;
use crate::format::{NonFinite, RowWriter, Times, rfc3339};

/// The widest that a column of a table is made for its first rows; longer cells push the others aside.
const WIDEST: usize = 40;

/// Writes batches in one form.
pub(super) enum Renderer {
    Json(RowWriter),
    Csv {
        cells: Cells,
        headed: bool,
    },
    Table {
        cells: Cells,
        /// The widths of the columns, once the header is written.
        widths: Option<Vec<usize>>,
    },
}

impl Renderer {
    pub(super) fn new(form: Form, non_finite: Option<NonFinite>, input: &Input) -> Result<Self, Problem> {
        let cells = Cells { non_finite: non_finite.unwrap_or(NonFinite::Text) };
        Ok(match form {
            Form::Json => {
                Self::Json(RowWriter::of_all(input, Times::Rfc3339, non_finite.unwrap_or_default())?)
            }
            Form::Csv => Self::Csv { cells, headed: false },
            Form::Table => Self::Table { cells, widths: None },
        })
    }

    /// Rejects the rows that cannot be written.
    pub(super) fn unusable(&self, batch: &Batch, rejects: &mut Rejects) -> Result<()> {
        match self {
            Self::Json(writer) => writer.unusable(batch, rejects),
            Self::Csv { cells, .. } | Self::Table { cells, .. } => {
                cells.unusable(batch.columns(), rejects);
                Ok(())
            }
        }
    }

    /// Adds the rows of a batch to `out`; those that cannot be written are left out.
    pub(super) fn render(&mut self, batch: &Batch, out: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::Json(writer) => writer.write(batch, |_, object| {
                if let Ok(object) = object {
                    out.extend_from_slice(object);
                    out.push(b'\n');
                }
                Ok(())
            }),
            Self::Csv { cells, headed } => {
                csv(*cells, batch.columns(), headed, out);
                Ok(())
            }
            Self::Table { cells, widths } => {
                table(*cells, batch.columns(), widths, out);
                Ok(())
            }
        }
    }
}

/// How cells become text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cells {
    non_finite: NonFinite,
}

fn names(columns: &RecordBatch) -> Vec<&str> {
    columns.schema_ref().fields().iter().map(|f| f.name().as_str()).collect()
}

fn csv(text: Cells, columns: &RecordBatch, headed: &mut bool, out: &mut Vec<u8>) {
    if !std::mem::replace(headed, true) {
        csv_record(names(columns).into_iter(), out);
    }
    let mut cells = Vec::new();
    for row in 0..columns.num_rows() {
        cells.clear();
        cells.extend(columns.columns().iter().map(|column| text.cell(column, row)));
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

fn table(text: Cells, columns: &RecordBatch, widths: &mut Option<Vec<usize>>, out: &mut Vec<u8>) {
    let shown = |column: &ArrayRef, row| text.cell(column, row).escape_debug().to_string();
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

impl Cells {
    /// Rejects the rows with a number that is not finite, where those are not written.
    fn unusable(self, columns: &RecordBatch, rejects: &mut Rejects) {
        if self.non_finite != NonFinite::Reject {
            return;
        }
        for (name, column) in names(columns).into_iter().zip(columns.columns()) {
            let Some(numbers) = column.as_primitive_opt::<Float64Type>() else { continue };
            for (row, number) in numbers.iter().enumerate() {
                if let Some(number) = number.filter(|number| !number.is_finite()) {
                    rejects.push(row, format!("column `{name}` is {}", NonFinite::name(number)));
                }
            }
        }
    }

    /// A cell as text; nothing for a null.
    fn cell(self, column: &ArrayRef, row: usize) -> String {
        if column.is_null(row) {
            String::new()
        } else if let Some(column) = column.as_string_opt::<i32>() {
            column.value(row).to_owned()
        } else if let Some(column) = column.as_primitive_opt::<Int64Type>() {
            column.value(row).to_string()
        } else if let Some(column) = column.as_primitive_opt::<Float64Type>() {
            match (column.value(row), self.non_finite) {
                (number, _) if number.is_finite() => number.to_string(),
                (_, NonFinite::Null) => String::new(),
                (number, _) => NonFinite::name(number).to_owned(),
            }
        } else if let Some(column) = column.as_boolean_opt() {
            column.value(row).to_string()
        } else if let Some(column) = column.as_primitive_opt::<TimestampMillisecondType>() {
            let millis = column.value(row);
            rfc3339(millis).unwrap_or_else(|| millis.to_string())
        } else {
            format!("({})", column.data_type())
        }
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
        let mut renderer = Renderer::new(form, None, &input(&batches[0])).unwrap();
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

    /// The rows that are rejected, and what is written of the others.
    fn sifted(form: Form, non_finite: Option<NonFinite>, rows: &Batch) -> (Vec<(usize, String)>, String) {
        let mut renderer = Renderer::new(form, non_finite, &input(rows)).unwrap();
        let (mut rejects, mut out) = (Rejects::default(), Vec::new());
        renderer.unusable(rows, &mut rejects).unwrap();
        let rejected: Vec<_> = rejects.rows().iter().map(|r| (r.row, r.reason.clone())).collect();
        let stay: arrow_array::BooleanArray =
            (0..rows.rows()).map(|row| Some(!rejected.iter().any(|(r, _)| *r == row))).collect();
        renderer.render(&rows.filter(&stay).unwrap(), &mut out).unwrap();
        (rejected, String::from_utf8(out).unwrap())
    }

    #[test]
    fn numbers_that_are_not_finite_are_for_the_step_or_null_or_text() {
        let numbers = [Some(1.5), Some(f64::NAN), Some(f64::INFINITY), Some(f64::NEG_INFINITY), None];
        let rows = batch(vec![("n", Arc::new(Float64Array::from(numbers.to_vec())))]);
        let said = |form, non_finite| {
            let (rejected, out) = sifted(form, non_finite, &rows);
            let rejected: String = rejected.iter().map(|(row, why)| format!("row {row}: {why}\n")).collect();
            format!("{form:?} {non_finite:?}\n{rejected}{out}")
        };
        let all: Vec<String> = [Form::Json, Form::Csv, Form::Table]
            .into_iter()
            .flat_map(|form| {
                let each = [None, Some(NonFinite::Reject), Some(NonFinite::Null), Some(NonFinite::Text)];
                each.map(|non_finite| said(form, non_finite))
            })
            .collect();
        insta::assert_snapshot!(all.join("\n"));
    }

    #[test]
    fn years_without_four_digits_are_for_the_step_in_json() {
        let times =
            [Some(0), Some(253_402_300_800_000), Some(253_402_300_799_999), Some(-62_167_219_200_001), None];
        let times = TimestampMillisecondArray::from(times.to_vec()).with_timezone("UTC");
        let rows = batch(vec![("t", Arc::new(times))]);
        let (rejected, out) = sifted(Form::Json, None, &rows);
        let why = |millis: i64| format!("column `t` has a year without four digits: {millis} ms since 1970");
        assert_eq!(rejected, [(1, why(253_402_300_800_000)), (3, why(-62_167_219_200_001))]);
        assert_eq!(out.lines().count(), 3);
        assert_eq!(sifted(Form::Csv, None, &rows).0, []);
    }
}
