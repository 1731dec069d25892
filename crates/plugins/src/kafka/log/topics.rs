//! Topics that must be there.

use std::time::{Duration, Instant};

use pipectl_framework::batch::Partition;
use pipectl_framework::config::Retention;
use pipectl_framework::error::{Error, Result};
use pipectl_framework::log::{Keeps, TopicSpec};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};

use super::assignment;
use super::blocking;
use super::client::{Listening, Voice};
use super::errors::{error, error_of};
use super::settings::KafkaSettings;

/// The most of the client's log lines and errors that are heard between two tries.
pub(super) const EVENTS: usize = 64;
/// How long the brokers may take to do something.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a client may take to reach them before that is told; the chain goes on trying.
const REACH: Duration = Duration::from_secs(4);
/// One try; between tries the client's own account of what is wrong is heard.
const TRY: Duration = Duration::from_secs(1);

/// Sees that the topics are there; gives the number of partitions of each.
pub(super) async fn ensure(settings: &KafkaSettings, topics: &[TopicSpec]) -> Result<Vec<u32>> {
    let client = metadata_client(settings)?;
    let (client, found) = count_all(client, topics.to_vec()).await?;
    let missing: Vec<&TopicSpec> =
        topics.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(topic, _)| topic).collect();
    if let Some(topic) = missing.iter().find(|topic| !topic.create) {
        return Err(unknown(&topic.name));
    }
    if missing.is_empty() {
        return Ok(found.into_iter().flatten().collect());
    }
    create(settings, &missing).await?;
    // The brokers tell each other; until all know, a reader or writer would find nothing.
    let until = Instant::now() + PATIENCE;
    let mut client = client;
    loop {
        let found;
        (client, found) = count_all(client, topics.to_vec()).await?;
        if found.iter().all(Option::is_some) {
            return Ok(found.into_iter().flatten().collect());
        }
        if Instant::now() > until {
            return Err(Error::retry("the brokers have made the topics but do not show them yet"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A client for questions about topics.
fn metadata_client(settings: &KafkaSettings) -> Result<BaseConsumer<Listening>> {
    let mut config = settings.client();
    // A topic that is asked about must not come to be by that.
    config.set("allow.auto.create.topics", "false");
    let context = Listening(Voice::new(&settings.brokers, None));
    config.create_with_context(context).map_err(|e| error("cannot make a Kafka client", e))
}

/// What the cluster calls itself; `None` where it has no name, or does not say it. Blocks.
pub(super) fn cluster(settings: &KafkaSettings) -> Result<Option<String>> {
    Ok(metadata_client(settings)?.client().fetch_cluster_id(PATIENCE))
}

type Client = BaseConsumer<Listening>;

async fn count_all(client: Client, topics: Vec<TopicSpec>) -> Result<(Client, Vec<Option<u32>>)> {
    blocking(move || {
        let count = |topic: &TopicSpec| partitions(&client, &client.context().0, &topic.name);
        let found = topics.iter().map(count).collect::<Result<_>>()?;
        Ok((client, found))
    })
    .await
}

/// How many partitions a topic has, each with a leader; `None` where it is not there. Blocks.
pub(super) fn partitions<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    voice: &Voice,
    topic: &str,
) -> Result<Option<u32>> {
    let doing = || format!("cannot look at topic `{topic}`");
    let (until, reached_until) = (Instant::now() + PATIENCE, Instant::now() + REACH);
    loop {
        match client.fetch_metadata(Some(topic), TRY) {
            Ok(metadata) => {
                let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
                    return Ok(None);
                };
                match found.error().map(RDKafkaErrorCode::from) {
                    None => {}
                    Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                        return Ok(None);
                    }
                    Some(RDKafkaErrorCode::LeaderNotAvailable) if Instant::now() < until => continue,
                    Some(code) => return Err(error_of(code, &format!("{}: {code}", doing()))),
                }
                let led = found.partitions().iter().all(|p| p.leader() >= 0 && no_error(p.error()));
                if led || Instant::now() > until {
                    return Ok(Some(found.partitions().len() as u32));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(failed) => {
                // The client's own errors say more; a poll hears one of them.
                for _ in 0..EVENTS {
                    client.poll(Duration::ZERO);
                }
                if let Some(refusal) = voice.refusal() {
                    return Err(refusal);
                }
                if Instant::now() > reached_until {
                    return Err(voice.unreachable(&doing(), Some(&failed)));
                }
            }
        }
    }
}

/// For each partition of a topic one more than the offset of its last record, whether that is committed or
/// not. Blocks.
pub(super) fn ends(settings: &KafkaSettings, topic: &str) -> Result<Vec<i64>> {
    let mut config = settings.client();
    config.set("isolation.level", "read_uncommitted").set("allow.auto.create.topics", "false");
    let client: Client = config
        .create_with_context(Listening(Voice::new(&settings.brokers, None)))
        .map_err(|e| error("cannot make a Kafka client", e))?;
    let count = partitions(&client, &client.context().0, topic)?.ok_or_else(|| unknown(topic))?;
    let all: Vec<i32> = (0..count.cast_signed()).collect();
    let until = Instant::now() + PATIENCE;
    loop {
        match assignment::ends(&client, topic, &all, PATIENCE) {
            Err(e) if assignment::settling(&e) && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(20));
            }
            found => return found.map_err(|e| error(&format!("cannot look where topic `{topic}` ends"), e)),
        }
    }
}

fn no_error(error: Option<RDKafkaRespErr>) -> bool {
    error.is_none()
}

async fn create(settings: &KafkaSettings, topics: &[&TopicSpec]) -> Result<()> {
    let admin: AdminClient<Listening> = settings
        .client()
        .create_with_context(Listening(Voice::new(&settings.brokers, None)))
        .map_err(|e| error("cannot make a Kafka client", e))?;
    // -1 leaves it to the brokers.
    let replication = settings.replication.map_or(-1, i32::from);
    let kept: Vec<Vec<(&str, String)>> = topics.iter().map(|topic| properties(topic.keeps)).collect();
    let new: Vec<NewTopic<'_>> = topics
        .iter()
        .zip(&kept)
        .map(|(topic, kept)| {
            let partitions = topic.partitions.or(settings.partitions).map_or(-1, u32::cast_signed);
            let new = NewTopic::new(&topic.name, partitions, TopicReplication::Fixed(replication));
            kept.iter().fold(new, |new, (name, value)| new.set(name, value))
        })
        .collect();
    let options = AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE));
    let results = admin.create_topics(&new, &options).await.map_err(|e| error("cannot create topics", e))?;
    for result in results {
        match result {
            // Another process may have been faster.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => {
                return Err(error_of(code, &format!("cannot create topic `{topic}`: {code}")));
            }
        }
    }
    Ok(())
}

