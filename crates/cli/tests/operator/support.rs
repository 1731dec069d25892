//! Runs a command, hears what it says, and asks it over HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Longer than anything here should take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A process and what it says on standard error. Killed when it is dropped.
pub(crate) struct Run {
    pub(crate) child: Child,
    said: Receiver<String>,
    heard: Vec<String>,
}

impl Run {
    /// Runs a file; `yaml` goes to `pipeline.yaml` in `folder`.
    pub(crate) fn file(folder: &Path, yaml: &str, arguments: &[&str]) -> Self {
        std::fs::write(folder.join("pipeline.yaml"), yaml).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_pipectl"));
        command.args(["run", "pipeline.yaml"]).args(arguments).current_dir(folder);
        Self::start(command)
    }

    pub(crate) fn start(mut command: Command) -> Self {
        command.env_remove("KAFKA_BROKERS").stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (told, said) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| told.send(line)));
        Self { child, said, heard: Vec::new() }
    }

    /// Waits for a line.
    pub(crate) fn until(&mut self, text: &str) -> String {
        let since = Instant::now();
        loop {
            let line = self.said.recv_timeout(PATIENCE.saturating_sub(since.elapsed()));
            assert!(line.is_ok(), "never said `{text}`: {:#?}", self.heard);
            let line = line.unwrap();
            self.heard.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Waits for the address of its health endpoint.
    pub(crate) fn health(&mut self) -> String {
        let line = self.until("  health http://");
        line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned()
    }

    pub(crate) fn signal(&self) {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
    }

    /// Waits for its end: the exit code, and all that it said.
    pub(crate) fn ends(&mut self) -> (Option<i32>, String) {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.heard.extend(self.said.iter());
                return (status.code(), self.heard.join("\n"));
            }
            assert!(since.elapsed() < PATIENCE, "does not end: {:#?}", self.heard);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer of a server.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

pub(crate) fn ask(address: &str, method: &str, path: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

pub(crate) fn get(address: &str, path: &str) -> Answer {
    ask(address, "GET", path)
}

/// Asks until the answer has this status and text.
pub(crate) fn until(address: &str, path: &str, status: u16, text: &str) -> Answer {
    let since = Instant::now();
    loop {
        let answer = get(address, path);
        if answer.status == status && answer.body.contains(text) {
            return answer;
        }
        assert!(since.elapsed() < PATIENCE, "{path} is never {status} with `{text}`: {answer:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
