//! Whether a run is well, for those who look after it: `GET /livez` and `GET /readyz`.
//!
//! *Live* is about this process: no chain's code has held its thread for long. Nothing but an end of the
//! process mends that. *Ready* is about its work: a broker that is away makes a worker not ready, and
//! starting it again would not help.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use pipectl_framework::clock::Clock;
use pipectl_framework::error::Error;
use pipectl_framework::metrics::{ChainFigures, State};
use pipectl_framework::run::Control;
use serde::Serialize;
use tokio::sync::Semaphore;

/// A chain whose code holds its thread longer than this does not come back.
const LONGEST_CALL: Duration = Duration::from_secs(30);
/// Connections at a time; further ones wait until one has ended.
const MOST_CONNECTIONS: usize = 64;
/// How long a request's head may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may last; it has one request.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// The greatest head of a request, in bytes.
const LARGEST_HEAD: usize = 16 << 10;

/// What is answered.
pub(crate) const PATHS: [&str; 2] = ["/livez", "/readyz"];

const HINT: &str =
    "pipectl answers here to GET /livez (is the process well?) and GET /readyz (does it work?)\n";

/// What is looked at.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) figures: Arc<[ChainFigures]>,
    pub(crate) control: Control,
    pub(crate) clock: Clock,
}

/// The answer's body.
#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
    draining: bool,
    chains: Vec<Standing>,
}

/// Where a chain stands. Times are in seconds.
#[derive(Debug, Serialize)]
struct Standing {
    name: String,
    state: &'static str,
    /// How long it has been there.
    state_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    doing: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    doing_seconds: Option<f64>,
    /// How long its code has held its thread.
    #[serde(skip_serializing_if = "Option::is_none")]
    holds_thread_seconds: Option<f64>,
}

/// In seconds, as far as a person wants to know.
fn seconds(length: Duration) -> f64 {
    (length.as_secs_f64() * 10.0).round() / 10.0
}

impl View {
    fn standings(&self, now: Duration) -> Vec<Standing> {
        let of = |chain: &ChainFigures| {
            let standing = &chain.chain.standing;
            let ((state, since), doing) = (standing.state(), standing.doing(now));
            Standing {
                name: chain.name.clone(),
                state: state.name(),
                state_seconds: seconds(now.saturating_sub(since)),
                error: state.error().map(str::to_owned),
                doing: doing.map(|(doing, _)| doing.name()),
                doing_seconds: doing.map(|(_, length)| seconds(length)),
                holds_thread_seconds: standing.holds_thread(now).map(seconds),
            }
        };
        self.figures.iter().map(of).collect()
    }

    fn report(&self, reasons: Vec<String>, now: Duration) -> Report {
        let draining = self.control.draining();
        Report { ok: reasons.is_empty(), reasons, draining, chains: self.standings(now) }
    }

    fn live(&self, now: Duration) -> Report {
        let held = |chain: &ChainFigures| {
            let held = chain.chain.standing.holds_thread(now).filter(|held| *held >= LONGEST_CALL)?;
            Some(format!("the code of `{}` has held its thread for {} s", chain.name, held.as_secs()))
        };
        self.report(self.figures.iter().filter_map(held).collect(), now)
    }

    fn ready(&self, now: Duration) -> Report {
        let away = |chain: &ChainFigures| {
            let (state, since) = chain.chain.standing.state();
            let length = seconds(now.saturating_sub(since));
            match &state {
                State::Runs | State::StandsBy | State::Ended => None,
                State::Starting => Some(format!("`{}` has been starting for {length} s", chain.name)),
                State::Retries { error } => {
                    Some(format!("`{}` has been trying again for {length} s: {error}", chain.name))
                }
                State::Failed { error } => Some(format!("`{}` failed {length} s ago: {error}", chain.name)),
            }
        };
        let stops = self.control.draining().then(|| "the run stops".to_owned());
        self.report(stops.into_iter().chain(self.figures.iter().filter_map(away)).collect(), now)
    }

