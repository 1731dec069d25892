//! A pipeline file as the oracle reads it: chains and steps with what it has to know of each. It uses the
//! parser of the file and nothing of planning.

use std::collections::BTreeMap;

use pipectl_framework::config::{ChainDecl, Document, Head, Kind, OnErrorDecl, Output, StepDecl};
use serde_json::{Map, Value};

/// `CHAIN.STEP`, and which output of it.
pub(crate) type Reference = (String, String, Output);

#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) name: String,
    pub(crate) steps: Vec<Step>,
}

#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) id: String,
    pub(crate) body: Body,
    /// True where records that it cannot use go to its `dead` output.
    pub(crate) dead_letters: bool,
}

#[derive(Debug)]
pub(crate) enum Body {
    File {
        path: String,
        timed: bool,
    },
    Topic {
        topic: String,
        fields: BTreeMap<String, String>,
    },
    From(Vec<Reference>),
    Filter {
        field: String,
        values: Vec<Value>,
        not: bool,
    },
    Cast(BTreeMap<String, String>),
    Select {
        fields: Vec<String>,
        rename: BTreeMap<String, String>,
    },
    Window(Spec),
    /// To this topic; or `CHAIN.STEP`, where it is a plugin's own.
    Sink(String),
}

/// Which windows, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    Grid { size: i64, slide: i64 },
    Session { gap: i64 },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Column {
    Count,
    Sum(String),
}

/// A window step.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) shape: Shape,
    pub(crate) out_of_orderness: i64,
    pub(crate) lateness: i64,
    pub(crate) idle: i64,
    pub(crate) key: Vec<String>,
    /// The columns of its result.
    pub(crate) columns: Vec<(String, Column)>,
    /// The partitions of its repartition topic; 0 where it has none.
    pub(crate) repartition: i64,
    /// The keys that it gives from the start; `None` where it gives those of its rows alone.
    pub(crate) zero_fill: Option<Vec<String>>,
    /// The most keys at once.
    pub(crate) max_keys: Option<usize>,
}

pub(crate) fn read(document: &Document) -> Vec<Chain> {
    let step = |chain: &str, step: &StepDecl| Step {
        id: step.id.clone(),
        body: body(chain, step),
        dead_letters: matches!(step.on_error, Some((OnErrorDecl::DeadLetter, _))),
    };
    let chain = |chain: &ChainDecl| Chain {
        name: chain.name.text.clone(),
        steps: chain.steps.iter().map(|decl| step(&chain.name.text, decl)).collect(),
    };
    document.chains.iter().map(chain).collect()
}

fn body(chain: &str, step: &StepDecl) -> Body {
    let with = match step.with.to_json() {
        Value::Object(with) => with,
        _ => Map::new(),
    };
    let (kind, plugin) = match &step.head {
        Head::From(references) => {
            let references = references.iter().map(|r| (r.chain.clone(), r.step.clone(), r.output));
            return Body::From(references.collect());
        }
        Head::Plugin(kind, plugin) => (*kind, plugin.text.as_str()),
        Head::Unknown(_) => panic!("the pipeline of a seed is valid"),
    };
    match (kind, plugin) {
        (Kind::Source, "csv") => Body::File { path: text(&with, "path"), timed: step.time.is_some() },
        (Kind::Source, "kafka") => {
            let fields = &with["format"]["json"]["fields"];
            Body::Topic { topic: text(&with, "topic"), fields: texts(fields) }
        }
        (Kind::Transform, "filter") => {
            let values = match (with.get("equals"), with.get("in")) {
                (Some(value), _) => vec![value.clone()],
                (None, values) => values.and_then(Value::as_array).cloned().unwrap_or_default(),
            };
            let not = with.get("not").and_then(Value::as_bool).unwrap_or_default();
            Body::Filter { field: text(&with, "field"), values, not }
        }
        (Kind::Transform, "cast") => Body::Cast(texts(&with["fields"])),
        (Kind::Transform, "select") => {
            let fields = with["fields"].as_array().into_iter().flatten();
            let fields = fields.filter_map(Value::as_str).map(str::to_owned).collect();
            Body::Select { fields, rename: with.get("rename").map(texts).unwrap_or_default() }
        }
        (Kind::Window, window) => Body::Window(spec(window, &with, step)),
        (Kind::Sink, "kafka") => Body::Sink(text(&with, "topic")),
        // A recorder stands in its place.
        (Kind::Sink, "stdout") => Body::Sink(format!("{chain}.{}", step.id)),
        (kind, plugin) => panic!("the oracle does not know the {kind} `{plugin}`"),
    }
}

fn spec(plugin: &str, with: &Map<String, Value>, step: &StepDecl) -> Spec {
    let millis = |name: &str| with.get(name).and_then(Value::as_str).map(millis);
    let column = |of: &Value| match of.as_str() {
        Some("count") => Column::Count,
        _ => Column::Sum(of["sum"]["field"].as_str().expect("a count or a sum").to_owned()),
    };
    let columns = match plugin {
        "aggregates" => {
            let columns = with["columns"].as_object().into_iter().flatten();
            columns.map(|(name, of)| (name.clone(), column(of))).collect()
        }
        "count" | "count-by-key" => vec![("count".to_owned(), Column::Count)],
        other => panic!("the oracle does not know the window `{other}`"),
    };
    let size = millis("size");
    let shape = match (size, millis("gap")) {
        (_, Some(gap)) => Shape::Session { gap },
        (size, None) => {
            let size = size.expect("a size");
            Shape::Grid { size, slide: millis("slide").unwrap_or(size) }
        }
    };
    let key = match with.get("key") {
        Some(Value::Array(fields)) => fields.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::String(field)) => vec![field.clone()],
        _ => Vec::new(),
    };
    Spec {
        shape,
        out_of_orderness: millis("out_of_orderness").unwrap_or_default(),
        lateness: millis("lateness").unwrap_or_default(),
        idle: millis("idle").unwrap_or(1000),
        key,
        columns,
        max_keys: with.get("max_keys").and_then(Value::as_u64).map(|most| most as usize),
        zero_fill: match with.get("zero_fill") {
            Some(Value::Array(keys)) => {
                Some(keys.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            }
            Some(Value::String(seen)) if seen == "seen" => Some(Vec::new()),
            _ => None,
        },
        repartition: step.repartition.as_ref().map_or(0, |repartition| {
            repartition.to_json()["partitions"].as_i64().expect("a number of partitions")
        }),
    }
}

fn text(with: &Map<String, Value>, name: &str) -> String {
    with.get(name).and_then(Value::as_str).unwrap_or_else(|| panic!("`{name}` in {with:?}")).to_owned()
}

fn texts(of: &Value) -> BTreeMap<String, String> {
    let entries = of.as_object().into_iter().flatten();
    entries.filter_map(|(name, text)| Some((name.clone(), text.as_str()?.to_owned()))).collect()
}

/// A length of time in milliseconds.
fn millis(text: &str) -> i64 {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number: i64 = text[..text.len() - unit.len()].parse().expect("a whole number");
    number
        * match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => panic!("`{text}` is no length of time"),
        }
}
