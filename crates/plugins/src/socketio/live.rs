//! The namespace `/live`: history first, then one message per result.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use socketioxide::SocketIo;
use socketioxide::extract::{SocketRef, TryData};
use socketioxide::handler::ConnectHandler as _;

use super::server::Shared;
use super::wire::{HELLO, Hello, POINT, PointMessage, RESYNC, STATS};

/// The namespace.
pub const NAMESPACE: &str = "/live";
/// The room of those that have been greeted: only they are told points, so that `hello` is always the first
/// message.
const GREETED: &str = "greeted";
/// A client may ask so often in [`RESYNC_PERIOD`]; further questions are not answered (the page asks again
/// after 5 s).
const RESYNCS: u32 = 4;
/// See [`RESYNCS`].
const RESYNC_PERIOD: Duration = Duration::from_secs(5);

/// Opens the namespace.
pub fn attach(io: &SocketIo, shared: &Arc<Shared>) {
    let for_auth = Arc::clone(shared);
    let authorise = async move |TryData(auth): TryData<Value>, io: SocketIo| {
        for_auth.admit(&io, NAMESPACE, auth.as_ref().ok().and_then(|auth| auth["token"].as_str()))
    };
    let shared = Arc::clone(shared);
    let greet = async move |socket: SocketRef, TryData(auth): TryData<Value>| {
        let auth = auth.unwrap_or_default();
        listen(&socket, &shared);
        shared.with_hub(|hub, now| {
            let hello = hub.hello(auth["epoch"].as_str(), whole_number(&auth["since"]), now);
            send_hello(&socket, &hello);
        });
    };
    io.ns(NAMESPACE, greet.with(authorise));
}

/// Sends `hello` and lets the client hear points from then on. Called while the hub is held, so that no point
/// can come in between.
fn send_hello(socket: &SocketRef, hello: &Hello) {
    match socket.emit(HELLO, hello) {
        Ok(()) => socket.join(GREETED),
        // Its buffer is full or it has gone; where it is still there, it asks again.
        Err(error) => tracing::debug!("hello not sent: {error}"),
    }
}

fn listen(socket: &SocketRef, shared: &Arc<Shared>) {
    let shared = Arc::clone(shared);
    let allowance = Arc::new(Mutex::new(Allowance::default()));
    socket.on(RESYNC, async move |socket: SocketRef, TryData(data): TryData<Value>| {
        if !allowance.lock().unwrap_or_else(PoisonError::into_inner).spend(Instant::now()) {
            return;
        }
        let since = data.map(|data| whole_number(&data["since"])).unwrap_or_default();
        shared.with_hub(|hub, now| send_hello(&socket, &hub.resync(since, now)));
    });
}

/// How many questions a client still has in this period. Without it a client that asks and never reads would
/// fill its buffer with histories.
#[derive(Debug, Default)]
struct Allowance {
    since: Option<Instant>,
    spent: u32,
}

impl Allowance {
    fn spend(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.duration_since(since) >= RESYNC_PERIOD) {
            *self = Self { since: Some(now), spent: 0 };
        }
        self.spent += 1;
        self.spent <= RESYNCS
    }
}

/// Anything that is not a whole number of 0 or more counts as 0.
fn whole_number(value: &Value) -> u64 {
    value
        .as_u64()
        .or_else(|| value.as_f64().filter(|n| n.fract() == 0.0 && *n >= 0.0).map(|n| n as u64))
        .unwrap_or(0)
}

/// Tells everybody a point. It waits in each client's buffer (128 messages); where that is full the client
/// misses it and sees a jump.
pub async fn tell(io: &SocketIo, shared: &Shared, point: &PointMessage) {
    let Some(namespace) = io.of(NAMESPACE) else { return };
    shared.count_losses(namespace.within(GREETED).emit(POINT, point).await);
}

/// Tells everybody the figures; whoever is busy gets only the newest.
pub async fn tell_stats(io: &SocketIo, stats: &Value) {
    let Some(namespace) = io.of(NAMESPACE) else { return };
    if let Err(error) = namespace.within(GREETED).volatile().emit(STATS, stats).await {
        tracing::debug!("stats not sent: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_client_sends_is_a_number() {
        let of = |text: &str| whole_number(&serde_json::from_str(text).unwrap());
        assert_eq!((of("7"), of("7.0"), of("0")), (7, 7, 0));
        for text in ["-1", "1.5", "\"7\"", "null", "[]", "{}", "-1e400"] {
            let value = serde_json::from_str(text).unwrap_or_default();
            assert_eq!(whole_number(&value), 0, "{text}");
        }
    }

    #[test]
    fn questions_are_limited_per_period() {
        let mut allowance = Allowance::default();
        let start = Instant::now();
        let answered = (0..10).filter(|_| allowance.spend(start)).count();
        assert_eq!(answered, RESYNCS as usize);
        assert!(allowance.spend(start + RESYNC_PERIOD));
    }
}
