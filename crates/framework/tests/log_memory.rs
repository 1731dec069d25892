//! The log in this process against the conformance suite, on a paused clock.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::panic,
    reason = "a test prints its cases and fails by panicking"
)]

use std::sync::Arc;

use pipectl_framework::log::conformance::{Harness, cases};
use pipectl_framework::log::memory::MemoryLog;

#[test]
fn conforms() {
    for (name, case) in cases() {
        println!("{name}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let harness = Harness::new(Arc::new(MemoryLog::default()), name);
        if let Err(error) = runtime.expect("a runtime").block_on(case(harness)) {
            panic!("{name}: {error}");
        }
    }
}
