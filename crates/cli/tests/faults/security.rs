//! TLS, passwords and ACLs of a broker that asks for them.

use std::time::Duration;

use crate::support::{Pipeline, Running, assert_snapshot, committed, records, suffix};

/// The broker of `scripts/kafka secure`: its folder, and the first of its ports.
struct Secure {
    folder: String,
    port: u16,
}

impl Secure {
    fn find() -> Option<Self> {
        let Ok(folder) = std::env::var("PIPECTL_TEST_KAFKA_SECURE") else {
            eprintln!(
                "SKIPPED TLS, SASL and ACLs: set PIPECTL_TEST_KAFKA_SECURE to the folder of a broker that `scripts/kafka \
                 secure` has started"
            );
            return None;
        };
        let address = std::fs::read_to_string(format!("{folder}/address")).unwrap();
        let port = address.trim().rsplit(':').next().unwrap().parse().unwrap();
        Some(Self { folder, port })
    }

    fn open(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn tls(&self, ca: &str) -> String {
        format!("tls: {{ ca: '{}/tls/{ca}.pem' }}", self.folder)
    }
}

/// Copies a topic `in` to a topic `out`, over this connection.
fn pipeline(suffix: &str, connection: &str) -> Pipeline {
    Pipeline::new(&format!(
        "name: copy{suffix}
connections:
  kafka: {connection}
pipelines:
  copy:
    - source: kafka
      with: {{ topic: in{suffix}, format: text }}
    - sink: kafka
      with: {{ topic: out{suffix}, value: value }}
"
    ))
}

/// Makes the topics `in`, with three rows, and `out`.
fn make_topics(secure: &Secure, suffix: &str) {
    let made = Pipeline::new(&format!(
        "name: make{suffix}
connections: {{ kafka: {{ brokers: '{}' }} }}
pipelines:
  rows:
    - source: csv
      with: {{ path: rows.csv }}
    - sink: kafka
      with: {{ topic: in{suffix}, value: id, partitions: 1 }}
  nothing:
    - source: csv
      with: {{ path: rows.csv }}
    - transform: filter
      with: {{ field: id, equals: none }}
    - sink: kafka
      with: {{ topic: out{suffix}, value: id, partitions: 1 }}
",
        secure.open()
    ))
    .once();
    assert_eq!(made.code, Some(0), "{}", made.said);
}

fn sasl(mechanism: &str, user: &str, password: &str) -> String {
    format!("sasl: {{ mechanism: {mechanism}, username: {user}, password: {password} }}")
}

#[test]
fn rows_go_over_tls_and_sasl() {
    let Some(secure) = Secure::find() else { return };
    let port = secure.port;
    let tls = secure.tls("ca");
    let scram = sasl("SCRAM-SHA-512", "all", "all-secret");
    let plain = sasl("PLAIN", "all", "all-secret");
    let connections = [
        format!("{{ brokers: 'localhost:{}', security: {{ {tls} }} }}", port + 2),
        format!("{{ brokers: '127.0.0.1:{}', security: {{ {scram} }} }}", port + 3),
        format!("{{ brokers: 'localhost:{}', security: {{ {tls}, {scram} }} }}", port + 4),
        format!("{{ brokers: 'localhost:{}', security: {{ {tls}, {plain} }} }}", port + 4),
    ];
    std::thread::scope(|scope| {
        for connection in &connections {
            let secure = &secure;
            scope.spawn(move || {
                let suffix = suffix();
                make_topics(secure, &suffix);
                let ended = pipeline(&suffix, connection).once();
                assert_eq!(ended.code, Some(0), "{}", ended.said);
                assert_eq!(records(&secure.open(), &format!("out{suffix}")), ["1", "2", "3"]);
            });
        }
    });
}

#[test]
fn a_user_with_the_acls_of_the_documentation_and_no_more_runs_a_pipeline() {
    let Some(secure) = Secure::find() else { return };
    let suffix = suffix();
    let (port, tls, sasl) =
        (secure.port + 4, secure.tls("ca"), sasl("SCRAM-SHA-512", "least", "least-secret"));
    let pipeline = Pipeline::new(&format!(
        "name: least{suffix}
connections:
  kafka: {{ brokers: 'localhost:{port}', security: {{ {tls}, {sasl} }} }}
pipelines:
  rows:
    - source: csv
      with: {{ path: rows.csv }}
    - sink: kafka
      with: {{ topic: least-in{suffix}, value: id, partitions: 1 }}
  copy:
    - source: kafka
      with: {{ topic: least-in{suffix}, format: text }}
    - sink: kafka
      with: {{ topic: least-out{suffix}, value: value, partitions: 1 }}
  again:
    - source: kafka
      delivery: at_least_once
      with: {{ topic: least-in{suffix}, format: text }}
    - sink: kafka
      with: {{ topic: least-again{suffix}, value: value, partitions: 1 }}
"
    ));
    let mut command = pipeline.command(&["-vv", "run", "pipeline.yaml", "--once"]);
    let ended = Running::new(command.spawn().unwrap()).end();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    for topic in ["out", "again"] {
        assert_eq!(records(&secure.open(), &format!("least-{topic}{suffix}")), ["1", "2", "3"]);
    }
    assert!(!ended.said.contains("alone counts"), "it may describe its topics:\n{}", ended.said);
    assert!(!ended.said.contains("cannot look at its group"), "it may look at its group:\n{}", ended.said);
}

#[test]
fn who_is_refused_hears_why_and_nothing_is_committed() {
    let Some(secure) = Secure::find() else { return };
    let port = secure.port;
    let (tls, other) = (secure.tls("ca"), secure.tls("other"));
    let over_tls =
        |sasl: &str| format!("{{ brokers: 'localhost:{}', security: {{ {tls}, {sasl} }} }}", port + 4);
    let as_user = |user: &str| over_tls(&sasl("SCRAM-SHA-512", user, &format!("{user}-secret")));
    let clear = |mechanism: &str| {
        let sasl = sasl(mechanism, "all", "all-secret");
        format!("{{ brokers: '127.0.0.1:{}', security: {{ {sasl} }} }}", port + 3)
    };
    let cases = [
        ("wrong-password", over_tls(&sasl("SCRAM-SHA-512", "all", "wrong"))),
        ("wrong-password-plain", over_tls(&sasl("PLAIN", "all", "wrong"))),
        ("unknown-user", over_tls(&sasl("SCRAM-SHA-512", "nobody", "wrong"))),
        ("wrong-mechanism", clear("SCRAM-SHA-256")),
        ("sasl-not-expected", {
            let sasl = sasl("SCRAM-SHA-512", "all", "all-secret");
            format!("{{ brokers: '127.0.0.1:{port}', security: {{ {sasl} }} }}")
        }),
        ("certificate-of-another-authority", {
            format!("{{ brokers: 'localhost:{}', security: {{ {other} }} }}", port + 2)
        }),
        ("certificate-of-another-name", {
            format!("{{ brokers: '127.0.0.1:{}', security: {{ {tls} }} }}", port + 2)
        }),
        ("topic-not-allowed", as_user("no-topic")),
        ("group-not-allowed", as_user("no-group")),
        ("transactional-id-not-allowed", as_user("no-id")),
    ];
    std::thread::scope(|scope| {
        for (name, connection) in &cases {
            let secure = &secure;
            scope.spawn(move || {
                let suffix = suffix();
                make_topics(secure, &suffix);
                let ended = pipeline(&suffix, connection).once();
                assert_eq!(ended.code, Some(4), "{name}: {}", ended.said);
                let messages = ended.messages(&[(&suffix, "-X")]);
                assert_snapshot(name, &without_numbers(&without_worker(&messages)));
                nothing_happened(secure, &suffix);
            });
        }
    });
}

#[test]
fn tls_and_passwords_that_the_other_side_expects_otherwise_are_told_once() {
    let Some(secure) = Secure::find() else { return };
    let port = secure.port;
    let tls = secure.tls("ca");
    let cases = [
        ("tls-not-expected", format!("{{ brokers: '127.0.0.1:{port}', security: {{ {tls} }} }}")),
        ("tls-expected", format!("{{ brokers: '127.0.0.1:{}' }}", port + 2)),
        ("sasl-expected", format!("{{ brokers: '127.0.0.1:{}' }}", port + 3)),
    ];
    std::thread::scope(|scope| {
        for (name, connection) in &cases {
            let secure = &secure;
            scope.spawn(move || {
                let suffix = suffix();
                make_topics(secure, &suffix);
                let pipeline = pipeline(&suffix, connection);
                let mut run = pipeline.start(&[]);
                run.wait_for("= help");
                run.go_on(Duration::from_secs(5));
                let ended = run.stop();
                assert_eq!(ended.code, Some(0), "{name}: {}", ended.said);
                let messages = ended.messages(&[(&suffix, "-X")]);
                assert_snapshot(name, &without_numbers(&messages));
                nothing_happened(secure, &suffix);
            });
        }
    });
}

fn nothing_happened(secure: &Secure, suffix: &str) {
    let nothing: [&str; 0] = [];
    assert_eq!(records(&secure.open(), &format!("out{suffix}")), nothing);
    assert_eq!(committed(&secure.open(), &format!("copy{suffix}.copy"), &format!("in{suffix}")), [None]);
}

/// The name of the worker in a transactional id.
fn without_worker(messages: &str) -> String {
    match messages.split_once("`copy-X.copy.") {
        None => messages.to_owned(),
        Some((before, after)) => {
            let after = after.trim_start_matches(|c: char| c != '`');
            format!("{before}`copy-X.copy.WORKER{after}")
        }
    }
}

/// A port, which differs from run to run, as `PORT`.
fn without_numbers(messages: &str) -> String {
    let mut shown = messages.to_owned();
    for host in ["127.0.0.1:", "localhost:"] {
        let mut parts = shown.split(host);
        let first = parts.next().unwrap_or_default().to_owned();
        shown = parts.fold(first, |shown, part| {
            shown + host + "PORT" + part.trim_start_matches(|c: char| c.is_ascii_digit())
        });
    }
    shown
}
