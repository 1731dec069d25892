//! The reading end of a simulated log.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::faults::{Call, Fate, SESSION_TIMEOUT};
use super::log::{SimulatedLog, shrink, shrunk};
use super::ready;
use super::world::{Token, World};
use crate::batch::Partition;
use crate::error::{Error, Result};
use crate::log::{
    Assignment, GroupPositions, Log, LogReader, Membership, Position, ReadEvent, ReaderOptions,
};

/// A reader's seat in its group: the simulated process and the group both reach it.
pub(super) struct Seat {
    place: Mutex<Place>,
    number: AtomicU64,
    group: Option<String>,
}

enum Place {
    /// The reader of the log in memory.
    Here(Box<dyn LogReader>),
    /// Somebody waits in it, and puts it back.
    Away,
    /// The group gave its partitions to others.
    ThrownOut {
        /// What it had fetched.
        fetched: Vec<ReadEvent>,
        /// The standing that it still believes in.
        stale: Option<Membership>,
    },
}

impl Seat {
    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn number(&self) -> u64 {
        self.number.load(Relaxed)
    }

    fn take(&self) -> Option<Box<dyn LogReader>> {
        let mut place = self.place();
        match std::mem::replace(&mut *place, Place::Away) {
            Place::Here(reader) => Some(reader),
            other => {
                *place = other;
                None
            }
        }
    }

    fn put(&self, reader: Box<dyn LogReader>) {
        *self.place() = Place::Here(reader);
    }

    fn membership_of(&self, inner: &dyn LogReader) -> Option<Membership> {
        let group = self.group.clone()?;
        let inner = inner.membership()?;
        Some(Membership::new(Token { inner, group, reader: self.number() }))
    }

    /// The group throws the reader out: its partitions go to others at once, and it does not know.
    pub(super) fn throw_out(&self, world: &World) {
        if let Some(reader) = self.group.as_ref().and_then(|_| self.take()) {
            self.throw(world, reader);
        }
    }

    fn throw(&self, world: &World, mut inner: Box<dyn LogReader>) {
        let stale = self.membership_of(&*inner);
        let mut fetched = Vec::new();
        for _ in 0..world.draw(0, 4) {
            match ready(inner.next()) {
                Some(Ok(event @ ReadEvent::Records(_))) => fetched.push(event),
                _ => break,
            }
        }
        world.note(0, &format!("reader {} is thrown out", self.number()));
        world.count("reader thrown out, not knowing");
        world.settle_reader(self.number());
        world.member(self.number(), false);
        *self.place() = Place::ThrownOut { fetched, stale };
    }
}

/// Puts a reader back when it is dropped.
struct Borrowed {
    seat: Arc<Seat>,
    reader: Option<Box<dyn LogReader>>,
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if let Some(reader) = self.reader.take() {
            self.seat.put(reader);
        }
    }
}

pub(super) struct SimulatedReader {
    log: SimulatedLog,
    options: ReaderOptions,
    seat: Arc<Seat>,
    /// Each partition that is held, with the offset (of the log in memory) that comes next.
    held: BTreeMap<Partition, i64>,
    /// What was fetched before the group threw this reader out, and then what it is told about that.
    left: VecDeque<ReadEvent>,
    /// When it finds out.
    finds_out: u64,
    /// How often its process has been thrown out, as far as it knows.
    expelled: u64,
    /// True while it has said that the log is out of reach.
    told_out_of_reach: bool,
}

impl SimulatedReader {
    pub(super) async fn open(log: SimulatedLog, options: ReaderOptions) -> Result<Self> {
        let inner = log.inner.reader(options.clone()).await?;
        let number = log.world.number();
        log.world.member(number, true);
        log.world.note(log.process.number(), &format!("reader {number} of {:?}", options.topics));
        let seat = Arc::new(Seat {
            place: Mutex::new(Place::Here(inner)),
            number: AtomicU64::new(number),
            group: options.group.as_ref().map(|group| group.name.clone()),
        });
        log.process.seated(&seat);
        let expelled = log.process.expulsions();
        Ok(Self {
            log,
            options,
            seat,
            held: BTreeMap::new(),
            left: VecDeque::new(),
            finds_out: 0,
            expelled,
            told_out_of_reach: false,
        })
    }

