//! The whole program from outside: start, memory and CPU of the shipped job, and the time from the end of a window to its result.
//!
//! `cargo bench --bench job`; with `PIPECTL_TEST_KAFKA=host:port` over Kafka too.
#![allow(clippy::print_stdout, clippy::expect_used, reason = "a benchmark prints, and fails by panicking")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long the live figures are taken.
const LIVE: Duration = Duration::from_secs(20);

fn main() {
    let kafka = std::env::var("PIPECTL_TEST_KAFKA").ok();
    for brokers in [Some("embedded".to_owned()), kafka].into_iter().flatten() {
        println!("on {brokers}");
        start_to_first_result(&brokers);
        live(&brokers);
        shipped(&brokers);
    }
}

fn pipectl(brokers: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipectl"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    command.arg("run").args(arguments).env("KAFKA_BROKERS", brokers).current_dir(root).stderr(Stdio::null());
    command
}

/// A file with a source of made-up rows, a topic, a window of one second and its results on standard output.
fn file(folder: &Path, source: &str) -> String {
    let id = format!("job-{}-{}", std::process::id(), now_ms());
    let yaml = format!(
        "name: {id}
connections: {{ kafka: {{ brokers: \"${{KAFKA_BROKERS}}\" }} }}
pipelines:
  make:
    - source: generate
      with: {source}
    - sink: kafka
      with: {{ topic: {id}, value: key }}
  count:
    - source: kafka
      with: {{ topic: {id}, format: text }}
    - window: count-by-key
      with: {{ key: value, size: 1s }}
    - sink: kafka
      with: {{ topic: {id}-result, encode: json }}
  show:
    - source: kafka
      with: {{ topic: {id}-result, format: {{ json: {{ fields: {{ window_end: integer, key: text, count: integer }} }} }} }}
    - sink: stdout
"
    );
    let path = folder.join(format!("{id}.yaml"));
    std::fs::write(&path, yaml).expect("written");
    path.to_str().expect("a path").to_owned()
}

fn start_to_first_result(brokers: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut took: Vec<f64> = (0..5)
        .map(|_| {
            let path = file(folder.path(), "{ count: 3, fields: { key: { values: ['0', '1', '2'] } } }");
            let started = Instant::now();
            let mut child =
                pipectl(brokers, &[&path, "--once"]).stdout(Stdio::piped()).spawn().expect("a child");
            let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
            lines.next().expect("a result").expect("a line");
            let first = started.elapsed().as_secs_f64();
            child.wait().expect("an end");
            first
        })
        .collect();
    took.sort_by(f64::total_cmp);
    println!("  process start to first result:  {:>7.3} s (median of 5)", took[2]);
}

/// 10,000 rows a second; how long after the end of each window its result stands on standard output.
fn live(brokers: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(folder.path(), "{ rate: 10000/s, fields: { key: { values: ['0', '1', '2'] } } }");
    let mut child = pipectl(brokers, &[&path]).stdout(Stdio::piped()).spawn().expect("a child");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let (started, mut delays, mut cpu) = (Instant::now(), Vec::new(), None);
    for line in lines {
        let row: serde_json::Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        let end = row["window_end"].as_i64().expect("an end");
        // The first windows have the start in them.
        if started.elapsed() > Duration::from_secs(3) {
            cpu.get_or_insert_with(|| (Instant::now(), cpu_seconds(&child)));
            delays.push((now_ms() - end) as f64);
        }
        if started.elapsed() > LIVE {
            break;
        }
    }
    let (since, before) = cpu.expect("results");
    let cpu = (cpu_seconds(&child) - before) / since.elapsed().as_secs_f64();
    let rss = resident_mib(&child);
    stop(child);
    delays.sort_by(f64::total_cmp);
    let at = |q: f64| delays[((delays.len() - 1) as f64 * q) as usize];
    println!(
        "  window end to result, 10,000/s: {:>4.0} ms p50, {:>4.0} ms p99, {} results",
        at(0.5),
        at(0.99),
        delays.len()
    );
    println!("  CPU at 10,000/s:                {:>6.1} % of a core, {rss:.0} MiB resident", cpu * 100.0);
}

fn shipped(brokers: &str) {
    let listen = "pipelines.dashboard.socketio.with.listen=127.0.0.1:0";
    let child = pipectl(brokers, &["pipeline.yaml", "--set", listen]).spawn().expect("a child");
    std::thread::sleep(Duration::from_secs(10));
    println!("  the shipped job after 10 s:     {:>4.0} MiB resident", resident_mib(&child));
    stop(child);
}

fn stop(mut child: Child) {
    Command::new("kill").arg(child.id().to_string()).status().expect("a signal");
    child.wait().expect("an end");
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_millis() as i64
}

/// User and system time of the child so far: fields 14 and 15 of `/proc/PID/stat`, in hundredths of a second.
fn cpu_seconds(child: &Child) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("Linux");
    let after_name = stat.rsplit_once(") ").expect("a name").1;
    let fields: Vec<f64> = after_name.split(' ').map(|f| f.parse().unwrap_or(0.0)).collect();
    (fields[11] + fields[12]) / 100.0
}

fn resident_mib(child: &Child) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("Linux");
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("a size");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).expect("KiB") / 1024.0
}
