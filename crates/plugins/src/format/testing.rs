//! What the tests of formats share.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BinaryArray, RecordBatch, StringArray};
use arrow_schema::{Field, Schema};
use pipectl_framework::log::Records;
use pipectl_framework::plugin::{
    Batch, Decoded, Decoder, Encoded, Encoder, Input, Origin, Partition, Problem, Rejects,
};

pub(crate) fn texts<T: AsRef<str>>(cells: &[Option<T>]) -> ArrayRef {
    Arc::new(cells.iter().map(|c| c.as_ref().map(AsRef::as_ref)).collect::<StringArray>())
}

/// A batch of these columns, with times 0, 1000, 2000, ...
pub(crate) fn batch(columns: Vec<(&str, ArrayRef)>) -> Batch {
    let rows = columns.first().map_or(0, |c| c.1.len()) as i64;
    batch_at(columns, &(0..rows).map(|row| row * 1000).collect::<Vec<_>>())
}

pub(crate) fn batch_at(columns: Vec<(&str, ArrayRef)>, times: &[i64]) -> Batch {
    let fields: Vec<_> = columns.iter().map(|(n, c)| Field::new(*n, c.data_type().clone(), true)).collect();
    let arrays = columns.into_iter().map(|c| c.1).collect();
    let columns = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
    let origin = Origin {
        partition: Partition::new("test", 0),
        offsets: (0..columns.num_rows() as i64).collect(),
        replay: false,
    };
    Batch::new(columns, times.iter().copied().collect(), origin).unwrap()
}

pub(crate) fn input(batch: &Batch) -> Input {
    Input { schema: batch.schema(), given_by: "the test".into() }
}

pub(crate) fn records(encoded: &Encoded) -> BinaryArray {
    encoded.values.clone()
}

/// Values as records of one partition.
pub(crate) fn of(values: &BinaryArray) -> Records {
    Records {
        partition: Partition::new("topic", 0),
        offsets: (0..values.len() as i64).collect(),
        timestamps: (0..values.len() as i64).collect(),
        keys: std::iter::repeat_n(None::<&[u8]>, values.len()).collect(),
        values: values.clone(),
        headers: Vec::new(),
    }
}

/// Decodes values of one partition; gives the rejects as rows and reasons.
pub(crate) fn decode(mut decoder: Box<dyn Decoder>, values: &BinaryArray) -> (Decoded, Vec<(usize, String)>) {
    let records = of(values);
    let mut rejects = Rejects::default();
    let rows = decoder.decode(&records, &mut rejects).unwrap();
    assert_eq!(rows.columns.schema(), decoder.schema());
    (rows, rejects.rows().iter().map(|r| (r.row, r.reason.clone())).collect())
}

/// Encodes a batch; the reasons of the rejects where there are any.
pub(crate) fn encode(mut encoder: Box<dyn Encoder>, batch: &Batch) -> Result<Encoded, Vec<(usize, String)>> {
    let mut rejects = Rejects::default();
    let written = encoder.encode(batch, &mut rejects).unwrap();
    assert_eq!(written.values.len(), written.timestamps.len());
    assert!(written.keys.as_ref().is_none_or(|keys| keys.len() == written.values.len()));
    if rejects.is_empty() {
        return Ok(written);
    }
    Err(rejects.rows().iter().map(|r| (r.row, r.reason.clone())).collect())
}

/// The problem that planning found.
pub(crate) fn say<T>(bound: Result<T, Problem>) -> Problem {
    match bound {
        Ok(_) => panic!("it was bound"),
        Err(problem) => problem,
    }
}

/// The values as texts.
pub(crate) fn values(encoded: &Encoded) -> Vec<String> {
    encoded.values.iter().map(|v| String::from_utf8(v.unwrap().to_vec()).unwrap()).collect()
}
