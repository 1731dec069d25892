//! `--only`: which chains run, and what is known of those that do not.

use std::collections::{BTreeMap, BTreeSet};

use super::connections::Connections;
use super::planning::{PlanOptions, Planner};
use super::steps::Draft;
use crate::config::{ChainDecl, Diagnostic, Document, Head, Kind, Place, SourceFile};
use crate::plugin::Purpose;

/// The chains that run where `only` are asked for: those, and all that stand behind the same sources. A
/// source's position is committed for all of them together, so a chain that was left out would never get the
/// rows that it missed.
pub(super) fn wanted<'a>(
    document: &'a Document,
    only: &[String],
    problems: &mut Vec<Diagnostic>,
) -> Vec<&'a ChainDecl> {
    let chains = &document.chains;
    if only.is_empty() {
        return chains.iter().collect();
    }
    for name in only.iter().filter(|n| !chains.iter().any(|c| c.name.text == **n)) {
        let names: Vec<&str> = chains.iter().map(|c| c.name.text.as_str()).collect();
        let file = SourceFile::new("--only", name.as_str());
        let place = Place { end: name.len(), start: 0, file };
        problems.push(
            Diagnostic::error(place, format!("there is no chain `{name}`"))
                .label(format!("the file has: {}", names.join(", ")))
                .suggest(name, names.iter().copied()),
        );
    }
    let mut wanted: BTreeSet<&str> = only.iter().map(String::as_str).collect();
    loop {
        let before = wanted.len();
        for chain in chains {
            let name = chain.name.text.as_str();
            let behind = || begins_from(chain);
            if wanted.contains(name) {
                wanted.extend(behind());
            } else if behind().any(|from| wanted.contains(from)) {
                wanted.insert(name);
            }
        }
        if wanted.len() == before {
            return chains.iter().filter(|c| wanted.contains(c.name.text.as_str())).collect();
        }
    }
}

/// The chains whose steps it begins `from:`.
fn begins_from(chain: &ChainDecl) -> impl Iterator<Item = &str> {
    let references = match &chain.steps[0].head {
        Head::From(references) => references.as_slice(),
        Head::Plugin(..) | Head::Unknown(_) => &[],
    };
    references.iter().map(|reference| reference.chain.as_str())
}

/// The chains of a file that do not run: what they write is written all the same, elsewhere or at another
/// time.
#[derive(Default)]
pub(super) struct Others {
    /// As far as they can be planned here: a file that one of them reads may be on another machine only.
    pub(super) drafts: Vec<Draft>,
    /// The topics that those name which cannot, on whatever connection, each with the chain.
    pub(super) named: Vec<(String, String)>,
}

impl Others {
    /// The chains of `document` that are not among `wanted`.
    pub(super) fn of(
        document: &Document,
        options: PlanOptions<'_>,
        connections: &Connections,
        wanted: &[Draft],
    ) -> Self {
        if options.only.is_empty() {
            return Self::default();
        }
        let needed = BTreeMap::new();
        let mut planner = Planner::new(
            document,
            PlanOptions { only: &[], purpose: Purpose::Check, ..options },
            connections,
            &needed,
        );
        planner.chains();
        let mut named = Vec::new();
        if !planner.problems.is_empty() {
            for chain in &document.chains {
                let sinks =
                    chain.steps.iter().filter(|step| matches!(step.head, Head::Plugin(Kind::Sink, _)));
                let topics = sinks.filter_map(|step| step.with.get("topic")?.text());
                named.extend(topics.map(|topic| (topic.to_owned(), chain.name.text.clone())));
            }
        }
        let mut drafts = planner.drafts;
        drafts.retain(|draft| wanted.iter().all(|other| other.name != draft.name));
        Self { drafts, named }
    }
}
