//! Whatever comes over the wire, the server neither panics nor stops serving the others.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::client::{Trial, Ws, exchange, request};

/// Packets that break a rule of Engine.IO or Socket.IO somewhere.
const CROOKED: &[&str] = &[
    "",
    "4",
    "40",
    "40/",
    "40/live",
    "40/live,",
    "40/live,{",
    "40/nothing,",
    "40{\"token\":",
    "41",
    "41/live,",
    "42",
    "42[",
    "42[]",
    "42[1]",
    "42[null]",
    "42{}",
    "42\"x\"",
    "42/live",
    "42/live,[\"resync\"]",
    "42/live,[\"resync\",",
    "43",
    "430[]",
    "4399999999999999999999[]",
    "44",
    "45",
    "451-",
    "451-[\"x\",{\"_placeholder\":true,\"num\":0}]",
    "4599999999-[]",
    "45/live,1-[]",
    "461-[]",
    "47",
    "49",
    "5",
    "6",
    "7",
    "0",
    "0{}",
    "1",
    "2",
    "2probe",
    "3",
    "3probe",
    "\u{1e}",
    "b",
    "bAAA=",
    "b!!!",
    "40/live,\u{0}",
    "42[\"test_connect\",\"\\ud800\"]",
    "4\u{10ffff}",
];

/// Stands between the packets of one polling request.
const SEPARATOR: &str = "\u{1e}";

async fn still_serves(trial: &Trial) {
    let (_, hello) = Ws::live(trial.address(), "").await;
    assert_eq!(hello["proto"], 1);
    assert_eq!(request(trial.address(), "GET /", "", "").await.status, 200);
}

async fn over_websocket(trial: &Trial, packets: &[String]) {
    let mut ws = Ws::open(trial.address(), "", &[]).await.unwrap();
    for packet in packets {
        ws.send(packet).await;
    }
    // Ends the session, whatever was made of the packets.
    ws.send("1").await;
    while ws.packet().await.is_some() {}
}

async fn over_polling(trial: &Trial, body: &str) -> u16 {
    let at = trial.address();
    let open = request(at, "GET /socket.io/?EIO=4&transport=polling", "", "").await;
    let sid = open.body.split('"').nth(3).unwrap().to_owned();
    request(at, &format!("POST /socket.io/?EIO=4&transport=polling&sid={sid}"), "", body).await.status
}

#[tokio::test]
async fn crooked_packets() {
    let trial = Trial::start(|c| c.guard.legacy_clients = true).await;
    for packet in CROOKED {
        over_websocket(&trial, &[(*packet).to_owned()]).await;
        over_websocket(&trial, &["40/live,".into(), (*packet).to_owned(), (*packet).to_owned()]).await;
        let status = over_polling(&trial, packet).await;
        assert!(status < 500, "{packet:?}: {status}");
    }
    still_serves(&trial).await;
}

#[test]
fn random_packets() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let trial = runtime.block_on(Trial::start(|c| c.guard.legacy_clients = true));
    let crooked = prop_oneof![
        prop::sample::select(CROOKED).prop_map(str::to_owned),
        "4[0-6](/live,)?[0-9]{0,3}-?[\\[\\]{}\",:a-z0-9]{0,12}",
        "\\PC{0,16}",
    ];
    let mut runner = TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() });
    runner
        .run(&prop::collection::vec(crooked, 1..6), |packets| {
            runtime.block_on(async {
                over_websocket(&trial, &packets).await;
                let status = over_polling(&trial, &packets.join(SEPARATOR)).await;
                prop_assert!(status < 500, "{status}");
                Ok(())
            })
        })
        .unwrap();
    runtime.block_on(still_serves(&trial));
}

#[tokio::test]
async fn huge_packets_end_the_connection() {
    let trial = Trial::start(|_| {}).await;
    let huge = format!(r#"42/live,["resync",{{"since":"{}"}}]"#, "x".repeat(70_000));
    let (mut ws, _) = Ws::live(trial.address(), "").await;
    ws.send(&huge).await;
    while ws.packet().await.is_some() {}
    let status = over_polling(&trial, &huge).await;
    assert!((400..500).contains(&status), "{status}");
    still_serves(&trial).await;
}

#[tokio::test]
async fn crooked_http() {
    let trial = Trial::start(|_| {}).await;
    let at = trial.address();
    let long = format!("GET /{} HTTP/1.1\r\nHost: {at}\r\n\r\n", "x".repeat(100_000));
    let many: String = (0..2000).map(|n| format!("x-{n}: y\r\n")).collect();
    let many = format!("GET / HTTP/1.1\r\nHost: {at}\r\n{many}\r\n");
    for bytes in [
        "\r\n\r\n",
        "\0\0\0\0",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET http://evil.example.com/ HTTP/1.1\r\nHost: evil.example.com\r\n\r\n",
        &long,
        &many,
        "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
    ] {
        // An answer or an end; a reset of what the server did not read to its end is one too.
        if let Ok(answer) = exchange(at, bytes.as_bytes(), true).await {
            assert!(
                answer.status == 0 || (400..=505).contains(&answer.status),
                "{bytes:.40?}: {}",
                answer.status
            );
        }
    }
    for query in [
        "",
        "?",
        "?EIO=4",
        "?EIO=9&transport=polling",
        "?EIO=4&transport=carrier-pigeon",
        "?EIO=4&transport=polling&sid=x",
        "?EIO=4&transport=websocket",
        "?EIO=4&transport=websocket&sid=AAAAAAAAAAAAAAAA",
    ] {
        let status = request(at, &format!("GET /socket.io/{query}"), "", "").await.status;
        assert!((400..=500).contains(&status), "{query}: {status}");
    }
    still_serves(&trial).await;
}