    /// Follows what it is given, and stretches its offsets. `None` where there is nothing to tell.
    fn seen(&mut self, event: ReadEvent) -> Option<ReadEvent> {
        let stretch = self.log.stretch;
        match event {
            ReadEvent::Records(mut records) => {
                if let (Some(next), Some(last)) =
                    (self.held.get_mut(&records.partition), records.offsets.last())
                {
                    *next = last + 1;
                }
                records.offsets = records.offsets.iter().map(|offset| offset * stretch).collect();
                Some(ReadEvent::Records(records))
            }
            ReadEvent::Assigned(assignments) => {
                for assignment in &assignments {
                    self.held.insert(assignment.partition.clone(), assignment.start);
                }
                Some(ReadEvent::Assigned(assignments.into_iter().map(|a| stretched(a, stretch)).collect()))
            }
            ReadEvent::Revoked(partitions) | ReadEvent::Lost(partitions) if partitions.is_empty() => None,
            ReadEvent::Revoked(ref partitions) | ReadEvent::Lost(ref partitions) => {
                self.held.retain(|held, _| !partitions.contains(held));
                Some(event)
            }
            event => Some(event),
        }
    }

    /// The next event that the log has, or `None` where the group throws this reader out meanwhile.
    async fn log_event(&mut self) -> Result<Option<ReadEvent>> {
        let Some(reader) = self.seat.take() else { return Err(gone()) };
        let mut borrowed = Borrowed { seat: self.seat.clone(), reader: Some(reader) };
        let Some(reader) = &mut borrowed.reader else { return Err(gone()) };
        tokio::select! {
            biased;
            times = self.log.process.expelled(self.expelled), if self.options.group.is_some() => {
                self.expelled = times;
                if let Some(reader) = borrowed.reader.take() {
                    self.seat.throw(&self.log.world, reader);
                }
                Ok(None)
            }
            event = reader.next() => event.map(Some),
        }
    }

    /// Where the group has thrown it out: takes what it had fetched, and then to be told so.
    fn notice(&mut self) {
        let mut place = self.seat.place();
        let Place::ThrownOut { fetched, .. } = &mut *place else { return };
        let fetched = std::mem::take(fetched);
        drop(place);
        if !self.left.is_empty() {
            return;
        }
        for event in fetched {
            let seen = self.seen(event);
            self.left.extend(seen);
        }
        let lost = std::mem::take(&mut self.held).into_keys().collect();
        self.left.push_back(ReadEvent::Lost(lost));
        self.finds_out = self.log.world.now() + self.log.world.draw(0, 3000);
    }

    /// It has been told that it was thrown out, and joins again, as another member.
    async fn rejoin(&mut self) -> Result<()> {
        let inner = self.log.inner.reader(self.options.clone()).await?;
        self.seat.number.store(self.log.world.number(), Relaxed);
        self.log.world.member(self.seat.number(), true);
        self.seat.put(inner);
        self.expelled = self.log.process.expulsions();
        Ok(())
    }

    /// Where the log was out of reach: reads on, which tells anew what is caught up.
    async fn back_in_reach(&mut self) -> Result<()> {
        self.told_out_of_reach = false;
        if let Some(mut reader) = self.seat.take() {
            for (partition, next) in &self.held {
                // It may have been taken away meanwhile, which the next event says.
                let _ = reader.seek(partition, *next).await;
            }
            self.seat.put(reader);
        }
        Ok(())
    }
}

fn gone() -> Error {
    Error::retry("the reader is gone")
}

fn stretched(assignment: Assignment, stretch: i64) -> Assignment {
    let stretch_position = |p: Position| Position { offset: p.offset * stretch, ..p };
    Assignment {
        partition: assignment.partition,
        committed: assignment.committed.map(stretch_position),
        start: assignment.start * stretch,
    }
}

#[async_trait]
impl LogReader for SimulatedReader {
    async fn next(&mut self) -> Result<ReadEvent> {
        let world = self.log.world.clone();
        let process = self.log.process.clone();
        loop {
            world.point(&process, Call::Next).await?;
            self.notice();
            if let Some(next) = self.left.front() {
                let wait = self.finds_out.saturating_sub(world.now());
                if matches!(next, ReadEvent::Lost(_)) && wait > 0 {
                    tokio::time::sleep(Duration::from_millis(wait)).await;
                    world.stand(&process).await;
                }
                match self.left.pop_front() {
                    Some(ReadEvent::Lost(lost)) => {
                        self.rejoin().await?;
                        if lost.is_empty() {
                            continue;
                        }
                        return Ok(ReadEvent::Lost(lost));
                    }
                    Some(event) => return Ok(event),
                    None => continue,
                }
            }
            let until = process.unreachable_until();
            if world.now() < until {
                let held: Vec<Partition> = self.held.keys().cloned().collect();
                if !self.told_out_of_reach && !held.is_empty() {
                    self.told_out_of_reach = true;
                    world.count("partitions out of reach");
                    return Ok(ReadEvent::OutOfReach(held));
                }
                tokio::time::sleep(Duration::from_millis(until - world.now())).await;
                continue;
            }
            if self.told_out_of_reach {
                self.back_in_reach().await?;
            }
            let Some(event) = self.log_event().await? else { continue };
            if let ReadEvent::Revoked(_) | ReadEvent::Lost(_) = event {
                let what = if matches!(event, ReadEvent::Lost(_)) {
                    "partitions lost"
                } else {
                    "partitions revoked"
                };
                world.count(what);
                world.note(process.number(), what);
            }
            if let Some(event) = self.seen(event) {
                match &event {
                    ReadEvent::Assigned(a) => {
                        for a in a {
                            let note = a.committed.as_ref().map(|c| c.metadata.clone());
                            world.note(
                                process.number(),
                                &format!("assigned {} from {} {note:?}", a.partition, a.start),
                            );
                        }
                    }
                    ReadEvent::Records(records) => {
                        let text = format!("{} records of {}", records.len(), records.partition);
                        world.note(process.number(), &text);
                    }
                    _ => {}
                }
                return Ok(event);
            }
        }
    }

