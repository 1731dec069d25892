//! A cluster on which everything goes wrong that may: processes that crash, stand still or lose their group,
//! commits without an answer, requests that wait. A seed decides what, so that a fault that was seen once is
//! seen again.
//!
//! A [`World`] has the chance, the faults and what was seen; a [`Process`] is what crashes; a
//! [`SimulatedLog`] is the log as one process sees it, over a [`MemoryLog`](crate::log::memory::MemoryLog)
//! that all of them share. The log holds callers to its contract: a commit by a writer that was fenced, or by
//! a reader that left its group, and a position that goes back are [`World::violation`]s.
//!
//! It runs on a paused clock, so a day takes no time:
//!
//! ```
//! use arrow_array::BinaryArray;
//! use pipectl_framework::log::memory::{MemoryLog, MemoryOptions};
//! use pipectl_framework::log::{Append, Keeps, Log, TopicSpec, WriterOptions};
//! use pipectl_framework::testing::simulation::{Faults, Process, SimulatedLog, World};
//! # use std::time::Duration;
//! # let mut runtime = tokio::runtime::Builder::new_current_thread();
//! # let runtime = runtime.enable_time().start_paused(true).build().unwrap();
//! # let options = || WriterOptions {
//! #     transactional_id: Some("w".into()),
//! #     transaction_timeout: Duration::from_secs(10),
//! # };
//! # let (name, keeps) = ("t", Keeps::AsTheLog);
//! # let topics = || [TopicSpec { name: name.into(), partitions: Some(1), create: true, keeps }];
//! # let record = || Append {
//! #     topic: "t".into(),
//! #     partition: Some(0),
//! #     keys: None,
//! #     values: BinaryArray::from(vec![&b"row"[..]]),
//! #     timestamps: vec![0].into(),
//! #     headers: Vec::new(),
//! # };
//! # runtime.block_on(async {
//! let kept = MemoryLog::new(MemoryOptions::default());
//! let mut answered = 0;
//! for seed in 0..100 {
//!     let world = World::new(seed, None);
//!     world.set_faults(Faults { ambiguous: 300, ..Faults::default() });
//!     let process = Process::new(world.number());
//!     let log = SimulatedLog::new(&world, &process, &kept, 1);
//!     log.ensure_topics(&topics()).await.unwrap();
//!     // Here stands what is tried: a commit of one record, of which nobody knows whether it happened.
//!     let mut writer = log.writer(options()).await.unwrap();
//!     writer.append(record()).await.unwrap();
//!     answered += u64::from(writer.commit(None).await.is_ok());
//!     assert!(world.take_violations().is_empty());
//! }
//! assert!((50..90).contains(&answered), "{answered} of 100 commits were answered");
//! # });
//! ```

mod faults;
mod log;
mod process;
mod random;
mod reader;
mod world;

use std::pin::pin;
use std::task::{Context, Poll, Waker};

pub use faults::{Call, Faults, SESSION_TIMEOUT};
pub use log::SimulatedLog;
pub use process::Process;
pub use random::Random;
pub use world::{Figures, World};

/// What a future gives at once; `None` where it would wait.
fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(given) => Some(given),
        Poll::Pending => None,
    }
}
