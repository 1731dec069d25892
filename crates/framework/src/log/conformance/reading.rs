//! What a reader gives, and where it starts and ends.

use std::sync::Arc;

use arrow_array::{Array, BinaryArray};

use super::{
    Harness, PATIENCE, SILENCE, append, assigned, next, position, read, read_all, read_to_end, recent, rows,
    sorted, texts,
};
use crate::batch::Partition;
use crate::error::{Consequence, Result};
use crate::log::partitioner::{NULL_KEYS, partition_of};
use crate::log::{Append, Group, Keeps, ReadEvent, ReaderOptions, Start, TopicSpec};

pub(super) async fn columns_come_back_as_they_were_written(h: Harness) -> Result<()> {
    let topic = h.topic("t", 1).await?;
    let keys: [Option<&[u8]>; 5] =
        [None, Some(b""), Some(b"k"), Some(&[0, 255, 128]), Some("\u{6d59}".as_bytes())];
    let values: [Option<&[u8]>; 5] =
        [Some(b"plain"), Some(b""), None, Some(&[255, 0, 10, 13]), Some("\u{6c5f}".as_bytes())];
    let timestamps = [recent(), 1, recent() + 2, 951_782_400_000, recent() + 1];
    let mut writer = h.writer("w").await?;
    writer
        .append(Append {
            topic: Arc::clone(&topic),
            partition: None,
            keys: Some(BinaryArray::from_iter(keys)),
            values: BinaryArray::from_iter(values),
            timestamps: timestamps.to_vec().into(),
            headers: Vec::new(),
        })
        .await?;
    writer.commit(None).await?;
    let mut reader = h.reader(&topic).await?;
    let got = read(&mut reader, 5).await?;
    for (i, row) in got.iter().enumerate() {
        assert_eq!(row.key.as_deref(), keys[i], "key {i}");
        assert_eq!(row.value.as_deref(), values[i], "value {i}");
        assert_eq!(row.timestamp, timestamps[i], "timestamp {i}");
    }
    reader.close().await
}

pub(super) async fn headers_come_back_that_were_asked_for(h: Harness) -> Result<()> {
    let topic = h.topic("t", 1).await?;
    let cells = |cells: [Option<&[u8]>; 3]| BinaryArray::from_iter(cells);
    let (one, other) = (cells([Some(b"x"), None, Some(b"")]), cells([None, None, Some(&[0, 255])]));
    let mut writer = h.writer("w").await?;
    for headers in [vec![("one".into(), one.clone()), ("other".into(), other.clone())], Vec::new()] {
        let mut records = append(&topic, &["a", "b", "c"]);
        records.headers = headers;
        writer.append(records).await?;
    }
    writer.commit(None).await?;
    let options = ReaderOptions {
        headers: vec!["other".to_owned(), "absent".to_owned(), "one".to_owned()],
        ..Harness::options(&topic, None)
    };
    let mut reader = h.log.reader(options).await?;
    let mut got: [Vec<Option<Vec<u8>>>; 3] = Default::default();
    while got[0].len() < 6 {
        if let ReadEvent::Records(records) = next(&mut reader).await? {
            assert_eq!(records.headers.len(), 3, "a column a header that was asked for");
            for (got, cells) in got.iter_mut().zip(&records.headers) {
                got.extend(cells.iter().map(|cell| cell.map(<[u8]>::to_vec)));
            }
        }
    }
    let written = |cells: &BinaryArray| -> Vec<Option<Vec<u8>>> {
        cells.iter().map(|cell| cell.map(<[u8]>::to_vec)).chain([None, None, None]).collect()
    };
    assert_eq!(got, [written(&other), vec![None; 6], written(&one)]);
    reader.close().await
}

pub(super) async fn a_key_goes_to_its_partition(h: Harness) -> Result<()> {
    let topic = h.topic("t", 4).await?;
    // Each tenth is null.
    let keys: Vec<Option<String>> = (0..200).map(|i| (i % 10 > 0).then(|| format!("key-{i}"))).collect();
    let cells = || keys.iter().map(|key| key.as_ref().map(String::as_bytes)).collect();
    let mut writer = h.writer("w").await?;
    writer
        .append(Append {
            topic: Arc::clone(&topic),
            partition: None,
            keys: Some(cells()),
            values: cells(),
            headers: Vec::new(),
            timestamps: vec![recent(); keys.len()].into(),
        })
        .await?;
    writer.commit(None).await?;
    let mut reader = h.reader(&topic).await?;
    for row in read(&mut reader, keys.len()).await? {
        let rule = row.key.as_ref().map_or(NULL_KEYS, |key| partition_of(key, 4));
        assert_eq!(row.partition as u32, rule, "the partition of {:?}", row.key);
    }
    reader.close().await
}