    fn membership(&self) -> Option<Membership> {
        match &*self.seat.place() {
            Place::Here(inner) => self.seat.membership_of(&**inner),
            Place::ThrownOut { stale, .. } => stale.clone(),
            Place::Away => None,
        }
    }

    async fn is_new(&mut self) -> Result<bool> {
        let Some(mut inner) = self.seat.take() else { return Ok(false) };
        let new = inner.is_new().await;
        self.seat.put(inner);
        new
    }

    async fn committed(&mut self) -> Result<Vec<Assignment>> {
        self.log.world.point(&self.log.process, Call::Reader).await?;
        let Some(mut reader) = self.seat.take() else { return Err(gone()) };
        let committed = reader.committed().await;
        self.seat.put(reader);
        Ok(committed?.into_iter().map(|a| stretched(a, self.log.stretch)).collect())
    }

    async fn commit(&mut self, positions: &[Position]) -> Result<()> {
        let world = self.log.world.clone();
        let process = self.log.process.clone();
        world.stand(&process).await;
        let fate = world.fate(&process, false);
        if matches!(fate, Fate::Happens | Fate::NotAfter | Fate::CrashAfter) {
            let Some(mut reader) = self.seat.take() else {
                return Err(Error::abort("the group has moved on"));
            };
            let positions = shrunk(positions, self.log.stretch);
            let result = reader.commit(&positions).await;
            let membership = self.seat.membership_of(&*reader);
            self.seat.put(reader);
            if let Some(membership) = membership
                && let Some(token) = membership.token::<Token>().cloned()
                && result.is_ok()
            {
                let positions = GroupPositions { membership, positions };
                world.committed(None, Some((&token, &positions)));
            }
            if fate == Fate::Happens {
                return result;
            }
        }
        match fate {
            Fate::CrashBefore | Fate::CrashAfter => {
                process.crash();
                std::future::pending().await
            }
            Fate::Aborts => Err(Error::abort("injected: the group has moved on")),
            _ => Err(Error::retry("injected: no answer to the commit")),
        }
    }

    async fn seek(&mut self, partition: &Partition, offset: i64) -> Result<()> {
        self.log.world.stand(&self.log.process).await;
        let Some(mut reader) = self.seat.take() else { return Err(Error::abort("the group has moved on")) };
        let offset = shrink(offset, self.log.stretch);
        let result = reader.seek(partition, offset).await;
        self.seat.put(reader);
        if let (Ok(()), Some(next)) = (&result, self.held.get_mut(partition)) {
            *next = offset;
        }
        result
    }

    fn pause(&mut self, paused: bool) {
        if let Place::Here(reader) = &mut *self.seat.place() {
            reader.pause(paused);
        }
    }

    async fn bound(&mut self) -> Result<()> {
        self.log.world.point(&self.log.process, Call::Reader).await?;
        let Some(mut reader) = self.seat.take() else { return Err(gone()) };
        let result = reader.bound().await;
        self.seat.put(reader);
        result
    }

    fn lag(&self) -> u64 {
        match &*self.seat.place() {
            Place::Here(reader) => reader.lag(),
            _ => 0,
        }
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.log.world.point(&self.log.process, Call::Other).await?;
        Ok(())
    }
}

impl Drop for SimulatedReader {
    fn drop(&mut self) {
        let world = self.log.world.clone();
        let number = self.seat.number();
        let Some(inner) = self.seat.take() else { return };
        if !self.log.process.is_dead() || !self.log.description.shared {
            // It leaves the group in order; what it has under way is settled first. A log that one process
            // has at a time has no members when the next one opens it.
            world.settle_reader(number);
            world.member(number, false);
            world.note(self.log.process.number(), &format!("reader {number} leaves"));
            return;
        }
        // Nobody says goodbye for a process that has crashed: the group waits for it.
        let at_the_end = world.clone();
        world.later(SESSION_TIMEOUT, async move {
            at_the_end.settle_reader(number);
            at_the_end.member(number, false);
            drop(inner);
            at_the_end.note(0, &format!("session of reader {number} has timed out"));
        });
    }
}
