//! What is said of records that are lost, and of topics that are not what they were.

use pipectl_framework::batch::Partition;
use pipectl_framework::log::{Gone, Start};

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

/// Nothing is kept of how far a chain had come, and yet a topic that it writes has records.
pub(crate) fn begins_anew(source: &str, before: &[String], start: Start, written: &str) -> String {
    let before = match before {
        [] => String::new(),
        before => format!(" (the chain has read {} before, whose place is kept)", before.join(", ")),
    };
    format!(
        "nothing is kept of how far {source} was read, so it is read {start}{before}; but topic `{written}`, which no other chain here writes, \
         has records already"
    )
}

/// What that means; `before` is what the chain has read under its name.
pub(crate) fn renamed(before: &[String]) -> &'static str {
    if before.is_empty() { RENAMED } else { REPLACED }
}

const REPLACED: &str = "to go on in a file that was read before, write `path` as it was: a list or a pattern, and a path through a \
                        link, are sources of their own";

const RENAMED: &str = "where the chain had another name, stop it, and say `was: NAME` beside its source; where its positions were \
                                  deleted, it gives again what it gave before, or with another \
                                  `start:` than `earliest` leaves out what came before that";

/// A partition does not have the offset at which a chain is to begin.
pub(crate) fn starts_elsewhere(partition: &Partition, wanted: i64, at: i64) -> String {
    let why = if at > wanted {
        format!("its oldest record is at offset {at}")
    } else {
        format!("it ends at offset {at}")
    };
    format!("{partition} has no offset {wanted}, {why}: it is read from there on")
}
