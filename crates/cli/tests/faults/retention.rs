//! Rows that are older than their topic keeps records.

use crate::cluster::Cluster;
use crate::support::{Pipeline, assert_snapshot, suffix, undated};

#[test]
fn rows_that_their_topic_soon_deletes_are_told_unless_it_keeps_them() {
    let Some(cluster) = Cluster::find("how long topics keep rows") else { return };
    for (retention, kept) in [(None, "604800000"), (Some("30d"), "2592000000"), (Some("forever"), "-1")] {
        let suffix = suffix();
        let with = retention.map(|retention| format!(", retention: {retention}")).unwrap_or_default();
        let pipeline = Pipeline::new(&format!(
            "name: old{suffix}
connections: {{ kafka: {{ brokers: '{}' }} }}
pipelines:
  rows:
    - source: csv
      time: {{ field: at }}
      with: {{ path: rows.csv }}
    - sink: kafka
      with: {{ topic: out{suffix}{with} }}
",
            cluster.brokers
        ));
        let rows = "id,at\n1,2015-11-11T08:00:00Z\n2,2015-11-11T09:00:00Z\n";
        std::fs::write(pipeline.folder.path().join("rows.csv"), rows).unwrap();
        let ended = pipeline.once();
        assert_eq!(ended.code, Some(0), "{}", ended.said);
        let messages = undated(&ended.messages(&[(&suffix, "-X")]));
        assert_snapshot(&format!("old-rows-{}", retention.unwrap_or("default")), &messages);
        assert_eq!(cluster.property(&format!("out{suffix}"), "retention.ms"), kept);
    }
}
