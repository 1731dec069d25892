//! The web server: page, Socket.IO, limits, start and stop.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::{Router, middleware};
use pipectl_framework::config::Secret;
use pipectl_framework::error::{Error, Result};
use pipectl_framework::metrics::ChainFigures;
use socketioxide::{BroadcastError, ParserConfig, SocketError, SocketIo};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::accept::{self, Seats};
use super::assets::{self, Assets};
use super::guard::{self, ENGINE_PATH, Guard, token_matches};
use super::hub::{Hub, HubConfig, Published};
use super::results::Row;
use super::stats::stats;
use super::{legacy, live};

/// The greatest packet, frame and request body of a client, in bytes.
const LARGEST_PACKET: usize = 64 << 10;
/// How long a client may take from opening the connection to joining a namespace.
const JOIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages that wait for a client that is slow to read.
const CLIENT_BUFFER: usize = 128;
/// Of more new points than this in one go only the newest is told: clients see the jump and ask for the
/// history.
const MOST_POINTS_AT_ONCE: usize = 32;
/// How long clients may take to be told good-bye, and then connections to end.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(900);

/// What the server is told by the configuration.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Who may ask.
    pub guard: Guard,
    /// What clients must show, where anything.
    pub token: Option<Secret>,
    /// Connections at a time.
    pub max_connections: usize,
    /// Of these, those of one address, unless it is this machine's own.
    pub max_per_address: usize,
    /// The page.
    pub assets: Assets,
}

/// What the handlers of both namespaces work on.
#[derive(Debug)]
pub struct Shared {
    hub: Mutex<Hub>,
    started: Instant,
    token: Option<Secret>,
    max_clients: usize,
    lost: AtomicU64,
}

/// Why a client may not join; its text is the message of the client's `connect_error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// The token is wrong or missing.
    #[error("unauthorized")]
    Unauthorized,
    /// There are too many.
    #[error("too many clients")]
    Full,
}

impl Shared {
    /// Works on the history; the closure is given the time since the server started.
    pub(super) fn with_hub<T>(&self, work: impl FnOnce(&mut Hub, Duration) -> T) -> T {
        let mut hub = self.hub.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut hub, self.started.elapsed())
    }

    /// Whether one more client with this token may join a namespace.
    pub(super) fn admit(
        &self,
        io: &SocketIo,
        namespace: &str,
        token: Option<&str>,
    ) -> Result<(), NotAdmitted> {
        if let Some(expected) = &self.token
            && !token.is_some_and(|given| token_matches(expected.expose(), given))
        {
            return Err(NotAdmitted::Unauthorized);
        }
        // Polling clients hold no connection between two requests, so the seats do not count them.
        if clients(io, namespace) >= self.max_clients {
            return Err(NotAdmitted::Full);
        }
        Ok(())
    }

    /// Counts the messages that a full buffer has lost. A client that has gone loses nothing.
    pub(super) fn count_losses(&self, sent: Result<(), BroadcastError>) {
        match sent {
            Ok(()) => {}
            Err(BroadcastError::Socket(errors)) => {
                let full = errors.iter().filter(|e| matches!(e, SocketError::InternalChannelFull)).count();
                self.lost.fetch_add(full as u64, Relaxed);
            }
            Err(error) => tracing::warn!("message not sent: {error}"),
        }
    }
}

fn clients(io: &SocketIo, namespace: &str) -> usize {
    io.of(namespace).map_or(0, |namespace| namespace.sockets().len())
}

/// A server that is up.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    io: SocketIo,
    seats: Arc<Seats>,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
    figures: JoinHandle<()>,
}

