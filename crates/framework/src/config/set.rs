//! `--set path=value`: changes one value of the tree before it is read.

use super::diagnostic::Diagnostic;
use super::place::{Place, SourceFile};
use super::yaml::{Entry, Node, Value, parse, resolve};

/// Applies one argument such as `pipelines.shoppers.0.with.rate=max`. The path's parts are keys, or numbers
/// (from 0) in a list; in a chain, a step's id or plugin name may stand for its number. The last key may be
/// new.
pub(crate) fn apply(root: &mut Node, argument: &str) -> Result<(), Diagnostic> {
    let file = SourceFile::new("--set", argument);
    let at = |start: usize, end: usize| Place { file: file.clone(), start, end };
    let Some((path, text)) = argument.split_once('=') else {
        return Err(Diagnostic::error(at(0, argument.len()), "no `=` in the argument")
            .help("write `--set path=value`, such as `--set pipelines.shoppers.csv.with.rate=max`"));
    };
    let mut value = value(text, path.len() + 1, &at)?;
    set_places(&mut value, &at(path.len() + 1, argument.len()));
    let mut node = root;
    let mut start = 0;
    let parts: Vec<&str> = path.split('.').collect();
    for (index, part) in parts.iter().enumerate() {
        let place = at(start, start + part.len());
        let last = index + 1 == parts.len();
        start += part.len() + 1;
        node = match &mut node.value {
            Value::Map(entries) => {
                if let Some(found) = entries.iter().position(|e| e.key == *part) {
                    &mut entries[found].node
                } else if last || *part == "with" {
                    let node = Node::empty_map(place.clone());
                    entries.push(Entry { key: (*part).to_owned(), place, node });
                    let newest = entries.len() - 1;
                    &mut entries[newest].node
                } else {
                    let keys: Vec<&str> = entries.iter().map(|e| e.key.as_str()).collect();
                    return Err(Diagnostic::error(place, format!("there is no `{part}` to go into"))
                        .label(format!("here are: {}", keys.join(", ")))
                        .suggest(part, keys));
                }
            }
            Value::List(items) => {
                let length = items.len();
                let found = part.parse::<usize>().ok().filter(|i| *i < length).or_else(|| step(items, part));
                match found {
                    Some(found) => &mut items[found],
                    None => {
                        return Err(Diagnostic::error(place, format!("there is no item `{part}`"))
                            .label(format!("the list has {length}, numbered from 0")));
                    }
                }
            }
            _ => {
                return Err(Diagnostic::error(
                    place,
                    "there is nothing to go into: the value before is not a mapping or a list",
                ));
            }
        };
    }
    *node = value;
    Ok(())
}

/// The step of a chain that has this id, or this plugin.
fn step(items: &[Node], name: &str) -> Option<usize> {
    let is = |key: &str| items.iter().position(|n| n.get(key).and_then(Node::text) == Some(name));
    ["id", "source", "transform", "window", "sink"].into_iter().find_map(is)
}

fn value(text: &str, offset: usize, at: &dyn Fn(usize, usize) -> Place) -> Result<Node, Diagnostic> {
    let whole = at(offset, offset + text.len());
    if text.starts_with(['[', '{', '"', '\'']) {
        return parse(&SourceFile::new("--set", text)).map_err(|problems| {
            match problems.into_iter().next() {
                Some(first) => Diagnostic {
                    primary: super::Label { place: whole, text: first.primary.text.clone() },
                    secondary: Vec::new(),
                    ..first
                },
                None => Diagnostic::error(whole, "the value cannot be read"),
            }
        });
    }
    Ok(Node { value: resolve(text), place: whole })
}

/// Every value of the argument stands in the argument.
fn set_places(node: &mut Node, place: &Place) {
    node.place = place.clone();
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|n| set_places(n, place)),
        Value::Map(entries) => entries.iter_mut().for_each(|e| {
            e.place = place.clone();
            set_places(&mut e.node, place);
        }),
        _ => {}
    }
}
