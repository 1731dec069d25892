//! The rows that go in: each has an id, and a bit of its own in one of four columns, so that the sums of a
//! window say which rows it has counted.

use crate::scenario::START;
use pipectl_framework::testing::simulation::Random;

/// The columns of bits.
pub(crate) const BITS: [&str; 4] = ["a", "b", "c", "d"];
/// Bits in each.
const EACH: usize = 60;
/// The most rows of a seed.
pub(crate) const MOST: usize = BITS.len() * EACH;

/// The fields of a row, with their types in a topic.
pub(crate) const FIELDS: [(&str, &str); 11] = [
    ("id", "integer"),
    ("k", "text"),
    ("g", "text"),
    ("f", "text"),
    ("v", "text"),
    ("a", "integer"),
    ("b", "integer"),
    ("c", "integer"),
    ("d", "integer"),
    ("p", "text"),
    ("t", "integer"),
];

/// The most bytes of a record where some rows are larger: see [`Manner::large`].
pub(crate) const LARGEST: usize = 4000;

/// What an input gives.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) time: i64,
}

/// How the rows of an input are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// How far a row may lie behind the one before it, in milliseconds.
    pub(crate) behind: i64,
    /// Milliseconds from one to the next.
    pub(crate) step: i64,
    /// True where they stand in a file.
    pub(crate) file: bool,
    /// True where some rows are too large for a topic. Nothing else is wrong with those, so that no letter
    /// is.
    pub(crate) large: bool,
}

/// Makes `count` rows, of which the first has the number `first`.
pub(crate) fn rows(random: &mut Random, first: usize, count: usize, manner: Manner) -> Vec<Record> {
    let keys = random.between(1, 6);
    let mut now = START + random.between(0, 3000) as i64;
    let mut latest = now;
    (first..first + count)
        .map(|id| {
            now += random.between(0, 2 * manner.step as u64) as i64;
            let behind =
                if random.chance(400) { random.between(0, manner.behind as u64 + 1) as i64 } else { 0 };
            let (time, kind) = match random.between(0, 100) {
                // What cannot be read says nothing of time.
                0..=2 => (latest, Kind::Broken),
                3..=4 if manner.file => (latest, Kind::Untimed),
                5..=9 if manner.large => (now.max(latest), Kind::Large),
                _ => (now - behind, Kind::Whole),
            };
            latest = latest.max(time);
            record(random, id, keys, time, kind, manner.file)
        })
        .collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Whole,
    /// It is no record of its format.
    Broken,
    /// A row of a file whose time cannot be read.
    Untimed,
    /// It fits in no topic.
    Large,
}

fn record(random: &mut Random, id: usize, keys: u64, time: i64, kind: Kind, file: bool) -> Record {
    let key = format!("k{}", random.between(0, keys));
    if kind == Kind::Broken {
        return Record { key, value: format!("broken {id}"), time };
    }
    let g = format!("g{}", random.between(0, 3));
    let f = random.pick(&["x", "x", "y", "z"]);
    let v = if random.chance(100) && kind != Kind::Large {
        format!("bad{id}")
    } else {
        random.between(0, 100).to_string()
    };
    let mut record = row(file, id, &key, &g, f, &v, time);
    if kind == Kind::Untimed {
        record.value.truncate(record.value.rfind(',').unwrap_or_default());
        record.value += ",never";
    }
    if kind == Kind::Large {
        let at = record.value.rfind(',').unwrap_or_default();
        record.value.insert_str(at, &"p".repeat(LARGEST + 1000));
    }
    record
}

/// A row, for a file or a topic.
pub(crate) fn row(file: bool, id: usize, key: &str, g: &str, f: &str, v: &str, time: i64) -> Record {
    let mut bits = [0_u64; 4];
    bits[id / EACH % BITS.len()] = 1 << (id % EACH);
    let [a, b, c, d] = bits;
    let value = match file {
        true => format!("{id},{key},{g},{f},{v},{a},{b},{c},{d},,{time}"),
        false => {
            let bits = format!(r#""a":{a},"b":{b},"c":{c},"d":{d}"#);
            format!(r#"{{"id":{id},"k":"{key}","g":"{g}","f":"{f}","v":"{v}",{bits},"p":"","t":{time}}}"#)
        }
    };
    Record { key: key.to_owned(), value, time }
}

/// The first line of a file of such rows.
pub(crate) fn header() -> String {
    FIELDS.map(|(name, _)| name).join(",")
}
