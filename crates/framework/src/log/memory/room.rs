//! The bound of a topic: who waits for room, and what may be dropped.
//!
//! What a topic holds is *needed* down to the lowest offset that a group has committed (a chain with open
//! windows commits the first record that it would have to read again) or that a reader without a group has
//! been given. The rest is *past*.
//!
//! A writer gets room at once while the bound is kept, dropping past batches to keep it. Otherwise:
//! - nobody reads the topic: the oldest batches go, and the log says so once;
//! - some reader has not been given everything yet: the writer waits;
//! - every reader has been given everything, and only its open windows keep the records: the topic grows
//!   beyond its bound, up to [`OUTGROW`] times, and the log says so once. Waiting would be waiting in a
//!   circle here: the window may close only with the very records that wait for room;
//! - only a group of an earlier process, which nobody has joined in this one, has not been given everything:
//!   the writer waits for somebody to join it, and gives up with an error after its patience;
//! - a compacted topic is bounded by its keys (see `compaction`), and never waits;
//! - beyond even that: the writer waits for a commit, and gives up with an error after its patience.
//!
//! # Why nobody waits in a circle
//! A writer waits only while some reader has committed records left to read, and a reader never waits for a
//! writer: it gives what is there. So the chain that reads goes on, unless it waits as a writer itself, on a
//! topic further down; chains form no cycles, so the last one waits for nothing here. What open transactions
//! hold is not counted against other writers: two of them that fill each other's topics would wait for each
//! other for ever. A topic may therefore exceed its bound by what the transactions of one commit interval
//! hold, and a transaction larger than the bound gets in once all before it has been read.

use super::state::State;

/// How far a topic may outgrow its bound for the sake of open windows.
pub(super) const OUTGROW: usize = 8;
/// The part of the bound that past batches may take up: one in this many.
const PAST: usize = 8;

/// Whether an append may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// It may.
    Yes,
    /// Not before a reader has read.
    Wait,
    /// Not before a reader has committed, and all of them have been given everything.
    Stuck,
    /// Not before a group has read that a journal has kept and nobody has joined.
    Absent,
}

/// Who has not been given everything that a topic holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unread {
    Nobody,
    /// Only groups of an earlier process.
    Absent,
    Somebody,
}

impl State {
    /// For each partition of a topic, the offset below which nobody needs anything; `None` where nobody reads
    /// the topic. With it, who has not been given everything.
    fn needs(&self, topic: usize) -> Option<(Vec<i64>, Unread)> {
        use super::group::Place;
        let of = self.topics.get(topic)?;
        let mut low: Vec<i64> = of.partitions.iter().map(super::storage::PartitionLog::end).collect();
        let ends = low.clone();
        let (mut anybody, mut unread) = (false, Unread::Nobody);
        let mut need = |index: usize, needs: i64, given: i64, who: Unread| {
            anybody = true;
            low[index] = low[index].min(needs);
            if given < ends[index] {
                unread = unread.max(who);
            }
        };
        for group in self.groups.values().filter(|group| group.topics.contains(&topic)) {
            let who = if group.joined { Unread::Somebody } else { Unread::Absent };
            for index in 0..ends.len() {
                let place = Place { topic, index: index as i32 };
                let low = group.low(place);
                let held = group.holders.get(&place).and_then(|id| self.readers.get(id));
                let given = held.and_then(|member| member.cursors.get(&place)).map_or(low, |c| c.next);
                need(index, low, given, who);
            }
        }
        for member in self.readers.values().filter(|m| m.group.is_none()) {
            for (place, cursor) in member.cursors.iter().filter(|(place, _)| place.topic == topic) {
                need(place.index as usize, cursor.next, cursor.next, Unread::Somebody);
            }
        }
        anybody.then_some((low, unread))
    }

    /// The groups that keep a topic's records and that nobody has joined, for people.
    pub(super) fn absent_readers(&self, topic: usize) -> String {
        let absent = self.groups.iter().filter(|(_, group)| !group.joined && group.topics.contains(&topic));
        absent.map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    }

    /// Drops what nobody needs any more, all but the newest part; after a commit, or when a reader has gone
    /// on.
    pub(super) fn trim(&mut self, topic: usize) {
        let keep = self.options.topic_bytes / PAST;
        let Some((low, _)) = self.needs(topic) else { return };
        let Some(topic) = self.topics.get_mut(topic).filter(|topic| !topic.compacted) else { return };
        let most = topic.needed(&low) + keep;
        while topic.bytes > most && topic.drop_oldest(&low) {}
    }

    /// Whether `bytes` more may come into a topic; drops what may be dropped for it.
    pub(super) fn room(&mut self, topic: usize, bytes: usize) -> Room {
        let bound = self.options.topic_bytes;
        let needs = self.needs(topic);
        let Some(topic) = self.topics.get_mut(topic).filter(|topic| !topic.compacted) else {
            return Room::Yes;
        };
        let Some((low, unread)) = needs else {
            let ends: Vec<i64> = topic.partitions.iter().map(super::storage::PartitionLog::end).collect();
            while topic.bytes + bytes > bound && topic.drop_oldest(&ends) {
                if !std::mem::replace(&mut topic.warned, true) {
                    tracing::warn!(
                        topic = %topic.name,
                        "nobody reads topic `{}`: it keeps the newest {bound} bytes and drops what is older",
                        topic.name
                    );
                }
            }
            return Room::Yes;
        };
        while topic.bytes + bytes > bound && topic.drop_oldest(&low) {}
        if topic.bytes + bytes <= bound || topic.bytes == 0 {
            return Room::Yes;
        }
        match unread {
            Unread::Somebody => return Room::Wait,
            Unread::Absent => return Room::Absent,
            Unread::Nobody => {}
        }
        if topic.bytes + bytes > bound.saturating_mul(OUTGROW) {
            return Room::Stuck;
        }
        if !std::mem::replace(&mut topic.warned, true) {
            tracing::warn!(
                topic = %topic.name,
                "topic `{}` outgrows its {bound} bytes: its readers hold records for windows that are still open; raise \
                 `topic_bytes` of the embedded log, or make the windows shorter",
                topic.name
            );
        }
        Room::Yes
    }
}
