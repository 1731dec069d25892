//! Which columns a source has to give: those that some step behind it looks at.

use std::collections::{BTreeMap, BTreeSet};

use super::steps::Draft;
use crate::plugin::Reads;

/// By chain name; a chain whose steps may look at any column is not in it.
pub(super) fn needed_columns(drafts: &[Draft]) -> BTreeMap<String, Vec<String>> {
    drafts
        .iter()
        // A dead letter shows the whole row, and what is wrong in any of its columns.
        .filter(|draft| draft.source.outputs.dead.is_empty())
        .filter_map(|draft| {
            let mut columns = union(drafts, draft, &draft.source.outputs.main)?;
            columns.extend(draft.time_fields.iter().cloned());
            Some((draft.name.clone(), columns.into_iter().collect()))
        })
        .collect()
}

/// The columns that any of these nodes, or those behind them, looks at; `None` for all. A step whose rejected
/// rows somebody reads looks at all of its input: a dead letter is the row as it came in.
fn union(drafts: &[Draft], draft: &Draft, nodes: &[usize]) -> Option<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for node in nodes {
        all.extend(needed(drafts, draft, *node)?);
    }
    Some(all)
}

fn needed(drafts: &[Draft], draft: &Draft, index: usize) -> Option<BTreeSet<String>> {
    let entry = &draft.nodes[index];
    let outputs = &entry.node.outputs;
    if let Some(behind) = entry.leads_to.and_then(|chain| drafts.get(chain)) {
        return union(drafts, behind, &behind.source.outputs.main);
    }
    if !outputs.dead.is_empty() {
        return None;
    }
    let mut columns = match &entry.reads {
        Reads::All => return None,
        Reads::Only(columns) => columns.iter().cloned().collect(),
        Reads::AndPasses(columns) => {
            let mut columns: BTreeSet<String> = columns.iter().cloned().collect();
            columns.extend(union(drafts, draft, &outputs.main)?);
            columns
        }
    };
    // Late rows are rows of the input.
    columns.extend(union(drafts, draft, &outputs.late)?);
    Some(columns)
}
