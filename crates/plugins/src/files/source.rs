//! The source: rows when they are due, stamped, with the position to go on from.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_buffer::ScalarBuffer;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use pipectl_framework::batch::Times;
use pipectl_framework::clock::Millis;
use pipectl_framework::log::Position;
use pipectl_framework::plugin::{
    Batch, Error, Held, Partition, Progress, Result, Source, SourceContext, SourceEvent,
};

use super::course::{Course, Resumed};
use super::encoding::Encoding;
use super::finder::{Finder, while_running};
use super::input::{Input, Origin};
use super::packed::Compression;
use super::position::{self, Mark};
use super::reading::{Reading, changed, failed};
use super::records::{Form, LastLine, Records, Rows};
use super::waiting::waiting;
use crate::replay::{Due, Replay};

/// What planning found out about the files.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(super) files: Files,
    /// The one name of the source, however its path is written.
    pub(super) name: Arc<str>,
    pub(super) repeat: bool,
    /// What the file says of a last line without its end.
    pub(super) last_line: Option<LastLine>,
}

/// Where the files are, and how they are written.
#[derive(Debug)]
pub(super) enum Files {
    One(Origin),
    /// One after another, as one sequence of rows.
    Several {
        finder: Finder,
        compression: Compression,
        encoding: Encoding,
    },
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
    context: SourceContext,
    last_line: LastLine,
    /// The file that is read now.
    reading: Option<Reading<R>>,
    /// Where there are several: which come when.
    course: Option<Course>,
    /// The position is to be told, though no row has come.
    tells: bool,
    /// The number of the next row, where no file is read.
    row: u64,
    /// What was found at the end of the files before.
    held: Vec<Held>,
    /// What is to be said of them.
    remarks: Vec<String>,
    /// The bytes of the files before, as they stand on the disk.
    behind: u64,
    /// The runner knows that nothing is due yet.
    caught_up: bool,
}

impl<R: Records> Opened<R> {
    /// The number of the next row.
    fn row(&self) -> u64 {
        self.reading.as_ref().map_or(self.row, |reading| reading.records.place().row)
    }

    /// The metadata of the position behind what has been given; `time` is the stamp of the last row.
    fn metadata(&self, time: Option<Millis>) -> Result<String> {
        let mark = match &self.reading {
            Some(reading) => {
                Some(Mark::of(reading.records.input(), reading.records.place()).map_err(failed)?)
            }
            None => None,
        };
        match (&self.course, mark) {
            (Some(course), mark) => course.write(mark.as_ref(), time),
            (None, Some(mark)) => position::write(mark, time),
            (None, None) => Ok(String::new()),
        }
        .map_err(failed)
    }

    /// The file that is read now is at its end.
    fn finish(&mut self) -> Result<()> {
        let (Some(course), Some(reading)) = (&mut self.course, self.reading.take()) else { return Ok(()) };
        let place = reading.records.place();
        let mark = match reading.is_in_header() {
            true => None,
            false => Some(Mark::of(reading.records.input(), place).map_err(failed)?),
        };
        let held = reading.held();
        self.row = place.row;
        self.behind += course.now().map_or(0, |leg| leg.to);
        course.finish(mark, held.is_none());
        self.held.extend(held);
        self.remarks.extend(reading.records.remarks());
        self.tells = true;
        Ok(())
    }
}

/// Rows of these times as an event, with the position behind them.
pub(super) fn event<F: Form>(
    schema: &SchemaRef,
    rows: Rows,
    times: impl Into<Times>,
    position: Position,
) -> Result<SourceEvent> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows.numbers.len()));
    let origin = pipectl_framework::plugin::Origin {
        partition: position.partition.clone(),
        offsets: ScalarBuffer::from(rows.numbers),
        replay: false,
    };
    let batch = RecordBatch::try_new_with_options(schema.clone(), rows.columns, &options)
        .and_then(|columns| Batch::new(columns, times.into(), origin))
        .map(|batch| batch.on_lines(Some(Arc::new(rows.lines))))
        .map_err(|e| Error::fatal(format!("the {} source built a broken batch", F::NAME)).caused_by(e))?;
    Ok(SourceEvent::Batch { batch, rejects: rows.rejects, position })
}

