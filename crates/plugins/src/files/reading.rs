//! One file while it is read.

use std::io;
use std::sync::Arc;

use pipectl_framework::plugin::{Error, Held, Result};

use super::input::{Input, Origin};
use super::position::Mark;
use super::records::{Beginning, Form, LastLine, Place, Records};
use super::watched::Rest;

/// A file that is open.
#[derive(Debug)]
pub(super) struct Reading<R> {
    pub(super) records: R,
    /// Its name for messages.
    pub(super) name: Arc<str>,
    /// Where its rows begin.
    body: Place,
    /// The row with which this pass began, if it began with the first of the file.
    pass: Option<u64>,
    nothing: Option<Nothing>,
}

/// Why there is nothing to read in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nothing {
    /// Its header has no end, and waits for it.
    InHeader,
    /// It ends in a line that an earlier run gave as a row.
    InRow,
}

impl<R: Records> Reading<R> {
    /// Opens a file at `mark`, or at its beginning; `row` is the number of the row there.
    ///
    /// # Errors
    /// `Fatal` where it cannot be read, or is not what it was.
    pub(super) fn open<F: Form<Records = R>>(
        form: &F,
        origin: &Origin,
        mark: Option<&Mark>,
        row: u64,
        last_line: LastLine,
    ) -> Result<Self> {
        let name = origin.name.clone();
        let cannot = |e: io::Error| Error::fatal(format!("{name}: {e}"));
        let mut file = Input::open(origin).map_err(cannot)?;
        let beginning = form.begin(&mut file, &name)?;
        Self::of(form, (file, beginning), name, mark, row, last_line)
    }

    /// The same of a file that is open, and whose beginning was looked at.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(super) fn of<F: Form<Records = R>>(
        form: &F,
        (mut file, beginning): (Input, Beginning),
        name: Arc<str>,
        mark: Option<&Mark>,
        row: u64,
        last_line: LastLine,
    ) -> Result<Self> {
        let cannot = |e: io::Error| Error::fatal(format!("{name}: {e}"));
        let Beginning { rows, whole } = beginning;
        let body = Place { row, ..rows };
        let place = match mark {
            None => body,
            Some(mark) => mark.find(&file, row).map_err(|what| changed(&name, &what))?,
        };
        let rest = if place.byte > body.byte { file.rest_of_line(place.byte) } else { Ok(Rest::None) };
        let (at, nothing) = match rest.map_err(cannot)? {
            _ if !whole => (place, (last_line == LastLine::Wait).then_some(Nothing::InHeader)),
            Rest::None => (place, None),
            Rest::End(bytes) => (Place { byte: place.byte + bytes, line: place.line + 1, ..place }, None),
            Rest::Nothing => (place, Some(Nothing::InRow)),
            Rest::More(bytes) => {
                let Place { line, .. } = place;
                return Err(Error::fatal(format!(
                    "{name}:{line}: this line was given as a row before it had its end, and goes on with `{}`",
                    bytes.escape_ascii()
                ))
                .remedy(
                    "`last_line: wait` gives no line before its end is there; give the pipeline another name to read \
                     the file from its beginning",
                ));
            }
        };
        let records = form.records(file, name.clone(), last_line, at).map_err(failed)?;
        let pass = (at.byte == body.byte).then_some(at.row);
        Ok(Self { records, name, body, pass, nothing })
    }

    /// True where there is nothing to read in it.
    pub(super) fn is_over(&self) -> bool {
        self.nothing.is_some()
    }

    /// True where its header has no end yet: no place in it can be gone back to.
    pub(super) fn is_in_header(&self) -> bool {
        self.nothing == Some(Nothing::InHeader)
    }

    /// Begins again with the first row; false where the last pass gave none.
    pub(super) fn begin_again(&mut self) -> Result<bool> {
        let row = self.records.place().row;
        if self.pass == Some(row) {
            return Ok(false);
        }
        self.pass = Some(row);
        self.records.seek(Place { row, ..self.body }).map_err(failed)?;
        Ok(true)
    }

    /// What was found at its end and not given.
    pub(super) fn held(&self) -> Option<Held> {
        match self.nothing {
            Some(Nothing::InHeader) => Some(in_header(&self.name)),
            Some(Nothing::InRow) => None,
            None => Some(held(&self.name, self.records.place().line, self.records.held()?)),
        }
    }
}

/// What is said where the beginning of a file cannot be read.
#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
pub(crate) fn cannot_begin(name: &str, error: io::Error) -> Error {
    let what = error.to_string();
    // What the file itself has to say has its name already.
    Error::fatal(if what.starts_with(name) { what } else { format!("{name}: {what}") })
}

/// What is said of a header that is not whole.
pub(super) fn in_header(name: &str) -> Held {
    held(name, 1, "the header has no end yet")
}

fn held(name: &str, line: u64, why: &str) -> Held {
    Held {
        place: format!("{name}:{line}"),
        why: format!("{why}; a later run reads it once it is whole"),
        remedy: "nothing where somebody writes the file still; `last_line: row` at the source where it is whole as \
                 it is"
            .to_owned(),
    }
}

/// What is said of a file that is not what it was.
pub(super) fn changed(name: &str, what: &str) -> Error {
    Error::fatal(format!("{name} {what}"))
        .remedy("put the old file back, or give the chain another name to read this one from its beginning")
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
pub(super) fn failed(error: io::Error) -> Error {
    Error::fatal(error.to_string()).remedy("let nothing rewrite the file while it is read, and run again")
}
