//! The source as a whole: laws against the crate `csv`, bad input, pace, positions, and what planning says.

use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use arrow_array::cast::AsArray;
use pipectl_framework::clock::Clock;
use pipectl_framework::log::{MAX_METADATA, Position};
use pipectl_framework::plugin::{
    Batch, Purpose, Registry, Source, SourceBody, SourceContext, SourceEvent, SourceReject,
};
use proptest::prelude::*;
use serde_json::json;

use super::reader::Reader;
use super::*;
use crate::files::Place;

const TOP: Place = Place { byte: 0, row: 0, line: 1 };

fn dialect(width: usize, max_line: usize) -> Dialect {
    let columns = (0..width).map(|i| format!("c{i}")).collect();
    Dialect {
        syntax: record::Syntax::default(),
        pads: false,
        columns,
        max_line,
        name: "x.csv".into(),
        encoding: Encoding::default(),
    }
}

/// Reads everything, `limit` records at a time; a row is its wanted cells.
pub(super) fn read_all<R: Read + Seek>(
    reader: &mut Reader<R>,
    limit: usize,
) -> (Vec<Vec<String>>, Vec<SourceReject>) {
    let (mut rows, mut rejects) = (Vec::new(), Vec::new());
    loop {
        let (read, end) = reader.read(limit).unwrap();
        for row in 0..read.numbers.len() {
            rows.push(read.columns.iter().map(|c| c.as_string::<i32>().value(row).to_owned()).collect());
        }
        let records = read.numbers.len() + read.rejects.len();
        rejects.extend(read.rejects);
        if end && records == 0 {
            return (rows, rejects);
        }
    }
}

fn read_text(text: &[u8], width: usize, max_line: usize) -> (Vec<Vec<String>>, Vec<SourceReject>) {
    let wanted = (0..width).collect();
    read_all(
        &mut Reader::new(Cursor::new(text), dialect(width, max_line), wanted, LastLine::Row, TOP).unwrap(),
        3,
    )
}

/// Gives its bytes in pieces of the sizes asked for.
struct Pieces<'a> {
    bytes: Cursor<&'a [u8]>,
    sizes: Vec<usize>,
    next: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.sizes[self.next % self.sizes.len()].min(buffer.len());
        self.next += 1;
        self.bytes.read(&mut buffer[..size])
    }
}

impl Seek for Pieces<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.bytes.seek(to)
    }
}

/// A table as text, written by the crate `csv`, with what every line ends with.
fn tables() -> impl Strategy<Value = (usize, Vec<Vec<String>>, bool, bool, bool)> {
    let cell = prop_oneof![
        4 => "[a-z0-9]{0,4}",
        1 => "[ a,\"\n\r四川]{0,6}",
        1 => Just(String::new()),
    ];
    (1usize..13).prop_flat_map(move |width| {
        let rows = prop::collection::vec(prop::collection::vec(cell.clone(), width), 0..30);
        (Just(width), rows, any::<bool>(), any::<bool>(), any::<bool>())
    })
}

fn write(rows: &[Vec<String>], crlf: bool, always: bool) -> Vec<u8> {
    let mut writer = ::csv::WriterBuilder::new()
        .has_headers(false)
        .terminator(if crlf { ::csv::Terminator::CRLF } else { ::csv::Terminator::Any(b'\n') })
        .quote_style(if always { ::csv::QuoteStyle::Always } else { ::csv::QuoteStyle::Necessary })
        .from_writer(Vec::new());
    for row in rows {
        writer.write_record(row).unwrap();
    }
    writer.into_inner().unwrap()
}

