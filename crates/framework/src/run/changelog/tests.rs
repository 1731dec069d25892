//! What is read back, and what is missed.

use super::*;
use crate::clock::Clock;
use crate::log::memory::MemoryLog;
use crate::log::{Keeps, WriterOptions};
use crate::run::notes::Matched;
use crate::window::Restored;

const STEP: &str = "count.window";

/// A changelog of one partition that holds these records: part, number, bytes.
async fn with(records: &[(&str, u32, &str)]) -> Result<Changelog> {
    let log: Arc<dyn Log> = Arc::new(MemoryLog::default());
    let spec = |name: &str| TopicSpec {
        name: name.to_owned(),
        partitions: Some(1),
        create: true,
        keeps: Keeps::AsTheLog,
    };
    log.ensure_topics(&[spec("in"), spec("log")]).await?;
    let options = WriterOptions { transactional_id: None, transaction_timeout: Duration::from_secs(10) };
    let mut writer = log.writer(options).await?;
    let step = |part: &str| if part == HEAD { String::new() } else { STEP.to_owned() };
    for (part, number, bytes) in records {
        let key = serde_json::to_vec(&Key(0, step(part), (*part).to_owned(), *number)).unwrap_or_default();
        let append = Append {
            topic: "log".into(),
            partition: Some(0),
            keys: Some(BinaryArray::from_vec(vec![&key])),
            values: BinaryArray::from_vec(vec![bytes.as_bytes()]),
            headers: Vec::new(),
            timestamps: vec![0].into(),
        };
        writer.append(append).await?;
    }
    let options = RunOptions::new(Clock::manual(0));
    Ok(Changelog::new(0, log, "log".to_owned(), "in".to_owned(), &options))
}

/// What it gives back for such a note.
async fn load(notes: &str, records: &[(&str, u32, &str)]) -> Result<Kept> {
    let mut changelog = with(records).await?;
    let partition = Partition::new("in", 0);
    let restored: Restored = format!("v2;9;;;{notes};").parse().map_err(Error::fatal)?;
    let matched = Matched { windows: vec![Some(restored)], ..Matched::default() };
    let wanted = matched.in_changelog().map(|notes| (partition, notes));
    let mut kept = changelog.load(wanted.as_slice(), |_| ()).await?;
    Ok(kept.pop().unwrap_or_default())
}

const HEAD_OF_TWO: &str = r#"{"as_of":7,"parts":[["count.window","pane/0",2],["count.window","pane/60",1]]}"#;

