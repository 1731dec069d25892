//! Records without a timestamp, as old programs and some bridges write them: rows without a time.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::cluster::Cluster;
use crate::support::{Pipeline, assert_snapshot, committed, records, suffix, undated};

/// Writes five records, the second and the last without a timestamp. Each says a time in its value.
fn write(brokers: &str, topic: &str) {
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    for number in 0..5_u32 {
        let value = format!(r#"{{"id":"{number}","at":1767225600000}}"#);
        let timestamp = if [1, 4].contains(&number) { -1 } else { 1_767_225_600_000 };
        let record = BaseRecord::<(), _>::to(topic).payload(&value).timestamp(timestamp);
        assert!(producer.send(record).is_ok());
    }
    producer.flush(Duration::from_secs(20)).unwrap();
}

#[test]
fn a_record_without_a_timestamp_is_for_on_error_unless_a_field_says_its_time() {
    let Some(cluster) = Cluster::find("records without a timestamp") else { return };
    for (name, step, code, copied) in
        [("fail", "", 1, 0), ("skip", "on_error: skip", 0, 3), ("field", "time: { field: at }", 0, 5)]
    {
        let suffix = suffix();
        let (input, out) = (format!("in{suffix}"), format!("out{suffix}"));
        cluster.create(&input, 1, &[("retention.ms", "-1")]);
        cluster.create(&out, 1, &[("retention.ms", "-1")]);
        write(&cluster.brokers, &input);
        let pipeline = Pipeline::new(&format!(
            "name: untimed{suffix}
connections: {{ kafka: {{ brokers: '{}' }} }}
pipelines:
  copy:
    - source: kafka
      {step}
      with: {{ topic: {input}, format: {{ json: {{ fields: {{ id: text, at: time }} }} }} }}
    - sink: kafka
      with: {{ topic: {out}, create: false, value: id }}
",
            cluster.brokers
        ));
        let ended = pipeline.once();
        assert_eq!(ended.code, Some(code), "{name}: {}", ended.said);
        let counted = ended.said.lines().filter(|line| line.contains("could not use"));
        let said: String = counted.map(|line| format!("{line}\n")).collect();
        let messages = undated(&(ended.messages(&[]) + &said));
        assert_snapshot(&format!("no-time-{name}"), &messages.replace(&suffix, "-X"));
        assert_eq!(records(&cluster.brokers, &out).len(), copied, "{name}");
        let at = committed(&cluster.brokers, &format!("untimed{suffix}.copy"), &input);
        assert_eq!(at, [(code == 0).then_some(5)], "{name}: behind the last record, which has no time");
    }
}