proptest! {
    #[test]
    fn it_reads_what_the_crate_csv_writes_and_reads(
        (width, rows, crlf, always, cut) in tables(),
        sizes in prop::collection::vec(1usize..200, 1..5),
        limit in 1usize..20,
        wanted in prop::collection::vec(any::<bool>(), 12),
    ) {
        let mut text = write(&rows, crlf, always);
        if cut {
            let kept = text.len() - text.iter().rev().take_while(|b| matches!(b, b'\r' | b'\n')).count().min(1 + usize::from(crlf));
            text.truncate(kept);
        }
        let mut oracle = ::csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_slice());
        let expected: Vec<Vec<String>> =
            oracle.records().map(|r| r.unwrap().iter().map(str::to_owned).collect()).collect();
        prop_assert_eq!(&expected, &rows);
        let wanted: Vec<usize> = (0..width).filter(|i| wanted[*i]).collect();
        let input = Pieces { bytes: Cursor::new(&text), sizes, next: 0 };
        let mut reader = Reader::new(input, dialect(width, 1 << 20), wanted.clone(), LastLine::Row, TOP).unwrap();
        let (read, rejects) = read_all(&mut reader, limit);
        prop_assert_eq!(rejects, vec![]);
        let narrowed: Vec<Vec<String>> =
            rows.iter().map(|row| wanted.iter().map(|i| row[*i].clone()).collect()).collect();
        prop_assert_eq!(read, narrowed);
        prop_assert_eq!(reader.place().byte, text.len() as u64);
        prop_assert_eq!(reader.place().row, rows.len() as u64);
    }

    #[test]
    fn every_line_of_any_bytes_becomes_a_row_or_a_reject_and_memory_is_bounded(
        text in prop::collection::vec(prop::sample::select(b"a,,\n\n\"\"\r\xE5\x9B\x9B\0".to_vec()), 0..400),
        sizes in prop::collection::vec(1usize..50, 1..4),
        width in 1usize..5,
        max_line in 1usize..60,
    ) {
        let input = Pieces { bytes: Cursor::new(&text), sizes, next: 0 };
        let mut reader = Reader::new(input, dialect(width, max_line), (0..width).collect(), LastLine::Row, TOP).unwrap();
        let (rows, rejects) = read_all(&mut reader, 7);
        let place = reader.place();
        prop_assert_eq!(place.byte, text.len() as u64);
        prop_assert_eq!(place.row, (rows.len() + rejects.len()) as u64);
        prop_assert_eq!(place.line, 1 + memchr::memchr_iter(b'\n', &text).count() as u64);
        // The same bytes in one piece give the same.
        let (whole_rows, whole_rejects) = read_text(&text, width, max_line);
        prop_assert_eq!((rows, rejects), (whole_rows, whole_rejects));
    }

    #[test]
    fn reading_can_stop_and_go_on_at_any_place(
        (width, rows, crlf, always, _) in tables(),
        stop in 0usize..60,
    ) {
        let text = write(&rows, crlf, always);
        let wanted: Vec<usize> = (0..width).collect();
        let mut reader = Reader::new(Cursor::new(&text), dialect(width, 1 << 20), wanted.clone(), LastLine::Row, TOP).unwrap();
        let stop = stop.min(rows.len());
        let mut first = 0;
        while first < stop {
            first += reader.read(stop - first).unwrap().0.numbers.len();
        }
        let mut again = Reader::new(Cursor::new(&text), dialect(width, 1 << 20), wanted, LastLine::Row, reader.place()).unwrap();
        prop_assert_eq!(read_all(&mut again, 9).0, &rows[stop..]);
    }
}

fn reasons(rejects: &[SourceReject]) -> Vec<(&str, &str, String)> {
    rejects
        .iter()
        .map(|r| (r.place.as_str(), r.reason.as_str(), String::from_utf8_lossy(&r.raw).into_owned()))
        .collect()
}

