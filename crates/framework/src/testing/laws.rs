//! Laws that anybody's plugin can be put through.

use arrow_array::RecordBatch;

use crate::plugin::{Aggregate, AggregateState, Groups, Rows};

/// Checks the laws of [`AggregateState`] on one batch whose row `i` belongs to group `ids[i]`, below `count`: adding a batch
/// equals adding its rows one by one; merging is associative, and an empty state changes nothing; `remove` undoes `merge` where
/// it can; merging to other groups moves every value there.
///
/// # Errors
/// The law that does not hold.
pub fn aggregate(
    aggregate: &dyn Aggregate,
    batch: &RecordBatch,
    ids: &[u32],
    count: usize,
) -> Result<(), String> {
    let groups: Vec<u32> = (0..count as u32).collect();
    let give = |state: &dyn AggregateState| {
        let results = state.finish(&groups).map_err(|e| e.to_string())?;
        Ok::<_, String>((results.groups, results.columns))
    };
    let of = |rows: &[u32]| {
        let mut state = aggregate.state();
        let ids: Vec<u32> = rows.iter().map(|r| ids[*r as usize]).collect();
        state.add(batch, Groups { ids: &ids, rows: Rows::Listed(rows), count });
        state
    };
    let all: Vec<u32> = (0..batch.num_rows() as u32).collect();
    let mut whole = aggregate.state();
    whole.add(batch, Groups { ids, rows: Rows::From(0), count });
    let mut single = aggregate.state();
    for row in &all {
        let (row, ids) = (*row as usize, &ids[*row as usize..=*row as usize]);
        single.add(batch, Groups { ids, rows: Rows::From(row), count });
    }
    let expected = give(whole.as_ref())?;
    let same = |law: &str, state: &dyn AggregateState| {
        let given = give(state)?;
        if given == expected { Ok(()) } else { Err(format!("{law}: expected {expected:?}, got {given:?}")) }
    };
    same("a batch equals its rows one by one", single.as_ref())?;
    let (a, rest) = all.split_at(all.len() / 3);
    let (b, c) = rest.split_at(rest.len() / 2);
    let merged = |left: &dyn AggregateState, right: &dyn AggregateState| {
        let mut state = aggregate.state();
        state.merge(left, &groups);
        state.merge(right, &groups);
        state
    };
    let (a, b, c) = (of(a), of(b), of(c));
    same("(a + b) + c", merged(merged(a.as_ref(), b.as_ref()).as_ref(), c.as_ref()).as_ref())?;
    same("a + (b + c)", merged(a.as_ref(), merged(b.as_ref(), c.as_ref()).as_ref()).as_ref())?;
    same("an empty state changes nothing", merged(whole.as_ref(), aggregate.state().as_ref()).as_ref())?;
    let mut shifted = aggregate.state();
    let into: Vec<u32> = groups.iter().map(|g| g + 1).collect();
    shifted.merge(whole.as_ref(), &into);
    let results = shifted.finish(&into).map_err(|e| e.to_string())?;
    if results.columns != expected.1 || !shifted.is_empty(0) {
        return Err("merging to other groups moves every value there".into());
    }
    let mut more = merged(whole.as_ref(), a.as_ref());
    if more.remove(a.as_ref(), &groups) {
        same("remove undoes merge", more.as_ref())?;
    }
    let mut cleared = merged(whole.as_ref(), a.as_ref());
    cleared.clear();
    match groups.iter().find(|g| !cleared.is_empty(**g)) {
        Some(group) => Err(format!("group {group} is not empty after clear")),
        None => Ok(()),
    }
}
