//! A log in memory that writes down what chains do with it, and fails where a test wants it to.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use pipectl_framework::error::{Error, Result};
use pipectl_framework::log::memory::MemoryLog;
use pipectl_framework::log::{
    Append, Assignment, GroupPositions, Log, LogDescription, LogReader, LogWriter, Membership, Position,
    ReadEvent, ReaderOptions, TopicSpec, WriterOptions,
};
use pipectl_framework::plugin::Partition;

type Fault = Box<dyn FnMut(&str) -> Option<Error> + Send>;

/// What was done, each with the log's name in front, and what is to fail.
#[derive(Clone)]
pub(crate) struct Watch {
    seen: Arc<Mutex<Vec<String>>>,
    fault: Arc<Mutex<Fault>>,
}

impl Watch {
    /// `fault` is asked before each thing that is done.
    pub(crate) fn new(fault: impl FnMut(&str) -> Option<Error> + Send + 'static) -> Self {
        Self { seen: Arc::default(), fault: Arc::new(Mutex::new(Box::new(fault))) }
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    fn does(&self, what: String) -> Result<()> {
        let failed = (self.fault.lock().unwrap())(&what);
        let mark = if failed.is_some() { " FAILED" } else { "" };
        self.seen.lock().unwrap().push(what + mark);
        failed.map_or(Ok(()), Err)
    }
}

/// A log that says whether it is durable, as a broker is.
#[derive(Clone)]
pub(crate) struct Watched {
    pub(crate) name: &'static str,
    pub(crate) durable: bool,
    pub(crate) log: MemoryLog,
    pub(crate) watch: Watch,
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Watched {
    fn does(&self, what: &str) -> Result<()> {
        self.watch.does(format!("{}: {what}", self.name))
    }
}

#[async_trait]
impl Log for Watched {
    fn describe(&self) -> LogDescription {
        LogDescription { durable: self.durable, ..self.log.describe() }
    }

    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<Vec<u32>> {
        self.does("topics")?;
        self.log.ensure_topics(topics).await
    }

    async fn largest_record(&self, topic: &str) -> Result<Option<usize>> {
        self.log.largest_record(topic).await
    }

    async fn reader(&self, options: ReaderOptions) -> Result<Box<dyn LogReader>> {
        self.does("reader")?;
        Ok(Box::new(WatchedReader { log: self.clone(), reader: self.log.reader(options).await? }))
    }

    async fn writer(&self, options: WriterOptions) -> Result<Box<dyn LogWriter>> {
        self.does(if options.transactional_id.is_some() { "writer with an id" } else { "writer" })?;
        Ok(Box::new(WatchedWriter { log: self.clone(), writer: self.log.writer(options).await? }))
    }
}

struct WatchedReader {
    log: Watched,
    reader: Box<dyn LogReader>,
}

#[async_trait]
impl LogReader for WatchedReader {
    async fn next(&mut self) -> Result<ReadEvent> {
        self.reader.next().await
    }

    fn membership(&self) -> Option<Membership> {
        self.log.does("membership").ok().and_then(|()| self.reader.membership())
    }

    async fn is_new(&mut self) -> Result<bool> {
        self.reader.is_new().await
    }

    async fn committed(&mut self) -> Result<Vec<Assignment>> {
        self.reader.committed().await
    }

    async fn commit(&mut self, positions: &[Position]) -> Result<()> {
        self.log.does("commit positions alone")?;
        self.reader.commit(positions).await
    }

    async fn seek(&mut self, partition: &Partition, offset: i64) -> Result<()> {
        self.reader.seek(partition, offset).await
    }

    fn pause(&mut self, paused: bool) {
        self.reader.pause(paused);
    }

    async fn bound(&mut self) -> Result<()> {
        self.reader.bound().await
    }

    fn lag(&self) -> u64 {
        self.reader.lag()
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.reader.close().await
    }
}

struct WatchedWriter {
    log: Watched,
    writer: Box<dyn LogWriter>,
}

#[async_trait]
impl LogWriter for WatchedWriter {
    async fn append(&mut self, records: Append) -> Result<()> {
        self.log.does(&format!("append {}", records.topic))?;
        self.writer.append(records).await
    }

    async fn commit(&mut self, positions: Option<GroupPositions>) -> Result<()> {
        self.log.does(if positions.is_some() { "commit with positions" } else { "commit" })?;
        self.writer.commit(positions).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.writer.abort().await
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.writer.close().await
    }
}
