//! Connections that are one log: a cluster or a directory under two names.
//!
//! A chain writes with one transactional id, so two writers of it on one cluster would fence each other; and
//! a directory is open once. Where the settings are the same, the names stand for one log. Where they are
//! not, a directory is refused, and a cluster where a chain uses it under both names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::plan::NodeBody;
use super::steps::Draft;
use crate::config::{ConnectionDecl, Diagnostic};
use crate::log::Log;
use crate::plugin::SourceBody;

/// The logs of a file.
#[derive(Default)]
pub(super) struct Connections {
    /// Each with its name, the first one where it has several.
    pub(super) logs: Vec<(String, Arc<dyn Log>)>,
    /// Further names of logs.
    others: BTreeMap<String, String>,
    /// Names of one cluster with other settings: an earlier and a later one.
    alike: Vec<(String, String)>,
}

impl Connections {
    /// Adds the log of a declaration.
    pub(super) fn add(&mut self, decl: &ConnectionDecl, log: Arc<dyn Log>, problems: &mut Vec<Diagnostic>) {
        let name = &decl.name.text;
        let identity = log.identity();
        for (first, earlier) in &self.logs {
            let (Some(one), Some(other)) = (&identity, earlier.identity()) else { continue };
            if one.addresses.is_disjoint(&other.addresses) {
                continue;
            }
            if one.settings == other.settings {
                self.others.insert(name.clone(), first.clone());
                return;
            }
            if log.describe().shared {
                self.alike.push((first.clone(), name.clone()));
                continue;
            }
            let message = format!("the connections `{first}` and `{name}` are one directory");
            problems.push(
                Diagnostic::error(decl.name.place.clone(), message)
                    .label(format!("its settings are not those of `{first}`, and a directory is open once"))
                    .help(format!("name `{first}` in its place, or give both the same settings")),
            );
        }
        self.logs.push((name.clone(), log));
    }

    /// The name under which a connection's log is known.
    pub(super) fn name(&self, written: &mut String) {
        if let Some(first) = self.others.get(written) {
            written.clone_from(first);
        }
    }

    /// Chains that use one cluster under two names.
    pub(super) fn clashes(&self, drafts: &[Draft], declared: &[ConnectionDecl]) -> Vec<Diagnostic> {
        let mut problems = Vec::new();
        for draft in drafts {
            let used = self.used(draft);
            for (first, second) in &self.alike {
                let decl = declared.iter().find(|decl| decl.name.text == *second);
                let (true, Some(decl)) = (used.contains(&**first) && used.contains(&**second), decl) else {
                    continue;
                };
                let message = format!(
                    "the chain `{}` uses `{first}` and `{second}`, which are one cluster",
                    draft.name
                );
                problems.push(
                    Diagnostic::error(decl.name.place.clone(), message)
                        .label(format!("it has a broker in common with `{first}`, and other settings"))
                        .help("use one of them in a chain: its two writers would fence each other for ever"),
                );
            }
        }
        problems
    }

    fn used<'a>(&'a self, draft: &'a Draft) -> BTreeSet<&'a str> {
        let source = match &draft.source.bound.body {
            SourceBody::Log(source) => Some(source.connection.as_str()),
            SourceBody::Custom(..) => None,
        };
        let written = draft.nodes.iter().filter_map(|node| match &node.node.body {
            NodeBody::Topic(connection, _) | NodeBody::Repartition(connection, ..) => {
                self.logs.get(*connection).map(|(name, _)| name.as_str())
            }
            _ => None,
        });
        written.chain(source).collect()
    }
}
