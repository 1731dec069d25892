//! A plugin's `with:` through serde, with a place for every error.

use serde::de::DeserializeOwned;

use super::diagnostic::Diagnostic;
use super::place::Place;
use super::problem::Problem;
use super::yaml::{Node, Value};

/// So many problems of one `with:` are enough to mend.
const MOST_PROBLEMS: usize = 20;

impl Node {
    /// Reads the value as a `T`.
    ///
    /// # Errors
    /// A diagnostic at each key or value that does not fit.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, Vec<Diagnostic>> {
        let mut json = self.to_json();
        let mut problems = Vec::new();
        // serde stops at the first: it is taken out, to see what else there is.
        loop {
            let error = match serde_path_to_error::deserialize(json.clone()) {
                Ok(value) if problems.is_empty() => return Ok(value),
                Ok(_) => return Err(problems),
                Err(error) => error,
            };
            let path = error.path().to_string();
            let path = if path == "." { String::new() } else { path };
            let message = error.into_inner().to_string();
            // What was taken out is missing now.
            if problems.is_empty() || !message.starts_with("missing field") {
                problems.push(self.serde_error(&path, &message));
            }
            let unknown = quoted(&message, "unknown field ").map(|(name, _)| name);
            if problems.len() == MOST_PROBLEMS || !take_out(&mut json, &path, unknown.as_deref()) {
                return Err(problems);
            }
        }
    }

    /// The diagnostic of a plugin's problem: its path as a place.
    pub fn diagnose(&self, problem: &Problem) -> Diagnostic {
        let mut diagnostic = Diagnostic::error(self.locate(&problem.path), problem.message.clone())
            .label(problem.label.clone());
        diagnostic.help.clone_from(&problem.help);
        diagnostic.field = problem.field().map(str::to_owned);
        diagnostic
    }

    /// The place of the value at a path such as `fields[0].name`; of the nearest value around it where there is none. What is
    /// missing in a mapping over several lines is told at the key that the mapping stands behind.
    pub fn locate(&self, path: &str) -> Place {
        self.walk(path).whole()
    }

    /// Its place, or that of its key where it is a mapping over several lines.
    fn whole(&self) -> Place {
        let Place { file, start, end } = &self.place;
        let several = file.text.get(*start..*end).is_some_and(|written| written.contains('\n'));
        let key = || {
            let before = file.text.get(..*start)?.trim_end().strip_suffix(':')?;
            let begin = before
                .rfind(|c: char| c.is_whitespace() || matches!(c, '{' | ',' | '['))
                .map_or(0, |at| at + 1);
            (begin < before.len()).then(|| Place { file: file.clone(), start: begin, end: before.len() })
        };
        let is_map = matches!(self.value, Value::Map(_));
        (several && is_map).then(key).flatten().unwrap_or_else(|| self.place.clone())
    }

    fn walk(&self, path: &str) -> &Self {
        let mut node = self;
        for part in path.split(['.', '[']).map(|p| p.trim_end_matches(']')).filter(|p| !p.is_empty()) {
            let next = match &node.value {
                Value::Map(_) => node.get(part),
                Value::List(items) => part.parse::<usize>().ok().and_then(|i| items.get(i)),
                _ => None,
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node
    }

    /// The value as JSON.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(b) => (*b).into(),
            Value::Number(n) => n.clone().into(),
            Value::Text { text, .. } => text.as_str().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => {
                serde_json::Value::Object(entries.iter().map(|e| (e.key.clone(), e.node.to_json())).collect())
            }
        }
    }

    /// Turns serde's words into ours.
    fn serde_error(&self, path: &str, message: &str) -> Diagnostic {
        let node = self.walk(path);
        if let Some((name, expected)) = quoted(message, "unknown field ") {
            let around = node.around(self, path, &name);
            let place = around
                .entries()
                .iter()
                .find(|e| e.key == name)
                .map_or(node.place.clone(), |e| e.place.clone());
            let names = names(&expected);
            let diagnostic = Diagnostic::error(place, format!("unknown key `{name}`"));
            return match names.is_empty() {
                true => diagnostic.label("no key may stand here"),
                false => diagnostic.label(format!("the keys are: {}", names.join(", "))),
            }
            .suggest(&name, names.iter().map(String::as_str));
        }
        if let Some((name, expected)) = quoted(message, "unknown variant ") {
            let names = names(&expected);
            return Diagnostic::error(node.place.clone(), format!("`{name}` cannot stand here"))
                .label(format!("one of: {}", names.join(", ")))
                .suggest(&name, names.iter().map(String::as_str));
        }
        if let Some((name, _)) = quoted(message, "missing field ") {
            return Diagnostic::error(node.whole(), format!("the key `{name}` is missing"))
                .help(format!("add `{name}: ...`"));
        }
        let wanted =
            message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
        if let Some((_, expected)) = wanted.and_then(|m| m.split_once(", expected ")) {
            let expected = plain(expected);
            let diagnostic =
                Diagnostic::error(node.place.clone(), format!("expected {expected}, found {}", node.kind()));
            let written = &node.place.file.text[node.place.start..node.place.end];
            return match (&node.value, expected) {
                (Value::Number(_) | Value::Bool(_), "a text") => {
                    diagnostic.help(format!("put it in quotes to have it as a text: `\"{written}\"`"))
                }
                (Value::Text { .. } | Value::Number(_), "a list") => {
                    diagnostic.help(format!("put it in brackets to have a list of one: `[{written}]`"))
                }
                _ => diagnostic,
            };
        }
        Diagnostic::error(node.place.clone(), message.to_owned())
    }

    /// The mapping that has the unknown key `name`: serde's path leads to it, or to the key itself.
    fn around<'a>(&'a self, root: &'a Self, path: &str, name: &str) -> &'a Self {
        if self.get(name).is_some() {
            return self;
        }
        root.walk(path.rsplit_once('.').map_or("", |(before, _)| before))
    }
}

