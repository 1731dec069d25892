//! What a sink is told of the rows that come in to it: which columns tell them apart, and which values add
//! up.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use pipectl_framework::plugin::{
    Aggregate, AggregateState, Batch, BindContext, BoundSink, BoundWindow, Input, PerKey, Problem,
    RankedMeaning, Result, ResultMeaning, Sink, SinkContext, SinkPlugin, WindowPlugin,
};
use pipectl_framework::register;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{KAFKA, planned};

/// What each sink was told, by the name that its file gives it.
static TOLD: Mutex<BTreeMap<String, Option<ResultMeaning>>> = Mutex::new(BTreeMap::new());

/// Keeps what it is told.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Ear {
    name: String,
}

register!(sink: Ear);

impl SinkPlugin for Ear {
    const NAME: &'static str = "ear";
    const SUMMARY: &'static str = "keeps what it is told";
    const EXAMPLE: &'static str = "- sink: ear\n  with: { name: a }\n";

    fn bind(self, _: &Input, _: &BindContext<'_>) -> Result<BoundSink, Problem> {
        Ok(BoundSink::custom(self))
    }
}

#[async_trait]
impl Sink for Ear {
    fn told(&mut self, meaning: Option<&ResultMeaning>) -> Result<(), Problem> {
        let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert(self.name.clone(), meaning.cloned());
        Ok(())
    }

    async fn open(&mut self, _: &SinkContext) -> Result<()> {
        Ok(())
    }