pub(super) async fn records_without_a_key_lose_nothing(h: Harness) -> Result<()> {
    let topic = h.topic("t", 3).await?;
    let values: Vec<String> = (0..300).map(|i| format!("{i:03}")).collect();
    let mut writer = h.writer("w").await?;
    for part in values.chunks(10) {
        writer
            .append(Append {
                topic: Arc::clone(&topic),
                partition: None,
                keys: None,
                values: part.iter().map(|v| Some(v.as_bytes())).collect(),
                headers: Vec::new(),
                timestamps: vec![recent(); part.len()].into(),
            })
            .await?;
    }
    writer.commit(None).await?;
    let mut reader = h.reader(&topic).await?;
    let got = read(&mut reader, values.len()).await?;
    assert!(got.iter().all(|row| row.key.is_none()), "no key was written");
    assert_eq!(sorted(&got), values);
    reader.close().await
}

pub(super) async fn a_large_transaction_keeps_the_order_of_each_partition(h: Harness) -> Result<()> {
    const ROWS: usize = 100_000;
    let topic = h.topic("t", 4).await?;
    let mut writer = h.writer("w").await?;
    let numbers: Vec<[u8; 8]> = (0..ROWS as u64).map(u64::to_be_bytes).collect();
    for part in numbers.chunks(20_000) {
        writer
            .append(Append {
                topic: Arc::clone(&topic),
                partition: None,
                keys: Some(part.iter().map(|n| Some([n[7] % 7])).collect()),
                values: part.iter().map(Some).collect(),
                headers: Vec::new(),
                timestamps: vec![recent(); part.len()].into(),
            })
            .await?;
    }
    writer.commit(None).await?;
    let mut reader = h.reader(&topic).await?;
    let got = read(&mut reader, ROWS).await?;
    let mut last = std::collections::BTreeMap::new();
    for row in &got {
        let before = last.insert(row.partition, row.value.clone());
        assert!(before < Some(row.value.clone()), "in the order of writing within {}", row.partition);
    }
    let distinct: std::collections::BTreeSet<_> = got.iter().map(|row| &row.value).collect();
    assert_eq!(distinct.len(), ROWS, "each once");
    reader.close().await
}

pub(super) async fn without_a_group_a_reader_has_all_partitions(h: Harness) -> Result<()> {
    let topic = h.topic("t", 3).await?;
    h.write(&topic, &["a1", "b2", "c3", "d4"]).await?;
    for _ in 0..2 {
        let mut reader = h.reader(&topic).await?;
        assert!(reader.membership().is_none(), "no group, no membership");
        let mut partitions: Vec<i32> =
            assigned(&mut reader).await?.iter().map(|a| a.partition.index).collect();
        partitions.sort_unstable();
        assert_eq!(partitions, [0, 1, 2]);
        assert_eq!(sorted(&read(&mut reader, 4).await?), ["a1", "b2", "c3", "d4"]);
        reader.close().await?;
    }
    Ok(())
}

pub(super) async fn earliest_and_latest(h: Harness) -> Result<()> {
    let topic = h.topic("t", 1).await?;
    h.write(&topic, &["a-old"]).await?;
    for (group, name) in [(None, "alone"), (Some(Group::new(h.name("latest"))), "in a group")] {
        let mut options = Harness::options(&topic, group);
        options.start = Start::Latest;
        let mut latest = h.log.reader(options).await?;
        assigned(&mut latest).await?;
        h.write(&topic, &[name]).await?;
        assert_eq!(texts(&read(&mut latest, 1).await?), [name], "latest, {name}");
        latest.close().await?;
    }
    let mut earliest = h.member(&topic, "earliest").await?;
    assert_eq!(texts(&read(&mut earliest, 3).await?), ["a-old", "alone", "in a group"]);
    earliest.close().await
}

