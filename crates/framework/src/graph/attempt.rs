//! Binding a step so that all of its problems are found at once.
//!
//! A plugin stops at its first problem. Where that is a field that does not come in, it is bound again to
//! rows that have the field, until nothing more of that kind is wrong. Where nobody knows what comes in,
//! because a step before cannot be used, every field that the step names is taken to be there, and what
//! depends on fields is not reported: it would be nonsense half of the time.

use super::planning::Planner;
use crate::config::{Diagnostic, Node, Value};
use crate::plugin::{BindContext, Input, Reads};

/// So many problems of one step are enough to mend.
const MOST_PROBLEMS: usize = 20;

/// What came of it.
pub(super) struct Attempt<T> {
    /// What was bound, in spite of the problems.
    pub(super) bound: Option<T>,
    /// To what: the rows that come in, with the fields that the step names and that they do not have.
    pub(super) input: Input,
    /// True where it has no problem, as far as that can be told.
    pub(super) clean: bool,
}

impl Planner<'_> {
    /// Binds a step with these settings to `input`, and lists what is wrong.
    pub(super) fn attempt<T>(
        &mut self,
        input: &Input,
        with: &Node,
        build: impl Fn(&Input, &BindContext<'_>) -> Result<T, Vec<Diagnostic>>,
    ) -> Attempt<T> {
        let mut input = input.clone();
        if input.is_open() {
            let mut names = Vec::new();
            texts(with, &mut names);
            input = input.assuming(&names);
        }
        let (mut clean, mut assumed) = (true, false);
        for _ in 0..MOST_PROBLEMS {
            let mut missing = None;
            match build(&input, &self.context()) {
                Ok(bound) => return Attempt { bound: Some(bound), input, clean },
                Err(problems) => {
                    for problem in problems {
                        match problem.field.clone() {
                            Some(field) if input.is_open() || input.is_untyped(&field) => {}
                            // It may follow from the field that is not there.
                            None if assumed => {}
                            field => {
                                clean = false;
                                missing = missing.or(field);
                                self.problems.push(problem);
                            }
                        }
                    }
                }
            }
            let Some(missing) = missing else { break };
            assumed = true;
            input = input.assuming(&[missing.as_str()]);
        }
        Attempt { bound: None, input, clean: false }
    }
}

impl<T> Attempt<T> {
    /// What comes out of a step that looks at `reads` and gives rows like `output`.
    pub(super) fn output(&self, before: &Input, reads: &Reads, output: Input) -> Input {
        let passes = !matches!(reads, Reads::Only(_));
        if !self.clean {
            // A filter gives what comes in to it, whatever is wrong with it.
            return match output.schema == self.input.schema {
                true => Input { given_by: output.given_by, ..before.clone() },
                false => Input::unknown(output.given_by),
            };
        }
        if before.is_open() && passes { Input::unknown(output.given_by) } else { output }
    }
}

/// Every text in settings that may name a field: keys, values, and names in braces.
fn texts<'a>(node: &'a Node, names: &mut Vec<&'a str>) {
    match &node.value {
        Value::Text { text, .. } => {
            names.push(text);
            names.extend(
                text.split('{').skip(1).filter_map(|part| part.split_once('}')).map(|(name, _)| name),
            );
        }
        Value::List(items) => items.iter().for_each(|item| texts(item, names)),
        Value::Map(entries) => {
            for entry in entries {
                names.push(&entry.key);
                texts(&entry.node, names);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