/// The properties of a topic that keeps this. The policy is said, as brokers may have another one for topics
/// of which nobody says it.
fn properties(keeps: Keeps) -> Vec<(&'static str, String)> {
    const FOR_EVER: &str = "-1";
    // Only closed segments are cleaned, so they are small: as small as hosted clusters allow, and as Kafka
    // Streams makes those of its own topics.
    const SMALL: (&str, &str) = ("segment.bytes", "52428800");
    let said: &[(&str, &str)] = match keeps {
        Keeps::AsTheLog => &[],
        Keeps::For(Retention::For(length)) => {
            return vec![
                ("cleanup.policy", "delete".to_owned()),
                ("retention.ms", length.as_millis().to_string()),
            ];
        }
        Keeps::For(Retention::Forever) => {
            &[("cleanup.policy", "delete"), ("retention.ms", FOR_EVER), ("retention.bytes", FOR_EVER)]
        }
        Keeps::UntilLetGo => {
            &[("cleanup.policy", "delete"), ("retention.ms", FOR_EVER), ("retention.bytes", FOR_EVER), SMALL]
        }
        // Whoever starts reads all of it.
        Keeps::LastOfKey => &[("cleanup.policy", "compact"), SMALL],
    };
    said.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

/// Deletes the records before these offsets.
pub(super) async fn let_go(settings: &KafkaSettings, before: &[(Partition, i64)]) -> Result<()> {
    let doing = "cannot delete records that were read and committed";
    let mut list = TopicPartitionList::new();
    for (partition, offset) in before {
        list.add_partition_offset(&partition.source, partition.index, Offset::Offset(*offset))
            .map_err(|e| error(doing, e))?;
    }
    let admin: AdminClient<Listening> = settings
        .client()
        .create_with_context(Listening(Voice::new(&settings.brokers, None)))
        .map_err(|e| error(doing, e))?;
    let options = AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE));
    let deleted = admin.delete_records(&list, &options).await.map_err(|e| error(doing, e))?;
    for element in deleted.elements() {
        element.error().map_err(|e| error(&format!("{doing}, of topic `{}`", element.topic()), e))?;
    }
    Ok(())
}

/// The error about a topic that is not there.
pub(super) fn unknown(topic: &str) -> Error {
    error_of(RDKafkaErrorCode::UnknownTopicOrPartition, &format!("topic `{topic}` is not there"))
}
