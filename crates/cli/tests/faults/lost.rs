//! Records that are gone before they were read, topics that are made anew, and partitions that are added.

use crate::cluster::Cluster;
use crate::support::{Pipeline, Running, assert_snapshot, commit, committed, records, suffix, wait_until};

/// Copies the topic `in` to the topic `out`; both have one partition.
struct Copy {
    cluster: Cluster,
    suffix: String,
    pipeline: Pipeline,
}

impl Copy {
    fn find() -> Option<Self> {
        let cluster = Cluster::find("lost records")?;
        let suffix = suffix();
        for topic in ["in", "out"] {
            cluster.create(&format!("{topic}{suffix}"), 1, &[]);
        }
        let pipeline = Pipeline::new(&format!(
            "name: copy{suffix}
connections:
  kafka: {{ brokers: '{}', properties: {{ topic.metadata.refresh.interval.ms: 500 }} }}
pipelines:
  copy:
    - source: kafka
      with: {{ topic: in{suffix}, format: text }}
    - sink: kafka
      with: {{ topic: out{suffix}, value: value }}
",
            cluster.brokers
        ));
        Some(Self { cluster, suffix, pipeline })
    }

    fn input(&self) -> String {
        format!("in{}", self.suffix)
    }

    fn group(&self) -> String {
        format!("copy{}.copy", self.suffix)
    }

    fn committed(&self) -> Vec<Option<i64>> {
        committed(&self.cluster.brokers, &self.group(), &self.input())
    }

    fn write(&self, numbers: std::ops::Range<u32>) {
        self.cluster.write(&self.input(), 0, numbers);
    }

    fn once(&self, snapshot: Option<&str>) {
        let ended = self.pipeline.once();
        assert_eq!(ended.code, Some(0), "{}", ended.said);
        if let Some(name) = snapshot {
            assert_snapshot(name, &ended.messages(&[(&self.suffix, "-X")]));
        }
    }

    /// What has been copied, in the order of the numbers.
    fn copied(&self) -> Vec<u32> {
        let all = records(&self.cluster.brokers, &format!("out{}", self.suffix));
        let mut numbers: Vec<u32> = all.iter().map(|number| number.parse().unwrap()).collect();
        numbers.sort_unstable();
        numbers
    }

    fn start(&self, copied: usize) -> Running {
        let run = self.pipeline.start(&[]);
        self.wait_for(copied);
        run
    }

    fn wait_for(&self, copied: usize) {
        wait_until("the records are copied", || self.copied().len() >= copied);
    }
}

#[test]
fn records_that_were_deleted_before_they_were_read_are_told() {
    let Some(copy) = Copy::find() else { return };
    copy.write(0..10);
    copy.once(None);
    copy.write(10..20);
    copy.cluster.delete_before(&copy.input(), 17);
    copy.once(Some("records-deleted"));
    let kept: Vec<u32> = (0..10).chain(17..20).collect();
    assert_eq!(copy.copied(), kept);
    // As events for machines; and what was told once is not told again.
    copy.write(20..25);
    copy.cluster.delete_before(&copy.input(), 22);
    let mut command = copy.pipeline.command(&["--log-format", "json", "run", "pipeline.yaml", "--once"]);
    let ended = Running::new(command.spawn().unwrap()).end();
    let said: Vec<serde_json::Value> =
        ended.said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let lost: Vec<_> = said.iter().filter(|event| event.to_string().contains("LOST")).collect();
    assert_eq!(lost.len(), 1, "{}", ended.said);
    assert_eq!(lost[0]["level"], "ERROR", "{}", lost[0]);
    let fields = if lost[0]["fields"].is_object() { &lost[0]["fields"] } else { lost[0] };
    let numbers = ["from", "to", "records"].map(|name| fields[name].as_i64());
    assert_eq!(numbers, [Some(20), Some(22), Some(2)], "{}", lost[0]);
    copy.once(Some("records-deleted-and-told"));
}

#[test]
fn a_reader_that_retention_overtakes_says_what_it_lost() {
    let Some(copy) = Copy::find() else { return };
    copy.write(0..10);
    let mut run = copy.start(10);
    run.signal("STOP");
    copy.write(10..20);
    copy.cluster.delete_before(&copy.input(), 17);
    run.signal("CONT");
    run.wait_for("= help");
    copy.wait_for(13);
    let ended = run.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert_snapshot("records-deleted", &ended.messages(&[(&copy.suffix, "-X")]));
    let kept: Vec<u32> = (0..10).chain(17..20).collect();
    assert_eq!(copy.copied(), kept);
}

#[test]
fn a_topic_that_was_made_anew_is_read_from_its_beginning() {
    let Some(copy) = Copy::find() else { return };
    copy.write(0..10);
    copy.once(None);
    let make_anew = |numbers| {
        copy.cluster.delete(&copy.input());
        copy.cluster.create(&copy.input(), 1, &[]);
        copy.write(numbers);
    };
    // The brokers have forgotten what was committed: nobody knows that there was another topic of this name.
    make_anew(10..13);
    copy.once(None);
    assert_eq!(copy.copied(), (0..13).collect::<Vec<_>>());
    assert_eq!(copy.committed(), [Some(3)]);
    // While it is read.
    copy.write(13..14);
    let mut run = copy.start(14);
    run.signal("STOP");
    make_anew(14..16);
    run.signal("CONT");
    run.wait_for("LOST");
    copy.wait_for(16);
    let ended = run.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    let lost = ended.messages(&[(&copy.suffix, "-X")]);
    let lost: String = lost
        .lines()
        .skip_while(|line| !line.contains("LOST"))
        .take(2)
        .map(|line| format!("{line}\n"))
        .collect();
    assert_snapshot("topic-made-anew", &lost);
    assert_eq!(copy.copied(), (0..16).collect::<Vec<_>>());
}

#[test]
fn a_position_beyond_the_end_is_told_and_the_topic_read_from_its_beginning() {
    let Some(copy) = Copy::find() else { return };
    copy.write(0..5);
    commit(&copy.cluster.brokers, &copy.group(), &copy.input(), 50);
    copy.once(Some("position-beyond-the-end"));
    assert_eq!(copy.copied(), (0..5).collect::<Vec<_>>());
    assert_eq!(copy.committed(), [Some(5)]);
}

#[test]
fn partitions_that_are_added_are_read_from_their_beginning() {
    let Some(copy) = Copy::find() else { return };
    copy.write(0..10);
    let mut run = copy.start(10);
    run.signal("STOP");
    copy.cluster.grow(&copy.input(), 3);
    copy.cluster.write(&copy.input(), 2, 10..15);
    run.signal("CONT");
    run.wait_for("= help");
    copy.wait_for(15);
    let ended = run.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert_snapshot("partitions-added", &ended.messages(&[(&copy.suffix, "-X")]));
    assert_eq!(copy.copied(), (0..15).collect::<Vec<_>>());
    copy.once(Some("partitions-added-and-told"));
}
