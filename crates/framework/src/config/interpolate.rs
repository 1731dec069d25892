//! `${NAME}` and `${NAME:-default}` in texts, after parsing, with the place kept. `$${` is a `${` as it stands.

use super::diagnostic::Diagnostic;
use super::place::Place;
use super::yaml::{Node, Value, resolve};

/// Puts the environment's values into every text of the tree.
pub(crate) fn interpolate(
    node: &mut Node,
    environment: &dyn Fn(&str) -> Option<String>,
    problems: &mut Vec<Diagnostic>,
) {
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|n| interpolate(n, environment, problems)),
        Value::Map(entries) => {
            for entry in entries {
                interpolate(&mut entry.node, environment, problems);
            }
        }
        Value::Text { text, plain } if text.contains("${") => match replace(text, environment) {
            Ok(replaced) if *plain => node.value = retype(replaced),
            Ok(replaced) => *text = replaced,
            Err(fault) => problems.push(fault.diagnose(&node.place)),
        },
        _ => {}
    }
}

/// An unquoted `${PORT:-5000}` is the number that it becomes, but only where typing loses nothing: a password `1e3`, `0x10` or
/// `12 #x` from the environment stays the text that it is.
fn retype(text: String) -> Value {
    let same = match resolve(&text) {
        Value::Number(number) if number.to_string() == text => Some(Value::Number(number)),
        Value::Null | Value::Bool(_) if text.contains('#') || text.trim() != text => None,
        Value::Null => Some(Value::Null),
        Value::Bool(truth) => Some(Value::Bool(truth)),
        _ => None,
    };
    same.unwrap_or(Value::Text { text, plain: true })
}

enum Fault {
    Unset(String),
    Open(String),
    Name(String),
}

impl Fault {
    fn diagnose(self, place: &Place) -> Diagnostic {
        let written = place.file.text.get(place.start..place.end).unwrap_or_default();
        let at = |part: &str| match written.find(part) {
            Some(index) => {
                Place { start: place.start + index, end: place.start + index + part.len(), ..place.clone() }
            }
            None => place.clone(),
        };
        match self {
            Self::Unset(name) => Diagnostic::error(
                at(&format!("${{{name}}}")),
                format!("the environment variable `{name}` is not set"),
            )
            .help(format!("set it, or give a default: `${{{name}:-value}}`")),
            Self::Open(rest) => Diagnostic::error(at(&rest), "a `${` without its `}`")
                .help("close it, or write `$${` for a `${` as it stands"),
            Self::Name(name) => Diagnostic::error(
                at(&format!("${{{name}")),
                format!("`{name}` is not the name of an environment variable"),
            )
            .help("a name has letters, digits and `_`; write `$${` for a `${` as it stands"),
        }
    }
}

fn replace(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<String, Fault> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if rest[..start].ends_with('$') {
            out.push_str(&rest[..start - 1]);
            out.push_str("${");
            rest = &rest[start + 2..];
            continue;
        }
        out.push_str(&rest[..start]);
        let inside = &rest[start + 2..];
        let end = inside.find('}').ok_or_else(|| Fault::Open(rest[start..].to_owned()))?;
        let (name, default) = match inside[..end].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&inside[..end], None),
        };
        let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(valid) {
            return Err(Fault::Name(name.to_owned()));
        }
        match (environment(name).filter(|v| !v.is_empty()), default) {
            (Some(value), _) => out.push_str(&value),
            (None, Some(default)) => out.push_str(default),
            (None, None) => return Err(Fault::Unset(name.to_owned())),
        }
        rest = &inside[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "A" => Some("one".into()),
            "PORT" => Some("80".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn variables_defaults_and_escapes() {
        let replaced = |text| replace(text, &environment).ok();
        assert_eq!(replaced("x ${A} y ${NO:-two}"), Some("x one y two".into()));
        assert_eq!(replaced("$${A} ${EMPTY:-d}"), Some("${A} d".into()));
        assert_eq!(replaced("${NO:-}"), Some(String::new()));
        assert_eq!(replaced("${NO}"), None);
        assert_eq!(replaced("${A"), None);
        assert_eq!(replaced("${a b}"), None);
    }

    #[test]
    fn typing_what_was_put_in_never_alters_it() {
        for text in
            ["1e3", "0x10", "0o7", "1.50", "+5", "12 #x", "#hunter", "true #x", " 1", "~ ", "007", "a: b"]
        {
            assert_eq!(retype(text.into()), Value::Text { text: text.into(), plain: true }, "{text}");
        }
        assert_eq!(retype("5000".into()), Value::Number(5000.into()));
        assert_eq!(retype("true".into()), Value::Bool(true));
        assert_eq!(retype(String::new()), Value::Null);
    }

    #[test]
    fn an_unquoted_number_becomes_a_number_and_a_quoted_one_stays_a_text() {
        let file = crate::config::SourceFile::new("t", "a: ${PORT}\nb: '${PORT}'\n");
        let mut node = crate::config::yaml::parse(&file).unwrap();
        let mut problems = Vec::new();
        interpolate(&mut node, &environment, &mut problems);
        assert!(problems.is_empty());
        assert_eq!(node.get("a").unwrap().value, Value::Number(80.into()));
        assert_eq!(node.get("b").unwrap().text(), Some("80"));
    }
}