pub(super) async fn a_start_at_an_offset(h: Harness) -> Result<()> {
    let topic = h.topic("t", 1).await?;
    h.write(&topic, &["a0", "a1", "a2"]).await?;
    h.write(&topic, &["a3", "a4"]).await?;
    let mut reader = h.reader(&topic).await?;
    let all = read(&mut reader, 5).await?;
    reader.close().await?;
    for alone in [true, false] {
        for (at, row) in all.iter().enumerate() {
            let group = (!alone).then(|| Group::new(h.name(&format!("from-{at}"))));
            let mut options = Harness::options(&topic, group);
            options.start = Start::Offset(row.offset);
            let mut reader = h.log.reader(options).await?;
            assert_eq!(assigned(&mut reader).await?[0].start, row.offset);
            assert_eq!(read(&mut reader, 5 - at).await?, all[at..], "from {}, alone: {alone}", row.offset);
            reader.close().await?;
        }
    }
    // Beyond the end is the end, and what is written then is read.
    let mut options = Harness::options(&topic, Some(Group::new(h.name("beyond"))));
    options.start = Start::Offset(i64::MAX);
    let mut reader = h.log.reader(options).await?;
    assert!(assigned(&mut reader).await?[0].start > all[4].offset);
    h.write(&topic, &["a5"]).await?;
    assert_eq!(texts(&read(&mut reader, 1).await?), ["a5"]);
    reader.close().await
}

pub(super) async fn a_start_at_a_time(h: Harness) -> Result<()> {
    let topic = h.topic("t", 2).await?;
    let mut writer = h.writer("w").await?;
    // Each partition is found by its own times, which need not rise; the second is all older.
    for (partition, times) in [(0, [0, 10, 5]), (0, [20, 15, 30]), (1, [1, 2, 3])] {
        let values = times.map(|time| format!("{partition}-{time}"));
        writer
            .append(Append {
                topic: Arc::clone(&topic),
                partition: Some(partition),
                keys: None,
                values: values.iter().map(|value| Some(value.as_bytes())).collect(),
                headers: Vec::new(),
                timestamps: times.iter().map(|time| recent() + time).collect(),
            })
            .await?;
        writer.commit(None).await?;
    }
    // What was never committed is no record.
    let mut aborted = append(&topic, &["a-no"]);
    aborted.timestamps = vec![recent() + 40].into();
    writer.append(aborted).await?;
    writer.abort().await?;
    writer.close().await?;
    let cases: [(i64, &[&str]); 8] = [
        (-1_000, &["0-0", "0-10", "0-15", "0-20", "0-30", "0-5", "1-1", "1-2", "1-3"]),
        (1, &["0-10", "0-15", "0-20", "0-30", "0-5", "1-1", "1-2", "1-3"]),
        (3, &["0-10", "0-15", "0-20", "0-30", "0-5", "1-3"]),
        (10, &["0-10", "0-15", "0-20", "0-30", "0-5"]),
        (11, &["0-15", "0-20", "0-30"]),
        (21, &["0-30"]),
        (31, &[]),
        (3_600_000, &[]),
    ];
    for (after, expected) in cases {
        for alone in [true, false] {
            let group = (!alone).then(|| Group::new(h.name(&format!("after-{after}"))));
            let mut options = Harness::options(&topic, group);
            options.start = Start::Time(recent() + after);
            let mut reader = h.log.reader(options).await?;
            reader.bound().await?;
            let rows = read_to_end(&mut reader).await?;
            assert_eq!(sorted(&rows), expected, "{after}, alone: {alone}");
            reader.close().await?;
        }
    }
    // Later than all records is the end: whatever is written then is read, of any time.
    let mut options = Harness::options(&topic, Some(Group::new(h.name("later"))));
    options.start = Start::Time(recent() + 3_600_000);
    let mut reader = h.log.reader(options).await?;
    assigned(&mut reader).await?;
    h.write(&topic, &["a-new"]).await?;
    assert_eq!(texts(&read(&mut reader, 1).await?), ["a-new"]);
    reader.close().await
}

