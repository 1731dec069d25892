//! The source and the sink of a test.

use std::sync::{Arc, Mutex};

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::batch::{Batch, Origin, Partition};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::log::Position;
use crate::plugin::{Sink, SinkContext, Source, SourceContext, SourceEvent, row_to_json, rows_from_json};

/// Puts rows in.
pub(super) struct Feed {
    partition: Partition,
    schema: SchemaRef,
    clock: Clock,
    next: i64,
    batches: mpsc::UnboundedSender<Batch>,
}

/// Gives them to the chain.
pub(super) struct FeedSource {
    partition: Partition,
    batches: mpsc::UnboundedReceiver<Batch>,
    caught_up: bool,
}

pub(super) fn feed(name: &str, schema: SchemaRef, clock: Clock) -> (Feed, FeedSource) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let partition = Partition::new(name, 0);
    let feed = Feed { partition: partition.clone(), schema, clock, next: 0, batches: sender };
    (feed, FeedSource { partition, batches: receiver, caught_up: false })
}

impl Feed {
    pub(super) fn send(&mut self, rows: &[Value]) -> Result<(), String> {
        let columns = rows_from_json(&self.schema, rows).map_err(|e| {
            let read: Vec<_> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
            format!("{e}; what the graph reads of `{}` is: {}", self.partition.source, read.join(", "))
        })?;
        let count = rows.len() as i64;
        let origin = Origin {
            partition: self.partition.clone(),
            offsets: (self.next..self.next + count).collect(),
            replay: false,
        };
        self.next += count;
        let now = self.clock.stamp();
        let batch =
            Batch::new(columns, rows.iter().map(|_| now).collect(), origin).map_err(|e| e.to_string())?;
        self.batches.send(batch).map_err(|_| "the chain has ended".to_owned())
    }
}

#[async_trait]
impl Source for FeedSource {
    async fn open(&mut self, _context: &SourceContext, _position: Option<&Position>) -> Result<()> {
        Ok(())
    }

    async fn next(&mut self) -> Result<SourceEvent> {
        if self.batches.is_empty() && !self.caught_up && !self.batches.is_closed() {
            self.caught_up = true;
            return Ok(SourceEvent::CaughtUp);
        }
        let Some(batch) = self.batches.recv().await else { return Ok(SourceEvent::End) };
        self.caught_up = false;
        let next = batch.origin().offsets.last().map_or(0, |o| o + 1);
        let position = Position { partition: self.partition.clone(), offset: next, metadata: String::new() };
        Ok(SourceEvent::Batch { batch, rejects: Vec::new(), position })
    }
}

/// Keeps the rows that come out.
#[derive(Clone, Default)]
pub(super) struct Collector(Arc<Mutex<Vec<Value>>>);

impl Collector {
    pub(super) fn take(&self) -> Vec<Value> {
        self.0.lock().map_or_else(|_| Vec::new(), |mut rows| std::mem::take(&mut *rows))
    }
}

#[async_trait]
impl Sink for Collector {
    async fn open(&mut self, _context: &SinkContext) -> Result<()> {
        Ok(())
    }

    async fn write(&mut self, batch: &Batch) -> Result<()> {
        let mut rows = self.0.lock().map_err(|_| Error::fatal("a test failed while it read its rows"))?;
        rows.extend((0..batch.rows()).map(|row| row_to_json(batch.columns(), row)));
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}
