//! Several files as one: whatever comes, grows and stops in between, each row has one number for ever, and is
//! given once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use arrow_array::cast::AsArray;
use pipectl_framework::clock::Clock;
use pipectl_framework::log::Position;
use pipectl_framework::plugin::{Purpose, Registry, Source, SourceBody, SourceContext, SourceEvent};
use proptest::prelude::*;
use serde_json::json;

use super::*;

const NAMES: [&str; 4] = ["b.csv", "a.csv", "d.csv", "c.csv"];

#[derive(Debug, Clone)]
enum Step {
    /// So many rows are written to a file, the last one without the end of its line but for so many bytes.
    Grow { file: usize, rows: usize, cut: usize },
    /// The source is opened where it was committed, gives so many batches, and commits the position behind
    /// one of them.
    Read { batches: usize, commits: Option<usize> },
    /// A file of which all was read and committed is taken away.
    Remove { file: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..NAMES.len(), 1usize..9, 0usize..4).prop_map(|(file, rows, cut)| Step::Grow { file, rows, cut }),
        3 => (0usize..12, prop::option::weighted(0.8, 0usize..12))
            .prop_map(|(batches, commits)| Step::Read { batches, commits }),
        1 => (0..NAMES.len()).prop_map(|file| Step::Remove { file }),
    ];
    prop::collection::vec(step, 1..14)
}

/// What a chain that commits would know.
#[derive(Default)]
struct Model {
    written: u64,
    /// What is still to be written to each file.
    rest: BTreeMap<&'static str, String>,
    in_file: BTreeMap<&'static str, BTreeSet<u64>>,
    committed: Option<Position>,
    /// Rows below this number have been dealt with for good.
    dealt_with: i64,
    /// The row of each number.
    seen: BTreeMap<i64, u64>,
}

impl Model {
    fn grow(&mut self, folder: &Path, name: &'static str, rows: usize, cut: usize) {
        let path = folder.join(name);
        let mut text = self.rest.remove(name).unwrap_or_default();
        if !path.is_file() && text.is_empty() {
            text.push_str("id\n");
        }
        for _ in 0..rows {
            writeln!(text, "{}", 1000 + self.written).unwrap();
            self.in_file.entry(name).or_default().insert(1000 + self.written);
            self.written += 1;
        }
        let rest = text.split_off(text.len() - cut);
        self.rest.insert(name, rest);
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    async fn read(&mut self, source: &mut dyn Source, batches: usize, commits: Option<usize>) {
        self.seen.retain(|number, _| *number < self.dealt_with);
        let clock = Clock::manual(0);
        let context = SourceContext { clock, once: true, batch_rows: 3, keeps_position: true };
        source.open(&context, self.committed.as_ref()).await.unwrap();
        let mut positions = Vec::new();
        for _ in 0..batches {
            let SourceEvent::Batch { batch, rejects, position } = source.next().await.unwrap() else { break };
            assert!(rejects.is_empty(), "{rejects:?}");
            assert!(positions.last().is_none_or(|last: &Position| last.offset <= position.offset));
            let ids = batch.column(0).as_string::<i32>();
            for (row, number) in batch.origin().offsets.iter().enumerate() {
                let id = ids.value(row).parse().unwrap();
                assert_eq!(*self.seen.entry(*number).or_insert(id), id, "row {number} is another one");
            }
            positions.push(position);
        }
        let Some(last) = positions.last() else { return };
        if let Some(index) = commits {
            self.dealt_with = self.dealt_with.max(last.offset);
            self.committed = Some(positions[index % positions.len()].clone());
        }
    }

    /// True where a file was read to its end, and no row of it is read again. Behind its last row the
    /// position stands in it until its end is told.
    fn is_over(&self, name: &str) -> bool {
        let Some(committed) = &self.committed else { return false };
        let stands: serde_json::Value = serde_json::from_str(&committed.metadata).unwrap();
        if stands["now"][0]["file"] == name {
            return false;
        }
        let from = committed.offset;
        let before: BTreeSet<u64> = self.seen.range(..from.min(self.dealt_with)).map(|(_, id)| *id).collect();
        self.rest.get(name).is_some_and(String::is_empty)
            && self.in_file.get(name).is_some_and(|ids| ids.is_subset(&before))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    #[test]
    fn each_row_has_one_number_and_is_given_once(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let mut model = Model::default();
        model.grow(folder.path(), "b.csv", 1, 0);
        let config: Csv = serde_json::from_value(json!({ "path": ["*.csv"] })).unwrap();
        let registry = Registry::default();
        let context = BindContext { registry: &registry, base: folder.path(), connections: &[], purpose: Purpose::Check };
        let SourceBody::Custom(mut source, _) = config.bind(&context).unwrap().body else { panic!("a log") };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            for step in steps {
                match step {
                    Step::Grow { file, rows, cut } => model.grow(folder.path(), NAMES[file], rows, cut),
                    Step::Read { batches, commits } => model.read(&mut *source, batches, commits).await,
                    // The one that was read last stands in the position until another one begins.
                    Step::Remove { file } if NAMES[file] != "b.csv" && model.is_over(NAMES[file]) => {
                        std::fs::remove_file(folder.path().join(NAMES[file])).unwrap();
                        model.in_file.remove(NAMES[file]);
                        model.rest.remove(NAMES[file]);
                        // Told, so that it is forgotten before another one takes its name.
                        model.read(&mut *source, usize::MAX, Some(usize::MAX)).await;
                    }
                    Step::Remove { .. } => {}
                }
            }
            for name in NAMES {
                if model.rest.get(name).is_some_and(|rest| !rest.is_empty()) {
                    model.grow(folder.path(), name, 0, 0);
                }
            }
            model.read(&mut *source, usize::MAX, Some(usize::MAX)).await;
        });
        let mut given: Vec<u64> = model.seen.values().copied().collect();
        given.sort_unstable();
        prop_assert_eq!(given, (1000..1000 + model.written).collect::<Vec<_>>());
    }
}
