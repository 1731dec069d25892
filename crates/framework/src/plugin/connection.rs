//! Connections: the logs that a file names under `connections:`.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::BindContext;
use crate::config::Problem;
use crate::error::Result;
use crate::log::Log;

/// The configuration of a connection: what stands under its name in `connections:`.
pub trait ConnectionPlugin: DeserializeOwned + JsonSchema + 'static {
    /// The name in the file.
    const NAME: &'static str;
    /// One line for `pipectl plugins`.
    const SUMMARY: &'static str;
    /// The value in YAML, that `describe` prints and a test binds.
    const EXAMPLE: &'static str;

    /// Called while planning: makes the log's client without connecting to anything. Files that the settings
    /// name (certificates) start at [`BindContext::path`].
    ///
    /// # Errors
    /// A [`Problem`] with the path of the offending value.
    fn bind(self, context: &BindContext<'_>) -> Result<Arc<dyn Log>, Problem>;
}
