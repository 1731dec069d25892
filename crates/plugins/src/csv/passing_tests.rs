//! A table that comes piece by piece, and cannot be read again.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::sync::mpsc::channel;

use arrow_array::cast::AsArray;
use pipectl_framework::clock::Clock;
use pipectl_framework::log::Position;
use pipectl_framework::plugin::{Partition, Source, SourceContext, SourceEvent, SourceReject};
use proptest::prelude::*;

use super::reader::Reader;
use super::*;
use crate::files::{Place, passing_source};

const TOP: Place = Place { byte: 0, row: 0, line: 1 };

fn dialect(width: usize, max_line: usize) -> Dialect {
    let syntax = record::Syntax { comment: Some(b'#'), ..record::Syntax::default() };
    let columns = (0..width).map(|i| format!("c{i}")).collect();
    let encoding = Encoding::default();
    Dialect { syntax, pads: false, columns, max_line, name: "standard input".into(), encoding }
}

/// Gives pieces of these sizes, and nothing between two of them. It goes forward only.
struct Drips<'a> {
    rest: &'a [u8],
    sizes: Vec<usize>,
    next: usize,
    dry: bool,
}

impl Read for Drips<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.dry = !self.dry && !self.rest.is_empty();
        if self.dry {
            return Err(ErrorKind::WouldBlock.into());
        }
        let size = self.sizes[self.next % self.sizes.len()].min(buffer.len()).min(self.rest.len());
        self.next += 1;
        let (piece, rest) = self.rest.split_at(size);
        buffer[..size].copy_from_slice(piece);
        self.rest = rest;
        Ok(size)
    }
}

impl Seek for Drips<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match to {
            SeekFrom::Start(0) => Ok(0),
            _ => Err(ErrorKind::Unsupported.into()),
        }
    }
}

type Read1 = (Vec<(i64, Vec<String>)>, Vec<SourceReject>);

fn read_all<R: Read + Seek>(
    mut reader: Reader<R>,
    limit: usize,
    is_dry: impl Fn(&Reader<R>) -> bool,
) -> Read1 {
    let (mut rows, mut rejects) = (Vec::new(), Vec::new());
    loop {
        let (read, end) = reader.read(limit).unwrap();
        for (row, number) in read.numbers.iter().enumerate() {
            let cells = read.columns.iter().map(|c| c.as_string::<i32>().value(row).to_owned());
            rows.push((*number, cells.collect()));
        }
        let nothing = read.numbers.is_empty() && read.rejects.is_empty();
        rejects.extend(read.rejects);
        if end && nothing && !is_dry(&reader) {
            return (rows, rejects);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn rows_and_rejects_do_not_depend_on_how_it_comes(
        text in prop::collection::vec(prop::sample::select(&b"aab,,,\n\n\n\"\"\r#\xFF"[..]), 0..120),
        sizes in prop::collection::vec(1usize..9, 1..5),
        width in 1usize..4,
        max_line in 1usize..20,
        limit in 1usize..9,
    ) {
        let wanted: Vec<usize> = (0..width).collect();
        let reader = |input| Reader::new(input, dialect(width, max_line), wanted.clone(), LastLine::Row, TOP).unwrap();
        let whole = Drips { rest: &text, sizes: vec![usize::MAX], next: 0, dry: true };
        let (rows, rejects) = read_all(reader(whole).never_reads_again().passing(), limit, |_| false);
        let drips = Drips { rest: &text, sizes, next: 0, dry: false };
        let (dripped, refused) = read_all(reader(drips).never_reads_again().passing(), limit, |r| r.input().dry);
        prop_assert_eq!(dripped, rows);
        let places = |rejects: Vec<SourceReject>| {
            rejects.into_iter().map(|r| (r.offset, r.place, r.reason)).collect::<Vec<_>>()
        };
        prop_assert_eq!(places(refused), places(rejects));
    }
}

fn context() -> SourceContext {
    SourceContext { clock: Clock::manual(1_000), once: false, batch_rows: 100, keeps_position: false }
}

fn at(offset: i64) -> Position {
    Position { partition: Partition::new("standard input", 0), offset, metadata: String::new() }
}

#[tokio::test(start_paused = true)]
async fn it_is_opened_again_only_where_nothing_of_it_was_given_and_not_committed() {
    let (sender, receiver) = channel();
    let form = CsvForm::new(dialect(1, 100), Header::None, true, 0);
    let mut source = passing_source(form, receiver);
    source.open(&context(), None).await.unwrap();
    sender.send(Ok(b"# a comment\na\nb\nc".to_vec())).unwrap();
    // It begins once its first row is whole.
    let SourceEvent::CaughtUp = source.next().await.unwrap() else { panic!("nothing was there yet") };
    source.can_reopen(None).unwrap();
    source.open(&context(), None).await.unwrap();
    let position = loop {
        if let SourceEvent::Batch { batch, position, .. } = source.next().await.unwrap() {
            assert_eq!(batch.rows(), 2);
            break position;
        }
    };
    assert_eq!(position, at(2));
    for (committed, lost) in [(None, "2 rows"), (Some(at(1)), "1 row")] {
        let error = source.can_reopen(committed.as_ref()).unwrap_err();
        let expected =
            format!("{lost} of standard input, up to line 3, were not committed and cannot be read again");
        assert_eq!(error.to_string(), expected);
        assert!(source.open(&context(), committed.as_ref()).await.is_err());
    }
    source.open(&context(), Some(&position)).await.unwrap();
    sender.send(Ok(b"c\nd\n".to_vec())).unwrap();
    drop(sender);
    loop {
        if let SourceEvent::Batch { batch, position, .. } = source.next().await.unwrap() {
            let cells: Vec<&str> = batch.column(0).as_string::<i32>().iter().flatten().collect();
            assert_eq!((cells, position), (vec!["cc", "d"], at(4)));
            break;
        }
    }
    assert!(matches!(source.next().await.unwrap(), SourceEvent::End));
    assert!(source.remarks().is_empty());
}
