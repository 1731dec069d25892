//! The scenarios: what happens, when, and what our log says of it.

use std::time::Duration;

use pipectl_framework::error::Consequence::{self, Abort, Fatal, Fenced, Refused, Retry};
use rdkafka::mocking::MockCoordinator;
use rdkafka::types::RDKafkaApiKey as Api;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::types::RDKafkaRespErr::*;

use super::copy::Stage::{self, Opening, Running};
use super::copy::{Cluster, GROUP, ID};

/// What the first try that fails says.
#[derive(Debug)]
pub(crate) enum Expected {
    /// No try fails: the client settles it by itself.
    Unnoticed,
    /// The first that fails has this consequence.
    First(Consequence),
    /// It depends on when the client looks: unnoticed, or tries again.
    PerhapsRetry,
}

/// Something that happens to a copying chain.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) stage: Stage,
    pub(crate) happens: Box<dyn Fn(&Cluster) + Send + Sync>,
    /// What happens once a try has failed.
    pub(crate) then: Option<fn(&Cluster)>,
    pub(crate) expected: Expected,
}

/// The next requests of one kind are answered with these errors.
fn errors(
    name: &'static str,
    stage: Stage,
    api: Api,
    errors: &'static [RDKafkaRespErr],
    expected: Expected,
) -> Scenario {
    let happens = Box::new(move |cluster: &Cluster| cluster.request_errors(api, errors));
    Scenario { name, stage, happens, then: None, expected }
}

fn event(
    name: &'static str,
    stage: Stage,
    expected: Expected,
    happens: impl Fn(&Cluster) + Send + Sync + 'static,
) -> Scenario {
    Scenario { name, stage, happens: Box::new(happens), then: None, expected }
}

use Expected::{First, PerhapsRetry, Unnoticed};

