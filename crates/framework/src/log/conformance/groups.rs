//! Groups: who reads what, and how far the group has come.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::{Harness, append, assigned, position, read, read_to_end, sorted, texts};
use crate::error::{Consequence, Result};
use crate::log::{
    Group, GroupPositions, LogReader, LogWriter, MAX_METADATA, Membership, Position, ReadEvent,
};

async fn commit_with(
    writer: &mut Box<dyn LogWriter>,
    membership: Option<Membership>,
    positions: Vec<Position>,
) -> Result<()> {
    let Some(membership) = membership else {
        return Err(crate::error::Error::fatal("a member of a group has a membership"));
    };
    writer.commit(Some(GroupPositions { membership, positions })).await
}

pub(super) async fn positions_and_metadata_come_back(h: Harness) -> Result<()> {
    let topic = h.topic("t", 1).await?;
    h.write(&topic, &["a0", "a1", "a2", "a3"]).await?;
    let mut writer = h.writer("w").await?;
    let longest = "m".repeat(MAX_METADATA);
    let mut before = None;
    for (from, metadata) in [(1, "v1;7;1700000000000;\u{6d59}"), (2, ""), (3, longest.as_str())] {
        let mut reader = h.member(&topic, "g").await?;
        let given = assigned(&mut reader).await?;
        assert_eq!(given.len(), 1);
        assert_eq!(given[0].committed, before, "what was committed last");
        let rows = read(&mut reader, 4 - (from - 1)).await?;
        assert_eq!(rows[0].offset, given[0].start, "reading starts where it was said");
        let at = position(&topic, 0, rows[1].offset, metadata);
        commit_with(&mut writer, reader.membership(), vec![at.clone()]).await?;
        reader.close().await?;
        before = Some(at);
    }
    let mut again = h.member(&topic, "g").await?;
    assigned(&mut again).await?;
    assert!(!again.is_new().await?, "the group has committed");
    again.close().await?;
    let mut other = h.member(&topic, "other").await?;
    assert_eq!(assigned(&mut other).await?[0].committed, None, "another group has nothing");
    assert!(other.is_new().await?);
    other.close().await
}

pub(super) async fn results_and_positions_are_one(h: Harness) -> Result<()> {
    let (input, output) = (h.topic("in", 1).await?, h.topic("out", 1).await?);
    h.write(&input, &["a0", "a1"]).await?;
    let mut reader = h.member(&input, "g").await?;
    let rows = read(&mut reader, 2).await?;
    let mut writer = h.writer("w").await?;
    writer.append(append(&output, &["a-no"])).await?;
    writer.abort().await?;
    assert_eq!(reader.committed().await?[0].committed, None, "an abort commits no position");
    writer.append(append(&output, &["a-yes"])).await?;
    let at = position(&input, 0, rows[1].offset + 1, "both");
    commit_with(&mut writer, reader.membership(), vec![at.clone()]).await?;
    assert_eq!(reader.committed().await?[0].committed, Some(at));
    reader.close().await?;
    let mut results = h.reader(&output).await?;
    results.bound().await?;
    assert_eq!(texts(&read_to_end(&mut results).await?), ["a-yes"]);
    results.close().await
}

pub(super) async fn positions_alone(h: Harness) -> Result<()> {
    let topic = h.topic("t", 2).await?;
    h.write(&topic, &["a0", "b1", "c2", "d3"]).await?;
    let mut reader = h.member(&topic, "g").await?;
    read(&mut reader, 4).await?;
    let mut writer = h.writer("w").await?;
    commit_with(&mut writer, reader.membership(), vec![]).await?;
    for round in 0..3 {
        let both = vec![position(&topic, 0, round, "first"), position(&topic, 1, 0, "second")];
        commit_with(&mut writer, reader.membership(), both).await?;
    }
    let mut found: Vec<_> = reader.committed().await?.into_iter().filter_map(|a| a.committed).collect();
    found.sort_by_key(|position| position.partition.index);
    assert_eq!(found, [position(&topic, 0, 2, "first"), position(&topic, 1, 0, "second")]);
    reader.close().await
}

