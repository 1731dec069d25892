//! Apache Kafka as a log, on librdkafka.
//!
//! | file | what is in it |
//! |---|---|
//! | `settings` | the settings of librdkafka that differ from its defaults, and why |
//! | `client` | what its clients say: log lines, causes of failures |
//! | `reason` | why a connection failed, for an operator |
//! | `errors` | its error codes as our consequences, with remedies |
//! | `topics`, `limits`, `kept` | topics that must be there, how large a record each takes, and that those of the framework's own keep what they hold |
//! | `reader`, `handoff`, `consumer`, `assignment`, `columns` | reading: the chain's end, the queue, and the thread that polls |
//! | `writer`, `producer` | writing: the chain's end, and the thread that produces and commits |
//! | `refusals` | records that the brokers refuse one by one, with the rule |
//!
//! librdkafka's calls block (transactional ones for up to their time-out), and its callbacks run inside its
//! polls. So each consumer and each producer has a thread of its own, and the chain awaits a queue.

mod assignment;
mod client;
mod columns;
mod consumer;
mod errors;
mod handoff;
mod kept;
mod limits;
mod producer;
mod reader;
mod reason;
mod refusals;
pub(crate) mod settings;
mod topics;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pipectl_framework::batch::Partition;
use pipectl_framework::error::{Error, Result};
use pipectl_framework::log::{
    Log, LogDescription, LogIdentity, LogReader, LogWriter, ReaderOptions, TopicSpec, WriterOptions,
};

use self::consumer::KnownGroups;
use self::limits::Limits;
pub use self::settings::KafkaSettings;

/// A transaction takes its coordinator, and every partition that it writes to, some milliseconds; Kafka
/// Streams has the same interval under exactly once.
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);

/// A Kafka cluster.
#[derive(Debug, Clone)]
pub struct KafkaLog {
    settings: Arc<KafkaSettings>,
    limits: Arc<Limits>,
    known_groups: Arc<KnownGroups>,
}

impl KafkaLog {
    /// A cluster that is reached with these settings; nothing is connected yet.
    pub fn new(settings: KafkaSettings) -> Self {
        Self { settings: Arc::new(settings), limits: Arc::default(), known_groups: Arc::default() }
    }
}

#[async_trait]
impl Log for KafkaLog {
    fn describe(&self) -> LogDescription {
        LogDescription {
            name: format!("Kafka at {}", self.settings.brokers),
            durable: true,
            shared: true,
            transactional: true,
            commit_interval: COMMIT_INTERVAL,
        }
    }

    fn identity(&self) -> Option<LogIdentity> {
        let KafkaSettings { brokers, properties, partitions, replication } = &*self.settings;
        let mut properties = properties.clone();
        properties.sort();
        Some(LogIdentity {
            addresses: brokers.split(',').map(address).collect(),
            settings: format!("{properties:?} {partitions:?} {replication:?}"),
        })
    }

    async fn cluster(&self) -> Result<Option<String>> {
        let settings = Arc::clone(&self.settings);
        blocking(move || topics::cluster(&settings)).await
    }

    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<Vec<u32>> {
        let partitions = topics::ensure(&self.settings, topics).await?;
        kept::check(&self.settings, &self.limits, topics).await?;
        Ok(partitions)
    }

    async fn largest_record(&self, topic: &str) -> Result<Option<usize>> {
        self.limits.largest_record(&self.settings, topic).await.map(Some)
    }

    async fn retention(&self, topic: &str) -> Result<Option<Duration>> {
        let rules = self.limits.rules(&self.settings, topic).await?;
        Ok(rules.kept.map(Duration::from_millis))
    }

    async fn let_go(&self, before: &[(Partition, i64)]) -> Result<()> {
        topics::let_go(&self.settings, before).await
    }

    fn default_partitions(&self) -> Option<u32> {
        self.settings.partitions
    }

    async fn reader(&self, options: ReaderOptions) -> Result<Box<dyn LogReader>> {
        Ok(Box::new(reader::KafkaReader::open(&self.settings, &options, &self.known_groups)?))
    }

    async fn writer(&self, options: WriterOptions) -> Result<Box<dyn LogWriter>> {
        Ok(Box::new(writer::KafkaWriter::open(&self.settings, &options, &self.limits).await?))
    }
}

/// An address in one form: a host's name ends in no dot, the port is there, and this machine is `localhost`.
fn address(written: &str) -> String {
    let written = written.trim().to_lowercase();
    let written = written.split_once("://").map_or(&*written, |(_, behind)| behind);
    let (host, port) = match written.rsplit_once(':') {
        // The colons of an address without a port are its own.
        Some((host, port)) if !port.contains(']') && (!host.contains(':') || host.ends_with(']')) => {
            (host, port)
        }
        _ => (written, "9092"),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    let own = host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    format!("{}:{port}", if own { "localhost" } else { host })
}

/// Runs a call of librdkafka that blocks where it holds nobody up.
async fn blocking<T: Send + 'static>(call: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(call).await {
        Ok(result) => result,
        Err(error) => Err(Error::fatal("a call of the Kafka client broke off").caused_by(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn one_address_has_one_form() {
        for (written, form) in [
            ("localhost:9092", "localhost:9092"),
            ("127.0.0.1:9092", "localhost:9092"),
            ("127.0.0.1", "localhost:9092"),
            ("[::1]:9092", "localhost:9092"),
            ("::1", "localhost:9092"),
            ("PLAINTEXT://LocalHost:9093", "localhost:9093"),
            (" b1.example.com.:9092 ", "b1.example.com:9092"),
            ("B1", "b1:9092"),
            ("10.0.0.1:19092", "10.0.0.1:19092"),
            ("[fe80::1]", "fe80::1:9092"),
            ("[fe80::1]:19092", "fe80::1:19092"),
        ] {
            assert_eq!(address(written), form, "{written}");
        }
    }
}
