//! CSV as a form of file.

use std::io;
use std::sync::{Arc, OnceLock};

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use pipectl_framework::plugin::{Error, Result};

use super::dialect::without_last_empty;
use super::header::{Expected, read_head};
use super::reader::{Dialect, Reader};
use super::show;
use crate::files::{Beginning, Form, Input, LastLine, Place, cannot_begin};

/// What planning found out about a file.
#[derive(Debug)]
pub(super) struct CsvForm {
    dialect: Dialect,
    /// The names in the file's header, once they are seen; `None` where it has none.
    header: Option<OnceLock<Vec<Vec<u8>>>>,
    /// Planning has not seen its beginning.
    unseen: bool,
    /// How many of its first lines are not looked at.
    skip_lines: u32,
    /// The columns to give, rising.
    wanted: Vec<usize>,
}

/// The header of a file.
#[derive(Debug)]
pub(super) enum Header {
    /// It has none.
    None,
    /// It has these names.
    Seen(Vec<Vec<u8>>),
    /// Planning could not see it.
    Unseen,
}

impl CsvForm {
    /// `unseen`: planning has not seen its beginning.
    pub(super) fn new(dialect: Dialect, header: Header, unseen: bool, skip_lines: u32) -> Self {
        let wanted = (0..dialect.columns.len()).collect();
        let header = match header {
            Header::None => None,
            Header::Seen(names) => Some(OnceLock::from(names)),
            Header::Unseen => Some(OnceLock::new()),
        };
        Self { dialect, header, unseen, skip_lines, wanted }
    }

    /// What is said of a file that does not begin as planning has seen.
    fn changed(&self, name: &str) -> Error {
        let first = &*self.dialect.name;
        match name == first {
            true => Error::fatal(format!("the header of {name} has changed since it was checked"))
                .remedy("let nothing rewrite the file while it is read, and run again"),
            false => Error::fatal(format!("the header of {name} is not that of {first}"))
                .remedy("files that are read as one have the same columns in the same order"),
        }
    }

    /// Refuses a header that planning has not seen, where it has another width.
    fn fits(&self, name: &str, cells: &[Vec<u8>]) -> Result<()> {
        let columns = self.dialect.columns.len();
        if columns == cells.len() || columns == without_last_empty(cells).len() {
            return Ok(());
        }
        let has = cells.len();
        Err(Error::fatal(format!(
            "{columns} columns are named, but the header of {name} has {has}: {}",
            show(cells)
        ))
        .remedy("name all of them in their order; where this is no header, take `header: true` away"))
    }
}

/// What is said where nothing came, and a header was to come.
fn no_header(name: &str) -> Error {
    Error::fatal(format!("{name} has no header: it is empty"))
        .remedy("see what the program says that writes it; where it has no header, take `header: true` away")
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
        let failed = |e: io::Error| cannot_begin(name, e);
        let head = read_head(&mut *file, expected).map_err(failed)?;
        let grows = file.grows() && !head.is_whole();
        let head = if grows { head } else { head.closed().map_err(failed)? };
        let named = head.delimiter.filter(|named| *named != char::from(syntax.delimiter));
        if let (Some(named), true) = (named, self.unseen) {
            return Err(Error::fatal(format!("{name} is delimited by {named:?}, as its first line says"))
                .remedy(format!("write `delimiter: {:?}` at the source", named.to_string())));
        }
        let Some(header) = &self.header else {
            // A stream has not even its first lines before one record of it is whole.
            let whole = !(grows && self.unseen);
            return if named.is_some() {
                Err(self.changed(name))
            } else {
                Ok(Beginning { rows: head.top, whole })
            };
        };
        let whole = head.is_whole();
        // It may be in the middle of being written.
        if !whole && (grows || head.cells.is_some()) {
            return Ok(Beginning { rows: head.behind, whole });
        }
        let Some(cells) = head.cells.filter(|_| named.is_none()) else {
            return Err(if self.unseen { no_header(name) } else { self.changed(name) });
        };
        if header.get().is_none() {
            self.fits(name, &cells)?;
        }
        if *header.get_or_init(|| cells.clone()) != cells {
            return Err(self.changed(name));
        }
        Ok(Beginning { rows: head.behind, whole })
    }

    fn records(
        &self,
        file: Input,
        name: Arc<str>,
        last_line: LastLine,
        at: Place,
    ) -> io::Result<Self::Records> {
        let (plain, passes) = (matches!(file, Input::Plain(_)), matches!(file, Input::Stream(_)));
        let dialect = Dialect { name, ..self.dialect.clone() };
        let reader = Reader::new(file, dialect, self.wanted.clone(), last_line, at)?;
        let reader = if plain { reader } else { reader.never_reads_again() };
        Ok(if passes { reader.passing() } else { reader })
    }
}