pub(super) async fn positions_outside_a_transaction(h: Harness) -> Result<()> {
    let topic = h.topic("t", 1).await?;
    h.write(&topic, &["a0", "a1", "a2"]).await?;
    let mut reader = h.member(&topic, "g").await?;
    let rows = read(&mut reader, 3).await?;
    let at = position(&topic, 0, rows[2].offset, "alone");
    reader.commit(std::slice::from_ref(&at)).await?;
    reader.close().await?;
    let mut reader = h.member(&topic, "g").await?;
    assert_eq!(assigned(&mut reader).await?[0].committed, Some(at));
    assert_eq!(texts(&read(&mut reader, 1).await?), ["a2"]);
    reader.close().await?;
    let mut alone = h.reader(&topic).await?;
    assigned(&mut alone).await?;
    alone.commit(&[position(&topic, 0, 2, "nobody's")]).await?;
    assert!(!alone.is_new().await?, "without a group nothing is new");
    assert_eq!(alone.committed().await?[0].committed, None, "without a group nothing is kept");
    alone.close().await
}

pub(super) async fn committed_tells_where_the_group_is(h: Harness) -> Result<()> {
    let topic = h.topic("t", 1).await?;
    h.write(&topic, &["a0", "a1", "a2"]).await?;
    let mut reader = h.member(&topic, "g").await?;
    let rows = read(&mut reader, 3).await?;
    let found = reader.committed().await?;
    assert_eq!(
        (found.len(), found[0].start),
        (1, rows[0].offset),
        "nothing committed: where reading started"
    );
    let at = position(&topic, 0, rows[1].offset, "m");
    reader.commit(std::slice::from_ref(&at)).await?;
    let found = reader.committed().await?;
    assert_eq!((found[0].start, found[0].committed.clone()), (rows[1].offset, Some(at)));
    // The failure path: back to what is committed, in the same reader.
    reader.seek(&found[0].partition, found[0].start).await?;
    assert_eq!(texts(&read(&mut reader, 2).await?), ["a1", "a2"]);
    reader.close().await
}

/// What one member holds, and how it takes part.
struct Part {
    reader: Box<dyn LogReader>,
    held: BTreeSet<i32>,
    values: Vec<String>,
    revocations: usize,
}

impl Part {
    fn new(reader: Box<dyn LogReader>) -> Self {
        Self { reader, held: BTreeSet::new(), values: Vec::new(), revocations: 0 }
    }

    /// Listens for a moment. On a revocation it commits, before it lets go.
    async fn listen(&mut self, topic: &Arc<str>) -> Result<()> {
        let moment = Duration::from_millis(50);
        let Ok(event) = tokio::time::timeout(moment, self.reader.next()).await else { return Ok(()) };
        match event? {
            ReadEvent::Assigned(given) => self.held.extend(given.iter().map(|a| a.partition.index)),
            ReadEvent::Revoked(gone) => {
                self.revocations += 1;
                let note = |p: &crate::batch::Partition| position(topic, p.index, 0, "let go");
                self.reader.commit(&gone.iter().map(note).collect::<Vec<_>>()).await?;
                self.held.retain(|held| gone.iter().all(|p| p.index != *held));
            }
            ReadEvent::Lost(gone) => self.held.retain(|held| gone.iter().all(|p| p.index != *held)),
            ReadEvent::Records(records) => {
                assert!(self.held.contains(&records.partition.index), "records of what is not held");
                self.values.extend(texts(&super::rows(&records)));
            }
            ReadEvent::CaughtUp(_)
            | ReadEvent::OutOfReach(_)
            | ReadEvent::Gone(_)
            | ReadEvent::Grown { .. }
            | ReadEvent::End => {}
        }
        Ok(())
    }
}

/// Lets both members take part until the first holds `one` partitions and the second `two`.
async fn settle(a: &mut Part, b: &mut Part, topic: &Arc<str>, one: usize, two: usize) -> Result<()> {
    let deadline = tokio::time::Instant::now() + super::PATIENCE;
    while a.held.len() != one || b.held.len() != two || !a.held.is_disjoint(&b.held) {
        assert!(tokio::time::Instant::now() < deadline, "no share-out: {:?} and {:?}", a.held, b.held);
        a.listen(topic).await?;
        b.listen(topic).await?;
    }
    Ok(())
}