pub(super) async fn what_is_committed_goes_before_any_start(h: Harness) -> Result<()> {
    let topic = h.topic("t", 1).await?;
    h.write(&topic, &["a0", "a1", "a2"]).await?;
    let mut reader = h.member(&topic, "g").await?;
    let all = read(&mut reader, 3).await?;
    reader.commit(&[position(&topic, 0, all[1].offset, "")]).await?;
    reader.close().await?;
    for start in [Start::Latest, Start::Offset(0), Start::Offset(all[2].offset), Start::Time(0)] {
        let mut options = Harness::options(&topic, Some(Group::new(h.name("g"))));
        options.start = start;
        let mut reader = h.log.reader(options).await?;
        assert_eq!(texts(&read(&mut reader, 2).await?), ["a1", "a2"], "{start:?}");
        reader.close().await?;
    }
    Ok(())
}

pub(super) async fn seeking_reads_again(h: Harness) -> Result<()> {
    let topic = h.topic("t", 1).await?;
    h.write(&topic, &["a0", "a1", "a2", "a3", "a4"]).await?;
    let mut reader = h.member(&topic, "g").await?;
    let first = read(&mut reader, 5).await?;
    let partition = Partition::new(Arc::clone(&topic), 0);
    for from in [3, 0, 4] {
        reader.seek(&partition, first[from].offset).await?;
        assert_eq!(read(&mut reader, 5 - from).await?, first[from..], "from {from}");
    }
    let other = Partition::new(Arc::clone(&topic), 7);
    let error = reader.seek(&other, 0).await.err().map(|e| e.consequence());
    assert_eq!(error, Some(Consequence::Abort), "a partition that it does not have");
    reader.close().await
}

pub(super) async fn a_paused_reader_gives_no_records(h: Harness) -> Result<()> {
    let topic = h.topic("t", 2).await?;
    let mut reader = h.member(&topic, "g").await?;
    read_all(&mut reader, 2).await?;
    reader.pause(true);
    h.write(&topic, &["a1", "b2", "c3"]).await?;
    let quiet = tokio::time::Instant::now() + SILENCE;
    while let Ok(event) = tokio::time::timeout_at(quiet, reader.next()).await {
        assert!(!matches!(event?, ReadEvent::Records(_)), "records while paused");
    }
    reader.pause(false);
    assert_eq!(sorted(&read(&mut reader, 3).await?), ["a1", "b2", "c3"]);
    reader.close().await
}

pub(super) async fn a_bounded_reader_ends_where_the_topic_ended(h: Harness) -> Result<()> {
    let topic = h.topic("t", 2).await?;
    h.write(&topic, &["a1", "b2", "c3"]).await?;
    // The end is more than the last record: an aborted transaction leaves its trace behind it.
    let mut writer = h.writer("aborted").await?;
    writer.append(append(&topic, &["a-no", "b-no", "c-no"])).await?;
    writer.abort().await?;
    let mut reader = h.reader(&topic).await?;
    reader.bound().await?;
    h.write(&topic, &["a4", "b5", "c6"]).await?;
    assert_eq!(sorted(&read_to_end(&mut reader).await?), ["a1", "b2", "c3"]);
    assert!(matches!(next(&mut reader).await?, ReadEvent::End), "nothing follows the end");
    reader.close().await?;
    // Bounded after it has read a part.
    let mut reader = h.member(&topic, "g").await?;
    read(&mut reader, 6).await?;
    reader.bound().await?;
    assert_eq!(read_to_end(&mut reader).await?, []);
    reader.close().await
}

pub(super) async fn a_bound_holds_what_was_committed_just_before(h: Harness) -> Result<()> {
    let topic = h.topic("t", 1).await?;
    let mut writer = h.writer("w").await?;
    let mut written = Vec::new();
    for round in 1..=20 {
        // Opened before the commit, so that nothing but the bound stands between the two.
        let mut reader = h.reader(&topic).await?;
        assigned(&mut reader).await?;
        written.push(format!("a{round}"));
        writer.append(append(&topic, &[&written[round - 1]])).await?;
        writer.commit(None).await?;
        reader.bound().await?;
        assert_eq!(texts(&read_to_end(&mut reader).await?), written, "a commit that has returned counts");
        reader.close().await?;
    }
    writer.close().await
}

