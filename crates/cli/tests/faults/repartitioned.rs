//! Rows of any time on their way through a repartition topic, which the brokers' retention must not reach;
//! and topics of the framework's own that were made otherwise.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::Consumer;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::cluster::Cluster;
use crate::support::{Pipeline, assert_snapshot, client, committed, records, suffix, undated};

struct Job {
    cluster: Cluster,
    suffix: String,
    pipeline: Pipeline,
}

impl Job {
    /// Counts by a field that the topic is not keyed by.
    fn find(skipped: &str) -> Option<Self> {
        let cluster = Cluster::find(skipped)?;
        let suffix = suffix();
        cluster.create(&format!("in{suffix}"), 2, &[]);
        let any_time = [("retention.ms", "-1"), ("message.timestamp.after.max.ms", "9223372036854775807")];
        cluster.create(&format!("out{suffix}"), 2, &any_time);
        let pipeline = Pipeline::new(&format!(
            "name: old{suffix}
connections: {{ kafka: {{ brokers: '{}', partitions: 2 }} }}
pipelines:
  count:
    - source: kafka
      time: {{ field: at }}
      with: {{ topic: in{suffix}, format: {{ json: {{ fields: {{ key: text, at: time }} }} }} }}
    - window: count-by-key
      id: win
      repartition: true
      with: {{ key: key, size: 1h, max_skew: 30d }}
    - sink: kafka
      with: {{ topic: out{suffix} }}
",
            cluster.brokers
        ));
        Some(Self { cluster, suffix, pipeline })
    }

    fn between(&self) -> String {
        format!("old{}.count.win.repartition", self.suffix)
    }

    /// Writes a row a time.
    fn write(&self, times: &[String]) {
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", &self.cluster.brokers).create().unwrap();
        let topic = format!("in{}", self.suffix);
        for (i, time) in times.iter().enumerate() {
            let value = format!(r#"{{"key":"k","at":"{time}"}}"#);
            let record = BaseRecord::<(), _>::to(&topic).partition((i % 2) as i32).payload(&value);
            assert!(producer.send(record).is_ok());
        }
        producer.flush(Duration::from_secs(20)).unwrap();
    }
}

#[test]
fn rows_of_any_time_go_through_a_repartition_topic_and_are_let_go_behind_it() {
    let Some(job) = Job::find("rows of any time through a repartition topic") else { return };
    let ahead = chrono::Utc::now() + chrono::TimeDelta::hours(30);
    let times = ["2015-11-11T08:00:00Z".to_owned(), "1970-01-01T00:20:00Z".to_owned(), ahead.to_rfc3339()];
    job.write(&times);
    let ended = job.pipeline.once();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    let messages = undated(&ended.messages(&[(&job.suffix, "-X")]));
    assert!(!messages.contains("error"), "{messages}");
    let results = records(&job.cluster.brokers, &format!("out{}", job.suffix));
    assert_eq!(results.len(), 3, "{results:?}\n{}", ended.said);
    let between = job.between();
    for (property, kept) in [("retention.ms", "-1"), ("retention.bytes", "-1"), ("cleanup.policy", "delete")]
    {
        assert_eq!(job.cluster.property(&between, property), kept, "{property}");
    }
    let committed = committed(&job.cluster.brokers, &format!("old{}.count.win", job.suffix), &between);
    assert!(committed.iter().flatten().any(|offset| *offset > 0), "{committed:?}");
    for (partition, committed) in (0..).zip(committed) {
        let client = client(&job.cluster.brokers, "looks");
        let (low, _) = client.fetch_watermarks(&between, partition, Duration::from_secs(20)).unwrap();
        assert_eq!(low, committed.unwrap_or(0), "partition {partition}");
    }
}

#[test]
fn a_topic_of_its_own_that_loses_what_it_holds_is_told() {
    let Some(job) = Job::find("topics of its own that were made by hand") else { return };
    job.cluster.create(&job.between(), 2, &[("retention.ms", "604800000")]);
    let messages = undated(&job.pipeline.once().messages(&[(&job.suffix, "-X")]));
    assert_snapshot("repartition-topic-with-retention", &messages);

    let suffix = suffix();
    job.cluster.create(&format!("file{suffix}.positions"), 1, &[("cleanup.policy", "delete")]);
    let pipeline = Pipeline::new(&format!(
        "name: file{suffix}
connections: {{ kafka: {{ brokers: '{}' }} }}
pipelines:
  rows:
    - source: csv
      with: {{ path: rows.csv }}
    - sink: kafka
      with: {{ topic: rows{suffix}, value: key }}
",
        job.cluster.brokers
    ));
    let ended = pipeline.once();
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert_snapshot("positions-that-are-deleted", &undated(&ended.messages(&[(&suffix, "-X")])));
}
