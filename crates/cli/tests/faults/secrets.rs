//! A password is never shown, whatever is asked for and whatever goes wrong.

use crate::support::{Pipeline, Running};

const CANARY: &str = "kanarienvogel-4711";

/// A password from the environment, for a broker that is not there, with settings that librdkafka does not
/// take, or one that refuses it.
fn pipelines() -> Vec<Pipeline> {
    let connection = |brokers: &str, more: &str| {
        Pipeline::new(&format!(
            "name: secret
connections:
  kafka:
    brokers: '{brokers}'
    insecure: true
    security:
      tls: {{ cert: rows.csv, key: rows.csv, key_password: '${{CANARY}}' }}
      sasl: {{ mechanism: PLAIN, username: all, password: '${{CANARY}}' }}
    {more}
pipelines:
  a:
    - source: csv
      with: {{ path: rows.csv }}
    - sink: kafka
      with: {{ topic: secret, value: id }}
"
        ))
    };
    let clear = |brokers: &str| {
        Pipeline::new(&format!(
            "name: secret
connections:
  kafka:
    brokers: '{brokers}'
    insecure: true
    security: {{ sasl: {{ mechanism: PLAIN, username: all, password: '${{CANARY}}' }} }}
    properties: {{ debug: 'security,broker,conf' }}
pipelines:
  a:
    - source: csv
      with: {{ path: rows.csv }}
    - sink: kafka
      with: {{ topic: secret, value: id }}
"
        ))
    };
    let mut all = vec![
        // The certificate is none: the client cannot be made.
        connection("127.0.0.1:1", ""),
        connection("127.0.0.1:1", "properties: { linger.ms: nonsense }"),
        connection("127.0.0.1:1", "partitons: 4"),
        clear("127.0.0.1:1"),
    ];
    if let Ok(folder) = std::env::var("PIPECTL_TEST_KAFKA_SECURE") {
        let address = std::fs::read_to_string(format!("{folder}/address")).unwrap();
        let port: u16 = address.trim().rsplit(':').next().unwrap().parse().unwrap();
        all.push(clear(&format!("127.0.0.1:{}", port + 3)));
    }
    all
}

#[test]
fn a_password_is_never_shown() {
    let asked = [
        &["check", "pipeline.yaml"][..],
        &["explain", "pipeline.yaml"],
        &["explain", "pipeline.yaml", "--format", "json"],
        &["run", "pipeline.yaml", "--once"],
        &["-v", "run", "pipeline.yaml"],
        &["-vv", "run", "pipeline.yaml"],
        &["-vv", "--log-format", "json", "run", "pipeline.yaml"],
    ];
    std::thread::scope(|scope| {
        for pipeline in pipelines() {
            scope.spawn(move || {
                let mut heard = 0;
                for arguments in asked {
                    let mut command = pipeline.command(arguments);
                    let mut run = Running::new(command.env("CANARY", CANARY).spawn().unwrap());
                    // A broker that is away is waited for.
                    run.go_on(std::time::Duration::from_secs(3));
                    let ended = if run.is_alive() { run.stop() } else { run.end() };
                    heard += ended.said.len();
                    for text in [&ended.said, &ended.out] {
                        assert!(!text.contains(CANARY), "{arguments:?} shows the password:\n{text}");
                        assert!(
                            !text.contains("4711"),
                            "{arguments:?} shows a part of the password:\n{text}"
                        );
                    }
                }
                assert!(heard > 0, "nothing was said at all");
            });
        }
    });
}