pub(super) async fn two_readers_share_the_partitions(h: Harness) -> Result<()> {
    let topic = h.topic("t", 4).await?;
    let mut first = Part::new(h.member(&topic, "g").await?);
    while first.held.len() < 4 {
        first.listen(&topic).await?;
    }
    let mut second = Part::new(h.member(&topic, "g").await?);
    settle(&mut first, &mut second, &topic, 2, 2).await?;
    assert!(first.revocations > 0, "what moves is revoked first");
    // What the first committed on being revoked counts.
    for given in second.reader.committed().await? {
        assert_eq!(given.committed.map(|p| p.metadata).as_deref(), Some("let go"), "{}", given.partition);
    }
    let values: Vec<String> = (0..40).map(|i| format!("{i:02}")).collect();
    let refs: Vec<&str> = values.iter().map(String::as_str).collect();
    let mut writer = h.writer("w").await?;
    writer
        .append(crate::log::Append {
            keys: Some(refs.iter().map(|v| Some(v.as_bytes())).collect()),
            ..append(&topic, &refs)
        })
        .await?;
    writer.commit(None).await?;
    let deadline = tokio::time::Instant::now() + super::PATIENCE;
    while first.values.len() + second.values.len() < 40 && tokio::time::Instant::now() < deadline {
        first.listen(&topic).await?;
        second.listen(&topic).await?;
    }
    assert!(!first.values.is_empty() && !second.values.is_empty(), "both take part");
    let mut all = [first.values, second.values].concat();
    all.sort();
    assert_eq!(all, values, "each record to one of them");
    first.reader.close().await?;
    second.reader.close().await
}

pub(super) async fn a_closed_reader_leaves_its_partitions_to_the_other(h: Harness) -> Result<()> {
    let topic = h.topic("t", 2).await?;
    let mut first = Part::new(h.member(&topic, "g").await?);
    let mut second = Part::new(h.member(&topic, "g").await?);
    settle(&mut first, &mut second, &topic, 1, 1).await?;
    first.reader.close().await?;
    let deadline = tokio::time::Instant::now() + super::PATIENCE;
    while second.held.len() < 2 {
        assert!(tokio::time::Instant::now() < deadline, "the other did not take over");
        second.listen(&topic).await?;
    }
    h.write(&topic, &["a1", "b2", "c3", "d4"]).await?;
    let got = read(&mut second.reader, 4).await?;
    assert_eq!(sorted(&got), ["a1", "b2", "c3", "d4"]);
    second.reader.close().await
}

pub(super) async fn a_member_that_counts_a_window_otherwise_is_refused(h: Harness) -> Result<()> {
    let topic = h.topic("t", 2).await?;
    h.write(&topic, &["a0", "b1", "c2", "d3"]).await?;
    let counts = |windows: &[(&str, &str)]| {
        let windows: BTreeMap<String, String> =
            windows.iter().map(|(name, mark)| ((*name).to_owned(), (*mark).to_owned())).collect();
        h.log.reader(Harness::options(&topic, Some(Group { windows, ..Group::new(h.name("g")) })))
    };
    let mut first = Part::new(counts(&[("c.w", "1a"), ("c.v", "2b")]).await?);
    while first.held.len() < 2 {
        first.listen(&topic).await?;
    }
    let deadline = tokio::time::Instant::now() + super::PATIENCE;
    let refused = match counts(&[("c.new", "3c"), ("c.w", "4d")]).await {
        Err(refused) => refused,
        Ok(other) => {
            let mut other = Part::new(other);
            loop {
                assert!(tokio::time::Instant::now() < deadline, "it was not refused");
                if let Err(refused) = other.listen(&topic).await {
                    break refused;
                }
                assert!(other.held.is_empty(), "it was given partitions");
                first.listen(&topic).await?;
            }
        }
    };
    assert_eq!(refused.consequence(), Consequence::Refused);
    assert!(refused.to_string().contains("the window `c.w` otherwise"), "{refused}");
    // One that is new or gone is no difference.
    let mut third = Part::new(counts(&[("c.new", "3c"), ("c.w", "1a")]).await?);
    settle(&mut first, &mut third, &topic, 1, 1).await?;
    first.reader.close().await?;
    third.reader.close().await
}

