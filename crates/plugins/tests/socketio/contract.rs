//! What a client that keeps to the contract sees.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use serde_json::json;

use super::client::{Trial, Ws, raw, request, soon};

#[tokio::test]
async fn the_old_page_is_greeted_alone_and_hears_every_result() {
    let trial = Trial::start(|_| {}).await;
    let mut asks = Ws::legacy(trial.address()).await;
    let mut silent = Ws::legacy(trial.address()).await;
    asks.send(r#"42["test_connect",{"data":"x"}]"#).await;
    let connected = asks.event().await.unwrap();
    assert_eq!(connected, ("/".into(), "connected".into(), json!({"data": "Connected"})));
    // Its data may be anything.
    asks.send(r#"42["test_connect"]"#).await;
    asks.event().await.unwrap();

    trial.publish(999, &[("2", 4.0)]).await;
    trial.publish(1999, &[("1", 7.0), ("0", 5.0)]).await;
    trial.publish(2999, &[("0", 6.0)]).await;
    for client in [&mut asks, &mut silent] {
        for data in ["0,0", "5,7", "6,7"] {
            let message = client.event().await.unwrap();
            assert_eq!(message, ("/".into(), "test_message".into(), json!({ "data": data })));
        }
    }
}

#[tokio::test]
async fn a_page_gets_the_history_then_points_then_what_it_missed() {
    let trial = Trial::start(|_| {}).await;
    trial.publish(999, &[("0", 5.0)]).await;
    let (mut ws, hello) = Ws::live(trial.address(), "").await;
    assert_eq!(
        (&hello["proto"], &hello["last_seq"], &hello["page"]["title"]),
        (&json!(1), &json!(1), &json!("Trial"))
    );
    assert_eq!(hello["points"], json!([{"seq": 1, "t": 999, "v": [5]}]));
    let epoch = hello["epoch"].as_str().unwrap().to_owned();

    trial.publish(1999, &[("0", 6.0)]).await;
    assert_eq!(ws.event().await.unwrap().2, json!({"seq": 2, "t": 1999, "v": [6]}));
    // A new key brings the whole list with it.
    trial.publish(2999, &[("<b>", 1.0)]).await;
    let series = json!([{"key": "0", "label": "0"}, {"key": "<b>", "label": "<b>"}]);
    assert_eq!(ws.event().await.unwrap().2, json!({"seq": 3, "t": 2999, "v": [null, 1], "series": series}));
    // Another worker's keys of the same window; then the same again, which tells nothing.
    trial.publish(2999, &[("0", 2.0)]).await;
    trial.publish(2999, &[("0", 2.0)]).await;
    assert_eq!(ws.event().await.unwrap().2, json!({"seq": 4, "t": 2999, "v": [2, 1]}));

    ws.send(r#"42/live,["resync",{"since":1}]"#).await;
    let (_, name, hello) = ws.event().await.unwrap();
    assert_eq!(name, "hello");
    assert_eq!(hello["points"], json!([{"seq": 2, "t": 1999, "v": [6]}, {"seq": 4, "t": 2999, "v": [2, 1]}]));
    assert_eq!((&hello["totals"], &hello["last_seq"]), (&json!([13, 1]), &json!(4)));

    let (_, again) = Ws::live(trial.address(), &format!(r#"{{"epoch":"{epoch}","since":2}}"#)).await;
    assert_eq!(again["points"], json!([{"seq": 4, "t": 2999, "v": [2, 1]}]));
    let (_, other) = Ws::live(trial.address(), r#"{"epoch":"another","since":2}"#).await;
    assert_eq!(other["points"].as_array().unwrap().len(), 3);
    // Nonsense is taken for nothing.
    for auth in [r#""x""#, "[]", r#"{"epoch":7,"since":"x"}"#, r#"{"since":-3}"#] {
        assert_eq!(Ws::live(trial.address(), auth).await.1["points"].as_array().unwrap().len(), 3, "{auth}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hello_is_first_and_no_point_is_missed_however_a_client_comes_in() {
    let trial = Arc::new(Trial::start(|_| {}).await);
    let go_on = Arc::new(AtomicBool::new(true));
    // Of more than 32 new points only the newest is told: the publisher stays closer than that, on a busy
    // machine too.
    let seen = Arc::new(AtomicU64::new(0));
    let publisher = tokio::spawn({
        let (trial, go_on, seen) = (Arc::clone(&trial), Arc::clone(&go_on), Arc::clone(&seen));
        async move {
            for t in 0.. {
                while t as u64 >= seen.load(Relaxed) + 30 && go_on.load(Relaxed) {
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                }
                if !go_on.load(Relaxed) {
                    return;
                }
                trial.publish(t, &[("0", 1.0)]).await;
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        }
    });
    for _ in 0..40 {
        // `live` fails where anything comes before `hello`.
        let (mut ws, hello) = Ws::live(trial.address(), "").await;
        let mut last = hello["last_seq"].as_u64().unwrap();
        seen.store(last, Relaxed);
        for _ in 0..10 {
            let (_, name, point) = ws.event().await.unwrap();
            let seq = point["seq"].as_u64().unwrap();
            assert_eq!((name.as_str(), seq), ("point", last + 1));
            last = seq;
            seen.store(last, Relaxed);
        }
    }
    go_on.store(false, Relaxed);
    publisher.await.unwrap();
    assert_eq!(trial.server.lost(), 0);
}

#[tokio::test]
async fn polling_gets_the_same_a_long_history_too() {
    let trial = Trial::start(|_| {}).await;
    let keys: Vec<String> = (0..100).map(|k| format!("key {k}")).collect();
    for t in 0..600 {
        let rows: Vec<(&str, f64)> = keys.iter().map(|k| (k.as_str(), 10_000.0)).collect();
        trial.publish(t, &rows).await;
    }
    let at = trial.address();
    let poll = "GET /socket.io/?EIO=4&transport=polling";
    let open = request(at, poll, "", "").await;
    let opened: serde_json::Value = serde_json::from_str(&open.body[1..]).unwrap();
    assert_eq!(opened["maxPayload"], 65536);
    let sid = opened["sid"].as_str().unwrap();
    let post = format!("POST /socket.io/?EIO=4&transport=polling&sid={sid}");
    assert_eq!(request(at, &post, "", "40/live,").await.body, "ok");
    let poll = format!("{poll}&sid={sid}");
    let mut received = String::new();
    while !received.contains(r#"42/live,["hello""#) {
        received += &request(at, &poll, "", "").await.body;
        received.push('\u{1e}');
    }
    assert!(received.len() > 200_000, "the history is longer than a client may send: {}", received.len());
    let hello = received.split('\u{1e}').find(|p| p.starts_with("42/live,[\"hello\"")).unwrap();
    let hello: serde_json::Value = serde_json::from_str(&hello["42/live,".len()..]).unwrap();
    assert_eq!(hello[1]["points"].as_array().unwrap().len(), 600);
    // And over a websocket.
    let (_, hello) = Ws::live(at, "").await;
    assert_eq!(hello["points"].as_array().unwrap().len(), 600);
}

#[tokio::test]
async fn of_many_results_at_once_the_newest_is_told_and_the_rest_is_asked_for() {
    let trial = Trial::start(|_| {}).await;
    let (mut ws, _) = Ws::live(trial.address(), "").await;
    let mut old = Ws::legacy(trial.address()).await;
    let results = (0..100).map(|t| (t, [("0", Some(t as f64))]));
    trial.server.publish(results).await;
    assert_eq!(ws.event().await.unwrap().2["seq"], 100);
    ws.send(r#"42/live,["resync",{"since":0}]"#).await;
    assert_eq!(ws.event().await.unwrap().2["points"].as_array().unwrap().len(), 100);
    // The old page has no history: it is told each.
    for n in 0..100 {
        assert_eq!(old.event().await.unwrap().2, json!({"data": format!("{n},0")}));
    }
}

#[tokio::test]
async fn stats_come_by_themselves() {
    let trial = Trial::start(|_| {}).await;
    let (mut ws, _) = Ws::live(trial.address(), "").await;
    let stats = loop {
        let packet = ws.packet().await.unwrap();
        if let Some(json) = packet.strip_prefix(r#"42/live,["stats","#) {
            break serde_json::from_str::<serde_json::Value>(json.strip_suffix(']').unwrap()).unwrap();
        }
    };
    assert_eq!((&stats["clients"], &stats["chains"]), (&json!(1), &json!([])));
}

#[tokio::test]
async fn at_the_end_the_transport_is_closed_and_never_the_namespace() {
    let trial = Trial::start(|_| {}).await;
    let (mut live, _) = Ws::live(trial.address(), "").await;
    let mut old = Ws::legacy(trial.address()).await;
    let address = trial.address();
    let open = request(address, "GET /socket.io/?EIO=4&transport=polling", "", "").await;
    let sid = open.body.split('"').nth(3).unwrap().to_owned();
    let poll = tokio::spawn(async move {
        let line =
            format!("GET /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        raw(address, line.as_bytes()).await
    });
    let began = std::time::Instant::now();
    trial.server.stop().await;
    assert!(began.elapsed() < std::time::Duration::from_secs(2), "{:?}", began.elapsed());
    for client in [&mut live, &mut old] {
        while let Some(packet) = client.packet().await {
            assert!(!packet.starts_with("41"), "a namespace disconnect keeps clients away: {packet}");
        }
    }
    // A client that waits in a long poll is let go as well.
    let _ = soon(poll).await.unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
