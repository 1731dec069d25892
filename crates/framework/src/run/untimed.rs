//! Records of a topic without a timestamp: rows without a time, where no field says it.

use arrow_array::BooleanArray;

use crate::error::Result;
use crate::log::{NO_TIME, Records};
use crate::plugin::{Rejects, SourceReject};

/// Takes out the records without a timestamp, where there are any; they are records that the source cannot
/// use.
pub(super) fn take_out(records: Records) -> Result<(Records, Vec<SourceReject>)> {
    if !records.timestamps.contains(&NO_TIME) {
        return Ok((records, Vec::new()));
    }
    let stay: BooleanArray = records.timestamps.iter().map(|time| Some(*time != NO_TIME)).collect();
    let mut rejects = Rejects::default();
    for row in (0..records.len()).filter(|row| !stay.value(*row)) {
        rejects.push(
            row,
            "it has no time: the record was written without a timestamp; `time:` beside the source says in which field a time stands",
        );
    }
    let rejected = SourceReject::of_records(&records, &rejects);
    let timed = records.filter(&stay)?;
    Ok((timed, rejected))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Partition;

    #[test]
    fn records_without_a_timestamp_are_taken_out_whole() {
        let records = |times: &[i64]| Records {
            partition: Partition::new("t", 0),
            offsets: (10..10 + times.len() as i64).collect(),
            timestamps: times.to_vec().into(),
            keys: times.iter().map(|time| (*time > 0).then(|| time.to_string())).collect(),
            values: times.iter().map(|time| Some(format!("v{time}"))).collect(),
            headers: Vec::new(),
        };
        let (all, rejected) = take_out(records(&[0, 7])).unwrap();
        assert_eq!((all.len(), rejected.len()), (2, 0), "1970 is a time");
        let (timed, rejected) = take_out(records(&[5, NO_TIME, 7, NO_TIME])).unwrap();
        assert_eq!((&timed.offsets[..], &timed.timestamps[..]), (&[10, 12][..], &[5, 7][..]));
        assert_eq!(timed.keys.iter().collect::<Vec<_>>(), [Some(b"5".as_slice()), Some(b"7")]);
        assert_eq!(timed.values.iter().collect::<Vec<_>>(), [Some(b"v5".as_slice()), Some(b"v7")]);
        let places: Vec<_> = rejected.iter().map(|r| (r.offset, r.time, r.raw.is_empty())).collect();
        assert_eq!(places, [(11, None, false), (13, None, false)]);
        let (timed, rejected) = take_out(records(&[NO_TIME])).unwrap();
        assert_eq!((timed.len(), rejected.len()), (0, 1));
    }
}