pub(super) async fn a_stale_membership_commits_nothing(h: Harness) -> Result<()> {
    let (topic, output) = (h.topic("t", 2).await?, h.topic("out", 1).await?);
    let mut first = Part::new(h.member(&topic, "g").await?);
    while first.held.len() < 2 {
        first.listen(&topic).await?;
    }
    let stale = first.reader.membership();
    let mut second = Part::new(h.member(&topic, "g").await?);
    settle(&mut first, &mut second, &topic, 1, 1).await?;
    let Some(membership) = stale else {
        return Err(crate::error::Error::fatal("a member of a group has a membership"));
    };
    let moved: Vec<i32> = second.held.iter().copied().collect();
    let mut writer = h.writer("w").await?;
    writer.append(append(&output, &["a-no"])).await?;
    let positions = vec![position(&topic, moved[0], 1, "zombie")];
    let refused = writer.commit(Some(GroupPositions { membership, positions })).await;
    assert_eq!(refused.err().map(|e| e.consequence()), Some(Consequence::Abort));
    writer.abort().await?;
    writer.append(append(&output, &["a-yes"])).await?;
    writer.commit(None).await?;
    let mut results = h.reader(&output).await?;
    results.bound().await?;
    assert_eq!(texts(&read_to_end(&mut results).await?), ["a-yes"], "neither its results");
    let committed = second.reader.committed().await?;
    assert!(
        committed.iter().all(|a| a.committed.as_ref().is_none_or(|p| p.metadata != "zombie")),
        "nor its positions"
    );
    first.reader.close().await?;
    second.reader.close().await?;
    results.close().await
}

/// Where the group has moved on and the reader has not heard of it, it does not stand where the group does
/// now: what it commits would be taken for that of who has its partitions.
pub(super) async fn a_membership_is_no_newer_than_what_the_reader_was_told(h: Harness) -> Result<()> {
    let (topic, output) = (h.topic("t", 2).await?, h.topic("out", 1).await?);
    let mut first = Part::new(h.member(&topic, "g").await?);
    while first.held.len() < 2 {
        first.listen(&topic).await?;
    }
    let mut second = Part::new(h.member(&topic, "g").await?);
    let deadline = tokio::time::Instant::now() + super::PATIENCE;
    while first.revocations == 0 {
        assert!(tokio::time::Instant::now() < deadline, "nothing was revoked");
        first.listen(&topic).await?;
        second.listen(&topic).await?;
    }
    // It lets go, and hears nothing more.
    let _ = tokio::time::timeout(Duration::from_millis(1), first.reader.next()).await;
    while second.held.is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "the other was given nothing");
        second.listen(&topic).await?;
    }
    let mut writer = h.writer("w").await?;
    if let Some(membership) = first.reader.membership() {
        let moved: Vec<i32> = second.held.iter().copied().collect();
        writer.append(append(&output, &["a-no"])).await?;
        let positions = vec![position(&topic, moved[0], 1, "zombie")];
        let refused = writer.commit(Some(GroupPositions { membership, positions })).await;
        assert_eq!(refused.err().map(|e| e.consequence()), Some(Consequence::Abort));
        writer.abort().await?;
    }
    let committed = second.reader.committed().await?;
    assert!(committed.iter().all(|a| a.committed.as_ref().is_none_or(|p| p.metadata != "zombie")));
    // What it is told of counts again.
    settle(&mut first, &mut second, &topic, 1, 1).await?;
    let Some(membership) = first.reader.membership() else {
        return Err(crate::error::Error::fatal("a member of a group has a membership"));
    };
    let held: Vec<i32> = first.held.iter().copied().collect();
    let positions = vec![position(&topic, held[0], 0, "again")];
    writer.commit(Some(GroupPositions { membership, positions })).await?;
    writer.close().await?;
    first.reader.close().await?;
    second.reader.close().await
}
