//! What was written in the file: parsed with positions, nothing resolved.
//!
//! [`Document::parse`] gives what the file says, or every [`Diagnostic`] it deserves. Plugins see their
//! `with:` through serde ([`Node::deserialize`]) and answer with a [`Problem`] at a path inside it; this room
//! finds the place.

mod de;
mod diagnostic;
mod document;
mod interpolate;
mod place;
mod problem;
mod retry;
mod scalars;
mod secret;
mod set;
mod shape;
mod start;
mod step;
mod suggest;
mod was;
mod yaml;

pub(crate) use de::serde_problem;
pub use diagnostic::{Diagnostic, Label, Severity, render, render_json};
pub use document::{
    ChainDecl, ConnectionDecl, DeliveryDecl, Document, Head, Kind, OnErrorDecl, Output, StepDecl, StepRef,
    Written,
};
pub use place::{Place, SourceFile};
pub use problem::Problem;
pub use retry::{Retry, RetryDecl};
pub use scalars::{ByteSize, DurationText, Rate, Retention};
pub use secret::Secret;
pub use start::StartAt;
pub use suggest::nearest;
pub use yaml::{Entry, MAX_BYTES, Node, Value};
