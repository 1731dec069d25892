//! Who may ask: the allowlists of `Host` and `Origin`, the token.
//!
//! CORS does not cover websockets, and a name that an attacker points at 127.0.0.1 makes his page
//! "same-origin" with ours. So every request, the websocket's included, must name a host that is this server,
//! and must not come from a page of another one.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_SECURITY_POLICY, HOST, HeaderName,
    ORIGIN, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use std::sync::Arc;
use std::time::Duration;

/// Where Engine.IO lives.
pub const ENGINE_PATH: &str = "/socket.io";

/// How long a client may take to send what belongs to a request's head (a polling client's packets).
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

const CSP: &str =
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";

/// The address of ours that a connection came in at; put into each request's extensions.
#[derive(Debug, Clone, Copy)]
pub struct ArrivedAt(pub SocketAddr);

/// Why a request is not served; the text is for the person who sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// What to do about it.
    pub text: String,
}

impl Refusal {
    fn forbidden(text: impl Into<String>) -> Self {
        Self { status: StatusCode::FORBIDDEN, text: text.into() }
    }
}

/// The allowlists.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// Hosts beside the server's own address and `localhost`: `name` or `name:port`, in lower case.
    pub allowed_hosts: Vec<String>,
    /// Origins beside those of the hosts: `https://name`, in lower case.
    pub allowed_origins: Vec<String>,
    /// True where clients of Engine.IO 3 (Socket.IO 1 and 2) are served.
    pub legacy_clients: bool,
}

impl Guard {
    /// Looks at a request's head. `at` is the address that it came in at.
    ///
    /// # Errors
    /// The answer to give instead.
    pub fn check(&self, at: SocketAddr, path: &str, query: &str, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = only(headers, &HOST).ok_or_else(|| Refusal::forbidden("exactly one Host is needed\n"))?;
        if !self.host_is_ours(at, host) {
            return Err(Refusal::forbidden(
                "this server does not answer to that name: add it to `allowed_hosts` of the socketio sink\n",
            ));
        }
        if !is_engine_path(path) {
            return Ok(());
        }
        if headers.contains_key(ORIGIN) {
            let ours = only(headers, &ORIGIN).is_some_and(|origin| self.origin_is_ours(at, origin));
            if !ours {
                return Err(Refusal::forbidden(
                    "pages of another origin are not served: add it to `allowed_origins` of the socketio sink\n",
                ));
            }
        } else if headers.get("sec-fetch-site").is_some_and(|site| {
            // A browser sends no Origin with some requests of another site's page, such as a script's; but it
            // says this.
            site == "cross-site" || site == "same-site"
        }) {
            return Err(Refusal::forbidden("pages of another site are not served\n"));
        }
        if !self.legacy_clients && query.split('&').any(|pair| pair == "EIO=3") {
            return Err(Refusal {
                status: StatusCode::BAD_REQUEST,
                text: r#"{"code":5,"message":"Unsupported protocol version"}"#.into(),
            });
        }
        Ok(())
    }

    fn host_is_ours(&self, at: SocketAddr, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let own = |name: &str| {
            let bare = at.port() == 80 && host == name;
            bare || host
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix(':'))
                .is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.parse() == Ok(at.port()))
        };
        let ip = at.ip().to_canonical();
        let address = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
        own(&address) || (ip.is_loopback() && own("localhost")) || self.allowed_hosts.contains(&host)
    }

    fn origin_is_ours(&self, at: SocketAddr, origin: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        host.is_some_and(|host| self.host_is_ours(at, host)) || self.allowed_origins.contains(&origin)
    }
}

