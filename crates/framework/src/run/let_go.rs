//! A repartition topic keeps its records until they are dealt with: behind what is committed they are
//! deleted, from time to time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::batch::Partition;
use crate::error::{Consequence, Error, Result};
use crate::log::Log;

/// How often it is done; Kafka Streams does it as often.
const INTERVAL: Duration = Duration::from_secs(30);
/// How long the end of a chain waits for the last time.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a chain lets go of the topic that it reads.
pub(crate) struct LetGo {
    chain: String,
    log: Arc<dyn Log>,
    topic: String,
    /// When it was done last, or could have been for the first time.
    last: Option<Duration>,
    /// The offsets up to which records were let go.
    gone: BTreeMap<Partition, i64>,
    /// What is being done beside the chain.
    running: Option<Running>,
    told: bool,
}

struct Running {
    offsets: Vec<(Partition, i64)>,
    task: JoinHandle<Result<()>>,
}

impl LetGo {
    pub(crate) fn new(chain: &str, log: Arc<dyn Log>, topic: &str) -> Self {
        Self {
            chain: chain.to_owned(),
            log,
            topic: topic.to_owned(),
            last: None,
            gone: BTreeMap::new(),
            running: None,
            told: false,
        }
    }

    /// These positions are committed. The chain does not wait for what is done about it.
    pub(crate) async fn committed(
        &mut self,
        now: Duration,
        positions: impl Iterator<Item = (Partition, i64)>,
    ) {
        let last = *self.last.get_or_insert(now);
        if now.saturating_sub(last) < INTERVAL || self.running.as_ref().is_some_and(|r| !r.task.is_finished())
        {
            return;
        }
        self.last = Some(now);
        self.ended().await;
        self.begin(positions);
    }

    /// The chain ends, with these positions committed.
    pub(crate) async fn end(&mut self, positions: impl Iterator<Item = (Partition, i64)>) {
        let all = async {
            self.ended().await;
            self.begin(positions);
            self.ended().await;
        };
        // What is left is let go by the next run.
        let _ = timeout(PATIENCE, all).await;
    }

    fn begin(&mut self, positions: impl Iterator<Item = (Partition, i64)>) {
        let more = |(partition, offset): &(Partition, i64)| {
            *offset > self.gone.get(partition).copied().unwrap_or_default()
        };
        let offsets: Vec<_> = positions.filter(more).collect();
        if offsets.is_empty() {
            return;
        }
        let (log, before) = (Arc::clone(&self.log), offsets.clone());
        let task = tokio::spawn(async move { log.let_go(&before).await });
        self.running = Some(Running { offsets, task });
    }

    /// Waits for what is being done.
    async fn ended(&mut self) {
        let Some(running) = &mut self.running else { return };
        let result = (&mut running.task).await;
        let offsets = self.running.take().map(|running| running.offsets).unwrap_or_default();
        match result {
            Ok(Ok(())) => self.gone.extend(offsets),
            Ok(Err(error)) => self.tell(&error),
            Err(error) => tracing::debug!(chain = self.chain, "let go: {error}"),
        }
    }

    /// Who may not delete is told once: the topic grows for ever. Else it is tried again.
    fn tell(&mut self, error: &Error) {
        let passes = error.consequence() != Consequence::Refused;
        if passes || std::mem::replace(&mut self.told, true) {
            tracing::debug!(chain = self.chain, "let go: {error}");
            return;
        }
        let help = "let this user delete records of the topic (`Delete` in the ACLs of the brokers), or bound it by its \
                    property `retention.ms`, for longer than the pipeline ever stands still";
        tracing::warn!(chain = self.chain, help, "topic `{}` keeps growing: {error}", self.topic);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::log::{LogDescription, LogReader, LogWriter, ReaderOptions, TopicSpec, WriterOptions};

    /// Remembers what was let go; the first time it does not answer.
    #[derive(Debug, Default)]
    struct Asked(Mutex<Vec<String>>);

    #[async_trait]
    impl Log for Asked {
        fn describe(&self) -> LogDescription {
            LogDescription {
                name: String::new(),
                durable: true,
                shared: true,
                transactional: true,
                commit_interval: Duration::ZERO,
            }
        }

        async fn ensure_topics(&self, _: &[TopicSpec]) -> Result<Vec<u32>> {
            Ok(Vec::new())
        }

        async fn largest_record(&self, _: &str) -> Result<Option<usize>> {
            Ok(None)
        }

        async fn let_go(&self, before: &[(Partition, i64)]) -> Result<()> {
            let mut asked = self.0.lock().unwrap();
            asked.extend(before.iter().map(|(partition, offset)| format!("{partition}@{offset}")));
            if asked.len() == 1 { Err(Error::retry("nobody answers")) } else { Ok(()) }
        }

        async fn reader(&self, _: ReaderOptions) -> Result<Box<dyn LogReader>> {
            Err(Error::fatal("not asked for"))
        }

        async fn writer(&self, _: WriterOptions) -> Result<Box<dyn LogWriter>> {
            Err(Error::fatal("not asked for"))
        }
    }

    #[tokio::test]
    async fn what_is_committed_is_let_go_twice_a_minute_and_at_the_end() {
        let log = Arc::new(Asked::default());
        let mut let_go = LetGo::new("c", log.clone(), "t");
        let at = |offset| std::iter::once((Partition::new("t", 0), offset));
        for (second, offset) in [(5, 10), (34, 20), (35, 30), (36, 40), (65, 40), (95, 40), (100, 50)] {
            let_go.committed(Duration::from_secs(second), at(offset)).await;
            tokio::task::yield_now().await;
        }
        let_go.end(at(60)).await;
        let_go.end(at(60)).await;
        assert_eq!(*log.0.lock().unwrap(), ["t[0]@30", "t[0]@40", "t[0]@60"]);
    }
}
