//! Everything that a plugin's author imports.
//!
//! A plugin is a struct that serde reads from its `with:`, and one trait for its kind: [`SourcePlugin`],
//! [`TransformPlugin`], [`WindowPlugin`], [`SinkPlugin`], [`FormatPlugin`] or [`ConnectionPlugin`]. Planning
//! *binds* it: the plugin looks at the schema that comes in, finds its columns (or says which are missing,
//! with a place), and gives the schema that goes out and the object that does the work.
//! [`register!`](crate::register) makes it known by name.

mod aggregate;
mod connection;
mod event_time;
pub mod fold;
mod format;
mod input;
pub mod lift;
mod registry;
mod rejects;
mod rows;
pub mod saved;
mod sink;
mod source;
mod transform;

pub use aggregate::{
    Aggregate, AggregateState, BoundWindow, Groups, PerKey, Ranked, RankedMeaning, ResultMeaning, Results,
    Rows, WindowPlugin,
};
pub use connection::ConnectionPlugin;
pub use event_time::{EventTime, Stamper};
pub use format::{Decoded, Decoder, Encoded, Encoder, FormatPlugin, FormatSpec, RecordMap, RowMap};
pub use input::Input;
pub(crate) use input::type_name;
pub(crate) use registry::Build;
pub use registry::{BindContext, Capability, Plugin, Purpose, Registry};
pub use rejects::{Reject, Rejects, dead_schema, head};
pub use rows::{row_to_json, rows_from_json};
pub use sink::{BoundSink, LogSink, Sink, SinkBody, SinkContext, SinkPlugin};
pub use source::{
    BoundSource, Held, LogSource, Progress, Source, SourceBody, SourceContext, SourceEvent, SourcePlugin,
    SourceReject,
};
pub use transform::{BoundTransform, Reads, Transform, TransformPlugin};

pub use crate::batch::{Batch, Origin, Partition};
pub use crate::config::{ByteSize, DurationText, Kind, Problem, Rate, Secret};
pub use crate::error::{Consequence, Error, Result};
