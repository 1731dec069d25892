//! How long a chain waits for a topic of the framework's own while it reads that to its end.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::error::{Error, Result};
use crate::log::{LogReader, ReadEvent};

/// Longer than a transaction of ours may stay open, and brokers take to end it: a reader waits behind it.
const SILENCE: Duration = Duration::from_secs(60);

/// Reads with patience that is used up where nothing comes.
pub(crate) struct Patience<'a> {
    topic: &'a str,
    until: Instant,
}

impl<'a> Patience<'a> {
    pub(crate) fn new(topic: &'a str) -> Self {
        Self { topic, until: Instant::now() + SILENCE }
    }

    /// The next event of a reader.
    ///
    /// # Errors
    /// The reader's; `Retry` where no records came for [`SILENCE`].
    pub(crate) async fn next(&mut self, reader: &mut dyn LogReader) -> Result<ReadEvent> {
        let Ok(event) = timeout_at(self.until, reader.next()).await else {
            let (topic, silence) = (self.topic, SILENCE.as_secs());
            return Err(Error::retry(format!(
                "topic `{topic}` gave no records for {silence} s, and was not read to its end"
            ))
            .remedy("see that the log's brokers run, and that no transaction stays open in that topic"));
        };
        if matches!(event, Ok(ReadEvent::Records(_))) {
            self.until = Instant::now() + SILENCE;
        }
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::memory::MemoryLog;
    use crate::log::{Log, ReaderOptions, Start, TopicSpec};

    #[tokio::test(start_paused = true)]
    async fn a_topic_that_does_not_end_is_tried_again() {
        let log = MemoryLog::default();
        let spec =
            TopicSpec { name: "t".into(), partitions: None, create: true, compacted: false, retention: None };
        log.ensure_topics(&[spec]).await.unwrap();
        let options = ReaderOptions {
            topics: vec!["t".into()],
            partitions: None,
            group: None,
            start: Start::Earliest,
            max_records: 1,
            max_bytes: 1 << 20,
        };
        let mut reader = log.reader(options).await.unwrap();
        let (began, mut patience) = (Instant::now(), Patience::new("t"));
        let error = loop {
            match patience.next(&mut *reader).await {
                Ok(ReadEvent::End | ReadEvent::Records(_)) => panic!("it has no bound and no records"),
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(began.elapsed(), SILENCE);
        assert_eq!(error.to_string(), "topic `t` gave no records for 60 s, and was not read to its end");
        assert_eq!(error.consequence(), crate::error::Consequence::Retry);
    }
}
