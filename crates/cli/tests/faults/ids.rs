//! Ids that somebody else uses: a transactional id, a consumer group.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, Producer};

use crate::cluster::Cluster;
use crate::support::{Pipeline, Running, assert_snapshot, committed, records, suffix, wait_until};

struct Copy {
    cluster: Cluster,
    suffix: String,
    pipeline: Pipeline,
}

impl Copy {
    fn find() -> Option<Self> {
        let cluster = Cluster::find("ids that are in use")?;
        let suffix = suffix();
        for topic in ["in", "other", "out"] {
            cluster.create(&format!("{topic}{suffix}"), 1, &[]);
        }
        let pipeline = Self::pipeline(&cluster.brokers, &suffix, "in");
        Some(Self { cluster, suffix, pipeline })
    }

    fn pipeline(brokers: &str, suffix: &str, from: &str) -> Pipeline {
        Pipeline::new(&format!(
            "name: copy{suffix}
connections: {{ kafka: {{ brokers: '{brokers}' }} }}
pipelines:
  copy:
    - source: kafka
      with: {{ topic: {from}{suffix}, format: text }}
    - sink: kafka
      with: {{ topic: out{suffix}, value: value }}
"
        ))
    }

    fn name(&self, of: &str) -> String {
        format!("{of}{}", self.suffix)
    }

    /// A run with a folder for its worker's name that nobody else has.
    fn start(&self, pipeline: &Pipeline) -> Running {
        let mut command = pipeline.command(&["run", "pipeline.yaml"]);
        command.env("XDG_STATE_HOME", pipeline.folder.path().join("state"));
        Running::new(command.spawn().unwrap())
    }

    fn copied(&self) -> usize {
        records(&self.cluster.brokers, &self.name("out")).len()
    }

    /// A consumer of another program in the pipeline's group, which has joined.
    fn stranger(&self, topic: &str, strategy: &str) -> BaseConsumer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.cluster.brokers).set("client.id", "stranger");
        config
            .set("group.id", format!("{}.copy", self.name("copy")))
            .set("partition.assignment.strategy", strategy);
        let consumer: BaseConsumer = config.create().unwrap();
        consumer.subscribe(&[topic]).unwrap();
        wait_until("the stranger has joined", || {
            let _ = consumer.poll(Duration::from_millis(100));
            consumer.assignment().is_ok_and(|assignment| assignment.count() > 0)
        });
        consumer
    }
}

/// Polls for a consumer until the end of the test.
fn keep(consumer: BaseConsumer) {
    std::thread::spawn(move || {
        loop {
            let _ = consumer.poll(Duration::from_millis(100));
        }
    });
}

#[test]
fn whoever_takes_a_workers_transactional_id_ends_it() {
    let Some(copy) = Copy::find() else { return };
    copy.cluster.write(&copy.name("in"), 0, 0..3);
    let run = copy.start(&copy.pipeline);
    wait_until("three are copied", || copy.copied() == 3);
    let folder = copy.pipeline.folder.path().join("state/pipectl");
    let word = std::fs::read_to_string(folder.join("word")).unwrap();
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let id = format!("{}.copy.{}{}-0", copy.name("copy"), machine.trim(), word.trim());
    let foreign: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &copy.cluster.brokers)
        .set("transactional.id", &id)
        .create()
        .unwrap();
    foreign.init_transactions(Duration::from_secs(30)).unwrap();
    copy.cluster.write(&copy.name("in"), 0, 3..5);
    let ended = run.end();
    assert_eq!(ended.code, Some(4), "{}", ended.said);
    let messages = ended.messages(&[(&id, "ID"), (&copy.suffix, "-X")]);
    assert_snapshot("transactional-id-taken", &messages);
    assert_eq!(copy.copied(), 3);
    assert_eq!(
        committed(&copy.cluster.brokers, &format!("{}.copy", copy.name("copy")), &copy.name("in")),
        [Some(3)]
    );
}

#[test]
fn a_pipeline_whose_group_reads_another_topic_is_refused() {
    let Some(copy) = Copy::find() else { return };
    copy.cluster.write(&copy.name("in"), 0, 0..3);
    copy.cluster.write(&copy.name("other"), 0, 7..9);
    let mut first = copy.start(&copy.pipeline);
    wait_until("three are copied", || copy.copied() == 3);
    // The same name, and another topic.
    let second = Copy::pipeline(&copy.cluster.brokers, &copy.suffix, "other");
    let ended = copy.start(&second).end();
    assert_eq!(ended.code, Some(4), "{}", ended.said);
    assert_snapshot("group-reads-another-topic", &ended.messages(&[(&copy.suffix, "-X")]));
    assert_eq!(copy.copied(), 3);
    // The first goes on.
    assert!(first.is_alive());
    copy.cluster.write(&copy.name("in"), 0, 3..5);
    wait_until("the rest is copied", || copy.copied() == 5);
    assert_eq!(first.stop().code, Some(0));
    // Once it has left, the second may.
    let mut second = copy.start(&second);
    wait_until("the other topic is copied", || copy.copied() == 7);
    assert!(second.is_alive());
    assert_eq!(second.stop().code, Some(0));
}

#[test]
fn a_group_of_another_kind_of_consumer_is_refused() {
    let Some(copy) = Copy::find() else { return };
    copy.cluster.write(&copy.name("in"), 0, 0..3);
    keep(copy.stranger(&copy.name("in"), "roundrobin"));
    let ended = copy.start(&copy.pipeline).end();
    assert_eq!(ended.code, Some(4), "{}", ended.said);
    let messages = ended.messages(&[(&copy.suffix, "-X"), (&copy.cluster.brokers, "ADDRESS")]);
    assert_snapshot("group-of-another-kind", &messages);
    assert_eq!(copy.copied(), 0);
}

/// Planning cannot know that these are one: the cluster says it.
#[test]
fn one_cluster_under_two_addresses_is_refused_in_one_chain() {
    let Some(copy) = Copy::find() else { return };
    copy.cluster.write(&copy.name("in"), 0, 0..3);
    let suffix = &copy.suffix;
    let (host, port) = copy.cluster.brokers.rsplit_once(':').unwrap();
    if host != "127.0.0.1" {
        eprintln!("SKIPPED one cluster under two addresses: the broker is not on this machine");
        return;
    }
    let pipeline = Pipeline::new(&format!(
        "name: copy{suffix}
connections:
  one: {{ plugin: kafka, brokers: '{}' }}
  two: {{ plugin: kafka, brokers: '0.0.0.0:{port}' }}
pipelines:
  copy:
    - source: kafka
      with: {{ connection: one, topic: in{suffix}, format: text }}
    - sink: kafka
      with: {{ connection: two, topic: out{suffix}, value: value }}
",
        copy.cluster.brokers
    ));
    let ended = copy.start(&pipeline).end();
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert_snapshot("one-cluster-twice", &ended.messages(&[(suffix, "-X")]));
    assert_eq!(copy.copied(), 0);
}
