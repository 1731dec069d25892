//! librdkafka's error codes as our consequences, with remedies.

use pipectl_framework::error::{Consequence, Error};
use rdkafka::error::{KafkaError, RDKafkaError};
use rdkafka::types::RDKafkaErrorCode as Code;

/// What an error code makes the runner do.
pub(super) fn consequence(code: Code) -> Consequence {
    match code {
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch | Code::FencedInstanceId => {
            Consequence::Fenced
        }
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState
        | Code::SSL
        | Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::InconsistentGroupProtocol
        | Code::PolicyViolation => Consequence::Refused,
        Code::UnknownTopic
        | Code::UnknownTopicOrPartition
        | Code::UnknownPartition
        | Code::InvalidTopic
        | Code::MessageSizeTooLarge
        | Code::InvalidMessageSize
        | Code::MessageBatchTooLarge
        | Code::InvalidTimestamp
        | Code::InvalidRecord
        | Code::InvalidConfig
        | Code::InvalidArgument
        | Code::InvalidPartitions
        | Code::InvalidReplicationFactor
        | Code::InvalidGroupId
        | Code::InvalidTransactionTimeout
        | Code::OffsetMetadataTooLarge
        | Code::UnsupportedFeature
        | Code::UnsupportedVersion
        | Code::UnsupportedForMessageFormat => Consequence::Fatal,
        Code::IllegalGeneration
        | Code::UnknownMemberId
        | Code::RebalanceInProgress
        | Code::AssignmentLost
        | Code::FencedMemberEpoch
        | Code::StaleMemberEpoch
        // The record of the same batch that was refused is told of as well.
        | Code::InvalidDifferentRecord => Consequence::Abort,
        // All else passes, or is seen again: brokers that come and go, leaders that move, time-outs.
        _ => Consequence::Retry,
    }
}

fn remedy(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch | Code::FencedInstanceId => {
            "run only one process with this pipeline's `name:`, or give each file a name of its own"
        }
        Code::IllegalSASLState => {
            "that port asks for no password: take `security.sasl` out of the connection, or name the port that does"
        }
        Code::Authentication | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism => {
            "check mechanism, user name and password under `security.sasl` of the connection"
        }
        Code::SSL => {
            "name the authority that signed it in `security.tls.ca`, and the brokers by a name that it has in it"
        }
        Code::TopicAuthorizationFailed => "let this user read and write the topic (an ACL of the brokers)",
        Code::GroupAuthorizationFailed => {
            "let this user read with this consumer group (an ACL of the brokers)"
        }
        Code::ClusterAuthorizationFailed => {
            "let this user do this, or create the topics yourself (an ACL of the brokers)"
        }
        Code::TransactionalIdAuthorizationFailed => {
            "let this user write with all transactional ids that begin with the pipeline's name (a prefixed ACL of the brokers)"
        }
        Code::InconsistentGroupProtocol => {
            "a consumer of another kind is in this group: stop it, or give the pipeline another `name:`, or its source a `group:` of its own"
        }
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
            "create it, or let the sink that writes it do so with `create: true`"
        }
        Code::InvalidTopic => "use at most 249 of the characters a-z, A-Z, 0-9, `.`, `_` and `-`",
        Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge => {
            "make the record smaller before the sink, for example by selecting fewer fields, or raise `max.message.bytes` of the \
             topic and `message.max.bytes` of the connection; where this user may describe the topic's configuration, \
             `on_error` of the sink decides before anything is sent"
        }
        Code::InvalidReplicationFactor => {
            "set `replication` of the connection to no more than there are brokers"
        }
        Code::InvalidTransactionTimeout => {
            "raise `transaction.max.timeout.ms` of the brokers to 10 s at least"
        }
        Code::InvalidTimestamp => {
            "the topic bounds how far a timestamp may be from now: see `message.timestamp.*.max.ms`"
        }
        Code::IllegalGeneration
        | Code::UnknownMemberId
        | Code::RebalanceInProgress
        | Code::AssignmentLost => {
            "nothing to do: the chain reads the committed positions again and goes on from there"
        }
        _ => return None,
    })
}

/// An error of this code.
pub(super) fn error_of(code: Code, message: &str) -> Error {
    let error = Error::new(consequence(code), message);
    match remedy(code) {
        Some(remedy) => error.remedy(remedy),
        None => error,
    }
}

/// What went wrong while `doing` something.
pub(super) fn error(doing: &str, error: KafkaError) -> Error {
    match &error {
        KafkaError::Transaction(of) => transaction(doing, of),
        KafkaError::ClientConfig(_, description, name, value) => {
            // The value may be a password.
            let value = if name.contains("password") || name.contains(".pem") { "***" } else { value };
            Error::fatal(format!("{doing}: the Kafka client does not take {name} = {value}: {description}"))
                .remedy("mend `properties` or `security` of the connection")
        }
        KafkaError::ClientCreation(why) => Error::fatal(format!("{doing}: {why}"))
            .remedy("mend `properties` or `security` of the connection"),
        _ => match error.rdkafka_error_code() {
            Some(code) => error_of(code, &format!("{doing}: {code}")),
            None => Error::retry(doing).caused_by(error),
        },
    }
}

/// A transactional call's error: librdkafka itself says what it asks for.
pub(super) fn transaction(doing: &str, error: &RDKafkaError) -> Error {
    let code = error.code();
    let consequence = match consequence(code) {
        known @ (Consequence::Fenced | Consequence::Refused) => known,
        // A new producer would be told the same.
        _ if matches!(
            code,
            Code::InvalidTransactionTimeout
                | Code::UnsupportedVersion
                | Code::UnsupportedFeature
                | Code::UnsupportedForMessageFormat
        ) =>
        {
            Consequence::Fatal
        }
        // Fatal for this producer, not for the chain: a new one settles it.
        _ if error.is_fatal() => Consequence::Retry,
        _ if error.txn_requires_abort() => Consequence::Abort,
        other => other,
    };
    let error = Error::new(consequence, format!("{doing}: {}", error.string()));
    match remedy(code) {
        Some(remedy) => error.remedy(remedy),
        None => error,
    }
}