/// The value of a header that stands there exactly once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// True for the requests that the Socket.IO layer takes.
fn is_engine_path(path: &str) -> bool {
    path.strip_prefix(ENGINE_PATH).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The guard as the outermost layer of the server: refuses, limits the time of a body, and puts the security
/// headers on every answer.
pub async fn layer(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(ORIGIN).cloned();
    let checked = match request.extensions().get::<ArrivedAt>() {
        Some(ArrivedAt(at)) => guard.check(
            *at,
            request.uri().path(),
            request.uri().query().unwrap_or_default(),
            request.headers(),
        ),
        None => Err(Refusal::forbidden("not reached over a socket\n")),
    };
    let engine = is_engine_path(request.uri().path());
    let mut response = match checked {
        Err(refusal) => {
            tracing::debug!(status = %refusal.status, "request refused: {}", refusal.text.trim_end());
            answer(refusal.status, refusal.text)
        }
        // A body that never comes would hold its connection for ever; a request without one may wait (a long
        // poll).
        Ok(()) if *request.method() != Method::GET => {
            match tokio::time::timeout(BODY_TIMEOUT, next.run(request)).await {
                Ok(response) => response,
                Err(_) => answer(StatusCode::REQUEST_TIMEOUT, "the request took too long\n".into()),
            }
        }
        Ok(()) => next.run(request).await,
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(CSP));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    if engine && let Some(origin) = origin {
        // Only an origin that passed the check gets here with anything worth reading.
        if response.status() != StatusCode::FORBIDDEN {
            response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            // The clients of Socket.IO 1 and 2 poll with credentials, and a browser then hides an answer
            // without this. Nothing here looks at a cookie.
            response.headers_mut().insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        response.headers_mut().insert(VARY, HeaderValue::from_static("origin"));
    }
    response
}

/// A short text as an answer.
pub(super) fn answer(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(axum::http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Compares a token in a time that depends on nothing but the length of what was given.
pub fn token_matches(expected: &str, given: &str) -> bool {
    let (expected, given) = (expected.as_bytes(), given.as_bytes());
    let mut difference = u8::from(expected.len() != given.len());
    for (index, byte) in given.iter().enumerate() {
        // Past the end of the expected text any byte will do: the lengths already differ.
        let other = expected.get(index % expected.len().max(1)).copied().unwrap_or_default();
        difference |= std::hint::black_box(byte ^ other);
    }
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LOOPBACK: &str = "127.0.0.1:5000";

    fn guard() -> Guard {
        Guard {
            allowed_hosts: vec!["dash.example.com".into()],
            allowed_origins: vec!["https://other.example.com".into()],
            legacy_clients: false,
        }
    }

    fn check(at: &str, path: &str, headers: &[(&str, &str)]) -> Result<(), StatusCode> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        guard().check(at.parse().unwrap(), path, "EIO=4", &map).map_err(|r| r.status)
    }

    #[test]
    fn only_its_own_names_are_hosts() {
        for host in ["127.0.0.1:5000", "localhost:5000", "LOCALHOST:5000", "dash.example.com"] {
            assert_eq!(check(LOOPBACK, "/", &[("host", host)]), Ok(()), "{host}");
        }
        for host in [
            "127.0.0.1",
            "127.0.0.1:5001",
            "127.0.0.1:+5000",
            "localhost:05000x",
            "evil.example.com:5000",
            "",
            "localhost.evil.com:5000",
            "evil-localhost:5000",
            "dash.example.com:81",
            "127.0.0.1:5000@evil.com",
        ] {
            assert_eq!(check(LOOPBACK, "/", &[("host", host)]), Err(StatusCode::FORBIDDEN), "{host}");
        }
        assert!(check(LOOPBACK, "/", &[]).is_err());
        assert!(check(LOOPBACK, "/", &[("host", "localhost:5000"), ("host", "localhost:5000")]).is_err());
        // A wide bind answers to the address that the client reached, and not to `localhost`.
        assert_eq!(check("192.168.0.7:5000", "/", &[("host", "192.168.0.7:5000")]), Ok(()));
        assert!(check("192.168.0.7:5000", "/", &[("host", "localhost:5000")]).is_err());
        assert_eq!(check("[::1]:5000", "/", &[("host", "[::1]:5000")]), Ok(()));
        assert_eq!(check("127.0.0.1:80", "/", &[("host", "localhost")]), Ok(()));
    }

    #[test]
    fn pages_of_another_origin_are_refused_on_the_socket() {
        let ours = ("host", "localhost:5000");
        let socket = |extra| check(LOOPBACK, "/socket.io/", &[ours, extra]);
        for origin in [
            "http://localhost:5000",
            "http://127.0.0.1:5000",
            "https://dash.example.com",
            "https://other.example.com",
        ] {
            assert_eq!(socket(("origin", origin)), Ok(()), "{origin}");
        }
        for origin in [
            "http://evil.example.com",
            "http://localhost:8080",
            "null",
            "",
            "http://other.example.com",
            "file://",
            "http://localhost:5000.evil.com",
            "localhost:5000",
        ] {
            assert_eq!(socket(("origin", origin)), Err(StatusCode::FORBIDDEN), "{origin}");
        }
        assert!(socket(("sec-fetch-site", "cross-site")).is_err());
        assert_eq!(socket(("sec-fetch-site", "same-origin")), Ok(()));
        // A link from elsewhere to the page itself is fine, and so is a client that is no browser.
        assert_eq!(check(LOOPBACK, "/", &[ours, ("sec-fetch-site", "cross-site")]), Ok(()));
        assert_eq!(check(LOOPBACK, "/socket.io/", &[ours]), Ok(()));
    }

    #[test]
    fn old_clients_are_refused_unless_allowed() {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static(LOOPBACK));
        let at = LOOPBACK.parse().unwrap();
        let status = |guard: &Guard| {
            guard.check(at, "/socket.io/", "transport=polling&EIO=3", &headers).map_err(|r| r.status)
        };
        assert_eq!(status(&guard()), Err(StatusCode::BAD_REQUEST));
        assert_eq!(status(&Guard { legacy_clients: true, ..guard() }), Ok(()));
    }

    proptest! {
        #[test]
        fn a_token_matches_itself_alone(token in ".{0,40}", other in ".{0,40}") {
            prop_assert!(token_matches(&token, &token));
            prop_assert_eq!(token_matches(&token, &other), token == other);
            let twice = format!("{token}{token}");
            prop_assert_eq!(token_matches(&token, &twice), token.is_empty());
        }
    }
}
