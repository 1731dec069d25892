//! The sink that the runner sees.

use async_trait::async_trait;
use pipectl_framework::error::{Error, Result};
use pipectl_framework::plugin::{
    Batch, BindContext, BoundSink, Capability, Input, Problem, Reads, ResultMeaning, Sink, SinkBody,
    SinkContext, SinkPlugin,
};
use pipectl_framework::register;

use super::choice::Choice;
use super::config::SocketIoSink;
use super::hub::HubConfig;
use super::results::Columns;
use super::server::{Server, ServerConfig};
use super::wire::Chart;

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
    // A result that comes again changes nothing: see `Hub`. Each copy of the program has a page, and each
    // page wants all results.
    const CAPABILITIES: &'static [Capability] = &[Capability::Idempotent, Capability::PerInstance];

    fn bind(self, input: &Input, context: &BindContext<'_>) -> Result<BoundSink, Problem> {
        let choice = Choice::new(input, self.key.clone(), self.value.clone(), self.additive)?;
        let chart = self.chart;
        let (server, hub) = self.resolve(context)?;
        Ok(BoundSink {
            reads: Reads::Only(choice.reads()),
            body: SinkBody::Custom(Box::new(Page { choice, chart, columns: None, server, hub, up: None })),
        })
    }
}

/// Results to the page.
struct Page {
    choice: Choice,
    /// The kind of chart that the file names.
    chart: Option<Chart>,
    /// The columns that are shown, once it is known what comes in.
    columns: Option<Columns>,
    server: ServerConfig,
    hub: HubConfig,
    up: Option<Server>,
}

#[async_trait]
impl Sink for Page {
    async fn open(&mut self, context: &SinkContext) -> Result<()> {
        // After a failure of the chain the server is still up, and with it the history: what is read again is
        // told once.
        if self.columns.is_none() {
            self.told(None).map_err(|problem| Error::fatal(problem.message))?;
        }
        if self.up.is_none() {
            let figures = std::sync::Arc::clone(&context.figures);
            self.up = Some(Server::start(self.server.clone(), self.hub.clone(), figures).await?);
        }
        Ok(())
    }

    fn told(&mut self, meaning: Option<&ResultMeaning>) -> Result<(), Problem> {
        let shown = self.choice.shown(meaning)?;
        let page = &mut self.hub.page;
        page.additive = shown.additive;
        page.totals = shown.totals;
        page.chart = self.chart.unwrap_or(shown.chart);
        self.hub.series.parts = shown.columns.parts() > 1;
        self.columns = Some(shown.columns);
        Ok(())
    }

    async fn write(&mut self, batch: &Batch) -> Result<()> {
        if let (Some(server), Some(columns)) = (&self.up, &self.columns) {
            let results = columns.results(batch);
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
