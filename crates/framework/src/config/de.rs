//! A plugin's `with:` through serde, with a place for every error.

use serde::de::DeserializeOwned;

use super::diagnostic::Diagnostic;
use super::place::Place;
use super::problem::Problem;
use super::yaml::{Node, Value};

impl Node {
    /// Reads the value as a `T`.
    ///
    /// # Errors
    /// A diagnostic at the key or value that does not fit.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, Vec<Diagnostic>> {
        let json = self.to_json();
        serde_path_to_error::deserialize(json).map_err(|error| {
            let path = error.path().to_string();
            let path = if path == "." { String::new() } else { path };
            vec![self.serde_error(&path, &error.into_inner().to_string())]
        })
    }

    /// The diagnostic of a plugin's problem: its path as a place.
    pub fn diagnose(&self, problem: &Problem) -> Diagnostic {
        let mut diagnostic = Diagnostic::error(self.locate(&problem.path), problem.message.clone())
            .label(problem.label.clone());
        diagnostic.help.clone_from(&problem.help);
        diagnostic
    }

    /// The place of the value at a path such as `fields[0].name`; of the nearest value around it where there is none.
    pub fn locate(&self, path: &str) -> Place {
        self.walk(path).place.clone()
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
            return Diagnostic::error(node.place.clone(), format!("the key `{name}` is missing"))
                .help(format!("add `{name}: ...`"));
        }
        let wanted =
            message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
        if let Some((_, expected)) = wanted.and_then(|m| m.split_once(", expected ")) {
            return Diagnostic::error(
                node.place.clone(),
                format!("expected {}, found {}", plain(expected), node.kind()),
            );
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
