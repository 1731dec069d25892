//! What is said of records that are lost, and of topics that are not what they were.

use pipectl_framework::log::Gone;

/// Which records are lost.
pub(crate) fn what(gone: &Gone) -> String {
    let Gone { partition, from, to } = gone;
    match gone.records() {
        Some(records) => format!(
            "LOST up to {records} records of {partition}, offsets {from} to {}: they were deleted before this chain was done with \
             them; it goes on at offset {to}",
            to - 1
        ),
        None => format!(
            "LOST what stood in {partition} from offset {from} on: its topic was made anew, or cut back; it is read from its \
             beginning, offset {to}"
        ),
    }
}

/// What to do about it.
pub(crate) fn help(gone: &Gone) -> &'static str {
    match gone.records() {
        Some(_) => {
            "let the topic keep records for longer than a chain may be away or behind (`retention.ms`, `retention.bytes`)"
        }
        None => "stop a pipeline before a topic that it reads is deleted, once it has read all of it",
    }
}

/// A topic has more partitions.
pub(crate) fn grown(topic: &str, before: u32, now: u32) -> String {
    format!(
        "topic `{topic}` has {now} partitions now, and had {before}: the new ones are read from their beginning, and keys go to other \
         partitions from now on"
    )
}

/// What that means.
pub(crate) const GROWN: &str = "a window by key that was open meanwhile may give a key twice, each with a part of its rows; stop the \
                                pipeline, and whoever writes, before partitions are added";
