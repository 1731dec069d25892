//! Where a plugin's source stands, kept in the log that its chain writes: a record of a compacted topic, in
//! the same transaction as the rows. So a restart neither skips nor repeats a row of a file.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use arrow_array::BinaryArray;
use serde::{Deserialize, Serialize};

use super::turn::positions_topic;
use super::whole::read_whole;
use crate::batch::Partition;
use crate::clock::Millis;
use crate::error::{Error, Result};
use crate::log::{Append, Log, Position, TopicSpec};

/// The form of a record that this version writes and reads.
const VERSION: u8 = 1;

/// A topic of positions; the last record of a chain's key counts.
pub(crate) struct Keeper {
    /// The connection, among those of the run.
    pub(crate) connection: usize,
    log: Arc<dyn Log>,
    topic: TopicSpec,
    chain: String,
    /// The source: each that the chain has had keeps its own position.
    source: Partition,
    /// `[chain, source, partition]` as JSON.
    key: String,
    /// The record as it was last written or read.
    last: Option<String>,
    /// The other sources of which the chain keeps a position, as they were found by [`load`](Self::load).
    pub(crate) others: Vec<String>,
}

/// What is kept of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    v: u8,
    source: String,
    partition: i32,
    /// `None` where everything is to be read again.
    position: Option<KeptPosition>,
    /// What the chain's windows want back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<Note>,
}

/// What the windows of a chain want back from a plugin's source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    /// No row before this one is in an open pane. The position may be of an earlier row: a source can only be
    /// asked for one between two batches.
    pub(crate) low: i64,
    /// The windows' own.
    pub(crate) windows: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KeptPosition {
    offset: i64,
    metadata: String,
}

/// Where a source goes on.
pub(crate) struct Resumed {
    pub(crate) partition: Partition,
    pub(crate) position: Option<Position>,
    pub(crate) note: Option<Note>,
}

impl Keeper {
    pub(crate) fn new(
        connection: usize,
        log: Arc<dyn Log>,
        pipeline: &str,
        chain: &str,
        source: &Partition,
    ) -> Self {
        Self {
            connection,
            log,
            topic: positions_topic(pipeline),
            key: serde_json::json!([chain, *source.source, source.index]).to_string(),
            chain: chain.to_owned(),
            source: source.clone(),
            last: None,
            others: Vec::new(),
        }
    }

    /// Reads what was last committed; to be called once the chain's writer is open, so that no commit is
    /// under way.
    pub(crate) async fn load(&mut self) -> Result<Option<Resumed>> {
        self.log.ensure_topics(std::slice::from_ref(&self.topic)).await?;
        let (mut of_source, mut of_chain, mut others) = (None, None, BTreeSet::new());
        read_whole(&*self.log, &self.topic.name, None, |records, _| {
            for (key, value) in records.keys.iter().zip(records.values.iter()) {
                let text = || value.map(|value| String::from_utf8_lossy(value).into_owned());
                if key == Some(self.key.as_bytes()) {
                    of_source = text();
                } else if key == Some(self.chain.as_bytes()) {
                    of_chain = text();
                } else if let Some(other) = key.and_then(|key| self.other(key)) {
                    others.insert(other);
                }
            }
            Ok(())
        })
        .await?;
        self.last = of_source;
        self.others = others.into_iter().collect();
        if let Some(text) = &self.last {
            return self.parse(text).map(|(_, resumed)| Some(resumed));
        }
        // Version 0.1 kept one position a chain, of the path as it was written.
        let of_chain = of_chain.map(|text| self.parse(&text)).transpose()?;
        Ok(of_chain.filter(|(written, _)| self.is_named(written)).map(|(_, resumed)| resumed))
    }

    /// The source of a key, where it is another one of this chain.
    fn other(&self, key: &[u8]) -> Option<String> {
        let (chain, source, _): (String, String, i32) = serde_json::from_slice(key).ok()?;
        (chain == self.chain).then_some(source)
    }

    /// True where a path, as it was written, may be that of the source. Whether it is the file, its head and
    /// tail say.
    fn is_named(&self, written: &str) -> bool {
        Path::new(written).components().filter(|part| *part != Component::CurDir).collect::<PathBuf>()
            == Path::new(&*self.source.source)
            || (Path::new(written).is_absolute() && Path::new(written).ends_with(&*self.source.source))
    }

    /// A record's source, as it is named there, and what it says.
    fn parse(&self, text: &str) -> Result<(String, Resumed)> {
        let unreadable = |what: String| {
            let (topic, chain) = (&self.topic.name, &self.chain);
            Error::fatal(format!("topic `{topic}` has a position for `{chain}` that {what}"))
                .remedy("give the pipeline another name to read its sources from their beginning")
        };
        let kept: Kept =
            serde_json::from_str(text).map_err(|e| unreadable(format!("cannot be read ({e}): {text}")))?;
        if kept.v != VERSION {
            return Err(unreadable(format!("is of version {}, not {VERSION}", kept.v)));
        }
        let partition = self.source.clone();
        let position = kept.position.map(|kept| Position {
            partition: partition.clone(),
            offset: kept.offset,
            metadata: kept.metadata,
        });
        Ok((kept.source, Resumed { partition, position, note: kept.note }))
    }

    /// The record to append with the rows; `None` where the source stands where it stood.
    pub(crate) fn record(
        &mut self,
        partition: &Partition,
        position: Option<&Position>,
        note: Option<&Note>,
        now: Millis,
    ) -> Result<Option<Append>> {
        let kept = Kept {
            v: VERSION,
            source: partition.source.to_string(),
            partition: partition.index,
            position: position.map(|p| KeptPosition { offset: p.offset, metadata: p.metadata.clone() }),
            note: note.cloned(),
        };
        let text = serde_json::to_string(&kept)
            .map_err(|e| Error::fatal("a position could not be written").caused_by(e))?;
        if self.last.as_ref() == Some(&text) {
            return Ok(None);
        }
        let append = Append {
            topic: self.topic.name.as_str().into(),
            partition: None,
            keys: Some(BinaryArray::from_vec(vec![self.key.as_bytes()])),
            values: BinaryArray::from_vec(vec![text.as_bytes()]),
            headers: Vec::new(),
            timestamps: vec![now].into(),
        };
        self.last = Some(text);
        Ok(Some(append))
    }
}
