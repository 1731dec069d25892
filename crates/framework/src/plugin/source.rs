//! Sources: where a chain's rows come from.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::{BindContext, Capability, Decoder, Rejects};
use crate::batch::{Batch, Partition};
use crate::clock::{Clock, Millis};
use crate::config::Problem;
use crate::config::StartAt;
use crate::error::Result;
use crate::log::Position;

/// What a source has to tell.
#[derive(Debug)]
pub enum SourceEvent {
    /// Rows of one partition. Rows that the source could not use stand in `rejects`, each with the text of
    /// the record as far as it was read.
    Batch {
        /// The rows.
        batch: Batch,
        /// The rows that could not be used.
        rejects: Vec<SourceReject>,
        /// The position after these rows; committing it means never to see them again.
        position: Position,
    },
    /// There is nothing more to read for now; sent once each time that becomes so.
    CaughtUp,
    /// A bounded source is at its end. Nothing follows.
    End,
}

/// A record that a source could not turn into a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceReject {
    /// The record's offset (for a file: its row number, from 0, the header not counted).
    pub offset: i64,
    /// For a person: `data/user_log.csv:17`, or `sex[0]@1234`.
    pub place: String,
    /// Why it could not be used.
    pub reason: String,
    /// The record as it was read, cut where it is long.
    pub raw: Vec<u8>,
    /// The record's time in milliseconds since 1970, where it is known. The letter has it, so that a window
    /// over dead letters gives the same when records are read again; a letter without one counts when it is
    /// made.
    pub time: Option<Millis>,
}

/// How much of a bounded source has been read, for the progress bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Read so far, in bytes or any other unit.
    pub done: u64,
    /// In all, in that unit.
    pub total: u64,
}

/// A record at the end of the data that is not whole, and waits for the rest of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// For a person: `data/user_log.csv:17`.
    pub place: String,
    /// Why it is not whole, such as `the last line has no end yet`.
    pub why: String,
    /// What to do where it is whole as it is.
    pub remedy: String,
}

/// What a source is given when it is opened.
#[derive(Debug, Clone)]
pub struct SourceContext {
    /// The clock of the run: stamps rows, paces a replay.
    pub clock: Clock,
    /// True under `--once`: a source that would go on for ever (`repeat`) stops at its first end.
    pub once: bool,
    /// The most rows in a batch.
    pub batch_rows: usize,
    /// True where the run keeps the source's position, and a later run goes on behind it: a record that is
    /// not whole yet can wait for that run.
    pub keeps_position: bool,
}

/// Reads rows. Owned by one chain. A source on a topic does not implement this: it gives a [`LogSource`].
#[async_trait]
pub trait Source: Send {
    /// Called once before the first `next`, and again after each failure, to (re)start from `position`: the
    /// last one that was committed, `None` for the very beginning.
    ///
    /// # Errors
    /// `Retry`: called again after a back-off. `Fatal`: ends the run.
    async fn open(&mut self, context: &SourceContext, position: Option<&Position>) -> Result<()>;

    /// The next event. Called in a loop; must be cancel-safe, for the loop stops waiting when a timer or a
    /// signal comes.
    ///
    /// # Errors
    /// `Retry`: the chain backs off, then opens the source again at the committed position. `Fatal`: ends the
    /// run.
    async fn next(&mut self) -> Result<SourceEvent>;

    /// Asked after a passing fault, before it is waited and tried again: whether it can be opened again at
    /// `position`, the last one that was committed.
    ///
    /// # Errors
    /// Why it cannot. The run ends with that.
    fn can_reopen(&self, _position: Option<&Position>) -> Result<()> {
        Ok(())
    }

    /// Called after everything up to `position` is durable in every sink. A source with a memory of its own
    /// keeps it.
    ///
    /// # Errors
    /// As `next`.
    async fn commit(&mut self, _position: &Position) -> Result<()> {
        Ok(())
    }

    /// Called with each position that this source has given, right before it is committed, which may be long
    /// after. What the source has learnt since can be put into its metadata: which file came behind the one
    /// of the position, for example. The offset stays. Must be cheap.
    fn renew(&self, position: Position) -> Position {
        position
    }

    /// The records that were found at the end of the data and not given, as they are not whole. Asked when
    /// the run ends: each is told and counts as held, and a later run is to give it.
    fn held(&self) -> Vec<Held> {
        Vec::new()
    }