#[test]
fn bad_records_are_rejected_with_their_line_and_the_others_go_on() {
    let text = b"1,a\n2\n3,c,x\n\n4,\"d\"d\n5,e\r\n\r\n6,\xFF\n7,g\0\n8,\"h";
    let (rows, rejects) = read_text(text, 2, 100);
    assert_eq!(rows, [["1", "a"], ["5", "e"], ["7", "g\0"]]);
    assert_eq!(
        reasons(&rejects),
        [
            ("x.csv:2", "1 cells where 2 are expected", "2".into()),
            ("x.csv:3", "3 cells where 2 are expected", "3,c,x".into()),
            ("x.csv:5", "text stands behind a closing quote", "4,\"d\"d".into()),
            ("x.csv:8", "column `c1` is not UTF-8", "6,\u{fffd}".into()),
            ("x.csv:10", "a quote is not closed before the end of the file", "8,\"h".into()),
        ]
    );
    assert_eq!(rejects.iter().map(|r| r.offset).collect::<Vec<_>>(), [1, 2, 3, 5, 7]);
}

#[test]
fn bytes_that_are_not_utf8_hurt_only_who_looks_at_them() {
    let text = b"1,\xFF\n2,b\n\"3\",\"\xE5\"\n";
    let mut reader = Reader::new(Cursor::new(text), dialect(2, 100), vec![0], LastLine::Row, TOP).unwrap();
    assert_eq!(
        read_all(&mut reader, 10),
        (vec![vec!["1".into()], vec!["2".into()], vec!["3".into()]], vec![])
    );
    // Two halves of one character in two cells are no text, though together they would be.
    let (rows, rejects) = read_text(b"\xE5\x9B,\x9B\n", 2, 100);
    assert_eq!((rows.len(), rejects.len()), (0, 1));
}

#[test]
fn an_unclosed_quote_costs_its_line_and_no_more() {
    let mut text = b"1,\"a\n".to_vec();
    for row in 0..100 {
        text.extend_from_slice(format!("{row},b\n").as_bytes());
    }
    let (rows, rejects) = read_text(&text, 2, 64);
    assert_eq!(rows.len(), 100);
    assert_eq!(reasons(&rejects), [("x.csv:1", "a quote is not closed within 64 bytes", "1,\"a".into())]);
}

#[test]
fn a_line_without_end_is_passed_over_in_bounded_memory() {
    let mut text = b"1,a\n".to_vec();
    text.extend(std::iter::repeat_n(b'x', 10_000_000));
    text.extend_from_slice(b"\n2,b\n");
    let mut reader =
        Reader::new(Cursor::new(&text), dialect(2, 1000), vec![0, 1], LastLine::Row, TOP).unwrap();
    let (rows, rejects) = read_all(&mut reader, 10);
    assert_eq!(rows, [["1", "a"], ["2", "b"]]);
    assert_eq!(rejects.len(), 1);
    assert_eq!(
        (rejects[0].place.as_str(), rejects[0].reason.as_str()),
        ("x.csv:2", "longer than 1000 bytes (`max_line`)")
    );
    assert_eq!(rejects[0].raw.len(), 1000);
    assert!(reader.memory() < 1 << 20, "{} bytes are held", reader.memory());
}

#[test]
fn an_empty_line_is_a_cell_only_where_there_is_one_column() {
    assert_eq!(read_text(b"a\n\n\r\nb", 1, 100).0, [["a"], [""], [""], ["b"]]);
    assert_eq!(read_text(b"\n\na,b\n\n", 2, 100).0, [["a", "b"]]);
}

// The plugin.

struct File {
    dir: tempfile::TempDir,
}

