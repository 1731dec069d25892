//! Records that the brokers refuse by rules of their own: which they are, and which rule it is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use pipectl_framework::clock::said;
use pipectl_framework::error::Error;
use pipectl_framework::log::Refused;
use rdkafka::Message;
use rdkafka::types::RDKafkaErrorCode as Code;

use super::limits::{Limits, Rules};

/// Why a record was not written.
pub(super) enum Why {
    /// It breaks a rule.
    Breaks(Error),
    /// Another one of its batch does, as far as is known.
    Beside(Error),
}

/// A record that was not written.
#[derive(Debug)]
struct Heard {
    code: Code,
    topic: String,
    partition: i32,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    time: i64,
    /// The clock when it was heard of.
    now: i64,
}

/// What the brokers have refused of a writer's records.
///
/// They take a batch whole or not. Some name the records of it that break a rule, and librdkafka then gives
/// the others a code of their own (`InvalidDifferentRecord`); else all of the batch have the same, and the
/// rules of the topic tell them apart.
#[derive(Debug)]
pub(super) struct Refusals {
    limits: Arc<Limits>,
    heard: Mutex<Vec<Heard>>,
}

impl Refusals {
    pub(super) fn new(limits: &Arc<Limits>) -> Self {
        Self { limits: Arc::clone(limits), heard: Mutex::default() }
    }

    /// A record was not written, with this code; `None` where that is for no rule of the brokers'.
    pub(super) fn hear(&self, code: Code, message: &impl Message, time: i64) -> Option<Why> {
        if !matches!(code, Code::InvalidTimestamp | Code::InvalidRecord | Code::InvalidDifferentRecord) {
            return None;
        }
        let heard = Heard {
            code,
            topic: message.topic().to_owned(),
            partition: message.partition(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            time,
            now: now(),
        };
        let topic = &heard.topic;
        let rules = self.limits.known(topic).unwrap_or_default();
        let what = format!("topic `{topic}` does not take a record");
        let why = if code != Code::InvalidDifferentRecord && heard.breaks(rules) {
            Why::Breaks(Error::abort(format!("{what} that is {}", heard.reason(rules))))
        } else {
            Why::Beside(Error::abort(format!("{what}, or one of the same batch: {code}")))
        };
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).push(heard);
        Some(why)
    }

    /// The records that break a rule, of those that were heard of since this was last asked.
    pub(super) fn take(&self) -> Vec<Refused> {
        let heard = std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner));
        let mut batches: BTreeMap<(String, i32), Vec<Heard>> = BTreeMap::new();
        for record in heard {
            batches.entry((record.topic.clone(), record.partition)).or_default().push(record);
        }
        let rules = |topic: &str| self.limits.known(topic).unwrap_or_default();
        batches.into_iter().flat_map(|((topic, _), batch)| refused(batch, rules(&topic))).collect()
    }
}

/// The records of a partition's batches that break a rule. At least one does, so that each try comes further.
fn refused(batch: Vec<Heard>, rules: Rules) -> Vec<Refused> {
    let (others, named): (Vec<_>, Vec<_>) =
        batch.into_iter().partition(|record| record.code == Code::InvalidDifferentRecord);
    let mut broken: Vec<bool> =
        named.iter().map(|record| !others.is_empty() || record.breaks(rules)).collect();
    if !broken.contains(&true)
        && let Some(furthest) = furthest(&named, rules)
    {
        broken[furthest] = true;
    }
    let refused = |record: Heard| {
        let reason = record.reason(rules);
        let timestamp =
            (record.code == Code::InvalidTimestamp || record.is_too_far(rules)).then_some(record.time);
        Refused { topic: record.topic, key: record.key, value: record.value, timestamp, reason }
    };
    named.into_iter().zip(broken).filter(|(_, broken)| *broken).map(|(record, _)| refused(record)).collect()
}

