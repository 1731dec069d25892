//! `${NAME}`, `${NAME:-default}` and `${NAME-default}` in texts, after parsing, with the place kept. `$${` is
//! a `${` as it stands. What is put in is a text, whatever YAML would make of it: only `true`, `false` and
//! plain numbers are typed.

use super::diagnostic::Diagnostic;
use super::place::Place;
use super::yaml::{Node, Value};

/// Puts the environment's values into every text of the tree. Where there is none, the text stays, and its
/// place is a hole.
pub(crate) fn interpolate(
    node: &mut Node,
    environment: &dyn Fn(&str) -> Option<String>,
    problems: &mut Vec<Diagnostic>,
    holes: &mut Vec<Place>,
) {
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|n| interpolate(n, environment, problems, holes)),
        Value::Map(entries) => {
            for entry in entries {
                interpolate(&mut entry.node, environment, problems, holes);
            }
        }
        Value::Text { text, plain } if text.contains("${") => match replace(text, environment) {
            Ok(replaced) if *plain => node.value = retype(replaced),
            Ok(replaced) => *text = replaced,
            Err(fault) => {
                problems.push(fault.diagnose(&node.place));
                holes.push(node.place.clone());
            }
        },
        _ => {}
    }
}

/// An unquoted `${PORT:-5000}` is the number that it becomes, but only where typing loses nothing: a password
/// `1e3`, `0x10`, `&k3y` or `null` from the environment stays the text that it is.
fn retype(text: String) -> Value {
    match text.as_str() {
        "true" => return Value::Bool(true),
        "false" => return Value::Bool(false),
        _ => {}
    }
    match serde_json::from_str::<serde_json::Number>(&text) {
        Ok(number) if number.to_string() == text => Value::Number(number),
        _ => Value::Text { text, plain: true },
    }
}

enum Fault {
    Unset(String),
    Empty(String),
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
            Self::Empty(name) => Diagnostic::error(
                at(&format!("${{{name}}}")),
                format!("the environment variable `{name}` is empty"),
            )
            .help(format!(
                "set it to a text, give a default: `${{{name}:-value}}`, or take it empty: `${{{name}-}}`"
            )),
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
        // As in a shell: `:-` stands in for an empty variable as well, `-` only for one that is not set.
        let (name, default) = match inside[..end].split_once('-') {
            Some((name, default)) => (name, Some(default)),
            None => (&inside[..end], None),
        };
        let (name, empty_counts) = match name.strip_suffix(':') {
            Some(name) if default.is_some() => (name, false),
            _ => (name, default.is_some()),
        };
        let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(valid) {
            return Err(Fault::Name(name.to_owned()));
        }
        match (environment(name), default) {
            (Some(value), _) if empty_counts || !value.is_empty() => out.push_str(&value),
            (_, Some(default)) => out.push_str(default),
            (Some(_), None) => return Err(Fault::Empty(name.to_owned())),
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
        assert_eq!(replaced("${EMPTY-d}|${NO-d}|${NO-}|${A-d}"), Some("|d||one".into()));
        assert_eq!(replaced("${NO:-a-b:-c}"), Some("a-b:-c".into()));
        assert_eq!(replaced("${NO}"), None);
        assert_eq!(replaced("${A"), None);
        assert_eq!(replaced("${a b}"), None);
    }

    #[test]
    fn typing_what_was_put_in_never_alters_it() {
        for text in [
            "1e3",
            "0x10",
            "0o7",
            "1.50",
            "+5",
            "12 #x",
            "#hunter",
            "true #x",
            " 1",
            "~ ",
            "007",
            "a: b",
            "&k3y",
            "---",
            "&a null",
            "!!bool true",
            "null",
            "~",
            "",
            "*x",
            "[a",
            "{",
            "- a",
            "yes",
            "True",
            ".inf",
            "%x",
        ] {
            assert_eq!(retype(text.into()), Value::Text { text: text.into(), plain: true }, "{text}");
        }
        assert_eq!(retype("5000".into()), Value::Number(5000.into()));
        assert_eq!(retype("true".into()), Value::Bool(true));
    }

    proptest::proptest! {
        /// What a variable holds is what the field gets, in quotes or not.
        #[test]
        fn any_text_comes_out_as_it_is(value in "\\PC{0,12}|[&*!|>%@`#{}\\[\\],:?~ -]{0,4}[a-z0-9.]{0,4}") {
            let file = crate::config::SourceFile::new("t", "a: ${X-}\nb: '${X-}'\nc: \"${X-}\"\n");
            let mut node = crate::config::yaml::parse(&file).unwrap();
            let mut problems = Vec::new();
            interpolate(&mut node, &|_| Some(value.clone()), &mut problems, &mut Vec::new());
            proptest::prop_assert!(problems.is_empty());
            let text = |key| match &node.get(key).unwrap().value {
                Value::Text { text, .. } => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Bool(truth) => truth.to_string(),
                other => format!("{other:?}"),
            };
            for key in ["a", "b", "c"] {
                proptest::prop_assert_eq!(text(key), &value[..]);
            }
        }
    }

    #[test]
    fn an_unquoted_number_becomes_a_number_and_a_quoted_one_stays_a_text() {
        let file = crate::config::SourceFile::new("t", "a: ${PORT}\nb: '${PORT}'\n");
        let mut node = crate::config::yaml::parse(&file).unwrap();
        let mut problems = Vec::new();
        interpolate(&mut node, &environment, &mut problems, &mut Vec::new());
        assert!(problems.is_empty());
        assert_eq!(node.get("a").unwrap().value, Value::Number(80.into()));
        assert_eq!(node.get("b").unwrap().text(), Some("80"));
    }
}
