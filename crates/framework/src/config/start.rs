//! Where a source begins of which no position is kept, as it is written.

use std::fmt;

use schemars::JsonSchema;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::DurationText;

/// `earliest`, `latest`, `{ offset: N }`, `{ time: RFC3339 }` or `{ ago: 1h }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum StartAt {
    /// At the oldest record that is there.
    Earliest,
    /// At the end: only records written from now on.
    Latest,
    /// At this offset of each partition, 0 or more.
    Offset(#[schemars(with = "u64")] i64),
    /// In each partition at the first record of this time or later; milliseconds since 1970, not before.
    Time(#[schemars(with = "String")] i64),
    /// In each partition at the first record that is no older than this.
    Ago(DurationText),
}

/// The keys of the long form.
const KEYS: &[&str] = &["offset", "time", "ago"];

impl<'de> Deserialize<'de> for StartAt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Forms)
    }
}

struct Forms;

impl<'de> Visitor<'de> for Forms {
    type Value = StartAt;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "`earliest`, `latest`, `{ offset: 42 }`, `{ time: 2026-01-31T09:30:00Z }` or `{ ago: 1h }`",
        )
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<StartAt, E> {
        match text {
            "earliest" => Ok(StartAt::Earliest),
            "latest" => Ok(StartAt::Latest),
            "offset" => Err(E::custom("`offset` needs a number: `start: { offset: 42 }`")),
            "time" => Err(E::custom("`time` needs a time: `start: { time: 2026-01-31T09:30:00Z }`")),
            "ago" => Err(E::custom("`ago` needs a length of time: `start: { ago: 1h }`")),
            _ => Err(E::unknown_variant(text, &["earliest", "latest", "offset", "time", "ago"])),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<StartAt, A::Error> {
        let Some(key) = entries.next_key::<String>()? else {
            return Err(A::Error::custom("says no beginning: one of `offset`, `time` and `ago` stands here"));
        };
        let start = match key.as_str() {
            "offset" => StartAt::Offset(entries.next_value::<Offset>()?.0),
            "time" => StartAt::Time(entries.next_value::<Time>()?.0),
            "ago" => StartAt::Ago(entries.next_value::<Ago>()?.0),
            "earliest" | "latest" => {
                return Err(A::Error::custom(format!("`{key}` stands alone: `start: {key}`")));
            }
            _ => return Err(A::Error::unknown_field(&key, KEYS)),
        };
        match entries.next_key::<String>()? {
            None => Ok(start),
            Some(other) if KEYS.contains(&other.as_str()) => {
                Err(A::Error::custom(format!("`{key}` and `{other}` are two beginnings: leave one of them")))
            }
            Some(other) => Err(A::Error::unknown_field(&other, KEYS)),
        }
    }
}

/// An offset.
struct Offset(i64);

impl<'de> Deserialize<'de> for Offset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        match value.as_i64() {
            Some(offset @ 0..) => Ok(Self(offset)),
            Some(_) => Err(D::Error::custom(
                "an offset is 0 or more, and counted from the first record that the partition ever had; `latest` is its end",
            )),
            None => Err(D::Error::custom("expected an offset: a whole number from 0 on, of 64 bits")),
        }
    }
}

/// A time.
struct Time(i64);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let text = value.as_str().unwrap_or_default();
        let Ok(time) = chrono::DateTime::parse_from_rfc3339(text) else {
            let written = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            return Err(D::Error::custom(format!(
                "`{written}` is no time: expected a day, a time of day and how far its clock is ahead of UTC, such as \
                 `2026-01-31T09:30:00Z` or `2026-01-31T17:30:00+08:00`"
            )));
        };
        match time.timestamp_millis() {
            millis @ 0.. => Ok(Self(millis)),
            _ => Err(D::Error::custom(format!(
                "`{text}` is before 1970: no record is; `earliest` begins with the oldest"
            ))),
        }
    }
}

/// A length of time back from now.
struct Ago(DurationText);

