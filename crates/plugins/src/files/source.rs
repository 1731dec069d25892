//! The source: rows when they are due, stamped, with the position to go on from.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_buffer::ScalarBuffer;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use pipectl_framework::log::Position;
use pipectl_framework::plugin::{
    Batch, Error, Held, Origin, Partition, Progress, Result, Source, SourceContext, SourceEvent,
};

use super::input::{self, Input};
use super::position;
use super::records::{Beginning, Form, LastLine, Place, Records, Rows};
use super::watched::Rest;
use crate::replay::{Due, Replay};

/// What planning found out about the file.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Where it is, and how it is written.
    pub(crate) origin: input::Origin,
    /// The one name of the file, however its path is written.
    pub(crate) name: Arc<str>,
    pub(crate) repeat: bool,
    /// What the file says of a last line without its end.
    pub(crate) last_line: Option<LastLine>,
}

/// A source of files of one form.
#[derive(Debug)]
pub(crate) struct FileSource<F: Form> {
    settings: Settings,
    form: F,
    partition: Partition,
    schema: SchemaRef,
    replay: Replay,
    opened: Option<Opened<F::Records>>,
}

/// The source while it is open.
#[derive(Debug)]
struct Opened<R> {
    records: R,
    context: SourceContext,
    /// Where the rows begin.
    body: Place,
    /// The row with which this pass began, if it began with the first of the file.
    pass: Option<u64>,
    /// The runner knows that nothing is due yet.
    caught_up: bool,
    /// There is nothing to read.
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

impl<F: Form> FileSource<F> {
    pub(crate) fn new(settings: Settings, form: F, replay: Replay) -> Self {
        let (partition, schema) = (Partition::new(settings.name.clone(), 0), form.schema());
        Self { settings, form, partition, schema, replay, opened: None }
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Finds the place to begin at.
    fn begin(&self, position: Option<&Position>, last_line: LastLine) -> Result<(Input, Place, Begin)> {
        let origin = &self.settings.origin;
        let name = &*origin.name;
        let failed = |e: std::io::Error| Error::fatal(format!("{name}: {e}"));
        let mut file = Input::open(origin).map_err(failed)?;
        let Beginning { rows: body, whole } = self.form.begin(&mut file, name)?;
        let (place, after) = match position {
            None => (body, None),
            Some(position) => position::read(&file, position.offset, &position.metadata).map_err(|what| {
                Error::fatal(format!("{name} {what}"))
                    .remedy("put the old file back, or give the chain another name to read this one from its beginning")
            })?,
        };
        let rest = if place.byte > body.byte { file.rest_of_line(place.byte) } else { Ok(Rest::None) };
        let (at, nothing) = match rest.map_err(failed)? {
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
        Ok((file, body, Begin { at, after, nothing }))
    }

    /// The rows as a batch, with the position behind them.
    fn event(&self, opened: &Opened<F::Records>, mut rows: Rows) -> Result<SourceEvent> {
        let now = opened.context.clock.now();
        for reject in &mut rows.rejects {
            reject.time = Some(self.replay.stamp(reject.offset as u64, now));
        }
        let times = rows.numbers.iter().map(|row| self.replay.stamp(*row as u64, now)).collect();
        let place = opened.records.place();
        let last = place.row.checked_sub(1).filter(|_| self.replay.stamps());
        let time = last.map(|row| self.replay.stamp(row, now));
        let position = Position {
            partition: self.partition.clone(),
            offset: place.row as i64,
            metadata: position::write(opened.records.input(), place, time).map_err(failed)?,
        };
        let options = RecordBatchOptions::new().with_row_count(Some(rows.numbers.len()));
        let origin = Origin {
            partition: self.partition.clone(),
            offsets: ScalarBuffer::from(rows.numbers),
            replay: false,
        };
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), rows.columns, &options)
            .and_then(|columns| Batch::new(columns, times, origin))
            .map_err(|e| Error::fatal(format!("the {} source built a broken batch", F::NAME)).caused_by(e))?;
        Ok(SourceEvent::Batch { batch, rejects: rows.rejects, position })
    }
}

struct Begin {
    at: Place,
    after: Option<i64>,
    nothing: Option<Nothing>,
}

#[async_trait]
impl<F: Form> Source for FileSource<F> {
    async fn open(&mut self, context: &SourceContext, position: Option<&Position>) -> Result<()> {
        self.opened = None;
        let waits = context.keeps_position && !self.settings.repeat;
        let last_line = self.settings.last_line.unwrap_or(if waits { LastLine::Wait } else { LastLine::Row });
        let (file, body, Begin { at, after, nothing }) = self.begin(position, last_line)?;
        let records = self.form.records(file, last_line, at).map_err(failed)?;
        self.replay.start(&context.clock, at.row, after);
        let pass = (at.byte == body.byte).then_some(at.row);
        self.opened =
            Some(Opened { records, context: context.clone(), body, pass, caught_up: false, nothing });
        Ok(())
    }

    async fn next(&mut self) -> Result<SourceEvent> {
        // A full-speed reader never waits for anything: let the other tasks of this thread run.
        tokio::task::yield_now().await;
        loop {
            let Some(opened) = &mut self.opened else {
                return Err(Error::fatal(format!("the {} source was read before it was opened", F::NAME)));
            };
            if opened.nothing.is_some() {
                return Ok(SourceEvent::End);
            }
            let clock = &opened.context.clock;
            match self.replay.due(clock, opened.records.place().row, opened.context.batch_rows) {
                Due::At(_) if !opened.caught_up => {
                    opened.caught_up = true;
                    return Ok(SourceEvent::CaughtUp);
                }
                Due::At(at) => clock.sleep_until(at).await,
                Due::Rows(limit) => {
                    let (rows, end) = opened.records.read(limit).map_err(failed)?;
                    if !rows.numbers.is_empty() || !rows.rejects.is_empty() {
                        opened.caught_up = false;
                        let Some(opened) = &self.opened else { continue };
                        return self.event(opened, rows);
                    }
                    let row = opened.records.place().row;
                    if end && (!self.settings.repeat || opened.context.once || opened.pass == Some(row)) {
                        return Ok(SourceEvent::End);
                    }
                    if end {
                        opened.pass = Some(row);
                        opened.records.seek(Place { row, ..opened.body }).map_err(failed)?;
                    }
                }
            }
        }
    }

    fn held(&self) -> Option<Held> {
        let opened = self.opened.as_ref()?;
        let (line, why) = match opened.nothing {
            Some(Nothing::InHeader) => (1, "the header has no end yet"),
            Some(Nothing::InRow) => return None,
            None => (opened.records.place().line, opened.records.held()?),
        };
        Some(Held {
            place: format!("{}:{line}", self.settings.name),
            why: format!("{why}; a later run reads it once it is whole"),
            remedy: "nothing where somebody writes the file still; `last_line: row` at the source where it is whole as \
                     it is"
                .to_owned(),
        })
    }

    fn progress(&self) -> Option<Progress> {
        let opened = self.opened.as_ref().filter(|o| !self.settings.repeat || o.context.once)?;
        let total = opened.records.input().len()?;
        Some(Progress { done: opened.records.place().byte, total })
    }

    fn narrow(&mut self, columns: &[String]) -> Option<SchemaRef> {
        self.schema = self.form.narrow(columns)?;
        Some(self.schema())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
fn failed(error: std::io::Error) -> Error {
    Error::fatal(error.to_string()).remedy("let nothing rewrite the file while it is read, and run again")
}