/// None breaks a rule by the clock here, which may not be that of the brokers, or whose rules are not known:
/// then the one that lies furthest ahead must break it where one does, or the one that lies furthest behind.
/// One that is alone is the one. Else nobody knows.
fn furthest(named: &[Heard], rules: Rules) -> Option<usize> {
    if named.len() == 1 {
        return Some(0);
    }
    let by_time = || named.iter().enumerate().filter(|(_, record)| record.code == Code::InvalidTimestamp);
    let (ahead, last) = by_time().max_by_key(|(_, record)| record.time)?;
    let (behind, first) = by_time().min_by_key(|(_, record)| record.time)?;
    let spare_ahead = rules.after.unwrap_or(AFTER) - (last.time - last.now);
    let spare_behind = rules.before.map_or(i64::MAX, |before| before - (first.now - first.time));
    Some(if spare_ahead <= spare_behind { ahead } else { behind })
}

/// What brokers have for `message.timestamp.after.max.ms` by default, where it is not known.
const AFTER: i64 = 60 * 60 * 1000;

impl Heard {
    /// True where it breaks a rule, by the clock here.
    fn breaks(&self, rules: Rules) -> bool {
        self.lacks_key(rules) || self.is_too_far(rules)
    }

    fn lacks_key(&self, rules: Rules) -> bool {
        self.code == Code::InvalidRecord && self.key.is_none() && rules.compacted.unwrap_or(true)
    }

    fn is_too_far(&self, rules: Rules) -> bool {
        let ahead = self.time - self.now;
        ahead > rules.after.unwrap_or(AFTER) || rules.before.is_some_and(|before| -ahead > before)
    }

