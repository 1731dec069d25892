//! What librdkafka's clients say: log lines go to `tracing`, and the cause of a failure is kept for the
//! error.

use std::sync::{Mutex, PoisonError};

use pipectl_framework::error::{Consequence, Error};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use super::errors::{consequence, error_of};
use super::reason::{Reason, clean, unverified};

/// What a client has said.
#[derive(Debug)]
pub(super) struct Voice {
    brokers: String,
    /// The client's group or transactional id, where it has one.
    name: Option<String>,
    last: Mutex<Option<(RDKafkaErrorCode, String)>>,
    /// The last that was logged of a connection that failed: some failures are told in no other way.
    failed: Mutex<Option<String>>,
}

impl Voice {
    pub(super) fn new(brokers: &str, name: Option<&str>) -> Self {
        Self {
            brokers: brokers.to_owned(),
            name: name.map(str::to_owned),
            last: Mutex::new(None),
            failed: Mutex::new(None),
        }
    }

    /// What cannot pass by waiting: a wrong password, a bad certificate, no authority.
    pub(super) fn refusal(&self) -> Option<Error> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (code, reason) = last.as_ref().filter(|(code, _)| consequence(*code) == Consequence::Refused)?;
        let brokers = &self.brokers;
        if unverified(reason) {
            let message =
                format!("the certificate of Kafka at {brokers} could not be verified: nothing was sent");
            return Some(error_of(*code, &message));
        }
        let name = self.name.as_deref().unwrap_or_default();
        let whom = match code {
            RDKafkaErrorCode::GroupAuthorizationFailed => format!("the group `{name}` to this user"),
            RDKafkaErrorCode::TransactionalIdAuthorizationFailed => {
                format!("the transactional id `{name}` to this user")
            }
            RDKafkaErrorCode::InconsistentGroupProtocol => format!("the group `{name}` to this client"),
            _ => "this client".to_owned(),
        };
        Some(error_of(*code, &format!("Kafka at {brokers} refuses {whom}: {}", clean(reason))))
    }

    /// The brokers do not answer: what is known of why; `error` is what a call of the client said of it.
    pub(super) fn unreachable(&self, doing: &str, error: Option<&KafkaError>) -> Error {
        if let Some(refusal) = self.refusal() {
            return refusal;
        }
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        // "All brokers down", and that a call failed, say less than nothing.
        let said = last.as_ref().filter(|(code, _)| *code != RDKafkaErrorCode::AllBrokersDown);
        let reason = Reason::of(said.map(|(_, reason)| reason.as_str()).or(failed.as_deref()));
        if let Some(error) = error {
            tracing::debug!("{doing}: {error}");
        }
        Error::retry(format!("{doing}: Kafka at {} does not answer: {}", self.brokers, reason.what))
            .remedy(reason.remedy)
    }

    pub(super) fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // A connection that fails, each time that it is tried: our own errors say it once, with the same
        // cause.
        if matches!(facility, "FAIL" | "ERROR") {
            tracing::debug!(target: "librdkafka", "{facility}: {message}");
            if facility == "FAIL" {
                *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(message.to_owned());
            }
            return;
        }
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error => tracing::error!(target: "librdkafka", "{facility}: {message}"),
            RDKafkaLogLevel::Warning => tracing::warn!(target: "librdkafka", "{facility}: {message}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::debug!(target: "librdkafka", "{facility}: {message}");
            }
            RDKafkaLogLevel::Debug => tracing::trace!(target: "librdkafka", "{facility}: {message}"),
        }
    }

    /// An error that the client tells of on its own account. It goes on by itself; only its cause is kept.
    pub(super) fn error(&self, error: &KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        if code == RDKafkaErrorCode::PartitionEOF {
            return;
        }
        tracing::debug!(target: "librdkafka", "{code}: {reason}");
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // "All brokers down" says less than what came before it, and a refusal stays.
        let refused = last.as_ref().is_some_and(|(code, _)| consequence(*code) == Consequence::Refused);
        if !refused && (code != RDKafkaErrorCode::AllBrokersDown || last.is_none()) {
            *last = Some((code, reason.to_owned()));
        }
    }
}

/// A context that does no more than listen.
#[derive(Debug)]
pub(super) struct Listening(pub(super) Voice);

impl ClientContext for Listening {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(&error, reason);
    }
}

impl rdkafka::consumer::ConsumerContext for Listening {}

/// Passes a context's log lines and errors on to its field `voice`.
macro_rules! listens {
    ($context:ty) => {
        impl rdkafka::ClientContext for $context {
            fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
                self.voice.log(level, facility, message);
            }

            fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
                self.voice.error(&error, reason);
            }
        }
    };
}
pub(super) use listens;
