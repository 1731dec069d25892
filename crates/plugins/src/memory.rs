//! The `memory` sink: keeps rows in this process, for tests.
//!
//! Rows can be taken once they are flushed, so that a test sees what a sink with a durable end would have:
//! rows whose chain failed before a flush, and wrote them again, are there once.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use pipectl_framework::plugin::{
    Batch, BindContext, BoundSink, Input, Problem, Result, Sink, SinkContext, SinkPlugin,
};
use pipectl_framework::register;
use schemars::JsonSchema;
use serde::Deserialize;

static STORE: LazyLock<Mutex<HashMap<String, Vec<Batch>>>> = LazyLock::new(Mutex::default);

fn store() -> MutexGuard<'static, HashMap<String, Vec<Batch>>> {
    STORE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the rows that sinks of this name have flushed since the last call, in the order in which they came.
pub fn take(name: &str) -> Vec<Batch> {
    store().remove(name).unwrap_or_default()
}

/// Keeps rows in this process.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Memory {
    /// The name under which a test takes the rows. Sinks with the same name share it.
    name: String,
}

register!(sink: Memory);

impl SinkPlugin for Memory {
    const NAME: &'static str = "memory";
    const SUMMARY: &'static str = "keeps rows in this process, for tests";
    const EXAMPLE: &'static str = "\
- sink: memory
  with: { name: results }
";

    fn bind(self, _input: &Input, _context: &BindContext<'_>) -> Result<BoundSink, Problem> {
        Ok(BoundSink::custom(MemorySink { name: self.name, pending: Vec::new() }))
    }
}

struct MemorySink {
    name: String,
    pending: Vec<Batch>,
}

#[async_trait]
impl Sink for MemorySink {
    async fn open(&mut self, _context: &SinkContext) -> Result<()> {
        self.pending.clear();
        Ok(())
    }

    async fn write(&mut self, batch: &Batch) -> Result<()> {
        self.pending.push(batch.clone());
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        if !self.pending.is_empty() {
            store().entry(self.name.clone()).or_default().append(&mut self.pending);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pipectl_framework::clock::Clock;

    use super::*;
    use crate::format::testing::{batch, texts};

    #[tokio::test]
    async fn rows_are_there_once_they_are_flushed_and_only_once() {
        let rows = |cell| batch(vec![("a", texts(&[Some(cell)]))]);
        let mut sink = MemorySink { name: "memory-test".into(), pending: Vec::new() };
        let context = SinkContext { clock: Clock::system(), figures: Arc::new([]) };
        sink.open(&context).await.unwrap();
        sink.write(&rows("1")).await.unwrap();
        assert!(take("memory-test").is_empty());
        sink.open(&context).await.unwrap(); // the chain failed, and reads again
        sink.write(&rows("1")).await.unwrap();
        sink.write(&rows("2")).await.unwrap();
        sink.flush().await.unwrap();
        let taken: Vec<_> = take("memory-test").into_iter().map(|b| b.columns().clone()).collect();
        assert_eq!(taken, [rows("1").columns().clone(), rows("2").columns().clone()]);
        assert!(take("memory-test").is_empty());
    }
}
