//! What every form of file has: records, each at a place of its file.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;
use pipectl_framework::batch::Lines;
use pipectl_framework::plugin::{Result, SourceReject};
use schemars::JsonSchema;
use serde::Deserialize;

use super::input::Input;

/// What becomes of a last record whose end is not in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LastLine {
    /// It is not given: the rest of it comes later.
    Wait,
    /// It is a row like any other.
    Row,
}

/// A place in a file, between two records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Bytes before it.
    pub(crate) byte: u64,
    /// Records before it, over all passes, the header and blank lines not counted.
    pub(crate) row: u64,
    /// Its line, from 1.
    pub(crate) line: u64,
}

/// Rows as they were read.
#[derive(Debug)]
pub(crate) struct Rows {
    /// The wanted columns.
    pub(crate) columns: Vec<ArrayRef>,
    /// The number of each row's record, never falling.
    pub(crate) numbers: Vec<i64>,
    /// The records that could not be used.
    pub(crate) rejects: Vec<SourceReject>,
    /// The lines on which all of these stand.
    pub(crate) lines: Lines,
}

impl Rows {
    /// No row, of these columns.
    pub(crate) fn none(schema: &SchemaRef) -> Self {
        let columns = RecordBatch::new_empty(schema.clone()).columns().to_vec();
        Self { columns, numbers: Vec::new(), rejects: Vec::new(), lines: Lines::new("") }
    }
}

/// Reads the records of an open file.
pub(crate) trait Records: Debug + Send {
    /// Where the next record stands.
    fn place(&self) -> Place;

    /// What is read from.
    fn input(&self) -> &Input;

    /// The same, to look at it again.
    fn input_mut(&mut self) -> &mut Input;

    /// The same, where nothing more is to be read.
    fn into_input(self) -> Input;

    /// Goes on at `at`.
    fn seek(&mut self, at: Place) -> io::Result<()>;

    /// Reads up to `limit` records. Fewer than asked, even none, may come before the end; the answer is true
    /// at the end. A record may give no row, or several.
    fn read(&mut self, limit: usize) -> io::Result<(Rows, bool)>;

    /// Why the last record was not given, where it waits for its end.
    fn held(&self) -> Option<&'static str>;

    /// As [`Source::remarks`](pipectl_framework::plugin::Source::remarks).
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The beginning of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beginning {
    /// Where its rows begin.
    pub(crate) rows: Place,
    /// False where it has a header, and that has no line end.
    pub(crate) whole: bool,
}

/// A form in which files have records.
pub(crate) trait Form: Debug + Send + 'static {
    /// Reads files of this form.
    type Records: Records;

    /// The source's name in the pipeline file.
    const NAME: &'static str;

    /// The schema of what it gives.
    fn schema(&self) -> SchemaRef;

    /// As [`Source::narrow`](pipectl_framework::plugin::Source::narrow).
    fn narrow(&mut self, columns: &[String]) -> Option<SchemaRef>;

    /// Looks at the beginning of a file, which is called `name`; leaves it anywhere.
    ///
    /// # Errors
    /// `Fatal` where it is not what planning has seen.
    fn begin(&self, file: &mut Input, name: &str) -> Result<Beginning>;

    /// Reads a file, which is called `name`, from `at` on.
    ///
    /// # Errors
    /// Where that cannot be read.
    fn records(
        &self,
        file: Input,
        name: Arc<str>,
        last_line: LastLine,
        at: Place,
    ) -> io::Result<Self::Records>;
}
