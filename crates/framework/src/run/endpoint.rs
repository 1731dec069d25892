//! The ends of a chain: sinks of plugins' own, and topics. What they cannot take is for the step's
//! `on_error`.

use std::collections::HashSet;

use arrow_array::BooleanArray;

use super::dead;
use super::encoded::Checked;
use super::large::{self, Limits};
use super::promises::Promiser;
use super::refused::OfTopic;
use super::rows::{AgainRows, NewRows};
use super::tree::Tree;
use super::writers::Writers;
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::graph::{NodeBody, OnError};
use crate::log::Append;
use crate::metrics::StepMetrics;
use crate::plugin::{Encoded, LogSink, Rejects, Sink};

impl Tree {
    /// Gives a batch to a sink of a plugin's own.
    pub(super) async fn write(&mut self, index: usize, rows: &NewRows) -> Result<()> {
        let batch = rows.batch();
        let node = &mut self.nodes[index];
        let NodeBody::Sink(sink) = &mut node.body else { return Ok(()) };
        let rejected = unusable(&mut **sink, batch, &mut self.rejects, &node.plugin)?;
        let usable = (!rejected.is_empty()).then(|| without(batch, &rejected)).transpose()?;
        let usable = usable.as_ref().unwrap_or(batch);
        if !usable.is_empty() {
            sink.write(usable).await?;
            self.wrote = true;
        }
        StepMetrics::add(&self.metrics[index].in_flight, usable.rows() as u64);
        let dead = dead::of_rows(batch, self.rejects.rows());
        self.rejected(index, batch, &dead)
    }

    /// Writes a batch to a sink's topic.
    pub(super) async fn append(&mut self, index: usize, rows: &NewRows, writers: &mut Writers) -> Result<()> {
        let batch = rows.batch();
        let NodeBody::Topic(connection, sink) = &mut self.nodes[index].body else { return Ok(()) };
        let limits = self.limits.get(index).copied().unwrap_or_default();
        let refused = self.refused.of(&sink.topic);
        let (encoded, large) = encoded(sink, limits, refused, batch, &mut self.rejects)?;
        let rejected = self.rejects.rows().len();
        let connection = *connection;
        let append = Append {
            topic: sink.topic.as_str().into(),
            partition: None,
            keys: encoded.keys,
            values: encoded.values,
            timestamps: encoded.timestamps,
            headers: encoded.headers,
        };
        self.tell_of_age(index, &append.topic, &append.timestamps);
        writers.append(connection, append).await?;
        self.wrote = true;
        let written = batch.rows() - rejected.min(batch.rows());
        StepMetrics::add(&self.metrics[index].in_flight, written as u64);
        if rejected == 0 {
            return Ok(());
        }
        let mut dead = dead::of_rows(batch, self.rejects.rows());
        if self.nodes[index].on_error == OnError::DeadLetter {
            large::cut(&mut dead, self.rejects.rows(), &large);
        }
        self.rejected(index, batch, &dead)
    }

    /// Rows that are read again were written before: an endpoint only finds anew which of them it rejected,
    /// where a window may count those.
    pub(super) fn endpoint_again(&mut self, index: usize, rows: &AgainRows) -> Result<()> {
        let batch = rows.batch();
        let node = &mut self.nodes[index];
        if node.outputs.dead.is_empty() {
            return Ok(());
        }
        if let NodeBody::Sink(sink) = &mut node.body {
            unusable(&mut **sink, batch, &mut self.rejects, &node.plugin)?;
            let dead = dead::of_rows(batch, self.rejects.rows());
            return self.rejected(index, batch, &dead);
        }
        let NodeBody::Topic(_, sink) = &mut node.body else { return Ok(()) };
        let limits = self.limits.get(index).copied().unwrap_or_default();
        let refused = self.refused.of(&sink.topic);
        let (_, large) = encoded(sink, limits, refused, batch, &mut self.rejects)?;
        let mut dead = dead::of_rows(batch, self.rejects.rows());
        large::cut(&mut dead, self.rejects.rows(), &large);
        self.rejected(index, batch, &dead)
    }
}

/// The records of a batch that the sink's topic takes, and the rows whose records are too large for it.
fn encoded(
    sink: &mut LogSink,
    limits: Limits,
    refused: Option<OfTopic<'_>>,
    batch: &Batch,
    rejects: &mut Rejects,
) -> Result<(Encoded, Vec<usize>)> {
    rejects.clear();
    let encoded = sink.encoder.encode(batch, rejects)?;
    let mut checked = Checked::new(encoded, batch.rows(), rejects, &sink.format)?;
    let large = large::take_out(&mut checked, limits, refused, &sink.topic, rejects)?;
    Ok((checked.records, large))
}

/// The rows of a batch that a sink of a plugin's own cannot write.
fn unusable(
    sink: &mut dyn Sink,
    batch: &Batch,
    rejects: &mut Rejects,
    plugin: &str,
) -> Result<HashSet<usize>> {
    rejects.clear();
    sink.unusable(batch, rejects)?;
    let rows = batch.rows();
    rejects.settle(rows).map_err(|row| Promiser::of("sink", plugin).rejected(row, rows))
}

/// A batch without some of its rows.
fn without(batch: &Batch, rejected: &HashSet<usize>) -> Result<Batch> {
    let stay: BooleanArray = (0..batch.rows()).map(|row| Some(!rejected.contains(&row))).collect();
    batch.filter(&stay).map_err(|e| Error::fatal("rejected rows could not be left out").caused_by(e))
}
