//! Members of the group that read other topics: another pipeline that was given the same name.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pipectl_framework::error::{Consequence, Error};
use rdkafka::consumer::Consumer;
use rdkafka::groups::GroupInfo;

use super::Poller;

/// How long a worker that was killed, and read other topics, may still be in the group: the time-out of its session, and some more.
const GHOST: Duration = Duration::from_secs(15);

/// How long the group may take to tell of its members: it does so once they are agreed.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one question may take.
const ASK: Duration = Duration::from_secs(1);

/// The groups in which a reader of this process has found none but its own; whoever comes later sees that one.
#[derive(Debug, Default)]
pub(in crate::kafka::log) struct KnownGroups(Mutex<BTreeSet<String>>);

impl KnownGroups {
    fn has(&self, group: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(group)
    }

    fn add(&self, group: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(group.to_owned());
    }
}

/// What the group tells.
enum Members {
    /// All read the same topics.
    Alike,
    /// One reads others; in words.
    Stranger(String),
    /// Nothing.
    Unknown,
}

impl Poller {
    /// Looks, before anything is read for the first time, whether all members of the group read the same topics. The one that comes second is refused.
    pub(super) fn is_among_its_own(&mut self) -> bool {
        let Some(group) = self.setup.group.clone().filter(|group| !self.setup.known_groups.has(group)) else {
            return true;
        };
        let members = self.members(&group);
        let since = self.strange.get_or_insert_with(Instant::now).elapsed();
        match members {
            Members::Alike => self.setup.known_groups.add(&group),
            // No reason to stand still.
            Members::Unknown if since > PATIENCE => {}
            Members::Unknown => return false,
            Members::Stranger(_) if since <= GHOST => return false,
            Members::Stranger(stranger) => {
                let what = format!("{}: {stranger} with the same consumer group, `{group}`", self.doing());
                self.fail(Error::new(Consequence::Refused, what).remedy(
                    "give one of the pipelines another `name:`, or its source a `group:` of its own; where this one shall take the \
                     other's place, stop that first",
                ));
                return false;
            }
        }
        self.strange = None;
        true
    }

    fn members(&self, group: &str) -> Members {
        let found = match self.consumer.fetch_group_list(Some(group), ASK) {
            Ok(found) => found,
            Err(e) => {
                tracing::debug!("{}: cannot look at its group: {e}", self.doing());
                return Members::Unknown;
            }
        };
        let mut seen = 0;
        for member in found.groups().iter().filter(|found| found.name() == group).flat_map(GroupInfo::members)
        {
            let Some(topics) = member.metadata().and_then(topics) else { return Members::Unknown };
            seen += 1;
            let other = topics.iter().find(|topic| self.setup.all_topics.iter().all(|own| **own != **topic));
            if let Some(other) = other {
                let (client, host) = (member.client_id(), member.client_host().trim_start_matches('/'));
                return Members::Stranger(format!("`{client}` on {host} reads topic `{other}`"));
            }
        }
        if seen > 0 { Members::Alike } else { Members::Unknown }
    }
}

/// The topics of a member's subscription: a version, then a list of names, all lengths big-endian (Kafka's `ConsumerProtocolSubscription`).
fn topics(subscription: &[u8]) -> Option<Vec<String>> {
    let rest = subscription.get(2..)?;
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let mut topics = Vec::new();
    for _ in 0..i32::from_be_bytes(*count) {
        let (length, behind) = rest.split_first_chunk::<2>()?;
        let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
        topics.push(std::str::from_utf8(behind.get(..length)?).ok()?.to_owned());
        rest = behind.get(length..)?;
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_tells_its_topics() {
        let subscription = b"\0\x03\0\0\0\x02\0\x02in\0\x05other\xff\xff\xff\xff";
        assert_eq!(topics(subscription), Some(vec!["in".to_owned(), "other".to_owned()]));
        for cut in 0..15 {
            assert_eq!(topics(&subscription[..cut]), None, "{cut}");
        }
        assert_eq!(topics(b"\0\x01\0\0\0\0"), Some(Vec::new()));
        assert_eq!(topics(b"\0\x01\x7f\xff\xff\xff\xff\xff"), None);
    }
}