pub(super) async fn a_bounded_reader_of_empty_partitions_ends(h: Harness) -> Result<()> {
    let topic = h.topic("t", 3).await?;
    for group in [None, Some(Group::new(h.name("g")))] {
        let mut reader = h.log.reader(Harness::options(&topic, group)).await?;
        reader.bound().await?;
        assert_eq!(assigned(&mut reader).await?.len(), 3, "the assignment comes first");
        assert_eq!(read_to_end(&mut reader).await?, []);
        reader.close().await?;
    }
    Ok(())
}

pub(super) async fn an_append_may_name_its_partition(h: Harness) -> Result<()> {
    let topic = h.topic("t", 3).await?;
    let mut writer = h.writer("w").await?;
    for partition in [2, 0] {
        let values = [format!("a{partition}"), format!("b{partition}")];
        let refs = values.each_ref().map(String::as_str);
        writer.append(Append { partition: Some(partition), ..append(&topic, &refs) }).await?;
    }
    writer.commit(None).await?;
    writer.close().await?;
    let mut reader = h.reader(&topic).await?;
    let mut got = read(&mut reader, 4).await?;
    got.sort_by_key(|row| (row.partition, row.offset));
    assert_eq!(texts(&got), ["a0", "b0", "a2", "b2"]);
    assert!(got.iter().map(|row| row.partition).eq([0, 0, 2, 2]));
    reader.close().await
}

pub(super) async fn a_reader_of_one_partition(h: Harness) -> Result<()> {
    let topic = h.topic("t", 3).await?;
    let mut writer = h.writer("w").await?;
    for (partition, value) in [(0, "a"), (1, "b"), (2, "c")] {
        writer.append(Append { partition: Some(partition), ..append(&topic, &[value]) }).await?;
    }
    writer.commit(None).await?;
    writer.close().await?;
    let options = ReaderOptions { partitions: Some(vec![1, 7]), ..Harness::options(&topic, None) };
    let mut reader = h.log.reader(options).await?;
    let assigned = assigned(&mut reader).await?;
    assert_eq!(assigned.iter().map(|a| a.partition.index).collect::<Vec<_>>(), [1]);
    reader.bound().await?;
    assert_eq!(texts(&read_to_end(&mut reader).await?), ["b"]);
    reader.close().await
}

pub(super) async fn a_compacted_topic_keeps_the_last_of_each_key(h: Harness) -> Result<()> {
    let name = h.name("compacted");
    let spec = TopicSpec { name: name.clone(), partitions: Some(1), create: true, keeps: Keeps::LastOfKey };
    h.log.ensure_topics(&[spec]).await?;
    let topic: Arc<str> = name.into();
    let mut writer = h.writer("w").await?;
    let rounds = 40;
    for round in 0..rounds {
        let values = [format!("a{round}"), format!("b{round}"), "x".repeat(100_000)];
        let refs = values.each_ref().map(String::as_str);
        writer.append(append(&topic, &refs)).await?;
        if round == 0 {
            writer.append(append(&topic, &["once"])).await?;
        }
        writer.commit(None).await?;
    }
    writer.close().await?;
    let mut reader = h.reader(&topic).await?;
    assigned(&mut reader).await?;
    reader.bound().await?;
    let mut last = std::collections::BTreeMap::new();
    for row in read_to_end(&mut reader).await? {
        last.insert(row.key.clone(), row.text());
    }
    let last: Vec<String> = last.into_values().collect();
    assert_eq!(last[..3], [format!("a{}", rounds - 1), format!("b{}", rounds - 1), "once".to_owned()]);
    reader.close().await
}

pub(super) async fn caught_up_is_told_each_time(h: Harness) -> Result<()> {
    let topic = h.topic("t", 2).await?;
    let mut reader = h.member(&topic, "g").await?;
    assert_eq!(read_all(&mut reader, 2).await?, [], "empty partitions are caught up at once");
    for round in ["a1", "a2", "a3"] {
        h.write(&topic, &[round]).await?;
        assert_eq!(texts(&read_all(&mut reader, 1).await?), [round]);
    }
    reader.close().await
}

pub(super) async fn lag_falls_to_nothing(h: Harness) -> Result<()> {
    let topic = h.topic("t", 2).await?;
    h.write(&topic, &["a1", "b2", "c3", "d4"]).await?;
    let mut reader = h.member(&topic, "g").await?;
    read_all(&mut reader, 2).await?;
    assert_eq!(reader.lag(), 0, "everything has been given");
    reader.close().await
}

