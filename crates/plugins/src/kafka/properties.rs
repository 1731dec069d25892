//! The properties of librdkafka that a file may set.
//!
//! A list of what is allowed, not of what is not: librdkafka has properties that run commands or load
//! libraries, and some that would take back what exactly once rests on.

use pipectl_framework::config::Problem;

/// Which clients take a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Both,
    Consumer,
    Producer,
}

use Side::{Both, Consumer, Producer};

/// What may be set, in the order of the alphabet.
const ALLOWED: &[(&str, Side)] = &[
    ("batch.num.messages", Producer),
    ("batch.size", Producer),
    ("broker.address.family", Both),
    ("broker.address.ttl", Both),
    ("client.dns.lookup", Both),
    ("client.id", Both),
    ("client.rack", Both),
    ("compression.level", Producer),
    ("compression.type", Producer),
    ("connections.max.idle.ms", Both),
    ("debug", Both),
    ("enable.ssl.certificate.verification", Both),
    ("fetch.error.backoff.ms", Consumer),
    ("fetch.max.bytes", Consumer),
    ("fetch.message.max.bytes", Consumer),
    ("fetch.min.bytes", Consumer),
    ("fetch.wait.max.ms", Consumer),
    ("heartbeat.interval.ms", Consumer),
    ("linger.ms", Producer),
    ("max.poll.interval.ms", Consumer),
    ("message.max.bytes", Both),
    ("metadata.max.age.ms", Both),
    ("queue.buffering.max.kbytes", Producer),
    ("queue.buffering.max.messages", Producer),
    ("queued.max.messages.kbytes", Consumer),
    ("queued.min.messages", Consumer),
    ("receive.message.max.bytes", Both),
    ("reconnect.backoff.max.ms", Both),
    ("reconnect.backoff.ms", Both),
    ("retry.backoff.max.ms", Both),
    ("retry.backoff.ms", Both),
    ("session.timeout.ms", Consumer),
    ("socket.connection.setup.timeout.ms", Both),
    ("socket.keepalive.enable", Both),
    ("socket.nagle.disable", Both),
    ("socket.receive.buffer.bytes", Both),
    ("socket.send.buffer.bytes", Both),
    ("socket.timeout.ms", Both),
    ("ssl.cipher.suites", Both),
    ("ssl.crl.location", Both),
    ("ssl.curves.list", Both),
    ("ssl.endpoint.identification.algorithm", Both),
    ("ssl.sigalgs.list", Both),
    ("topic.metadata.refresh.interval.ms", Both),
];

/// Which clients take an allowed property; `None` for one that is not allowed.
pub(crate) fn side(name: &str) -> Option<Side> {
    ALLOWED.iter().find(|(allowed, _)| *allowed == name).map(|(_, side)| *side)
}

/// Checks that a property may be set to a value; `path` is where it stands.
pub(crate) fn check(path: &str, name: &str, value: &str, insecure: bool) -> Result<(), Problem> {
    let verifies = !matches!(
        (name, value),
        ("enable.ssl.certificate.verification", "false") | ("ssl.endpoint.identification.algorithm", "none")
    );
    if !verifies && !insecure {
        return Err(Problem::new(path, "this lets anybody play the broker")
            .label("the brokers' certificates would not be verified")
            .help("name the authority that signed them in `security.tls.ca`, or say `insecure: true` beside `brokers`"));
    }
    if side(name).is_some() {
        return Ok(());
    }
    let problem = Problem::new(path, format!("the property `{name}` cannot be set here"));
    Err(match name {
        "bootstrap.servers" | "metadata.broker.list" => problem.help("write the brokers in `brokers`"),
        "security.protocol" => problem.help("it follows from `security`"),
        "plugin.library.paths" | "ssl.engine.location" | "ssl.engine.id" | "ssl.providers" => {
            problem.label("it loads code into this process")
        }
        "sasl.kerberos.kinit.cmd" => problem.label("it runs a command"),
        _ if name.starts_with("sasl.oauthbearer") || name.starts_with("sasl.kerberos") => {
            problem.help("the mechanisms are PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512, in `security.sasl`")
        }
        _ if name.starts_with("sasl.") => problem.help("write it in `security.sasl`"),
        _ if name.starts_with("ssl.") => problem.help("write it in `security.tls`"),
        "group.id"
        | "group.instance.id"
        | "group.protocol"
        | "partition.assignment.strategy"
        | "isolation.level"
        | "enable.auto.commit"
        | "enable.auto.offset.store"
        | "auto.offset.reset"
        | "enable.partition.eof"
        | "transactional.id"
        | "transaction.timeout.ms"
        | "enable.idempotence"
        | "acks"
        | "request.required.acks"
        | "max.in.flight"
        | "max.in.flight.requests.per.connection"
        | "message.timeout.ms"
        | "partitioner"
        | "delivery.report.only.error"
        | "allow.auto.create.topics"
        | "check.crcs" => problem.label("pipectl sets it: exactly once depends on it"),
        _ => problem
            .suggest(name, ALLOWED.iter().map(|(allowed, _)| *allowed))
            .help(format!("the properties are: {}", names().join(", "))),
    })
}

fn names() -> Vec<&'static str> {
    ALLOWED.iter().map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_every_name_is_known_to_librdkafka() {
        assert!(ALLOWED.is_sorted_by_key(|(name, _)| *name));
        let config = rdkafka::ClientConfig::new().create_native_config().unwrap();
        for (name, _) in ALLOWED {
            // Some have no value until they are set, which is another error than not being there.
            if let Err(error) = config.get(name) {
                assert!(!error.to_string().contains("No such"), "{name}: {error}");
            }
        }
    }

    #[test]
    fn nothing_that_runs_or_loads_code_is_allowed() {
        for name in [
            "sasl.kerberos.kinit.cmd",
            "plugin.library.paths",
            "ssl.engine.location",
            "ssl.providers",
            "group.id",
            "isolation.level",
            "sasl.password",
            "ssl.ca.location",
            "no.such.thing",
        ] {
            let problem = check("properties", name, "x", true).unwrap_err();
            assert!(problem.message.contains(name));
            assert!(!problem.label.is_empty() || !problem.help.is_empty(), "{name}");
        }
    }

    #[test]
    fn a_misspelt_property_is_suggested() {
        let problem = check("properties", "linger.m", "1", false).unwrap_err();
        assert_eq!(problem.help[0], "did you mean `linger.ms`?");
    }

    #[test]
    fn verification_is_not_switched_off_in_passing() {
        for (name, value) in [
            ("enable.ssl.certificate.verification", "false"),
            ("ssl.endpoint.identification.algorithm", "none"),
        ] {
            assert!(check("properties", name, value, false).is_err());
            assert!(check("properties", name, value, true).is_ok());
        }
        assert!(check("properties", "enable.ssl.certificate.verification", "true", false).is_ok());
    }
}
