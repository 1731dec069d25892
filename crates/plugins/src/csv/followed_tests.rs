//! A file that is followed: however it is written, rotated and cut short, and whenever the reader is killed,
//! each row has one number for ever, and is given once.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use arrow_array::cast::AsArray;
use pipectl_framework::clock::Clock;
use pipectl_framework::log::Position;
use pipectl_framework::plugin::{Purpose, Registry, Source, SourceBody, SourceContext, SourceEvent};
use proptest::prelude::*;
use serde_json::json;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    /// So many rows are written, the last one without so many bytes of its end.
    Grow { rows: usize, cut: usize },
    /// The source goes on, or is killed and opened where it was committed; it gives so many batches, and a
    /// position is committed.
    Read { killed: bool, batches: usize, commits: Option<usize> },
    /// The file is renamed. Its writer goes on in it, before or after there is a new one, and then goes over.
    Rename { late: usize, made_before: bool, read: bool },
    /// It is copied and cut short.
    Truncate { read: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1usize..9, 0usize..6).prop_map(|(rows, cut)| Step::Grow { rows, cut }),
        4 => (any::<bool>(), 0usize..12, prop::option::weighted(0.8, 0usize..12))
            .prop_map(|(killed, batches, commits)| Step::Read { killed, batches, commits }),
        2 => (0usize..4, any::<bool>(), any::<bool>())
            .prop_map(|(late, made_before, read)| Step::Rename { late, made_before, read }),
        1 => any::<bool>().prop_map(|read| Step::Truncate { read }),
    ];
    prop::collection::vec(step, 1..16)
}

/// The writer, and what a chain that commits would know.
struct Model<'a> {
    folder: &'a Path,
    source: Box<dyn Source>,
    open: bool,
    clock: Clock,
    header: bool,
    writer: File,
    /// What is still to be written of the last line.
    rest: String,
    written: u64,
    rotations: usize,
    /// The positions that were given since the source was opened.
    positions: Vec<Position>,
    committed: Option<Position>,
    dealt_with: i64,
    seen: BTreeMap<i64, u64>,
}

fn create(folder: &Path) -> File {
    OpenOptions::new().append(true).create(true).open(folder.join("rows.csv")).unwrap()
}