impl<F: Form> FileSource<F> {
    pub(crate) fn new(settings: Settings, form: F, replay: Replay) -> Self {
        let (partition, schema) = (Partition::new(settings.name.clone(), 0), form.schema());
        Self { settings, form, partition, schema, replay, opened: None }
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Opens the one file, with the stamp of the row before.
    fn open_one(
        &self,
        origin: &Origin,
        position: Option<&Position>,
        opened: &mut Opened<F::Records>,
    ) -> Result<Option<Millis>> {
        let read = |position: &Position| {
            position::read(&position.metadata).map_err(|what| changed(&origin.name, &what))
        };
        let (mark, time) = position.map(read).transpose()?.unzip();
        let reading = Reading::open(&self.form, origin, mark.as_ref(), opened.row, opened.last_line)?;
        opened.reading = Some(reading);
        Ok(time.flatten())
    }

    /// Takes up the course of several files, with the stamp of the row before. What is read again depends on
    /// the position alone.
    fn open_several(
        &self,
        finder: &Finder,
        position: Option<&Position>,
        opened: &mut Opened<F::Records>,
    ) -> Result<Option<Millis>> {
        let resumed = position.map(|position| Course::read(&position.metadata)).transpose()?;
        let Resumed { mut course, mark, time } = resumed.unwrap_or_default();
        course.extend(finder, &finder.find().map_err(while_running)?)?;
        for (file, done) in course.done() {
            let Some(there) = finder.file(file) else { continue };
            if there.len < done.to {
                let what = format!(
                    "is shorter than what was read of it: {} of {} bytes are there",
                    there.len, done.to
                );
                return Err(changed(file, &what));
            }
            let origin = self.origin(file, done.to);
            let input = Input::open(&origin).map_err(|e| Error::fatal(format!("{file}: {e}")))?;
            done.mark.find(&input, 0).map_err(|what| changed(file, &what))?;
        }
        if let Some(leg) = course.now() {
            let origin = self.origin(&leg.file, leg.to);
            let reading = Reading::open(&self.form, &origin, mark.as_ref(), opened.row, opened.last_line)?;
            opened.reading = Some(reading);
        }
        opened.course = Some(course);
        opened.tells = true;
        Ok(time)
    }

    /// A file of several, to byte `to`.
    fn origin(&self, name: &str, to: u64) -> Origin {
        match &self.settings.files {
            Files::One(origin) => origin.clone(),
            Files::Several { finder, compression, encoding } => Origin {
                path: finder.path(name),
                name: name.into(),
                compression: *compression,
                encoding: *encoding,
                to: Some(to),
            },
        }
    }

    /// Goes on to the next file; false where there is none.
    fn step(&mut self) -> Result<bool> {
        let Some(opened) = &mut self.opened else { return Ok(false) };
        let Some(leg) = opened.course.as_mut().and_then(|course| course.step().cloned()) else {
            return Ok(false);
        };
        let (row, last_line) = (opened.row, opened.last_line);
        let mark = opened.course.as_ref().and_then(|course| course.mark(&leg.file)).cloned();
        let origin = self.origin(&leg.file, leg.to);
        let reading = Reading::open(&self.form, &origin, mark.as_ref(), row, last_line)?;
        if let Some(opened) = &mut self.opened {
            opened.reading = Some(reading);
        }
        Ok(true)
    }

    /// The rows as a batch, with the position behind them.
    fn event(&self, opened: &Opened<F::Records>, mut rows: Rows) -> Result<SourceEvent> {
        let now = opened.context.clock.stamp();
        for reject in &mut rows.rejects {
            reject.time = Some(self.replay.stamp(reject.offset as u64, now));
        }
        let times: ScalarBuffer<Millis> =
            rows.numbers.iter().map(|row| self.replay.stamp(*row as u64, now)).collect();
        let row = opened.row();
        let last = row.checked_sub(1).filter(|_| self.replay.stamps());
        let time = last.map(|row| self.replay.stamp(row, now));
        let position = Position {
            partition: self.partition.clone(),
            offset: row as i64,
            metadata: opened.metadata(time)?,
        };
        event::<F>(&self.schema, rows, times, position)
    }

    /// The position, without a row.
    fn nothing(&self, opened: &Opened<F::Records>) -> Result<SourceEvent> {
        self.event(opened, Rows::none(&self.schema))
    }
}

#[async_trait]
impl<F: Form> Source for FileSource<F> {
    async fn open(&mut self, context: &SourceContext, position: Option<&Position>) -> Result<()> {
        self.opened = None;
        let waits = context.keeps_position && !self.settings.repeat;
        let last_line = self.settings.last_line.unwrap_or(if waits { LastLine::Wait } else { LastLine::Row });
        let mut opened = Opened {
            context: context.clone(),
            last_line,
            reading: None,
            course: None,
            tells: false,
            row: position.map_or(0, |position| u64::try_from(position.offset).unwrap_or_default()),
            held: Vec::new(),
            remarks: Vec::new(),
            behind: 0,
            caught_up: false,
        };
        let after = waiting(|| match &self.settings.files {
            Files::One(origin) => self.open_one(origin, position, &mut opened),
            Files::Several { finder, .. } => self.open_several(finder, position, &mut opened),
        })?;
        self.replay.start(&context.clock, opened.row(), after);
        self.opened = Some(opened);
        Ok(())
    }

