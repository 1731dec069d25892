//! Which partitions a consumer has, and where reading starts in each.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pipectl_framework::batch::Partition;
use pipectl_framework::clock::Millis;
use pipectl_framework::log::{Assignment, Gone, Position, Start};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};

use super::client::{Voice, listens};

/// How long the brokers may take to tell positions.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// How a consumer stands in its group at one moment: its member's id, and the generation.
#[derive(Clone)]
pub(super) struct Standing(pub(super) Arc<ConsumerGroupMetadata>);

impl std::fmt::Debug for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Standing")
    }
}

/// What the group has decided. librdkafka tells it inside a poll, where nothing may block; the thread deals
/// with it after the poll.
#[derive(Debug)]
pub(super) enum Rebalance {
    /// These partitions are ours, and this is how the consumer stands in its group with them.
    Assign(Vec<i32>, Option<Standing>),
    /// Ours no more; `lost` where they are somebody else's already.
    Revoke { lost: bool },
}

/// The context of a consumer.
#[derive(Debug)]
pub(super) struct ReadContext {
    pub(super) voice: Voice,
    rebalances: Mutex<VecDeque<Rebalance>>,
    closing: AtomicBool,
}

listens!(ReadContext);

impl ReadContext {
    pub(super) fn new(brokers: &str, group: Option<&str>) -> Self {
        Self {
            voice: Voice::new(brokers, group),
            rebalances: Mutex::default(),
            closing: AtomicBool::new(false),
        }
    }

    /// From now on whatever the group decides is let go at once.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    pub(super) fn next_rebalance(&self) -> Option<Rebalance> {
        self.rebalances.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

impl ConsumerContext for ReadContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, what: RDKafkaRespErr, list: &mut TopicPartitionList) {
        if self.closing.load(Ordering::Relaxed) {
            if let Err(error) = consumer.unassign() {
                tracing::warn!("a consumer that closes cannot let its partitions go: {error}");
            }
            return;
        }
        let rebalance = match what {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                // Taken here: it is the newest one later, which may be that of an assignment after this.
                let standing = consumer.group_metadata().map(|metadata| Standing(Arc::new(metadata)));
                Rebalance::Assign(
                    list.elements().iter().map(TopicPartitionListElem::partition).collect(),
                    standing,
                )
            }
            _ => Rebalance::Revoke { lost: consumer.assignment_lost() },
        };
        self.rebalances.lock().unwrap_or_else(PoisonError::into_inner).push_back(rebalance);
    }
}

/// Asks the brokers where these partitions of a topic start and end (for a reader of committed records), in
/// two requests.
pub(super) fn bounds(
    consumer: &BaseConsumer<ReadContext>,
    topic: &str,
    partitions: &[i32],
    timeout: Duration,
) -> KafkaResult<Vec<(i64, i64)>> {
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let ask = |which| offsets(consumer, topic, partitions, which, timeout);
    Ok(ask(Offset::Beginning)?.into_iter().zip(ask(Offset::End)?).collect())
}

/// Asks the brokers where these partitions of a topic end (for a client of committed records: where the first
/// transaction begins that is still open).
pub(super) fn ends<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partitions: &[i32],
    timeout: Duration,
) -> KafkaResult<Vec<i64>> {
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    offsets(consumer, topic, partitions, Offset::End, timeout)
}

fn offsets<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partitions: &[i32],
    which: Offset,
    timeout: Duration,
) -> KafkaResult<Vec<i64>> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition_offset(topic, *partition, which)?;
    }
    let found = consumer.offsets_for_times(list, timeout)?;
    let offset = |partition: &i32| match told(&found, topic, *partition)? {
        Offset::Offset(offset) if offset >= 0 => Ok(offset),
        _ => Err(UNKNOWN),
    };
    partitions.iter().map(offset).collect()
}

const UNKNOWN: KafkaError = KafkaError::OffsetFetch(RDKafkaErrorCode::OffsetNotAvailable);

/// What brokers told of a partition.
fn told(found: &TopicPartitionList, topic: &str, partition: i32) -> KafkaResult<Offset> {
    let element = found.find_partition(topic, partition).ok_or(UNKNOWN)?;
    element.error()?;
    Ok(element.offset())
}

/// Asks the brokers for the first record of each of these partitions that has this timestamp or a later one
/// (KIP-79); `None` where there is none that a reader of committed records may read.
fn of_time(
    consumer: &BaseConsumer<ReadContext>,
    topic: &str,
    partitions: &[i32],
    time: Millis,
) -> KafkaResult<Vec<Option<i64>>> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        // As an offset, as what is asked: a time before 1970 would be a word such as "the end".
        list.add_partition_offset(topic, *partition, Offset::Offset(time.max(0)))?;
    }
    let found = consumer.offsets_for_times(list, TIMEOUT)?;
    let offset = |partition: &i32| match told(&found, topic, *partition)? {
        Offset::Offset(offset) if offset >= 0 => Ok(Some(offset)),
        Offset::End => Ok(None),
        _ => Err(UNKNOWN),
    };
    partitions.iter().map(offset).collect()
}

/// What the group has committed for these partitions, in their order.
pub(super) fn committed(
    consumer: &BaseConsumer<ReadContext>,
    partitions: &[Partition],
) -> KafkaResult<Vec<Option<Position>>> {
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition(&partition.source, partition.index);
    }
    let found = consumer.committed_offsets(list, TIMEOUT)?;
    partitions
        .iter()
        .map(|partition| {
            let Some(element) = found.find_partition(&partition.source, partition.index) else {
                return Ok(None);
            };
            element.error()?;
            let Offset::Offset(offset) = element.offset() else { return Ok(None) };
            let metadata = element.metadata().to_owned();
            Ok(Some(Position { partition: partition.clone(), offset, metadata }))
        })
        .collect()
}

