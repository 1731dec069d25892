//! What a window must have done with `max_keys`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::file::Shape;
use super::oracle::{Found, Left, identity};
use super::windows::{Members, Pane, Window, plain};

/// The rows for which there was no room, as indices of the input, by the letters of them.
pub(super) fn roomless(
    window: &Window,
    left: &Left<'_>,
    late: &BTreeSet<usize>,
    found: &mut Found,
) -> BTreeSet<usize> {
    let mut roomless = BTreeSet::new();
    let (Some(topic), Some(most)) = (&window.roomless, window.spec.max_keys) else { return roomless };
    let rows = window.input.rows.iter().enumerate();
    let ids: BTreeMap<String, usize> = rows.map(|(index, row)| (plain(row.cells.get("id")), index)).collect();
    let loose = left.loose.contains(topic);
    for letter in left.rows(topic) {
        let record = letter.cells.get("record").and_then(Value::as_str).unwrap_or_default();
        let index = ids.get(&identity(record)).copied().filter(|index| !late.contains(index));
        match index.map(|index| roomless.insert(index)) {
            Some(true) => {}
            Some(false) if loose => found.repeated += 1,
            _ => found
                .wrong
                .push(format!("{}: without room twice, late too, or never came in: {record}", window.place)),
        }
    }
    found.roomless += roomless.len() as u64;
    let keys: BTreeSet<Vec<String>> = window.input.rows.iter().map(|row| window.key(row)).collect();
    // Each session needs room of its own.
    let by_key = matches!(window.spec.shape, Shape::Grid { .. });
    if by_key && !roomless.is_empty() && keys.len() <= most {
        let what = format!("{}: {} rows had no room, of {} keys", window.place, roomless.len(), keys.len());
        found.wrong.push(what);
    }
    roomless
}

/// Holds the keys of each window against the most that there may be.
pub(super) fn check(window: &Window, expected: &BTreeMap<Pane, Members>, found: &mut Found) {
    let Some(most) = window.spec.max_keys else { return };
    // Each worker has room for so many.
    if window.input.partitions != 1 || window.spec.repartition > 1 {
        return;
    }
    let mut keys: BTreeMap<(i64, i64), BTreeSet<&Vec<String>>> = BTreeMap::new();
    for ((start, end, key), members) in expected {
        if !members.must.is_empty() {
            keys.entry((*start, *end)).or_default().insert(key);
        }
    }
    for ((start, end), keys) in keys {
        if keys.len() > most {
            let from = crate::scenario::START;
            let (start, end, keys) = (start - from, end - from, keys.len());
            found.wrong.push(format!("{}: [{start}, {end}) has {keys} keys of {most}", window.place));
        }
    }
}