#[expect(clippy::too_many_lines, reason = "a table, read from top to bottom")]
pub(crate) fn all() -> Vec<Scenario> {
    vec![
        // Looking around.
        errors(
            "metadata: connections break",
            Opening,
            Api::Metadata,
            &[RD_KAFKA_RESP_ERR__TRANSPORT; 3],
            Unnoticed,
        ),
        errors(
            "coordinator loads",
            Opening,
            Api::FindCoordinator,
            &[RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE; 3],
            Unnoticed,
        ),
        errors(
            "coordinator: group not allowed",
            Opening,
            Api::FindCoordinator,
            &[RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED; 2],
            First(Refused),
        ),
        // A producer begins.
        errors(
            "id: coordinator loads",
            Opening,
            Api::InitProducerId,
            &[RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS; 3],
            Unnoticed,
        ),
        errors(
            "id: coordinator moved",
            Opening,
            Api::InitProducerId,
            &[RD_KAFKA_RESP_ERR_NOT_COORDINATOR; 2],
            Unnoticed,
        ),
        errors(
            "id: not allowed",
            Opening,
            Api::InitProducerId,
            &[RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED],
            First(Refused),
        ),
        errors(
            "id: time-out too long",
            Opening,
            Api::InitProducerId,
            &[RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT],
            First(Fatal),
        ),
        // A transaction begins.
        errors(
            "partitions: the last transaction ends",
            Running,
            Api::AddPartitionsToTxn,
            &[RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS; 3],
            Unnoticed,
        ),
        errors(
            "partitions: coordinator moved",
            Running,
            Api::AddPartitionsToTxn,
            &[RD_KAFKA_RESP_ERR_NOT_COORDINATOR; 2],
            Unnoticed,
        ),
        errors(
            "partitions: topic not allowed",
            Running,
            Api::AddPartitionsToTxn,
            &[RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED],
            First(Refused),
        ),
        errors(
            "partitions: fenced",
            Running,
            Api::AddPartitionsToTxn,
            &[RD_KAFKA_RESP_ERR_PRODUCER_FENCED],
            First(Fenced),
        ),
        errors(
            "offsets: coordinator loads",
            Running,
            Api::AddOffsetsToTxn,
            &[RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS; 2],
            Unnoticed,
        ),
        errors(
            "offsets: group not allowed",
            Running,
            Api::AddOffsetsToTxn,
            &[RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED],
            First(Refused),
        ),
        // Positions.
        errors(
            "positions: coordinator away",
            Running,
            Api::TxnOffsetCommit,
            &[RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE; 2],
            Unnoticed,
        ),
        errors(
            "positions: the group moved on",
            Running,
            Api::TxnOffsetCommit,
            &[RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION],
            First(Abort),
        ),
        errors(
            "positions: not a member",
            Running,
            Api::TxnOffsetCommit,
            &[RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID],
            First(Abort),
        ),
        errors(
            "positions: the group rebalances",
            Running,
            Api::TxnOffsetCommit,
            &[RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS],
            First(Abort),
        ),
        // The end of a transaction.
        errors(
            "end: coordinator away",
            Running,
            Api::EndTxn,
            &[RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE; 2],
            Unnoticed,
        ),
        errors("end: connection breaks", Running, Api::EndTxn, &[RD_KAFKA_RESP_ERR__TRANSPORT], Unnoticed),
        errors("end: fenced", Running, Api::EndTxn, &[RD_KAFKA_RESP_ERR_PRODUCER_FENCED], First(Fenced)),
        errors(
            "end: no such transaction",
            Running,
            Api::EndTxn,
            &[RD_KAFKA_RESP_ERR_INVALID_TXN_STATE],
            First(Retry),
        ),
        // Records.
        errors(
            "produce: leader moved",
            Running,
            Api::Produce,
            &[RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION; 3],
            Unnoticed,
        ),
        errors(
            "produce: connection breaks",
            Running,
            Api::Produce,
            &[RD_KAFKA_RESP_ERR__TRANSPORT; 2],
            Unnoticed,
        ),
        errors(
            "produce: too large",
            Running,
            Api::Produce,
            &[RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE],
            First(Fatal),
        ),
        errors(
            "produce: not allowed",
            Running,
            Api::Produce,
            &[RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED],
            First(Refused),
        ),
        errors(
            "produce: out of order",
            Running,
            Api::Produce,
            &[RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER],
            First(Abort),
        ),
        // Reading.
        errors(
            "fetch: leader moved",
            Running,
            Api::Fetch,
            &[RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION; 2],
            Unnoticed,
        ),
        errors(
            "fetch: connection breaks",
            Running,
            Api::Fetch,
            &[RD_KAFKA_RESP_ERR__TRANSPORT; 2],
            Unnoticed,
        ),
        errors(
            "committed: still being decided",
            Opening,
            Api::OffsetFetch,
            &[RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT; 2],
            Unnoticed,
        ),
        errors(
            "committed: not allowed",
            Opening,
            Api::OffsetFetch,
            &[RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED],
            First(Refused),
        ),
        // The group.
        errors(
            "join: another kind of consumer",
            Opening,
            Api::JoinGroup,
            &[RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL],
            First(Refused),
        ),
        errors(
            "join: coordinator moved",
            Opening,
            Api::JoinGroup,
            &[RD_KAFKA_RESP_ERR_NOT_COORDINATOR; 2],
            Unnoticed,
        ),
        errors(
            "heartbeat: thrown out",
            Running,
            Api::Heartbeat,
            &[RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID],
            PerhapsRetry,
        ),
        // Brokers.
        event("a broker that is slow", Running, Unnoticed, |cluster| {
            cluster.broker_round_trip_time(-1, Duration::from_millis(400)).unwrap();
        }),
        event("all brokers down for a second", Running, PerhapsRetry, |cluster| {
            cluster.broker_down(-1).unwrap();
            std::thread::sleep(Duration::from_secs(1));
            cluster.broker_up(-1).unwrap();
        }),
        event("the coordinators move", Running, Unnoticed, |cluster| {
            for broker in [1, 2, 3] {
                cluster.coordinator(MockCoordinator::Transaction(ID.to_owned()), broker).unwrap();
                cluster.coordinator(MockCoordinator::Group(GROUP.to_owned()), broker).unwrap();
            }
        }),
        // librdkafka's own time-out does not end this: see `writer`.
        Scenario {
            then: Some(|cluster| cluster.broker_up(3).unwrap()),
            ..event(
                "the group's coordinator is gone when positions are sent",
                Running,
                First(Abort),
                |cluster| {
                    cluster.coordinator(MockCoordinator::Transaction(ID.to_owned()), 1).unwrap();
                    cluster.coordinator(MockCoordinator::Group(GROUP.to_owned()), 3).unwrap();
                    for partition in [0, 1] {
                        cluster.partition_leader("in", partition, Some(1)).unwrap();
                        cluster.partition_leader("out", partition, Some(2)).unwrap();
                    }
                    cluster.broker_down(3).unwrap();
                },
            )
        },
        event("the leader moves", Running, Unnoticed, |cluster| {
            for partition in [0, 1] {
                cluster.partition_leader("in", partition, Some(2)).unwrap();
                cluster.partition_leader("out", partition, Some(3)).unwrap();
            }
        }),
    ]
}
