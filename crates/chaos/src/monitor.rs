//! Watches results arrive while faults happen: when each lane had one again, and how late.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::message::Message;

use crate::check::Cell;
use crate::cluster::Cluster;
use crate::producer::partition_of;
use crate::reading::{consumer, text};
use crate::time::now;
use crate::{KEYS, OUTPUTS, PARTITIONS, Result};

/// Copies, and records that the brokers took, are noted once per so many milliseconds of their time.
pub(crate) const GRAIN: i64 = 100;

/// How long the effects of a fault are looked for at least, in milliseconds.
const AFTERMATH: i64 = 4000;

/// Something that was seen to arrive. All times are milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
struct Arrival {
    /// A key of the results, or a partition of the input and its copies.
    lane: usize,
    /// The window's end, or the record's time.
    event: i64,
    /// When a reader of committed records had it.
    at: i64,
}

/// What has arrived of one kind.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    all: Vec<Arrival>,
    latest: HashMap<usize, i64>,
}

/// What a fault did, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Effect {
    /// From the fault until every lane had something whose time is after the fault.
    pub(crate) recovery: i64,
    /// The longest from the time of a thing to its arrival until then, and for [`AFTERMATH`] at least: a
    /// worker that comes is felt only once it has started. Without a fault, the normal delay.
    pub(crate) silence: i64,
}

impl Arrivals {
    pub(crate) fn note(&mut self, lane: usize, event: i64, at: i64) {
        self.all.push(Arrival { lane, event, at });
        let latest = self.latest.entry(lane).or_insert(event);
        *latest = event.max(*latest);
    }

    /// The latest time of a thing in a lane.
    pub(crate) fn latest(&self, lane: usize) -> Option<i64> {
        self.latest.get(&lane).copied()
    }

    /// True where all lanes have something from after a time.
    pub(crate) fn fresh(&self, lanes: usize, since: i64) -> bool {
        self.latest.len() == lanes && self.latest.values().all(|latest| *latest > since)
    }

    /// What the fault at a time did; `None` where some lane never came back.
    pub(crate) fn effect(&self, lanes: usize, fault: i64) -> Option<Effect> {
        let mut first: HashMap<usize, i64> = HashMap::new();
        for arrival in self.all.iter().filter(|arrival| arrival.event > fault) {
            let at = first.entry(arrival.lane).or_insert(arrival.at);
            *at = arrival.at.min(*at);
        }
        if first.len() < lanes {
            return None;
        }
        let back = first.into_values().max()?;
        let until = back.max(fault + AFTERMATH);
        let touched = |arrival: &&Arrival| arrival.at >= fault && arrival.event <= until;
        let silence = self.all.iter().filter(touched).map(|arrival| arrival.at - arrival.event).max();
        Some(Effect { recovery: back - fault, silence: silence.unwrap_or(0) })
    }

    /// From the time of a thing to its arrival, of all between two times.
    pub(crate) fn delays(&self, from: i64, to: i64) -> Vec<i64> {
        let within = |arrival: &&Arrival| arrival.event > from && arrival.event <= to;
        self.all.iter().filter(within).map(|arrival| arrival.at - arrival.event).collect()
    }

    /// The longest between two arrivals of a lane, between two times.
    pub(crate) fn longest_gap(&self, from: i64, to: i64) -> i64 {
        let mut last: HashMap<usize, i64> = HashMap::new();
        let mut longest = 0;
        for arrival in self.all.iter().filter(|arrival| arrival.at >= from && arrival.at <= to) {
            if let Some(before) = last.insert(arrival.lane, arrival.at) {
                longest = longest.max(arrival.at - before);
            }
        }
        longest
    }
}

/// The thread that watches.
pub(crate) struct Monitor {
    seen: Arc<Mutex<(Arrivals, Arrivals)>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Monitor {
    /// Begins to read the results and the copies.
    pub(crate) fn start(cluster: &Cluster, counts: &str, copies: &str) -> Result<Self> {
        let consumer = consumer(cluster, &[(counts, OUTPUTS), (copies, OUTPUTS)])?;
        let seen: Arc<Mutex<(Arrivals, Arrivals)>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (told, stopped, counts) = (Arc::clone(&seen), Arc::clone(&stop), counts.to_owned());
        let thread = std::thread::spawn(move || {
            let mut noted: HashMap<usize, i64> = HashMap::new();
            while !stopped.load(Ordering::Relaxed) {
                let Some(Ok(message)) = consumer.poll(Duration::from_millis(20)) else { continue };
                let at = now();
                if message.topic() == counts {
                    let Some((cell, _)) = Cell::of_result(&text(&message)) else { continue };
                    lock(&told).0.note(cell.key, cell.end(), at);
                    continue;
                }
                let time = message.timestamp().to_millis().unwrap_or(0);
                let Some(lane) = Cell::key_of_record(&text(&message)).map(partition_of) else { continue };
                let grain = time - time.rem_euclid(GRAIN);
                if noted.insert(lane, grain) != Some(grain) {
                    lock(&told).1.note(lane, time, at);
                }
            }
        });
        Ok(Self { seen, stop, thread: Some(thread) })
    }

    /// True where every key has a result and every partition a copy from after a time.
    pub(crate) fn recovered(&self, since: i64) -> bool {
        let seen = lock(&self.seen);
        seen.0.fresh(KEYS, since) && seen.1.fresh(PARTITIONS, since)
    }

    /// Ends it; gives the results and the copies that it saw.
    pub(crate) fn finish(&mut self) -> (Arrivals, Arrivals) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        std::mem::take(&mut *lock(&self.seen))
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_is_the_last_lanes_first_thing_from_after_the_fault() {
        let mut arrivals = Arrivals::default();
        for (lane, event, at) in [
            (0, 1000, 1100),
            (1, 1000, 1150),
            (0, 2000, 2100),
            (1, 2000, 8000),
            (0, 3000, 3100),
            (1, 3000, 8100),
        ] {
            arrivals.note(lane, event, at);
        }
        assert_eq!(arrivals.effect(2, 1500), Some(Effect { recovery: 6500, silence: 6000 }));
        assert_eq!(arrivals.effect(2, 2500), Some(Effect { recovery: 5600, silence: 6000 }));
        assert_eq!(arrivals.effect(2, 3500), None, "nothing came after it");
        assert_eq!(arrivals.longest_gap(0, 9000), 6850);
        assert_eq!(arrivals.delays(2000, 3000), [100, 5100]);
        assert!(arrivals.fresh(2, 2999) && !arrivals.fresh(2, 3000) && !arrivals.fresh(3, 0));
    }
}
