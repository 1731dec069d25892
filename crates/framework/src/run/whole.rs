//! Reads a topic of the framework's own from its beginning to its end.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::error::{Error, Result};
use crate::log::{Log, LogReader, ReadEvent, ReaderOptions, Records, Start};

/// How long nothing may come: longer than a transaction of ours may stay open, and brokers take to end it, as
/// a reader waits behind it.
const SILENCE: Duration = Duration::from_secs(60);

/// Reads all that a topic holds now, of all partitions or of these; `take` gets the records, and how many are
/// left, about.
///
/// # Errors
/// The reader's, and those of `take`; `Retry` where nothing came for a minute.
pub(crate) async fn read_whole(
    log: &dyn Log,
    topic: &str,
    partitions: Option<Vec<i32>>,
    take: impl FnMut(&Records, u64) -> Result<()>,
) -> Result<()> {
    let options = ReaderOptions {
        topics: vec![topic.to_owned()],
        partitions,
        group: None,
        start: Start::Earliest,
        max_records: 1024,
        max_bytes: 16 << 20,
        headers: Vec::new(),
    };
    let mut reader = log.reader(options).await?;
    let read = to_end(&mut *reader, topic, take).await;
    reader.close().await?;
    read
}

async fn to_end(
    reader: &mut dyn LogReader,
    topic: &str,
    mut take: impl FnMut(&Records, u64) -> Result<()>,
) -> Result<()> {
    let (mut until, mut bounded) = (Instant::now() + SILENCE, false);
    loop {
        let Ok(event) = timeout_at(until, reader.next()).await else {
            let silence = SILENCE.as_secs();
            return Err(Error::retry(format!(
                "topic `{topic}` gave no records for {silence} s, and was not read to its end"
            ))
            .remedy("see that the log's brokers run, and that no transaction stays open in that topic"));
        };
        match event? {
            ReadEvent::Assigned(_) if !bounded => {
                bounded = true;
                reader.bound().await?;
            }
            ReadEvent::Records(records) => {
                until = Instant::now() + SILENCE;
                take(&records, reader.lag())?;
            }
            ReadEvent::End => return Ok(()),
            _ => {}
        }
    }
}

/// True where a topic holds anything that a reader from the beginning would be given.
///
/// # Errors
/// The reader's; `Retry` where it does not say what it has for a minute.
pub(crate) async fn holds_records(log: &dyn Log, topic: &str) -> Result<bool> {
    let options = ReaderOptions {
        topics: vec![topic.to_owned()],
        partitions: None,
        group: None,
        start: Start::Earliest,
        max_records: 1,
        max_bytes: 64 << 10,
        headers: Vec::new(),
    };
    let mut reader = log.reader(options).await?;
    reader.pause(true);
    let until = Instant::now() + SILENCE;
    let holds = loop {
        match timeout_at(until, reader.next()).await {
            Ok(Ok(ReadEvent::Assigned(_))) => break Ok(reader.lag() > 0),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => break Err(error),
            Err(_) => break Err(Error::retry(format!("topic `{topic}` does not say what it holds"))),
        }
    };
    reader.close().await?;
    holds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Partition;
    use crate::error::Consequence;
    use crate::log::{Assignment, Membership, Position};

    /// A partition whose end does not come: a transaction stays open in it.
    struct Endless {
        told: bool,
    }

    #[async_trait::async_trait]
    impl LogReader for Endless {
        async fn next(&mut self) -> Result<ReadEvent> {
            if std::mem::replace(&mut self.told, true) {
                std::future::pending::<()>().await;
            }
            let partition = Partition::new("t", 0);
            Ok(ReadEvent::Assigned(vec![Assignment { partition, committed: None, start: 0 }]))
        }

        fn membership(&self) -> Option<Membership> {
            None
        }

        async fn is_new(&mut self) -> Result<bool> {
            Ok(false)
        }

        async fn committed(&mut self) -> Result<Vec<Assignment>> {
            Ok(Vec::new())
        }

        async fn commit(&mut self, _: &[Position]) -> Result<()> {
            Ok(())
        }

        async fn seek(&mut self, _: &Partition, _: i64) -> Result<()> {
            Ok(())
        }

        fn pause(&mut self, _: bool) {}

        async fn bound(&mut self) -> Result<()> {
            Ok(())
        }

        fn lag(&self) -> u64 {
            1
        }

        async fn close(self: Box<Self>) -> Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_topic_that_does_not_end_is_tried_again() {
        let began = Instant::now();
        let mut reader = Endless { told: false };
        let read = to_end(&mut reader, "t", |_, _| Ok(()));
        let error = tokio::time::timeout(10 * SILENCE, read).await.unwrap().unwrap_err();
        assert_eq!(began.elapsed(), SILENCE);
        assert_eq!(error.to_string(), "topic `t` gave no records for 60 s, and was not read to its end");
        assert_eq!(error.consequence(), Consequence::Retry);
    }
}
