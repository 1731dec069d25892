//! The log with a journal: who waits for it, who does not, and what becomes of a commit of which it is not
//! known whether it happened.

use std::sync::mpsc::{Receiver, Sender, channel};

use super::super::journal::{Change, Journal, KeptTopic};
use super::*;
use crate::error::Error;

/// A journal that answers when it is told to, and what.
#[derive(Debug)]
struct Told {
    kept: Change,
    asked: tokio::sync::mpsc::UnboundedSender<Change>,
    commits: Receiver<Result<()>>,
    settled: Receiver<Result<bool>>,
}

impl Journal for Told {
    fn load(&mut self) -> Result<Change> {
        Ok(std::mem::take(&mut self.kept))
    }

    fn commit(&mut self, change: &Change) -> Result<()> {
        self.asked.send(change.clone()).expect("the test is there");
        self.commits.recv().expect("an answer")
    }

    fn settle(&mut self) -> Result<bool> {
        self.settled.recv().expect("an answer")
    }
}

/// The other end of it.
struct Hand {
    asked: tokio::sync::mpsc::UnboundedReceiver<Change>,
    commits: Sender<Result<()>>,
    settled: Sender<Result<bool>>,
}

impl Hand {
    /// Waits until the journal is asked to commit.
    async fn asked(&mut self) -> Change {
        self.asked.recv().await.expect("a commit")
    }

    fn answers(&self, answer: Result<()>) {
        self.commits.send(answer).expect("a journal");
    }
}

/// A log with the topics `in` and `out`, and positions of group `g` that were kept by an earlier process.
fn log_of(positions: Vec<(String, Position)>) -> (MemoryLog, Hand) {
    let (asked, asks) = tokio::sync::mpsc::unbounded_channel();
    let ((commits, answers), (settled, answers_again)) = (channel(), channel());
    let topic = |name: &str| KeptTopic { name: name.to_owned(), partitions: 1, compacted: false };
    let topics = vec![topic("in"), topic("out")];
    let kept = Change { topics, positions, ..Change::default() };
    let journal = Told { kept, asked, commits: answers, settled: answers_again };
    let options = MemoryOptions { topic_bytes: BOUND, ..MemoryOptions::default() };
    let log = MemoryLog::open(options, "there", Box::new(journal)).expect("a log");
    (log, Hand { asked: asks, commits, settled })
}

fn at(offset: i64) -> Position {
    Position { partition: Partition::new("in", 0), offset, metadata: String::new() }
}

/// Appends to a topic and commits, with a position of the reader.
fn committing(
    mut writer: Box<dyn LogWriter>,
    topic: &'static str,
    number: u64,
    with: Option<(&dyn LogReader, i64)>,
) -> tokio::task::JoinHandle<(Box<dyn LogWriter>, Result<()>)> {
    let positions = with.map(|(reader, offset)| GroupPositions {
        membership: reader.membership().expect("a group"),
        positions: vec![at(offset)],
    });
    tokio::spawn(async move {
        writer.append(numbers(topic, [number])).await.expect("room");
        let committed = writer.commit(positions).await;
        (writer, committed)
    })
}

async fn assigned(reader: &mut Box<dyn LogReader>) -> i64 {
    loop {
        if let ReadEvent::Assigned(assigned) = reader.next().await.expect("an event") {
            return assigned[0].start;
        }
    }
}

#[tokio::test]
async fn who_reads_and_appends_does_not_wait_for_the_disk_and_commits_keep_their_order() {
    let (log, mut hand) = log_of(Vec::new());
    let (one, two) = (writer(&log, Some("one")).await, writer(&log, Some("two")).await);
    let mut reading = reader(&log, "in", None).await;
    let first = committing(one, "in", 1, None);
    hand.asked().await;
    hand.answers(Ok(()));
    let (one, done) = first.await.expect("no panic");
    done.expect("a commit");
    // The disk takes its time from here on.
    let second = committing(one, "out", 2, None);
    hand.asked().await;
    assert_eq!(drain(&mut reading).await, [1], "others read");
    let third = committing(two, "out", 3, None);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!second.is_finished() && !third.is_finished());
    hand.answers(Ok(()));
    hand.answers(Ok(()));
    for task in [second, third] {
        task.await.expect("no panic").1.expect("a commit");
    }
    assert_eq!(drain(&mut reader(&log, "out", None).await).await, [2, 3], "in the order in which they came");
}

#[tokio::test]
async fn a_partition_is_given_to_nobody_while_its_position_is_being_kept() {
    let (log, mut hand) = log_of(vec![("g".into(), at(0))]);
    let first = committing(writer(&log, Some("input")).await, "in", 1, None);
    hand.asked().await;
    hand.answers(Ok(()));
    first.await.expect("no panic").1.expect("a commit");
    let (mut old, writing) = (reader(&log, "in", Some("g")).await, writer(&log, Some("w")).await);
    let mut new = reader(&log, "in", Some("g")).await;
    assert_eq!(assigned(&mut old).await, 0);
    let committed = committing(writing, "out", 1, Some((&*old, 1)));
    hand.asked().await;
    // Its chain dies while the disk works.
    drop(old);
    let early = tokio::time::timeout(Duration::from_millis(20), assigned(&mut new)).await;
    assert!(early.is_err(), "it would start at the old position, and write the row again");
    hand.answers(Ok(()));
    assert_eq!(assigned(&mut new).await, 1);
    committed.await.expect("no panic").1.expect("a commit");
}

