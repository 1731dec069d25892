//! Rows that are larger than their topic takes: `on_error` of the sink decides, before anything is sent.

use crate::cluster::Cluster;
use crate::support::{Pipeline, assert_snapshot, records, suffix, undated};

/// Copies a file of four rows to the topic `out`, which takes 8,000 bytes; with its key, which is the same,
/// the third is larger; the second and the fourth fit, but not together.
fn pipeline(brokers: &str, suffix: &str, on_error: &str) -> Pipeline {
    let pipeline = Pipeline::new(&format!(
        "name: large{suffix}
connections: {{ kafka: {{ brokers: '{brokers}' }} }}
pipelines:
  rows:
    - source: csv
      with: {{ path: rows.csv }}
    - sink: kafka
      id: out
      on_error: {on_error}
      with: {{ topic: out{suffix}, value: text, create: false }}
  letters:
    - from: rows.out.dead
    - sink: kafka
      with: {{ topic: dead{suffix}, create: false }}
"
    ));
    let rows = ["a".to_owned(), "b".repeat(3000), "ü".repeat(5000), "d".repeat(3000)];
    let file: String = std::iter::once("text".to_owned()).chain(rows).map(|row| row + "\n").collect();
    std::fs::write(pipeline.folder.path().join("rows.csv"), file).unwrap();
    pipeline
}

#[test]
fn a_row_that_is_larger_than_its_topic_takes_is_for_on_error() {
    let Some(cluster) = Cluster::find("rows that are too large") else { return };
    for (on_error, code) in [("fail", 1), ("skip", 0), ("dead_letter", 0)] {
        let suffix = suffix();
        let (out, dead) = (format!("out{suffix}"), format!("dead{suffix}"));
        for topic in [&out, &dead] {
            cluster.create(topic, 1, &[("max.message.bytes", "8000")]);
        }
        let pipeline = pipeline(&cluster.brokers, &suffix, on_error);
        if on_error != "dead_letter" {
            // Nobody may read what is not given.
            let file = pipeline.folder.path().join("pipeline.yaml");
            let yaml = std::fs::read_to_string(&file).unwrap();
            std::fs::write(file, yaml.split("  letters:").next().unwrap()).unwrap();
        }
        let ended = pipeline.once();
        assert_eq!(ended.code, Some(code), "{}", ended.said);
        let counted = ended.said.lines().filter(|line| line.contains("could not use"));
        let said: String = counted.map(|line| format!("{line}\n")).collect();
        let messages = ended.messages(&[]) + &said;
        let messages = undated(&messages);
        assert_snapshot(&format!("row-too-large-{on_error}"), &messages.replace(&suffix, "-X"));
        let copied: Vec<usize> = records(&cluster.brokers, &out).iter().map(String::len).collect();
        let letters = records(&cluster.brokers, &dead);
        match on_error {
            "fail" => assert_eq!(copied, [0; 0]),
            _ => assert_eq!(copied, [1, 3000, 3000]),
        }
        if on_error == "dead_letter" {
            let letter: serde_json::Value = serde_json::from_str(&letters[0]).unwrap();
            assert_eq!(letters.len(), 1);
            let place = ["source", "partition", "offset", "escaped"].map(|name| letter[name].to_string());
            assert_eq!(place, ["\"rows.csv\"", "0", "2", "false"], "{letter}");
            let reason = letter["reason"].as_str().unwrap().replace(&suffix, "-X");
            let expected = "larger than its topic takes: 20000 bytes of key and value, and `out-X` takes 7744; the record is cut short here";
            assert_eq!(reason, expected);
            let kept = letter["record"].as_str().unwrap();
            assert!(kept.starts_with("{\"text\":\"üü") && kept.len() <= 1024, "{kept}");
        } else {
            assert_eq!(letters, [""; 0]);
        }
    }
}
