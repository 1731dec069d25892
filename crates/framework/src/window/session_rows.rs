//! Rows into sessions, and sessions into results.

use super::assigned::closed_until;
use super::fragments::Placed;
use super::incoming::Incoming;
use super::keys::NONE;
use super::operator::{WindowOperator, WindowOutput};
use super::progress::Progress;
use super::result::{Give, Slots};
use super::sessions::{Session, Slot};
use super::settings::TimeMode;
use super::tally::Tally;
use crate::clock::Millis;
use crate::error::Result;
use crate::plugin::{Groups, Rows};

/// Rows on their way to the tally, each with its slot.
#[derive(Default)]
struct Pending {
    rows: Vec<u32>,
    slots: Vec<u32>,
}

impl WindowOperator {
    /// Adds rows one by one; gives those that are late.
    pub(super) fn push_sessions(
        &mut self,
        incoming: Incoming<'_>,
        usable: &[bool],
        groups: &mut Vec<u32>,
        time: impl Fn(usize) -> Millis,
        out: &mut WindowOutput,
    ) -> Result<Vec<u32>> {
        let replay = incoming.replay();
        let processing = self.settings.time == TimeMode::Processing;
        let latest = incoming.wall.saturating_add(self.settings.max_skew);
        let mut progress = Progress::new(self.ahead(incoming), incoming, latest);
        let mut late = Vec::new();
        let mut pending = Pending::default();
        for row in 0..groups.len() {
            let t = time(row);
            let offset = incoming.offset(row);
            if self.is_passed_over(incoming, row, t) {
                continue;
            }
            if !self.is_near(incoming, row, t, latest, &mut out.rejected) {
                continue;
            }
            let watermark = match processing || replay {
                true => incoming.wall,
                false => progress.before(offset, t),
            };
            let reached = if processing { watermark } else { watermark.max(incoming.reached) };
            if !replay {
                progress.pass(t);
                // A row behind the watermark is not part of what is given before it comes in.
                if t < watermark {
                    self.flush(incoming, &mut pending);
                    self.close_sessions(watermark, out)?;
                }
                if self.is_late(groups[row], t, reached) {
                    late.push(row as u32);
                    self.does_not_count(incoming, row);
                    continue;
                }
                if groups[row] == NONE {
                    self.flush(incoming, &mut pending);
                    self.close_sessions(watermark, out)?;
                    self.find_room(incoming, row, usable, groups);
                }
            }
            if !self.is_known(incoming, row, groups[row], &mut out.rejected) {
                continue;
            }
            // What is read again had room before.
            let most = if replay { u32::MAX } else { self.settings.max_keys };
            let updates = self.settings.every.is_some();
            let ended = incoming.is_given(row);
            let placed =
                Placed { group: groups[row], partition: incoming.partition, t, offset, replay, ended };
            let Some(sessions) = &mut self.sessions else { break };
            let mut slot = sessions.place(placed, most, updates);
            if matches!(slot, Slot::None) {
                // Those that are over make room.
                self.flush(incoming, &mut pending);
                self.close_sessions(watermark, out)?;
                let Some(sessions) = &mut self.sessions else { break };
                slot = sessions.place(placed, most, updates);
            }
            let slot = match slot {
                Slot::In(slot) => slot,
                Slot::Joins(from, into) => {
                    self.flush(incoming, &mut pending);
                    if let Some(sessions) = &mut self.sessions {
                        sessions.tally.join(&*self.aggregate, from, into);
                    }
                    into
                }
                Slot::None => {
                    out.rejected.push(row, format!("no room for its session: `max_keys` is {most}"));
                    self.does_not_count(incoming, row);
                    // Its key may be of no use.
                    self.may_forget = true;
                    continue;
                }
            };
            self.in_flight += u64::from(!replay);
            pending.rows.push(row as u32);
            pending.slots.push(slot);
        }
        self.flush(incoming, &mut pending);
        Ok(late)
    }

    /// A row is late where a session of its own would be over, unless it falls in one that is not. (A row
    /// that only touches such a session from before could also have touched one that is over for good, whose
    /// rows are gone.)
    fn is_late(&self, group: u32, t: Millis, watermark: Millis) -> bool {
        let Some(sessions) = &self.sessions else { return false };
        let past = watermark.saturating_sub(self.settings.lateness);
        sessions.end_alone(t) <= past && sessions.end_at(group, t).is_none_or(|end| end <= past)
    }

