//! What a writer makes visible, and when.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::BinaryArray;

use super::{Harness, append, read, read_all, read_to_end, recent, sorted, texts};
use crate::error::{Consequence, Result};
use crate::log::{Append, WriterOptions};

pub(super) async fn an_open_transaction_is_invisible(h: Harness) -> Result<()> {
    let topic = h.topic("t", 1).await?;
    let mut writer = h.writer("w").await?;
    writer.append(append(&topic, &["a1"])).await?;
    writer.commit(None).await?;
    let mut reader = h.reader(&topic).await?;
    writer.append(append(&topic, &["a2", "a3"])).await?;
    assert_eq!(texts(&read_all(&mut reader, 1).await?), ["a1"]);
    writer.commit(None).await?;
    assert_eq!(texts(&read(&mut reader, 2).await?), ["a2", "a3"]);
    reader.close().await
}

pub(super) async fn an_aborted_transaction_is_never_seen(h: Harness) -> Result<()> {
    let topic = h.topic("t", 2).await?;
    let mut reader = h.reader(&topic).await?;
    let mut writer = h.writer("w").await?;
    for round in 0..3 {
        writer.append(append(&topic, &["a-no", "b-no", "c-no"])).await?;
        writer.abort().await?;
        writer.append(append(&topic, &[&format!("a{round}"), &format!("b{round}")])).await?;
        writer.commit(None).await?;
    }
    assert_eq!(sorted(&read(&mut reader, 6).await?), ["a0", "a1", "a2", "b0", "b1", "b2"]);
    reader.bound().await?;
    assert_eq!(read_to_end(&mut reader).await?, []);
    reader.close().await
}

pub(super) async fn after_an_abort_the_writer_goes_on(h: Harness) -> Result<()> {
    let topic = h.topic("t", 1).await?;
    let mut writer = h.writer("w").await?;
    writer.abort().await?;
    writer.abort().await?;
    writer.append(append(&topic, &["a-no"])).await?;
    writer.abort().await?;
    writer.abort().await?;
    writer.commit(None).await?;
    writer.append(append(&topic, &["a1"])).await?;
    writer.commit(None).await?;
    writer.close().await?;
    let mut reader = h.reader(&topic).await?;
    reader.bound().await?;
    assert_eq!(texts(&read_to_end(&mut reader).await?), ["a1"]);
    reader.close().await
}

pub(super) async fn several_topics_in_one_transaction(h: Harness) -> Result<()> {
    let (one, two) = (h.topic("one", 2).await?, h.topic("two", 1).await?);
    let mut writer = h.writer("w").await?;
    writer.append(append(&one, &["a-no"])).await?;
    writer.append(append(&two, &["a-no"])).await?;
    writer.abort().await?;
    writer.append(append(&one, &["a1", "b2"])).await?;
    writer.append(append(&two, &["c3"])).await?;
    writer.append(append(&one, &["d4"])).await?;
    writer.commit(None).await?;
    let mut options = Harness::options(&one, None);
    options.topics.push(two.to_string());
    let mut reader = h.log.reader(options).await?;
    reader.bound().await?;
    let got: Vec<String> = {
        let mut all = Vec::new();
        loop {
            match super::next(&mut reader).await? {
                crate::log::ReadEvent::Records(records) => {
                    let topic = if records.partition.source == one { "one" } else { "two" };
                    all.extend(super::rows(&records).iter().map(|row| format!("{topic}:{}", row.text())));
                }
                crate::log::ReadEvent::End => break,
                _ => {}
            }
        }
        all.sort();
        all
    };
    assert_eq!(got, ["one:a1", "one:b2", "one:d4", "two:c3"]);
    reader.close().await
}

pub(super) async fn an_empty_commit_does_nothing(h: Harness) -> Result<()> {
    let topic = h.topic("t", 1).await?;
    let mut writer = h.writer("w").await?;
    writer.commit(None).await?;
    writer.append(append(&topic, &[])).await?;
    writer.commit(None).await?;
    writer.append(append(&topic, &["a1"])).await?;
    writer.commit(None).await?;
    writer.commit(None).await?;
    let mut reader = h.reader(&topic).await?;
    reader.bound().await?;
    assert_eq!(texts(&read_to_end(&mut reader).await?), ["a1"]);
    reader.close().await
}