    /// The rule that it breaks, and what would satisfy it.
    fn reason(&self, rules: Rules) -> String {
        let Self { topic, code, time, now, .. } = self;
        let (time, now) = (*time, *now);
        if self.lacks_key(rules) {
            return format!(
                "without a key: `{topic}` is compacted, and takes no such record; give the sink `key: FIELD`"
            );
        }
        if *code == Code::InvalidRecord && !self.is_too_far(rules) {
            return format!(
                "not what its topic takes: the brokers of `{topic}` have a rule of their own against it ({code})"
            );
        }
        let (kind, side, apart, most, property) = if time > now {
            ("later", "ahead of", time - now, rules.after, "message.timestamp.after.max.ms")
        } else {
            ("earlier", "behind", now - time, rules.before, "message.timestamp.before.max.ms")
        };
        let (date, apart) = (said(time), length(apart));
        let takes = match most {
            Some(most) => format!("takes those of up to {}", length(most)),
            None => "does not take that".to_owned(),
        };
        format!(
            "{kind} than its topic takes: its time is {date}, {apart} {side} the clock, and `{topic}` {takes} (`{property}`); mend the \
             time, or raise that bound"
        )
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A length of time, in the two largest units.
fn length(millis: i64) -> String {
    let seconds = millis / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let two = |first: (i64, &str), second: (i64, &str)| match second.0 {
        0 => format!("{} {}", first.0, first.1),
        more => format!("{} {} {more} {}", first.0, first.1, second.1),
    };
    if days > 0 {
        two((days, "d"), (hours, "h"))
    } else if hours > 0 {
        two((hours, "h"), (minutes, "min"))
    } else if minutes > 0 {
        two((minutes, "min"), (seconds % 60, "s"))
    } else {
        format!("{seconds} s")
    }
}

#[cfg(test)]
mod tests {
    use super::super::limits::Deletes;
    use super::*;

    const H: i64 = 3_600_000;
    const NOW: i64 = 1_700_000_000_000;
    const BOUNDS: Rules = Rules {
        after: Some(H),
        before: Some(48 * H),
        compacted: Some(false),
        largest: None,
        kept: None,
        deletes: Deletes::Nothing,
    };
    const COMPACTED: Rules = Rules { compacted: Some(true), ..BOUNDS };
    const UNKNOWN: Rules = Rules { after: None, before: None, compacted: None, ..BOUNDS };
    use Code::{InvalidDifferentRecord as Other, InvalidRecord as Record, InvalidTimestamp as Stamp};

    fn heard(code: Code, time: i64, keyed: bool, number: u8) -> Heard {
        Heard {
            code,
            topic: "t".to_owned(),
            partition: 0,
            key: keyed.then(|| b"key".to_vec()),
            value: Some(vec![number]),
            time,
            now: NOW,
        }
    }

    #[test]
    fn the_rule_that_a_record_breaks_is_named_with_what_satisfies_it() {
        let cases = [
            (Stamp, NOW + 2 * H + 60_000, true, BOUNDS),
            (Record, NOW + 2 * H, false, BOUNDS),
            (Stamp, NOW - 50 * H, true, BOUNDS),
            (Stamp, NOW + 30 * H, true, UNKNOWN),
            (Stamp, NOW - 30 * H, true, UNKNOWN),
            (Stamp, NOW + H - 5000, true, BOUNDS),
            (Record, NOW, false, COMPACTED),
            (Record, NOW, false, UNKNOWN),
            (Record, NOW, true, UNKNOWN),
        ];
        let said: String = cases
            .into_iter()
            .map(|(code, time, keyed, rules)| heard(code, time, keyed, 0).reason(rules) + "\n")
            .collect();
        insta::assert_snapshot!(said);
    }

    #[test]
    fn of_a_batch_those_are_refused_that_break_a_rule_and_their_neighbours_are_not() {
        // The code, how many minutes ahead, and whether it has a key.
        type Case<'a> = (&'a str, Rules, &'a [(Code, i64, bool)], &'a [usize]);
        let cases: [Case<'_>; 11] = [
            (
                "by the topic's rule",
                BOUNDS,
                &[(Stamp, -1, true), (Stamp, 61, true), (Stamp, 59, true), (Stamp, 120, true)],
                &[1, 3],
            ),
            ("of too long ago", BOUNDS, &[(Stamp, -1, true), (Stamp, -2881, true)], &[1]),
            ("by the default", UNKNOWN, &[(Stamp, -9000, true), (Stamp, 61, true), (Stamp, 59, true)], &[1]),
            ("named by the brokers", BOUNDS, &[(Other, 70, true), (Stamp, 5, true), (Other, 0, true)], &[1]),
            ("named, several", BOUNDS, &[(Record, 0, true), (Other, 0, true), (Record, 70, true)], &[0, 2]),
            (
                "the brokers' clock is behind",
                BOUNDS,
                &[(Stamp, 1, true), (Stamp, 58, true), (Stamp, 57, true)],
                &[1],
            ),
            ("the brokers' clock is ahead", BOUNDS, &[(Stamp, 1, true), (Stamp, -2879, true)], &[1]),
            (
                "without a key",
                COMPACTED,
                &[(Record, 0, true), (Record, 0, false), (Record, 0, false)],
                &[1, 2],
            ),
            ("without a key, rules not known", UNKNOWN, &[(Record, 0, true), (Record, 0, false)], &[1]),
            ("a rule that nobody knows, alone", COMPACTED, &[(Record, 0, true)], &[0]),
            ("a rule that nobody knows", COMPACTED, &[(Record, 0, true), (Record, 0, true)], &[]),
        ];
        for (name, rules, batch, expected) in cases {
            let heard = |(at, (code, minutes, keyed)): (usize, &(Code, i64, bool))| {
                heard(*code, NOW + minutes * 60_000, *keyed, at as u8)
            };
            let refused = refused(batch.iter().enumerate().map(heard).collect(), rules);
            let refused: Vec<usize> =
                refused.iter().filter_map(|r| r.value.as_ref()).map(|value| usize::from(value[0])).collect();
            assert_eq!(refused, expected, "{name}");
        }
    }
}
