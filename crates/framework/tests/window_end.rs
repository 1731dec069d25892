//! The end of the data gives what windows have, and closes none: runs over the parts of an input, one after
//! another, end in the same last results as one run over all of it, and give a window again only where it has
//! more rows.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub, dead_code)] // a test fails by panicking

mod support;

use std::collections::BTreeMap;

use pipectl_framework::window::{Shape, WindowSettings};
use proptest::prelude::*;
use support::bench::Bench;

/// The last count of each window, `start..end`, and key.
type Last = BTreeMap<(String, String), String>;

#[derive(Debug, Clone)]
struct Setup {
    settings: WindowSettings,
    /// Each a time and a key, `a` to `c`.
    rows: Vec<(i64, u8)>,
    /// Where a run ends and the next begins.
    cuts: Vec<usize>,
}

fn setup() -> impl Strategy<Value = Setup> {
    let grid = (1_i64..=3, 1_i64..=3, 0_i64..3).prop_map(|(slide, panes, offset)| {
        let grid = pipectl_framework::time::WindowGrid::new(slide * panes * 4, slide * 4, offset);
        Shape::Grid(grid.unwrap())
    });
    let shape = prop_oneof![3 => grid, 1 => (2_i64..12).prop_map(|gap| Shape::Session { gap })];
    let step = prop_oneof![5 => -3_i64..6, 1 => -20_i64..60];
    let rows = prop::collection::vec((step, 0_u8..3), 1..30);
    (shape, rows, 0_i64..10, 0_i64..20, any::<bool>(), prop::collection::vec(0_usize..30, 0..4)).prop_map(
        |(shape, steps, out_of_orderness, lateness, zero_fill, mut cuts)| {
            let mut t = 1000;
            let rows: Vec<(i64, u8)> = steps
                .into_iter()
                .map(|(step, key)| {
                    t += step;
                    (t, key)
                })
                .collect();
            cuts.retain(|cut| *cut < rows.len());
            cuts.sort_unstable();
            let grid = matches!(shape, Shape::Grid(_));
            let settings = WindowSettings {
                shape,
                out_of_orderness,
                // A session that was given and grows is another window: which of them were given is not
                // compared.
                lateness: if grid { lateness } else { 0 },
                keep_seen: zero_fill && grid,
                ..WindowSettings::tumbling(1).unwrap()
            };
            Setup { settings, rows, cuts }
        },
    )
}

/// The cells of a result: (window, key), and the count.
fn cells(text: &str) -> Vec<((String, String), String)> {
    let mut window = "";
    let mut cells = Vec::new();
    for part in text.split(' ') {
        match part.split_once('=') {
            None => window = part,
            Some((key, count)) => cells.push(((window.to_owned(), key.to_owned()), count.to_owned())),
        }
    }
    cells
}

fn keep(given: Vec<String>, last: &mut Last, all: &mut Vec<String>) {
    for text in given {
        last.extend(cells(&text));
        all.push(text);
    }
}

fn texts(rows: &[(i64, u8)]) -> Vec<(i64, &'static str)> {
    rows.iter().map(|(t, key)| (*t, ["a", "b", "c"][*key as usize])).collect()
}

/// Pushes rows one by one, with time for windows to close between.
fn push(bench: &mut Bench, rows: &[(i64, u8)]) {
    for row in texts(rows) {
        bench.push(&[row]);
    }
}

/// One run over all rows: the last results, and how many rows were late.
fn whole(setup: &Setup) -> (Last, usize) {
    let mut bench = Bench::new(setup.settings.clone());
    let (mut last, mut all) = (Last::new(), Vec::new());
    push(&mut bench, &setup.rows);
    keep(bench.finish(), &mut last, &mut all);
    (last, bench.late)
}

/// Runs over the parts. Gives also what each run gave.
fn parts(setup: &Setup) -> (Last, usize, Vec<Vec<String>>) {
    let mut bench = Bench::new(setup.settings.clone());
    let mut last = Last::new();
    let (mut runs, mut from, mut late) = (Vec::new(), 0, 0);
    for to in setup.cuts.iter().copied().chain([setup.rows.len()]) {
        let mut all = Vec::new();
        push(&mut bench, &setup.rows[from..to]);
        keep(bench.finish(), &mut last, &mut all);
        runs.push(all);
        late += std::mem::take(&mut bench.late);
        from = to;
        bench.save_keys();
        let low = bench.low();
        bench.restart(setup.settings.clone(), &texts(&setup.rows[low..to]));
    }
    (last, late, runs)
}

