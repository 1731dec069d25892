//! The queue between the threads that poll and the chain that reads, bounded by bytes.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pipectl_framework::batch::Partition;
use pipectl_framework::error::Error;
use pipectl_framework::log::{Assignment, Gone, Records};
use tokio::sync::Notify;

use super::assignment::Standing;

/// What a consumer tells its reader. `from` is the consumer's number.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are records, and each is moved once a batch")]
pub(super) enum Item {
    Records {
        records: Records,
        bytes: usize,
    },
    CaughtUp {
        partition: Partition,
    },
    OutOfReach {
        partitions: Vec<Partition>,
    },
    /// The assignments, each with where the partition ended when it was assigned; and the consumer's standing
    /// under which it has them, in a group.
    Assigned {
        from: usize,
        standing: Option<Standing>,
        assigned: Vec<(Assignment, i64)>,
    },
    Revoked {
        from: usize,
        partitions: Vec<Partition>,
    },
    Lost {
        from: usize,
        partitions: Vec<Partition>,
    },
    Gone {
        gone: Vec<Gone>,
    },
    Grown {
        topic: Arc<str>,
        before: u32,
        now: u32,
    },
    /// Where partitions end now.
    Ends {
        ends: Vec<(Partition, i64)>,
    },
    End {
        from: usize,
    },
    Failed(Error),
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Item>,
    bytes: usize,
}

/// The queue.
#[derive(Debug)]
pub(super) struct Handoff {
    queue: Mutex<Queue>,
    room: Condvar,
    ready: Notify,
    max_bytes: usize,
}

/// What a record counts beside its key and value.
pub(super) const RECORD_BYTES: usize = 24;

impl Handoff {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { queue: Mutex::default(), room: Condvar::new(), ready: Notify::new(), max_bytes }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room, for a while; true where there is some. A batch may exceed the bound, so that any batch
    /// gets in.
    pub(super) fn wait_for_room(&self, timeout: Duration) -> bool {
        let queue = self.lock();
        if queue.bytes < self.max_bytes {
            return true;
        }
        let waited = self.room.wait_timeout(queue, timeout).unwrap_or_else(PoisonError::into_inner);
        waited.0.bytes < self.max_bytes
    }

    pub(super) fn push(&self, item: Item) {
        let mut queue = self.lock();
        if let Item::Records { bytes, .. } = &item {
            queue.bytes += bytes;
        }
        queue.items.push_back(item);
        drop(queue);
        self.ready.notify_one();
    }

    /// The next item; while paused, the next that is not about records.
    pub(super) fn pop(&self, paused: bool) -> Option<Item> {
        let mut queue = self.lock();
        let about_records = |item: &Item| {
            matches!(
                item,
                Item::Records { .. } | Item::CaughtUp { .. } | Item::OutOfReach { .. } | Item::End { .. }
            )
        };
        let at = if paused { queue.items.iter().position(|item| !about_records(item))? } else { 0 };
        let item = queue.items.remove(at)?;
        if let Item::Records { bytes, .. } = &item {
            queue.bytes -= bytes;
            self.room.notify_one();
        }
        Some(item)
    }

    /// Drops what waits of these partitions of consumer `of`, and its end.
    pub(super) fn forget(&self, of: usize, partitions: &[Partition]) {
        let mut queue = self.lock();
        queue.items.retain(|item| match item {
            Item::Records { records, .. } => !partitions.contains(&records.partition),
            Item::CaughtUp { partition } => !partitions.contains(partition),
            Item::End { from } => *from != of,
            _ => true,
        });
        queue.bytes = queue.items.iter().map(Item::bytes).sum();
        self.room.notify_one();
    }

    /// Waits until something has been pushed since the last wait.
    pub(super) async fn pushed(&self) {
        self.ready.notified().await;
    }
}

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Self::Records { bytes, .. } => *bytes,
            _ => 0,
        }
    }
}
