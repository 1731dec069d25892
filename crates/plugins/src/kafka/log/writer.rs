//! The chain's end of writing: orders to the thread that produces.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use async_trait::async_trait;
use pipectl_framework::error::{Error, Result};
use pipectl_framework::log::{
    Append, GroupPositions, LogWriter, MAX_METADATA, Position, Refused, WriterOptions,
};
use tokio::sync::{Semaphore, oneshot};

use super::limits::Limits;
use super::producer::{Failure, Order, Setup, run};
use super::refusals::Refusals;
use super::settings::KafkaSettings;

/// How many appends may wait for the thread: one to work on while the chain makes the next.
const AHEAD: usize = 2;
/// How long closing may take before the thread is left to itself.
const CLOSE: Duration = Duration::from_secs(2);
/// How much longer than its time-out a commit or an abort may take. librdkafka's
/// `send_offsets_to_transaction` takes no account of its own while the group's coordinator is gone
/// (confluentinc/librdkafka issues 5456 and 5511): it may stand until some broker's connection comes or goes.
const OVERDUE: Duration = Duration::from_secs(1);

/// A writer of a [`KafkaLog`](super::KafkaLog).
#[derive(Debug)]
pub(super) struct KafkaWriter {
    orders: Sender<Order>,
    failure: Arc<Failure>,
    refusals: Arc<Refusals>,
    ahead: Arc<Semaphore>,
    closed: oneshot::Receiver<()>,
    /// The time-out of a commit and an abort.
    timeout: Duration,
    /// True once the thread did not come back in time: it is left to itself, and must not commit any more.
    given_up: Arc<AtomicBool>,
}

fn gone() -> Error {
    Error::retry("the thread that writes to Kafka has ended")
}

impl KafkaWriter {
    /// Makes the producer and, for transactions, fences whoever has the id.
    ///
    /// `limits` is what the topics take, as far as is known.
    pub(super) async fn open(
        settings: &KafkaSettings,
        options: &WriterOptions,
        limits: &Arc<Limits>,
    ) -> Result<Self> {
        let (orders, taken) = channel();
        let (closing, closed) = oneshot::channel();
        let (ready, opened) = oneshot::channel();
        let failure = Arc::new(Failure::default());
        let refusals = Arc::new(Refusals::new(limits));
        let ahead = Arc::new(Semaphore::new(AHEAD));
        let given_up = Arc::new(AtomicBool::new(false));
        let timeout = options.transaction_timeout;
        let id = options.transactional_id.as_deref();
        let setup = Setup {
            config: settings.producer(id, options.transaction_timeout, limits.least()),
            brokers: settings.brokers.clone(),
            transactional_id: options.transactional_id.clone(),
            timeout,
            failure: Arc::clone(&failure),
            refusals: Arc::clone(&refusals),
            ahead: Arc::clone(&ahead),
            given_up: Arc::clone(&given_up),
        };
        let name = options.transactional_id.as_deref().unwrap_or("without transactions");
        std::thread::Builder::new()
            .name(format!("write {name}"))
            .spawn(move || run(setup, &taken, ready, closing))
            .map_err(|e| Error::retry("cannot start a thread").caused_by(e))?;
        opened.await.map_err(|_| gone())??;
        Ok(Self { orders, failure, refusals, ahead, closed, timeout, given_up })
    }

    async fn ask(&self, order: impl FnOnce(oneshot::Sender<Result<()>>) -> Order) -> Result<()> {
        if self.given_up.load(Relaxed) {
            return Err(gone());
        }
        let (done, answer) = oneshot::channel();
        self.orders.send(order(done)).map_err(|_| gone())?;
        match tokio::time::timeout(self.timeout + OVERDUE, answer).await {
            Ok(answer) => answer.map_err(|_| gone())?,
            Err(_) => {
                self.given_up.store(true, Relaxed);
                Err(Error::abort("Kafka's client waits for the group's coordinator for longer than it may")
                    .remedy("nothing to do: the chain goes on with a new client"))
            }
        }
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

    fn refused(&mut self) -> Vec<Refused> {
        self.refusals.take()
    }

    async fn close(self: Box<Self>) -> Result<()> {
        drop(self.orders);
        if self.given_up.load(Relaxed) {
            return Ok(());
        }
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
