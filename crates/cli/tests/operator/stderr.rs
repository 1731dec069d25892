use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::PATIENCE;

/// A pipe that nobody reads, filled to the last byte.
fn full() -> (std::io::PipeReader, std::io::PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut filling = writer.try_clone().unwrap();
    // It is left behind in its last write.
    std::thread::spawn(move || while filling.write_all(&[b'x'; 4096]).is_ok() {});
    std::thread::sleep(Duration::from_millis(300));
    (reader, writer)
}

#[test]
fn a_run_whose_standard_error_nobody_reads_does_its_work_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = "name: unheard
connections: { kafka: { brokers: embedded } }
pipelines:
  make:
    - source: generate
      with: { count: 10000, rate: max, fields: { key: { values: [a] } } }
    - sink: kafka
      with: { topic: keys, value: key }
  show:
    - source: kafka
      with: { topic: keys, format: text }
    - sink: stdout
";
    std::fs::write(folder.path().join("pipeline.yaml"), yaml).unwrap();
    for more in [&["-vv"][..], &["-vv", "--log-format", "json"]] {
        let (unread, writer) = full();
        let out = std::fs::File::create(folder.path().join("rows")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_pipectl"))
            .args(["run", "pipeline.yaml", "--once"])
            .args(more)
            .current_dir(folder.path())
            .env("PIPECTL_LOG", "trace")
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(writer)
            .spawn()
            .unwrap();
        let since = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if since.elapsed() > PATIENCE {
                child.kill().unwrap();
                panic!("it waits for somebody who reads what it says");
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        assert_eq!(status.code(), Some(0));
        let rows = std::fs::read_to_string(folder.path().join("rows")).unwrap();
        assert_eq!(rows.lines().count(), 10_000);
        drop(unread);
    }
}
