//! The pipeline on a manual clock: rows in, a second later, counts out.

use std::path::Path;
use std::time::Duration;

// Links the plugins of this crate and those that ship with pipectl.
use pipectl as _;
use pipectl_framework::testing::{Graph, START};
use plugin_age_group as _;
use serde_json::json;

#[test]
fn counts_shoppers_by_the_label_of_their_age() {
    let base = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut graph = Graph::start(include_str!("../pipeline.yaml"), base, &[]).unwrap();
    let shopper = |code: &str| json!({ "age_range": code });
    graph.feed("ages.csv", &[shopper("1"), shopper("3"), shopper("3"), shopper("")]).unwrap();
    assert!(graph.rows("ages.stdout").unwrap().is_empty(), "the window is still open");
    graph.advance(Duration::from_secs(3));
    let row = |key: &str, count: i64| json!({ "window_start": START, "window_end": START + 1000, "key": key, "count": count });
    assert_eq!(graph.rows("ages.stdout").unwrap(), [row("under 18", 1), row("25-29", 2), row("unknown", 1)]);
    let balance = graph.finish().unwrap();
    assert!(balance.values().all(|b| b.holds()), "{balance:?}");
    assert_eq!(balance["ages.count-by-key"].rows_out, 4);
}

#[test]
fn a_misspelt_field_is_found_before_anything_starts() {
    let base = Path::new(env!("CARGO_MANIFEST_DIR"));
    let error = Graph::start(
        include_str!("../pipeline.yaml"),
        base,
        &["pipelines.ages.age-group.with.field=age_rnge"],
    )
    .err()
    .unwrap();
    assert!(
        error.contains("unknown field `age_rnge`") && error.contains("did you mean `age_range`?"),
        "{error}"
    );
}
