//! CSV as a form of file.

use std::io;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use pipectl_framework::plugin::{Error, Result};

use super::header::{Expected, read_head};
use super::reader::{Dialect, Reader};
use crate::files::{Beginning, Form, Input, LastLine, Place};

/// What planning found out about a file.
#[derive(Debug)]
pub(super) struct CsvForm {
    dialect: Dialect,
    /// The names in the file's header; `None` where it has none.
    header: Option<Vec<Vec<u8>>>,
    /// How many of its first lines are not looked at.
    skip_lines: u32,
    /// The columns to give, rising.
    wanted: Vec<usize>,
}

impl CsvForm {
    pub(super) fn new(dialect: Dialect, header: Option<Vec<Vec<u8>>>, skip_lines: u32) -> Self {
        let wanted = (0..dialect.columns.len()).collect();
        Self { dialect, header, skip_lines, wanted }
    }
}

impl Form for CsvForm {
    type Records = Reader<Input>;

    const NAME: &'static str = "csv";

    /// Every column is text; an empty cell is an empty text, never null.
    fn schema(&self) -> SchemaRef {
        let names = self.wanted.iter().filter_map(|i| self.dialect.columns.get(*i));
        Arc::new(Schema::new(names.map(|name| Field::new(name, DataType::Utf8, false)).collect::<Vec<_>>()))
    }

    fn narrow(&mut self, columns: &[String]) -> Option<SchemaRef> {
        let names = &self.dialect.columns;
        self.wanted.retain(|i| names.get(*i).is_some_and(|name| columns.contains(name)));
        Some(self.schema())
    }

    fn begin(&self, file: &mut Input, name: &str) -> Result<Beginning> {
        let Dialect { syntax, max_line, .. } = self.dialect;
        let expected = Expected { syntax, guessed: false, skip_lines: self.skip_lines, max_line };
        let head = read_head(file, expected).map_err(|e| Error::fatal(format!("{name}: {e}")))?;
        // It may be in the middle of being written.
        if self.header.is_some() && !head.whole {
            return Ok(Beginning { rows: head.behind, whole: false });
        }
        let named = head.delimiter.is_some_and(|named| named != char::from(syntax.delimiter));
        if named || (self.header.is_some() && self.header != head.cells) {
            let first = &*self.dialect.name;
            return Err(match name == first {
                true => Error::fatal(format!("the header of {name} has changed since it was checked"))
                    .remedy("let nothing rewrite the file while it is read, and run again"),
                false => Error::fatal(format!("the header of {name} is not that of {first}"))
                    .remedy("files that are read as one have the same columns in the same order"),
            });
        }
        match self.header {
            Some(_) => Ok(Beginning { rows: head.behind, whole: head.whole }),
            None => Ok(Beginning { rows: head.top, whole: true }),
        }
    }

    fn records(
        &self,
        file: Input,
        name: Arc<str>,
        last_line: LastLine,
        at: Place,
    ) -> io::Result<Self::Records> {
        let plain = matches!(file, Input::Plain(_));
        let dialect = Dialect { name, ..self.dialect.clone() };
        let reader = Reader::new(file, dialect, self.wanted.clone(), last_line, at)?;
        Ok(if plain { reader } else { reader.never_reads_again() })
    }
}
