//! The thread that produces and commits.
//!
//! librdkafka's transactional calls block, and its queue has to be polled; so all of it happens here, in the
//! order of the chain's calls.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arrow_array::Array;
use pipectl_framework::clock::said;
use pipectl_framework::error::{Consequence, Error, Result};
use pipectl_framework::log::partitioner::NULL_KEYS;
use pipectl_framework::log::{Append, GroupPositions};
use pipectl_framework::run::FailPoint;
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::metadata::MetadataTopic;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext, PurgeConfig};
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::{Semaphore, oneshot};

use super::assignment::list_of;
use super::client::{Voice, listens};
use super::errors::{error, error_of, transaction};
use super::reader::Token;
use super::refusals::{Refusals, Why};
use super::topics;
use super::writer::by_topic;

/// How long `init_transactions` may take: it waits for the coordinator, and for the transaction that an
/// earlier writer left.
const INIT: Duration = Duration::from_secs(30);
/// One try of a call that can be resumed; between tries the client's own account of what is wrong is heard.
const TRY: Duration = Duration::from_secs(1);
/// How long one poll of the producer waits.
const POLL: Duration = Duration::from_millis(5);
/// How often the producer is polled while the chain asks for nothing.
const IDLE: Duration = Duration::from_millis(100);
/// How many records go between two polls.
const RECORDS_A_POLL: usize = 10_000;
/// How long an abort may take on the way out.
const LAST_ABORT: Duration = Duration::from_secs(1);

/// What the chain asks for.
#[expect(clippy::large_enum_variant, reason = "nearly all are appends, and each is moved once")]
pub(super) enum Order {
    Append(Append),
    Commit { positions: Option<GroupPositions>, done: oneshot::Sender<Result<()>> },
    Abort { done: oneshot::Sender<Result<()>> },
}

/// What the thread is made with.
pub(super) struct Setup {
    pub(super) config: ClientConfig,
    pub(super) brokers: String,
    pub(super) transactional_id: Option<String>,
    pub(super) timeout: Duration,
    pub(super) failure: Arc<Failure>,
    pub(super) refusals: Arc<Refusals>,
    pub(super) ahead: Arc<Semaphore>,
    /// True once nobody waits any more for what this thread does.
    pub(super) given_up: Arc<AtomicBool>,
}

/// Why nothing can be written any more, for every call until the transaction is aborted (or for good).
#[derive(Debug, Default)]
pub(super) struct Failure(Mutex<Option<(Consequence, String, Option<String>)>>);

impl Failure {
    pub(super) fn check(&self) -> Result<()> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some((consequence, message, remedy)) => {
                let error = Error::new(*consequence, message.as_str());
                Err(match remedy {
                    Some(remedy) => error.remedy(remedy.as_str()),
                    None => error,
                })
            }
        }
    }

    /// Keeps the first failure: what follows is its consequence. A fence outranks all.
    fn set(&self, error: &Error) {
        let mut failure = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failure.is_none() || error.consequence() == Consequence::Fenced {
            *failure = Some((error.consequence(), error.to_string(), error.help().map(str::to_owned)));
        }
    }

    /// Keeps this one in the place of what is not final: a record that is refused says why the others of its
    /// batch were not written.
    fn set_refusal(&self, error: &Error) {
        let mut failure = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failure.as_ref().is_none_or(|(consequence, ..)| *consequence == Consequence::Abort) {
            *failure = Some((error.consequence(), error.to_string(), error.help().map(str::to_owned)));
        }
    }

    /// Forgets what an abort has mended.
    fn mend(&self) {
        let mut failure = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failure.as_ref().is_some_and(|(consequence, ..)| *consequence != Consequence::Fenced) {
            *failure = None;
        }
    }
}

/// The context of a producer: only failed records are reported.
#[derive(Debug)]
struct WriteContext {
    voice: Voice,
    failure: Arc<Failure>,
    refusals: Arc<Refusals>,
}

listens!(WriteContext);

impl ProducerContext for WriteContext {
    /// The record's timestamp: the report of one that is refused has none.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, timestamp: usize) {
        use rdkafka::Message;
        let Err((failed, message)) = result else { return };
        let code = failed.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        // An abort throws records out of the queue.
        if matches!(code, RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight) {
            return;
        }
        match self.refusals.hear(code, message, timestamp as i64) {
            Some(Why::Breaks(refused)) => return self.failure.set_refusal(&refused),
            Some(Why::Beside(refused)) => return self.failure.set(&refused),
            None => {}
        }
        let mut failed = error_of(code, &format!("cannot write to topic `{}`: {code}", message.topic()));
        // What passes for a client does not for a record that the client has given up.
        if failed.consequence() == Consequence::Retry {
            failed = Error::abort(failed.to_string());
        }
        self.failure.set(&failed);
    }
}

