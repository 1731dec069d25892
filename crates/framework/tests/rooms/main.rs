//! Holds the source to what ARCHITECTURE.md says of it: which room may use which, how long a file may be,
//! what has no place in finished code, and that links between documents lead somewhere.
//!
//! The checks read text, so they are quick and need no compiler. Each has a test beside it that it finds what
//! it looks for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // a test fails by panicking

mod code;
mod files;
mod markdown;
mod width;

use code::Code;
use files::{File, markdown_files, rust_files, test_files};
use width::{COLUMNS, wide_lines};

/// Each room of the framework with the rooms that it may use. A room uses only rooms that stand above it
/// here, so that nothing goes in a circle.
const ROOMS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("clock", &[]),
    ("hash", &[]),
    ("batch", &["clock"]),
    ("metrics", &[]),
    ("config", &[]),
    ("time", &["batch", "clock"]),
    ("log", &["batch", "clock", "config", "error"]),
    ("plugin", &["batch", "clock", "config", "error", "log", "metrics"]),
    ("window", &["batch", "clock", "config", "error", "hash", "log", "plugin", "time"]),
    ("graph", &["batch", "clock", "config", "error", "hash", "log", "plugin", "time", "window"]),
    (
        "run",
        &["batch", "clock", "config", "error", "graph", "hash", "log", "metrics", "plugin", "time", "window"],
    ),
    (
        "testing",
        &["batch", "clock", "config", "error", "graph", "log", "metrics", "plugin", "run", "time", "window"],
    ),
];

/// Crates that only these parts of the source may use, so that each can be replaced in one place.
const BEHIND_ONE_DOOR: &[(&str, &[&str])] = &[
    ("serde_yaml", &["crates/framework/src/config/yaml.rs", "crates/framework/src/config/yaml/"]),
    ("saphyr_parser", &["crates/framework/src/config/yaml.rs", "crates/framework/src/config/yaml/"]),
    // The checker of `chaos` uses none of our code, so it has a client of its own.
    ("rdkafka", &["crates/plugins/src/kafka/", "crates/chaos/src/"]),
    ("socketioxide", &["crates/plugins/src/socketio/"]),
];

/// Rooms that compute and wait for nothing: with the same rows in, the same rows come out.
const PURE: [&str; 9] = ["batch", "config", "error", "graph", "hash", "metrics", "plugin", "time", "window"];

/// A newcomer reads a file in one sitting; a folder of named files is the cure for a longer one.
const LINES_OF_A_FILE: usize = 600;

/// What a file that goes to a user must not have, outside its tests.
const UNFINISHED: [&str; 5] = ["TODO", "FIXME", "XXX", "todo!(", "unimplemented!("];
const PANICS: [&str; 1] = [".unwrap()"];