    fn flush(&mut self, incoming: Incoming<'_>, pending: &mut Pending) {
        if let Some(sessions) = self.sessions.as_mut().filter(|_| !pending.rows.is_empty()) {
            let groups =
                Groups { ids: &pending.slots, rows: Rows::Listed(&pending.rows), count: sessions.slots() };
            sessions.tally.add(incoming.batch.columns(), groups);
        }
        pending.rows.clear();
        pending.slots.clear();
    }

    /// Closes the sessions that are due. While rows are read again none is: the rest of it may not be back
    /// yet.
    pub(super) fn close_sessions(&mut self, watermark: Millis, out: &mut WindowOutput) -> Result<()> {
        let replaying = watermark < Millis::MAX && self.is_replaying();
        let Some(sessions) = self.sessions.as_mut().filter(|_| !replaying) else { return Ok(()) };
        let before = |number| closed_until(&self.partitions, number);
        let (given, over) = sessions.close(watermark, self.settings.lateness, before);
        self.give_sessions(&given, false, out)?;
        let rows: u64 = over.iter().map(|(_, rows)| rows).sum();
        if let Some(sessions) = &mut self.sessions {
            sessions.free(over.iter().map(|(slot, _)| *slot));
        }
        self.may_forget |= !over.is_empty();
        out.closed_rows += rows;
        self.in_flight -= rows;
        for assigned in self.partitions.values_mut() {
            assigned.closed_until = assigned.closed_until.max(Some(watermark));
        }
        Ok(())
    }

    /// Gives the sessions that are open at the end of the data; gives the greatest end of all.
    pub(super) fn end_sessions(&mut self, out: &mut WindowOutput) -> Result<Option<Millis>> {
        let Some(sessions) = &mut self.sessions else { return Ok(None) };
        let before = |number| closed_until(&self.partitions, number);
        let given = sessions.end(before);
        self.give_sessions(&given, false, out)?;
        Ok(given.last().map(|session| session.end))
    }

    /// All rows have been read again: sessions that were over before are forgotten, the others count.
    pub(super) fn sessions_are_back(&mut self) {
        if self.is_replaying() {
            return;
        }
        let Some(sessions) = self.sessions.as_mut() else { return };
        let before = |number| closed_until(&self.partitions, number);
        let back = sessions.back(self.settings.lateness, before);
        self.in_flight += back;
        self.again += back;
    }

    /// Gives what sessions that are still open have so far.
    pub(super) fn give_sessions_so_far(&mut self, out: &mut WindowOutput) -> Result<()> {
        let watermark = self.watermark().unwrap_or(Millis::MIN);
        let given = self.sessions.as_mut().map(|sessions| sessions.so_far(watermark)).unwrap_or_default();
        self.give_sessions(&given, true, out)
    }

    /// One batch for the sessions that end at the same time.
    fn give_sessions(&mut self, given: &[Session], early: bool, out: &mut WindowOutput) -> Result<()> {
        let Some(sessions) = &self.sessions else { return Ok(()) };
        let give = Give {
            aggregate: &*self.aggregate,
            settings: &self.settings,
            schema: &self.schema,
            open: &[],
            named: &[],
            early,
            clock: self.clock,
        };
        for same_end in given.chunk_by(|a, b| a.end == b.end) {
            let keys: Vec<u32> = same_end.iter().map(|s| s.group).collect();
            let starts: Vec<Millis> = same_end.iter().map(|s| s.start).collect();
            let end = same_end.first().map_or(0, |s| s.end);
            let batch = if same_end.iter().all(|s| s.slots.len() == 1) {
                let groups: Vec<u32> = same_end.iter().flat_map(|s| s.slots.iter().copied()).collect();
                let slots = Slots { groups: &groups, keys: &keys, starts: &starts, end };
                give.batch(&self.keys, &sessions.tally, &slots)?
            } else {
                // Fragments of several partitions: merged into a tally of their own, a group to a session.
                let mut whole = Tally::new(&*self.aggregate);
                let groups: Vec<u32> = (0..same_end.len() as u32).collect();
                for (group, session) in groups.iter().zip(same_end) {
                    for slot in &session.slots {
                        whole.merge_group(&sessions.tally, *slot, *group);
                    }
                }
                let slots = Slots { groups: &groups, keys: &keys, starts: &starts, end };
                give.batch(&self.keys, &whole, &slots)?
            };
            out.results.extend(batch);
        }
        Ok(())
    }
}
