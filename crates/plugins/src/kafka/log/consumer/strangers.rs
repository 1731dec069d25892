//! Members of the group that are not as this one: another pipeline that was given the same name and reads
//! other topics, or a worker of another file, which counts a window otherwise.
//!
//! Of what a member says only its topics and its client's id come through librdkafka. So the id carries the
//! windows that the member counts in, behind the id that the file gives:
//! `pipectl/counts.win=MARK,counts.other=MARK`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pipectl_framework::error::{Consequence, Error};
use pipectl_framework::log::Group;
use rdkafka::ClientConfig;
use rdkafka::consumer::Consumer;
use rdkafka::groups::{GroupInfo, GroupMemberInfo};

use super::Poller;

/// How long a worker that was killed, and was not as this one, may still be in the group: the time-out of its
/// session, and some more.
const GHOST: Duration = Duration::from_secs(15);

/// How long the group may take to tell of its members: it does so once they are agreed.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one question may take.
const ASK: Duration = Duration::from_secs(1);

/// The name of each group in which a reader of this process has found none but its own, and the windows that
/// it counts in; whoever comes later sees that one.
#[derive(Debug, Default)]
pub(in crate::kafka::log) struct KnownGroups(Mutex<BTreeSet<(String, String)>>);

impl KnownGroups {
    fn has(&self, group: &Group) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&Self::key(group))
    }

    fn add(&self, group: &Group) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(Self::key(group));
    }

    fn key(group: &Group) -> (String, String) {
        (group.name.clone(), written(&group.windows))
    }
}

/// Has a consumer's id say what windows it counts in.
pub(in crate::kafka::log) fn sign(config: &mut ClientConfig, group: &Group) {
    if !group.windows.is_empty() {
        let id = format!("{}/{}", config.get("client.id").unwrap_or_default(), written(&group.windows));
        config.set("client.id", id);
    }
}

fn written(windows: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (name, mark) in windows {
        let separator = if text.is_empty() { "" } else { "," };
        // Writing to a text cannot fail.
        let _ = write!(text, "{separator}{name}={mark}");
    }
    text
}

/// A client's id as the file gives it, and the windows that it says.
fn read(id: &str) -> (&str, BTreeMap<String, String>) {
    let Some((given, windows)) = id.rsplit_once('/') else { return (id, BTreeMap::new()) };
    let one = |window: &str| window.split_once('=').map(|(name, mark)| (name.to_owned(), mark.to_owned()));
    // An id of somebody else may have a stroke in it.
    match windows.split(',').map(one).collect() {
        Some(windows) => (given, windows),
        None => (id, BTreeMap::new()),
    }
}

/// What the group tells.
enum Members {
    /// All read the same topics, and count alike.
    Alike,
    /// One does not: what this one is refused with.
    Stranger(Error),
    /// Nothing.
    Unknown,
}

impl Poller {
    /// Looks, before anything is read for the first time, whether all members of the group read the same
    /// topics, and count them in the same windows. The one that comes second is refused.
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
            Members::Stranger(refused) => {
                self.fail(refused);
                return false;
            }
        }
        self.strange = None;
        true
    }

    fn members(&self, group: &Group) -> Members {
        let found = match self.consumer.fetch_group_list(Some(&group.name), ASK) {
            Ok(found) => found,
            Err(e) => {
                tracing::debug!("{}: cannot look at its group: {e}", self.doing());
                return Members::Unknown;
            }
        };
        let mut seen = 0;
        let members = found.groups().iter().filter(|found| found.name() == group.name);
        for member in members.flat_map(GroupInfo::members) {
            let Some(topics) = member.metadata().and_then(topics) else { return Members::Unknown };
            seen += 1;
            if let Some(refused) = self.stranger(group, member, &topics) {
                return Members::Stranger(refused);
            }
        }
        if seen > 0 { Members::Alike } else { Members::Unknown }
    }

    /// What this member is refused with because of another one.
    fn stranger(&self, group: &Group, member: &GroupMemberInfo, topics: &[String]) -> Option<Error> {
        let (client, windows) = read(member.client_id());
        let who = format!("`{client}` on {}", member.client_host().trim_start_matches('/'));
        let doing = self.doing();
        if let Some(other) =
            topics.iter().find(|topic| self.setup.all_topics.iter().all(|own| **own != **topic))
        {
            let what = format!(
                "{doing}: {who} reads topic `{other}` with the same consumer group, `{}`",
                group.name
            );
            return Some(Error::new(Consequence::Refused, what).remedy(
                "give one of the pipelines another `name:`, or its source a `group:` of its own; where this one shall take the \
                 other's place, stop that first",
            ));
        }
        group.differs(&windows).map(|window| group.refused(window, &format!("{doing}: {who}")))
    }
}

/// The topics of a member's subscription: a version, then a list of names, all lengths big-endian (Kafka's
/// `ConsumerProtocolSubscription`).
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
    fn an_id_tells_its_windows() {
        let one = |name: &str, mark: &str| (name.to_owned(), mark.to_owned());
        for windows in [vec![], vec![one("c.w", "1a")], vec![one("c.v-1", "2b"), one("c.w", "1a")]] {
            let windows: BTreeMap<_, _> = windows.into_iter().collect();
            for given in ["pipectl", "team/a"] {
                let mut config = ClientConfig::new();
                config.set("client.id", given);
                sign(&mut config, &Group { windows: windows.clone(), ..Group::new("g") });
                assert_eq!(read(config.get("client.id").unwrap()), (given, windows.clone()));
            }
        }
    }

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