#[tokio::test]
async fn a_commit_whose_caller_is_gone_becomes_visible_all_the_same() {
    let (log, mut hand) = log_of(Vec::new());
    let mut reading = reader(&log, "out", None).await;
    let task = committing(writer(&log, Some("w")).await, "out", 1, None);
    hand.asked().await;
    task.abort();
    assert!(task.await.is_err());
    assert!(drain(&mut reading).await.is_empty());
    hand.answers(Ok(()));
    let _next = writer(&log, Some("w")).await;
    assert_eq!(drain(&mut reading).await, [1], "the next writer of that id opened once it was decided");
}

/// A commit fails; the journal then says whether it happened. Gives what the next reader of `out` sees, and
/// where group `g` goes on.
async fn in_doubt(happened: bool) -> (Vec<u64>, i64) {
    let (log, mut hand) = log_of(vec![("g".into(), at(0))]);
    let first = committing(writer(&log, Some("input")).await, "in", 7, None);
    hand.asked().await;
    hand.answers(Ok(()));
    first.await.expect("no panic").1.expect("a commit");
    let (mut reading, writing) = (reader(&log, "in", Some("g")).await, writer(&log, Some("w")).await);
    let mut out = reader(&log, "out", None).await;
    assert_eq!(assigned(&mut reading).await, 0);
    let committed = committing(writing, "out", 7, Some((&*reading, 1)));
    hand.asked().await;
    hand.answers(Err(Error::retry("full")));
    let (mut writing, committed) = committed.await.expect("no panic");
    assert_eq!(committed.expect_err("full").consequence(), Consequence::Retry);
    drop(reading);
    // It is still not known: whoever wants to go on is told so, and nobody sees anything.
    hand.settled.send(Err(Error::retry("still full"))).expect("a journal");
    let again = ReaderOptions {
        topics: vec!["in".into()],
        partitions: None,
        group: Some(Group::new("g")),
        start: Start::Earliest,
        max_records: 100,
        max_bytes: 1 << 20,
        headers: Vec::new(),
    };
    assert_eq!(log.reader(again).await.err().map(|e| e.to_string()), Some("still full".to_owned()));
    hand.settled.send(Err(Error::retry("still full"))).expect("a journal");
    assert!(writing.commit(None).await.is_err());
    assert!(drain(&mut out).await.is_empty());
    hand.settled.send(Ok(happened)).expect("a journal");
    let mut reading = reader(&log, "in", Some("g")).await;
    let goes_on = assigned(&mut reading).await;
    (drain(&mut out).await, goes_on)
}

#[tokio::test]
async fn a_commit_in_doubt_happens_whole_or_not_at_all() {
    assert_eq!(in_doubt(true).await, (vec![7], 1));
    assert_eq!(in_doubt(false).await, (vec![], 0));
}

#[tokio::test]
async fn what_a_failed_commit_would_have_forgotten_is_forgotten_by_the_next() {
    let (log, mut hand) = log_of(Vec::new());
    let mut writing = writer(&log, Some("w")).await;
    let mut forgotten = Vec::new();
    // Nobody reads the topic: it drops its oldest batches.
    for number in 0..30 {
        let fails = number == 25;
        hand.answers(if fails { Err(Error::retry("full")) } else { Ok(()) });
        hand.settled.send(Ok(false)).expect("a journal");
        writing.append(numbers("out", [number])).await.expect("room");
        assert_eq!(writing.commit(None).await.is_err(), fails);
        let change = hand.asked().await;
        if !fails {
            forgotten.extend(change.dropped.iter().map(|(.., first)| *first));
        }
    }
    assert!(forgotten.len() > 5);
    assert_eq!(forgotten, (0..forgotten.len() as i64).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_group_that_nobody_joins_is_named_when_its_topic_is_full() {
    let (log, hand) = log_of(vec![("gone".into(), at(0))]);
    let mut writing = writer(&log, Some("w")).await;
    let mut written = 0;
    let error = loop {
        hand.answers(Ok(()));
        match writing.append(numbers("in", [written])).await {
            Ok(()) => writing.commit(None).await.expect("a commit"),
            Err(error) => break error,
        }
        written += 1;
    };
    assert!(written > 10);
    assert_eq!(
        error.to_string(),
        "topic `in` of the embedded log is full of records that `gone` has not read, and nobody reads as that here"
    );
    assert_eq!((error.consequence(), error.help().is_some()), (Consequence::Fatal, true));
}

/// A directory of version 0.1 does not say which of its topics are compacted.
#[tokio::test]
async fn that_a_topic_is_compacted_is_kept_once_it_is_asked_for_so() {
    let (log, mut hand) = log_of(Vec::new());
    let spec = |keeps| TopicSpec { name: "in".to_owned(), partitions: None, create: false, keeps };
    for keeps in [Keeps::AsTheLog, Keeps::LastOfKey] {
        hand.answers(Ok(()));
        assert_eq!(log.ensure_topics(&[spec(keeps)]).await.expect("topics"), [1]);
    }
    let asked = hand.asked().await;
    let topic = KeptTopic { name: "in".to_owned(), partitions: 1, compacted: true };
    assert_eq!(asked, Change { topics: vec![topic], ..Change::default() });
    // It is known: nothing more is kept.
    log.ensure_topics(&[spec(Keeps::AsTheLog), spec(Keeps::LastOfKey)]).await.expect("topics");
    assert!(hand.asked.try_recv().is_err());
}
