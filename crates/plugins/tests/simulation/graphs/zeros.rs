//! What `zero_fill` must have given: windows without a row of a key.

use std::collections::{BTreeMap, BTreeSet};

use super::file::Shape;
use super::windows::{Pane, Window};

/// What is wrong with the zeros of a window step. `given` are all windows that were given; `late` the rows
/// that were late, as indices of the input. With `whole` every zero must be there that the rows decide.
pub(super) fn check(
    window: &Window,
    zeros: &BTreeSet<Pane>,
    given: &BTreeSet<&Pane>,
    late: &BTreeSet<usize>,
    whole: bool,
) -> Vec<(Pane, &'static str)> {
    let Shape::Grid { size, slide } = window.spec.shape else { return Vec::new() };
    let firsts = firsts(window, late);
    let mut wrong = Vec::new();
    // A window that is given again within the lateness has the keys that are known by then.
    let known = |end: i64| end.max(end + window.spec.lateness - 1);
    for pane in zeros {
        let (start, end, key) = pane;
        if end - start != size || start.rem_euclid(slide) != 0 {
            wrong.push((pane.clone(), "is zero, and no window"));
        } else if firsts.get(key).is_none_or(|first| known(*end) < *first) {
            wrong.push((pane.clone(), "is zero before its key has come"));
        }
    }
    // Elsewhere a key that was seen may be forgotten in a restart, or it is not known how far time has come.
    let decided = window.decided() && window.input.by_topic && window.spec.repartition == 0;
    let greatest = window.input.rows.iter().map(|row| row.time.max(row.before)).max();
    let Some(greatest) = greatest.filter(|_| decided && whole) else { return wrong };
    for (key, first) in firsts {
        let closed = (first..=greatest - window.spec.out_of_orderness).step_by(slide as usize);
        let panes = closed.map(|end| (end - size, end, key.clone()));
        wrong.extend(
            panes.filter(|pane| !given.contains(pane)).map(|pane| (pane, "is missing, if only a zero")),
        );
    }
    wrong
}

/// For each key the end of the first window that has it.
fn firsts(window: &Window, late: &BTreeSet<usize>) -> BTreeMap<Vec<String>, i64> {
    let mut firsts: BTreeMap<Vec<String>, i64> = BTreeMap::new();
    let mut earliest: Option<i64> = None;
    for (index, row) in window.input.rows.iter().enumerate() {
        // Of the windows of a row some may be over.
        let counts = |end: i64| !(late.contains(&index) || window.decided() && window.over(end, row));
        let ends = window.ends(row).into_iter().map(|(_, end)| end).filter(|end| counts(*end));
        let Some(end) = ends.min() else { continue };
        earliest = Some(earliest.map_or(end, |before| before.min(end)));
        let first = firsts.entry(window.key(row)).or_insert(end);
        *first = end.min(*first);
    }
    for key in window.spec.zero_fill.iter().flatten() {
        if let Some(earliest) = earliest {
            firsts.insert(vec![key.clone()], earliest);
        }
    }
    firsts
}
