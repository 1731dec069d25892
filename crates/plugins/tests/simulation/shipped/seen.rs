//! What is seen of a process: the rows that its sinks outside the log get, and how far its files are read. A
//! recorder stands in for such a sink once the chain is planned, so that what is promised comes from what the
//! real one declares.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use pipectl_framework::error::Result;
use pipectl_framework::graph::{NodeBody, Plan};
use pipectl_framework::log::Position;
use pipectl_framework::plugin::{
    Batch, BoundSource, Progress, Sink, SinkContext, Source, SourceBody, SourceContext, SourceEvent,
    row_to_json,
};

use pipectl_framework::testing::simulation::{Call, Process, World};

/// A row that a sink got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) time: i64,
    pub(crate) value: String,
}

/// How far a file was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given {
    /// The time by the process's clock when it was opened first.
    pub(crate) opened: i64,
    pub(crate) rows: u64,
}

#[derive(Default)]
pub(crate) struct Notes {
    /// By `CHAIN.STEP` and process: the rows of each time that the sink was opened.
    pub(crate) sinks: BTreeMap<(String, u64), Vec<Vec<Shown>>>,
    /// By chain and process.
    pub(crate) sources: BTreeMap<(String, u64), Given>,
}

#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Notes>>);

impl Seen {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where things go wrong; nowhere in an undisturbed run.
#[derive(Clone, Default)]
pub(crate) struct Gate(pub(crate) Option<(Arc<World>, Arc<Process>)>);

impl Gate {
    async fn pass(&self, call: Call) -> Result<()> {
        match &self.0 {
            Some((world, process)) => world.point(process, call).await,
            None => Ok(()),
        }
    }
}

/// Puts a recorder in the place of every sink that is no topic, and watches every source that is none.
pub(crate) fn watched(plan: Plan, seen: &Seen, process: u64, gate: &Gate) -> Plan {
    let chains = plan.chains.into_iter().map(|mut chain| {
        for node in &mut chain.nodes {
            if let NodeBody::Sink(sink) = &mut node.body {
                let at = (format!("{}.{}", node.chain, node.id), process);
                *sink = Box::new(Recorder { at, seen: seen.clone(), gate: gate.clone() });
            }
        }
        let BoundSource { schema, bounded, passing, body } = chain.source.bound;
        let body = match body {
            SourceBody::Custom(inner, partition) => {
                let at = (chain.name.clone(), process);
                let watched = Watched { inner, at, seen: seen.clone(), gate: gate.clone() };
                SourceBody::Custom(Box::new(watched), partition)
            }
            topic @ SourceBody::Log(_) => topic,
        };
        chain.source.bound = BoundSource { schema, bounded, passing, body };
        chain
    });
    Plan { chains: chains.collect(), ..plan }
}

struct Recorder {
    at: (String, u64),
    seen: Seen,
    gate: Gate,
}

#[async_trait]
impl Sink for Recorder {
    async fn open(&mut self, _context: &SinkContext) -> Result<()> {
        self.gate.pass(Call::Other).await?;
        self.seen.lock().sinks.entry(self.at.clone()).or_default().push(Vec::new());
        Ok(())
    }

    async fn write(&mut self, batch: &Batch) -> Result<()> {
        self.gate.pass(Call::Other).await?;
        let mut notes = self.seen.lock();
        let rows = notes.sinks.get_mut(&self.at).and_then(|tries| tries.last_mut()).expect("it is open");
        rows.extend((0..batch.rows()).map(|row| Shown {
            partition: batch.origin().partition.index,
            offset: batch.origin().offsets[row],
            time: batch.times()[row],
            value: row_to_json(batch.columns(), row).to_string(),
        }));
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        self.gate.pass(Call::Other).await
    }
}

struct Watched {
    inner: Box<dyn Source>,
    at: (String, u64),
    seen: Seen,
    gate: Gate,
}

#[async_trait]
impl Source for Watched {
    async fn open(&mut self, context: &SourceContext, position: Option<&Position>) -> Result<()> {
        self.gate.pass(Call::Reader).await?;
        let opened = Given { opened: context.clock.now(), rows: 0 };
        self.seen.lock().sources.entry(self.at.clone()).or_insert(opened);
        self.inner.open(context, position).await
    }

    async fn next(&mut self) -> Result<SourceEvent> {
        self.gate.pass(Call::Next).await?;
        let event = self.inner.next().await?;
        if let SourceEvent::Batch { position, .. } = &event
            && let Some(given) = self.seen.lock().sources.get_mut(&self.at)
        {
            given.rows = position.offset as u64;
        }
        Ok(event)
    }

    async fn commit(&mut self, position: &Position) -> Result<()> {
        self.inner.commit(position).await
    }

    fn progress(&self) -> Option<Progress> {
        self.inner.progress()
    }
}