/// The headers of a record.
fn headers(records: &Append, row: usize) -> Option<OwnedHeaders> {
    let mut there = records.headers.iter().filter(|(_, cells)| cells.is_valid(row)).peekable();
    there.peek()?;
    Some(there.fold(OwnedHeaders::new(), |all, (key, cells)| {
        all.insert(Header { key, value: Some(cells.value(row)) })
    }))
}

/// A record on its way, with its timestamp once more.
type Written<'a> = BaseRecord<'a, [u8], [u8], usize>;

/// Runs the thread until the writer is dropped; `closed` is dropped when the producer is gone.
pub(super) fn run(
    setup: Setup,
    orders: &Receiver<Order>,
    ready: oneshot::Sender<Result<()>>,
    closed: oneshot::Sender<()>,
) {
    match Producing::open(setup) {
        Err(failed) => {
            let _ = ready.send(Err(failed));
        }
        // A writer that nobody waits for any more goes at once.
        Ok(mut producing) => {
            if ready.send(Ok(())).is_ok() {
                producing.go_on(orders);
            }
        }
    }
    drop(closed);
}

struct Producing {
    producer: BaseProducer<WriteContext>,
    failure: Arc<Failure>,
    ahead: Arc<Semaphore>,
    given_up: Arc<AtomicBool>,
    timeout: Duration,
    transactional: bool,
    /// True while a transaction is open.
    open: bool,
    /// Topics that have been seen to be there.
    known: HashSet<Arc<str>>,
}

impl Producing {
    fn open(setup: Setup) -> Result<Self> {
        let transactional = setup.transactional_id.is_some();
        let voice = Voice::new(&setup.brokers, setup.transactional_id.as_deref());
        let context = WriteContext { voice, failure: Arc::clone(&setup.failure), refusals: setup.refusals };
        let producer: BaseProducer<WriteContext> = setup
            .config
            .create_with_context(context)
            .map_err(|e| error("cannot make a Kafka producer", e))?;
        let producing = Self {
            producer,
            failure: setup.failure,
            ahead: setup.ahead,
            given_up: setup.given_up,
            timeout: setup.timeout,
            transactional,
            open: false,
            known: HashSet::new(),
        };
        if transactional {
            producing.init()?;
        }
        Ok(producing)
    }

    fn init(&self) -> Result<()> {
        let doing = "cannot begin writing in transactions";
        let until = Instant::now() + INIT;
        loop {
            let Err(failed) = self.producer.init_transactions(TRY) else { return Ok(()) };
            for _ in 0..topics::EVENTS {
                self.producer.poll(Duration::ZERO);
            }
            let voice = &self.producer.context().voice;
            if let Some(refusal) = voice.refusal() {
                return Err(refusal);
            }
            let KafkaError::Transaction(of) = &failed else { return Err(error(doing, failed)) };
            if !of.is_retriable() {
                return Err(transaction(doing, of));
            }
            if Instant::now() > until {
                return Err(voice.unreachable(doing, Some(&failed)));
            }
        }
    }

