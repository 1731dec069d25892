//! The Apache Kafka under test: `scripts/kafka` starts, stops, kills and pauses its brokers.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::{Error, Result};

/// How long the brokers may take to answer a question.
const ANSWER: Duration = Duration::from_secs(20);

/// A cluster of this run's own; it ends with it.
pub(crate) struct Cluster {
    script: PathBuf,
    folder: PathBuf,
    brokers: usize,
    address: String,
}

impl Cluster {
    /// Starts so many brokers in a folder.
    pub(crate) fn start(folder: &Path, brokers: usize) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/kafka");
        let mut cluster = Self { script, folder: folder.to_owned(), brokers, address: String::new() };
        cluster.script(&["start", &cluster.path(""), "0", &brokers.to_string()])?;
        let address = std::fs::read_to_string(folder.join("address"))?;
        address.trim().clone_into(&mut cluster.address);
        Ok(cluster)
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn brokers(&self) -> usize {
        self.brokers
    }

    fn path(&self, inside: &str) -> String {
        self.folder.join(inside).display().to_string()
    }

    /// The folder of a broker, which is numbered from 1.
    fn broker(&self, number: usize) -> String {
        if self.brokers == 1 { self.path("") } else { self.path(&number.to_string()) }
    }

    fn script(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(&self.script);
        command.args(arguments).env("KAFKA_BROKERS", &self.address);
        let output = command.output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Error::from(format!("scripts/kafka {}: {said}", arguments.join(" "))));
        }
        Ok(output)
    }

    /// Stops a broker in order, or kills it.
    pub(crate) fn end(&self, number: usize, hard: bool) -> Result<()> {
        self.script(&[if hard { "kill" } else { "stop" }, &self.broker(number)]).map(|_| ())
    }

    /// Starts a broker that was stopped or killed; returns once it serves.
    pub(crate) fn restart(&self, number: usize) -> Result<()> {
        let port = self.address.rsplit(':').next().unwrap_or_default();
        let folder = self.broker(number);
        let arguments: &[&str] =
            if self.brokers == 1 { &["start", &folder, port] } else { &["start", &folder] };
        self.script(arguments).map(|_| ())
    }

    /// What Kafka's own consumer prints of a topic, committed records only.
    pub(crate) fn console(&self, topic: &str) -> Result<Vec<String>> {
        let output = self.script(&["console", topic, "15"])?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
    }

    /// The broker that coordinates a transactional id which contains `part`, by Kafka's own tool.
    pub(crate) fn transaction_coordinator(&self, part: &str) -> Result<Option<usize>> {
        let class = "org.apache.kafka.tools.TransactionsCommand";
        let output = self.script(&["tool", class, "--bootstrap-server", &self.address, "list"])?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find(|line| line.contains(part));
        Ok(line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()))
    }

    /// The broker that coordinates a group: the leader of one partition of Kafka's own topic.
    pub(crate) fn group_coordinator(&self, group: &str) -> Result<Option<usize>> {
        let consumer: BaseConsumer = self.client().create()?;
        let found = consumer.fetch_metadata(Some("__consumer_offsets"), ANSWER)?;
        let Some(topic) = found.topics().first() else { return Ok(None) };
        let number = java_hash(group).unsigned_abs() as usize % topic.partitions().len().max(1);
        let partition = topic.partitions().iter().find(|partition| partition.id() as usize == number);
        let leader = partition.map(rdkafka::metadata::MetadataPartition::leader);
        Ok(leader.filter(|leader| *leader > 0).map(|leader| leader as usize))
    }

    /// True where every copy of every partition follows its leader.
    pub(crate) fn is_whole(&self) -> Result<bool> {
        let consumer: BaseConsumer = self.client().create()?;
        let Ok(found) = consumer.fetch_metadata(None, ANSWER) else { return Ok(false) };
        let partitions = found.topics().iter().flat_map(rdkafka::metadata::MetadataTopic::partitions);
        let whole = |p: &rdkafka::metadata::MetadataPartition| p.isr().len() == p.replicas().len();
        Ok(found.brokers().len() == self.brokers && partitions.into_iter().all(whole))
    }

    /// The settings that every client of this program has.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.address)
            .set("client.id", "chaos")
            .set("reconnect.backoff.max.ms", "1000")
            .set("log_level", "0");
        config
    }

    /// Makes topics, with a copy on up to three brokers.
    pub(crate) fn create<'a>(&self, topics: &[(&'a str, usize)]) -> Result<()> {
        let client: AdminClient<DefaultClientContext> = self.client().create()?;
        let copies = self.brokers.min(3) as i32;
        let topic = |(name, partitions): &(&'a str, usize)| {
            NewTopic::new(name, *partitions as i32, TopicReplication::Fixed(copies))
        };
        let topics: Vec<NewTopic> = topics.iter().map(topic).collect();
        let options = AdminOptions::new().operation_timeout(Some(ANSWER));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        for made in runtime.block_on(client.create_topics(&topics, &options))? {
            made.map_err(|(topic, code)| Error::from(format!("cannot make topic {topic}: {code}")))?;
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // It is thrown away: nothing needs to be handed over.
        let _ = self.script(&["kill", &self.path("")]);
    }
}

/// `String.hashCode` of Java, for text in ASCII; Kafka takes its absolute value for the partition of a group.
fn java_hash(text: &str) -> i32 {
    text.bytes().fold(0, |hash: i32, byte| hash.wrapping_mul(31).wrapping_add(i32::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_javas_hash() {
        assert_eq!(java_hash("hello"), 99_162_322);
        assert_eq!(java_hash("polygenelubricants"), i32::MIN);
    }
}