    /// What each chain that has not ended does, for the message of a run that does not stop.
    pub(crate) fn unfinished(&self) -> Vec<String> {
        let now = self.clock.elapsed();
        let of = |chain: &ChainFigures| {
            if chain.is_over() {
                return None;
            }
            let standing = &chain.chain.standing;
            let (state, _) = standing.state();
            let held = standing.holds_thread(now).filter(|held| *held >= Duration::from_secs(1));
            let what = match (held, standing.doing(now), &state) {
                (Some(held), ..) => format!("has not come back from a call for {} s", held.as_secs()),
                (None, Some((doing, length)), _) => {
                    format!("has been {} for {:.1} s", doing.name(), length.as_secs_f64())
                }
                (None, None, State::Retries { error }) => format!("waits to try again: {error}"),
                (None, None, _) => "waits for its source".to_owned(),
            };
            Some(format!("`{}` {what}", chain.name))
        };
        self.figures.iter().filter_map(of).collect()
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<String> {
        let path = request.uri().path();
        if !PATHS.contains(&path) {
            return text(StatusCode::NOT_FOUND, HINT);
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, HINT);
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        let now = self.clock.elapsed();
        let report = if path == "/livez" { self.live(now) } else { self.ready(now) };
        let status = if report.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let body = serde_json::to_string_pretty(&report).unwrap_or_default() + "\n";
        typed(status, body, "application/json")
    }
}

fn text(status: StatusCode, body: &str) -> Response<String> {
    typed(status, body.to_owned(), "text/plain; charset=utf-8")
}

fn typed(status: StatusCode, body: String, kind: &'static str) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Takes the address, before anything is started.
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    let listener = TcpListener::bind(address).map_err(|e| cannot_listen(address, e))?;
    // The runtime that serves it wants it so.
    listener.set_nonblocking(true).map_err(|e| cannot_listen(address, e))?;
    Ok(listener)
}

fn cannot_listen(address: SocketAddr, error: std::io::Error) -> Error {
    let remedy = match error.kind() {
        ErrorKind::AddrInUse => {
            "stop the program that has it (another pipectl?), or give another one, such as `--health 127.0.0.1:0`"
        }
        ErrorKind::PermissionDenied => "ports below 1024 need rights; use one above, such as 127.0.0.1:8081",
        ErrorKind::AddrNotAvailable => "this machine has no such address; 127.0.0.1 is always there",
        _ => "give an address of this machine, such as `--health 127.0.0.1:8081`",
    };
    match error.kind() {
        ErrorKind::AddrInUse => Error::fatal(format!("{address} is already in use")).remedy(remedy),
        _ => Error::fatal(format!("cannot listen on {address}")).remedy(remedy).caused_by(error),
    }
}

/// Answers until it is dropped.
pub(crate) async fn serve(listener: TcpListener, view: View) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("`--health` does not answer: {error}"),
    };
    let seats = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        // An error means that the semaphore was closed, which nobody does.
        let Ok(seat) = seats.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let view = view.clone();
                tokio::spawn(async move {
                    let service = service_fn(|request| {
                        let answer = view.answer(&request);
                        async move { Ok::<_, Infallible>(answer) }
                    });
                    let mut builder = http1::Builder::new();
                    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
                    builder.keep_alive(false).max_buf_size(LARGEST_HEAD);
                    let connection = builder.serve_connection(TokioIo::new(stream), service);
                    match tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => tracing::debug!("a connection to `--health` ended: {error}"),
                        Err(_) => tracing::debug!("a connection to `--health` took too long"),
                    }
                    drop(seat);
                });
            }
            Err(error) => {
                // No descriptors left, most likely. Those that wait stay in the kernel's queue.
                tracing::warn!("`--health` cannot take a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;
    use std::path::Path;
    use std::sync::{Mutex, PoisonError};

    use pipectl_framework::config::{Document, SourceFile};
    use pipectl_framework::graph::{PlanOptions, plan};
    use pipectl_framework::plugin::{
        BoundTransform, Input, Problem, Purpose, Registry, TransformPlugin, lift,
    };
    use pipectl_framework::register;
    use pipectl_framework::run::{Run, RunOptions};

    /// Who holds this keeps the transform from coming back.
    static GATE: Mutex<()> = Mutex::new(());

    /// Comes back when it is let to.
    #[derive(serde::Deserialize, schemars::JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Gate {
        /// A text column.
        field: String,
    }

    register!(transform: Gate);

    impl TransformPlugin for Gate {
        const NAME: &'static str = "gate";
        const SUMMARY: &'static str = "comes back when it is let to";
        const EXAMPLE: &'static str = "- transform: gate\n  with: { field: key }";

        fn bind(self, input: &Input) -> Result<BoundTransform, Problem> {
            lift::map_text(input, "field", &self.field, &self.field, |text| {
                drop(GATE.lock().unwrap_or_else(PoisonError::into_inner));
                text.map(Cow::Borrowed)
            })
        }
    }

    const BLOCKS: &str = "name: blocks
pipelines:
  free:
    - source: generate
      with: { count: 1, fields: { key: { values: [a] } } }
    - sink: memory
      with: { name: free }
  stuck:
    - source: generate
      with: { count: 1, fields: { key: { values: [a] } } }
    - transform: gate
      with: { field: key }
    - sink: memory
      with: { name: stuck }
";

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_chain_that_holds_its_thread_for_thirty_seconds_is_named_and_not_live() {
        let closed = GATE.lock();
        let registry = Registry::collect().unwrap();
        let document = Document::parse(&SourceFile::new("blocks.yaml", BLOCKS), &[], &|_| None).unwrap();
        let options =
            PlanOptions { registry: &registry, base: Path::new("."), only: &[], purpose: Purpose::Check };
        let (plan, _) = plan(&document, options).unwrap_or_else(|_| panic!("the file is valid"));
        let clock = Clock::system();
        let (run, _notices) = Run::start(plan, &RunOptions::new(clock.clone()));
        let view = View { figures: run.figures(), control: run.control(), clock };
        let since = loop {
            let now = view.clock.elapsed();
            let alone = view.live(now).chains[0].state == "ended";
            // A chain that has ended holds its thread for a moment still.
            let [free, held] = [0, 1].map(|chain| view.figures[chain].chain.standing.holds_thread(now));
            if let Some(held) = held.filter(|held| alone && free.is_none() && !held.is_zero()) {
                break now.saturating_sub(held);
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let soon = view.live(since + Duration::from_secs(29));
        assert!(soon.ok, "{soon:?}");
        let late = view.live(since + Duration::from_secs(31));
        assert_eq!(late.reasons, ["the code of `stuck` has held its thread for 31 s"]);
        assert!(!late.ok);
        let stuck = &late.chains[1];
        assert_eq!(
            (stuck.name.as_str(), stuck.state, stuck.doing),
            ("stuck", "runs", Some("working on rows"))
        );
        assert_eq!(stuck.holds_thread_seconds, Some(31.0));
        drop(closed);
        let outcome = run.wait().await;
        assert!(outcome.failures.is_empty(), "{outcome:?}");
        let ended = view.ready(since + Duration::from_secs(60));
        assert!(ended.ok && ended.chains.iter().all(|chain| chain.state == "ended"), "{ended:?}");
        assert!(view.live(since + Duration::from_secs(90)).ok);
    }
}