    fn go_on(&mut self, orders: &Receiver<Order>) {
        loop {
            match orders.recv_timeout(IDLE) {
                Ok(Order::Append(records)) => {
                    if self.failure.check().is_ok()
                        && let Err(failed) = self.append(&records)
                    {
                        let failed = self.missing(failed);
                        self.failure.set(&failed);
                    }
                    self.ahead.add_permits(1);
                }
                Ok(Order::Commit { positions, done }) => {
                    let committed = self.commit(positions.as_ref()).map_err(|failed| self.missing(failed));
                    if let Err(failed) = &committed {
                        self.failure.set(failed);
                    }
                    let _ = done.send(committed);
                }
                Ok(Order::Abort { done }) => {
                    let aborted = self.abort(self.timeout);
                    let _ = done.send(aborted);
                }
                Err(RecvTimeoutError::Timeout) => self.producer.poll(Duration::ZERO),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        if self.open && self.failure.check().is_ok() {
            // Otherwise readers would wait behind the transaction until the brokers end it.
            let _ = self.abort(LAST_ABORT);
        }
    }

    fn begin(&mut self) -> Result<()> {
        if self.transactional && !self.open {
            self.producer.begin_transaction().map_err(|e| error("cannot begin a transaction", e))?;
            self.open = true;
        }
        Ok(())
    }

    fn append(&mut self, records: &Append) -> Result<()> {
        if !self.known.contains(&records.topic) {
            self.see_topic(&records.topic)?;
        }
        self.begin()?;
        for row in 0..records.values.len() {
            let timestamp = records.timestamps[row];
            if timestamp < 0 {
                return Err(Error::fatal(format!(
                    "a record for topic `{}` has the time {}, and Kafka has no times before 1970",
                    records.topic,
                    said(timestamp)
                )));
            }
            // librdkafka takes 0 for "now".
            let timestamp = timestamp.max(1);
            let mut record = Written::with_opaque_to(&records.topic, timestamp as usize);
            let null_key = records.keys.as_ref().is_some_and(|keys| keys.is_null(row));
            record.partition = records.partition.or_else(|| null_key.then_some(NULL_KEYS.cast_signed()));
            record.timestamp = Some(timestamp);
            record.key = records.keys.as_ref().filter(|keys| keys.is_valid(row)).map(|keys| keys.value(row));
            record.payload = records.values.is_valid(row).then(|| records.values.value(row));
            record.headers = headers(records, row);
            self.send(record)?;
            if row % RECORDS_A_POLL == RECORDS_A_POLL - 1 {
                self.producer.poll(Duration::ZERO);
                self.failure.check()?;
            }
        }
        Ok(())
    }

    /// Puts a record into the queue, waiting for room there: a record is never dropped for want of it.
    fn send(&self, mut record: Written<'_>) -> Result<()> {
        let mut since = None;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.producer.poll(POLL);
                    self.failure.check()?;
                    let since = *since.get_or_insert_with(Instant::now);
                    if since.elapsed() > self.timeout {
                        let voice = &self.producer.context().voice;
                        return Err(voice.unreachable("the queue of records to write is full", None));
                    }
                }
                Err((failed, record)) => {
                    // A record that failed before says why nothing is taken any more.
                    for _ in 0..topics::EVENTS {
                        self.producer.poll(Duration::ZERO);
                        self.failure.check()?;
                    }
                    let doing = format!("cannot write to topic `{}`", record.topic);
                    return Err(error(&doing, failed));
                }
            }
        }
    }

    /// librdkafka waits half a minute for a topic to appear; a chain wants to know at once.
    fn see_topic(&mut self, topic: &Arc<str>) -> Result<()> {
        let found = self.producer.client().fetch_metadata(Some(topic), self.timeout);
        let doing = || format!("cannot write to topic `{topic}`");
        let found = found.map_err(|e| self.producer.context().voice.unreachable(&doing(), Some(&e)))?;
        let found = found.topics().iter().find(|found| found.name() == &**topic);
        match found.map(|found| found.error().map(RDKafkaErrorCode::from)) {
            Some(None) => {
                self.known.insert(Arc::clone(topic));
                Ok(())
            }
            None | Some(Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)) => {
                Err(topics::unknown(topic))
            }
            Some(Some(code)) => Err(error_of(code, &format!("{}: {code}", doing()))),
        }
    }

    /// Brokers say nothing of a topic that was deleted: records for it are not taken until their time is up.
    /// Where that is why, says so.
    fn missing(&self, failed: Error) -> Error {
        if !matches!(failed.consequence(), Consequence::Retry | Consequence::Abort) {
            return failed;
        }
        for topic in &self.known {
            let Ok(found) = self.producer.client().fetch_metadata(Some(topic), TRY) else { return failed };
            let found = found.topics().iter().find(|found| found.name() == &**topic);
            let code = found.and_then(MetadataTopic::error).map(RDKafkaErrorCode::from);
            if matches!(
                code,
                Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)
            ) {
                let what = format!("topic `{topic}` was deleted while it was written");
                return Error::abort(what).remedy(
                    "stop a pipeline before a topic that it writes is deleted: what was in it is gone",
                );
            }
        }
        failed
    }

    /// Waits until the queue is empty: a commit that finds records in it takes 100 ms, after this 3.
    fn drain(&self, until: Instant) -> Result<()> {
        while self.producer.in_flight_count() > 0 {
            self.producer.poll(POLL);
            self.failure.check()?;
            if Instant::now() > until {
                return Err(Error::abort("the brokers did not take all records in time"));
            }
        }
        self.failure.check()
    }

    fn commit(&mut self, positions: Option<&GroupPositions>) -> Result<()> {
        self.failure.check()?;
        let until = Instant::now() + self.timeout;
        self.drain(until)?;
        if !self.transactional {
            return positions.map_or(Ok(()), commit_alone);
        }
        if let Some(positions) = positions.filter(|positions| !positions.positions.is_empty()) {
            self.begin()?;
            FailPoint::SendingOffsets.pass();
            self.send_offsets(positions, until)?;
            FailPoint::OffsetsSent.pass();
        }
        if !self.open {
            return Ok(());
        }
        if self.given_up.load(Relaxed) {
            return Err(Error::abort("the chain did not wait for this commit"));
        }
        self.retried(until, "cannot commit a transaction", |producer, timeout| {
            producer.commit_transaction(timeout)
        })?;
        FailPoint::TransactionCommitted.pass();
        self.open = false;
        Ok(())
    }

    fn send_offsets(&self, positions: &GroupPositions, until: Instant) -> Result<()> {
        let token = token(positions)?;
        let doing = "cannot commit positions";
        for (topic, positions) in by_topic(&positions.positions) {
            let list = list_of(&positions).map_err(|e| error(doing, e))?;
            let part = part(token, &topic)?;
            self.retried(until, doing, |producer, timeout| {
                producer.send_offsets_to_transaction(&list, &part.standing.0, timeout)
            })?;
        }
        Ok(())
    }

    /// A transactional call, again where librdkafka says that it may be.
    fn retried(
        &self,
        until: Instant,
        doing: &str,
        call: impl Fn(&BaseProducer<WriteContext>, Duration) -> Result<(), KafkaError>,
    ) -> Result<()> {
        loop {
            let left = until.saturating_duration_since(Instant::now()).max(POLL);
            let Err(failed) = call(&self.producer, left) else { return Ok(()) };
            self.producer.poll(Duration::ZERO);
            // A record that failed says more than the transaction that fails for it.
            self.failure.check()?;
            match &failed {
                KafkaError::Transaction(of) if of.is_retriable() && Instant::now() < until => {}
                KafkaError::Transaction(of) => return Err(transaction(doing, of)),
                KafkaError::Flush(_) => return Err(Error::abort(doing).caused_by(failed)),
                _ => return Err(error(doing, failed)),
            }
        }
    }

    fn abort(&mut self, timeout: Duration) -> Result<()> {
        if let Err(fenced) = self.failure.check()
            && fenced.consequence() == Consequence::Fenced
        {
            return Err(fenced);
        }
        self.failure.mend();
        if !self.open {
            return Ok(());
        }
        // What is in the queue goes out first: an abort before the brokers know of the transaction's
        // partitions meets the state of the transaction before it, and is refused.
        let now = Instant::now();
        while self.producer.in_flight_count() > 0 && now.elapsed() < timeout / 2 {
            self.producer.poll(POLL);
        }
        self.producer.purge(PurgeConfig::default().queue());
        self.producer.poll(Duration::ZERO);
        self.failure.mend();
        let until = now + timeout;
        let aborted = self.retried(until, "cannot abort a transaction", |producer, timeout| {
            producer.abort_transaction(timeout)
        });
        self.failure.mend();
        match &aborted {
            Ok(()) => self.open = false,
            Err(failed) => self.failure.set(failed),
        }
        aborted
    }
}

/// Positions for a writer without transactions: after the records, by the consumer itself.
fn commit_alone(positions: &GroupPositions) -> Result<()> {
    let token = token(positions)?;
    for (topic, positions) in by_topic(&positions.positions) {
        part(token, &topic)?.commit(&positions)?;
    }
    Ok(())
}

fn token(positions: &GroupPositions) -> Result<&Token> {
    let token = positions.membership.token::<Token>();
    token.ok_or_else(|| Error::fatal("the positions come from a reader of another log"))
}

fn part<'a>(token: &'a Token, topic: &str) -> Result<&'a super::reader::TokenPart> {
    let part = token.parts.iter().find(|part| *part.topic == *topic);
    part.ok_or_else(|| Error::abort(format!("topic `{topic}` is not one that this reader reads")))
}
