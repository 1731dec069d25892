//! The connection `kafka`: a Kafka cluster, or the log in this process.

use std::collections::BTreeMap;
#[cfg(test)]
use std::path::Path;
use std::sync::Arc;

use pipectl_framework::config::{ByteSize, Problem, Secret};
use pipectl_framework::log::Log;
use pipectl_framework::log::memory::{MemoryLog, MemoryOptions};
use pipectl_framework::plugin::{BindContext, ConnectionPlugin};
use schemars::JsonSchema;
use serde::Deserialize;

use super::log::{KafkaLog, KafkaSettings};
use super::properties;
use crate::disk::DiskLog;

/// The word for the log in this process.
const EMBEDDED: &str = "embedded";
/// A bound below this would hold hardly a batch.
const LEAST_TOPIC_BYTES: usize = 64 << 10;

/// Where topics live: a Kafka cluster, or the log inside this process.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Kafka {
    /// `embedded` for the log inside this process (it forgets everything when the process ends),
    /// `embedded:DIR` for the same log kept in a directory, or the brokers of a cluster as `host:port`,
    /// several with commas between.
    brokers: String,
    /// TLS and SASL. Without it the connection is plain, and nothing is proved to the brokers.
    #[serde(default)]
    security: Security,
    /// Allows what lets others read or change the data on its way: certificates that are not verified,
    /// passwords in the clear.
    #[serde(default)]
    insecure: bool,
    /// Properties of librdkafka for the network and for tuning, such as `compression.type: zstd`.
    #[serde(default)]
    properties: BTreeMap<String, Scalar>,
    /// How many partitions a topic gets that the pipeline makes, where its sink does not say. The cluster's
    /// own default; 1 in the embedded log.
    #[serde(default)]
    partitions: Option<u32>,
    /// How many replicas such a topic gets. The cluster's own default.
    #[serde(default)]
    replication: Option<u16>,
    /// The log inside this process.
    #[serde(default)]
    embedded: Embedded,
}

/// The measures of the embedded log.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Embedded {
    /// How much a topic holds before its writers wait for its readers. `64MiB` by default; raise it where
    /// windows are long, as they must be able to read their records again.
    #[serde(default)]
    topic_bytes: Option<ByteSize>,
}

/// How the two sides prove who they are.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Security {
    /// Encrypts the connection and verifies the brokers; `{}` with the authorities that this machine trusts.
    #[serde(default)]
    tls: Option<Tls>,
    /// Proves this client by a name and a password.
    #[serde(default)]
    sasl: Option<Sasl>,
}