impl Server {
    /// Binds the address and serves; must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Where the address cannot be had: fatal, with the remedy.
    pub async fn start(config: ServerConfig, hub: HubConfig, figures: Arc<[ChainFigures]>) -> Result<Self> {
        let listener = TcpListener::bind(config.listen).await.map_err(|e| cannot_listen(config.listen, e))?;
        let address = listener.local_addr().map_err(|e| cannot_listen(config.listen, e))?;
        let shared = Arc::new(Shared {
            hub: Mutex::new(Hub::new(new_epoch(), hub)),
            started: Instant::now(),
            token: config.token,
            max_clients: config.max_connections,
            lost: AtomicU64::new(0),
        });
        let (layer, io) = SocketIo::builder()
            .req_path(ENGINE_PATH)
            .max_payload(LARGEST_PACKET as u64)
            .ws_max_message_size(LARGEST_PACKET)
            .ws_max_frame_size(LARGEST_PACKET)
            .max_buffer_size(CLIENT_BUFFER)
            .connect_timeout(JOIN_TIMEOUT)
            .with_parser(
                ParserConfig::common()
                    .max_incoming_binaries(0)
                    .max_incoming_binary_buf_size(0)
                    .packet_completion_timeout(JOIN_TIMEOUT),
            )
            .build_layer();
        legacy::attach(&io, &shared);
        live::attach(&io, &shared);
        let router = Router::new()
            .fallback(assets::serve)
            .with_state(Arc::new(config.assets))
            .layer(layer)
            .layer(middleware::from_fn_with_state(Arc::new(config.guard), guard::layer));
        let (stop, stopped) = watch::channel(false);
        let seats = Seats::new(config.max_connections, config.max_per_address);
        let accepting = tokio::spawn(accept::run(listener, router, Arc::clone(&seats), stopped.clone()));
        let figures = tokio::spawn(tell_figures(io.clone(), Arc::clone(&shared), figures, stopped));
        Ok(Self { address, shared, io, seats, stop, accepting, figures })
    }

    /// Where it listens; with the port that it was given where the configuration says 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.seats.taken()
    }

    /// Messages that were lost to clients too slow to take them.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Relaxed)
    }

    /// Stores results, each a window's event time and its rows, then tells them to everybody.
    pub async fn publish<'a, R>(&self, results: impl IntoIterator<Item = (i64, R)>)
    where
        R: IntoIterator<Item: Into<Row<'a>>>,
    {
        let told: Vec<Published> = self
            .shared
            .with_hub(|hub, now| results.into_iter().map(|(t, rows)| hub.publish(t, rows, now)).collect());
        let points = told.iter().filter(|published| published.point.is_some()).count();
        let mut untold = if points > MOST_POINTS_AT_ONCE { points - 1 } else { 0 };
        for published in &told {
            if let Some(point) = &published.point {
                if untold > 0 {
                    untold -= 1;
                } else {
                    live::tell(&self.io, &self.shared, point).await;
                }
            }
            if let Some(data) = &published.legacy {
                legacy::tell(&self.io, &self.shared, data).await;
                if told.len() > MOST_POINTS_AT_ONCE {
                    // Lets the clients' writers take what waits, before the next one is put behind it.
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Says good-bye to every client, so that they come back by themselves, and ends within two seconds.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if tokio::time::timeout(CLOSE_TIMEOUT, self.io.close()).await.is_err() {
            tracing::debug!("some clients did not take the good-bye");
        }
        self.figures.abort();
        let ending = self.accepting.abort_handle();
        if tokio::time::timeout(CLOSE_TIMEOUT, self.accepting).await.is_err() {
            ending.abort();
        }
    }
}

async fn tell_figures(
    io: SocketIo,
    shared: Arc<Shared>,
    figures: Arc<[ChainFigures]>,
    mut stop: watch::Receiver<bool>,
) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = accept::stopped(&mut stop) => return,
            _ = second.tick() => {}
        }
        let clients = clients(&io, live::NAMESPACE);
        if clients > 0 {
            let refused = shared.with_hub(|hub, _| hub.values_refused());
            let uptime = shared.started.elapsed().as_millis() as u64;
            let stats = stats(&figures, uptime, clients, shared.lost.load(Relaxed), refused);
            live::tell_stats(&io, &stats).await;
        }
    }
}

/// A name that no other run has; chance enough to tell two runs apart, no secret.
fn new_epoch() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

fn cannot_listen(listen: SocketAddr, error: std::io::Error) -> Error {
    let remedy = match error.kind() {
        ErrorKind::AddrInUse => {
            "stop the program that has it (another pipectl?), or give the socketio sink another `listen:`"
        }
        ErrorKind::PermissionDenied => "ports below 1024 need rights; use one above, such as 127.0.0.1:5000",
        ErrorKind::AddrNotAvailable => "this machine has no such address; 127.0.0.1 is always there",
        _ => "check `listen:` of the socketio sink",
    };
    match error.kind() {
        ErrorKind::AddrInUse => Error::fatal(format!("{listen} is already in use")).remedy(remedy),
        _ => Error::fatal(format!("cannot listen on {listen}")).remedy(remedy).caused_by(error),
    }
}