    /// What is to be said of all that was read, such as that a setting led to nothing in any record. Asked
    /// when the run ends.
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }

    /// How far the source is; asked often, must be cheap.
    fn progress(&self) -> Option<Progress> {
        None
    }

    /// Called while planning with the names of all columns that any step looks at. A source that can read
    /// only those gives its new schema (a subset of the one before, in the same order).
    fn narrow(&mut self, _columns: &[String]) -> Option<SchemaRef> {
        None
    }
}

/// A source that is a topic of a log. The framework reads it, keeps its positions and follows its group.
pub struct LogSource {
    /// The connection's name in the file.
    pub connection: String,
    /// The topic.
    pub topic: String,
    /// Where to start without a committed position; `None` for the oldest record with a group, the end
    /// without one.
    pub start: Option<StartAt>,
    /// The consumer group; `None` for one made from the pipeline's and the chain's name.
    pub group: Option<String>,
    /// The fields that other programs key its records by, where the file says so; empty where those have no
    /// key.
    pub keyed_by: Option<Vec<String>>,
    /// The columns that hold the number of a record's partition: all rows of one value are in one partition.
    pub partition_columns: Vec<String>,
    /// The columns that hold a record's key: all rows of one value are in one partition where the topic is
    /// keyed, whatever it is keyed by.
    pub key_columns: Vec<String>,
    /// The format's name, to compare with what the file's sinks write.
    pub format: String,
    /// Bytes to columns.
    pub decoder: Box<dyn Decoder>,
}

/// The part of a source that does the work.
pub enum SourceBody {
    /// The plugin's own reader, with the partition that all of its rows have.
    Custom(Box<dyn Source>, Partition),
    /// A topic.
    Log(LogSource),
}

/// A source that planning has bound.
pub struct BoundSource {
    /// The schema of what it gives.
    pub schema: SchemaRef,
    /// True where it comes to an end by itself.
    pub bounded: bool,
    /// What it reads where that passes by, such as `standard input`: nothing of it can be read again, and
    /// only one source can read it.
    pub passing: Option<Arc<str>>,
    /// The part that does the work.
    pub body: SourceBody,
}

impl BoundSource {
    /// A source of the plugin's own, of one partition that is called `name`.
    pub fn custom(
        name: impl Into<Arc<str>>,
        schema: SchemaRef,
        bounded: bool,
        source: impl Source + 'static,
    ) -> Self {
        let body = SourceBody::Custom(Box::new(source), Partition::new(name, 0));
        Self { schema, bounded, passing: None, body }
    }

    /// The same; it reads what passes by and is called `what`.
    #[must_use]
    pub fn passing(self, what: impl Into<Arc<str>>) -> Self {
        Self { passing: Some(what.into()), ..self }
    }
}

/// The configuration of a source: what stands in its `with:`.
pub trait SourcePlugin: DeserializeOwned + JsonSchema + 'static {
    /// The name in the file.
    const NAME: &'static str;
    /// One line for `pipectl plugins`.
    const SUMMARY: &'static str;
    /// A step in YAML, as `- source: ...`, that `describe` prints and a test binds.
    const EXAMPLE: &'static str;
    /// What it can do.
    const CAPABILITIES: &'static [Capability] = &[];

    /// Called while planning, before anything has started. May look at the world (a file's header), but must
    /// change nothing.
    ///
    /// # Errors
    /// A [`Problem`] with the path of the offending value.
    fn bind(self, context: &BindContext<'_>) -> Result<BoundSource, Problem>;
}

/// Turns the rejects of a decoder into those of a source.
impl SourceReject {
    /// The rejects of one batch of records.
    pub fn of_records(records: &crate::log::Records, rejects: &Rejects) -> Vec<Self> {
        use arrow_array::Array;
        rejects
            .rows()
            .iter()
            .filter(|r| r.row < records.len())
            .map(|r| {
                let offset = records.offsets[r.row];
                Self {
                    offset,
                    place: format!("{}@{offset}", records.partition),
                    reason: r.reason.clone(),
                    raw: if records.values.is_null(r.row) {
                        Vec::new()
                    } else {
                        records.values.value(r.row).to_vec()
                    },
                    time: records.timestamps.get(r.row).copied().filter(|time| *time != crate::log::NO_TIME),
                }
            })
            .collect()
    }
}
