//! The chain's end of writing: orders to the thread that produces.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use async_trait::async_trait;
use pipectl_framework::error::{Error, Result};
use pipectl_framework::log::{Append, GroupPositions, LogWriter, MAX_METADATA, Position, WriterOptions};
use tokio::sync::{Semaphore, oneshot};

use super::producer::{Failure, Order, Setup, run};
use super::settings::KafkaSettings;

/// How many appends may wait for the thread: one to work on while the chain makes the next.
const AHEAD: usize = 2;
/// How long closing may take before the thread is left to itself.
const CLOSE: Duration = Duration::from_secs(2);

/// A writer of a [`KafkaLog`](super::KafkaLog).
#[derive(Debug)]
pub(super) struct KafkaWriter {
    orders: Sender<Order>,
    failure: Arc<Failure>,
    ahead: Arc<Semaphore>,
    closed: oneshot::Receiver<()>,
}

fn gone() -> Error {
    Error::retry("the thread that writes to Kafka has ended")
}

impl KafkaWriter {
    /// Makes the producer and, for transactions, fences whoever has the id.
    pub(super) async fn open(settings: &KafkaSettings, options: &WriterOptions) -> Result<Self> {
        let (orders, taken) = channel();
        let (closing, closed) = oneshot::channel();
        let (ready, opened) = oneshot::channel();
        let failure = Arc::new(Failure::default());
        let ahead = Arc::new(Semaphore::new(AHEAD));
        let setup = Setup {
            config: settings.producer(options.transactional_id.as_deref(), options.transaction_timeout),
            brokers: settings.brokers.clone(),
            transactional_id: options.transactional_id.clone(),
            timeout: options.transaction_timeout,
            failure: Arc::clone(&failure),
            ahead: Arc::clone(&ahead),
        };
        let name = options.transactional_id.as_deref().unwrap_or("without transactions");
        std::thread::Builder::new()
            .name(format!("write {name}"))
            .spawn(move || run(setup, &taken, ready, closing))
            .map_err(|e| Error::retry("cannot start a thread").caused_by(e))?;
        opened.await.map_err(|_| gone())??;
        Ok(Self { orders, failure, ahead, closed })
    }

    async fn ask(&self, order: impl FnOnce(oneshot::Sender<Result<()>>) -> Order) -> Result<()> {
        let (done, answer) = oneshot::channel();
        self.orders.send(order(done)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

#[async_trait]
impl LogWriter for KafkaWriter {
    async fn append(&mut self, records: Append) -> Result<()> {
        self.failure.check()?;
        let room = self.ahead.acquire().await.map_err(|_| gone())?;
        // The thread gives it back when it is done with the append.
        room.forget();
        self.failure.check()?;
        self.orders.send(Order::Append(records)).map_err(|_| gone())
    }

    async fn commit(&mut self, positions: Option<GroupPositions>) -> Result<()> {
        if let Some(positions) = &positions
            && let Some(long) = positions.positions.iter().find(|p| p.metadata.len() > MAX_METADATA)
        {
            return Err(Error::fatal(format!(
                "the metadata of the position in {} has {} bytes, {MAX_METADATA} are the most",
                long.partition,
                long.metadata.len()
            )));
        }
        self.ask(|done| Order::Commit { positions, done }).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.ask(|done| Order::Abort { done }).await
    }

    async fn close(self: Box<Self>) -> Result<()> {
        drop(self.orders);
        if tokio::time::timeout(CLOSE, self.closed).await.is_err() {
            tracing::warn!("a Kafka producer takes more than {CLOSE:?} to close; it is left to itself");
        }
        Ok(())
    }
}

/// Positions by topic.
pub(super) fn by_topic(positions: &[Position]) -> BTreeMap<Arc<str>, Vec<Position>> {
    let mut by_topic: BTreeMap<Arc<str>, Vec<Position>> = BTreeMap::new();
    for position in positions {
        by_topic.entry(Arc::clone(&position.partition.source)).or_default().push(position.clone());
    }
    by_topic
}
