//! Standard input as a source: rows as they come, each once.
//!
//! Nothing of it can be read again. So it has no position to go on from: a later run begins with what comes
//! then. A passing fault is tried again only where all that was read is committed; otherwise the run ends,
//! and says so.

use std::io::IsTerminal;
use std::sync::Arc;

use arrow_buffer::ScalarBuffer;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use pipectl_framework::clock::Millis;
use pipectl_framework::log::Position;
use pipectl_framework::plugin::{
    Error, Held, Partition, Problem, Result, Source, SourceContext, SourceEvent,
};

use super::common::unreadable;
use super::encoding::Encoding;
use super::input::Input;
use super::packed::Compression;
use super::pipe::{Pipe, STANDARD_INPUT};
use super::reading::cannot_begin;
use super::records::{Beginning, Form, LastLine, Records, Rows};
use super::source::event;
use super::stream::Stream;
use crate::replay::{Due, Replay};

/// Standard input, as the pipeline file describes it.
#[derive(Debug)]
pub(super) struct Passing {
    pub(super) compression: Compression,
    pub(super) encoding: Encoding,
    pub(super) last_line: LastLine,
    /// What is read in its place.
    #[cfg(test)]
    pub(super) pipe: Option<Arc<Pipe>>,
}

impl Passing {
    fn pipe(&self) -> std::io::Result<Arc<Pipe>> {
        #[cfg(test)]
        if let Some(pipe) = &self.pipe {
            return Ok(pipe.clone());
        }
        Pipe::standard()
    }

    /// Looks at its beginning while a pipeline is planned, and waits until that is whole; the run gets all of
    /// it again. `look` says whether it has seen what it looks for.
    ///
    /// # Errors
    /// A [`Problem`] that says why that cannot be.
    pub(super) fn look<T>(
        &self,
        mut look: impl FnMut(&mut Input) -> std::io::Result<(T, bool)>,
    ) -> Result<T, Problem> {
        let cannot = |e: std::io::Error| {
            Problem::new("path", format!("cannot read {STANDARD_INPUT}")).label(e.to_string())
        };
        let pipe = self.pipe().map_err(cannot)?;
        tell_of_terminal();
        loop {
            if let Some(stream) = Stream::open(&pipe, self.compression, self.encoding).map_err(cannot)? {
                let mut input = Input::Stream(stream);
                match look(&mut input) {
                    Ok((seen, whole)) if whole || !input.is_dry() => return Ok(seen),
                    Ok(_) => {}
                    Err(e) => {
                        let problem = Problem::new("path", format!("cannot read {STANDARD_INPUT}"));
                        return Err(unreadable(problem.label(e.to_string()), &e, self.encoding));
                    }
                }
            }
            pipe.wait("the header on standard input");
        }
    }
}

/// Whoever has forgotten the pipe would wait for ever.
fn tell_of_terminal() {
    static TOLD: std::sync::Once = std::sync::Once::new();
    if std::io::stdin().is_terminal() {
        TOLD.call_once(|| {
            tracing::warn!("{STANDARD_INPUT} is a terminal: rows are read from the keyboard, to Ctrl-D");
        });
    }
}

/// A source of the rows that come on standard input.
#[derive(Debug)]
pub(crate) struct PassingSource<F: Form> {
    passing: Passing,
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
    pipe: Arc<Pipe>,
    /// `None` until its beginning is whole.
    records: Option<R>,
    /// The runner knows that nothing is there, or due.
    caught_up: bool,
    ended: bool,
}

impl<R: Records> Opened<R> {
    /// The number of the next row.
    fn row(&self) -> u64 {
        self.records.as_ref().map_or(0, |records| records.place().row)
    }

    /// Its next line.
    fn line(&self) -> u64 {
        self.records.as_ref().map_or(1, |records| records.place().line)
    }
}

fn failed(error: std::io::Error) -> Error {
    cannot_begin(STANDARD_INPUT, error)
        .remedy("see what the program says that writes it, and start both again")
}

impl<F: Form> PassingSource<F> {
    pub(super) fn new(passing: Passing, form: F, replay: Replay) -> Self {
        let (partition, schema) = (Partition::new(STANDARD_INPUT, 0), form.schema());
        Self { passing, form, partition, schema, replay, opened: None }
    }

    pub(super) fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Begins, where its beginning is there.
    fn begin(&self, pipe: &Arc<Pipe>) -> Result<Option<F::Records>> {
        let Passing { compression, encoding, last_line, .. } = self.passing;
        let Some(stream) = Stream::open(pipe, compression, encoding).map_err(failed)? else {
            return Ok(None);
        };
        let mut input = Input::Stream(stream);
        let Beginning { rows, whole } = self.form.begin(&mut input, STANDARD_INPUT)?;
        if !whole && input.is_dry() {
            return Ok(None);
        }
        pipe.settle();
        input.settle();
        self.form.records(input, STANDARD_INPUT.into(), last_line, rows).map(Some).map_err(failed)
    }

    /// The rows as a batch.
    fn event(&self, opened: &Opened<F::Records>, mut rows: Rows) -> Result<SourceEvent> {
        let now = opened.context.clock.stamp();
        for reject in &mut rows.rejects {
            reject.time = Some(self.replay.stamp(reject.offset as u64, now));
        }
        let times: ScalarBuffer<Millis> =
            rows.numbers.iter().map(|row| self.replay.stamp(*row as u64, now)).collect();
        let offset = opened.row() as i64;
        let position = Position { partition: self.partition.clone(), offset, metadata: String::new() };
        event::<F>(&self.schema, rows, times, position)
    }
}