/// Files are in PEM; a relative path starts where the process was started.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Tls {
    /// The file with the certificates of the authorities that signed the brokers'.
    #[serde(default)]
    ca: Option<String>,
    /// The file with this client's certificate, where the brokers want one.
    #[serde(default)]
    cert: Option<String>,
    /// The file with the key of this client's certificate.
    #[serde(default)]
    key: Option<String>,
    /// The password of that key.
    #[serde(default, deserialize_with = "Secret::given")]
    key_password: Option<Secret>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Sasl {
    /// How the password is proved. PLAIN sends it, so it needs `tls`.
    mechanism: Mechanism,
    /// The name.
    username: String,
    /// The password, as `${NAME}` from the environment.
    password: Secret,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
enum Mechanism {
    #[serde(rename = "PLAIN")]
    Plain,
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

impl Mechanism {
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// A text, a number, or `true` and `false`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Scalar {
    Flag(bool),
    Number(i64),
    Text(String),
}

impl Scalar {
    fn text(&self) -> String {
        match self {
            Self::Flag(flag) => flag.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

impl ConnectionPlugin for Kafka {
    const NAME: &'static str = "kafka";
    const SUMMARY: &'static str = "topics of a Kafka cluster, or of the log inside this process";
    const EXAMPLE: &'static str = "{ brokers: embedded }";

    fn bind(self, context: &BindContext<'_>) -> Result<Arc<dyn Log>, Problem> {
        // Checked for the embedded log too, so that a file that runs here runs there.
        let properties = self.client_properties(context)?;
        if self.partitions == Some(0) {
            return Err(Problem::new("partitions", "a topic has one partition at least"));
        }
        if self.replication == Some(0) {
            return Err(Problem::new("replication", "a topic has one replica at least"));
        }
        let defaults = MemoryOptions::default();
        let topic_bytes = self.embedded.topic_bytes.map_or(defaults.topic_bytes, |size| size.0 as usize);
        if topic_bytes < LEAST_TOPIC_BYTES {
            return Err(Problem::new("embedded.topic_bytes", "64KiB are the least that a topic may have"));
        }
        if self.brokers.trim() == EMBEDDED {
            let partitions = self.partitions.unwrap_or(defaults.partitions);
            return Ok(Arc::new(MemoryLog::new(MemoryOptions { topic_bytes, partitions, ..defaults })));
        }
        if let Some(directory) = self.brokers.trim().strip_prefix("embedded:") {
            // `embedded:9092` is a broker of that name, if anything.
            if directory.is_empty() || directory.parse::<u16>().is_ok() {
                return Err(Problem::new("brokers", "`embedded:` needs a directory")
                    .help("such as `embedded:data/log`, or `embedded` for a log in memory alone"));
            }
            let partitions = self.partitions.unwrap_or(defaults.partitions);
            let options = MemoryOptions { topic_bytes, partitions, ..defaults };
            return Ok(Arc::new(DiskLog::new(context.path(directory), directory, options)));
        }
        Ok(Arc::new(KafkaLog::new(KafkaSettings {
            brokers: brokers(&self.brokers)?,
            properties,
            partitions: self.partitions,
            replication: self.replication,
        })))
    }
}

impl Kafka {
    /// Everything that librdkafka is told about security and the network.
    fn client_properties(&self, context: &BindContext<'_>) -> Result<Vec<(String, String)>, Problem> {
        let mut all: Vec<(String, String)> = Vec::new();
        let mut set = |name: &str, value: &str| all.push((name.to_owned(), value.to_owned()));
        let Security { tls, sasl } = &self.security;
        set(
            "security.protocol",
            match (tls, sasl) {
                (None, None) => "plaintext",
                (Some(_), None) => "ssl",
                (None, Some(_)) => "sasl_plaintext",
                (Some(_), Some(_)) => "sasl_ssl",
            },
        );
        if let Some(tls) = tls {
            for (field, property, path) in [
                ("ca", "ssl.ca.location", &tls.ca),
                ("cert", "ssl.certificate.location", &tls.cert),
                ("key", "ssl.key.location", &tls.key),
            ] {
                if let Some(path) = path {
                    set(property, &readable(context, field, path)?);
                }
            }
            match (&tls.cert, &tls.key) {
                (Some(_), None) => {
                    return Err(Problem::new("security.tls.cert", "a certificate needs its `key`"));
                }
                (None, Some(_)) => {
                    return Err(Problem::new("security.tls.key", "a key needs its certificate, `cert`"));
                }
                _ => {}
            }
            if let Some(password) = &tls.key_password {
                set("ssl.key.password", password.expose());
            }
        }
        if let Some(sasl) = sasl {
            if sasl.mechanism == Mechanism::Plain && tls.is_none() && !self.insecure {
                return Err(Problem::new(
                    "security.sasl.mechanism",
                    "PLAIN sends the password, and nothing hides it",
                )
                .label("without `tls` anybody on the way can read it")
                .help("add `tls: {}`, use SCRAM-SHA-512, or say `insecure: true` beside `brokers`"));
            }
            set("sasl.mechanism", sasl.mechanism.name());
            set("sasl.username", &sasl.username);
            set("sasl.password", sasl.password.expose());
        }
        for (name, value) in &self.properties {
            let value = value.text();
            // A name with dots is one key of the file.
            properties::check("properties", name, &value, self.insecure)?;
            set(name, &value);
        }
        Ok(all)
    }
}

/// The path of a file that is there.
fn readable(context: &BindContext<'_>, field: &str, written: &str) -> Result<String, Problem> {
    let path = context.path(written);
    match path.to_str() {
        Some(text) if path.is_file() => Ok(text.to_owned()),
        _ => Err(Problem::new(format!("security.tls.{field}"), format!("there is no file `{written}`"))
            .help(format!("looked for {}; a relative path starts at the pipeline file", path.display()))),
    }
}

/// `host:port`s, checked.
fn brokers(written: &str) -> Result<String, Problem> {
    let mut all = Vec::new();
    for broker in written.split(',').map(str::trim) {
        let port = broker.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
        match port.map(str::parse::<u16>) {
            Some(Ok(port)) if port > 0 => all.push(broker),
            Some(_) => {
                return Err(Problem::new("brokers", format!("`{broker}` has no port from 1 to 65535"))
                    .help("write each broker as `host:port`, such as `kafka-1.example.com:9092`"));
            }
            None => {
                return Err(Problem::new(
                    "brokers",
                    format!("`{broker}` is neither `embedded` nor a broker"),
                )
                .suggest(broker, [EMBEDDED])
                .help("write each broker as `host:port`, such as `kafka-1.example.com:9092`"));
            }
        }
    }
    Ok(all.join(","))
}

pipectl_framework::register!(connection: Kafka);

#[cfg(test)]
mod tests {
    use super::*;
    use pipectl_framework::plugin::{Purpose, Registry};

    fn context(registry: &Registry) -> BindContext<'_> {
        BindContext { registry, base: Path::new(""), connections: &[], purpose: Purpose::Check }
    }

    fn bound(kafka: Kafka) -> Result<Arc<dyn Log>, Problem> {
        kafka.bind(&context(&Registry::default()))
    }

    fn bind(json: serde_json::Value) -> Result<Arc<dyn Log>, Problem> {
        bound(serde_json::from_value::<Kafka>(json).unwrap())
    }

    #[test]
    fn embedded_or_a_cluster() {
        let log = bind(serde_json::json!({ "brokers": "embedded" })).unwrap();
        assert_eq!((log.describe().name.as_str(), log.describe().durable), ("embedded", false));
        let log = bind(serde_json::json!({ "brokers": "a:9092, [::1]:9093" })).unwrap();
        assert_eq!(log.describe().name, "Kafka at a:9092,[::1]:9093");
        assert!(log.describe().durable && log.describe().transactional);
    }

    #[test]
    fn a_misspelt_embedded_is_not_taken_for_a_broker() {
        let problem = bind(serde_json::json!({ "brokers": "embeded" })).err().unwrap();
        assert_eq!(
            (problem.path.as_str(), problem.help[0].as_str()),
            ("brokers", "did you mean `embedded`?")
        );
        for wrong in ["", "a:9092,", "a:x", "a:0", "a:70000", ":9092", "kafka"] {
            let problem = bind(serde_json::json!({ "brokers": wrong })).err().unwrap();
            assert_eq!(problem.path, "brokers", "{wrong}");
        }
    }

    #[test]
    fn security_becomes_properties_and_never_prints() {
        let kafka: Kafka = serde_json::from_value(serde_json::json!({
            "brokers": "a:9092",
            "security": {
                "tls": { "ca": "Cargo.toml" },
                "sasl": { "mechanism": "SCRAM-SHA-512", "username": "u", "password": "canary" },
            },
            "properties": { "linger.ms": 7, "debug": "broker", "socket.keepalive.enable": false },
        }))
        .unwrap();
        let registry = Registry::default();
        let properties = kafka.client_properties(&context(&registry)).unwrap();
        for (name, value) in [
            ("security.protocol", "sasl_ssl"),
            ("ssl.ca.location", "Cargo.toml"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.username", "u"),
            ("sasl.password", "canary"),
            ("linger.ms", "7"),
            ("socket.keepalive.enable", "false"),
        ] {
            assert!(properties.contains(&(name.to_owned(), value.to_owned())), "{name}");
        }
        assert!(!format!("{kafka:?}").contains("canary"));
        assert!(!format!("{:?}", bound(kafka).unwrap()).contains("canary"));
    }

    #[test]
    fn a_password_is_not_sent_in_the_clear_in_passing() {
        let with = |insecure: bool, tls: serde_json::Value| {
            bind(serde_json::json!({
                "brokers": "a:9092", "insecure": insecure,
                "security": { "tls": tls, "sasl": { "mechanism": "PLAIN", "username": "u", "password": "p" } },
            }))
        };
        assert_eq!(with(false, serde_json::Value::Null).err().unwrap().path, "security.sasl.mechanism");
        assert!(with(true, serde_json::Value::Null).is_ok());
        assert!(with(false, serde_json::json!({})).is_ok());
    }

    #[test]
    fn files_that_are_missing_or_alone_are_found_before_the_start() {
        for (tls, path) in [
            (serde_json::json!({ "ca": "no/such/file" }), "security.tls.ca"),
            (serde_json::json!({ "cert": "Cargo.toml" }), "security.tls.cert"),
            (serde_json::json!({ "key": "Cargo.toml" }), "security.tls.key"),
        ] {
            let problem = bind(serde_json::json!({ "brokers": "a:9092", "security": { "tls": tls } }));
            assert_eq!(problem.err().unwrap().path, path);
        }
    }

    #[test]
    fn measures_are_checked() {
        for (json, path) in [
            (serde_json::json!({ "brokers": "embedded", "partitions": 0 }), "partitions"),
            (serde_json::json!({ "brokers": "embedded", "replication": 0 }), "replication"),
            (
                serde_json::json!({ "brokers": "embedded", "embedded": { "topic_bytes": "10B" } }),
                "embedded.topic_bytes",
            ),
            (serde_json::json!({ "brokers": "embedded", "properties": { "group.id": "x" } }), "properties"),
        ] {
            assert_eq!(bind(json).err().unwrap().path, path);
        }
    }
}