/// Serde's words about a value that is part of another's settings, as a problem at its path.
pub(crate) fn serde_problem(path: &str, message: &str) -> Problem {
    let path = if path == "." { "" } else { path };
    if let Some((name, expected)) = quoted(message, "unknown field ") {
        let names = names(&expected);
        let problem = Problem::new(path, format!("unknown key `{name}`"));
        return match names.is_empty() {
            true => problem.label("no key may stand here"),
            false => problem.label(format!("the keys are: {}", names.join(", "))),
        }
        .suggest(&name, names.iter().map(String::as_str));
    }
    if let Some((name, expected)) = quoted(message, "unknown variant ") {
        let names = names(&expected);
        return Problem::new(path, format!("`{name}` cannot stand here"))
            .label(format!("one of: {}", names.join(", ")))
            .suggest(&name, names.iter().map(String::as_str));
    }
    if let Some((name, _)) = quoted(message, "missing field ") {
        return Problem::new(path, format!("the key `{name}` is missing")).help(format!("add `{name}: ...`"));
    }
    let wanted = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    match wanted.and_then(|m| m.split_once(", expected ")) {
        Some((_, expected)) => Problem::new(path, format!("expected {}", plain(expected))),
        None => Problem::new(path, message.to_owned()),
    }
}

/// Removes the value at `path`, or the key `unknown` of the mapping there; false where there is no such entry of a mapping.
fn take_out(json: &mut serde_json::Value, path: &str, unknown: Option<&str>) -> bool {
    let mut parts: Vec<&str> =
        path.split(['.', '[']).map(|p| p.trim_end_matches(']')).filter(|p| !p.is_empty()).collect();
    // serde's path of an unknown key leads to the mapping, or to the key.
    if let Some(name) = unknown.filter(|name| parts.last() != Some(name)) {
        parts.push(name);
    }
    let Some(last) = parts.pop() else { return false };
    let mut at = json;
    for part in parts {
        let next = match at {
            serde_json::Value::Object(entries) => entries.get_mut(part),
            serde_json::Value::Array(items) => part.parse::<usize>().ok().and_then(|i| items.get_mut(i)),
            _ => None,
        };
        match next {
            Some(next) => at = next,
            None => return false,
        }
    }
    match at {
        serde_json::Value::Object(entries) => entries.remove(last).is_some(),
        serde_json::Value::Array(items) => match last.parse::<usize>() {
            // The places of the items behind it would be another's.
            Ok(index) if index < items.len() => {
                items.truncate(index);
                true
            }
            _ => false,
        },
        _ => false,
    }
}

/// The name in backticks behind `prefix`, and what follows it.
fn quoted(message: &str, prefix: &str) -> Option<(String, String)> {
    let (name, rest) = message.strip_prefix(prefix)?.strip_prefix('`')?.split_once('`')?;
    Some((name.to_owned(), rest.to_owned()))
}

/// All names in backticks.
fn names(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Serde's names of types in plain words.
fn plain(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" | "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a string" | "string" | "str" => "a text",
        "a boolean" | "bool" => "`true` or `false`",
        "a sequence" => "a list",
        "a map" => "a mapping",
        other if other.starts_with("struct ") => "a mapping",
        other => other,
    }
}
