//! Bounds: seats, slow writers, clients that never read.

use std::time::Duration;

use pipectl_plugins::socketio::server::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::{Trial, Ws, hub_config, raw, request, soon};

#[tokio::test]
async fn without_a_seat_a_client_is_told_503_and_a_free_one_is_used_again() {
    let trial = Trial::start(|c| c.max_connections = 3).await;
    let at = trial.address();
    let mut sitting = Vec::new();
    for _ in 0..3 {
        sitting.push(Ws::live(at, "").await.0);
    }
    assert_eq!(trial.server.connections(), 3);
    let refused = raw(at, format!("GET / HTTP/1.1\r\nHost: {at}\r\n\r\n").as_bytes()).await.unwrap();
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("10")));
    sitting.pop();
    soon(async {
        while trial.server.connections() == 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(request(at, "GET /", "", "").await.status, 200);
    // Those that sit are not disturbed.
    trial.publish(1, &[("0", 1.0)]).await;
    for client in &mut sitting {
        assert_eq!(client.event().await.unwrap().1, "point");
    }
}

#[tokio::test]
async fn polling_clients_are_counted_though_they_hold_no_connection() {
    let trial = Trial::start(|c| c.max_connections = 2).await;
    let at = trial.address();
    let mut answers = Vec::new();
    for _ in 0..3 {
        let open = request(at, "GET /socket.io/?EIO=4&transport=polling", "", "").await;
        let sid = open.body.split('"').nth(3).unwrap().to_owned();
        request(at, &format!("POST /socket.io/?EIO=4&transport=polling&sid={sid}"), "", "40/live,").await;
        let mut received = String::new();
        while !received.contains("/live,") {
            received += &request(at, &format!("GET /socket.io/?EIO=4&transport=polling&sid={sid}"), "", "")
                .await
                .body;
        }
        answers.push(received);
    }
    assert!(answers[..2].iter().all(|a| a.contains("40/live,")), "{answers:?}");
    assert!(answers[2].contains(r#"44/live,{"message":"too many clients"}"#), "{}", answers[2]);
}

/// Time is held: it goes on when nothing else happens.
#[tokio::test(start_paused = true)]
async fn a_head_a_body_and_a_namespace_must_come_in_time() {
    let trial = Trial::start(|_| {}).await;
    let at = trial.address();
    let ends_within = async |limit: Duration, bytes: &str| {
        let began = tokio::time::Instant::now();
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // The paused clock jumps from timer to timer, so no patience is put around this.
        let _ = stream.read_to_end(&mut answer).await;
        assert!(began.elapsed() <= limit, "{:?} for {bytes:?}", began.elapsed());
        String::from_utf8_lossy(&answer).into_owned()
    };
    let second = Duration::from_secs(1);
    ends_within(11 * second, "").await;
    ends_within(11 * second, "GET / HTTP/1.1\r\nHost: loc").await;
    ends_within(11 * second, &format!("GET / HTTP/1.1\r\nHost: {at}\r\n\r\n")).await;

    let poll = "/socket.io/?EIO=4&transport=polling";
    let open =
        ends_within(11 * second, &format!("GET {poll} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n"))
            .await;
    let sid = open.split('"').nth(3).unwrap();
    let slow = format!("POST {poll}&sid={sid} HTTP/1.1\r\nHost: {at}\r\nContent-Length: 100\r\n\r\n40");
    ends_within(22 * second, &slow).await;

    // Opened, and never joined a namespace.
    let mut ws = Ws::open(at, "", &[]).await.unwrap();
    let began = tokio::time::Instant::now();
    while ws.packet().await.is_some() {}
    assert!(began.elapsed() <= 6 * second, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_client_that_never_reads_costs_the_others_nothing() {
    let trial = Trial::start(|_| {}).await;
    let (deaf, _) = Ws::live(trial.address(), "").await;
    let (mut hears, _) = Ws::live(trial.address(), "").await;
    // Wide points fill the deaf one's socket buffers and then its queue.
    let keys: Vec<String> = (0..200).map(|k| format!("{k:0>100}")).collect();
    for t in 0..20_000 {
        let rows: Vec<(&str, f64)> = keys.iter().map(|k| (k.as_str(), t as f64 + 0.123_456_789)).collect();
        trial.publish(t, &rows).await;
        let (_, _, point) = hears.event().await.unwrap();
        assert_eq!(point["seq"], t + 1);
        if trial.server.lost() > 0 {
            break;
        }
    }
    assert!(trial.server.lost() > 0, "its queue is bounded");
    drop(deaf);
}

#[tokio::test]
async fn an_address_in_use_is_named_with_the_remedy() {
    let trial = Trial::start(|_| {}).await;
    let page = tempfile::tempdir().unwrap();
    std::fs::write(page.path().join("index.html"), "").unwrap();
    let config = pipectl_plugins::socketio::server::ServerConfig {
        listen: trial.address(),
        guard: pipectl_plugins::socketio::guard::Guard::default(),
        token: None,
        max_connections: 1,
        max_per_address: 1,
        assets: pipectl_plugins::socketio::assets::Assets::find("page", page.path()).unwrap(),
    };
    let error = Server::start(config, hub_config(), [].into()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{} is already in use", trial.address()));
    assert!(error.help().unwrap().contains("another `listen:`"));
}
