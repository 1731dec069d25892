//! Every plugin's example, as `pipectl describe` prints it, can be planned as it stands.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that meets one of these has failed")]

use std::path::Path;

use pipectl_framework::config::{Document, Kind, SourceFile, render};
use pipectl_framework::graph::{PlanOptions, plan};
use pipectl_framework::plugin::{Plugin, Purpose, Registry};
use pipectl_plugins as _;

/// `text` with every line but the first moved `by` to the right.
fn indent(text: &str, by: usize) -> String {
    text.trim_end().replace('\n', &format!("\n{}", " ".repeat(by)))
}

/// A file in which the example stands where its kind belongs.
fn file(plugin: &Plugin) -> String {
    let example = plugin.example;
    let (source, sink) =
        ("- source: csv\n      with: { path: data/user_log.csv }", "- sink: memory\n      with: { name: x }");
    let (source, middle, sink) = match plugin.kind {
        Kind::Source => (indent(example, 4), String::new(), sink.to_owned()),
        // The orders of a shop: texts as in a CSV file for transforms, with numbers for windows.
        Kind::Transform | Kind::Window => {
            let price = if plugin.kind == Kind::Window { "sequence: true" } else { "values: [\"1\"]" };
            let texts = ["gender", "province", "action", "user_id", "quantity"]
                .map(|name| format!("{name}: {{ values: [\"0\"] }}"));
            let texts = texts.join(", ");
            let orders = format!(
                "- source: generate\n      with: {{ fields: {{ {texts}, price: {{ {price} }}, latency_ms: {{ {price} }} }} }}"
            );
            (orders, indent(example, 4), sink.to_owned())
        }
        // Some examples write rows of a file, others the results of a window.
        Kind::Sink => {
            let rows = "- source: generate\n      with: { fields: { gender: { values: [\"0\"] }, key: { values: [\"0\"] }, count: { sequence: true } } }";
            (rows.to_owned(), String::new(), indent(example, 4))
        }
        Kind::Format => {
            let format = indent(example, 10);
            let middle = format!(
                "- sink: kafka\n      with: {{ topic: t, value: gender }}\n  other:\n    - source: kafka\n      with:\n        topic: t\n        format:\n          {format}"
            );
            (source.to_owned(), middle, sink.to_owned())
        }
        Kind::Connection => (source.to_owned(), String::new(), sink.to_owned()),
    };
    let connection = match plugin.kind {
        Kind::Connection => format!("{}:\n    {}", plugin.name, indent(example, 4)),
        _ => "kafka: { brokers: embedded }".to_owned(),
    };
    // Somebody has to write the topics that examples read.
    let writer = "- source: csv\n      with: { path: data/user_log.csv }\n    - sink: kafka\n      with: { topic: sex, value: gender }";
    format!(
        "name: example\nconnections:\n  {connection}\npipelines:\n  writer:\n    {writer}\n  chain:\n    {source}\n    {middle}\n    {sink}\n"
    )
}

#[test]
fn every_example_can_be_planned() {
    let registry = Registry::collect().unwrap();
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    assert!(registry.iter().count() >= 10, "the plugins are not linked");
    for plugin in registry.iter() {
        let text = file(plugin);
        let source = SourceFile::new("example.yaml", &text);
        let planned = Document::parse(&source, &[], &|_| None).and_then(|document| {
            plan(
                &document,
                PlanOptions { registry: &registry, base: &base, only: &[], purpose: Purpose::Check },
            )
        });
        if let Err(problems) = planned {
            panic!("the example of {plugin:?}:\n{}\n{text}", render(&problems, false));
        }
    }
}

#[test]
fn every_field_is_described() {
    for plugin in Registry::collect().unwrap().iter() {
        let schema = serde_json::to_value((plugin.config_schema)()).unwrap();
        let fields = schema.get("properties").and_then(|p| p.as_object().cloned()).unwrap_or_default();
        for (name, field) in fields {
            let described = field.get("description").and_then(|d| d.as_str()).is_some_and(|d| !d.is_empty());
            assert!(described, "{plugin:?}: the field `{name}` has no description");
        }
    }
}
