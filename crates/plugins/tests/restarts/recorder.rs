//! A sink of a plugin's own: it keeps the ids of its rows in a file, as something outside of the log would.

use std::io::Write as _;
use std::path::PathBuf;

use async_trait::async_trait;
use pipectl_framework::error::Error;
use pipectl_framework::plugin::{
    Batch, BindContext, BoundSink, Input, Problem, Result, Sink, SinkContext, SinkPlugin, row_to_json,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Job;

/// Keeps the ids of its rows in a file.
#[derive(Debug, Deserialize, JsonSchema)]
struct Recorder {
    path: String,
}

pipectl_framework::register!(sink: Recorder);

impl SinkPlugin for Recorder {
    const NAME: &'static str = "recorder";
    const SUMMARY: &'static str = "keeps the ids of its rows in a file";
    const EXAMPLE: &'static str = "- sink: recorder\n  with: { path: ids }\n";

    fn bind(self, _: &Input, context: &BindContext<'_>) -> std::result::Result<BoundSink, Problem> {
        Ok(BoundSink::custom(Recording { path: context.path(&self.path), ids: String::new() }))
    }
}

struct Recording {
    path: PathBuf,
    /// What is not in the file yet, a line each.
    ids: String,
}

#[async_trait]
impl Sink for Recording {
    async fn open(&mut self, _: &SinkContext) -> Result<()> {
        self.ids.clear();
        Ok(())
    }

    async fn write(&mut self, batch: &Batch) -> Result<()> {
        for row in 0..batch.rows() {
            let id = row_to_json(batch.columns(), row)["id"].clone();
            self.ids += &id.as_str().map_or_else(|| id.to_string(), str::to_owned);
            self.ids.push('\n');
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&self.path);
        let written = file.and_then(|mut file| file.write_all(self.ids.as_bytes()));
        written.map_err(|e| Error::fatal("the ids could not be kept").caused_by(e))?;
        self.ids.clear();
        Ok(())
    }
}

impl Job {
    /// The ids that a recorder has kept in the file `recorded`, sorted.
    pub(crate) fn recorded(&self) -> Vec<i64> {
        let text = std::fs::read_to_string(self.path().join("recorded")).unwrap();
        let mut ids: Vec<i64> = text.lines().map(|id| id.parse().unwrap()).collect();
        ids.sort_unstable();
        ids
    }
}
