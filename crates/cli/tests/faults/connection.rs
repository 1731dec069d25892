//! Addresses where no Kafka answers: waited for, told once, and a signal ends the run with 0.

use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

use crate::support::{Pipeline, assert_snapshot};

/// Two chains, so that both meet the same trouble.
fn pipeline(brokers: &str) -> Pipeline {
    Pipeline::new(&format!(
        "name: away
connections: {{ kafka: {{ brokers: '{brokers}' }} }}
pipelines:
  rows:
    - source: csv
      with: {{ path: rows.csv }}
    - sink: kafka
      with: {{ topic: in, value: id }}
  count:
    - source: kafka
      with: {{ topic: in, format: text }}
    - sink: stdout
"
    ))
}

/// A server that answers everything with an error of HTTP, until the process ends.
fn web_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let _ = connection.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
            // Closed a little later, so that the answer is read first.
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    address
}

#[test]
fn a_broker_that_does_not_answer_is_told_once_and_waited_for() {
    let web = web_server();
    let cases = [
        ("nobody-listens", "127.0.0.1:1".to_owned()),
        ("no-such-host", "no-such-host.invalid:9092".to_owned()),
        ("no-kafka", web),
    ];
    std::thread::scope(|scope| {
        for (name, address) in cases {
            scope.spawn(move || {
                let pipeline = pipeline(&address);
                let mut run = pipeline.start(&[]);
                run.wait_for("= help");
                // A second and a third try of both chains.
                run.go_on(Duration::from_secs(9));
                assert!(run.is_alive());
                let ended = run.stop();
                assert_eq!(ended.code, Some(0), "{}", ended.said);
                let messages = ended.messages(&[(&address, "ADDRESS")]);
                // Whichever chain was first.
                assert_snapshot(name, &messages.replace("warning: count:", "warning: rows:"));
            });
        }
    });
}