    async fn next(&mut self) -> Result<SourceEvent> {
        // A full-speed reader never waits for anything: let the other tasks of this thread run.
        tokio::task::yield_now().await;
        loop {
            let Some(opened) = &mut self.opened else {
                return Err(Error::fatal(format!("the {} source was read before it was opened", F::NAME)));
            };
            if std::mem::take(&mut opened.tells) {
                let Some(opened) = &self.opened else { continue };
                return self.nothing(opened);
            }
            let row = opened.row();
            let Some(reading) = &mut opened.reading else {
                match self.step()? {
                    true => continue,
                    false => return Ok(SourceEvent::End),
                }
            };
            let clock = &opened.context.clock;
            match self.replay.due(clock, row, opened.context.batch_rows) {
                _ if reading.is_over() => {}
                Due::At(_) if !opened.caught_up => {
                    opened.caught_up = true;
                    return Ok(SourceEvent::CaughtUp);
                }
                Due::At(at) => {
                    clock.sleep_until(at).await;
                    continue;
                }
                Due::Rows(limit) => {
                    let (rows, end) = reading.records.read(limit).map_err(failed)?;
                    // Records that give no row are behind the position all the same.
                    if !rows.numbers.is_empty()
                        || !rows.rejects.is_empty()
                        || reading.records.place().row > row
                    {
                        opened.caught_up = false;
                        let Some(opened) = &self.opened else { continue };
                        return self.event(opened, rows);
                    }
                    if !end || (self.settings.repeat && !opened.context.once && reading.begin_again()?) {
                        continue;
                    }
                }
            }
            // The file is at its end.
            match opened.course {
                Some(_) => opened.finish()?,
                None => return Ok(SourceEvent::End),
            }
        }
    }

    fn held(&self) -> Vec<Held> {
        let Some(opened) = &self.opened else { return Vec::new() };
        opened.held.iter().cloned().chain(opened.reading.as_ref().and_then(Reading::held)).collect()
    }

    fn remarks(&self) -> Vec<String> {
        let Some(opened) = &self.opened else { return Vec::new() };
        let now = opened.reading.iter().flat_map(|reading| reading.records.remarks());
        opened.remarks.iter().cloned().chain(now).collect()
    }

    fn progress(&self) -> Option<Progress> {
        let opened = self.opened.as_ref().filter(|o| !self.settings.repeat || o.context.once)?;
        let of_one = opened.reading.as_ref().and_then(|reading| {
            let total = reading.records.input().len()?;
            Some(Progress { done: reading.records.place().byte.min(total), total })
        });
        let Some(course) = &opened.course else { return of_one };
        let now = course.now().map_or(0, |leg| leg.to);
        let done = opened.behind + of_one.map_or(0, |of_one| of_one.done);
        Some(Progress { done, total: opened.behind + now + course.ahead() })
    }

    fn narrow(&mut self, columns: &[String]) -> Option<SchemaRef> {
        self.schema = self.form.narrow(columns)?;
        Some(self.schema())
    }
}
