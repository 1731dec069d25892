//! The settings of librdkafka that differ from its defaults, and why.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::kafka::properties::{self, Side};

/// How a cluster is reached.
#[derive(Clone, Default)]
pub struct KafkaSettings {
    /// `host:port`, several with commas between.
    pub brokers: String,
    /// Properties of librdkafka for security and for the network, checked by the connection plugin.
    pub properties: Vec<(String, String)>,
    /// How many partitions a topic gets where nobody says otherwise; `None` leaves it to the brokers.
    pub partitions: Option<u32>,
    /// How many replicas a topic gets; `None` leaves it to the brokers.
    pub replication: Option<u16>,
}

impl std::fmt::Debug for KafkaSettings {
    // The properties may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaSettings").field("brokers", &self.brokers).finish_non_exhaustive()
    }
}

/// The property that says how often clients look what topics are like.
const REFRESH: &str = "topic.metadata.refresh.interval.ms";

/// What is in flight ahead of a chain in librdkafka's own queue, in KiB, at least: a fetch of a megabyte must
/// fit.
const LEAST_QUEUE_KIB: usize = 4 << 10;

/// librdkafka's defaults.
const MESSAGE_MAX: usize = 1_000_000;
const BATCH_SIZE: usize = 1_000_000;

fn number(config: &ClientConfig, name: &str, default: usize) -> usize {
    config.get(name).and_then(|value| value.parse().ok()).unwrap_or(default)
}

impl KafkaSettings {
    /// What every client has.
    pub(super) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Info);
        for (name, value) in [
            ("client.id", "pipectl"),
            // Long outages are looked at more often than each 10 s.
            ("reconnect.backoff.max.ms", "2000"),
            ("socket.keepalive.enable", "true"),
            // How soon partitions that are added are read and written; the default is five minutes.
            (REFRESH, "30000"),
        ] {
            config.set(name, value);
        }
        config.set("bootstrap.servers", &self.brokers);
        self.add(&mut config, Side::Both);
        config
    }

    /// Adds the file's properties for these clients; after our own, so that they win.
    fn add(&self, config: &mut ClientConfig, of: Side) {
        for (name, value) in &self.properties {
            // Those that are not on the list come from `security`, for all.
            if properties::side(name).unwrap_or(Side::Both) == of {
                config.set(name, value);
            }
        }
    }

    /// How often clients look what topics are like.
    pub(super) fn refresh(&self) -> Duration {
        let every = self.client().get(REFRESH).and_then(|millis| millis.parse().ok());
        every.map_or(Duration::MAX, Duration::from_millis)
    }

    /// The largest message that a producer makes.
    pub(super) fn message_max(&self) -> usize {
        number(&self.client(), "message.max.bytes", MESSAGE_MAX)
    }

    /// A consumer.
    pub(super) fn consumer(&self, group: &str, max_bytes: usize) -> ClientConfig {
        let mut config = self.client();
        let queue_kib = (max_bytes >> 10).max(LEAST_QUEUE_KIB).to_string();
        for (name, value) in [
            ("group.id", group),
            // Positions are committed with the results, never by themselves.
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("isolation.level", "read_committed"),
            // Reached where retention overtakes a running reader, or its topic is made anew: what is lost by
            // that is told.
            ("auto.offset.reset", "error"),
            ("allow.auto.create.topics", "false"),
            ("enable.partition.eof", "true"),
            ("check.crcs", "true"),
            // `cooperative-sticky` waits until it has passed the same faults.
            ("partition.assignment.strategy", "range"),
            ("session.timeout.ms", "10000"),
            // A member hears from the answer to its heartbeat that the group is being shared out anew, and
            // all wait for the last one: the default, 3 s, is how long nobody would read after each worker
            // that comes or goes.
            ("heartbeat.interval.ms", "500"),
            // The thread polls whatever the chain does, so only a stopped process exceeds it.
            ("max.poll.interval.ms", "60000"),
            // The default, 1000, leaves a drain waiting each time that its queue is full.
            ("fetch.queue.backoff.ms", "5"),
            // The broker may gather records for so long, unless there are many. With the default, one byte,
            // each few records are an answer of their own: at 10,000 records/s 11 % of a core, with this 4 %,
            // for some milliseconds more.
            ("fetch.wait.max.ms", "5"),
            ("fetch.min.bytes", "32768"),
            ("fetch.error.backoff.ms", "100"),
            // Bounded by bytes alone.
            ("queued.max.messages.kbytes", &queue_kib),
            ("queued.min.messages", "1000000"),
        ] {
            config.set(name, value);
        }
        self.add(&mut config, Side::Consumer);
        config
    }

    /// A producer; with a transactional id its transactions stay open for `timeout` at most.
    /// No batch is larger than `largest_batch`.
    pub(super) fn producer(
        &self,
        transactional_id: Option<&str>,
        timeout: Duration,
        largest_batch: Option<usize>,
    ) -> ClientConfig {
        let mut config = self.client();
        for (name, value) in [
            ("enable.idempotence", "true"),
            ("acks", "all"),
            ("allow.auto.create.topics", "false"),
            // Java's: other producers agree about which partition a key belongs to.
            ("partitioner", "murmur2_random"),
            ("batch.num.messages", "10000"),
            ("linger.ms", "2"),
            ("queue.buffering.max.messages", "500000"),
            ("queue.buffering.max.kbytes", "65536"),
            // Success is known from the queue being empty; each report costs.
            ("delivery.report.only.error", "true"),
        ] {
            config.set(name, value);
        }
        self.add(&mut config, Side::Producer);
        if let Some(bytes) = largest_batch.filter(|bytes| *bytes < number(&config, "batch.size", BATCH_SIZE))
        {
            config.set("batch.size", bytes.to_string());
        }
        if let Some(id) = transactional_id {
            let timeout = timeout.as_millis().to_string();
            config.set("transactional.id", id);
            config.set("transaction.timeout.ms", &timeout);
            config.set("message.timeout.ms", &timeout);
        }
        config
    }
}
