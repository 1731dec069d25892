//! What stands in the sink's `with:`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use indexmap::IndexMap;
use pipectl_framework::config::{DurationText, Secret};
use pipectl_framework::plugin::{BindContext, Problem};
use schemars::JsonSchema;
use serde::Deserialize;

use super::assets::{Assets, DEFAULT_PAGE};
use super::guard::Guard;
use super::hub::HubConfig;
use super::series::SeriesConfig;
use super::server::ServerConfig;
use super::wire::{Chart, Page};
use crate::names;

/// The longest history, in points.
const MOST_HISTORY: usize = 100_000;
/// The most connections.
const MOST_CONNECTIONS: usize = 1_000_000;
/// The most series.
const MOST_SERIES: usize = 1000;

/// A live page of results, and a Socket.IO server for other clients.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SocketIoSink {
    /// Where the page is served: `address:port`. Default: 127.0.0.1:5000. Any address but this machine's own
    /// (such as 0.0.0.0) needs a `token`, or `insecure: true`.
    #[serde(default = "default_listen")]
    pub listen: String,
    /// The folder of the page, from the folder of the pipeline file; or the name of one in the program.
    /// Default: dashboards/gender, which draws whatever keys it is given.
    pub page: Option<String>,
    /// The column with the key of a line, or a list of columns: `key: [province, gender]` makes a line of
    /// each pair. `[]` where a window has one row. Default: what the window before it counts by; else key.
    #[serde(default, deserialize_with = "names::given")]
    #[schemars(with = "Option<names::Fields>")]
    pub key: Option<Vec<String>>,
    /// The column with the number, or a list of columns: each makes a line of its own of every key. Default:
    /// count, where there is one; else all numbers that the window before it gives.
    #[serde(default, deserialize_with = "names::given")]
    #[schemars(with = "Option<names::Fields>")]
    pub value: Option<Vec<String>>,
    /// The page's heading. Default: Live.
    #[serde(default = "default_title")]
    pub title: String,
    /// One line below the heading.
    pub subtitle: Option<String>,
    /// What stands behind a value, such as `per second`.
    #[serde(default)]
    pub unit: String,
    /// How values are drawn: `line`, `area`, `bars`, `stacked`, `share` (stacked to 100 %), `rank` (the
    /// newest window, the greatest first), `table` or `number` (that alone). Default: what fits: `rank`
    /// behind a `top-k`, else `line`.
    pub chart: Option<Chart>,
    /// Whether adding values up means something, so that the page may show totals and shares. Default: what
    /// is known of the window: counts and sums add up, over windows that do not overlap; and false where
    /// another program writes the topic.
    pub additive: Option<bool>,
    /// What people read for a key, or for a part of one, such as `{ "0": Women }`. These keys come first on
    /// the page, in this order.
    #[serde(default)]
    #[schemars(with = "std::collections::BTreeMap<String, String>")]
    pub labels: IndexMap<String, String>,
    /// A CSS colour for a key, such as `{ "0": "#c2410c" }`. Default: the page's own palette, safe for the
    /// colour-blind.
    #[serde(default)]
    #[schemars(with = "std::collections::BTreeMap<String, String>")]
    pub colours: IndexMap<String, String>,
    /// Keys that the page does not show.
    #[serde(default)]
    pub leave_out: Vec<String>,
    /// Keys that come first on the page, in this order, before those of `labels`.
    #[serde(default)]
    pub order: Vec<String>,
    /// How many keys have a line of their own; further ones are one line more, which is their sum where
    /// values add up. Default: 100; at most 1000.
    #[serde(default = "default_max_series")]
    pub max_series: usize,
    /// The time that the chart shows. Default: 5m.
    #[serde(default = "default_window")]
    pub window: DurationText,
    /// The distance of two results, such as `1s`; the page shows a gap where one is missing. Default: what
    /// the page sees most.
    pub interval: Option<DurationText>,
    /// How many results somebody who opens the page gets at once. Default: 600; at most 100000.
    #[serde(default = "default_history")]
    pub history: usize,
    /// What a page of the old system gets on the namespace `/`. Without it, nothing.
    pub legacy: Option<Legacy>,
    /// Whether clients of Socket.IO 1 and 2 (Engine.IO 3) are served. Default: false.
    #[serde(default)]
    pub legacy_clients: bool,
    /// What a client must show to get data: the page takes it from its address, `#token=...`.
    #[serde(default, deserialize_with = "Secret::given")]
    pub token: Option<Secret>,
    /// Lets everybody who can reach the address read the data without a token. Default: false.
    #[serde(default)]
    pub insecure: bool,
    /// Names that this server is reached by beside its address, such as `dash.example.com` or
    /// `dash.example.com:8080`.
    #[serde(default)]
    pub allowed_hosts: Vec<String>,
    /// Other pages that may connect, such as `https://intranet.example.com`.
    #[serde(default)]
    pub allowed_origins: Vec<String>,
    /// Clients at a time; a further one is told 503. Default: 1000.
    #[serde(default = "default_max_connections")]
    pub max_connections: usize,
    /// Of these, those of one address; this machine's own may have all. Default: 50. Raise it where clients
    /// come through a proxy on another machine.
    #[serde(default = "default_max_per_address")]
    pub max_per_address: usize,
}

/// What a page of the old system gets.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Legacy {
    /// The keys whose values stand in `test_message {"data":"5,7"}`, in this order.
    pub keys: Vec<String>,
}

fn default_listen() -> String {
    "127.0.0.1:5000".into()
}

