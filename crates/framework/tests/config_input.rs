//! No file makes the parser of files panic, hang or grow: what is not a pipeline is refused soon, with a
//! place.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use pipectl_framework::config::{Diagnostic, Document, SourceFile, render, render_json};
use proptest::prelude::*;

fn shipped() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipeline.yaml")).unwrap()
}

fn parse(text: &str) -> Result<Document, Vec<Diagnostic>> {
    Document::parse(&SourceFile::new("t.yaml", text), &[], &|_| None)
}

/// Parses and renders; every refusal has a message that can be shown.
fn refusal(text: &str) -> Option<String> {
    let problems = parse(text).err()?;
    assert!(!problems.is_empty(), "refused without a reason: {text}");
    assert_eq!(render_json(&problems).as_array().unwrap().len(), problems.len());
    Some(render(&problems, false))
}

#[test]
fn the_shipped_file_is_taken() {
    assert_eq!(refusal(&shipped()), None);
}

/// Files within the limit of size that would cost time or memory if nothing else bounded them. The bound in
/// time is wide, for a busy machine and a build without optimisation; what it keeps out took minutes.
#[test]
fn what_would_cost_much_is_refused_soon() {
    let lines = |line: &dyn Fn(usize) -> String| (0..60_000).map(line).collect::<String>();
    let laughs = (1..30).fold("a0: &a0 [x, x]\n".to_owned(), |mut text, i| {
        let before = i - 1;
        let _ = writeln!(text, "a{i}: &a{i} [*a{before}, *a{before}]");
        text
    });
    let cases = [
        ("aliases in aliases", laughs, "anchor"),
        ("an alias of itself", "a: &a [*a]\n".into(), "anchor"),
        ("many keys", lines(&|i| format!("key{i}: 1\n")), "values"),
        ("many items", format!("[{}]", "a,".repeat(500_000)), "values"),
        ("many steps", format!("pipelines:\n  a:\n{}", lines(&|_| "  - sink: a\n".into())), "values"),
        ("deep lists", "[".repeat(1 << 19), "deep"),
        ("deep mappings", "{a: ".repeat(1 << 18), "deep"),
        ("deep blocks", "- ".repeat(1 << 19), "deep"),
        ("one long key", format!("{}: 1\n", "k".repeat(1000)), "unknown key"),
        ("one long text", "x".repeat(1 << 19), "expected a mapping"),
        ("more than a megabyte", "# \n".repeat(1 << 19), "larger"),
    ];
    for (name, text, expected) in cases {
        let started = Instant::now();
        let said = refusal(&text).unwrap_or_else(|| panic!("{name} was taken"));
        let took = started.elapsed();
        assert!(said.contains(expected), "{name}: {said:.500}");
        assert!(said.len() < 4096 && said.contains("--> t.yaml:"), "{name}: {said:.500}");
        assert!(took < Duration::from_secs(5), "{name} took {took:?}");
    }
}

#[test]
fn as_many_values_as_may_be_are_read_soon_and_their_problems_counted() {
    let keys: String = (0..4_900).map(|i| format!("key{i}: 1\n")).collect();
    let started = Instant::now();
    let said = refusal(&keys).unwrap();
    assert!(said.contains("... and 4802 more problems"), "{}", &said[said.len() - 200..]);
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn every_problem_is_reported_at_once() {
    let said =
        refusal("name: [1]\nconections: {}\npipelines:\n  a:\n    - sink: x\n    - from: b\n").unwrap();
    for part in ["expected a name", "`connections`?", "reference to a step"] {
        assert!(said.contains(part), "no {part} in:\n{said}");
    }
}

#[test]
fn steps_of_one_plugin_are_numbered_around_ids_that_are_taken() {
    let text = "name: a\npipelines:\n  a:\n    - source: x\n    - sink: b\n      id: b-2\n    - sink: b\n    - sink: b\n    - sink: b\n";
    let document = parse(text).unwrap();
    let ids: Vec<&str> = document.chains[0].steps.iter().map(|s| s.id.as_str()).collect();
    assert_eq!(ids, ["x", "b-2", "b", "b-3", "b-4"]);
}

proptest! {
    #[test]
    fn a_shipped_file_with_parts_replaced_is_taken_or_refused(
        edits in prop::collection::vec((0.0..1.0f64, 0usize..8, "[\\PC\n\t\r:&*!|>'\"{}\\[\\]$#-]{0,6}"), 1..6)
    ) {
        let mut text: Vec<char> = shipped().chars().collect();
        for (at, cut, put) in edits {
            let start = (at * text.len() as f64) as usize;
            let end = (start + cut).min(text.len());
            text.splice(start..end, put.chars());
        }
        let _ = refusal(&text.into_iter().collect::<String>());
    }

    #[test]
    fn random_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = refusal(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_set_argument_is_applied_or_refused(
        argument in "(pipelines|shoppers|name|[0-3]|with|\\.|=|\\[|\\{|'|\"|:|&a|\\*a| |上|\\$\\{|\\}){0,12}"
    ) {
        let file = SourceFile::new("t.yaml", shipped());
        if let Err(problems) = Document::parse(&file, &[argument], &|_| None) {
            let _ = render(&problems, true);
        }
    }
}
