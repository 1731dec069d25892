//! A client of our own, down to the packets: what a library would hide is what is tested here.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use pipectl_plugins::socketio::assets::Assets;
use pipectl_plugins::socketio::guard::Guard;
use pipectl_plugins::socketio::hub::HubConfig;
use pipectl_plugins::socketio::series::SeriesConfig;
use pipectl_plugins::socketio::server::{Server, ServerConfig};
use pipectl_plugins::socketio::wire::{Chart, Page};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

/// Longer than anything here takes; a test that reaches it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server on a free port, with a page of its own.
pub(crate) struct Trial {
    pub server: Server,
    _page: tempfile::TempDir,
}

pub(crate) fn hub_config() -> HubConfig {
    HubConfig {
        history: 600,
        series: SeriesConfig { max: 200, ..SeriesConfig::default() },
        interval_ms: Some(1000),
        page: Page {
            title: "Trial".into(),
            subtitle: None,
            unit: String::new(),
            chart: Chart::Line,
            window_ms: 300_000,
            additive: true,
            totals: true,
        },
        legacy_keys: vec!["0".into(), "1".into()],
    }
}

impl Trial {
    pub(crate) async fn start(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let page = tempfile::tempdir().unwrap();
        std::fs::write(page.path().join("index.html"), "<!doctype html><title>Trial</title>").unwrap();
        let mut config = ServerConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            guard: Guard::default(),
            token: None,
            max_connections: 1000,
            max_per_address: 50,
            assets: Assets::find("page", page.path()).unwrap(),
        };
        change(&mut config);
        let server = Server::start(config, hub_config(), [].into()).await.unwrap();
        Self { server, _page: page }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// One result.
    pub(crate) async fn publish(&self, t: i64, rows: &[(&str, f64)]) {
        self.server.publish([(t, rows.iter().map(|(k, v)| (*k, Some(*v))))]).await;
    }
}

/// Waits, but not for ever.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it never came")
}

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Sends bytes on a connection of their own and reads to its end.
pub(crate) async fn raw(address: SocketAddr, bytes: &[u8]) -> io::Result<Answer> {
    exchange(address, bytes, false).await
}

/// The same; with `ends` the client says that nothing more will come, so that nobody waits for the rest of a
/// request.
pub(crate) async fn exchange(address: SocketAddr, bytes: &[u8], ends: bool) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(bytes).await?;
    if ends {
        stream.shutdown().await?;
    }
    let mut answer = Vec::new();
    soon(stream.read_to_end(&mut answer)).await?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

/// One request with the right host. `headers` end with `\r\n` each.
pub(crate) async fn request(address: SocketAddr, line: &str, headers: &str, body: &str) -> Answer {
    let head = format!("{line} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}");
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    raw(address, format!("{head}{length}\r\n{body}").as_bytes()).await.unwrap()
}

/// A Socket.IO 5 event packet as `(namespace, name, argument)`.
fn event(packet: &str) -> Option<(String, String, Value)> {
    let rest = packet.strip_prefix("42")?;
    let (namespace, json) = match rest.split_once(',') {
        Some((namespace, json)) if namespace.starts_with('/') => (namespace, json),
        _ => ("/", rest),
    };
    let Value::Array(items) = serde_json::from_str(json).unwrap() else { panic!("no event: {packet}") };
    let name = items[0].as_str().unwrap().to_owned();
    Some((namespace.to_owned(), name, items.get(1).cloned().unwrap_or(Value::Null)))
}

/// A websocket client.
pub(crate) struct Ws {
    pub socket: WebSocketStream<TcpStream>,
}

impl Ws {
    /// Opens Engine.IO over a websocket; the error is the HTTP status.
    pub(crate) async fn open(
        address: SocketAddr,
        query: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, u16> {
        let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket{query}");
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(address).await.unwrap();
        match client_async(request, stream).await {
            Ok((socket, _)) => {
                let mut ws = Self { socket };
                assert!(ws.packet().await.unwrap().starts_with("0{"), "the first packet opens");
                Ok(ws)
            }
            Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Opens and joins `/live`; the second is the `hello`.
    pub(crate) async fn live(address: SocketAddr, auth: &str) -> (Self, Value) {
        let mut ws = Self::open(address, "", &[]).await.unwrap();
        ws.send(&format!("40/live,{auth}")).await;
        assert!(ws.packet().await.unwrap().starts_with("40/live,{"), "joined");
        let (namespace, name, hello) = ws.event().await.unwrap();
        assert_eq!((namespace.as_str(), name.as_str()), ("/live", "hello"), "hello is the first event");
        (ws, hello)
    }

    /// Opens and joins `/`.
    pub(crate) async fn legacy(address: SocketAddr) -> Self {
        let mut ws = Self::open(address, "", &[]).await.unwrap();
        ws.send("40").await;
        assert!(ws.packet().await.unwrap().starts_with("40{"), "joined");
        ws
    }

    pub(crate) async fn send(&mut self, packet: &str) {
        // Where the server has closed the connection, the next read tells.
        let _ = self.socket.send(Message::text(packet)).await;
    }

    /// The next packet that is not a ping (which is answered), `None` at the end.
    pub(crate) async fn packet(&mut self) -> Option<String> {
        loop {
            match soon(self.socket.next()).await? {
                Ok(Message::Text(text)) if text.as_str() == "2" => self.send("3").await,
                Ok(Message::Text(text)) => return Some(text.to_string()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The next event that is not `stats`.
    pub(crate) async fn event(&mut self) -> Option<(String, String, Value)> {
        loop {
            let packet = self.packet().await?;
            if let Some(event) = event(&packet)
                && event.1 != "stats"
            {
                return Some(event);
            }
        }
    }
}
