//! Sinks: where a chain's rows go.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::{BindContext, Capability, Encoder, Input, Reads, Rejects, ResultMeaning};
use crate::batch::Batch;
use crate::clock::Clock;
use crate::config::{Problem, Retention};
use crate::error::Result;
use crate::metrics::ChainFigures;

/// What a sink is given when it is opened.
#[derive(Debug, Clone)]
pub struct SinkContext {
    /// The clock of the run.
    pub clock: Clock,
    /// Live figures of every chain of the run, for a sink that shows them.
    pub figures: std::sync::Arc<[ChainFigures]>,
}

/// Writes rows. Owned by one chain. A sink on a topic does not implement this: it gives a [`LogSink`].
#[async_trait]
pub trait Sink: Send {
    /// Called once before the first write, and again after each failure.
    ///
    /// # Errors
    /// `Retry`: called again after a back-off. `Fatal`: ends the run.
    async fn open(&mut self, context: &SinkContext) -> Result<()>;

    /// Rejects the rows of a batch that cannot be written: the step's `on_error` says what becomes of those,
    /// and [`write`](Self::write) gets the others. Writes nothing. It looks at the rows alone: those that are
    /// read again after a restart are rejected again. Without it all rows are written.
    ///
    /// # Errors
    /// As `write`.
    fn unusable(&mut self, _batch: &Batch, _rejects: &mut Rejects) -> Result<()> {
        Ok(())
    }

    /// Called for each batch; may hold rows back until `flush`. Not called again before it has returned: a
    /// slow sink slows the chain (backpressure).
    ///
    /// # Errors
    /// The chain takes the failure path: everything since the last commit is read again and written again.
    async fn write(&mut self, batch: &Batch) -> Result<()>;

    /// Called before each commit: makes every written row durable (or delivered, as far as the sink can
    /// know).
    ///
    /// # Errors
    /// As `write`.
    async fn flush(&mut self) -> Result<()>;

    /// Called once at the end of the run, after the last flush; must return within two seconds.
    async fn close(&mut self) -> Result<()> {
        Ok(())
    }

    /// Called once while planning with what is known of the rows that come in; `None` where that is nothing,
    /// such as of a topic that another program writes.
    ///
    /// # Errors
    /// A [`Problem`] where the sink cannot show such rows; it stands among the other problems of the file.
    fn told(&mut self, _meaning: Option<&ResultMeaning>) -> Result<(), Problem> {
        Ok(())
    }

    /// Lines for a person at start-up, such as `http://127.0.0.1:5000/`; asked after `open`.
    fn addresses(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A sink that is a topic of a log. The framework writes it, in the chain's transaction.
pub struct LogSink {
    /// The connection's name in the file.
    pub connection: String,
    /// The topic.
    pub topic: String,
    /// True where the topic may be made if it is not there.
    pub create: bool,
    /// How many partitions to make it with; `None` for the log's default.
    pub partitions: Option<u32>,
    /// For how long a topic that is made keeps records; `None` for the log's default.
    pub retention: Option<Retention>,
    /// The format's name, to compare with what the file's sources read.
    pub format: String,
    /// Columns to bytes.
    pub encoder: Box<dyn Encoder>,
}

/// The part of a sink that does the work.
pub enum SinkBody {
    /// The plugin's own writer.
    Custom(Box<dyn Sink>),
    /// A topic.
    Log(LogSink),
}

/// A sink that planning has bound to its input.
pub struct BoundSink {
    /// Which columns it looks at.
    pub reads: Reads,
    /// The part that does the work.
    pub body: SinkBody,
}

impl BoundSink {
    /// A sink of the plugin's own that looks at every column.
    pub fn custom(sink: impl Sink + 'static) -> Self {
        Self { reads: Reads::All, body: SinkBody::Custom(Box::new(sink)) }
    }
}

/// The configuration of a sink: what stands in its `with:`.
pub trait SinkPlugin: DeserializeOwned + JsonSchema + 'static {
    /// The name in the file.
    const NAME: &'static str;
    /// One line for `pipectl plugins`.
    const SUMMARY: &'static str;
    /// A step in YAML, as `- sink: ...`, that `describe` prints and a test binds.
    const EXAMPLE: &'static str;
    /// What it can do.
    const CAPABILITIES: &'static [Capability] = &[];

    /// Called while planning, before anything has started; must change nothing in the world.
    ///
    /// # Errors
    /// A [`Problem`] with the path of the offending value.
    fn bind(self, input: &Input, context: &BindContext<'_>) -> Result<BoundSink, Problem>;
}
