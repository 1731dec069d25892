//! Log lines of the framework and its libraries, on standard error.

use tracing_subscriber::EnvFilter;

use crate::args::{Global, LogFormat};
use crate::stderr;

/// Starts logging: warnings of our own; with `-v` what happens, with `-vv` everything. `PIPECTL_LOG` has the
/// last word, in the syntax of `tracing`'s filters.
pub(crate) fn start(global: &Global) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (false, 0) if global.log_format == LogFormat::Json => "warn,pipectl=info,librdkafka=off,rdkafka=off",
        // Our own notices say what comes of it.
        (false, 0) => "warn,librdkafka=off,rdkafka=off",
        (false, 1) => "info,librdkafka=warn,rdkafka=warn",
        (false, _) => "debug",
    };
    let filter = EnvFilter::try_from_env("PIPECTL_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| stderr::Writer);
    match global.log_format {
        LogFormat::Text => builder.with_target(false).with_ansi(false).without_time().init(),
        LogFormat::Json => builder.json().init(),
    }
}
