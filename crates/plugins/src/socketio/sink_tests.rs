//! The configuration's checks, and the sink as the runner uses it.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use pipectl_framework::clock::Clock;
use pipectl_framework::plugin::{Origin, Partition, Purpose, Registry};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

fn input() -> Input {
    let fields = vec![Field::new("key", DataType::Utf8, true), Field::new("count", DataType::Int64, true)];
    Input { schema: Arc::new(Schema::new(fields)), given_by: "the test".into() }
}

fn bind(with: Value) -> Result<BoundSink, Problem> {
    let registry = Registry::default();
    let base = tempfile::tempdir().unwrap();
    std::fs::create_dir(base.path().join("mine")).unwrap();
    std::fs::write(base.path().join("mine/index.html"), "<p>mine").unwrap();
    let context =
        BindContext { registry: &registry, base: base.path(), connections: &[], purpose: Purpose::Check };
    let mut with = with;
    with.as_object_mut().unwrap().entry("page").or_insert(json!("mine"));
    serde_json::from_value::<SocketIoSink>(with).unwrap().bind(&input(), &context)
}

fn problem(with: Value) -> (String, String) {
    let problem = bind(with).err().unwrap();
    (problem.path, problem.message)
}

#[test]
fn what_cannot_be_used_is_said_with_its_place() {
    for (with, path, message) in [
        (json!({"listen": "localhost"}), "listen", "`localhost` is not an address to listen on"),
        (json!({"listen": "0.0.0.0:5000"}), "listen", "other machines could read the data without a token"),
        (json!({"listen": "[::]:5000"}), "listen", "other machines could read the data without a token"),
        (json!({"page": "nowhere"}), "page", "there is no page `nowhere`"),
        (json!({"key": "kee"}), "key", "unknown field `kee`"),
        (json!({"value": "key"}), "value", "field `key` is not a number"),
        (json!({"history": 0}), "history", "must be from 1 to 100000"),
        (json!({"max_series": 1001}), "max_series", "must be from 1 to 1000"),
        (json!({"title": " "}), "title", "a page needs a title"),
        (json!({"interval": "0ms"}), "interval", "must be longer than nothing"),
        (json!({"colours": {"0": "red;}"}}), "colours.0", "`red;}` is not a CSS colour"),
        (json!({"legacy": {"keys": []}}), "legacy.keys", "without keys there is nothing to send"),
        (json!({"allowed_hosts": ["a", "http://b"]}), "allowed_hosts[1]", "`http://b` is not a host"),
        (json!({"allowed_origins": ["b"]}), "allowed_origins[0]", "`b` is not an origin"),
        (json!({"allowed_origins": ["https://b/"]}), "allowed_origins[0]", "`https://b/` is not an origin"),
    ] {
        let found = problem(with.clone());
        assert_eq!((found.0.as_str(), found.1.as_str()), (path, message), "{with}");
    }
    assert!(serde_json::from_value::<SocketIoSink>(json!({"titel": "x"})).is_err());
    for no_token in [json!(""), json!(null)] {
        let error = serde_json::from_value::<SocketIoSink>(json!({ "token": no_token })).unwrap_err();
        assert!(error.to_string().starts_with("expected a secret, and"), "{error}");
    }
}

#[test]
fn a_wide_bind_is_had_with_a_token_or_an_explicit_word() {
    for with in [
        json!({"listen": "0.0.0.0:0", "token": "t"}),
        json!({"listen": "[::]:0", "insecure": true}),
        json!({"listen": "localhost:0"}),
        json!({"listen": "127.0.0.2:0"}),
    ] {
        assert!(bind(with.clone()).is_ok(), "{with}");
    }
}

#[test]
fn it_reads_only_what_it_needs() {
    let Reads::Only(read) = bind(json!({})).unwrap().reads else { panic!("reads everything") };
    assert_eq!(read, ["key", "count"]);
}

fn batch(rows: &[(&str, i64)], t: i64) -> Batch {
    let keys: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|(k, _)| *k)));
    let counts: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, c)| *c)));
    let columns = RecordBatch::try_new(input().schema, vec![keys, counts]).unwrap();
    let origin =
        Origin { partition: Partition::new("result", 0), offsets: vec![0; rows.len()].into(), replay: false };
    Batch::new(columns, vec![t; rows.len()].into(), origin).unwrap()
}

async fn get(url: &str, path: &str) -> String {
    let host = url.strip_prefix("http://").unwrap().split('/').next().unwrap();
    let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn it_serves_from_open_to_close_and_keeps_its_history_over_a_failure() {
    let SinkBody::Custom(mut sink) = bind(json!({"listen": "127.0.0.1:0", "token": "s3cret"})).unwrap().body
    else {
        panic!("not a sink of its own")
    };
    assert!(sink.addresses().is_empty());
    let context = SinkContext { clock: Clock::system(), figures: [].into() };
    sink.open(&context).await.unwrap();
    let address = sink.addresses().remove(0);
    assert!(address.ends_with("/#token=..."), "{address}");
    sink.write(&batch(&[("0", 5), ("1", 7)], 999)).await.unwrap();
    sink.flush().await.unwrap();
    // The chain failed: the sink is opened again, and what was not committed is written again.
    sink.open(&context).await.unwrap();
    assert_eq!(sink.addresses(), std::slice::from_ref(&address));
    sink.write(&batch(&[("0", 5), ("1", 7)], 999)).await.unwrap();
    sink.write(&batch(&[("0", 6)], 1999)).await.unwrap();

    let engine = "/socket.io/?EIO=4&transport=polling";
    assert!(get(&address, engine).await.contains("\"sid\""));
    assert!(get(&address, "/nothing").await.starts_with("HTTP/1.1 404"));
    sink.close().await.unwrap();
    let host = address.strip_prefix("http://").unwrap().split('/').next().unwrap();
    assert!(tokio::net::TcpStream::connect(host).await.is_err());
}

#[test]
fn the_shipped_page_is_in_the_program() {
    let registry = Registry::default();
    let context = BindContext {
        registry: &registry,
        base: Path::new("/nonexistent"),
        connections: &[],
        purpose: Purpose::Check,
    };
    let sink: SocketIoSink = serde_json::from_value(json!({"page": "dashboards/gender"})).unwrap();
    assert!(sink.bind(&input(), &context).is_ok());
}
