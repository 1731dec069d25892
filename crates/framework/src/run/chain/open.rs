//! Opening a chain's logs, source and sinks, at its committed positions.

use std::collections::{BTreeMap, BTreeSet};

use super::begins::Past;
use super::commit::Progressed;
use super::{Chain, Notice, Phase};
use crate::error::{Error, Part, Result};
use crate::log::{Position, Start};
use crate::plugin::{SinkContext, SourceContext};
use crate::run::keeper::Resumed;
use crate::run::topics;

impl Chain {
    pub(super) async fn open(&mut self) -> Result<()> {
        let logs = self.environment.connections.iter().zip(self.environment.topics.iter());
        for (connection, ((_, log), topics)) in logs.enumerate().filter(|(_, (_, topics))| !topics.is_empty())
        {
            let ensured = topics::ensure(&**log, topics).await;
            let partitions = ensured.map_err(|e| e.of(Part::Connection(connection)))?;
            if Some(connection) == self.home {
                let mixed = self.repartitioned.as_ref();
                self.tree.set_channels(mixed.and_then(|of| partitions.get(&of.topic).copied()));
                let read = mixed.and_then(|_| partitions.get(self.input.topic()?).copied());
                read.into_iter().for_each(|partitions| self.tree.set_homes(partitions));
                self.tree.set_targets(&partitions);
            }
        }
        self.has_one_log_once().await?;
        self.tree.learn_limits(&self.environment.connections).await?;
        self.wait_for_turn().await?;
        let options = &self.environment.options;
        let source_context = SourceContext {
            clock: options.clock.clone(),
            once: options.once,
            batch_rows: self.batch_rows(),
            keeps_position: self.keeper.is_some(),
        };
        let sink_context =
            SinkContext { clock: options.clock.clone(), figures: self.environment.figures.clone() };
        let connections = self.tree.connections();
        let logs = &self.environment.connections;
        // Once the writers are open, earlier ones are fenced and what they committed is settled: then it can
        // be read.
        let first = self.keeper.is_some();
        if first {
            self.writers.open(&connections, logs, self.transactional_id.as_deref()).await?;
            self.resume().await?;
        }
        let logs = &self.environment.connections;
        let connections = if first { Vec::new() } else { connections };
        let (writers, addresses) = tokio::join!(
            self.writers.open(&connections, logs, self.transactional_id.as_deref()),
            self.tree.open(&sink_context),
        );
        writers?;
        let addresses = addresses?;
        if !std::mem::replace(&mut self.introduced, true) {
            for address in addresses {
                self.notify(Notice::Address { chain: self.name.clone(), address });
            }
        }
        // Whoever cannot write yet must not hold partitions: its group would wait for it.
        let early = self.input.misses_nothing();
        if early {
            self.is_open().await;
        }
        let committed = self.committed().cloned();
        let input = self.input.open(&source_context, committed.as_ref()).await;
        input.map_err(|e| e.of(Part::Source))?;
        if !early {
            self.is_open().await;
        }
        self.last_commit = self.now();
        self.backoff.opened(self.last_commit);
        Ok(())
    }

    /// A chain that uses a cluster under two names would fence its own writers for ever. Planning has
    /// compared what the file says of them; here the clusters are asked.
    async fn has_one_log_once(&mut self) -> Result<()> {
        let used: BTreeSet<usize> = self.tree.connections().into_iter().chain(self.home).collect();
        let logs = used.iter().map(|connection| (*connection, &self.environment.connections[*connection]));
        let shared: Vec<_> = logs.filter(|(_, (_, log))| log.describe().shared).collect();
        if shared.len() < 2 {
            return Ok(());
        }
        let mut names = BTreeMap::new();
        for (connection, (name, log)) in shared {
            let Some(cluster) = log.cluster().await.map_err(|e| e.of(Part::Connection(connection)))? else {
                continue;
            };
            if let Some(other) = names.insert(cluster, name) {
                return Err(Error::fatal(format!(
                    "the connections `{other}` and `{name}` are one cluster, and this chain uses both"
                ))
                .remedy(format!(
                    "name `{other}` in place of `{name}`, or give both the same brokers and settings"
                )));
            }
        }
        Ok(())
    }

    /// Tells the chains that write this one's topic, and waits for those that read its own.
    async fn is_open(&mut self) {
        self.environment.phase.raise(Phase::Open);
        for downstream in &self.environment.downstream {
            downstream.reaches(Phase::Open).await;
        }
    }

    /// Where a plugin's source is opened: the last position that was committed.
    pub(super) fn committed(&self) -> Option<&Position> {
        self.positions.values().find_map(|progressed| progressed.committed.as_ref())
    }

    /// Takes up where the last run, or the last try, stood by its last commit.
    pub(super) async fn resume(&mut self) -> Result<()> {
        let Some(keeper) = &mut self.keeper else { return Ok(()) };
        let connection = Part::Connection(keeper.connection);
        let resumed = keeper.load().await.map_err(|e| e.of(connection))?;
        let known = std::mem::take(&mut self.positions);
        let begins = std::mem::replace(&mut self.past, Past::Known) == Past::Unknown;
        let Some(Resumed { partition, position, note }) = resumed else {
            let before = std::mem::take(&mut keeper.others);
            if let Some(source) = begins.then(|| self.input.name()).flatten() {
                self.begins_anew(source, before, Start::Earliest).await;
            }
            return Ok(());
        };
        if let Some(position) = position.as_ref().filter(|_| known.is_empty()) {
            let (source, row) = (partition.source.to_string(), position.offset);
            self.notify(Notice::Resumed { chain: self.name.clone(), source, row });
        }
        let nothing = Position { partition: partition.clone(), offset: 0, metadata: String::new() };
        let read = position.clone().unwrap_or(nothing);
        self.positions.insert(partition, Progressed { note, ..Progressed::new(read, position) });
        Ok(())
    }
}