pub(super) async fn next_may_be_dropped_at_any_moment(h: Harness) -> Result<()> {
    const ROWS: usize = 3000;
    let topic = h.topic("t", 2).await?;
    let values: Vec<String> = (0..ROWS).map(|i| format!("{i:04}")).collect();
    let mut options = Harness::options(&topic, Some(Group::new(h.name("g"))));
    options.max_records = 17;
    let mut reader = h.log.reader(options).await?;
    let mut writer = h.writer("w").await?;
    let (mut got, mut written, mut turn) = (Vec::new(), 0, 0u32);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while got.len() < ROWS && tokio::time::Instant::now() < deadline {
        if written < ROWS && turn.is_multiple_of(40) {
            let part: Vec<&str> = values[written..written + 100].iter().map(String::as_str).collect();
            writer.append(append(&topic, &part)).await?;
            writer.commit(None).await?;
            written += 100;
        }
        turn += 1;
        // Drops the future after no time, one turn of the scheduler, or a moment.
        let moment = async {
            match turn % 3 {
                0 => {}
                1 => tokio::task::yield_now().await,
                _ => tokio::time::sleep(std::time::Duration::from_micros(u64::from(turn % 7) * 300)).await,
            }
        };
        let event = tokio::select! {
            biased;
            event = reader.next() => Some(event?),
            () = moment => None,
        };
        if let Some(ReadEvent::Records(records)) = event {
            got.extend(rows(&records));
        }
    }
    super::in_order(&got);
    assert_eq!(sorted(&got), values, "each once");
    reader.close().await
}

pub(super) async fn events_are_no_larger_than_asked(h: Harness) -> Result<()> {
    let topic = h.topic("t", 1).await?;
    let values: Vec<String> = (0..100).map(|i| format!("a{i}")).collect();
    let refs: Vec<&str> = values.iter().map(String::as_str).collect();
    h.write(&topic, &refs).await?;
    let mut options = Harness::options(&topic, None);
    options.max_records = 7;
    let mut reader = h.log.reader(options).await?;
    let mut got = Vec::new();
    while got.len() < values.len() {
        if let ReadEvent::Records(records) = next(&mut reader).await? {
            assert!((1..=7).contains(&records.len()), "an event of {} records", records.len());
            assert_eq!(records.keys.len(), records.len());
            got.extend(rows(&records));
        }
    }
    assert_eq!(texts(&got), values);
    reader.close().await
}

pub(super) async fn topics_are_made_or_missed(h: Harness) -> Result<()> {
    let fatal = |error: Option<crate::error::Error>| {
        let error = error.map(|e| (e.consequence(), e.help().is_some()));
        assert_eq!(error, Some((Consequence::Fatal, true)), "a missing topic is fatal, with a remedy");
    };
    let absent = h.name("absent");
    let spec = TopicSpec { name: absent.clone(), partitions: None, create: false, keeps: Keeps::AsTheLog };
    fatal(h.log.ensure_topics(std::slice::from_ref(&spec)).await.err());

    let mut read = h.log.reader(Harness::options(&absent, None)).await;
    if let Ok(reader) = &mut read {
        read = match next(reader).await {
            Err(error) => Err(error),
            Ok(event) => return Err(crate::error::Error::fatal(format!("{event:?} of a missing topic"))),
        };
    }
    fatal(read.err());

    let mut writer = h.writer("w").await?;
    let absent: Arc<str> = absent.into();
    let mut written = writer.append(append(&absent, &["a1"])).await;
    if written.is_ok() {
        written = writer.commit(None).await;
    }
    fatal(written.err());

    let made = h.topic("made", 3).await?;
    let again =
        TopicSpec { name: made.to_string(), partitions: Some(9), create: true, keeps: Keeps::AsTheLog };
    assert_eq!(h.log.ensure_topics(&[again]).await?, [3], "a topic that is there stays as it is");
    let default =
        TopicSpec { name: h.name("default"), partitions: None, create: true, keeps: Keeps::AsTheLog };
    assert!(h.log.ensure_topics(&[default]).await?[0] > 0);
    Ok(())
}