pub(super) async fn a_writer_without_a_transaction(h: Harness) -> Result<()> {
    let topic = h.topic("t", 2).await?;
    let options = WriterOptions { transactional_id: None, transaction_timeout: Duration::from_secs(10) };
    let mut writer = h.log.writer(options).await?;
    let mut reader = h.reader(&topic).await?;
    for round in ["a1", "b2", "a3"] {
        writer.append(append(&topic, &[round])).await?;
        writer.commit(None).await?;
        assert_eq!(texts(&read(&mut reader, 1).await?), [round]);
    }
    writer.close().await?;
    reader.close().await
}

pub(super) async fn a_newer_writer_fences_the_older(h: Harness) -> Result<()> {
    let topic = h.topic("t", 1).await?;
    let mut old = h.writer("w").await?;
    old.append(append(&topic, &["a1"])).await?;
    old.commit(None).await?;
    let mut new = h.writer("w").await?;
    let mut fenced = old.append(append(&topic, &["a-no"])).await;
    if fenced.is_ok() {
        fenced = old.commit(None).await;
    }
    let error = fenced.err().map(|e| (e.consequence(), e.help().is_some()));
    assert_eq!(error, Some((Consequence::Fenced, true)), "the older writer is fenced, with a remedy");
    new.append(append(&topic, &["a2"])).await?;
    new.commit(None).await?;
    let mut reader = h.reader(&topic).await?;
    reader.bound().await?;
    assert_eq!(texts(&read_to_end(&mut reader).await?), ["a1", "a2"]);
    let error = old.commit(None).await.err().map(|e| e.consequence());
    assert_eq!(error, Some(Consequence::Fenced), "and stays so");
    reader.close().await
}

pub(super) async fn a_newer_writer_aborts_what_the_older_left_open(h: Harness) -> Result<()> {
    let topic = h.topic("t", 1).await?;
    let mut old = h.writer("w").await?;
    old.append(append(&topic, &["a-no"])).await?;
    // As a crash leaves it: neither committed nor aborted nor closed.
    drop(old);
    let mut new = h.writer("w").await?;
    new.append(append(&topic, &["a1"])).await?;
    new.commit(None).await?;
    let mut reader = h.reader(&topic).await?;
    reader.bound().await?;
    assert_eq!(texts(&read_to_end(&mut reader).await?), ["a1"]);
    reader.close().await
}

pub(super) async fn a_record_of_the_largest_size_is_taken(h: Harness) -> Result<()> {
    let topic = h.topic("t", 1).await?;
    let Some(largest) = h.log.largest_record(&topic).await? else { return Ok(()) };
    let mut writer = h.writer("w").await?;
    let (key, value) = (b"key", vec![b'x'; largest - 3]);
    // Two, so that they also do not fit together.
    for _ in 0..2 {
        let append = Append {
            topic: Arc::clone(&topic),
            partition: None,
            keys: Some(BinaryArray::from_iter([Some(key)])),
            values: BinaryArray::from_iter([Some(&value)]),
            headers: Vec::new(),
            timestamps: vec![recent()].into(),
        };
        writer.append(append).await?;
    }
    writer.commit(None).await?;
    let mut reader = h.reader(&topic).await?;
    let rows = read(&mut reader, 2).await?;
    assert!(rows.iter().all(|row| row.value.as_ref() == Some(&value)), "they come back whole");
    reader.close().await
}

pub(super) async fn a_record_that_is_too_large_is_refused(h: Harness) -> Result<()> {
    let topic = h.topic("t", 1).await?;
    let mut writer = h.writer("w").await?;
    let large = vec![b'x'; 2_000_000];
    let mut refused = writer
        .append(Append {
            topic: Arc::clone(&topic),
            partition: None,
            keys: None,
            values: BinaryArray::from_iter([Some(&large)]),
            headers: Vec::new(),
            timestamps: vec![recent()].into(),
        })
        .await;
    if refused.is_ok() {
        refused = writer.commit(None).await;
    }
    let error = refused.err().map(|e| (e.consequence(), e.help().is_some()));
    assert_eq!(error, Some((Consequence::Fatal, true)), "fatal, with a remedy");
    Ok(())
}
