//! The topics of a run, seen to be there before a chain begins.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::graph::Plan;
use crate::log::{Log, TopicSpec};

/// A topic, and the one that it has as many partitions as where it is made.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    spec: TopicSpec,
    like: Option<String>,
}

/// The topics of each connection.
pub(crate) fn by_connection(plan: &Plan) -> Vec<Vec<Wanted>> {
    let mut topics = vec![Vec::new(); plan.connections.len()];
    for topic in &plan.topics {
        topics[topic.connection].push(Wanted { spec: topic.spec.clone(), like: topic.like.clone() });
    }
    topics
}

/// The topics that this chain writes, and no other of the plan: each with its connection.
pub(crate) fn written_alone(plan: &Plan, chain: usize) -> Vec<(usize, String)> {
    let alone = plan.topics.iter().filter(|topic| topic.writers == [chain]);
    alone.map(|topic| (topic.connection, topic.spec.name.clone())).collect()
}

/// Makes those that are not there. Gives how many partitions each has.
pub(crate) async fn ensure(log: &dyn Log, topics: &[Wanted]) -> Result<HashMap<String, u32>> {
    let mut partitions = HashMap::new();
    let of_its_own = |wanted: &&Wanted| wanted.like.is_none() || wanted.spec.partitions.is_some();
    let (first, second): (Vec<&Wanted>, Vec<&Wanted>) = topics.iter().partition(of_its_own);
    for round in [first, second] {
        if round.is_empty() {
            continue;
        }
        let mut specs = Vec::new();
        for wanted in round {
            let mut spec = wanted.spec.clone();
            if let Some(like) = wanted.like.as_ref().filter(|_| spec.partitions.is_none()) {
                let number = partitions.get(like).copied();
                spec.partitions =
                    Some(number.ok_or_else(|| Error::fatal(format!("nothing is known of topic `{like}`")))?);
            }
            specs.push(spec);
        }
        let numbers = log.ensure_topics(&specs).await?;
        partitions.extend(specs.into_iter().map(|spec| spec.name).zip(numbers));
    }
    Ok(partitions)
}
