//! The window operator: which windows a row belongs to, what is kept until they close, and when they do. Pure
//! and synchronous; the chain loop tells it what was read and what time it is.
//!
//! State is kept in panes, per partition of the input: a row is added to one pane however many windows
//! overlap, a window is put together from its panes when it closes, and a partition that goes to another
//! worker takes its part with it.

mod assigned;
mod fingerprint;
mod fire;
mod fragments;
mod homes;
mod incoming;
mod keys;
mod movers;
mod operator;
mod position;
mod progress;
mod restored;
mod result;
mod room;
mod rows;
mod session_rows;
mod sessions;
mod settings;
mod sliding;
mod snapshot;
mod tally;
mod updates;
mod work;

#[cfg(test)]
mod channels;
#[cfg(test)]
mod soak;
#[cfg(test)]
mod tests;

pub use fingerprint::Fingerprint;
pub(crate) use movers::{Lateness, Mover, Row};
pub use operator::{Ran, WindowOperator, WindowOutput};
pub use restored::{Given, Restored};
pub(crate) use result::{MOST_AHEAD, window_partition};
pub use settings::{Emit, KeyNames, Shape, TimeMode, WindowKeys, WindowSettings, ZeroFill, ZeroFillName};
pub use snapshot::SavedPart;
