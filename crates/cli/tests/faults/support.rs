//! Runs the binary, and looks at topics and groups beside it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tempfile::TempDir;

/// The longest that any run here may take.
const LONGEST: Duration = Duration::from_secs(90);

/// The address of the Kafka that the tests may use; says what is skipped where there is none.
pub(crate) fn kafka(skipped: &str) -> Option<String> {
    let address = std::env::var("PIPECTL_TEST_KAFKA").ok();
    if address.is_none() {
        eprintln!(
            "SKIPPED {skipped}: set PIPECTL_TEST_KAFKA to the address of a broker, such as `scripts/kafka` starts"
        );
    }
    address
}

/// What no other run has in its names.
pub(crate) fn suffix() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    format!("-{}-{}", std::process::id(), now.as_nanos())
}

/// A pipeline in a folder of its own, with a file of three rows beside it.
pub(crate) struct Pipeline {
    pub(crate) folder: TempDir,
}

impl Pipeline {
    pub(crate) fn new(yaml: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pipeline.yaml"), yaml).unwrap();
        std::fs::write(folder.path().join("rows.csv"), "id,key\n1,a\n2,b\n3,a\n").unwrap();
        Self { folder }
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pipectl"));
        command.args(arguments).current_dir(self.folder.path()).env_remove("KAFKA_BROKERS");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        let all = [&["run", "pipeline.yaml"], arguments].concat();
        Running::new(self.command(&all).spawn().unwrap())
    }

    /// Runs it with `--once` to its end.
    pub(crate) fn once(&self) -> Ended {
        self.start(&["--once"]).end()
    }
}

/// A run that goes on.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    heard: String,
    out: Option<std::thread::JoinHandle<String>>,
}

/// A run that has ended.
pub(crate) struct Ended {
    pub(crate) said: String,
    pub(crate) out: String,
    pub(crate) code: Option<i32>,
}

impl Running {
    pub(crate) fn new(mut child: Child) -> Self {
        let (send, lines) = channel();
        let stderr = child.stderr.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let mut stdout = child.stdout.take().unwrap();
        let out = std::thread::spawn(move || {
            let mut all = String::new();
            let _ = stdout.read_to_string(&mut all);
            all
        });
        Self { child, lines, heard: String::new(), out: Some(out) }
    }

    /// Waits until it says something with `part` in it.
    pub(crate) fn wait_for(&mut self, part: &str) {
        assert!(self.hear(Instant::now() + LONGEST, Some(part)), "no line with {part:?}:\n{}", self.heard);
    }

    /// Lets it go on for so long.
    pub(crate) fn go_on(&mut self, time: Duration) {
        self.hear(Instant::now() + time, None);
    }

    /// Listens until then; true once a line has `part` in it.
    fn hear(&mut self, until: Instant, part: Option<&str>) -> bool {
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.heard.push_str(&line);
                    self.heard.push('\n');
                    if part.is_some_and(|part| line.contains(part)) {
                        return true;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn stop(self) -> Ended {
        self.signal("TERM");
        self.end()
    }

    /// Waits for the end.
    pub(crate) fn end(mut self) -> Ended {
        let until = Instant::now() + LONGEST;
        let status: ExitStatus = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > until {
                let _ = self.child.kill();
                self.go_on(Duration::from_secs(1));
                panic!("the run did not end:\n{}", self.heard);
            }
            self.go_on(Duration::from_millis(20));
            std::thread::sleep(Duration::from_millis(5));
        };
        self.hear(until, None);
        let out = self.out.take().unwrap().join().unwrap();
        Ended { said: std::mem::take(&mut self.heard), out, code: status.code() }
    }
}

/// A test that fails leaves nothing behind that runs on.
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// The messages alone (errors, warnings and their remedies), each of `replaced` with its second text for
    /// its first. Whether a client is closed in time depends on how busy the machine is: that message is left
    /// out.
    pub(crate) fn messages(&self, replaced: &[(&str, &str)]) -> String {
        let is_message = |line: &&str| {
            ["error:", "warning:", "  = help:", " WARN", "ERROR"].iter().any(|start| line.starts_with(start))
                && !line.contains("to close; it is left to itself")
        };
        let mut messages: String =
            self.said.lines().filter(is_message).flat_map(|line| [line, "\n"]).collect();
        for (volatile, shown) in replaced {
            messages = messages.replace(volatile, shown);
        }
        messages
    }
}

/// Waits until `is_so`.
pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + LONGEST;
    while !is_so() {
        assert!(Instant::now() < until, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Messages without the times at which warnings were logged.
pub(crate) fn undated(messages: &str) -> String {
    let undated =
        |line: &str| line.split_once(" WARN ").map_or(line.to_owned(), |(_, rest)| format!("WARN {rest}"));
    messages.lines().map(|line| undated(line) + "\n").collect()
}

/// Compares with the snapshot `fault-NAME`.
pub(crate) fn assert_snapshot(name: &str, messages: &str) {
    insta::with_settings!({
        prepend_module_to_snapshot => false, omit_expression => true, snapshot_path => "../snapshots"
    }, {
        insta::assert_snapshot!(format!("fault-{name}"), messages);
    });
}

/// A client of the test's own.
pub(crate) fn client(brokers: &str, group: &str) -> BaseConsumer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", group).set("isolation.level", "read_committed");
    config.set("enable.auto.commit", "false").set("enable.partition.eof", "true");
    config.create().unwrap()
}

fn partitions(client: &BaseConsumer, topic: &str) -> i32 {
    let until = Instant::now() + LONGEST;
    loop {
        match client.fetch_metadata(Some(topic), Duration::from_secs(10)) {
            Ok(metadata) => return metadata.topics()[0].partitions().len() as i32,
            Err(e) => assert!(Instant::now() < until, "cannot look at topic {topic}: {e}"),
        }
    }
}

/// The committed records of a topic, and nothing of one that is not there.
pub(crate) fn records(brokers: &str, topic: &str) -> Vec<String> {
    use rdkafka::Message;
    let client = client(brokers, "reads");
    let count = partitions(&client, topic);
    let mut list = TopicPartitionList::new();
    for index in 0..count {
        list.add_partition_offset(topic, index, Offset::Beginning).unwrap();
    }
    client.assign(&list).unwrap();
    if count == 0 {
        return Vec::new();
    }
    let (mut open, mut values, until) = (count, Vec::new(), Instant::now() + LONGEST);
    while open > 0 {
        assert!(Instant::now() < until, "topic {topic} could not be read to its end");
        match client.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => {
                values.push(String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned());
            }
            Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
            _ => {}
        }
    }
    values
}

/// Commits a position for the first partition of a topic, from outside.
pub(crate) fn commit(brokers: &str, group: &str, topic: &str, offset: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
    client(brokers, group).commit(&list, CommitMode::Sync).unwrap();
}

/// What a group has committed, partition by partition.
pub(crate) fn committed(brokers: &str, group: &str, topic: &str) -> Vec<Option<i64>> {
    let client = client(brokers, group);
    let mut list = TopicPartitionList::new();
    for index in 0..partitions(&client, topic) {
        list.add_partition(topic, index);
    }
    let found = client.committed_offsets(list, Duration::from_secs(10)).unwrap();
    let offset = |element: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match element.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    };
    found.elements().into_iter().map(offset).collect()
}
