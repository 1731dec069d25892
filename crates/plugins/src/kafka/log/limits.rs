//! How large a record each topic takes.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pipectl_framework::error::{Consequence, Error, Result};
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::types::RDKafkaErrorCode;

use super::client::{Listening, Voice};
use super::errors::{consequence, error};
use super::settings::KafkaSettings;

/// What a record takes in a batch of its own beside its key and its value: 61 bytes of the batch and up to 36 of the record, and some to spare.
const OVERHEAD: usize = 256;
/// How long the brokers may take to tell.
const PATIENCE: Duration = Duration::from_secs(10);
/// The topic's property.
const TOPIC_MAX: &str = "max.message.bytes";

/// What the topics are known to take: `max.message.bytes` of each, which counts a whole batch; `None` where this user may not know.
#[derive(Debug, Default)]
pub(super) struct Limits(Mutex<BTreeMap<String, Option<usize>>>);

impl Limits {
    /// The largest key and value together. A batch is taken to be as large as it is before it is compressed.
    pub(super) async fn largest_record(&self, settings: &KafkaSettings, topic: &str) -> Result<usize> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(topic).copied();
        let of_topic = match known {
            Some(known) => known,
            None => {
                let found = ask(settings, topic).await?;
                self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(topic.to_owned(), found);
                found
            }
        };
        Ok(of_topic.unwrap_or(usize::MAX).min(settings.message_max()).saturating_sub(OVERHEAD))
    }

    /// The least that one of the topics takes, of those that were asked about.
    pub(super) fn least(&self) -> Option<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().copied().flatten().min()
    }
}

async fn ask(settings: &KafkaSettings, topic: &str) -> Result<Option<usize>> {
    let doing = format!("cannot look how large a record topic `{topic}` takes");
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
            return Ok(None);
        }
        Err(code) => return Err(Error::retry(format!("{doing}: {code}"))),
    };
    Ok(found.get(TOPIC_MAX).and_then(|entry| entry.value.as_ref()).and_then(|value| value.parse().ok()))
}