#[async_trait]
impl<F: Form> Source for PassingSource<F> {
    async fn open(&mut self, context: &SourceContext, position: Option<&Position>) -> Result<()> {
        self.can_reopen(position)?;
        if let Some(opened) = &mut self.opened {
            (opened.context, opened.caught_up) = (context.clone(), false);
            return Ok(());
        }
        let pipe = self.passing.pipe().map_err(failed)?;
        if !pipe.take() {
            return Err(Error::fatal(format!("another source reads {STANDARD_INPUT}"))
                .remedy("only one source of a process can read it"));
        }
        tell_of_terminal();
        self.replay.start(&context.clock, 0, None);
        let context = context.clone();
        self.opened = Some(Opened { context, pipe, records: None, caught_up: false, ended: false });
        Ok(())
    }

    fn can_reopen(&self, position: Option<&Position>) -> Result<()> {
        let Some(opened) = &self.opened else { return Ok(()) };
        let committed = position.map_or(0, |position| u64::try_from(position.offset).unwrap_or_default());
        let lost = match opened.row().saturating_sub(committed) {
            0 => return Ok(()),
            1 => "1 row".to_owned(),
            rows => format!("{rows} rows"),
        };
        Err(Error::fatal(format!(
            "{lost} of {STANDARD_INPUT}, up to line {}, were not committed and cannot be read again",
            opened.line().saturating_sub(1)
        ))
        .remedy(
            "run again with all of the input; what is in a file, or in a topic, can be read again after such a fault",
        ))
    }

    async fn next(&mut self) -> Result<SourceEvent> {
        // Where it comes fast nothing is waited for: let the other tasks of this thread run.
        tokio::task::yield_now().await;
        loop {
            let Some(opened) = &mut self.opened else {
                return Err(Error::fatal(format!("the {} source was read before it was opened", F::NAME)));
            };
            let row = opened.row();
            let due = match self.replay.due(&opened.context.clock, row, opened.context.batch_rows) {
                Due::Rows(limit) => Ok(limit),
                Due::At(at) => Err(at),
            };
            if let (Some(records), Ok(limit)) = (&mut opened.records, due) {
                let (rows, end) = records.read(limit).map_err(failed)?;
                let dry = records.input().is_dry();
                // Records that give no row are read all the same.
                if !rows.numbers.is_empty() || !rows.rejects.is_empty() || records.place().row > row {
                    opened.caught_up = false;
                    let Some(opened) = &self.opened else { continue };
                    return self.event(opened, rows);
                }
                if !end {
                    continue;
                }
                if !dry {
                    opened.ended = true;
                    return Ok(SourceEvent::End);
                }
            } else if opened.records.is_none() {
                let pipe = opened.pipe.clone();
                if let Some(records) = self.begin(&pipe)? {
                    if let Some(opened) = &mut self.opened {
                        opened.records = Some(records);
                    }
                    continue;
                }
            }
            let Some(opened) = &mut self.opened else { continue };
            if !std::mem::replace(&mut opened.caught_up, true) {
                return Ok(SourceEvent::CaughtUp);
            }
            match due {
                Err(at) if opened.records.is_some() => opened.context.clock.sleep_until(at).await,
                _ => opened.pipe.ready().await,
            }
        }
    }

    fn held(&self) -> Vec<Held> {
        let Some(opened) = self.opened.as_ref().filter(|opened| opened.ended) else { return Vec::new() };
        let held = opened.records.as_ref().and_then(Records::held);
        let held = held.map(|why| Held {
            place: format!("{STANDARD_INPUT}:{}", opened.line()),
            why: format!("{why}, and nothing comes behind it"),
            remedy: "`last_line: row` at the source makes a row of it".to_owned(),
        });
        held.into_iter().collect()
    }

    fn remarks(&self) -> Vec<String> {
        let Some(opened) = &self.opened else { return Vec::new() };
        let mut remarks = opened.records.as_ref().map(Records::remarks).unwrap_or_default();
        if !opened.ended && opened.pipe.has_begun() {
            remarks.push(format!(
                "{STANDARD_INPUT} was not read to its end: no later run can read what comes from line {} on",
                opened.line()
            ));
        } else if opened.pipe.was_empty() && is_no_input() {
            remarks.push(format!("{STANDARD_INPUT} is closed or /dev/null: no row can come on it"));
        }
        remarks
    }

    fn narrow(&mut self, columns: &[String]) -> Option<SchemaRef> {
        self.schema = self.form.narrow(columns)?;
        Some(self.schema())
    }
}

/// True where nothing can come on standard input. A closed one is `/dev/null` too: what a program opens first
/// would have its place otherwise.
#[cfg(unix)]
fn is_no_input() -> bool {
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;
    let null = std::fs::metadata("/dev/null").map(|null| null.rdev());
    let input = std::io::stdin().as_fd().try_clone_to_owned().map(std::fs::File::from);
    let input = input.and_then(|input| input.metadata()).map(|input| input.rdev());
    matches!((null, input), (Ok(null), Ok(input)) if null == input && null != 0)
}

#[cfg(not(unix))]
fn is_no_input() -> bool {
    false
}

/// A source of what is sent, in place of standard input.
#[cfg(test)]
pub(crate) fn passing_source<F: Form>(
    form: F,
    sent: std::sync::mpsc::Receiver<std::io::Result<Vec<u8>>>,
) -> PassingSource<F> {
    let pipe = Pipe::of(super::pipe::tests::Written(sent)).ok();
    let (compression, encoding) = Default::default();
    let passing = Passing { compression, encoding, last_line: LastLine::Row, pipe };
    PassingSource::new(passing, form, Replay::new(None, crate::replay::Speed::default()))
}
