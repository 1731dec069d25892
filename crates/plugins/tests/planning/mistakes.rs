//! All mistakes of a file are told at once, each at its line, and nothing beside them.

use pipectl_framework::config::Diagnostic;

use super::*;

/// Mistakes of a file that is right: the line, what stands there, what is put in its place, and words of the
/// message.
const MISTAKES: [(&str, &str, &str); 22] = [
    ("brokers: embedded", "brokrs: embedded", "unknown key `brokrs`"),
    ("on_error: skip", "on_error: skp", "`on_error` cannot be"),
    ("format: \"%Y-%m-%d\"", "format: \"%Y-%m\"", "it does not say which day"),
    ("utc_offset: +08:00", "utc_offset: CST", "not an offset"),
    ("rate: 10/s", "rate: 10", "does not say per what"),
    ("fields: [gender, province]", "fields: [gendr, province]", "unknown field `gendr`"),
    ("rename: { gender: sex }", "rename: [gender]", "expected a mapping"),
    ("transform: filter", "transform: fliter", "there is no transform"),
    ("equals: \"1\"", "equal: \"1\"", "unknown key `equal`"),
    ("window: count-by-key", "window: count-by-kye", "there is no window"),
    ("size: 10s", "size: 10", "has no unit"),
    ("zero_fill: seen", "zero_fill: sene", "sene"),
    ("retry: off", "retry: on", "on"),
    ("value: key", "valu: key", "unknown key `valu`"),
    ("format: csv", "format: cvs", "`cvs` cannot stand here"),
    ("from: one.select", "from: one.selct", "has no step `selct`"),
    ("size: 20s", "size: tweny", "tweny"),
    ("field: item", "feild: item", "unknown key `feild`"),
    ("interval: 2s", "interval: 2 x", "not a unit"),
    ("history: 10", "history: ten", "expected a whole number"),
    ("connection: kafka", "connection: kafak", "there is no connection"),
    ("format: text", "format: txt", "there is no format"),
];

fn file() -> String {
    "name: shop
connections:
  kafka:
    brokers: embedded
pipelines:
  one:
    - source: csv
      on_error: skip
      time:
        text: \"2015-{month}-{day}\"
        format: \"%Y-%m-%d\"
        utc_offset: +08:00
      with:
        path: rows.csv
        rate: 10/s
    - transform: select
      with:
        fields: [gender, province]
        rename: { gender: sex }
    - transform: filter
      with:
        field: sex
        equals: \"1\"
    - window: count-by-key
      with:
        key: province
        size: 10s
        zero_fill: seen
    - sink: kafka
      retry: off
      with:
        topic: counts
        value: key
    - sink: stdout
      with:
        format: csv
  two:
    - from: one.select
    - window: count-distinct
      with:
        field: sex
        size: 20s
    - sink: stdout
  items:
    - source: csv
      with: { path: items.csv }
    - transform: cast
      with: { fields: { item: integer } }
    - window: sum
      with:
        size: 5s
        field: item
    - sink: stdout
  page:
    - source: kafka
      with:
        topic: counts
        connection: kafka
        format: text
    - window: count-by-key
      with: { key: value, size: 1s }
    - sink: socketio
      with:
        interval: 2s
        history: 10
"
    .to_owned()
}

fn check(yaml: &str) -> Vec<(usize, String)> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rows.csv"), "gender,province,month,day\n").unwrap();
    std::fs::write(folder.path().join("items.csv"), "item\n").unwrap();
    let registry = Registry::collect().unwrap();
    let options = PlanOptions {
        registry: &registry,
        base: folder.path(),
        only: &[],
        purpose: pipectl_framework::plugin::Purpose::Check,
    };
    let planned = Document::read(&SourceFile::new("test.yaml", yaml), &[], &|_| None)
        .and_then(|document| plan(&document, options).map(|_| ()));
    let problems = planned.err().unwrap_or_default();
    let line = |d: &Diagnostic| d.primary.place.file.line_column(d.primary.place.start).0;
    let mut found: Vec<(usize, String)> = problems.iter().map(|d| (line(d), d.message.clone())).collect();
    found.sort();
    found
}

/// The file with some of the mistakes in it, and what is to be told of it.
fn put(which: &[usize]) -> (String, Vec<(usize, &'static str)>) {
    let (mut yaml, mut expected) = (file(), Vec::new());
    for (right, wrong, said) in which.iter().map(|index| MISTAKES[*index]) {
        let at = yaml.find(right).unwrap_or_else(|| panic!("no {right}"));
        expected.push((1 + yaml[..at].matches('\n').count(), said));
        yaml.replace_range(at..at + right.len(), wrong);
    }
    expected.sort_unstable();
    (yaml, expected)
}

fn assert_exactly(which: &[usize]) {
    let (yaml, expected) = put(which);
    let found = check(&yaml);
    let same = found.len() == expected.len()
        && found.iter().zip(&expected).all(|(found, said)| found.0 == said.0 && found.1.contains(said.1));
    assert!(same, "expected {expected:#?}\nfound {found:#?}\n{yaml}");
}

#[test]
fn the_file_is_right_and_each_mistake_is_told_alone() {
    assert_eq!(check(&file()), []);
    for index in 0..MISTAKES.len() {
        assert_exactly(&[index]);
    }
}

/// Two of these hide each other: what serde cannot read is not bound, and of a source that is not bound
/// nobody knows the fields.
fn hide_each_other(one: usize, other: usize) -> bool {
    let of = |index: usize| match index {
        2 | 3 => 1,
        18 | 19 => 2,
        4..=6 => 3,
        20 | 21 => 4,
        7 | 8 => 5,
        _ => 100 + index,
    };
    one != other && of(one) == of(other)
}

proptest::proptest! {
    #[test]
    fn so_many_mistakes_so_many_messages(
        which in proptest::sample::subsequence((0..MISTAKES.len()).collect::<Vec<_>>(), 2..10)
    ) {
        let mut kept: Vec<usize> = Vec::new();
        for index in which {
            if kept.iter().all(|other| !hide_each_other(index, *other)) {
                kept.push(index);
            }
        }
        assert_exactly(&kept);
    }
}
