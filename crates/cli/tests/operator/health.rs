use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Run, ask, get, until};

const COUNTS: &str = "name: well
connections: { kafka: { brokers: embedded } }
pipelines:
  make:
    - source: generate
      with: { rate: 100/s, fields: { key: { values: [a, b] } } }
    - sink: kafka
      with: { topic: keys, value: key }
  count:
    - source: kafka
      with: { topic: keys, format: text }
    - window: count-by-key
      with: { key: value, size: 1s }
    - sink: memory
      with: { name: counts }
";

const HEALTH: [&str; 2] = ["--health", "127.0.0.1:0"];

fn well() -> (tempfile::TempDir, Run, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::file(folder.path(), COUNTS, &HEALTH);
    let address = run.health();
    (folder, run, address)
}

#[test]
fn a_run_that_works_is_live_and_ready_and_says_where_each_chain_stands() {
    let (_folder, mut run, address) = well();
    let ready = until(&address, "/readyz", 200, "runs").json();
    assert_eq!(ready["ok"], true);
    assert_eq!(ready["draining"], false);
    let chains: Vec<_> =
        ready["chains"].as_array().unwrap().iter().map(|chain| (&chain["name"], &chain["state"])).collect();
    assert_eq!(chains, [(&"make".into(), &"runs".into()), (&"count".into(), &"runs".into())]);
    assert!(ready["chains"][0]["state_seconds"].as_f64().is_some(), "{ready}");
    let live = get(&address, "/livez?verbose=1");
    assert_eq!(live.status, 200);
    assert_eq!(live.json()["ok"], true);
    assert!(live.head.contains("content-type: application/json"), "{live:?}");

    let head = ask(&address, "HEAD", "/readyz");
    assert_eq!((head.status, head.body.as_str()), (200, ""), "{head:?}");
    for path in ["/", "/healthz", "/livez/", "//livez"] {
        let unknown = get(&address, path);
        assert_eq!(unknown.status, 404);
        assert!(unknown.body.contains("GET /livez"), "{unknown:?}");
    }
    let posted = ask(&address, "POST", "/livez");
    assert_eq!(posted.status, 405);
    assert!(posted.head.contains("allow: get, head"), "{posted:?}");

    run.signal();
    let (code, said) = run.ends();
    assert_eq!(code, Some(0), "{said}");
    assert!(TcpStream::connect(&address).is_err(), "nobody listens any more");
}

#[test]
fn a_broker_that_is_away_makes_a_run_not_ready_with_the_error_and_leaves_it_live() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = COUNTS.replace("embedded", "'127.0.0.1:1'").replace("name: well", "name: away");
    let mut run = Run::file(folder.path(), &yaml, &HEALTH);
    let address = run.health();
    assert_eq!(get(&address, "/readyz").status, 503, "not before it works");
    let away = until(&address, "/readyz", 503, "retries").json();
    let chain = away["chains"].as_array().unwrap().iter().find(|chain| chain["state"] == "retries").unwrap();
    let error = chain["error"].as_str().unwrap();
    assert!(error.contains("Kafka at 127.0.0.1:1 does not answer"), "{away:#}");
    assert!(chain["state_seconds"].as_f64().is_some(), "{away:#}");
    assert!(away["reasons"].to_string().contains("has been trying again for"), "{away:#}");
    assert_eq!(get(&address, "/livez").status, 200, "starting it again would not help");
    run.signal();
    assert_eq!(run.ends().0, Some(0));
}

#[test]
fn a_run_that_drains_is_not_ready() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = "name: drains
pipelines:
  make:
    - source: generate
      with: { rate: max, fields: { key: { values: [a] } } }
    - sink: stdout
";
    std::fs::write(folder.path().join("pipeline.yaml"), yaml).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipectl"));
    // Nobody reads the rows, so the chain takes its time to stop.
    command.args(["run", "pipeline.yaml"]).args(HEALTH).current_dir(folder.path()).stdout(Stdio::piped());
    let mut run = Run::start(command);
    let address = run.health();
    until(&address, "/readyz", 200, "working on rows");
    let signalled = Instant::now();
    run.signal();
    let drains = until(&address, "/readyz", 503, "the run stops").json();
    assert_eq!((&drains["draining"], &drains["chains"][0]["state"]), (&true.into(), &"runs".into()));
    assert_eq!(get(&address, "/livez").status, 200);
    let (code, said) = run.ends();
    assert_eq!(code, Some(0), "{said}");
    assert!(signalled.elapsed() < Duration::from_secs(10), "{said}");
}

#[test]
fn clients_that_say_nothing_slowly_or_garbage_do_not_keep_others_from_an_answer() {
    let (_folder, mut run, address) = well();
    let long = vec![b'a'; 100_000];
    for garbage in [&b"\x16\x03\x01\x00\xff\xfe"[..], b"GET\r\n\r\n", b"\r\n\r\n\r\n", &long] {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // It may have hung up before all is sent.
        let _ = stream.write_all(garbage);
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
        let reset = ended.as_ref().err().map(std::io::Error::kind);
        assert!(matches!(reset, None | Some(std::io::ErrorKind::ConnectionReset)), "{ended:?}");
    }
    let silent: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(&address).unwrap()).collect();
    for mut stream in &silent {
        stream.write_all(b"GET /livez HT").unwrap();
    }
    let asked = Instant::now();
    assert_eq!(get(&address, "/livez").status, 200);
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    run.signal();
    let (code, said) = run.ends();
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn an_address_in_use_is_an_error_of_its_own_and_nothing_is_started() {
    let (folder, run, address) = well();
    let output = Command::new(env!("CARGO_BIN_EXE_pipectl"))
        .args(["run", "pipeline.yaml", "--health", &address])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true, snapshot_path => "../snapshots" }, {
        insta::assert_snapshot!("health-address-in-use", said.replace(&address, "127.0.0.1:PORT"));
    });
    drop(run);
    let wrong = Command::new(env!("CARGO_BIN_EXE_pipectl"))
        .args(["run", "pipeline.yaml", "--health", "localhost:http"])
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true, snapshot_path => "../snapshots" }, {
        insta::assert_snapshot!("health-address-misspelt", String::from_utf8(wrong.stderr).unwrap());
    });
}
