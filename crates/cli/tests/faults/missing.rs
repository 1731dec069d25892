//! Topics that are not there, or not there any more.

use crate::cluster::Cluster;
use crate::support::{Ended, Pipeline, assert_snapshot, committed, records, suffix, wait_until};

struct Copy {
    cluster: Cluster,
    suffix: String,
}

impl Copy {
    fn find() -> Option<Self> {
        Some(Self { cluster: Cluster::find("missing topics")?, suffix: suffix() })
    }

    fn name(&self, topic: &str) -> String {
        format!("{topic}{}", self.suffix)
    }

    /// Copies `in` to `out`; `sink` says more of the sink.
    fn pipeline(&self, sink: &str) -> Pipeline {
        let suffix = &self.suffix;
        Pipeline::new(&format!(
            "name: copy{suffix}
connections: {{ kafka: {{ brokers: '{}' }} }}
pipelines:
  copy:
    - source: kafka
      with: {{ topic: in{suffix}, format: text }}
    - sink: kafka
      with: {{ topic: out{suffix}, value: value{sink} }}
",
            self.cluster.brokers
        ))
    }

    fn assert_ended(&self, ended: &Ended, code: i32, snapshot: &str) {
        assert_eq!(ended.code, Some(code), "{}", ended.said);
        assert_snapshot(snapshot, &ended.messages(&[(&self.suffix, "-X")]));
    }

    fn committed(&self) -> Vec<Option<i64>> {
        committed(&self.cluster.brokers, &format!("{}.copy", self.name("copy")), &self.name("in"))
    }
}

#[test]
fn a_topic_that_is_not_there_ends_the_run() {
    let Some(copy) = Copy::find() else { return };
    copy.cluster.create(&copy.name("out"), 1, &[]);
    let pipeline = copy.pipeline("");
    copy.assert_ended(&pipeline.start(&[]).end(), 1, "source-topic-missing");
    let Some(copy) = Copy::find() else { return };
    copy.cluster.create(&copy.name("in"), 1, &[]);
    copy.cluster.write(&copy.name("in"), 0, 0..3);
    let pipeline = copy.pipeline(", create: false");
    copy.assert_ended(&pipeline.start(&[]).end(), 1, "sink-topic-missing");
    assert_eq!(copy.committed(), [None]);
}

#[test]
fn a_source_topic_that_is_deleted_while_it_is_read_ends_the_run() {
    let Some(copy) = Copy::find() else { return };
    copy.cluster.create(&copy.name("in"), 1, &[]);
    copy.cluster.write(&copy.name("in"), 0, 0..3);
    let pipeline = copy.pipeline("");
    let run = pipeline.start(&[]);
    wait_until("three are copied", || records(&copy.cluster.brokers, &copy.name("out")).len() == 3);
    copy.cluster.delete(&copy.name("in"));
    copy.assert_ended(&run.end(), 1, "source-topic-deleted");
    assert_eq!(records(&copy.cluster.brokers, &copy.name("out")).len(), 3);
}

#[test]
fn a_sink_topic_that_is_deleted_while_it_is_written_is_made_again_or_ends_the_run() {
    for (create, code, snapshot) in
        [(true, 0, "sink-topic-deleted-and-made"), (false, 1, "sink-topic-deleted")]
    {
        let Some(copy) = Copy::find() else { return };
        let (input, output) = (copy.name("in"), copy.name("out"));
        copy.cluster.create(&input, 1, &[]);
        copy.cluster.create(&output, 1, &[]);
        copy.cluster.write(&input, 0, 0..3);
        let pipeline = copy.pipeline(&format!(", create: {create}"));
        let run = pipeline.start(&[]);
        wait_until("three are copied", || records(&copy.cluster.brokers, &output).len() == 3);
        copy.cluster.delete(&output);
        copy.cluster.write(&input, 0, 3..5);
        let ended = if create {
            wait_until("the rest is copied", || records(&copy.cluster.brokers, &output).len() == 2);
            run.stop()
        } else {
            run.end()
        };
        copy.assert_ended(&ended, code, snapshot);
        let expected = if create { Some(5) } else { Some(3) };
        assert_eq!(copy.committed(), [expected]);
    }
}
