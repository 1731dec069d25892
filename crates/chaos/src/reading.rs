//! Reads topics without any of pipectl's code, committed records only.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::cluster::Cluster;
use crate::{Error, Result};

/// How long reading a topic may stand still.
const STILL: Duration = Duration::from_secs(60);

/// A consumer of all partitions of some topics, from their beginning.
pub(crate) fn consumer(cluster: &Cluster, topics: &[(&str, usize)]) -> Result<BaseConsumer> {
    let consumer: BaseConsumer = cluster
        .client()
        .set("group.id", "chaos-reads-alone")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "20")
        .create()?;
    let mut list = TopicPartitionList::new();
    for (topic, partitions) in topics {
        for partition in 0..*partitions {
            list.add_partition_offset(topic, partition as i32, Offset::Beginning)?;
        }
    }
    consumer.assign(&list)?;
    Ok(consumer)
}

/// Gives every committed record of a topic to `take`.
pub(crate) fn whole(
    cluster: &Cluster,
    topic: &str,
    partitions: usize,
    mut take: impl FnMut(&BorrowedMessage<'_>) -> Result<()>,
) -> Result<()> {
    let consumer = consumer(cluster, &[(topic, partitions)])?;
    let mut ended = vec![false; partitions];
    let mut moved = Instant::now();
    while !ended.iter().all(|ended| *ended) {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                ended[message.partition() as usize] = false;
                take(&message)?;
                moved = Instant::now();
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => ended[partition as usize] = true,
            // The client goes on by itself.
            Some(Err(_)) | None if moved.elapsed() < STILL => {}
            Some(Err(e)) => return Err(e.into()),
            None => return Err(Error::from(format!("topic {topic} cannot be read to its end"))),
        }
    }
    Ok(())
}

/// A record's value as text.
pub(crate) fn text(message: &BorrowedMessage<'_>) -> String {
    String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned()
}
