//! The source: the same rows each time, of the kinds asked for.

use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use pipectl_framework::clock::Clock;
use pipectl_framework::plugin::{Purpose, Registry, SourceBody};
use serde_json::json;

use super::*;
use crate::format::testing::say;

fn bind(with: Value) -> Result<BoundSource, Problem> {
    let registry = Registry::default();
    let context =
        BindContext { registry: &registry, base: Path::new("."), connections: &[], purpose: Purpose::Check };
    serde_json::from_value::<Generate>(with).unwrap().bind(&context)
}

fn source(with: Value) -> Box<dyn Source> {
    match bind(with).unwrap().body {
        SourceBody::Custom(source, _) => source,
        SourceBody::Log(_) => panic!("not a log"),
    }
}

fn context() -> SourceContext {
    SourceContext { clock: Clock::manual(0), once: false, batch_rows: 100, keeps_position: false }
}

/// Every batch up to the end, with the last position.
async fn drain(source: &mut dyn Source, position: Option<&Position>) -> (Vec<Batch>, Option<Position>) {
    source.open(&context(), position).await.unwrap();
    let (mut batches, mut last) = (Vec::new(), None);
    loop {
        match source.next().await.unwrap() {
            SourceEvent::Batch { batch, position, .. } => {
                batches.push(batch);
                last = Some(position);
            }
            SourceEvent::CaughtUp => {}
            SourceEvent::End => return (batches, last),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rows_follow_from_the_seed_and_a_restart_goes_on() {
    let with = |count, seed| {
        json!({ "count": count, "seed": seed, "fields": {
            "id": { "sequence": true },
            "age": { "between": [-3, 3] },
            "gender": { "values": ["0", 1, "x"], "weights": [0, 3, 1] },
        } })
    };
    let all = drain(&mut *source(with(300, 0)), None).await.0;
    assert_eq!(all.iter().map(Batch::rows).collect::<Vec<_>>(), [100, 100, 100]);
    let (first, position) = drain(&mut *source(with(100, 0)), None).await;
    let rest = drain(&mut *source(with(300, 0)), position.as_ref()).await.0;
    for (a, b) in all.iter().zip(first.iter().chain(&rest)) {
        assert_eq!((a.columns(), a.origin().offsets.to_vec()), (b.columns(), b.origin().offsets.to_vec()));
    }
    assert_ne!(drain(&mut *source(with(100, 1)), None).await.0[0].columns(), first[0].columns());

    let columns = all[2].columns();
    assert_eq!(columns.column(0).as_primitive::<Int64Type>().values()[99], 299);
    assert!(columns.column(1).as_primitive::<Int64Type>().values().iter().all(|v| (-3..=3).contains(v)));
    let mut counts = std::collections::BTreeMap::new();
    for batch in &all {
        for cell in batch.column(2).as_string::<i32>().iter().flatten() {
            *counts.entry(cell).or_insert(0) += 1;
        }
    }
    assert_eq!(counts.keys().copied().collect::<Vec<_>>(), ["1", "x"]);
    assert!((200..250).contains(&counts["1"]), "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rate_stamps_rows() {
    let with = json!({ "count": 3, "rate": "2/s", "fields": { "id": { "sequence": true } } });
    let (batches, position) = drain(&mut *source(with), None).await;
    assert_eq!(batches.iter().flat_map(|b| b.times().to_vec()).collect::<Vec<_>>(), [0, 500, 1000]);
    assert_eq!(position.unwrap().metadata, "1000");
}

#[tokio::test(start_paused = true)]
async fn only_wanted_fields_are_made_and_they_stay_the_same() {
    let with = json!({ "count": 5, "fields": { "a": { "between": [0, 9] }, "b": { "between": [0, 9] } } });
    let whole = drain(&mut *source(with.clone()), None).await.0;
    let mut narrow = source(with);
    assert_eq!(narrow.narrow(&["b".into()]).unwrap().fields().len(), 1);
    assert_eq!(drain(&mut *narrow, None).await.0[0].column(0), whole[0].column(1));
}

#[tokio::test(start_paused = true)]
async fn no_end_under_once_is_an_error() {
    let mut endless = source(json!({ "fields": { "id": { "sequence": true } } }));
    let once = SourceContext { once: true, ..context() };
    assert!(endless.open(&once, None).await.unwrap_err().to_string().contains("no `count`"));
}

#[test]
fn problems_stand_where_they_were_written() {
    let path = |made: Value| say(bind(json!({ "fields": { "x": made } }))).path;
    assert_eq!(path(json!({})), "fields.x");
    assert_eq!(path(json!({ "values": ["a"], "sequence": true })), "fields.x");
    assert_eq!(path(json!({ "between": [2, 1] })), "fields.x.between");
    assert_eq!(path(json!({ "values": [] })), "fields.x");
    assert_eq!(path(json!({ "values": ["a"], "weights": [1, 2] })), "fields.x.weights");
    assert_eq!(path(json!({ "values": [["a"]] })), "fields.x.values[0]");
    assert_eq!(say(bind(json!({ "fields": {} }))).path, "fields");
}
