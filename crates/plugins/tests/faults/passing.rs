//! A source of what passes by: after a fault the run ends at once where something of it would be lost.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_buffer::ScalarBuffer;
use async_trait::async_trait;
use pipectl_framework::batch::Times;
use pipectl_framework::error::Result;
use pipectl_framework::log::Position;
use pipectl_framework::plugin::{Batch, Origin, Partition, Source, SourceBody, SourceContext, SourceEvent};

use super::*;

/// One row, and then nothing; it knows whether that is committed.
struct Once {
    given: bool,
}

#[async_trait]
impl Source for Once {
    async fn open(&mut self, _: &SourceContext, position: Option<&Position>) -> Result<()> {
        self.can_reopen(position)
    }

    fn can_reopen(&self, position: Option<&Position>) -> Result<()> {
        match self.given && position.is_none() {
            true => Err(Error::fatal("its row is gone").remedy("say it again")),
            false => Ok(()),
        }
    }

    async fn next(&mut self) -> Result<SourceEvent> {
        if std::mem::replace(&mut self.given, true) {
            return Ok(SourceEvent::End);
        }
        let partition = Partition::new("once", 0);
        let cells: ArrayRef = Arc::new(StringArray::from(vec!["1"]));
        let offsets = ScalarBuffer::from(vec![0]);
        let origin = Origin { partition: partition.clone(), offsets, replay: false };
        let columns = RecordBatch::try_from_iter([("n", cells)]).unwrap();
        let batch = Batch::new(columns, Times::from(ScalarBuffer::from(vec![START])), origin).unwrap();
        let position = Position { partition, offset: 1, metadata: String::new() };
        Ok(SourceEvent::Batch { batch, rejects: Vec::new(), position })
    }
}

/// Runs it into a log with a fault.
fn once(
    fault: impl FnMut(&str) -> Option<Error> + Send + 'static,
) -> (Option<(String, Option<String>)>, Duration) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rows.csv"), "n\n").unwrap();
    let watch = Watch::new(fault);
    let logs = ["one", "two"].map(|name| Watched {
        name,
        durable: true,
        log: MemoryLog::default(),
        watch: watch.clone(),
    });
    let yaml = "  rows:\n    - source: csv\n      with: { path: rows.csv }\n    - sink: kafka\n      \
                with: { connection: one, topic: rows, value: n }\n";
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut plan = planned(yaml, folder.path(), &logs);
        let source = &mut plan.chains[0].source;
        source.bound.body = SourceBody::Custom(Box::new(Once { given: false }), Partition::new("once", 0));
        (source.bound.passing, source.replayable) = (Some("a test".into()), false);
        let clock = Clock::manual(START);
        let (run, _notices) = Run::start(plan, &RunOptions { once: true, ..RunOptions::new(clock.clone()) });
        let outcome = run.wait().await;
        let failure = outcome.failures.into_iter().next();
        (failure.map(|(_, error)| (error.to_string(), error.help().map(str::to_owned))), clock.elapsed())
    })
}

#[test]
fn what_cannot_be_read_again_ends_the_run_with_the_fault_that_came() {
    let (failure, took) = once(nth("one: append rows", 1, || Error::retry("no answer")));
    assert_eq!(
        failure,
        Some(("its row is gone: rows.kafka: no answer".to_owned(), Some("say it again".to_owned())))
    );
    assert_eq!(took, Duration::ZERO, "nothing is waited for");
}

#[test]
fn a_fault_before_anything_was_read_is_tried_again() {
    let (failure, took) = once(nth("one: topics", 1, || Error::retry("no answer")));
    assert_eq!(failure, None);
    assert!(took > Duration::ZERO);
}
