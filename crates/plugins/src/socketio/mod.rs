//! The `socketio` sink: results on a page in the browser, live, and to whoever speaks Socket.IO.
//!
//! `docs/socketio.md` is the contract. The way of a result, and of a request:
//!
//! | file | does |
//! |---|---|
//! | [`config`] | what stands in `with:` |
//! | `sink` | what the runner sees |
//! | [`results`] | rows of a batch to results |
//! | `choice` | which columns those are, as the file says or as is known of the window |
//! | [`hub`], [`series`] | the history, its numbers, the keys: pure state |
//! | `ranks`, `totals` | of the history: what stands at which place, and what was counted |
//! | [`wire`], [`stats`] | every message, as it is written |
//! | [`live`], [`legacy`] | the two namespaces |
//! | [`server`] | puts it all together; start, publish, stop |
//! | [`accept`] | connections and their limits |
//! | [`guard`] | who may ask: host, origin, token |
//! | [`assets`] | the page's files |

pub mod accept;
pub mod assets;
mod choice;
pub mod config;
pub mod guard;
pub mod hub;
pub mod legacy;
pub mod live;
mod ranks;
pub mod results;
pub mod series;
pub mod server;
mod sink;
pub mod stats;
mod totals;
pub mod wire;