fn none(problems: &[String]) {
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

/// What is wrong with the uses of one file of the framework.
fn wrong_ways(rooms: &[(&str, &[&str])], file: &File) -> Vec<String> {
    let Some((room, modules)) = file.module_path() else { return Vec::new() };
    let Some((_, allowed)) = rooms.iter().find(|(name, _)| *name == room) else {
        return vec![format!("{}: the room `{room}` is not in the table of this test", file.name)];
    };
    Code::of(&file.text)
        .without_tests()
        .rooms_used(modules)
        .into_iter()
        // Another crate that lib.rs passes on, such as `$crate::inventory`, is no room.
        .filter(|(_, used)| rooms.iter().any(|(name, _)| name == used))
        .filter(|(_, used)| *used != room && !allowed.contains(&used.as_str()))
        .map(|(line, used)| format!("{}:{line}: `{room}` may not use `{used}`", file.name))
        .collect()
}

#[test]
fn rooms_are_used_one_way() {
    let files = rust_files("crates/framework/src");
    assert!(files.len() > 20, "the framework's source was not found");
    none(&files.iter().flat_map(|file| wrong_ways(ROOMS, file)).collect::<Vec<_>>());
}

#[test]
fn the_table_of_rooms_has_no_circle() {
    for (at, (room, uses)) in ROOMS.iter().enumerate() {
        for used in *uses {
            let above = ROOMS[..at].iter().any(|(name, _)| name == used);
            assert!(above, "`{room}` uses `{used}`, which does not stand above it");
        }
    }
}

#[test]
fn a_wrong_way_is_found() {
    let rooms: &[(&str, &[&str])] = &[("low", &[]), ("high", &["low"])];
    let problems = |name: &str, text: &str| {
        wrong_ways(rooms, &File { name: format!("crates/framework/src/{name}"), text: text.into() })
    };
    assert_eq!(
        problems("low/mod.rs", "\nuse crate::high::Thing;\n"),
        ["crates/framework/src/low/mod.rs:2: `low` may not use `high`"]
    );
    let wrong = [
        "use crate::{low::A, high::{B, C}};",
        "use crate::{\n    low::A,\n    high,\n};",
        "fn f() -> crate::high::Thing {}",
        "use super::super::high::Thing;",
        "macro_rules! m { () => { $crate::high::f() } }",
        "#[cfg(test)] mod tests {} use crate::high::Thing;",
    ];
    for text in wrong {
        assert_eq!(problems("low/part.rs", text).len(), 1, "{text}");
    }
    let right = [
        "use crate::low::A;",
        "use super::high::Thing;", // low::high, a part of this room
        "// use crate::high::Thing;",
        "/// See [`crate::high::Thing`].\nfn f() {}",
        "const TEXT: &str = \"crate::high\";",
        "const TEXT: &str = r#\"a \" crate::high\"#;",
        "#[cfg(test)]\nmod tests {\n    use crate::high::Thing;\n}",
        "#[cfg(test)]\nuse crate::high::Thing;",
    ];
    for text in right {
        assert_eq!(problems("low/part.rs", text), [""; 0], "{text}");
    }
    assert_eq!(problems("high.rs", "use crate::low::A; use super::low::B;"), [""; 0]);
    assert_eq!(problems("cellar/mod.rs", "").len(), 1, "a room that nobody put into the table");
}

/// What is wrong with the crates that a file uses.
fn wrong_doors(file: &File) -> Vec<String> {
    let code = Code::of(&file.text).without_tests();
    let mut problems = Vec::new();
    for (name, doors) in BEHIND_ONE_DOOR {
        if !doors.iter().any(|door| file.name.starts_with(door)) {
            problems.extend(
                code.lines_with(name).map(|line| (line, format!("{name} is used in {doors:?} only"))),
            );
        }
    }
    if file.module_path().is_some_and(|(room, _)| PURE.contains(&room)) {
        problems
            .extend(code.lines_with("tokio").map(|line| (line, "this room waits for nothing".to_owned())));
    }
    problems.into_iter().map(|(line, what)| format!("{}:{line}: {what}", file.name)).collect()
}

#[test]
fn replaceable_crates_are_behind_one_door() {
    let mut files = rust_files("crates");
    files.retain(|file| file.name.contains("/src/"));
    none(&files.iter().flat_map(wrong_doors).collect::<Vec<_>>());

    let problems = |name: &str, text: &str| wrong_doors(&File { name: name.into(), text: text.into() }).len();
    assert_eq!(problems("crates/framework/src/config/check.rs", "use serde_yaml::Value;"), 1);
    assert_eq!(problems("crates/framework/src/config/yaml.rs", "use serde_yaml::Value;"), 0);
    assert_eq!(problems("crates/framework/src/window/mod.rs", "use tokio::time;"), 1);
    assert_eq!(problems("crates/framework/src/run/mod.rs", "use tokio::time;"), 0);
    assert_eq!(problems("crates/plugins/src/csv/mod.rs", "use rdkafka::Message;"), 1);
}

fn too_long(file: &File) -> Option<String> {
    let lines = file.text.lines().count();
    (lines > LINES_OF_A_FILE).then(|| format!("{}: {lines} lines; divide it", file.name))
}

#[test]
fn no_file_is_long() {
    none(&rust_files("crates").iter().filter_map(too_long).collect::<Vec<_>>());
    let file = |lines: usize| File { name: "long.rs".into(), text: "\n".repeat(lines) };
    assert_eq!(too_long(&file(LINES_OF_A_FILE)), None);
    assert_eq!(too_long(&file(LINES_OF_A_FILE + 1)).as_deref(), Some("long.rs: 601 lines; divide it"));
}

#[test]
fn no_line_is_wide() {
    let files = rust_files("crates").into_iter().chain(markdown_files());
    none(&files.flat_map(|file| wide_lines(&file)).collect::<Vec<_>>());
    let wide = |name: &str, line: &str| {
        let text = format!("{line}{}", " word".repeat(COLUMNS / 5));
        wide_lines(&File { name: name.into(), text }).len()
    };
    assert_eq!((wide("a.rs", "// A comment"), wide("a.md", "A sentence")), (1, 1));
    assert_eq!((wide("a.rs", "let x ="), wide("a.md", "| a table"), wide("a.md", "# A heading")), (0, 0, 0));
    assert_eq!(wide_lines(&File { name: "a.md".into(), text: "x".repeat(COLUMNS + 1) }), [""; 0]);
}

/// What does not belong into finished code: notes of unfinished work, and panics that input could reach.
fn unfinished(file: &File, is_test: bool) -> Vec<String> {
    let mut problems = Vec::new();
    for (at, line) in file.text.lines().enumerate() {
        problems.extend(UNFINISHED.iter().filter(|word| line.contains(**word)).map(|word| (at + 1, *word)));
    }
    if !is_test {
        let code = Code::of(&file.text).without_tests();
        problems.extend(PANICS.iter().flat_map(|call| code.lines_with(call).map(move |line| (line, *call))));
    }
    if !file.text.starts_with("//! ") {
        problems.push((1, "no `//!` line that says what the file is"));
    }
    problems.into_iter().map(|(line, what)| format!("{}:{line}: {what}", file.name)).collect()
}

#[test]
fn code_is_finished() {
    let mut files = rust_files("crates");
    files.retain(|file| file.name.contains("/src/"));
    let tests = test_files(&files);
    let problems = files.iter().flat_map(|file| unfinished(file, tests.contains(&file.name.as_str())));
    none(&problems.collect::<Vec<_>>());
}

#[test]
fn unfinished_code_is_found() {
    let file = |text: &str| File { name: "a.rs".into(), text: text.into() };
    let problems = |text: &str| unfinished(&file(&format!("//! x\n{text}")), false);
    assert_eq!(problems("fn f() { x.unwrap() }"), ["a.rs:2: .unwrap()"]);
    assert_eq!(problems("// FIXME: later"), ["a.rs:2: FIXME"]);
    assert_eq!(problems("// x.unwrap()\n/// x.unwrap()\nfn f() {}"), [""; 0]);
    assert_eq!(problems("#[cfg(test)]\nmod tests { fn f() { x.unwrap() } }"), [""; 0]);
    assert_eq!(unfinished(&file("//! x\nfn f() { x.unwrap() }"), true), [""; 0]);
    assert_eq!(unfinished(&file("fn f() {}\n"), true).len(), 1);
}

#[test]
fn links_between_documents_lead_somewhere() {
    let files = markdown_files();
    assert!(files.iter().any(|file| file.name == "data/README.md"), "the documents were not found");
    none(&files.iter().flat_map(|file| markdown::broken_links(&files::root(), file)).collect::<Vec<_>>());
}
