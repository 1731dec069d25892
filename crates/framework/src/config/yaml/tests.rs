//! Both parsers see the same tree, and no text makes this one panic.

use proptest::prelude::*;

use super::*;

fn plain(node: &Node) -> serde_yaml::Value {
    match &node.value {
        Value::Null => serde_yaml::Value::Null,
        Value::Bool(b) => (*b).into(),
        Value::Number(n) => serde_yaml::to_value(n).unwrap(),
        Value::Text { text, .. } => text.as_str().into(),
        Value::List(items) => serde_yaml::Value::Sequence(items.iter().map(plain).collect()),
        Value::Map(entries) => serde_yaml::Value::Mapping(
            entries.iter().map(|e| (e.key.as_str().into(), plain(&e.node))).collect(),
        ),
    }
}

fn same_tree(text: &str) {
    let ours = parse(&SourceFile::new("t.yaml", text));
    let theirs = serde_yaml::from_str::<serde_yaml::Value>(text);
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => assert_eq!(plain(&ours), theirs, "{text}"),
        (Err(_), _) => {}
        (Ok(ours), Err(e)) => panic!("serde_yaml refuses what we take: {e}\n{text}\n{ours:?}"),
    }
}

#[test]
fn the_shipped_files_and_odd_ones_give_the_same_tree_in_both_parsers() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let mut seen = 0;
    for folder in ["", "/examples", "/examples/plugin-age-group"] {
        let Ok(entries) = std::fs::read_dir(format!("{root}{folder}")) else { continue };
        for path in entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "yaml"))
        {
            same_tree(&std::fs::read_to_string(&path).unwrap());
            seen += 1;
        }
    }
    assert!(seen > 0, "no shipped file was found");
    for text in [
        "a: [1, 2.5, 0x10, 0o7, 010, 1e3, -3, +4, .5, true, True, yes, no, null, ~, '', \"\\u4e0a\"]",
        "a: |\n  two\n  lines\nb: >\n  folded\n  text\n",
        "a:\n- 1\n- b: 2\n  c: [x, {y: z}]\n",
        "a: 2001-01-01\nb: 12:30:45\nc: 1_000\n",
        "上海市: 1\nb: 上海\n",
        "a: b # comment\n\n\nc: 'it''s'\n",
        "a:\r\n  b: 1\r\n",
        "- 1\n- \n- x\n",
    ] {
        same_tree(text);
    }
}

/// Keys are names here, as they are written: `{1: x}` has the key `1`, which is a number for `serde_yaml`.
fn with_text_keys(value: serde_yaml::Value) -> serde_yaml::Value {
    use serde_yaml::Value;
    let text = |key: Value| match key {
        Value::Number(number) => Value::String(number.to_string()),
        Value::Bool(truth) => Value::String(truth.to_string()),
        other => other,
    };
    match value {
        Value::Mapping(entries) => Value::Mapping(
            entries.into_iter().map(|(key, value)| (text(key), with_text_keys(value))).collect(),
        ),
        Value::Sequence(items) => Value::Sequence(items.into_iter().map(with_text_keys).collect()),
        other => other,
    }
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC{0,60}") {
        let _ = parse(&SourceFile::new("t.yaml", text));
    }

    #[test]
    fn yaml_like_text_is_parsed_as_serde_yaml_does_or_refused(
        text in "([a-c]: |- |  |\\[|\\]|\\{|\\}|, |1|true|'|\"|\n|#|x|\\$|上){0,24}"
    ) {
        let ours = parse(&SourceFile::new("t.yaml", text.clone()));
        let theirs = serde_yaml::from_str::<serde_yaml::Value>(&text);
        if let (Ok(ours), Ok(theirs)) = (&ours, &theirs) {
            prop_assert_eq!(plain(ours), with_text_keys(theirs.clone()));
        }
    }

    #[test]
    fn places_of_scalars_hold_their_text(keys in prop::collection::btree_set("[a-z上海]{1,6}", 1..5)) {
        let text = keys.iter().fold(String::new(), |text, k| text + k + ": v" + k + "\n");
        let file = SourceFile::new("t.yaml", text);
        for entry in parse(&file).unwrap().entries() {
            prop_assert_eq!(&file.text[entry.place.start..entry.place.end], &entry.key);
            let value = &file.text[entry.node.place.start..entry.node.place.end];
            prop_assert_eq!(value, format!("v{}", entry.key));
        }
    }
}

#[test]
fn bombs_and_deep_nesting_are_refused() {
    assert!(parse(&SourceFile::new("t", "[".repeat(100_000))).is_err());
    let deep = "[".repeat(MAX_DEPTH + 1);
    assert!(parse(&SourceFile::new("t", deep)).unwrap_err()[0].message.contains("deep"));
    let bomb = "a: &a [x,x]\nb: &b [*a,*a]\n";
    assert!(parse(&SourceFile::new("t", bomb)).unwrap_err()[0].message.contains("anchor"));
    let large = "a: ".to_owned() + &"x".repeat(MAX_BYTES);
    assert!(parse(&SourceFile::new("t", large)).unwrap_err()[0].message.contains("larger"));
}
