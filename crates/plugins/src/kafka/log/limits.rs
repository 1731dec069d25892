//! What each topic takes: how large a record, and of what time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pipectl_framework::error::{Consequence, Error, Result};
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::types::RDKafkaErrorCode;

use super::client::{Listening, Voice};
use super::errors::{consequence, error};
use super::settings::KafkaSettings;

/// What a record takes in a batch of its own beside its key and its value: 61 bytes of the batch and up to 36
/// of the record, and some to spare.
const OVERHEAD: usize = 256;
/// How long the brokers may take to tell.
const PATIENCE: Duration = Duration::from_secs(10);
/// The topic's property.
const TOPIC_MAX: &str = "max.message.bytes";

/// What a topic takes, as far as this user may know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Rules {
    /// `max.message.bytes`, which counts a whole batch.
    pub(super) largest: Option<usize>,
    /// How many milliseconds a time may be ahead of the brokers' clock; `None` without a bound.
    pub(super) after: Option<i64>,
    /// How many it may be behind.
    pub(super) before: Option<i64>,
    /// For how many milliseconds records are kept after their timestamp; `None` for ever.
    pub(super) kept: Option<u64>,
    /// Whether records are deleted that are old, or that are more than it may hold.
    pub(super) deletes: Deletes,
    /// Whether a record must have a key; `None` where this user may not know.
    pub(super) compacted: Option<bool>,
}

/// What a topic deletes by its properties.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Deletes {
    /// Nothing, as far as this user may know.
    #[default]
    Nothing,
    /// Records that are older than so many milliseconds, or, without a number, beyond so many bytes.
    Old(Option<u64>),
}

/// The rules of the topics that were asked about.
#[derive(Debug, Default)]
pub(super) struct Limits {
    rules: Mutex<BTreeMap<String, Rules>>,
    told: Mutex<BTreeSet<String>>,
}

impl Limits {
    /// The largest key and value together. A batch is taken to be as large as it is before it is compressed.
    pub(super) async fn largest_record(&self, settings: &KafkaSettings, topic: &str) -> Result<usize> {
        let rules = self.rules(settings, topic).await?;
        Ok(rules.largest.unwrap_or(usize::MAX).min(settings.message_max()).saturating_sub(OVERHEAD))
    }

    /// What a topic takes; the brokers are asked once.
    pub(super) async fn rules(&self, settings: &KafkaSettings, topic: &str) -> Result<Rules> {
        if let Some(known) = self.known(topic) {
            return Ok(known);
        }
        let found = ask(settings, topic).await?;
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).insert(topic.to_owned(), found);
        Ok(found)
    }

    /// Asks again the next time.
    pub(super) fn forget(&self, topic: &str) {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).remove(topic);
    }

    /// True the first time that something is to be told of a topic; several chains ask.
    pub(super) fn is_untold(&self, topic: &str) -> bool {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(topic.to_owned())
    }

    /// What a topic was found to take when it was asked about.
    pub(super) fn known(&self, topic: &str) -> Option<Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).get(topic).copied()
    }

    /// The size that the strictest of the topics takes, of those that were asked about.
    pub(super) fn least(&self) -> Option<usize> {
        let known = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().filter_map(|rules| rules.largest).min()
    }
}

async fn ask(settings: &KafkaSettings, topic: &str) -> Result<Rules> {
    let doing = format!("cannot look what records topic `{topic}` takes");
    let admin: AdminClient<Listening> = settings
        .client()
        .create_with_context(Listening(Voice::new(&settings.brokers, None)))
        .map_err(|e| error(&doing, e))?;
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    let found = admin.describe_configs(&[ResourceSpecifier::Topic(topic)], &options).await;
    let found = found.map_err(|e| e.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail));
    let found = match found.and_then(|mut found| found.pop().unwrap_or(Err(RDKafkaErrorCode::Fail))) {
        Ok(found) => found,
        Err(code) if matches!(consequence(code), Consequence::Refused | Consequence::Fatal) => {
            tracing::debug!("{doing}: {code}; `message.max.bytes` of the connection alone counts");
            return Ok(Rules::default());
        }
        Err(code) => return Err(Error::retry(format!("{doing}: {code}"))),
    };
    let text = |name: &str| found.get(name).and_then(|entry| entry.value.as_deref());
    let number = |name: &str| text(name).and_then(|value| value.parse::<i64>().ok());
    let bound = |name: &str| number(name).filter(|bound| *bound != i64::MAX);
    // Where the brokers stamp records themselves, any time will do. Before Kafka 3.6 there was one bound for
    // both sides.
    let stamps = text("message.timestamp.type") == Some("LogAppendTime");
    let either = || bound("message.timestamp.difference.max.ms");
    let time = |name: &str| bound(name).or_else(either).filter(|_| !stamps);
    let deletes = text("cleanup.policy").is_some_and(|policy| policy.contains("delete"));
    let retention = number("retention.ms").and_then(|kept| u64::try_from(kept).ok());
    let bounded = retention.is_some() || number("retention.bytes").is_some_and(|bytes| bytes >= 0);
    Ok(Rules {
        largest: number(TOPIC_MAX).and_then(|bytes| usize::try_from(bytes).ok()),
        after: time("message.timestamp.after.max.ms"),
        before: time("message.timestamp.before.max.ms"),
        // Where the brokers stamp records themselves, the time of a row does not matter.
        kept: retention.filter(|_| deletes && !stamps),
        deletes: if deletes && bounded { Deletes::Old(retention) } else { Deletes::Nothing },
        compacted: text("cleanup.policy").map(|policy| policy.contains("compact")),
    })
}
