//! Where a chain begins: at a source, or at the outputs of other chains' steps.

use super::planning::{Given, Planner};
use crate::config::{ChainDecl, Diagnostic, Head, Kind, OnErrorDecl, Output, StepDecl, StepRef};
use crate::plugin::{Input, dead_schema};

impl<'a> Planner<'a> {
    /// Plans the chains, each after those that it begins `from:`.
    pub(super) fn in_order(&mut self, mut waiting: Vec<&'a ChainDecl>) {
        while !waiting.is_empty() {
            let (mut ready, mut rest): (Vec<&ChainDecl>, Vec<&ChainDecl>) =
                waiting.iter().partition(|chain| self.lacks(chain).next().is_none());
            if ready.is_empty() {
                // What leads nowhere is told first: a chain behind such a one is not in a circle.
                (ready, rest) = waiting.iter().partition(|chain| self.unresolved(chain));
            }
            if ready.is_empty() {
                (ready, rest) = waiting.iter().partition(|chain| is_behind_itself(chain, &waiting));
                for chain in ready.drain(..) {
                    self.circle(chain);
                    self.chain(chain, vec![Given::unknown(format!("the circle of `{}`", chain.name.text))]);
                }
            }
            for chain in ready {
                let begin = self.begin(chain);
                self.chain(chain, begin);
            }
            if rest.len() == waiting.len() {
                break;
            }
            waiting = rest;
        }
    }

