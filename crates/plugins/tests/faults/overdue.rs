//! A sink that is slow, beside one that writes in the chain's transaction.

use async_trait::async_trait;
use pipectl_framework::error::Consequence;
use pipectl_framework::plugin::{
    Batch, BindContext, BoundSink, Input, Problem, Result, Sink, SinkContext, SinkPlugin,
};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::Instant;

use super::*;

/// How long a transaction of the log may stay open, as on brokers.
const LONGEST: Duration = Duration::from_secs(10);

/// Takes some milliseconds for each row.
#[derive(Debug, Deserialize, JsonSchema)]
struct Slow {
    millis: u64,
}

pipectl_framework::register!(sink: Slow);

impl SinkPlugin for Slow {
    const NAME: &'static str = "slow";
    const SUMMARY: &'static str = "takes its time";
    const EXAMPLE: &'static str = "- sink: slow\n  with: { millis: 1 }\n";

    fn bind(self, _: &Input, _: &BindContext<'_>) -> std::result::Result<BoundSink, Problem> {
        Ok(BoundSink::custom(self))
    }
}

#[async_trait]
impl Sink for Slow {
    async fn open(&mut self, _: &SinkContext) -> Result<()> {
        Ok(())
    }

    async fn write(&mut self, batch: &Batch) -> Result<()> {
        tokio::time::sleep(Duration::from_millis(self.millis * batch.rows() as u64)).await;
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// A copy beside such a sink, over a log that ends what is open for too long.
fn copied(millis: u64) -> Ran {
    slowly("copies", &copy("", "", ""), millis)
}

/// The same from the file itself.
fn copied_from_file(millis: u64) -> Ran {
    let rows = "  rows:
    - source: csv
      with: { path: rows.csv }
    - sink: kafka
      with: { connection: one, topic: rows, value: n }
";
    slowly("rows", rows, millis)
}

/// The last chain of `yaml`, which writes `topic`, with a slow sink as well.
fn slowly(topic: &str, yaml: &str, millis: u64) -> Ran {
    let append = format!("one: append {topic}");
    let (mut began, mut ended): (Option<Instant>, usize) = (None, 0);
    let watch = Watch::new(move |done| match done {
        _ if done == append => {
            began.get_or_insert_with(Instant::now);
            None
        }
        "one: commit with positions" | "one: commit" => {
            let age = began.take().map_or(Duration::ZERO, |began| began.elapsed());
            ended += usize::from(age >= LONGEST);
            assert!(ended < 20, "the same is tried again for ever");
            (age >= LONGEST).then(|| Error::new(Consequence::Fenced, "the transaction was ended"))
        }
        _ => {
            began = began.filter(|_| done != "one: writer with an id");
            None
        }
    });
    let slow = format!("    - sink: slow\n      with: {{ millis: {millis} }}\n");
    run(&format!("{yaml}{slow}"), &watch)
}

#[test]
fn a_transaction_that_takes_too_long_is_split() {
    // 100 rows take 20 s.
    let ran = copied(200);
    assert_eq!(ran.failure, None);
    assert_eq!(ran.values(0, "copies"), numbers());
    assert_eq!(ran.rows_in, [100, 100, 100, 100, 100]);
}

#[test]
fn a_transaction_of_a_file_that_takes_too_long_is_split() {
    let ran = copied_from_file(200);
    assert_eq!(ran.failure, None);
    assert_eq!(ran.values(0, "rows"), numbers());
    assert_eq!(ran.rows_in, [100, 100, 100]);
}

#[test]
fn one_of_a_file_that_cannot_be_split_ends_the_run() {
    let said = copied_from_file(20_000).failure.unwrap();
    assert!(
        said.starts_with(
            "rows: a transaction may stay open for 10 s, and the chain took longer 4 times in a row"
        ),
        "{said}"
    );
}

#[test]
fn one_that_cannot_be_split_ends_the_run() {
    let ran = copied(20_000);
    let said = "copy: a transaction may stay open for 10 s, and the chain took longer 4 times in a row, at last for a few records: one of its steps is too slow";
    assert_eq!(ran.failure.as_deref(), Some(said));
    assert!(ran.help.as_ref().unwrap().starts_with("see how long its transforms and its sinks take"));
    assert_eq!(ran.values(0, "copies"), [""; 0]);
}
