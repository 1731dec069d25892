//! How many pages the socketio server feeds: `cargo bench -p pipectl-plugins --bench socketio_fanout`.
//!
//! The server runs in a process of its own, so that its memory and CPU time are its own; this process holds
//! the clients. Each message carries the microsecond at which it was published. Set `CLIENTS`, `RATE` (a
//! second), `SECONDS`, and `DEAF`, how many clients come on top that join and never read; with 70 seconds and
//! more, all of those must be gone at the end. With `SERVE=host:port` it only serves, one result a second,
//! for a trial with other clients.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a program for people"
)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::{SinkExt as _, StreamExt as _};
use pipectl_framework::config::Secret;
use pipectl_plugins::socketio::assets::{Assets, DEFAULT_PAGE};
use pipectl_plugins::socketio::guard::Guard;
use pipectl_plugins::socketio::hub::HubConfig;
use pipectl_plugins::socketio::series::SeriesConfig;
use pipectl_plugins::socketio::server::{Server, ServerConfig};
use pipectl_plugins::socketio::wire::{Chart, Page};
use tokio_tungstenite::tungstenite::protocol::Message;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64
}

fn main() {
    let role = std::env::args().nth(1).unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if let Ok(listen) = std::env::var("SERVE") {
        runtime.block_on(serve(&listen, 1, u64::MAX));
    } else if role == "server" {
        runtime.block_on(serve("127.0.0.1:0", setting("RATE", 100), setting("SECONDS", 10)));
    } else {
        runtime.block_on(clients(setting("CLIENTS", 1000), setting("RATE", 100), setting("SECONDS", 10)));
    }
}

async fn serve(listen: &str, rate: u64, seconds: u64) {
    let config = ServerConfig {
        listen: listen.parse().unwrap(),
        guard: Guard { legacy_clients: true, ..Guard::default() },
        token: std::env::var("TOKEN").ok().map(Secret::new),
        max_connections: 20_000,
        max_per_address: 50,
        assets: Assets::find(DEFAULT_PAGE, &std::env::temp_dir().join("none")).unwrap(),
    };
    let hub = HubConfig {
        history: 600,
        series: SeriesConfig {
            max: 100,
            labels: [("0", "Women"), ("1", "Men")].map(|(k, l)| (k.to_owned(), l.to_owned())).into(),
            ..SeriesConfig::default()
        },
        interval_ms: Some(1000 / rate as i64),
        page: Page {
            title: "Trial".into(),
            subtitle: None,
            unit: "per second".into(),
            chart: Chart::Line,
            window_ms: 60_000,
            additive: true,
            totals: true,
        },
        legacy_keys: vec!["0".into(), "1".into()],
    };
    let server = Server::start(config, hub, [].into()).await.unwrap();
    println!("{}", server.address());
    if seconds != u64::MAX {
        // The parent says when all clients have joined.
        let mut line = String::new();
        tokio::task::spawn_blocking(move || std::io::stdin().read_line(&mut line)).await.unwrap().unwrap();
    }
    let cpu = cpu_seconds();
    let mut tick = tokio::time::interval(Duration::from_micros(1_000_000 / rate));
    for n in 0..rate.saturating_mul(seconds) {
        tick.tick().await;
        let now = micros();
        let rows = [("0", Some(now as f64)), ("1", Some((n % 7) as f64))];
        server
            .publish([(
                (now / 1000) as i64,
                if seconds == u64::MAX { [("0", Some((n % 5) as f64)), rows[1]] } else { rows },
            )])
            .await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    println!("{} {:.2} {} {}", peak_rss_kib(), cpu_seconds() - cpu, server.lost(), server.connections());
    server.stop().await;
}

async fn clients(clients: u64, rate: u64, seconds: u64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg("server")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = lines.next().unwrap().unwrap();
    let received = Arc::new(AtomicU64::new(0));
    let delays = Arc::new(Mutex::new(Vec::new()));
    let began = Instant::now();
    let joined: Vec<_> = futures_util::future::join_all((0..clients).map(|_| join(&address))).await;
    println!("{clients} clients joined in {:.2?}", began.elapsed());
    let deaf: Vec<_> = futures_util::future::join_all((0..setting("DEAF", 0)).map(|_| join(&address))).await;
    for mut socket in joined {
        let (received, delays) = (Arc::clone(&received), Arc::clone(&delays));
        tokio::spawn(async move {
            let mut own = Vec::with_capacity((rate * seconds) as usize);
            while let Some(Ok(message)) = socket.next().await {
                let Message::Text(text) = message else { break };
                if text.as_str() == "2" {
                    socket.send(Message::text("3")).await.ok();
                } else if let Some((_, rest)) = text.split_once("\"v\":[") {
                    let sent: u64 = rest.split_once(',').unwrap().0.parse().unwrap();
                    own.push(micros().saturating_sub(sent));
                    received.fetch_add(1, Relaxed);
                }
            }
            delays.lock().unwrap().append(&mut own);
        });
    }
    drop(child.stdin.take());
    let figures = tokio::task::spawn_blocking(move || lines.next().unwrap().unwrap()).await.unwrap();
    child.wait().unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut delays = std::mem::take(&mut *delays.lock().unwrap());
    delays.sort_unstable();
    let at = |share: f64| delays[((delays.len() - 1) as f64 * share) as usize] as f64 / 1000.0;
    let figures: Vec<f64> = figures.split(' ').map(|f| f.parse().unwrap()).collect();
    println!("delivered {} of {}", received.load(Relaxed), clients * rate * seconds);
    println!("delay ms: p50 {:.2}  p99 {:.2}  max {:.2}", at(0.5), at(0.99), at(1.0));
    println!(
        "server: peak RSS {:.1} MiB, CPU {:.0} % of a core, {} messages lost, {} connections at the end",
        figures[0] / 1024.0,
        figures[1] / seconds as f64 * 100.0,
        figures[2],
        figures[3]
    );
    println!("{} clients never read", deaf.len());
}

async fn join(address: &str) -> tokio_tungstenite::WebSocketStream<tokio::net::TcpStream> {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    // Small, so that a deaf client's window closes soon.
    socket.set_recv_buffer_size(8 << 10).unwrap();
    let stream = socket.connect(address.parse().unwrap()).await.unwrap();
    let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    socket.send(Message::text("40/live,")).await.unwrap();
    loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Text(text) if text.starts_with("42/live,[\"hello\"") => return socket,
            Message::Text(text) if text.as_str() == "2" => socket.send(Message::text("3")).await.unwrap(),
            _ => {}
        }
    }
}

/// The greatest memory that this process has had.
fn peak_rss_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

/// The CPU time of this process; clock ticks are hundredths of a second on Linux.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}