    async fn write(&mut self, _: &Batch) -> Result<()> {
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Counts, and says that a key has a row for each count.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Buckets {}

register!(window: Buckets);

impl WindowPlugin for Buckets {
    const NAME: &'static str = "buckets";
    const SUMMARY: &'static str = "several rows for a key";
    const EXAMPLE: &'static str = "- window: buckets\n  with: { size: 1s }\n";

    fn bind(self, input: &Input, context: &BindContext<'_>) -> Result<BoundWindow, Problem> {
        let bound = context.aggregate("", "count", &serde_json::json!({ "as": "bucket" }), input)?;
        Ok(BoundWindow { reads: bound.reads, aggregate: Box::new(EachBucket(bound.aggregate)) })
    }
}

struct EachBucket(Box<dyn Aggregate>);

impl Aggregate for EachBucket {
    fn fields(&self) -> Vec<arrow_schema::Field> {
        self.0.fields()
    }

    fn state(&self) -> Box<dyn AggregateState> {
        self.0.state()
    }

    fn per_key(&self) -> PerKey {
        PerKey::Each("bucket".to_owned())
    }
}

/// What adds up for a sink behind these steps, and what tells its rows apart; `steps` stand behind a CSV file
/// of the fields k, g and v.
fn told(name: &str, steps: &str, more: &str) -> Option<ResultMeaning> {
    told_with(name, steps, more, &[]).map(|all| ResultMeaning { values: vec![], sessions: false, ..all })
}

/// The same where only these chains run.
fn told_with(name: &str, steps: &str, more: &str, only: &[&str]) -> Option<ResultMeaning> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rows.csv"), "k,g,v\na,b,1\n").unwrap();
    let rows = folder.path().join("rows.csv");
    let yaml = format!(
        "  counts:
    - source: csv
      with: {{ path: {} }}
    - transform: cast
      with: {{ fields: {{ v: integer }} }}
{steps}{more}",
        rows.display()
    )
    .replace("EAR", &format!("    - sink: ear\n      with: {{ name: {name} }}\n"));
    if let Err(problems) = planned(KAFKA, &yaml, only) {
        panic!("{yaml}\n{problems}");
    }
    TOLD.lock().unwrap_or_else(PoisonError::into_inner).remove(name).unwrap()
}

fn meaning(keys: &[&str], lost: &[&str], over_keys: &[&str], over_windows: &[&str]) -> ResultMeaning {
    let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    ResultMeaning {
        keys: all(keys),
        lost_keys: all(lost),
        over_keys: all(over_keys),
        over_windows: all(over_windows),
        ..ResultMeaning::default()
    }
}

fn window(kind: &str, with: &str) -> String {
    format!("    - window: {kind}\n      with: {{ {with} }}\nEAR")
}

#[test]
fn what_adds_up_depends_on_the_aggregate_and_on_whether_windows_overlap() {
    let count: &[&str] = &["count"];
    for (kind, with, expected) in [
        ("count-by-key", "key: k, size: 1s", Some(meaning(&["key"], &[], count, count))),
        ("count-by-key", "key: k, gap: 1s", Some(meaning(&["key"], &[], count, count))),
        ("count-by-key", "key: k, size: 1s, lateness: 1m", Some(meaning(&["key"], &[], count, count))),
        ("count-by-key", "key: k, size: 10s, emit: updates", Some(meaning(&["key"], &[], count, count))),
        ("count-by-key", "key: k, size: 10s, slide: 1s", Some(meaning(&["key"], &[], count, &[]))),
        ("count", "key: [k, g], size: 1s", Some(meaning(&["k", "g"], &[], count, count))),
        ("count", "size: 1s", Some(meaning(&[], &[], count, count))),
        (
            "sum",
            "key: k, size: 1s, field: v, as: total",
            Some(meaning(&["key"], &[], &["total"], &["total"])),
        ),
        ("avg", "key: k, size: 1s, field: v, as: mean", Some(meaning(&["key"], &[], &[], &[]))),
        ("max", "key: k, size: 1s, field: v, as: most", Some(meaning(&["key"], &[], &[], &[]))),
        ("count-distinct", "key: k, size: 1s, field: g", Some(meaning(&["key"], &[], &[], &[]))),
        (
            "aggregates",
            "key: k, size: 1s, columns: { n: count, s: { sum: { field: v } }, a: { avg: { field: v } } }",
            Some(meaning(&["key"], &[], &["n", "s"], &["n", "s"])),
        ),
        ("buckets", "key: k, size: 1s", Some(meaning(&["key", "bucket"], &[], &[], &[]))),
    ] {
        assert_eq!(told("windows", &window(kind, with), ""), expected, "{kind} {with}");
    }
    assert_eq!(told("windows", "EAR", ""), None, "rows are no results");
}

#[test]
fn the_first_few_in_an_order_are_told_apart_by_their_places() {
    let ranked = |place: Option<&str>, name: Option<&str>, again| {
        let owned = |name: Option<&str>| name.map(str::to_owned);
        let ranked = Some(RankedMeaning { place: owned(place), name: owned(name), again });
        Some(ResultMeaning { ranked, ..meaning(&[], &[], &[], &[]) })
    };
    let behind = |with: &str, steps: &str| {
        let window = window("top-k", &format!("size: 1s, field: k, k: 3{with}"));
        told("ranked", &window.replace("EAR", &format!("{steps}EAR")), "")
    };
    let step = |kind: &str, with: &str| format!("    - transform: {kind}\n      with: {{ {with} }}\n");
    let select = |fields: &str| step("select", &format!("fields: [{fields}]"));
    let (rank, k) = (Some("rank"), Some("k"));
    for (with, steps, expected) in [
        ("", String::new(), ranked(rank, k, false)),
        (", as: shop", String::new(), ranked(rank, Some("shop"), false)),
        (", emit: updates", String::new(), ranked(rank, k, true)),
        (", lateness: 1m", String::new(), ranked(rank, k, true)),
        (", emit: updates", select("k, count"), ranked(None, k, true)),
        (", emit: updates", select("rank, count"), ranked(rank, None, true)),
        (
            ", emit: updates",
            step("select", "fields: [k, rank], rename: { rank: at }"),
            ranked(Some("at"), k, true),
        ),
        // A place may be without its row now.
        (", emit: updates", step("filter", "field: k, in: [a]"), ranked(None, k, true)),
    ] {
        assert_eq!(behind(with, &steps), expected, "{with} {steps}");
    }
    let of_each = window("top-k", "key: g, size: 1s, field: k, k: 3, emit: updates");
    let filtered = of_each.replace("EAR", &format!("{}EAR", step("filter", "field: key, in: [a]")));
    assert_eq!(told("ranked", &filtered, ""), ranked(rank, k, true), "all places of one key, or none");
}

#[test]
fn the_numbers_of_an_aggregate_are_named_in_its_order() {
    let values = |kind: &str, with: &str| {
        let told = told_with("values", &window(kind, with), "", &[]).unwrap();
        (told.values.join(" "), told.sessions)
    };
    for (kind, with, expected) in [
        ("count-by-key", "key: k, size: 1s", ("count", false)),
        ("count-by-key", "key: k, gap: 1s", ("count", true)),
        ("quantiles", "field: v, size: 1s", ("p50 p95 p99", false)),
        ("top-k", "field: k, size: 1s", ("count", false)),
        ("aggregates", "size: 1s, columns: { s: { sum: { field: v } }, n: count }", ("s n", false)),
    ] {
        assert_eq!(values(kind, with), (expected.0.to_owned(), expected.1), "{kind} {with}");
    }
}

#[test]
fn it_goes_through_transforms_under_their_names() {
    let both = "    - window: count\n      with: { key: [k, g], size: 1s }\n";
    let behind = |steps: &str| told("transforms", &format!("{both}{steps}EAR"), "");
    let select = |what: &str| format!("    - transform: select\n      with: {{ {what} }}\n");
    let renamed = select("fields: [g, k, count], rename: { k: place, count: n }");
    assert_eq!(behind(&renamed), Some(meaning(&["place", "g"], &[], &["n"], &["n"])));
    let lost = select("fields: [k, count]");
    assert_eq!(behind(&lost), Some(meaning(&["k"], &["g"], &["count"], &["count"])));
    // Of one value of `g` there is one row for each `k`.
    let filter = "    - transform: filter\n      with: { field: g, in: [b] }\n";
    assert_eq!(behind(&format!("{filter}{lost}")), Some(meaning(&["k"], &[], &["count"], &["count"])));
    // What is made of a value is not that value.
    let cast = "    - transform: cast\n      with: { fields: { count: number } }\n";
    assert_eq!(behind(cast), Some(meaning(&["k", "g"], &[], &[], &[])));
}

#[test]
fn it_goes_through_topics_of_the_file_and_no_further() {
    let write = |encode: &str| {
        format!(
            "{}    - sink: kafka\n      with: {{ topic: results{encode} }}\n",
            window("count-by-key", "key: k, size: 1s")
        )
    };
    let read = |format: &str| {
        format!("  page:\n    - source: kafka\n      with: {{ topic: results, format: {format} }}\nEAR")
    };
    let through =
        |encode: &str, format: &str| told("topics", &write(encode).replace("EAR", ""), &read(format));
    let json = "{ json: { fields: { key: text, count: integer } } }";
    let pairs = "{ pairs: { key: who, count: n } }";
    let count: &[&str] = &["count"];
    assert_eq!(through("", json), Some(meaning(&["key"], &[], count, count)));
    assert_eq!(through(", encode: pairs", pairs), Some(meaning(&["who"], &[], &["n"], &["n"])));
    let nested = "{ json: { fields: { key: text, n: { type: integer, path: '$.count' } } } }";
    assert_eq!(through("", nested), Some(meaning(&["key"], &[], &[], &[])));
    // A worker that runs the page alone knows it as well.
    let alone = told_with("topics", &write("").replace("EAR", ""), &read(json), &["page"]);
    let values = vec!["count".to_owned()];
    assert_eq!(alone, Some(ResultMeaning { values, ..meaning(&["key"], &[], count, count) }));
    let other = read(json).replace("topic: results", "topic: others");
    assert_eq!(told("topics", "    - sink: stdout\n", &other), None);
    // Two chains that write it and do not mean the same.
    let second = "  means:
    - from: counts.cast
    - window: avg
      with: { key: k, size: 1s, field: v, as: count }
    - sink: kafka
      with: { topic: results }
";
    assert_eq!(told("topics", &write("").replace("EAR", ""), &format!("{second}{}", read(json))), None);
}
