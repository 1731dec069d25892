//! Positions and beginnings of files that are nearly right:
//! `PIPECTL_FUZZ_RUNS=2000000 cargo test --release -p pipectl-plugins --lib fuzz`.

use std::io::{Cursor, Read};

use pipectl_framework::log::Position;
use pipectl_framework::plugin::Partition;
use pipectl_framework::testing::fuzz::{Fuzz, most_memory, runs};

use super::course::{Course, Resumed};
use super::encoding::is_no_utf_16;
use super::input::{Input, Origin};
use super::packed::Compression;
use super::{position, trail};

const MARK: &str = r#""byte":8,"line":3,"head":8,"hash":"0123456789abcdef","tail":"fedcba9876543210""#;

fn positions() -> Vec<String> {
    vec![
        format!(r#"{{"v":1,{MARK}}}"#),
        format!(r#"{{"v":1,{MARK},"time":1000}}"#),
        format!(
            r#"{{"v":2,"now":[{{"file":"a.csv","to":20}},{{{MARK}}}],"next":[{{"file":"b.csv","to":7}}],"done":{{"c.csv":{{"mark":{{{MARK}}},"to":9,"whole":true}}}},"time":5}}"#
        ),
        format!(
            r#"{{"v":3,{MARK},"number":1,"first":0,"id":[1,2],"reached":{{"row":9,"mark":{{{MARK}}}}},"len":20,"given":true,"then":[{{"number":2,"row":null,"id":[1,3],"mark":{{{MARK}}},"len":0,"given":false}}]}}"#
        ),
    ]
}

#[test]
fn fuzz_positions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.csv");
    std::fs::write(&path, "id\n1\n2\n3\n").unwrap();
    let (compression, encoding) = Default::default();
    let file = Input::open(&Origin { path, name: "x.csv".into(), compression, encoding, to: None }).unwrap();
    let right = positions();
    let right: Vec<&[u8]> = right.iter().map(String::as_bytes).collect();
    let words: [&[u8]; 10] =
        [b"{", b"}", b"[", b"]", b"\"", b",", b":null", b"\"v\":1,", b"\"v\":2,", b"\"v\":3,"];
    let before = most_memory();
    let mut read = [0; 3];
    for seed in 0..runs(20_000) {
        let bytes = Fuzz::new(seed).bytes(&right, &words);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Ok((mark, time)) = position::read(&text) {
            read[0] += 1;
            assert_eq!(
                position::read(&position::write(mark.clone(), time).unwrap()),
                Ok((mark.clone(), time)),
                "seed {seed}"
            );
            let _ = mark.find(&file, 7);
        }
        if let Ok(Resumed { course, mark, time }) = Course::read(&text) {
            read[1] += 1;
            let again = Course::read(&course.write(mark.as_ref(), time).unwrap()).unwrap();
            assert_eq!((again.course, again.mark, again.time), (course, mark, time), "seed {seed}");
        }
        if let Ok((now, then)) = trail::read(&text, "x.csv") {
            read[2] += 1;
            let again = trail::read(&trail::write(&now, then.clone()).unwrap(), "x.csv").unwrap();
            assert_eq!((again.0.mark.clone(), again.1), (now.mark.clone(), then), "seed {seed}");
            assert!(now.read_to().byte == again.0.read_to().byte, "seed {seed}");
            let _ = (now.is(&file), now.unread());
        }
        let known = Position { partition: Partition::new("x.csv", 0), offset: 3, metadata: text };
        let renewed = trail::renew(known.clone(), std::iter::empty());
        assert_eq!(renewed.offset, known.offset);
    }
    assert!(read.iter().all(|read| *read > 0), "{read:?}");
    if let (Some(before), Some(after)) = (before, most_memory()) {
        assert!(after - before < 1 << 30, "{} MiB more", (after - before) >> 20);
    }
}

#[test]
fn fuzz_beginnings() {
    let right: [&[u8]; 8] = [
        b"id,city\n1,a\n",
        b"\x1F\x8B\x08\0\0\0\0\0\0\x03\x4B\xE4\x02\0\x07\xA1\xEA\xDD\x02\0\0\0",
        b"\x28\xB5\x2F\xFD\x20\x02\x11\0\0a\n",
        b"\x50\x2A\x4D\x18\x02\0\0\0ab\x28\xB5\x2F\xFD\x20\x02\x11\0\0a\n",
        b"BZh91AY&SY\0\0",
        b"\xFD7zXZ\0\0",
        b"\xFF\xFEi\0d\0\n\0",
        b"PK\x03\x04\0\0",
    ];
    let words: [&[u8]; 6] = [b"\x1F\x8B", b"\x28\xB5\x2F\xFD", b"\0", b"\n\0", b"\xEF\xBB\xBF", b"\xFF\xFF"];
    let before = most_memory();
    let mut unpacked = 0;
    for seed in 0..runs(20_000) {
        let bytes = Fuzz::new(seed).bytes(&right, &words);
        let _ = is_no_utf_16(&bytes);
        let packing = Compression::Auto.of(&bytes);
        // Once more bytes could make nothing else of it, they do not.
        let magic = bytes.get(..16.min(bytes.len())).unwrap_or_default();
        if let Some(decided) = (1..=magic.len()).find(|length| !Compression::is_open(&magic[..*length])) {
            let early = Compression::Auto.of(&magic[..decided]).map_err(|e| e.to_string());
            assert_eq!(early, Compression::Auto.of(&bytes).map_err(|e| e.to_string()), "seed {seed}");
        }
        if let Ok(Some(packing)) = packing {
            let mut text = Vec::new();
            let read = packing.unpack(Cursor::new(bytes)).unwrap().take(1 << 20).read_to_end(&mut text);
            unpacked += usize::from(read.is_ok());
        }
    }
    assert!(unpacked > 0);
    if let (Some(before), Some(after)) = (before, most_memory()) {
        assert!(after - before < 1 << 30, "{} MiB more", (after - before) >> 20);
    }
}