fn default_title() -> String {
    "Live".into()
}
fn default_max_series() -> usize {
    100
}
fn default_window() -> DurationText {
    DurationText(std::time::Duration::from_mins(5))
}
fn default_history() -> usize {
    600
}
fn default_max_connections() -> usize {
    1000
}
fn default_max_per_address() -> usize {
    50
}

impl SocketIoSink {
    /// Checks everything but the columns.
    ///
    /// # Errors
    /// A [`Problem`] with the place.
    pub(super) fn resolve(self, context: &BindContext<'_>) -> Result<(ServerConfig, HubConfig), Problem> {
        let listen = self.address()?;
        self.check_values()?;
        self.check_allowlists()?;
        let written = self.page.as_deref().unwrap_or(DEFAULT_PAGE);
        let assets = Assets::find(written, &context.path(written)).map_err(|embedded| {
            Problem::new("page", format!("there is no page `{written}`"))
                .label(format!("no `index.html` in {}", context.path(written).display()))
                .help(format!("the program itself has: {}", embedded.join(", ")))
        })?;
        let lower = |names: Vec<String>| names.iter().map(|name| name.to_ascii_lowercase()).collect();
        let server = ServerConfig {
            listen,
            guard: Guard {
                allowed_hosts: lower(self.allowed_hosts),
                allowed_origins: lower(self.allowed_origins),
                legacy_clients: self.legacy_clients,
            },
            token: self.token,
            max_connections: self.max_connections,
            max_per_address: self.max_per_address,
            assets,
        };
        let hub = HubConfig {
            history: self.history,
            series: SeriesConfig {
                labels: self.labels,
                colours: self.colours,
                leave_out: self.leave_out,
                order: self.order,
                max: self.max_series,
                parts: false,
            },
            interval_ms: self.interval.map(DurationText::millis),
            page: Page {
                title: self.title,
                subtitle: self.subtitle,
                unit: self.unit,
                chart: self.chart.unwrap_or_default(),
                window_ms: self.window.millis(),
                additive: self.additive.unwrap_or(false),
                totals: self.additive.unwrap_or(false),
            },
            legacy_keys: self.legacy.map(|legacy| legacy.keys).unwrap_or_default(),
        };
        Ok((server, hub))
    }

    fn address(&self) -> Result<SocketAddr, Problem> {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let port = |text: &str| text.parse::<u16>().ok().map(|port| SocketAddr::new(loopback, port));
        let address = self.listen.parse().ok().or_else(|| port(self.listen.strip_prefix("localhost:")?));
        let Some(address) = address else {
            return Err(Problem::new("listen", format!("`{}` is not an address to listen on", self.listen))
                .help("write an IP address and a port: `127.0.0.1:5000`, `[::1]:5000`, `0.0.0.0:5000`"));
        };
        if !address.ip().to_canonical().is_loopback() && self.token.is_none() && !self.insecure {
            return Err(Problem::new("listen", "other machines could read the data without a token")
                .label("not this machine's own address")
                .help("give the sink `token: ${DASHBOARD_TOKEN}`, or say `insecure: true`, or listen on 127.0.0.1"));
        }
        Ok(address)
    }

    fn check_values(&self) -> Result<(), Problem> {
        let within = |path: &str, value: usize, most: usize| {
            if (1..=most).contains(&value) {
                return Ok(());
            }
            Err(Problem::new(path, format!("must be from 1 to {most}")))
        };
        within("history", self.history, MOST_HISTORY)?;
        within("max_series", self.max_series, MOST_SERIES)?;
        within("max_connections", self.max_connections, MOST_CONNECTIONS)?;
        within("max_per_address", self.max_per_address, MOST_CONNECTIONS)?;
        if self.title.trim().is_empty() {
            return Err(Problem::new("title", "a page needs a title"));
        }
        for (path, length) in [("window", Some(self.window)), ("interval", self.interval)] {
            if length.is_some_and(|length| length.millis() == 0) {
                return Err(Problem::new(path, "must be longer than nothing"));
            }
        }
        for (key, colour) in &self.colours {
            let plain = |c: char| c.is_ascii_alphanumeric() || "#(),.%/ -".contains(c);
            if colour.is_empty() || colour.len() > 64 || !colour.chars().all(plain) {
                return Err(Problem::new(
                    format!("colours.{key}"),
                    format!("`{colour}` is not a CSS colour"),
                )
                .help("write it as `\"#c2410c\"`, `teal` or `rgb(194 65 12)`"));
            }
        }
        if self.legacy.as_ref().is_some_and(|legacy| legacy.keys.is_empty()) {
            return Err(Problem::new("legacy.keys", "without keys there is nothing to send")
                .help("name them in their order, such as `keys: [\"0\", \"1\"]`, or leave `legacy` out"));
        }
        Ok(())
    }

    fn check_allowlists(&self) -> Result<(), Problem> {
        for (index, host) in self.allowed_hosts.iter().enumerate() {
            if host.is_empty() || host.contains(['/', '*', '@', ' ']) {
                return Err(Problem::new(
                    format!("allowed_hosts[{index}]"),
                    format!("`{host}` is not a host"),
                )
                .help("write `name` or `name:port`, as it stands in the browser's address bar"));
            }
        }
        for (index, origin) in self.allowed_origins.iter().enumerate() {
            let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            if host.is_none_or(|host| host.is_empty() || host.contains(['/', '*', '@', ' '])) {
                return Err(Problem::new(
                    format!("allowed_origins[{index}]"),
                    format!("`{origin}` is not an origin"),
                )
                .help("write scheme and host, without a path: `https://dash.example.com`"));
            }
        }
        Ok(())
    }
}
