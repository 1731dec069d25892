//! Who is served: host, origin, token, the files of the page.

use pipectl_framework::config::Secret;
use pipectl_plugins::socketio::server::ServerConfig;

use super::client::{Trial, Ws, raw, request};

#[tokio::test]
async fn the_page_comes_with_its_headers() {
    let trial = Trial::start(|_| {}).await;
    let page = request(trial.address(), "GET /", "", "").await;
    assert_eq!((page.status, page.body.as_str()), (200, "<!doctype html><title>Trial</title>"));
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-cache"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(page.header(name), Some(value), "{name}");
    }
    let csp = page.header("content-security-policy").unwrap();
    assert!(csp.contains("default-src 'self'") && !csp.contains("unsafe"), "{csp}");

    let tag = page.header("etag").unwrap();
    let known = request(trial.address(), "GET /", &format!("If-None-Match: {tag}\r\n"), "").await;
    assert_eq!((known.status, known.body.as_str()), (304, ""));
    let head = request(trial.address(), "HEAD /", "", "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(request(trial.address(), "POST /", "", "x").await.status, 405);
    for path in ["/nothing", "/../Cargo.toml", "/%2e%2e/x", "/vendor/../x", "/..%5cx"] {
        let answer = request(trial.address(), &format!("GET {path}"), "", "").await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.header("x-content-type-options").is_some());
    }
}

#[tokio::test]
async fn another_origin_is_refused_on_both_transports_and_another_host_everywhere() {
    let trial = Trial::start(|c| c.guard.allowed_origins = vec!["https://friend.example.com".into()]).await;
    let at = trial.address();
    let own = format!("http://{at}");
    let evil = "http://evil.example.com";
    assert_eq!(Ws::open(at, "", &[("origin", evil)]).await.err(), Some(403));
    assert!(Ws::open(at, "", &[("origin", own.as_str())]).await.is_ok());
    let poll = "GET /socket.io/?EIO=4&transport=polling";
    assert_eq!(request(at, poll, &format!("Origin: {evil}\r\n"), "").await.status, 403);
    let refused = request(at, poll, "Sec-Fetch-Site: cross-site\r\n", "").await;
    assert_eq!(refused.status, 403);
    let friend = request(at, poll, "Origin: https://friend.example.com\r\n", "").await;
    assert_eq!(friend.status, 200);
    assert_eq!(friend.header("access-control-allow-origin"), Some("https://friend.example.com"));
    assert_eq!(friend.header("access-control-allow-credentials"), Some("true"));

    for path in ["/", "/socket.io/?EIO=4&transport=polling"] {
        let rebound = format!(
            "GET {path} HTTP/1.1\r\nHost: evil.example.com:{}\r\nConnection: close\r\n\r\n",
            at.port()
        );
        assert_eq!(raw(at, rebound.as_bytes()).await.unwrap().status, 403, "{path}");
    }
    let none = raw(at, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").await.unwrap();
    assert_eq!(none.status, 403);
}

#[tokio::test]
async fn a_token_is_asked_for_on_both_namespaces() {
    let with_token = |c: &mut ServerConfig| c.token = Some(Secret::new("s3cret"));
    let trial = Trial::start(with_token).await;
    let at = trial.address();
    for namespace in ["", "/live,"] {
        for auth in ["", r#"{"token":"wrong"}"#, r#"{"token":7}"#, r#"{"token":"s3cret "}"#, r#""s3cret""#] {
            let mut ws = Ws::open(at, "", &[]).await.unwrap();
            ws.send(&format!("40{namespace}{auth}")).await;
            let answer = ws.packet().await.unwrap();
            assert_eq!(answer, format!(r#"44{namespace}{{"message":"unauthorized"}}"#), "{auth}");
            // Whoever was refused hears nothing.
            trial.publish(1, &[("0", 1.0)]).await;
            ws.send(&format!(r#"42{namespace}["resync",{{"since":0}}]"#)).await;
            ws.send(&format!(r#"42{namespace}["test_connect"]"#)).await;
            // Speaking to a namespace that one is not in ends the connection (`1` is Engine.IO's good-bye).
            let heard = ws.packet().await;
            assert!(matches!(heard.as_deref(), None | Some("1")), "heard {heard:?}");
        }
    }
    let (_, hello) = Ws::live(at, r#"{"token":"s3cret"}"#).await;
    assert!(!hello.to_string().contains("s3cret"));
    // A client of Socket.IO 2 can only put it into the query.
    let mut ws = Ws::open(at, "&token=s3%63ret", &[]).await.unwrap();
    ws.send("40").await;
    assert!(ws.packet().await.unwrap().starts_with("40{"));
    // The page itself holds no data and is open.
    assert_eq!(request(at, "GET /", "", "").await.status, 200);
}

#[tokio::test]
async fn old_clients_are_served_only_where_they_are_allowed() {
    let poll = "GET /socket.io/?EIO=3&transport=polling";
    let strict = Trial::start(|_| {}).await;
    let refused = request(strict.address(), poll, "", "").await;
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("Unsupported protocol version"), "{}", refused.body);

    let open = Trial::start(|c| c.guard.legacy_clients = true).await;
    let opened = request(open.address(), poll, "", "").await;
    assert_eq!(opened.status, 200);
    assert!(opened.body.contains("\"sid\""), "{}", opened.body);
}
