//! Tables that are nearly right:
//! `PIPECTL_FUZZ_RUNS=2000000 cargo test --release -p pipectl-plugins --lib fuzz`.

use std::io::Cursor;

use pipectl_framework::testing::fuzz::{Fuzz, most_memory, runs};

use super::reader::Reader;
use super::tests::read_all;
use super::*;
use crate::files::Place;

const TABLES: [&[u8]; 8] = [
    b"id,city,n\n1,Chengdu,5\n2,\"a, b\",6\n",
    b"\xEF\xBB\xBFid;city\r\n1;\"x \"\"y\"\"\"\r\n\r\n2;\r\n",
    b"sep=;\n# a comment\nid;n\n1;2\n",
    b"a,b\n\"1\n2\",3\n",
    b"1|2|3\n4|5|6",
    b"\n\n\na\n1\n",
    b"'a\\'b',c\n\\,,d\n",
    b"a,b,\n1,2,\n3,4,5,\n",
];
const WORDS: [&[u8]; 12] =
    [b"\"", b"\"\"", b",", b"\n", b"\r\n", b"\r", b"#", b"\\", b"sep=", b"\0", b"\xFF", b"\xE5\x9B\x9B"];

#[test]
fn fuzz_tables() {
    let before = most_memory();
    for seed in 0..runs(20_000) {
        let mut fuzz = Fuzz::new(seed);
        let text = fuzz.bytes(&TABLES, &WORDS);
        let (width, max_line, limit) = (1 + fuzz.below(4), 1 + fuzz.below(60), 1 + fuzz.below(9));
        let syntax = record::Syntax {
            delimiter: *fuzz.pick(&[&b',', &b';', &b'|']).unwrap(),
            escape: [None, Some(b'\\')][fuzz.below(2)],
            comment: [None, Some(b'#')][fuzz.below(2)],
            trim: fuzz.below(2) == 0,
            quote: [Some(b'"'), Some(b'\''), None][fuzz.below(3)],
        };
        let expected =
            Expected { syntax, guessed: fuzz.below(2) == 0, skip_lines: fuzz.below(3) as u32, max_line };
        let length = text.len() as u64;
        if let Ok(head) = read_head(&text[..], expected) {
            assert!(head.top.byte <= length && head.behind.byte <= length, "seed {seed}: {head:?}");
            assert!(head.top.byte <= head.behind.byte, "seed {seed}: {head:?}");
        }
        let columns = (0..width).map(|i| format!("c{i}")).collect();
        let (pads, name, encoding) = (fuzz.below(2) == 0, "x.csv".into(), Encoding::default());
        let dialect = Dialect { syntax, pads, columns, max_line, name, encoding };
        let last_line = [LastLine::Row, LastLine::Wait][fuzz.below(2)];
        let top = Place { byte: 0, row: 0, line: 1 };
        let wanted = (0..width).filter(|_| fuzz.below(3) > 0).collect();
        let mut reader = Reader::new(Cursor::new(&text), dialect, wanted, last_line, top).unwrap();
        let (rows, rejects) = read_all(&mut reader, limit);
        let place = reader.place();
        assert_eq!(place.row as usize, rows.len() + rejects.len(), "seed {seed}: {}", text.escape_ascii());
        assert!(place.byte <= length && (last_line == LastLine::Wait || place.byte == length), "seed {seed}");
        let lines = memchr::memchr_iter(b'\n', &text[..place.byte as usize]).count() as u64;
        assert_eq!(place.line, 1 + lines, "seed {seed}: {}", text.escape_ascii());
    }
    if let (Some(before), Some(after)) = (before, most_memory()) {
        assert!(after - before < 1 << 30, "{} MiB more", (after - before) >> 20);
    }
}
