//! Pipelines that run in a test, over a log that the test holds too.

use std::path::Path;
use std::sync::Arc;

use pipectl_framework::config::{Document, SourceFile, render};
use pipectl_framework::graph::{Plan, PlanOptions, plan};
use pipectl_framework::log::{Log, ReadEvent, ReaderOptions, Start};
use pipectl_framework::plugin::{Purpose, Registry};
use serde_json::Value;

/// The plan of a file; relative paths start at `base`.
pub fn planned(yaml: &str, base: &Path) -> Plan {
    let registry = Registry::collect().unwrap();
    let shown = |problems: Vec<_>| render(&problems, false);
    let document = Document::parse(&SourceFile::new("test.yaml", yaml), &[], &|_| None).map_err(shown);
    let options = PlanOptions { registry: &registry, base, only: &[], purpose: Purpose::Check };
    let planned = plan(&document.unwrap_or_else(|e| panic!("{e}")), options).map_err(shown);
    planned.unwrap_or_else(|e| panic!("{e}")).0
}

/// Every record of a topic.
pub async fn read(log: &Arc<dyn Log>, topic: &str) -> Vec<Value> {
    let options = ReaderOptions {
        topics: vec![topic.into()],
        partitions: None,
        group: None,
        start: Start::Earliest,
        max_records: 1000,
        max_bytes: 1 << 20,
        headers: Vec::new(),
    };
    let mut reader = log.reader(options).await.unwrap();
    let (mut all, mut bounded) = (Vec::new(), false);
    loop {
        match reader.next().await.unwrap() {
            ReadEvent::Assigned(_) if !bounded => {
                bounded = true;
                reader.bound().await.unwrap();
            }
            ReadEvent::Records(records) => {
                all.extend(
                    records.values.iter().map(|v| serde_json::from_slice::<Value>(v.unwrap()).unwrap()),
                );
            }
            ReadEvent::End => return all,
            _ => {}
        }
    }
}
