//! A chain on a log that forgets is stopped while something fails: this run is the last that can read its
//! rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use super::*;

/// What became of it.
struct Stopped {
    failures: Vec<(String, String)>,
    help: Option<String>,
    counts: Vec<i64>,
    took: Duration,
}

/// Counts the rows of a file through a topic of a log in memory, and stops after a second. `fault` is told
/// whether the chains drain.
fn stopped(mut fault: impl FnMut(&str, bool) -> Option<Error> + Send + 'static) -> Stopped {
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..100).map(|row| format!("{row}\n")).collect();
    std::fs::write(folder.path().join("rows.csv"), format!("n\n{rows}")).unwrap();
    let draining = Arc::new(AtomicBool::new(false));
    let drains = draining.clone();
    let watch = Watch::new(move |done| fault(done, drains.load(SeqCst)));
    let log = Watched { name: "one", durable: false, log: MemoryLog::default(), watch };
    let yaml = "  rows:
    - source: csv
      with: { path: rows.csv }
    - sink: kafka
      with: { connection: one, topic: rows, value: n }
  count:
    - source: kafka
      with: { connection: one, topic: rows, format: text }
    - window: count
      with: { size: 1h }
    - sink: kafka
      with: { connection: one, topic: counts, encode: json }
";
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (outcome, took) = runtime.block_on(async {
        let clock = Clock::manual(START);
        let plan = planned(yaml, folder.path(), std::slice::from_ref(&log));
        let (run, _notices) = Run::start(plan, &RunOptions { seed: 7, ..RunOptions::new(clock.clone()) });
        tokio::time::sleep(Duration::from_secs(1)).await;
        draining.store(true, SeqCst);
        run.control().drain();
        let began = clock.elapsed();
        (run.wait().await, clock.elapsed().saturating_sub(began))
    });
    let help = outcome.failures.first().and_then(|(_, error)| error.help().map(str::to_owned));
    let failures = outcome.failures.into_iter().map(|(chain, error)| (chain, error.to_string())).collect();
    let ran = Ran { failure: None, help: None, rows_in: Vec::new(), took, logs: vec![log], runtime };
    let count = |value: &String| {
        let row: serde_json::Value = serde_json::from_str(value).unwrap();
        row["count"].as_i64().unwrap()
    };
    let counts = ran.values(0, "counts").iter().map(count).collect();
    Stopped { failures, help, counts, took }
}

#[test]
fn what_fails_in_passing_while_it_drains_is_tried_again() {
    for what in ["one: append counts", "one: commit with positions", "one: reader"] {
        let seen = Arc::new(AtomicUsize::new(0));
        let of = seen.clone();
        let stopped = stopped(move |done, draining| {
            // The reader fails where it is opened again.
            let fails = done == what
                || (what == "one: reader" && done == "one: append counts" && of.load(SeqCst) == 0);
            (fails && draining && of.fetch_add(1, SeqCst) < 2).then(|| Error::retry("gone"))
        });
        assert!(seen.load(SeqCst) >= 2, "{what}");
        assert_eq!((&stopped.failures[..], &stopped.counts[..]), (&[][..], &[100][..]), "{what}");
    }
}

#[test]
fn who_waits_to_try_again_when_it_is_told_to_stop_does_so_at_once() {
    let stopped =
        stopped(|done, draining| (done == "one: reader" && !draining).then(|| Error::retry("gone")));
    assert_eq!((&stopped.failures[..], &stopped.counts[..]), (&[][..], &[100][..]));
}

#[test]
fn what_goes_on_failing_ends_as_a_failure_that_says_what_is_lost() {
    let stopped = stopped(|done, draining| {
        (done == "one: append counts" && draining).then(|| Error::retry("gone").remedy("bring it back"))
    });
    assert_eq!(stopped.counts, [0; 0]);
    assert!(stopped.took < Duration::from_secs(6), "{:?}", stopped.took);
    let [(chain, said)] = &stopped.failures[..] else { panic!("{:?}", stopped.failures) };
    assert_eq!(chain, "count");
    insta::assert_snapshot!(format!("{said}\n{}", stopped.help.unwrap_or_default()));
}
