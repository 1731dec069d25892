//! What others do to topics while pipelines run, or between two runs.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

const PATIENCE: Duration = Duration::from_secs(20);

/// A cluster, and somebody who may do everything there.
pub(crate) struct Cluster {
    pub(crate) brokers: String,
    admin: AdminClient<DefaultClientContext>,
    runtime: tokio::runtime::Runtime,
}

impl Cluster {
    /// The one that the tests may use.
    pub(crate) fn find(skipped: &str) -> Option<Self> {
        crate::support::kafka(skipped).map(|brokers| Self::at(&brokers))
    }

    pub(crate) fn at(brokers: &str) -> Self {
        let admin = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { brokers: brokers.to_owned(), admin, runtime }
    }

    fn options() -> AdminOptions {
        AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
    }

    /// Makes a topic; again until the one of that name that was deleted is gone.
    pub(crate) fn create(&self, topic: &str, partitions: i32, config: &[(&str, &str)]) {
        let until = Instant::now() + PATIENCE;
        loop {
            let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
            for (name, value) in config {
                new = new.set(name, value);
            }
            let made = self.runtime.block_on(self.admin.create_topics([&new], &Self::options())).unwrap();
            match made[0] {
                Ok(_) => break,
                Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(50)),
                Err(ref e) => panic!("cannot make {topic}: {e:?}"),
            }
        }
    }

    /// A property of a topic.
    pub(crate) fn property(&self, topic: &str, name: &str) -> String {
        let (resource, options) = (ResourceSpecifier::Topic(topic), Self::options());
        let asked = self.admin.describe_configs([&resource], &options);
        let found = self.runtime.block_on(asked).unwrap().remove(0).unwrap();
        found.get(name).and_then(|entry| entry.value.clone()).unwrap_or_default()
    }

    pub(crate) fn delete(&self, topic: &str) {
        let deleted = self.runtime.block_on(self.admin.delete_topics(&[topic], &Self::options())).unwrap();
        assert!(deleted[0].is_ok(), "{deleted:?}");
    }

    /// Deletes a group that nobody is in, with its positions.
    pub(crate) fn delete_group(&self, group: &str) {
        let deleted = self.runtime.block_on(self.admin.delete_groups(&[group], &Self::options())).unwrap();
        assert!(deleted[0].is_ok(), "{deleted:?}");
    }

    /// Deletes what stands in the first partition before this offset.
    pub(crate) fn delete_before(&self, topic: &str, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
        self.runtime.block_on(self.admin.delete_records(&list, &Self::options())).unwrap();
    }

    pub(crate) fn grow(&self, topic: &str, partitions: usize) {
        let new = NewPartitions::new(topic, partitions);
        let grown = self.runtime.block_on(self.admin.create_partitions([&new], &Self::options())).unwrap();
        assert!(grown[0].is_ok(), "{grown:?}");
    }

    /// Writes numbers to a partition, once it is there.
    pub(crate) fn write(&self, topic: &str, partition: i32, numbers: std::ops::Range<u32>) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("topic.metadata.refresh.interval.ms", "100");
        let producer: BaseProducer = config.create().unwrap();
        let until = Instant::now() + PATIENCE;
        for number in numbers {
            let text = number.to_string();
            while let Err((e, _)) =
                producer.send(BaseRecord::<(), _>::to(topic).partition(partition).payload(&text))
            {
                assert!(Instant::now() < until, "cannot write to {topic}: {e}");
                producer.poll(Duration::from_millis(50));
            }
        }
        producer.flush(PATIENCE).unwrap();
    }
}
