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
        // Keys that are not missing: they were taken out, or are misspelt.
        let mut there: Vec<(String, String)> = Vec::new();
        let mut filled = false;
        // serde stops at the first problem: what is wrong is taken out, and what is missing put in, to see
        // what else there is.
        loop {
            let error = match serde_path_to_error::deserialize::<_, T>(json.clone()) {
                Ok(value) if problems.is_empty() => return Ok(value),
                Ok(_) => return Err(problems),
                Err(error) => error,
            };
            let path = error.path().to_string();
            let path = if path == "." { String::new() } else { path };
            let message = error.into_inner().to_string();
            let missing = quoted(&message, "missing field ").map(|(name, _)| name);
            let reported = missing.as_ref().is_some_and(|name| there.contains(&(path.clone(), name.clone())));
            // What was put in may not be to the taste of a check of the whole, nor a mapping that has nothing
            // left.
            let mut emptied = || {
                let parts: Vec<&str> = parts(&path).collect();
                let left = at(&mut json, &parts).and_then(|value| value.as_object());
                left.is_some_and(serde_json::Map::is_empty) && there.iter().any(|(around, _)| *around == path)
            };
            if !(reported || kind_of(&message).is_none() && (filled || emptied())) {
                problems.push(self.serde_error(&path, &message));
            }
            let goes_on = match (&missing, quoted(&message, "unknown field ")) {
                (Some(name), _) => {
                    filled = fill::<T>(&mut json, &path, name);
                    filled
                        || take_out(&mut json, &path, None).is_some_and(|key| {
                            there.push(key);
                            true
                        })
                }
                (None, Some((name, expected))) => {
                    take_out(&mut json, &path, Some(&name)).is_some_and(|key| {
                        let expected = names(&expected);
                        let meant = super::nearest(&name, expected.iter().map(String::as_str));
                        there.extend(meant.map(|meant| (key.0, meant.to_owned())));
                        true
                    })
                }
                (None, None) => take_out(&mut json, &path, None).is_some_and(|key| {
                    there.push(key);
                    true
                }),
            };
            if !goes_on || problems.len() == MOST_PROBLEMS {
                return Err(problems);
            }
        }
    }

    /// The diagnostic of a plugin's problem: its path as a place.
    pub fn diagnose(&self, problem: &Problem) -> Diagnostic {
        let place = problem.about().and_then(|part| self.walk(&problem.path).part(part));
        let place = place.unwrap_or_else(|| self.locate(&problem.path));
        let mut diagnostic = Diagnostic::error(place, problem.message.clone()).label(problem.label.clone());
        diagnostic.help.clone_from(&problem.help);
        diagnostic.field = problem.field().map(str::to_owned);
        diagnostic
    }

    /// The place of the value at a path such as `fields[0].name`; of the nearest value around it where there
    /// is none. What is missing in a mapping over several lines is told at the key that the mapping stands
    /// behind.
    pub fn locate(&self, path: &str) -> Place {
        self.walk(path).whole()
    }

    /// The place of a part of its text, where that is written as it is.
    fn part(&self, (start, end): (usize, usize)) -> Option<Place> {
        let (text, Place { file, start: from, end: to }) = (self.text()?, &self.place);
        let begin = from + file.text.get(*from..*to)?.find(text).filter(|_| text.is_char_boundary(start))?;
        Some(Place { file: file.clone(), start: begin + start, end: begin + end })
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
        for part in parts(path) {
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
            if expected == "a mapping"
                && let Some(meant) = node.key_meant()
            {
                return meant;
            }
            let diagnostic =
                Diagnostic::error(node.place.clone(), format!("expected {expected}, found {}", node.kind()));
            let written = &node.place.file.text[node.place.start..node.place.end];
            return match (&node.value, expected) {
                (Value::Number(_) | Value::Bool(_), "a text") => {
                    diagnostic.help(format!("put it in quotes to have it as a text: `\"{written}\"`"))
                }
                (Value::Map(_), "a text") if written.starts_with('{') => {
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

/// What kind of problem serde tells; `None` for the words of a check of the settings' own.
fn kind_of(message: &str) -> Option<&'static str> {
    ["unknown field ", "unknown variant ", "missing field ", "invalid type: ", "invalid value: "]
        .into_iter()
        .find(|kind| message.starts_with(kind))
}

/// The parts of a path such as `fields[0].name`.
fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split(['.', '[']).map(|part| part.trim_end_matches(']')).filter(|part| !part.is_empty())
}

/// The value at a path.
fn at<'j>(json: &'j mut serde_json::Value, path: &[&str]) -> Option<&'j mut serde_json::Value> {
    path.iter().try_fold(json, |at, part| match at {
        serde_json::Value::Object(entries) => entries.get_mut(*part),
        serde_json::Value::Array(items) => part.parse::<usize>().ok().and_then(|i| items.get_mut(i)),
        _ => None,
    })
}

/// Removes the value at `path`, or the key `unknown` of the mapping there; gives the path of what it was in,
/// and its key. `None` where there is no such entry of a mapping.
fn take_out(json: &mut serde_json::Value, path: &str, unknown: Option<&str>) -> Option<(String, String)> {
    let mut parts: Vec<&str> = parts(path).collect();
    // serde's path of an unknown key leads to the mapping, or to the key.
    let inside = unknown.filter(|name| parts.last() != Some(name));
    parts.extend(inside);
    let last = parts.pop()?;
    let around = match inside {
        Some(_) => path.to_owned(),
        None => path.rsplit_once(['.', '[']).map_or(String::new(), |(around, _)| around.to_owned()),
    };
    let taken = match at(json, &parts)? {
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
    };
    taken.then(|| (around, last.to_owned()))
}

/// Puts some value in place of a missing key of the mapping at `path`, one that is no problem itself; false
/// where none is found.
fn fill<T: DeserializeOwned>(json: &mut serde_json::Value, path: &str, name: &str) -> bool {
    let parts: Vec<&str> = parts(path).collect();
    let key = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let mut tries: Vec<serde_json::Value> = [
        "null",
        "\"x\"",
        "1",
        "true",
        "[]",
        "{}",
        "\"1s\"",
        "\"1/s\"",
        "\"1KiB\"",
        "[\"x\"]",
        "{\"x\":\"x\"}",
    ]
    .iter()
    .filter_map(|text| serde_json::from_str(text).ok())
    .collect();
    while let Some(value) = tries.pop() {
        let Some(serde_json::Value::Object(entries)) = at(json, &parts) else { return false };
        entries.insert(name.to_owned(), value);
        let Err(error) = serde_path_to_error::deserialize::<_, T>(json.clone()) else { return true };
        if !error.path().to_string().starts_with(&key) {
            return true;
        }
        // One of the names that may stand there.
        let message = error.into_inner().to_string();
        if let Some((written, expected)) = quoted(&message, "unknown variant ")
            && written == "x"
        {
            tries.extend(names(&expected).into_iter().next().map(serde_json::Value::from));
        }
    }
    if let Some(serde_json::Value::Object(entries)) = at(json, &parts) {
        entries.remove(name);
    }
    false
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
