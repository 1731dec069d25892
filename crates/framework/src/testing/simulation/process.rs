//! A simulated process.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;

use super::reader::Seat;
use super::world::World;

/// A simulated process: it can stop at any call of the log, for ever or for a while.
#[derive(Debug)]
pub struct Process {
    number: u64,
    dead: AtomicBool,
    /// Rings when it has crashed.
    crashed: Notify,
    /// In milliseconds since the start of the world: it stands still until then.
    stalled: AtomicU64,
    /// The log answers it nothing until then.
    unreachable: AtomicU64,
    /// Its readers have been thrown out of their groups so many times.
    expelled: AtomicU64,
    /// Rings when they are, for those who wait, in the order in which they began to.
    bell: Notify,
    seats: Mutex<Vec<Weak<Seat>>>,
}

impl Process {
    /// A process that runs; [`World::number`] gives a number that no other has.
    #[must_use]
    pub fn new(number: u64) -> Arc<Self> {
        Arc::new(Self {
            number,
            dead: AtomicBool::new(false),
            crashed: Notify::new(),
            stalled: AtomicU64::new(0),
            unreachable: AtomicU64::new(0),
            expelled: AtomicU64::new(0),
            bell: Notify::new(),
            seats: Mutex::new(Vec::new()),
        })
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// True once it has crashed.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.dead.load(Relaxed)
    }

    /// Ends it where it stands: whatever it calls from now on never returns.
    pub fn crash(&self) {
        self.dead.store(true, Relaxed);
        self.crashed.notify_one();
    }

    /// Waits until it has crashed.
    pub async fn has_crashed(&self) {
        self.crashed.notified().await;
    }

    pub(super) fn stall(&self, until: u64) {
        self.stalled.fetch_max(until, Relaxed);
    }

    /// The log does not answer it until then, in milliseconds since the world began.
    pub fn cut_off(&self, until: u64) {
        self.unreachable.fetch_max(until, Relaxed);
    }

    /// Has the groups throw its readers out, as a broker does that has not heard of them for too long.
    pub fn expel(&self, world: &World) {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.retain(|seat| seat.strong_count() > 0);
        let seats: Vec<Arc<Seat>> = seats.iter().filter_map(Weak::upgrade).collect();
        // Those in which somebody waits are told.
        self.expelled.fetch_add(1, Relaxed);
        self.bell.notify_waiters();
        seats.iter().for_each(|seat| seat.throw_out(world));
    }

    /// Notes a reader's seat.
    pub(super) fn seated(&self, seat: &Arc<Seat>) {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(seat));
    }

    /// How often its readers have been thrown out.
    pub(super) fn expulsions(&self) -> u64 {
        self.expelled.load(Relaxed)
    }

    /// Waits until they have been thrown out more than `times`; gives how often.
    pub(super) async fn expelled(&self, times: u64) -> u64 {
        loop {
            let rings = self.bell.notified();
            let now = self.expulsions();
            if now > times {
                return now;
            }
            rings.await;
        }
    }

    pub(super) fn stalled_until(&self) -> u64 {
        self.stalled.load(Relaxed)
    }

    pub(super) fn unreachable_until(&self) -> u64 {
        self.unreachable.load(Relaxed)
    }
}
