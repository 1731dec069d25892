//! The namespace `/`: what the page of the old system speaks, to the letter.

use std::sync::Arc;

use serde_json::Value;
use socketioxide::SocketIo;
use socketioxide::extract::{SocketRef, TryData};
use socketioxide::handler::ConnectHandler as _;

use super::assets::percent_decode;
use super::server::Shared;
use super::wire::{CONNECTED, LegacyData, TEST_CONNECT, TEST_MESSAGE};

/// The namespace.
pub const NAMESPACE: &str = "/";

/// Opens the namespace.
///
/// A client of Socket.IO 2 has no `auth`; it gives the token in the query of its address (`?token=...`).
pub fn attach(io: &SocketIo, shared: &Arc<Shared>) {
    let shared = Arc::clone(shared);
    let authorise = async move |socket: SocketRef, TryData(auth): TryData<Value>, io: SocketIo| {
        let auth = auth.unwrap_or_default();
        let query = socket.req_parts().uri.query().unwrap_or_default();
        let in_query = query.split('&').find_map(|pair| percent_decode(pair.strip_prefix("token=")?));
        shared.admit(&io, NAMESPACE, auth["token"].as_str().or(in_query.as_deref()))
    };
    let greet = async |socket: SocketRef| {
        socket.on(TEST_CONNECT, async |socket: SocketRef| {
            if let Err(error) = socket.emit(CONNECTED, &LegacyData { data: "Connected" }) {
                tracing::debug!("connected not sent: {error}");
            }
        });
    };
    io.ns(NAMESPACE, greet.with(authorise));
}

/// Tells everybody a result.
pub async fn tell(io: &SocketIo, shared: &Shared, data: &str) {
    let Some(namespace) = io.of(NAMESPACE) else { return };
    shared.count_losses(namespace.emit(TEST_MESSAGE, &LegacyData { data }).await);
}