/// Positions as librdkafka wants them.
pub(super) fn list_of(positions: &[Position]) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(positions.len());
    for position in positions {
        let mut element = list.add_partition(&position.partition.source, position.partition.index);
        element.set_offset(Offset::Offset(position.offset))?;
        element.set_metadata(&position.metadata);
    }
    Ok(list)
}

/// Where reading of a partition starts.
#[derive(Debug)]
pub(super) struct Begin {
    pub(super) assignment: Assignment,
    /// Where it ends now.
    pub(super) end: i64,
    /// What was to be read, and is there no more.
    pub(super) gone: Option<Gone>,
    /// It starts at the first record of this time or later, which is not before the start of the assignment.
    pub(super) since: Option<Millis>,
}

/// Where reading of these partitions starts. The topic had `known` partitions when the reader was opened.
pub(super) fn starts(
    consumer: &BaseConsumer<ReadContext>,
    topic: &str,
    partitions: &[Partition],
    in_group: bool,
    start: Start,
    known: u32,
) -> KafkaResult<Vec<Begin>> {
    let indexes: Vec<i32> = partitions.iter().map(|partition| partition.index).collect();
    let bounds = bounds(consumer, topic, &indexes, TIMEOUT)?;
    let committed = if in_group { committed(consumer, partitions)? } else { vec![None; partitions.len()] };
    let of_time = match start {
        Start::Time(time) if committed.contains(&None) => of_time(consumer, topic, &indexes, time)?,
        _ => vec![None; partitions.len()],
    };
    let one =
        |(((partition, bounds), committed), of_time): (((&Partition, _), Option<Position>), Option<i64>)| {
            let added = i64::from(partition.index) >= i64::from(known);
            let start = if added { Start::Earliest } else { start };
            let since = match start {
                Start::Time(time) => of_time.and(Some(time)).filter(|_| committed.is_none()),
                _ => None,
            };
            Begin { since, ..begin(partition, bounds, committed, start.offset(bounds, |_| of_time)) }
        };
    Ok(partitions.iter().zip(bounds).zip(committed).zip(of_time).map(one).collect())
}

/// Where reading of a partition starts that has records from `low` up to `high`: where nothing is committed,
/// at `otherwise`.
fn begin(
    partition: &Partition,
    (low, high): (i64, i64),
    committed: Option<Position>,
    otherwise: i64,
) -> Begin {
    let (committed, start, from) = match committed {
        Some(position) if position.offset < low => {
            let from = position.offset;
            (Some(position), low, Some(from))
        }
        // What was committed is of a topic that is there no more, its note too.
        Some(position) if position.offset > high => (None, low, Some(position.offset)),
        Some(position) => {
            let start = position.offset;
            (Some(position), start, None)
        }
        None => (None, otherwise, None),
    };
    let gone = from.map(|from| Gone { partition: partition.clone(), from, to: start });
    Begin {
        assignment: Assignment { partition: partition.clone(), committed, start },
        end: high,
        gone,
        since: None,
    }
}

/// True for what brokers answer while they agree on a partition's leader, as they do about a new topic.
pub(super) fn settling(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{
        FencedLeaderEpoch, LeaderNotAvailable, NotLeaderForPartition, OffsetNotAvailable, UnknownLeaderEpoch,
        UnknownTopicOrPartition,
    };
    matches!(
        error.rdkafka_error_code(),
        Some(
            FencedLeaderEpoch
                | LeaderNotAvailable
                | NotLeaderForPartition
                | OffsetNotAvailable
                | UnknownLeaderEpoch
                | UnknownTopicOrPartition
        )
    )
}

/// True for what a consumer says while it goes on by itself.
pub(super) fn passes(code: RDKafkaErrorCode) -> bool {
    use pipectl_framework::error::Consequence;
    matches!(super::errors::consequence(code), Consequence::Retry | Consequence::Abort)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a partition with records from 10 up to 20 is begun: the offset, whether what was committed
    /// counts, and what is gone.
    fn begun(committed: Option<i64>, start: Start) -> (i64, bool, Option<(i64, i64)>) {
        let partition = Partition::new("t", 0);
        let committed = committed.map(|offset| Position {
            partition: partition.clone(),
            offset,
            metadata: String::new(),
        });
        let begin = begin(&partition, (10, 20), committed, start.offset((10, 20), |_| None));
        let gone = begin.gone.map(|gone| (gone.from, gone.to));
        (begin.assignment.start, begin.assignment.committed.is_some(), gone)
    }

    #[test]
    fn reading_begins_where_the_group_stood_or_says_what_is_gone() {
        assert_eq!(begun(Some(10), Start::Latest), (10, true, None));
        assert_eq!(begun(Some(20), Start::Latest), (20, true, None));
        assert_eq!(begun(Some(7), Start::Latest), (10, true, Some((7, 10))));
        assert_eq!(begun(Some(21), Start::Latest), (10, false, Some((21, 10))));
        assert_eq!(begun(None, Start::Latest), (20, false, None));
        assert_eq!(begun(None, Start::Earliest), (10, false, None));
        assert_eq!(begun(None, Start::Offset(15)), (15, false, None));
        assert_eq!(begun(Some(12), Start::Offset(15)), (12, true, None));
        assert_eq!(begun(Some(21), Start::Offset(15)), (10, false, Some((21, 10))));
    }
}
