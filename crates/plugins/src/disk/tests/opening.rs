//! The log is opened with its first use, and only once, whoever waits for it.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use pipectl_framework::log::memory::MemoryOptions;
use pipectl_framework::log::{Keeps, Log, TopicSpec};

use super::super::DiskLog;
use super::super::journal::{Open, in_a_file};

fn topic() -> TopicSpec {
    TopicSpec { name: "t".into(), partitions: None, create: true, keeps: Keeps::AsTheLog }
}

/// A chain that is told to stop while it opens the log leaves; the next one uses it all the same.
#[tokio::test]
async fn who_no_longer_waits_for_the_opening_does_not_lock_the_next_one_out() {
    let directory = tempfile::tempdir().unwrap();
    let (begun, begins) = channel();
    let (go, goes) = channel::<()>();
    let (goes, in_a_file) = (Mutex::new(goes), in_a_file());
    let open: Open = Arc::new(move |builder, path| {
        // It is opened twice: where it is made, and to be read.
        let _ = begun.send(());
        // Not held up once the test is over.
        let _ = goes.lock().unwrap().recv();
        in_a_file(builder, path)
    });
    let log = DiskLog::with(directory.path().to_owned(), "the log", MemoryOptions::default(), open);
    let specs = [topic()];
    tokio::select! {
        biased;
        _ = log.ensure_topics(&specs) => panic!("it cannot be open yet"),
        () = async { tokio::task::yield_now().await } => {}
    }
    tokio::task::spawn_blocking(move || begins.recv().unwrap()).await.unwrap();
    let next = log.ensure_topics(&specs);
    tokio::pin!(next);
    let early = tokio::time::timeout(std::time::Duration::from_millis(50), &mut next).await;
    drop(go);
    assert!(early.is_err(), "{early:?}");
    assert_eq!(next.await.unwrap(), [1]);
}