impl Model<'_> {
    fn grow(&mut self, rows: usize, cut: usize) {
        let mut text = std::mem::take(&mut self.rest);
        if self.header && text.is_empty() && self.writer.metadata().unwrap().len() == 0 {
            text.push_str("id,what\n");
        }
        for _ in 0..rows {
            writeln!(text, "{},\"x\n\"", 1000 + self.written).unwrap();
            self.written += 1;
        }
        self.rest = text.split_off(text.len() - cut.min(text.len()));
        self.writer.write_all(text.as_bytes()).unwrap();
    }

    async fn read(&mut self, killed: bool, batches: usize, patience: Duration) {
        if killed || !self.open {
            self.seen.retain(|number, _| *number < self.dealt_with);
            self.positions.clear();
            let clock = self.clock.clone();
            let context = SourceContext { clock, once: false, batch_rows: 3, keeps_position: true };
            self.source.open(&context, self.committed.as_ref()).await.unwrap();
            self.open = true;
        }
        let until = self.clock.elapsed() + patience;
        let mut given = 0;
        while given < batches {
            let event = tokio::select! {
                biased;
                event = self.source.next() => event.unwrap(),
                () = self.clock.sleep_until(until) => return,
            };
            let SourceEvent::Batch { batch, rejects, position } = event else { continue };
            assert!(rejects.is_empty(), "{rejects:?}");
            assert!(self.positions.last().is_none_or(|last: &Position| last.offset <= position.offset));
            let ids = batch.column(0).as_string::<i32>();
            for (row, number) in batch.origin().offsets.iter().enumerate() {
                let id = ids.value(row).parse().unwrap();
                assert_eq!(*self.seen.entry(*number).or_insert(id), id, "row {number} is another one");
            }
            self.positions.push(position);
            given += 1;
        }
    }

    /// Commits one of the positions that were given, never one before the last, as a window that is open
    /// wants it. All rows that were given are dealt with.
    async fn commit(&mut self, index: usize) {
        let from = self.committed.as_ref().map_or(0, |committed| committed.offset);
        self.positions.retain(|position| position.offset >= from);
        let Some(last) = self.positions.last() else { return };
        // A window that holds the first row wants a position before it.
        assert!(self.committed.is_some() || self.positions[0].offset == 0, "{:?}", self.positions[0]);
        self.dealt_with = self.dealt_with.max(last.offset);
        let position = self.source.renew(self.positions[index % self.positions.len()].clone());
        self.source.commit(&position).await.unwrap();
        self.committed = Some(position);
    }

    /// What is written is seen, and stands in a position: a file that nobody has seen cannot be known.
    async fn see(&mut self, index: usize) {
        self.grow(1, 0);
        self.read(false, usize::MAX, Duration::from_secs(9)).await;
        self.commit(index).await;
    }

    async fn step(&mut self, step: Step) {
        let short = Duration::from_millis(700);
        match step {
            Step::Grow { rows, cut } => self.grow(rows, cut),
            Step::Read { killed, batches, commits } => {
                self.read(killed, batches, short).await;
                if let Some(index) = commits {
                    self.commit(index).await;
                }
            }
            Step::Rename { late, made_before, read } => {
                self.see(self.rotations).await;
                self.grow(late, 3 * usize::from(late > 0));
                self.rotations += 1;
                let to = format!("rows.csv.{}", self.rotations);
                std::fs::rename(self.folder.join("rows.csv"), self.folder.join(to)).unwrap();
                let made = made_before.then(|| create(self.folder));
                if read {
                    self.read(late == 2, 2, short).await;
                }
                self.grow(late, 0);
                self.writer = made.unwrap_or_else(|| create(self.folder));
            }
            Step::Truncate { read } => {
                self.see(0).await;
                self.grow(2, 0);
                self.rotations += 1;
                let to = self.folder.join(format!("rows.csv.{}", self.rotations));
                std::fs::copy(self.folder.join("rows.csv"), to).unwrap();
                self.writer.set_len(0).unwrap();
                if read {
                    self.read(false, 1, short).await;
                }
                self.grow(self.rotations * 2, 0);
            }
        }
    }
}

/// A source that follows `rows.csv`, which has these rows.
fn following(folder: &Path, rows: &str) -> Box<dyn Source> {
    std::fs::write(folder.join("rows.csv"), rows).unwrap();
    let config: Csv = serde_json::from_value(json!({ "path": "rows.csv", "follow": true })).unwrap();
    let registry = Registry::default();
    let context =
        BindContext { registry: &registry, base: folder, connections: &[], purpose: Purpose::Check };
    let SourceBody::Custom(source, _) = config.bind(&context).unwrap().body else { panic!("a log") };
    source
}

/// The same where the columns are named; nothing of the file needs to be there.
fn following_named(
    folder: &Path,
    purpose: Purpose,
    columns: Option<&[&str]>,
) -> Result<BoundSource, Problem> {
    let mut with = json!({ "path": "rows.csv", "follow": true });
    if let Some(columns) = columns {
        with["columns"] = json!(columns);
        with["header"] = json!(true);
    }
    let config: Csv = serde_json::from_value(with).unwrap();
    config.bind(&BindContext { registry: &Registry::default(), base: folder, connections: &[], purpose })
}

/// What a source gives within a time, and the last position.
async fn given(source: &mut dyn Source, clock: &Clock, millis: u64) -> (Vec<String>, Option<Position>) {
    let (mut given, mut last) = (Vec::new(), None);
    let until = clock.elapsed() + Duration::from_millis(millis);
    loop {
        let event = tokio::select! {
            biased;
            event = source.next() => event.unwrap(),
            () = clock.sleep_until(until) => return (given, last),
        };
        match event {
            SourceEvent::Batch { batch, position, .. } => {
                let ids: Vec<&str> = batch.column(0).as_string::<i32>().iter().flatten().collect();
                given.push(format!("rows {}", ids.join(" ")));
                last = Some(source.renew(position));
            }
            SourceEvent::CaughtUp => given.push("caught up".to_owned()),
            SourceEvent::End => panic!("it has an end"),
        }
    }
}

