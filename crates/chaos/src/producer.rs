//! Unique records at a steady rate, each with about the time at which it is made.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;

use crate::cluster::Cluster;
use crate::monitor::{Arrivals, GRAIN};
use crate::time::now;
use crate::{Error, KEYS, PARTITIONS, Result};

/// How far a record's time may lie behind, in milliseconds: some more than the file's `out_of_orderness`, so
/// that a few rows are late, and those of a window that has closed stand among those of one that is open.
const SPREAD: usize = 300;
/// How often records are made.
const TICK: Duration = Duration::from_millis(10);

/// What the brokers have said of the records.
#[derive(Default)]
struct Acknowledged {
    ids: Mutex<Vec<bool>>,
    refused: AtomicU64,
    /// When the records of each partition were made and acknowledged, some of them.
    arrivals: Mutex<Arrivals>,
}

#[derive(Clone)]
struct Context(Arc<Acknowledged>);

impl ClientContext for Context {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, _: KafkaError, _: &str) {}
}

impl ProducerContext for Context {
    /// The record's id, and when it was made.
    type DeliveryOpaque = Box<(usize, i64)>;

    fn delivery(&self, result: &DeliveryResult<'_>, record: Box<(usize, i64)>) {
        if result.is_err() {
            self.0.refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let (id, made) = *record;
        let mut ids = self.0.ids.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.len() <= id {
            ids.resize(id + 1, false);
        }
        ids[id] = true;
        let mut arrivals = self.0.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = partition_of(id % KEYS);
        if arrivals.latest(lane).is_none_or(|latest| made >= latest + GRAIN) {
            arrivals.note(lane, made, now());
        }
    }
}

/// The thread that makes records.
pub(crate) struct Records {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Acknowledged>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Records {
    /// Begins to write to a topic, so many records a second.
    pub(crate) fn start(cluster: &Cluster, topic: &str, rate: usize) -> Result<Self> {
        let acknowledged = Arc::new(Acknowledged::default());
        let producer: BaseProducer<Context> = cluster
            .client()
            .set("enable.idempotence", "true")
            .set("linger.ms", "5")
            .set("message.timeout.ms", "120000")
            .create_with_context(Context(Arc::clone(&acknowledged)))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, topic) = (Arc::clone(&stop), topic.to_owned());
        let thread = std::thread::spawn(move || make(&producer, &topic, rate, &stopped));
        Ok(Self { stop, acknowledged, thread: Some(thread) })
    }

    /// Ends it; gives, for each id, whether the brokers acknowledged it, and how many they refused.
    pub(crate) fn finish(&mut self) -> Result<(Vec<bool>, u64)> {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().map_err(|_| Error::from("the thread that makes records broke off"))??;
        }
        let ids = self.acknowledged.ids.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok((ids, self.acknowledged.refused.load(Ordering::Relaxed)))
    }

    /// True where the brokers have taken a record of each partition that was made after a time.
    pub(crate) fn taken(&self, since: i64) -> bool {
        self.acknowledged.arrivals.lock().unwrap_or_else(PoisonError::into_inner).fresh(PARTITIONS, since)
    }

    /// When the brokers took records.
    pub(crate) fn arrivals(&self) -> Arrivals {
        std::mem::take(&mut *self.acknowledged.arrivals.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn make(producer: &BaseProducer<Context>, topic: &str, rate: usize, stop: &AtomicBool) -> Result<()> {
    let began = Instant::now();
    let (mut id, mut time) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let due = (began.elapsed().as_secs_f64() * rate as f64) as usize;
        time = now().max(time);
        while id < due {
            let key = format!("k{}", id % KEYS);
            let value = format!("{{\"id\":{id},\"key\":\"{key}\"}}");
            let partition = partition_of(id % KEYS) as i32;
            let mut record = BaseRecord::with_opaque_to(topic, Box::new((id, time)))
                .partition(partition)
                .key(&key)
                .payload(&value)
                .timestamp(time - (id * 7919 % SPREAD) as i64);
            loop {
                match producer.send(record) {
                    Ok(()) => break,
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                        record = back;
                        producer.poll(TICK);
                    }
                    Err((failed, _)) => return Err(failed.into()),
                }
            }
            id += 1;
        }
        producer.poll(TICK);
    }
    producer.flush(Duration::from_secs(120))?;
    Ok(())
}

/// The partition that a key's records are in.
pub(crate) fn partition_of(key: usize) -> usize {
    key % PARTITIONS
}
