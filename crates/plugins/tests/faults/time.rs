//! A chain that writes for another one fails for a while: what it writes later has old times, and is not late
//! for that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::*;

/// Rows of a file that is read at the rate at which it was written; gives how many came to the window, and
/// how many were late.
fn counted(what: &'static str, durable: bool) -> (u64, u64) {
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..3000).map(|row| format!("{},{}\n", row % 7, START + 10 * row)).collect();
    std::fs::write(folder.path().join("rows.csv"), format!("k,t\n{rows}")).unwrap();
    let failing = Arc::new(AtomicBool::new(false));
    let fails = failing.clone();
    let watch = Watch::new(move |done| (done == what && fails.load(SeqCst)).then(|| Error::retry("no room")));
    let log = Watched { name: "one", durable, log: MemoryLog::default(), watch };
    let yaml = "  rows:
    - source: csv
      time: { field: t, format: epoch_ms }
      with: { path: rows.csv, rate: 100/s }
    - sink: kafka
      with: { connection: one, topic: rows, value: k }
  count:
    - source: kafka
      with: { connection: one, topic: rows, format: text }
    - window: count-by-key
      with: { key: value, size: 1s, zero_fill: seen }
    - sink: kafka
      with: { connection: one, topic: counts, encode: json }
";
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let clock = Clock::manual(START);
        let plan = planned(yaml, folder.path(), &[log]);
        let (run, _notices) = Run::start(plan, &RunOptions { seed: 3, ..RunOptions::new(clock) });
        let figures = run.figures();
        for fails in [false, true, false] {
            failing.store(fails, SeqCst);
            tokio::time::sleep(Duration::from_secs(if fails { 67 } else { 10 })).await;
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        let window = figures.iter().find(|chain| chain.name == "count").unwrap().steps[1].1.balance();
        run.control().drain();
        assert!(run.wait().await.failures.is_empty());
        (window.rows_in, window.late)
    })
}

#[test]
fn no_row_is_late_because_the_chain_that_writes_it_was_failing() {
    for durable in [true, false] {
        for what in ["one: append rows", "one: writer with an id"] {
            assert_eq!(counted(what, durable), (3000, 0), "{what}");
        }
    }
}