fn names(kept: Result<Kept>) -> String {
    match kept {
        Ok(kept) => kept
            .iter()
            .map(|((_, part), bytes)| format!("{part}={}", String::from_utf8_lossy(bytes)))
            .collect::<Vec<_>>()
            .join(" "),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn what_the_head_lists_is_there_or_missed() {
    let head = ("head", 0, HEAD_OF_TWO);
    let (one, two, three) = (("pane/0", 0, "a"), ("pane/0", 1, "b"), ("pane/60", 0, "c"));
    assert_eq!(names(load("7;", &[one, two, three, head]).await), "pane/0=ab pane/60=c");
    let missing = |what| format!("topic `log` does not have {what} of in[0], which was committed");
    for (records, what) in [
        (vec![one, two, head], "record 0 of the pane/60"),
        (vec![three, head], "record 0 of the pane/0"),
        (vec![one, three, head], "record 1 of the pane/0"),
        (vec![two, three, head], "record 0 of the pane/0"),
        (vec![one, two, three], "the state as of offset 7"),
    ] {
        assert_eq!(names(load("7;", &records).await), missing(what));
    }
}

#[tokio::test]
async fn what_the_head_does_not_list_is_no_part_of_the_state() {
    let (one, other) = (("pane/0", 0, "a"), ("pane/9", 0, "x"));
    let head = ("head", 0, r#"{"as_of":7,"parts":[["count.window","pane/0",1]]}"#);
    assert_eq!(names(load("7;", &[one, other, head]).await), "pane/0=a");
}

#[tokio::test]
async fn a_head_of_version_0_1_is_an_offset() {
    assert_eq!(names(load("7;", &[("pane/0", 0, "a"), ("head", 0, "7")]).await), "pane/0=a");
    let older = names(load("7;", &[("pane/0", 0, "a"), ("head", 0, "6")]).await);
    assert_eq!(older, "topic `log` does not have the state as of offset 7 of in[0], which was committed");
}

#[tokio::test]
async fn a_state_that_is_newer_than_the_position_is_another_workers() {
    let error = load("7;", &[("pane/0", 0, "a"), ("head", 0, "8")]).await.unwrap_err();
    assert_eq!(error.consequence(), Consequence::Abort);
    assert_eq!(
        error.to_string(),
        "topic `log` has the state as of offset 8 of in[0], later than the position, which says 7: another worker has \
         gone on"
    );
}

#[tokio::test]
async fn keys_that_are_gone_are_missed() {
    let keys = r#"{"as_of":null,"parts":[["count.window","keys",2]]}"#;
    let (head, one, two) = (("head", 0, keys), ("keys", 0, "a"), ("keys", 1, "b"));
    let third = ("keys", 2, "c");
    assert_eq!(names(load(";k", &[head, one, two]).await), "keys=ab");
    assert_eq!(names(load(";k", &[head, one, two, third]).await), "keys=abc", "written after the head");
    assert_eq!(names(load(";k", &[one]).await), "keys=a", "version 0.1 wrote no head for keys");
    for records in [vec![head], vec![]] {
        let said = names(load(";k", &records).await);
        assert!(said.starts_with("topic `log` does not have "), "{said}");
    }
}

/// Positions were set back, or a window was given up in a run that kept no changelog.
#[tokio::test]
async fn what_no_position_speaks_of_is_taken_out_before_anything_is_written() {
    let (one, two, keys, head) =
        (("pane/0", 0, "a"), ("pane/0", 1, "b"), ("keys", 0, "k"), ("head", 0, HEAD_OF_TWO));
    let mut changelog = with(&[one, two, keys, head]).await.unwrap();
    let partition = Partition::new("in", 0);
    changelog.look(&partition, 1).await.unwrap();
    let held = changelog.held.get_mut(&partition).unwrap();
    let mut records = Vec::new();
    held.take_out(0, RECORD, &mut records).unwrap();
    let gone: Vec<String> = records
        .iter()
        .filter(|(_, value)| value.is_none())
        .map(|(key, _)| format!("{}/{}", key.2, key.3))
        .collect();
    assert_eq!(gone, ["keys/0", "pane/0/0", "pane/0/1"]);
    assert_eq!(held.parts.keys().map(|(_, part)| part.as_str()).collect::<Vec<_>>(), [HEAD]);
}

/// A list of parts that is longer than a record, then a short one.
#[test]
fn a_long_head_takes_several_records_and_leaves_none_behind() {
    let mut held = Held::default();
    for pane in 0..30_000 {
        held.parts.insert((STEP.to_owned(), format!("pane/{pane}")), 1);
    }
    let mut records = Vec::new();
    held.write_head(3, Some(7), RECORD, &mut records).unwrap_or_default();
    assert!(records.len() > 1);
    let bytes: Vec<u8> = records.iter().filter_map(|(_, bytes)| bytes.clone()).flatten().collect();
    let head = Head::read(&bytes).unwrap_or_default();
    assert_eq!((head.as_of, head.parts.len()), (Some(7), 30_000));
    let count = records.len();
    held.parts.retain(|(_, part), _| part == HEAD || part == "pane/1");
    let mut records = Vec::new();
    held.write_head(3, Some(8), RECORD, &mut records).unwrap_or_default();
    assert_eq!(records.iter().filter(|(_, bytes)| bytes.is_none()).count(), count - 1);
}
