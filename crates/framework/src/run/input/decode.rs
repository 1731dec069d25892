//! Records to rows.

use std::sync::Arc;

use arrow_buffer::ScalarBuffer;

use super::InputEvent;
use crate::batch::{AsRead, Batch, Origin};
use crate::error::{Error, Result};
use crate::log::{Position, Records};
use crate::plugin::{Decoder, Rejects, RowMap, SourceReject};
use crate::run::promises::Promiser;
use crate::run::rows::Extent;

/// Reads records by a format, which is held to what it promises.
pub(super) fn decode(
    (decoder, format): (&mut (dyn Decoder + 'static), Promiser<'_>),
    rejects: &mut Rejects,
    records: &Records,
    replay: bool,
) -> Result<InputEvent> {
    rejects.clear();
    let about = Extent::of_records(&records.partition, &records.offsets);
    let decoded = format.guards_now(about, || decoder.decode(records, rejects))?;
    format.gives(&decoder.schema(), &decoded.columns.schema())?;
    format.decoded(records, decoded.columns.num_rows(), &decoded.rows, rejects)?;
    let rejected = SourceReject::of_records(records, rejects);
    let (times, offsets, read): (ScalarBuffer<i64>, ScalarBuffer<i64>, _) = match &decoded.rows {
        RowMap::Same => (records.timestamps.clone(), records.offsets.clone(), None),
        RowMap::Rows(rows) => (
            rows.iter().map(|r| records.timestamps[*r as usize]).collect(),
            rows.iter().map(|r| records.offsets[*r as usize]).collect(),
            // A record that gives no row, or is rejected, has a time all the same.
            Some(AsRead {
                times: records.timestamps.clone().into(),
                offsets: records.offsets.clone(),
                lines: None,
            }),
        ),
    };
    let next = records.offsets.last().map_or(0, |last| last + 1);
    let origin = Origin { partition: records.partition.clone(), offsets, replay };
    let batch = Batch::new(decoded.columns, times.into(), origin)
        .map_err(|e| Error::fatal("a format gave rows that do not match its records").caused_by(e))?
        .of(read.map(Arc::new));
    let position = Position { partition: records.partition.clone(), offset: next, metadata: String::new() };
    let left_out = decoder.leaves_out(records);
    Ok(InputEvent::Batch { batch, rejects: rejected, left_out, position })
}
