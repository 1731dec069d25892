//! The `stdout` sink: rows on standard output, to look at or to pipe on.
//!
//! The rows of a batch are written at once, so that lines of several sinks never mix inside. A reader that
//! goes away (`| head`) ends the run with an error that says so: rows that nobody reads would be lost
//! otherwise.

mod render;

use std::io::{self, Write};

use async_trait::async_trait;
use pipectl_framework::plugin::{
    Batch, BindContext, BoundSink, Error, Input, Problem, Rejects, Result, Sink, SinkContext, SinkPlugin,
};
use pipectl_framework::register;
use schemars::JsonSchema;
use serde::Deserialize;

use render::Renderer;

use crate::format::NonFinite;

/// Rows on standard output.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Stdout {
    /// `json`, an object a line (default); `csv`, with a header; or `table`, for a person. Times are written
    /// as RFC 3339.
    #[serde(default)]
    format: Form,
    /// What becomes of a row with a number that is NaN or infinite: `reject` leaves it to `on_error` (default
    /// with `json`, which has no form for it), `null` writes what a null is, `text` writes `NaN`, `Infinity`
    /// or `-Infinity` (default with `csv` and `table`).
    #[serde(default, deserialize_with = "NonFinite::given")]
    #[schemars(with = "Option<NonFinite>")]
    non_finite: Option<NonFinite>,
}

/// How rows look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Form {
    #[default]
    Json,
    Csv,
    Table,
}

register!(sink: Stdout);

impl SinkPlugin for Stdout {
    const NAME: &'static str = "stdout";
    const SUMMARY: &'static str = "rows on standard output, as JSON, CSV or a table";
    const EXAMPLE: &'static str = "\
- sink: stdout
  with: { format: table }
";

    fn bind(self, input: &Input, _context: &BindContext<'_>) -> Result<BoundSink, Problem> {
        let renderer = Renderer::new(self.format, self.non_finite, input)?;
        Ok(BoundSink::custom(StdoutSink { renderer, out: Vec::new() }))
    }
}

struct StdoutSink {
    renderer: Renderer,
    /// The bytes of a batch; kept for its memory.
    out: Vec<u8>,
}

#[async_trait]
impl Sink for StdoutSink {
    async fn open(&mut self, _context: &SinkContext) -> Result<()> {
        Ok(())
    }

    fn unusable(&mut self, batch: &Batch, rejects: &mut Rejects) -> Result<()> {
        self.renderer.unusable(batch, rejects)
    }

    async fn write(&mut self, batch: &Batch) -> Result<()> {
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        self.renderer.render(batch, &mut out)?;
        // A reader that is slow, such as a pager, must not hold up the other chains of this thread.
        let written = tokio::task::spawn_blocking(move || {
            let mut stdout = io::stdout().lock();
            stdout.write_all(&out).and_then(|()| stdout.flush()).map(|()| out)
        });
        let written =
            written.await.map_err(|e| Error::fatal("standard output could not be written").caused_by(e))?;
        self.out = written.map_err(failed)?;
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Whoever read standard output has enough, as `head` in `pipectl run FILE | head`. What a program does about
/// it is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a broken pipe")]
pub struct ReaderHasGone;

fn failed(error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Error::fatal("the reader of standard output has gone")
            .caused_by(ReaderHasGone)
            .remedy("let it read to the end, or limit the rows at their source");
    }
    Error::fatal("standard output cannot be written")
        .caused_by(error)
        .remedy("see that what it is sent to is there and has room")
}