fn context(clock: &Clock) -> SourceContext {
    SourceContext { clock: clock.clone(), once: false, batch_rows: 100, keeps_position: true }
}

#[tokio::test(start_paused = true)]
async fn time_stands_while_rows_wait_for_the_old_file_to_settle() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut source = following(folder.path(), "id\n1\n");
    let clock = Clock::manual(0);
    source.open(&context(&clock), None).await.unwrap();
    assert_eq!(given(&mut *source, &clock, 1000).await.0, ["rows ", "rows 1", "caught up"]);
    std::fs::rename(path("rows.csv"), path("rows.csv.1")).unwrap();
    std::fs::write(path("rows.csv"), "").unwrap();
    assert!(given(&mut *source, &clock, 1000).await.0.is_empty(), "an empty file says nothing of time");
    std::fs::write(path("rows.csv"), "id\n2\n").unwrap();
    assert_eq!(given(&mut *source, &clock, 3000).await.0, ["rows "]);
    assert_eq!(given(&mut *source, &clock, 3000).await.0, ["rows 2", "caught up"]);
}

#[tokio::test(start_paused = true)]
async fn a_file_is_found_again_where_it_is_the_same() {
    for case in ["compressed", "copied", "written anew", "gone", "header alone"] {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let mut source = following(folder.path(), "id\n1\n");
        let clock = Clock::manual(0);
        source.open(&context(&clock), None).await.unwrap();
        let (_, mut position) = given(&mut *source, &clock, 1000).await;
        let old = "id\n1\n2\n";
        std::fs::remove_file(path("rows.csv")).unwrap();
        std::fs::write(path("rows.csv"), "id\n3\n").unwrap();
        let expected: &[&str] = match case {
            "compressed" => {
                let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                packed.write_all(old.as_bytes()).unwrap();
                std::fs::write(path("rows.csv.1.gz"), packed.finish().unwrap()).unwrap();
                &["rows 2", "rows 3", "caught up"]
            }
            "copied" => {
                std::fs::write(path("copy.csv"), old).unwrap();
                &["rows 2", "rows 3", "caught up"]
            }
            "written anew" => {
                std::fs::write(path("rows.csv"), old).unwrap();
                &["rows 2", "caught up"]
            }
            "gone" => &["rows 3", "caught up"],
            // Nothing was read: any file with this header may be it, and the one at the path is.
            _ => {
                position = None;
                std::fs::write(path("copy.csv"), old).unwrap();
                &["rows 3", "caught up"]
            }
        };
        source.open(&context(&clock), position.as_ref()).await.unwrap();
        let (mut rows, _) = given(&mut *source, &clock, 9000).await;
        rows.retain(|row| row != "rows ");
        rows.dedup();
        assert_eq!(rows, expected, "{case}");
    }
}

/// A window that holds the first row has it read again; its file is gone.
#[tokio::test(start_paused = true)]
async fn rows_of_another_file_never_take_the_numbers_of_rows_that_were_given() {
    for cut in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        let mut source = following(folder.path(), "id\n1\n2\n3\n");
        let clock = Clock::manual(0);
        source.open(&context(&clock), None).await.unwrap();
        let SourceEvent::Batch { position: first, .. } = source.next().await.unwrap() else { panic!() };
        given(&mut *source, &clock, 1000).await;
        let first = source.renew(first);
        let write = || std::fs::write(&path, "id\n4\n5\n").unwrap();
        if !cut {
            std::fs::remove_file(&path).unwrap();
            write();
        }
        source.open(&context(&clock), Some(&first)).await.unwrap();
        if cut {
            write();
        }
        let mut numbers = Vec::new();
        while numbers.len() < 2 {
            if let SourceEvent::Batch { batch, .. } = source.next().await.unwrap() {
                numbers.extend(batch.origin().offsets.iter().copied());
            }
        }
        assert_eq!(numbers, [3, 4]);
    }
}