impl File {
    fn new(content: impl AsRef<[u8]>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x.csv"), content).unwrap();
        Self { dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("x.csv")
    }

    fn bind(&self, mut with: serde_json::Value) -> Result<BoundSource, Problem> {
        with.as_object_mut().unwrap().entry("path").or_insert(json!("x.csv"));
        let config: Csv = serde_json::from_value(with).unwrap();
        let registry = Registry::default();
        config.bind(&BindContext {
            registry: &registry,
            base: self.dir.path(),
            connections: &[],
            purpose: Purpose::Check,
        })
    }

    fn problem(&self, with: serde_json::Value) -> Problem {
        self.bind(with).err().expect("it was bound")
    }

    fn source(&self, with: serde_json::Value) -> Box<dyn Source> {
        match self.bind(with).unwrap().body {
            SourceBody::Custom(source, _) => source,
            SourceBody::Log(_) => panic!("not a log"),
        }
    }
}

fn context(once: bool) -> SourceContext {
    SourceContext { clock: Clock::manual(1_000_000), once, batch_rows: 4, keeps_position: false }
}

/// The next batch, waiting for it.
async fn batch(source: &mut dyn Source) -> Option<(Batch, Vec<SourceReject>, Position)> {
    loop {
        match source.next().await.unwrap() {
            SourceEvent::Batch { batch, rejects, position } => return Some((batch, rejects, position)),
            SourceEvent::CaughtUp => {}
            SourceEvent::End => return None,
        }
    }
}

/// Every row up to the end: its time, its number, its first cell.
async fn drain(source: &mut dyn Source) -> Vec<(i64, i64, String)> {
    let mut rows = Vec::new();
    while let Some((batch, _, _)) = batch(source).await {
        let cells = batch.column(0).as_string::<i32>();
        rows.extend(
            (0..batch.rows())
                .map(|i| (batch.times()[i], batch.origin().offsets[i], cells.value(i).to_owned())),
        );
    }
    rows
}

fn names(bound: &BoundSource) -> Vec<&str> {
    bound.schema.fields().iter().map(|f| f.name().as_str()).collect()
}

#[test]
fn planning_knows_the_columns() {
    let file = File::new("\u{feff}user_id,gender\r\n1,0\r\n");
    let bound = file.bind(json!({})).unwrap();
    assert_eq!(names(&bound), ["user_id", "gender"]);
    assert!(bound.bounded);
    assert!(!file.bind(json!({ "repeat": true })).unwrap().bounded);
    assert_eq!(names(&file.bind(json!({ "columns": ["a", "b"], "header": true })).unwrap()), ["a", "b"]);
    let headerless = File::new("1;0\n");
    assert_eq!(
        names(&headerless.bind(json!({ "columns": ["a", "b"], "delimiter": ";" })).unwrap()),
        ["a", "b"]
    );
    let empty = File::new("");
    assert_eq!(names(&empty.bind(json!({ "columns": ["a"] })).unwrap()), ["a"]);
}

#[test]
fn what_cannot_be_read_is_a_problem_with_a_place() {
    let file = File::new("328862,11,11\n1,2,3\n");
    let say = |problem: Problem| (problem.path, problem.message, problem.label);
    let missing = file.problem(json!({ "path": "nope.csv" }));
    assert_eq!((missing.path.as_str(), missing.message.as_str()), ("path", "cannot read `nope.csv`"));
    assert!(missing.help[0].starts_with("looked for /"), "{missing:?}");
    assert_eq!(say(file.problem(json!({ "path": "." }))).2, "it is not a regular file");
    assert_eq!(
        say(file.problem(json!({}))),
        (
            "path".into(),
            "the header of `x.csv` has `11` twice".into(),
            "the header is: 328862, 11, 11".into()
        )
    );
    assert_eq!(
        say(file.problem(json!({ "columns": ["a", "b"] }))),
        (
            "columns".into(),
            "2 columns are named, but the file has 3".into(),
            "its first record: 328862, 11, 11".into()
        )
    );
    assert_eq!(say(file.problem(json!({ "columns": ["a", "b", "a"] }))).0, "columns[2]");
    assert_eq!(
        say(file.problem(json!({ "header": false }))),
        (
            "header".into(),
            "a file without a header needs `columns`".into(),
            "its first record: 328862, 11, 11".into()
        )
    );
    assert_eq!(
        say(File::new("\n\n").problem(json!({}))),
        ("path".into(), "`x.csv` has no header".into(), "the file is empty".into())
    );
    assert_eq!(say(File::new("a,\"b\n").problem(json!({}))).2, "a quote in its first record is not closed");
    assert_eq!(say(File::new(b"a,\xFF\n").problem(json!({}))).1, "the header of `x.csv` is not UTF-8");
    assert_eq!(say(file.problem(json!({ "delimiter": "\"" }))).0, "delimiter");
    assert_eq!(say(file.problem(json!({ "max_line": "0B" }))).0, "max_line");
}

#[tokio::test(start_paused = true)]
async fn at_full_speed_rows_are_stamped_when_they_are_read() {
    let file = File::new("id\n1\n2\n3\n4\n5");
    let mut source = file.source(json!({}));
    source.open(&context(false), None).await.unwrap();
    let rows = drain(&mut *source).await;
    assert_eq!(rows.iter().map(|r| r.2.as_str()).collect::<String>(), "12345");
    assert_eq!(rows.iter().map(|r| r.1).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert!(rows.iter().all(|r| r.0 == 1_000_000));
    let progress = source.progress().unwrap();
    assert_eq!((progress.done, progress.total), (12, 12));
    assert!(matches!(source.next().await, Ok(SourceEvent::End)));
}

#[tokio::test(start_paused = true)]
async fn a_rate_paces_and_stamps_and_says_when_nothing_is_due() {
    let file = File::new("id\n1\n2\n3\n");
    let mut source = file.source(json!({ "rate": "10/s" }));
    let context = context(false);
    source.open(&context, None).await.unwrap();
    for row in 0..3i64 {
        let (batch, _, _) = batch(&mut *source).await.unwrap();
        assert_eq!(context.clock.elapsed().as_millis() as i64, row * 100);
        assert_eq!(batch.times().to_vec(), [1_000_000 + row * 100]);
        assert!(matches!(source.next().await, Ok(SourceEvent::CaughtUp)));
    }
    assert!(matches!(source.next().await, Ok(SourceEvent::End)));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_wait_loses_no_row() {
    let file = File::new("id\n1\n2\n");
    let mut source = file.source(json!({ "rate": "1/s" }));
    source.open(&context(false), None).await.unwrap();
    let mut rows = 0;
    loop {
        match tokio::time::timeout(Duration::from_millis(130), source.next()).await {
            Ok(Ok(SourceEvent::Batch { batch, .. })) => rows += batch.rows(),
            Ok(Ok(SourceEvent::End)) => break,
            Ok(Ok(SourceEvent::CaughtUp)) | Err(_) => {}
            Ok(Err(e)) => panic!("{e}"),
        }
    }
    assert_eq!(rows, 2);
}

#[tokio::test(start_paused = true)]
async fn it_goes_on_behind_a_committed_position() {
    let file = File::new("id,x\n1,a\n2,\"b\n\"\n3\n4,d\n5,e\n");
    let with = json!({ "rate": "1/s" });
    let mut source = file.source(with.clone());
    source.open(&context(false), None).await.unwrap();
    let mut position = None;
    for _ in 0..3 {
        position = batch(&mut *source).await.map(|b| b.2);
    }
    let position = position.unwrap();
    assert_eq!(position.offset, 3);
    assert!(position.metadata.len() < MAX_METADATA, "{}", position.metadata);
    // The same source, opened again after a failure: the same rows with the same stamps.
    let rest = drain(&mut *source).await;
    source.open(&context(false), Some(&position)).await.unwrap();
    assert_eq!(drain(&mut *source).await, rest);
    assert_eq!(rest, [(1_003_000, 3, "4".into()), (1_004_000, 4, "5".into())]);
    // Another process, with a clock that is behind.
    let mut restarted = file.source(with);
    restarted.open(&context(false), Some(&position)).await.unwrap();
    assert_eq!(drain(&mut *restarted).await, [(1_003_000, 3, "4".into()), (1_004_000, 4, "5".into())]);
    // Line numbers go on too.
    std::fs::write(file.path(), "id,x\n1,a\n2,\"b\n\"\n3\n4\n").unwrap();
    let mut source = file.source(json!({}));
    source.open(&context(false), Some(&position)).await.unwrap();
    assert_eq!(batch(&mut *source).await.unwrap().1[0].place, "x.csv:6");
}

#[tokio::test(start_paused = true)]
async fn a_position_in_another_file_is_refused() {
    let file = File::new("id\n1\n2\n3\n");
    let mut source = file.source(json!({}));
    source.open(&context(false), None).await.unwrap();
    let (_, _, position) = batch(&mut *source).await.unwrap();
    let mut refused = async |content: &str, position: &Position| {
        std::fs::write(file.path(), content).unwrap();
        source.open(&context(false), Some(position)).await.unwrap_err().to_string()
    };
    assert!(refused("id\n7\n2\n3\n", &position).await.contains("begins otherwise"));
    assert!(refused("id\n1\n", &position).await.contains("5 of 9 bytes are there"));
    assert!(refused("ID\n1\n2\n3\n", &position).await.contains("the header of x.csv has changed"));
    // As an earlier version wrote it.
    let mut plain: serde_json::Value = serde_json::from_str(&position.metadata).unwrap();
    plain.as_object_mut().unwrap().remove("tail").unwrap();
    assert!(
        refused("id\n7\n2\n3\n", &Position { metadata: plain.to_string(), ..position.clone() })
            .await
            .contains("begins")
    );
    let odd = Position { metadata: "{}".into(), ..position };
    assert!(refused("id\n1\n2\n3\n", &odd).await.contains("cannot be read"));
}

#[tokio::test(start_paused = true)]
async fn a_file_whose_rows_were_written_anew_behind_its_beginning_is_refused() {
    let rows = |last: &str| format!("id\n{}{last}\n", "1\n".repeat(1000));
    let file = File::new(rows("1"));
    let mut source = file.source(json!({}));
    source.open(&context(false), None).await.unwrap();
    let mut position = None;
    while let Some((_, _, next)) = batch(&mut *source).await {
        position = Some(next);
    }
    std::fs::write(file.path(), rows("2")).unwrap();
    let refused = source.open(&context(false), position.as_ref()).await.unwrap_err().to_string();
    assert!(refused.contains("other rows stand before line 1003"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn repeat_begins_again_with_rising_numbers_and_once_ends_it() {
    let file = File::new("id\n1\n2\n");
    let mut source = file.source(json!({ "repeat": true, "rate": "1/s" }));
    source.open(&context(false), None).await.unwrap();
    let mut rows = Vec::new();
    while rows.len() < 5 {
        let (batch, _, position) = batch(&mut *source).await.unwrap();
        rows.push((
            batch.times()[0],
            batch.origin().offsets[0],
            batch.column(0).as_string::<i32>().value(0).to_owned(),
        ));
        assert_eq!(position.offset, rows.len() as i64);
    }
    let expected: Vec<_> =
        (0..5).map(|i| (1_000_000 + i * 1000, i, ["1", "2"][i as usize % 2].to_owned())).collect();
    assert_eq!(rows, expected);
    source.open(&context(true), None).await.unwrap();
    assert_eq!(drain(&mut *source).await.len(), 2);
    // A file without rows would be begun again for ever.
    let mut empty = File::new("id\n").source(json!({ "repeat": true }));
    assert!(empty.open(&context(false), None).await.is_err(), "its folder is gone");
    let file = File::new("id\n");
    let mut empty = file.source(json!({ "repeat": true }));
    empty.open(&context(false), None).await.unwrap();
    assert_eq!(drain(&mut *empty).await, []);
}

#[tokio::test(start_paused = true)]
async fn only_the_wanted_columns_are_built() {
    let file = File::new("a,b,c\n1,2,3\n");
    let mut source = file.source(json!({}));
    let schema = source.narrow(&["c".into(), "b".into()]).unwrap();
    assert_eq!(schema.fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>(), ["b", "c"]);
    source.open(&context(false), None).await.unwrap();
    assert_eq!(batch(&mut *source).await.unwrap().0.schema(), schema);
    source.narrow(&[]).unwrap();
    source.open(&context(false), None).await.unwrap();
    let rows = batch(&mut *source).await.unwrap().0;
    assert_eq!((rows.rows(), rows.columns().num_columns()), (1, 0));
}