proptest! {
    #[test]
    fn runs_over_parts_end_in_what_one_run_over_all_of_it_gives(setup in setup()) {
        let session = matches!(setup.settings.shape, Shape::Session { .. });
        let (expected, late) = whole(&setup);
        let (last, late_in_parts, runs) = parts(&setup);
        prop_assert_eq!(late_in_parts, late);
        if session {
            // A session that was given at an end may have grown since; its last form is there all the same.
            for (cell, count) in &expected {
                prop_assert_eq!(last.get(cell), Some(count), "{:?}", cell);
            }
        } else {
            // A window that got no row is not given again for the zero of a key that came later.
            let zero = |(cell, count): &(_, &String)| *count == "0" && !last.contains_key(*cell);
            let wanted: Last = expected
                .iter()
                .filter(|cell| !zero(cell))
                .map(|(cell, count)| (cell.clone(), count.clone()))
                .collect();
            prop_assert_eq!(&last, &wanted);
        }
        // What is given again has more rows than before.
        let mut before = Last::new();
        for text in runs.iter().flatten() {
            let cells = cells(text);
            let again = cells.iter().all(|(cell, count)| before.get(cell) == Some(count));
            prop_assert!(!again, "{} again as it was", text);
            before.extend(cells);
        }
    }
}

#[test]
fn a_run_without_new_rows_gives_nothing_and_a_late_result_is_whole() {
    let settings = WindowSettings { lateness: 20, ..WindowSettings::tumbling(10).unwrap() };
    let mut bench = Bench::new(settings.clone());
    bench.push(&[(1, "a"), (2, "a")]);
    assert_eq!(bench.finish(), ["0..10 a=2"]);
    bench.restart(settings.clone(), &[(1, "a"), (2, "a")]);
    assert!(bench.finish().is_empty());
    bench.restart(settings.clone(), &[(1, "a"), (2, "a")]);
    bench.push(&[(3, "a")]);
    bench.push(&[(25, "b")]);
    assert_eq!(bench.given(), ["0..10 a=3"]);
    bench.restart(settings, &[(1, "a"), (2, "a"), (3, "a"), (25, "b")]);
    bench.push(&[(9, "a")]);
    assert_eq!(bench.given(), ["0..10 a=4"], "within its lateness");
    assert_eq!(bench.finish(), ["20..30 b=1"]);
}

/// What the changelog has of a window says whether it was given.
#[test]
fn a_saved_window_that_was_given_is_not_given_again() {
    for shape in [WindowSettings::tumbling(10).unwrap().shape, Shape::Session { gap: 10 }] {
        let settings = WindowSettings { shape, ..WindowSettings::tumbling(10).unwrap() };
        let mut bench = Bench::new(settings.clone());
        bench.push(&[(1, "a"), (2, "a")]);
        let first = bench.finish();
        assert_eq!(first.len(), 1);
        bench.restart_from_changelog(settings.clone());
        assert!(bench.finish().is_empty(), "it has no new row");
        bench.restart_from_changelog(settings.clone());
        bench.push(&[(3, "b")]);
        assert_eq!(bench.finish().len(), 1);
        bench.restart_from_changelog(settings);
        bench.push(&[(50, "c")]);
        assert!(bench.given().is_empty());
    }
}

/// A session that closed is kept for rows that hang together with it; a restart reads its rows again.
#[test]
fn a_session_that_closed_before_a_restart_is_not_given_at_the_end() {
    let settings =
        WindowSettings { shape: Shape::Session { gap: 10 }, ..WindowSettings::tumbling(10).unwrap() };
    let mut bench = Bench::new(settings.clone());
    bench.push(&[(1, "a")]);
    bench.push(&[(15, "b")]);
    assert_eq!(bench.given(), ["1..11 a=1"]);
    bench.restart(settings, &[(1, "a"), (15, "b")]);
    assert_eq!(bench.finish(), ["15..25 b=1"]);
}

/// What is saved is not saved again when the end of the data gives it.
#[test]
fn a_window_that_was_given_since_it_was_saved_is_not_given_again() {
    for shape in [WindowSettings::tumbling(10).unwrap().shape, Shape::Session { gap: 10 }] {
        let settings =
            WindowSettings { shape, out_of_orderness: 100, ..WindowSettings::tumbling(10).unwrap() };
        let mut bench = Bench::new(settings.clone());
        bench.push(&[(1, "a"), (15, "b")]);
        bench.restart_from_changelog(settings.clone());
        assert_eq!(bench.finish().len(), 2);
        bench.restart_from_what_was_saved(settings.clone());
        assert!(bench.finish().is_empty(), "it has no new row");
        bench.restart_from_what_was_saved(settings.clone());
        bench.push(&[(16, "b")]);
        bench.restart_from_changelog(settings);
        let given = bench.finish();
        assert!(given.len() == 1 && given[0].ends_with("b=2"), "{given:?}");
    }
}
