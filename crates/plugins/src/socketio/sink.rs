//! The sink that the runner sees.

use async_trait::async_trait;
use pipectl_framework::error::Result;
use pipectl_framework::plugin::{
    Batch, BindContext, BoundSink, Capability, Input, Problem, Reads, ResultMeaning, Sink, SinkBody,
    SinkContext, SinkPlugin,
};
use pipectl_framework::register;

use super::config::SocketIoSink;
use super::hub::HubConfig;
use super::results::{Columns, WINDOW_END};
use super::server::{Server, ServerConfig};

/// The column of the keys where the file names none.
const DEFAULT_KEY: &str = "key";

register!(sink: SocketIoSink);

impl SinkPlugin for SocketIoSink {
    const NAME: &'static str = "socketio";
    const SUMMARY: &'static str = "a live page of results, and Socket.IO for other clients";
    const EXAMPLE: &'static str = "\
- sink: socketio
  with:
    listen: 127.0.0.1:5000
    title: Shoppers per second
    labels: { \"0\": Women, \"1\": Men }
    leave_out: [\"2\", \"\"]
";
    // A result that comes again changes nothing: see `Hub`. Each copy of the program has a page, and each page wants all results.
    const CAPABILITIES: &'static [Capability] = &[Capability::Idempotent, Capability::PerInstance];

    fn bind(self, input: &Input, context: &BindContext<'_>) -> Result<BoundSink, Problem> {
        let (key, value, additive) = (self.key.clone(), self.value.clone(), self.additive);
        let default = vec![DEFAULT_KEY.to_owned()];
        let found = Columns::find(input, key.as_ref().unwrap_or(&default), &value);
        // Without the column `key` there may be one line: that is known once it is known what is counted.
        let (columns, without_key) = match found {
            Err(problem) if key.is_none() && problem.path == "key" => match Columns::find(input, &[], &value)
            {
                Ok(columns) => (columns, Some(problem)),
                Err(_) => return Err(problem),
            },
            found => (found?, None),
        };
        let keys = if without_key.is_some() { Vec::new() } else { key.unwrap_or(default) };
        let mut read = [keys.clone(), vec![value.clone()]].concat();
        if input.schema.index_of(WINDOW_END).is_ok() {
            read.push(WINDOW_END.into());
        }
        let (server, hub) = self.resolve(context)?;
        Ok(BoundSink {
            reads: Reads::Only(read),
            body: SinkBody::Custom(Box::new(Page {
                columns,
                keys,
                value,
                without_key,
                additive,
                server,
                hub,
                up: None,
            })),
        })
    }
}

/// Results to the page.
struct Page {
    columns: Columns,
    /// The names of the columns that make a line.
    keys: Vec<String>,
    /// The name of the column with the numbers.
    value: String,
    /// What is wrong where nobody says that a window has one row.
    without_key: Option<Problem>,
    /// What the file says of adding up.
    additive: Option<bool>,
    server: ServerConfig,
    hub: HubConfig,
    up: Option<Server>,
}

#[async_trait]
impl Sink for Page {
    async fn open(&mut self, context: &SinkContext) -> Result<()> {
        // After a failure of the chain the server is still up, and with it the history: what is read again is told once.
        if self.up.is_none() {
            let figures = std::sync::Arc::clone(&context.figures);
            self.up = Some(Server::start(self.server.clone(), self.hub.clone(), figures).await?);
        }
        Ok(())
    }

    fn told(&mut self, meaning: Option<&ResultMeaning>) -> Result<(), Problem> {
        let Some(meaning) = meaning else {
            return self.without_key.take().map_or(Ok(()), Err);
        };
        let apart = |key: &&String| !self.keys.contains(key);
        let missing: Vec<&String> = meaning.keys.iter().filter(apart).collect();
        let name = |names: &[&String]| {
            names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" and ")
        };
        if let Some(lost) = meaning.lost_keys.first() {
            return Err(Problem::new(
                "key",
                format!("a window has several rows for each line: one for each `{lost}`"),
            )
            .label(format!("`{lost}` is left out before"))
            .help(format!("let `{lost}` come here, and name it: `key: [...]`; or count without it")));
        }
        if !missing.is_empty() {
            let all: Vec<&str> = meaning.keys.iter().map(String::as_str).collect();
            return Err(Problem::new(
                "key",
                format!("a window has several rows for each line: one for each {}", name(&missing)),
            )
            .help(format!("make a line of each: `key: [{}]`; or count by fewer fields", all.join(", "))));
        }
        let page = &mut self.hub.page;
        let (over_keys, over_windows) =
            (meaning.over_keys.contains(&self.value), meaning.over_windows.contains(&self.value));
        page.additive = self.additive.unwrap_or(over_keys);
        // Windows that overlap count a row several times, whatever the file says of the values.
        page.totals = page.additive && (over_windows || !over_keys);
        Ok(())
    }

    async fn write(&mut self, batch: &Batch) -> Result<()> {
        if let Some(server) = &self.up {
            let results = self.columns.results(batch);
            server.publish(results.iter().map(|(t, rows)| (*t, rows.iter()))).await;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        if let Some(server) = self.up.take() {
            server.stop().await;
        }
        Ok(())
    }

    fn addresses(&self) -> Vec<String> {
        let Some(server) = &self.up else { return Vec::new() };
        let mut address = server.address();
        if address.ip().is_unspecified() {
            // Every address is listened on; this is the one that surely leads here.
            address.set_ip(match address {
                std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        let token = if self.server.token.is_some() { "#token=..." } else { "" };
        vec![format!("http://{address}/{token}")]
    }
}

#[cfg(test)]
#[path = "sink_tests.rs"]
mod tests;
