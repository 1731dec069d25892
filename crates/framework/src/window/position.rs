//! What a window wants committed with the position of a partition.

use super::assigned::Pane;
use super::operator::WindowOperator;
use super::restored::{Given, Restored};
use crate::batch::Partition;
use crate::clock::Millis;

impl WindowOperator {
    /// From where on `partition` must be read again so that its open windows are right, when everything
    /// before `next` has been pushed: the first offset of its oldest open pane, or what the changelog has the
    /// state as of.
    pub fn low(&self, partition: &Partition, next: i64) -> i64 {
        let Some(assigned) = self.partitions.get(partition) else { return next };
        let low = match &self.sessions {
            Some(sessions) => sessions.first_offset(assigned.number),
            None => {
                let parts = self.panes.values().flat_map(|p| &p.parts);
                parts.filter(|p| p.partition == assigned.number).map(|p| p.first_offset).min()
            }
        };
        // What is saved need not be read again; where no pane is open nothing need be, whatever was saved.
        low.map_or(next, |low| assigned.saved.map_or(low, |saved| low.max(saved)).min(next))
    }

    /// The end of the first window that has rows of a partition.
    fn own_end(&self, partition: u32) -> Option<Millis> {
        let own = |pane: &Pane| pane.parts.iter().any(|part| part.partition == partition);
        self.panes.iter().find(|(_, pane)| own(pane)).map(|(start, _)| self.grid.first_end(*start))
    }

    /// What the window wants back with the position of `partition`, when everything before `next` has been
    /// pushed. From `low` on rows will be read again: [`low`](Self::low), or less where another window of the
    /// chain wants more. Late rows are named in at most `room` bytes; gives with it how many had none.
    pub fn note(&mut self, partition: &Partition, next: i64, low: i64, room: usize) -> (Restored, usize) {
        let assigned = self.partitions.get(partition);
        let closed_until = assigned.and_then(|a| a.closed_until);
        // Windows that are due and not closed yet must not be taken for closed before their rows are back.
        let alone = self.channels.get(partition).filter(|_| self.judges_alone());
        let next_end = match (alone, assigned) {
            (Some(_), Some(assigned)) => self.own_end(assigned.number),
            _ => self.next_end(),
        };
        let due = next_end.map(|end| match (closed_until, &self.sessions) {
            (Some(closed), None) => end.max(self.grid.end_after(closed)),
            _ => end,
        });
        let due = due.map_or(Millis::MAX, |end| end.saturating_sub(1));
        let here = alone.and_then(|channels| self.watermark.of(channels));
        let watermark = self.watermark().max(assigned.and_then(|a| a.reached)).max(here);
        // In the middle of what is read again, what comes behind was dealt with all the same.
        let pos = assigned.map_or(next, |a| a.dealt_with.max(next));
        let given = assigned.and_then(|a| a.given).filter(|given| closed_until < Some(given.until));
        // In the middle of what is read again its own rows may not have begun yet.
        let before = assigned.map_or(i64::MIN, |a| a.own_low);
        let own_low = self.closes_at_end.then(|| self.low(partition, next).max(before));
        let restored = Restored {
            pos,
            watermark: watermark.map(|w| w.min(due)),
            // Where only rows without use have come, zeros have not begun.
            closed_until: closed_until.filter(|_| !self.settings.keep_seen || self.first.is_some()),
            saved: assigned.and_then(|a| a.saved),
            own_low,
            keys_saved: assigned.is_some_and(|a| a.keys_saved),
            first: self.first.filter(|first| {
                self.settings.keep_seen
                    && closed_until.is_some_and(|closed| closed < self.grid.first_end(*first))
            }),
            given: given.map(|given| Given { offset: given.offset.min(pos), ..given }),
            late: Vec::new(),
        };
        let (late, left_out) = self.late_from(partition, low, room);
        (Restored { late, ..restored }, left_out)
    }

    /// The offsets of late rows that would be read again from `low` on, the newest of them where there is no
    /// room for all, and how many are not among them. Forgets those before `low`.
    fn late_from(&mut self, partition: &Partition, low: i64, mut room: usize) -> (Vec<i64>, usize) {
        let Some(assigned) = self.partitions.get_mut(partition) else { return (Vec::new(), 0) };
        if assigned.late.is_empty() {
            return (Vec::new(), 0);
        }
        assigned.late = assigned.late.split_off(&low);
        let mut kept = Vec::new();
        let mut behind = None;
        for offset in assigned.late.iter().rev() {
            // The newest may have to stand by itself.
            let digits = behind.map_or(22, |behind: i64| 2 + (behind - offset).max(1).ilog10() as usize);
            let Some(left) = room.checked_sub(digits) else { break };
            (room, behind) = (left, Some(*offset));
            kept.push(*offset);
        }
        kept.reverse();
        let left_out = assigned.late.len() - kept.len();
        (kept, left_out)
    }

    /// True where the late rows take more than half of `room` bytes in a note: with the state in the
    /// changelog none of them is read again.
    pub fn wants_saving(&self, partition: &Partition, room: usize) -> bool {
        self.partitions.get(partition).is_some_and(|assigned| {
            let offsets = &assigned.late;
            match (offsets.first(), offsets.last()) {
                (Some(first), Some(last)) => {
                    let digits = 2 + (last - first).max(1).ilog10() as usize;
                    20 + (offsets.len() - 1) * digits > room / 2
                }
                _ => false,
            }
        })
    }
}
