//! Connections: taken, counted, limited in time, let go.
//!
//! A client that never reads, one that never writes and one that writes a byte a minute must each cost one
//! seat for a short while and nothing else.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::guard::ArrivedAt;

/// How long a request's head may take; also how long a connection may stand without a request.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long sent bytes may stay unacknowledged, or the client's window closed, before the kernel lets go.
const USER_TIMEOUT: Duration = Duration::from_secs(20);
/// The greatest head of a request, in bytes.
const LARGEST_HEAD: usize = 64 << 10;
/// So many refused connections are told so at a time; further ones are only closed.
const TOLD_AT_ONCE: usize = 64;

/// The seats of a server.
#[derive(Debug)]
pub struct Seats {
    max: usize,
    per_address: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One taken seat; free again when dropped.
#[derive(Debug)]
pub struct Seat {
    seats: Arc<Seats>,
    address: IpAddr,
}

impl Seats {
    /// `max` seats, of which one address may have `per_address`, this machine's own all.
    pub fn new(max: usize, per_address: usize) -> Arc<Self> {
        Arc::new(Self { max, per_address, taken: Mutex::default() })
    }

    /// A seat for a connection from `address`; `None` where all are taken, or this address has its share.
    pub fn take(self: &Arc<Self>, address: IpAddr) -> Option<Seat> {
        let address = address.to_canonical();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= self.max {
            return None;
        }
        let share = taken.by_address.entry(address).or_default();
        if *share >= self.per_address && !address.is_loopback() {
            return None;
        }
        *share += 1;
        taken.all += 1;
        Some(Seat { seats: Arc::clone(self), address })
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).all
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        if let Some(share) = taken.by_address.get_mut(&self.address) {
            *share -= 1;
            if *share == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

/// A connection on its seat: a websocket outlives the request that it began with, and so must its seat.
struct Seated {
    stream: TcpStream,
    _seat: Seat,
}

impl AsyncRead for Seated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Seated {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// Takes connections until `stop` turns true, then lets those that are open come to their end.
pub async fn run(listener: TcpListener, router: Router, seats: Arc<Seats>, mut stop: watch::Receiver<bool>) {
    let refusals = Arc::new(Semaphore::new(TOLD_AT_ONCE));
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            () = stopped(&mut stop) => break,
            Some(_) = open.join_next(), if !open.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => match seats.take(peer.ip()) {
                    Some(seat) => {
                        open.spawn(serve(stream, seat, router.clone(), stop.clone()));
                    }
                    None => refuse(stream, peer, &refusals),
                },
                Err(error) => {
                    // No descriptors left, most likely. Those that wait stay in the kernel's queue.
                    tracing::warn!("cannot take a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

/// Waits until the server is told to stop, or is gone.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn serve(stream: TcpStream, seat: Seat, router: Router, mut stop: watch::Receiver<bool>) {
    let Ok(at) = stream.local_addr() else { return };
    // Both only make bad connections cheaper; the connection serves without them.
    let _ = stream.set_nodelay(true);
    limit_unacknowledged(&stream);
    let io = TokioIo::new(Seated { stream, _seat: seat });
    let service = TowerToHyperService::new(router.layer(Extension(ArrivedAt(at))));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(LARGEST_HEAD);
    let mut connection = pin!(builder.serve_connection(io, service).with_upgrades());
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("connection ended: {error}");
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn limit_unacknowledged(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(USER_TIMEOUT));
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn limit_unacknowledged(_: &TcpStream) {}

/// Tells a connection that there is no seat, and reads a little before it is closed, so that the answer is
/// not lost to a reset.
fn refuse(mut stream: TcpStream, peer: SocketAddr, refusals: &Arc<Semaphore>) {
    const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 10\r\nConnection: close\r\n\
        Content-Type: text/plain; charset=utf-8\r\nContent-Length: 17\r\n\r\ntoo many clients\n";
    tracing::debug!(%peer, "no seat for a connection");
    let Ok(permit) = Arc::clone(refusals).try_acquire_owned() else { return };
    tokio::spawn(async move {
        let _permit = permit;
        let _ = tokio::time::timeout(Duration::from_secs(1), async {
            stream.write_all(FULL).await?;
            stream.shutdown().await?;
            let mut rest = [0; 1024];
            while stream.read(&mut rest).await? > 0 {}
            io::Result::Ok(())
        })
        .await;
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_this_machine_all() {
        const PER_ADDRESS: usize = 50;
        let seats = Seats::new(PER_ADDRESS + 10, PER_ADDRESS);
        let far: IpAddr = "10.0.0.1".parse().unwrap();
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        let mut held: Vec<Seat> = (0..PER_ADDRESS).map(|_| seats.take(far).unwrap()).collect();
        assert!(seats.take(far).is_none() && seats.take(mapped).is_none());
        let own: Vec<Seat> = (0..10).map(|_| seats.take("127.0.0.1".parse().unwrap()).unwrap()).collect();
        assert!(seats.take("127.0.0.1".parse().unwrap()).is_none(), "no seat is left");
        held.pop();
        assert_eq!(seats.taken(), PER_ADDRESS + 9);
        assert!(seats.take(mapped).is_some());
        drop((held, own));
        assert_eq!(seats.taken(), 0);
        assert!(seats.taken.lock().unwrap().by_address.is_empty());
    }
}
