//! Records that a log refused by rules of its own: they are taken out before everything is sent again, so
//! that their neighbours are written.

use std::collections::HashMap;

use crate::clock::Millis;
use crate::hash::fnv1a;
use crate::log::Refused;

/// How many of them are known at most. They are forgotten with the commit that they are not in.
const MOST: usize = 100_000;

/// Kafka's client has no record of time 0: it is written as 1.
const EARLIEST: Millis = 1;

/// Those of a chain that it has not committed without.
#[derive(Debug, Default)]
pub(super) struct RefusedRecords {
    by_topic: HashMap<String, HashMap<u64, Vec<Known>>>,
    count: usize,
}

#[derive(Debug)]
struct Known {
    record: Refused,
    /// True once it was taken out.
    found: bool,
}

impl RefusedRecords {
    /// Adds them; true where one of them was not known.
    pub(super) fn add(&mut self, refused: Vec<Refused>) -> bool {
        let mut new = false;
        for mut record in refused {
            record.timestamp = record.timestamp.map(|time| time.max(EARLIEST));
            if self.count >= MOST {
                *self = Self::default();
            }
            let hash = mark(record.key.as_deref(), record.value.as_deref());
            let of_topic = self.by_topic.entry(record.topic.clone()).or_default();
            let same = of_topic.entry(hash).or_default();
            let is = |known: &Known| {
                (&known.record.key, &known.record.value, known.record.timestamp)
                    == (&record.key, &record.value, record.timestamp)
            };
            if !same.iter().any(is) {
                same.push(Known { record, found: false });
                self.count += 1;
                new = true;
            }
        }
        new
    }

    /// Those of a topic, where there are any.
    pub(super) fn of(&mut self, topic: &str) -> Option<OfTopic<'_>> {
        if self.count == 0 { None } else { self.by_topic.get_mut(topic).map(OfTopic) }
    }

    /// Everything that was sent without them is committed.
    pub(super) fn committed(&mut self) {
        if self.count == 0 {
            return;
        }
        for of_topic in self.by_topic.values_mut() {
            of_topic.values_mut().for_each(|same| same.retain(|known| !known.found));
            of_topic.retain(|_, same| !same.is_empty());
        }
        self.by_topic.retain(|_, of_topic| !of_topic.is_empty());
        self.count = self.by_topic.values().flat_map(HashMap::values).map(Vec::len).sum();
    }
}

/// The refused records of one topic.
pub(super) struct OfTopic<'a>(&'a mut HashMap<u64, Vec<Known>>);

impl OfTopic<'_> {
    /// Why a record was refused, where it was.
    pub(super) fn reason(&mut self, key: Option<&[u8]>, value: Option<&[u8]>, time: Millis) -> Option<&str> {
        let same = self.0.get_mut(&mark(key, value))?;
        let known = same.iter_mut().find(|known| {
            let record = &known.record;
            record.timestamp.is_none_or(|refused| refused == time.max(EARLIEST))
                && record.key.as_deref() == key
                && record.value.as_deref() == value
        })?;
        known.found = true;
        Some(&known.record.reason)
    }
}

fn mark(key: Option<&[u8]>, value: Option<&[u8]>) -> u64 {
    let of = |bytes: Option<&[u8]>| bytes.map_or(0, fnv1a);
    of(key).rotate_left(1) ^ of(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(topic: &str, value: &str, timestamp: impl Into<Option<Millis>>) -> Refused {
        let value = Some(value.as_bytes().to_vec());
        Refused {
            topic: topic.to_owned(),
            key: None,
            value,
            timestamp: timestamp.into(),
            reason: "no".to_owned(),
        }
    }

    fn is_refused(records: &mut RefusedRecords, topic: &str, value: &str, time: Millis) -> bool {
        records.of(topic).is_some_and(|mut of| of.reason(None, Some(value.as_bytes()), time).is_some())
    }

    #[test]
    fn a_record_is_known_by_all_of_it_until_something_is_committed_without_it() {
        let mut records = RefusedRecords::default();
        assert!(records.add(vec![refused("t", "a", 1), refused("t", "b", 1)]));
        assert!(!records.add(vec![refused("t", "a", 1)]), "it is known");
        records.committed();
        assert!(is_refused(&mut records, "t", "a", 1), "it was not met before the commit");
        for (topic, value, time) in [("u", "a", 1), ("t", "c", 1), ("t", "a", 2)] {
            assert!(!is_refused(&mut records, topic, value, time), "{topic} {value} {time}");
        }
        assert!(records.of("t").is_some_and(|mut of| of.reason(Some(b"a"), None, 1).is_none()));
        records.committed();
        assert!(!is_refused(&mut records, "t", "a", 1));
        assert!(is_refused(&mut records, "t", "b", 1));
        records.committed();
        assert!(records.of("t").is_none());
        records.add(vec![refused("t", "a", None)]);
        assert!(is_refused(&mut records, "t", "a", 7), "whatever its time");
    }
}