fn follows(header: bool, steps: Vec<Step>) {
    let folder = tempfile::tempdir().unwrap();
    let writer = create(folder.path());
    let mut with = json!({ "path": "rows.csv", "follow": true });
    if header {
        (&writer).write_all(b"id,what\n").unwrap();
    } else {
        with["columns"] = json!(["id", "what"]);
    }
    let config: Csv = serde_json::from_value(with).unwrap();
    let registry = Registry::default();
    let context =
        BindContext { registry: &registry, base: folder.path(), connections: &[], purpose: Purpose::Check };
    let SourceBody::Custom(source, _) = config.bind(&context).unwrap().body else { panic!("a log") };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let clock = runtime.block_on(async { Clock::manual(0) });
    let mut model = Model {
        folder: folder.path(),
        source,
        open: false,
        clock,
        header,
        writer,
        rest: String::new(),
        written: 0,
        rotations: 0,
        positions: Vec::new(),
        committed: None,
        dealt_with: 0,
        seen: BTreeMap::new(),
    };
    runtime.block_on(async {
        for step in steps {
            model.step(step).await;
        }
        model.grow(0, 0);
        model.read(false, usize::MAX, Duration::from_secs(40)).await;
    });
    let given: Vec<u64> = model.seen.values().copied().collect();
    assert_eq!(given, (1000..1000 + model.written).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn each_row_has_one_number_and_is_given_once(header: bool, steps in steps()) {
        follows(header, steps);
    }
}

#[tokio::test(start_paused = true)]
async fn a_header_is_waited_for_piece_by_piece() {
    let cases: [(&[&str], bool); 3] = [
        (&["", "\n", "i", "d\n1\n"], false),
        (&["\"a", "\nb", "\"", "\n", "1\n"], true),
        (&["\u{feff}", "\n", "id\n1\n"], false),
    ];
    for (pieces, whole_before_last) in cases {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        std::fs::write(&path, "").unwrap();
        let bound = following_named(folder.path(), Purpose::Check, Some(&["n"])).unwrap();
        let SourceBody::Custom(mut source, _) = bound.body else { panic!("a log") };
        let clock = Clock::manual(0);
        let context =
            SourceContext { clock: clock.clone(), once: false, batch_rows: 10, keeps_position: true };
        source.open(&context, None).await.unwrap();
        let mut writer = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        for (index, piece) in pieces.iter().enumerate() {
            let (rows, _) = given(&mut *source, &clock, 60_000).await;
            assert!(!rows.iter().any(|row| row.starts_with("rows 1")), "{rows:?} before piece {index}");
            let whole = whole_before_last && index + 1 == pieces.len();
            let held = !whole && !pieces[..index].concat().is_empty();
            assert_eq!(source.held().len(), usize::from(held), "piece {index} of {pieces:?}");
            writer.write_all(piece.as_bytes()).unwrap();
        }
        let (rows, _) = given(&mut *source, &clock, 60_000).await;
        assert!(rows.contains(&"rows 1".to_owned()), "{rows:?} of {pieces:?}");
    }
}

#[test]
fn planning_waits_for_a_header_only_where_the_plan_is_run_without_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.csv");
    for half in ["", "id,\"ci"] {
        std::fs::write(&path, half).unwrap();
        for purpose in [Purpose::Check, Purpose::Run { once: true }] {
            let problem = following_named(folder.path(), purpose, None).err().unwrap();
            assert_eq!(problem.message, "the header of `rows.csv` is not there yet");
            assert!(following_named(folder.path(), purpose, Some(&["a", "b"])).is_ok());
        }
        let (to, rest) = (path.clone(), if half.is_empty() { "id,city\n" } else { "ty\"\n" });
        let writer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            std::fs::OpenOptions::new().append(true).open(to).unwrap().write_all(rest.as_bytes()).unwrap();
        });
        let bound = following_named(folder.path(), Purpose::Run { once: false }, None).unwrap();
        writer.join().unwrap();
        assert_eq!(bound.schema.fields().len(), 2);
        // A header that was seen must fit the names.
        let problem = following_named(folder.path(), Purpose::Check, Some(&["a"])).err().unwrap();
        assert_eq!(problem.path, "columns");
    }
}
