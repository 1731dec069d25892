//! Laws that anybody's plugin can be put through.

use arrow_array::{ArrayRef, RecordBatch};

use crate::plugin::{Aggregate, AggregateState, Groups, Rows};

type Finished = Result<(Option<Vec<u32>>, Vec<ArrayRef>), String>;

/// Some rows under the law: the state of them, and how many each group has.
struct Sum {
    state: Box<dyn AggregateState>,
    rows: Vec<i64>,
}

impl Sum {
    fn merge(&mut self, other: &Self, groups: &[u32]) {
        self.state.merge(other.state.as_ref(), groups);
        self.rows.iter_mut().zip(&other.rows).for_each(|(own, rows)| *own += rows);
    }

    fn finish(&self, groups: &[u32]) -> Finished {
        let results = self.state.finish(groups, &self.rows).map_err(|e| e.to_string())?;
        Ok((results.rows, results.columns))
    }
}

/// Checks the laws of [`AggregateState`] on one batch whose row `i` belongs to group `ids[i]`, below `count`:
/// adding a batch equals adding its rows one by one; merging is associative, and an empty state changes
/// nothing; `remove` undoes `merge` where the aggregate says so; merging to other groups, and group by group,
/// moves every value there; what was saved and loaded is as before; a group that was reset is as one that was
/// never added to.
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
    let empty = || Sum { state: aggregate.state(), rows: vec![0; count] };
    let counted = |sum: &mut Sum, ids: &[u32]| ids.iter().for_each(|id| sum.rows[*id as usize] += 1);
    let of = |rows: &[u32]| {
        let mut sum = empty();
        let ids: Vec<u32> = rows.iter().map(|r| ids[*r as usize]).collect();
        sum.state.add(batch, Groups { ids: &ids, rows: Rows::Listed(rows), count });
        counted(&mut sum, &ids);
        sum
    };
    let all: Vec<u32> = (0..batch.num_rows() as u32).collect();
    let mut whole = empty();
    whole.state.add(batch, Groups { ids, rows: Rows::From(0), count });
    counted(&mut whole, ids);
    let mut single = empty();
    for row in &all {
        let (row, ids) = (*row as usize, &ids[*row as usize..=*row as usize]);
        single.state.add(batch, Groups { ids, rows: Rows::From(row), count });
        counted(&mut single, ids);
    }
    let expected = whole.finish(&groups)?;
    let same = |law: &str, sum: &Sum| {
        let given = sum.finish(&groups)?;
        if given == expected { Ok(()) } else { Err(format!("{law}: expected {expected:?}, got {given:?}")) }
    };
    same("a batch equals its rows one by one", &single)?;
    let (a, rest) = all.split_at(all.len() / 3);
    let (b, c) = rest.split_at(rest.len() / 2);
    let merged = |left: &Sum, right: &Sum| {
        let mut sum = empty();
        sum.merge(left, &groups);
        sum.merge(right, &groups);
        sum
    };
    let (a, b, c) = (of(a), of(b), of(c));
    same("(a + b) + c", &merged(&merged(&a, &b), &c))?;
    same("a + (b + c)", &merged(&a, &merged(&b, &c)))?;
    same("an empty state changes nothing", &merged(&whole, &empty()))?;
    let into: Vec<u32> = groups.iter().map(|g| g + 1).collect();
    let mut shifted = aggregate.state();
    shifted.merge(whole.state.as_ref(), &into);
    let finish_shifted = |state: &dyn AggregateState| {
        let results = state.finish(&into, &whole.rows).map_err(|e| e.to_string())?;
        Ok::<_, String>((results.rows, results.columns))
    };
    if finish_shifted(shifted.as_ref())? != expected {
        return Err("merging to other groups moves every value there".into());
    }
    let mut one_by_one = aggregate.state();
    for (group, into) in groups.iter().zip(&into) {
        one_by_one.merge_group(whole.state.as_ref(), *group, *into);
    }
    if finish_shifted(one_by_one.as_ref())? != expected {
        return Err("merging group by group is merging".into());
    }
    let mut loaded = aggregate.state();
    for group in &groups {
        let mut bytes = Vec::new();
        whole.state.save(*group, &mut bytes);
        loaded.load(*group, &bytes).map_err(|e| format!("what was saved can be loaded: {e}"))?;
    }
    let mut loaded = Sum { state: loaded, rows: whole.rows.clone() };
    same("what was saved and loaded is as before", &loaded)?;
    loaded.merge(&a, &groups);
    if loaded.finish(&groups)? != merged(&whole, &a).finish(&groups)? {
        return Err("what was loaded goes on as before".into());
    }
    if aggregate.removes() {
        let mut more = merged(&whole, &a);
        more.state.remove(a.state.as_ref(), &groups);
        more.rows.clone_from(&whole.rows);
        same("remove undoes merge", &more)?;
    }
    let mut reset = whole;
    groups.iter().for_each(|group| reset.state.reset(*group));
    reset.rows.fill(0);
    let none = empty().finish(&groups)?;
    match reset.finish(&groups)? {
        given if given == none => Ok(()),
        given => Err(format!("a group that was reset is neutral: expected {none:?}, got {given:?}")),
    }
}
