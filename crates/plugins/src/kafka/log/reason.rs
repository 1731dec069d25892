//! What librdkafka says went wrong with a connection, in words that tell an operator what to do; the same
//! trouble in the same words each time, so that it can be told once.

/// A reason and its remedy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reason {
    pub(super) what: String,
    pub(super) remedy: &'static str,
}

const NO_KAFKA: &str =
    "name the host and the port of a Kafka broker in `brokers`; something else listens there";

impl Reason {
    /// Of librdkafka's words; `None` where it had none.
    pub(super) fn of(said: Option<&str>) -> Self {
        let Some(said) = said else {
            return Self {
                what: "no answer came in time".to_owned(),
                remedy: "see that the brokers run, that nothing on the way holds the connection up, and that `brokers` \
                         names a Kafka",
            };
        };
        let has = |part: &str| said.contains(part);
        let closed = has("closed by peer") || has("Broken pipe") || has("reset by peer");
        let (what, remedy) = if has("Connection refused") {
            (
                "nobody listens there (connection refused)".to_owned(),
                "see that the brokers run, and that `brokers` names the host and the port at which they listen",
            )
        } else if has("Too many open files") {
            // The remedy is the error's own: see `Error::help`.
            (clean(said), "let the process open more files")
        } else if has("Failed to resolve") {
            (clean(said), "mend the host name in `brokers`, or this machine's DNS")
        } else if closed && has("SSL") {
            (
                "it broke off the TLS handshake".to_owned(),
                "that port may be one without TLS: name the one with TLS, or take `security.tls` out of the connection",
            )
        } else if closed && has("APIVERSION_QUERY") {
            (
                "it closed the connection at the first question".to_owned(),
                "that port may want TLS, `security: { tls: {} }`, or be no Kafka's",
            )
        } else if closed {
            (
                "it closed the connection instead of answering".to_owned(),
                "see that the brokers run; that port may also want a password, `security: { sasl: ... }`",
            )
        } else if has("Invalid response size") || has("ApiVersionRequest failed") {
            ("what answers there does not speak Kafka's protocol".to_owned(), NO_KAFKA)
        } else {
            (clean(said), "check that the brokers run and that `brokers`, TLS and SASL are as they want them")
        };
        Self { what, remedy }
    }
}

/// True for a certificate that could not be verified, by the authority or by the name.
pub(super) fn unverified(said: &str) -> bool {
    said.contains("certificate verify failed")
}

/// librdkafka's words without what differs from try to try: the thread, the protocol, and how long it took.
pub(super) fn clean(said: &str) -> String {
    let said = said.rsplit_once("/bootstrap: ").map_or(said, |(_, rest)| rest);
    let said = said.split_once(" (after ").map_or(said, |(rest, _)| rest);
    let said = said.strip_suffix(": broker's supported mechanisms: ").unwrap_or(said);
    said.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_trouble_has_the_same_words() {
        let one = "127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)";
        let again = "127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 7ms in state \
                     CONNECT, 1 identical error(s) suppressed)";
        assert_eq!(Reason::of(Some(one)), Reason::of(Some(again)));
        let said = "[thrd:a:1/bootstrap]: a:1/bootstrap: Failed to resolve 'a:1': Name or service not known (after 1ms in \
                    state CONNECT)";
        assert_eq!(Reason::of(Some(said)).what, "Failed to resolve 'a:1': Name or service not known");
    }

    #[test]
    fn what_closes_the_connection_tells_what_it_may_want() {
        for (said, wants) in [
            (
                "ssl://a:1/bootstrap: SSL handshake failed: Disconnected: SSL connection closed by peer: connecting to a \
                 PLAINTEXT broker listener? (after 1ms in state SSL_HANDSHAKE)",
                "without TLS",
            ),
            (
                "a:1/bootstrap: Disconnected: connection closed by peer: receive 0 after POLLIN (after 1ms in state \
                 APIVERSION_QUERY)",
                "may want TLS",
            ),
            ("a:1/bootstrap: Send failed: Broken pipe (after 0ms in state UP)", "want a password"),
            (
                "a:1/bootstrap: Receive failed: Invalid response size 1213486160 (0..100000000)",
                "something else",
            ),
        ] {
            let reason = Reason::of(Some(said));
            assert!(reason.remedy.contains(wants), "{said}: {reason:?}");
        }
        assert!(Reason::of(None).remedy.contains("names a Kafka"));
    }
}