impl<'de> Deserialize<'de> for Ago {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match DurationText::deserialize(deserializer)? {
            ago if ago.millis() > 0 => Ok(Self(ago)),
            _ => Err(D::Error::custom(
                "`ago` is more than no time; `latest` begins with what is written from now on",
            )),
        }
    }
}

impl fmt::Display for StartAt {
    /// As the end of a sentence: it begins *from its beginning*.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earliest => f.write_str("from its beginning"),
            Self::Latest => f.write_str("from its end on"),
            Self::Offset(offset) => write!(f, "from offset {offset} of each partition on"),
            Self::Time(time) => match chrono::DateTime::from_timestamp_millis(*time) {
                Some(date) => {
                    let date = date.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
                    write!(f, "from the first record of {date} or later on")
                }
                None => write!(f, "from the first record of {time} ms since 1970 or later on"),
            },
            Self::Ago(ago) => write!(f, "from the first record of the last {ago} on"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<StartAt, String> {
        serde_json::from_str(json).map_err(|e| e.to_string())
    }

    #[test]
    fn each_form_is_read_and_said() {
        let cases = [
            ("\"earliest\"", "from its beginning"),
            ("\"latest\"", "from its end on"),
            ("{\"offset\": 0}", "from offset 0 of each partition on"),
            ("{\"offset\": 9223372036854775807}", "from offset 9223372036854775807 of each partition on"),
            (
                "{\"time\": \"2026-01-31T17:30:00+08:00\"}",
                "from the first record of 2026-01-31T09:30:00Z or later on",
            ),
            (
                "{\"time\": \"2026-01-31T09:30:00.1239Z\"}",
                "from the first record of 2026-01-31T09:30:00.123Z or later on",
            ),
            (
                "{\"time\": \"1970-01-01T00:00:00Z\"}",
                "from the first record of 1970-01-01T00:00:00Z or later on",
            ),
            ("{\"ago\": \"90m\"}", "from the first record of the last 90m on"),
        ];
        for (json, said) in cases {
            assert_eq!(read(json).map(|start| start.to_string()), Ok(said.to_owned()), "{json}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let cases = [
            ("\"erliest\"", "unknown variant `erliest`"),
            ("\"offset\"", "needs a number"),
            ("\"time\"", "needs a time"),
            ("\"ago\"", "needs a length of time"),
            ("{}", "says no beginning"),
            ("[]", "expected `earliest`"),
            ("5", "expected `earliest`"),
            ("{\"latest\": true}", "stands alone"),
            ("{\"offset\": -1}", "0 or more"),
            ("{\"offset\": 1.5}", "a whole number"),
            ("{\"offset\": 9223372036854775808}", "a whole number"),
            ("{\"offset\": \"5\"}", "a whole number"),
            ("{\"offset\": null}", "a whole number"),
            ("{\"time\": \"2026-02-30T00:00:00Z\"}", "is no time"),
            ("{\"time\": \"2026-01-31\"}", "is no time"),
            ("{\"time\": \"2026-01-31T09:30:00\"}", "is no time"),
            ("{\"time\": 1769851800}", "`1769851800` is no time"),
            ("{\"time\": \"1969-12-31T23:59:59.999Z\"}", "before 1970"),
            ("{\"ago\": \"0s\"}", "more than no time"),
            ("{\"ago\": \"101y\"}", "not a unit"),
            ("{\"ago\": \"90000000d\"}", "out of range"),
            ("{\"ago\": \"-1h\"}", "not a length of time"),
            ("{\"ago\": \"1h\", \"offset\": 5}", "two beginnings"),
            ("{\"ago\": \"1h\", \"of\": 5}", "unknown field `of`"),
            ("{\"ofset\": 5}", "unknown field `ofset`"),
        ];
        for (json, said) in cases {
            let refused = read(json).unwrap_err();
            assert!(refused.contains(said), "{json}: {refused}");
        }
    }
}
