//! `was:`, the name under which what is renamed has its state: positions, notes and changelogs stay where
//! they are, and go by it for as long as it stands in the file.

use std::collections::BTreeMap;

use super::diagnostic::Diagnostic;
use super::document::{ChainDecl, Head, Kind, StepDecl, Written};
use super::place::Place;
use super::shape::Shape;
use super::yaml::Node;

impl ChainDecl {
    /// The name under which the chain's positions are kept.
    pub fn kept_as(&self) -> &str {
        self.was().map_or(&self.name.text, |was| &was.text)
    }

    /// The name, as `CHAIN.STEP`, under which the state of one of its steps is kept.
    pub fn step_kept_as(&self, step: &StepDecl) -> String {
        match step.was.as_ref().filter(|_| is_window(step)) {
            Some(was) if was.text.contains('.') => was.text.clone(),
            Some(was) => format!("{}.{}", self.kept_as(), was.text),
            None => format!("{}.{}", self.kept_as(), step.id),
        }
    }

    fn was(&self) -> Option<&Written> {
        self.steps.first().and_then(|first| first.was.as_ref())
    }
}

/// What has a state.
#[derive(Clone)]
struct Kept {
    /// Its name.
    name: String,
    /// Where it stands in the file.
    place: Place,
    was: Option<Written>,
}

fn is_window(step: &StepDecl) -> bool {
    matches!(step.head, Head::Plugin(Kind::Window, _))
}

impl Shape<'_> {
    /// A step's `was`.
    pub(super) fn was(&mut self, item: &Node, kind: Option<Kind>) -> Option<Written> {
        let keeps = matches!(kind, None | Some(Kind::Source | Kind::Window));
        let node = self.only(item, "was", keeps, |place| {
            Diagnostic::error(place, "nothing is kept under the name of this step")
                .help("a chain has its positions by its name, a window its state: `was` stands beside `source:`, `from:` or `window:`")
        })?;
        let Some(text) = node.text().filter(|_| kind == Some(Kind::Window)) else { return self.name(&node) };
        match text.split('.').collect::<Vec<_>>()[..] {
            [step] => self.check_name(step, &node.place),
            [chain, step] => {
                self.check_name(chain, &node.place);
                self.check_name(step, &node.place);
            }
            _ => self.problems.push(
                Diagnostic::error(node.place.clone(), format!("`{text}` names no step"))
                    .help("write `STEP`, or `CHAIN.STEP` where the chain had another name"),
            ),
        }
        Some(Written { text: text.to_owned(), place: node.place.clone() })
    }

    /// Reports names under which two chains, or two windows, would have their state, and those that say
    /// nothing.
    pub(super) fn earlier_names(&mut self, chains: &[ChainDecl]) {
        let before = self.problems.len();
        let mut kept = BTreeMap::new();
        for chain in chains {
            let Written { text: name, place } = chain.name.clone();
            let own = Kept { name, place, was: chain.was().cloned() };
            self.says_something(chain, &own);
            if let Some(other) = kept.insert(chain.kept_as(), own.clone()) {
                self.share_a_state("chains", chain.kept_as(), &other, &own);
            }
        }
        if self.problems.len() > before {
            return;
        }
        let mut kept = BTreeMap::new();
        for chain in chains {
            for step in chain.steps.iter().filter(|step| is_window(step)) {
                let name = format!("{}.{}", chain.name.text, step.id);
                let own = Kept { name, place: step.head_place(), was: step.was.clone() };
                let state = chain.step_kept_as(step);
                if state == format!("{}.{}", chain.kept_as(), step.id) {
                    self.is_its_name(&own);
                }
                if let Some(other) = kept.insert(state.clone(), own.clone()) {
                    self.share_a_state("windows", &state, &other, &own);
                }
            }
        }
    }

    /// Reports a chain's `was` that changes nothing.
    fn says_something(&mut self, chain: &ChainDecl, own: &Kept) {
        let Some(was) = &own.was else { return };
        if was.text == own.name {
            self.is_its_name(own);
        } else if matches!(chain.steps[0].head, Head::From(_)) && !chain.steps.iter().any(is_window) {
            self.problems.push(
                Diagnostic::error(was.place.clone(), "nothing is kept under the name of this chain")
                    .label("it has its positions where it begins `from:`, and no window")
                    .help("take `was` away"),
            );
        }
    }

    fn is_its_name(&mut self, own: &Kept) {
        if let Some(was) = &own.was {
            let message = format!("`{}` is the name under which its state is kept anyway", was.text);
            self.problems.push(
                Diagnostic::error(was.place.clone(), message)
                    .help("`was` names another one, that it had before; take it away"),
            );
        }
    }

    fn share_a_state(&mut self, what: &str, state: &str, first: &Kept, second: &Kept) {
        let (one, other) = if second.was.is_some() { (second, first) } else { (first, second) };
        let place = |kept: &Kept| kept.was.as_ref().map_or(&kept.place, |was| &was.place).clone();
        let message = format!(
            "the {what} `{}` and `{}` would share the state that is kept as `{state}`",
            one.name, other.name
        );
        self.problems.push(
            Diagnostic::error(place(one), message)
                .also(place(other), "the other one")
                .help("`was` names what the file does not have any more, and one that goes on in its place"),
        );
    }
}