    /// The references of a chain's `from:` to steps that have not been planned.
    fn lacks<'c>(&self, chain: &'c ChainDecl) -> impl Iterator<Item = &'c StepRef> {
        references(chain).iter().filter(|r| !self.given.contains_key(&(r.chain.clone(), r.step.clone())))
    }

    /// Says which of a chain's references lead nowhere; true where one does.
    fn unresolved(&mut self, chain: &ChainDecl) -> bool {
        let mut leads_nowhere = false;
        let lacks: Vec<&StepRef> = self.lacks(chain).collect();
        for reference in lacks {
            let target = self.document.chains.iter().find(|c| c.name.text == reference.chain);
            let place = reference.place.clone();
            let problem = match target {
                None => {
                    let names: Vec<&str> =
                        self.document.chains.iter().map(|c| c.name.text.as_str()).collect();
                    Diagnostic::error(place, format!("there is no chain `{}`", reference.chain))
                        .label(format!("the file has: {}", names.join(", ")))
                        .suggest(&reference.chain, names.iter().copied())
                }
                Some(target) if target.steps.iter().any(|step| step.id == reference.step) => continue,
                Some(target) => {
                    leads_nowhere = true;
                    // A step that cannot be understood may be the one.
                    if target
                        .steps
                        .iter()
                        .any(|step| matches!(step.head, Head::Unknown(_)) && step.id.is_empty())
                    {
                        continue;
                    }
                    let ids: Vec<&str> = target.steps.iter().map(|s| s.id.as_str()).collect();
                    Diagnostic::error(
                        place,
                        format!("the chain `{}` has no step `{}`", reference.chain, reference.step),
                    )
                    .label(format!("it has: {}", ids.join(", ")))
                    .suggest(&reference.step, ids.iter().copied())
                }
            };
            leads_nowhere = true;
            self.problems.push(problem);
        }
        leads_nowhere
    }

    /// Says that a chain stands behind itself.
    fn circle(&mut self, chain: &ChainDecl) {
        let problems: Vec<Diagnostic> = self
            .lacks(chain)
            .map(|reference| {
                Diagnostic::error(
                    reference.place.clone(),
                    "these chains begin `from:` each other, in a circle",
                )
                .help("begin one of them with a source")
            })
            .collect();
        self.problems.extend(problems);
    }

    /// The first step: a source, or the outputs of other steps.
    pub(super) fn begin(&mut self, decl: &ChainDecl) -> Vec<Given> {
        let first = &decl.steps[0];
        match &first.head {
            Head::From(references) => {
                self.join(references).unwrap_or_else(|| vec![Given::unknown(format!("`{}`", references[0]))])
            }
            head if head.kind() == Some(Kind::Source) => vec![self.source(decl, first)],
            // A chain without a source has been refused.
            Head::Plugin(..) | Head::Unknown(_) => {
                self.ends_known = false;
                self.step(decl, first, &[Given::unknown(format!("what `{}` begins with", decl.name.text))])
            }
        }
    }

    /// The outputs that a chain begins `from:`: of one tree, and of one schema. `None` where one of them
    /// leads nowhere, or gives nothing.
    fn join(&mut self, references: &[StepRef]) -> Option<Vec<Given>> {
        let outputs: Vec<Option<Given>> = references.iter().map(|reference| self.output(reference)).collect();
        let mut joined: Vec<Given> = Vec::new();
        let mut fits = true;
        for (reference, given) in references.iter().zip(outputs) {
            let Some(given) = given else {
                fits = false;
                continue;
            };
            if let Some(first) = joined.first() {
                let problem = if first.is_of_another_source(&given) {
                    Some("these steps do not stand behind the same source")
                } else if first.gives_other_fields(&given) {
                    Some("these steps do not give the same fields")
                } else {
                    None
                };
                if let Some(problem) = problem {
                    self.problems.push(
                        Diagnostic::error(reference.place.clone(), problem)
                            .help("write both to one topic, and read that"),
                    );
                    fits = false;
                    continue;
                }
            }
            let same = references.iter().take_while(|other| other.place != reference.place).find(|other| {
                (&other.chain, &other.step, other.output)
                    == (&reference.chain, &reference.step, reference.output)
            });
            if let Some(first) = same {
                self.problems.push(
                    Diagnostic::error(reference.place.clone(), "this output stands in the list twice")
                        .label("each of its rows would come twice")
                        .also(first.place.clone(), "the first")
                        .help("take one of them away"),
                );
                fits = false;
            }
            joined.push(given);
        }
        fits.then_some(joined)
    }

    /// What an output of a step gives; `None` where it leads nowhere, which has been reported, or gives
    /// nothing.
    fn output(&mut self, reference: &StepRef) -> Option<Given> {
        let (given, before) = self.given.get(&(reference.chain.clone(), reference.step.clone())).cloned()?;
        let step = self.declared(reference)?;
        match reference.output {
            Output::Main if matches!(step.head, Head::Plugin(Kind::Sink, _)) => {
                self.problems.push(self.gives_no_rows(reference));
                None
            }
            Output::Main => Some(given),
            Output::Late => match (&step.head, before) {
                (Head::Plugin(Kind::Window, _), Some(before)) => {
                    let given_by = format!("the late output of {}", before.input.given_by);
                    Some(Given {
                        output: Output::Late,
                        input: Input { given_by, ..before.input },
                        origins: before.origins,
                        ..given
                    })
                }
                (Head::Unknown(_), _) => None,
                _ => {
                    self.problems.push(
                        Diagnostic::error(reference.place.clone(), "only a window has a `late` output").help(
                            format!("write `{}.{}` for the rows that go on", reference.chain, reference.step),
                        ),
                    );
                    None
                }
            },
            Output::Dead => {
                if !matches!(step.on_error, Some((OnErrorDecl::DeadLetter, _))) {
                    self.warnings.push(
                        Diagnostic::warning(reference.place.clone(), "this output never gives a record")
                            .label(format!("{}.{} does not send any there", reference.chain, reference.step))
                            .help(format!("add `on_error: dead_letter` to the step `{}`", reference.step)),
                    );
                }
                let input = Input { schema: dead_schema(), given_by: "a dead letter".into() };
                Some(Given { output: Output::Dead, input, origins: Vec::new(), ..given })
            }
        }
    }

    /// A chain that begins `from:` a sink.
    fn gives_no_rows(&self, reference: &StepRef) -> Diagnostic {
        let StepRef { chain, step, place, .. } = reference;
        let steps = self.document.chains.iter().find(|c| c.name.text == *chain).map(|c| &c.steps);
        let before = steps.into_iter().flatten().take_while(|s| s.id != *step);
        let before = before.filter(|s| !matches!(s.head, Head::Plugin(Kind::Sink, _))).last();
        let help = match before {
            Some(StepDecl { head: Head::From(references), .. }) => {
                format!(
                    "begin where `{chain}` begins, `from: {}`",
                    references.iter().map(StepRef::to_string).collect::<Vec<_>>().join(", ")
                )
            }
            Some(before) => format!("`from: {chain}.{}` gives the rows that come in to it", before.id),
            None => "begin with the step before it".to_owned(),
        };
        Diagnostic::error(place.clone(), "a sink gives no rows")
            .label(format!("`{chain}.{step}` writes them"))
            .help(help)
            .help(format!("`from: {chain}.{step}.dead` gives those that it could not use"))
    }

    fn declared(&self, reference: &StepRef) -> Option<&'a StepDecl> {
        let chain = self.document.chains.iter().find(|c| c.name.text == reference.chain)?;
        chain.steps.iter().find(|s| s.id == reference.step)
    }
}

/// The references of a chain's `from:`.
fn references(chain: &ChainDecl) -> &[StepRef] {
    match chain.steps.first().map(|step| &step.head) {
        Some(Head::From(references)) => references,
        _ => &[],
    }
}

/// True where a chain begins `from:` its own steps, over any number of chains.
fn is_behind_itself(chain: &ChainDecl, chains: &[&ChainDecl]) -> bool {
    let before = |chain: &ChainDecl| -> Vec<usize> {
        let names = references(chain).iter().map(|r| &r.chain);
        names.filter_map(|name| chains.iter().position(|c| c.name.text == *name)).collect()
    };
    let mut seen = vec![false; chains.len()];
    let mut stack = before(chain);
    while let Some(next) = stack.pop() {
        if !std::mem::replace(&mut seen[next], true) {
            stack.extend(before(chains[next]));
        }
    }
    chains.iter().zip(seen).any(|(other, seen)| seen && other.name.text == chain.name.text)
}
