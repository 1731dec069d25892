//! The log on disk, driven from outside: kills at any moment, damaged files, a full disk, and what a user is
//! told.

#![allow(clippy::print_stderr, clippy::unwrap_used, clippy::panic)] // a test fails by panicking, and says when it is skipped

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// 2026-01-01T00:00:00Z, in milliseconds: all rows are of that day.
const MIDNIGHT: u64 = 1_767_225_600_000;
/// A window, in milliseconds, and so in rows.
const WINDOW: usize = 100;
const KEYS: usize = 7;

/// `SplitMix64`, by Steele, Lea and Flood.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }
}

fn run(file: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipectl"));
    command.arg("run").arg(file).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A file whose row `i` is of millisecond `i`, and a pipeline that counts its keys in windows, over the log
/// on disk.
struct Job {
    folder: tempfile::TempDir,
    rows: usize,
}

impl Job {
    fn new(rows: usize, rate: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lines: String =
            (0..rows).map(|row| format!("{row},{},{}\n", row % KEYS, MIDNIGHT + row as u64)).collect();
        std::fs::write(folder.path().join("rows.csv"), format!("id,key,t\n{lines}")).unwrap();
        let yaml = format!(
            "name: job
connections: {{ kafka: {{ brokers: 'embedded:log', partitions: 3 }} }}
pipelines:
  rows:
    - source: csv
      time: {{ field: t, format: epoch_ms }}
      with: {{ path: rows.csv, rate: {rate} }}
    - sink: kafka
      with: {{ topic: ids, value: id }}
    - sink: kafka
      with: {{ topic: keys, key: key, value: key }}
  counts:
    - source: kafka
      with: {{ topic: keys, format: text }}
    - window: count-by-key
      with: {{ key: value, size: {WINDOW}ms }}
    - sink: kafka
      with: {{ topic: counts, encode: json }}
  copies:
    - source: kafka
      with: {{ topic: ids, format: text }}
    - sink: kafka
      with: {{ topic: copies, value: value }}
"
        );
        std::fs::write(folder.path().join("pipeline.yaml"), yaml).unwrap();
        Self { folder, rows }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("pipeline.yaml")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Runs to the end of the file.
    fn finish(&self) -> String {
        let output =
            run(&self.file(), &["--once", "--set", "pipelines.rows.csv.with.rate=max"]).output().unwrap();
        let said = said(&output);
        assert!(output.status.success() && !said.contains("does not hold"), "{said}");
        said
    }

    /// The rows of the copies and of the counts, against what this test computes by itself.
    fn recount(&self) {
        let values = |topic| read(self.folder.path(), "log", topic, "text").unwrap();
        let mut copies: Vec<usize> =
            values("copies").iter().map(|row| row["value"].as_str().unwrap().parse().unwrap()).collect();
        copies.sort_unstable();
        assert!(
            copies == (0..self.rows).collect::<Vec<_>>(),
            "{} copies of {} rows",
            copies.len(),
            self.rows
        );
        let mut expected: BTreeMap<(usize, String), i64> = BTreeMap::new();
        for row in 0..self.rows {
            *expected.entry((row / WINDOW * WINDOW, (row % KEYS).to_string())).or_default() += 1;
        }
        let fields = "{ json: { fields: { key: text, window_start: time, count: integer } } }";
        let counts = read(self.folder.path(), "log", "counts", fields).unwrap();
        let mut found = BTreeMap::new();
        for row in &counts {
            let start = millisecond(row["window_start"].as_str().unwrap());
            let cell = (start, row["key"].as_str().unwrap().to_owned());
            let before = found.insert(cell.clone(), row["count"].as_i64().unwrap());
            assert_eq!(before, None, "{cell:?} is there twice");
        }
        assert!(found == expected, "{} cells of {}", found.len(), expected.len());
    }
}

/// The millisecond of the day that a text such as `2026-01-01T00:00:01.500Z` says.
fn millisecond(text: &str) -> usize {
    let time = text.strip_prefix("2026-01-01T").unwrap().trim_end_matches('Z');
    let parts: Vec<f64> = time.split(':').map(|part| part.parse().unwrap()).collect();
    ((parts[0] * 3600.0 + parts[1] * 60.0 + parts[2]) * 1000.0).round() as usize
}

/// All rows of a topic, or what the run says where it fails.
fn read(
    folder: &Path,
    log: &str,
    topic: &str,
    format: &str,
) -> Result<Vec<serde_json::Value>, (i32, String)> {
    let yaml = format!(
        "name: reads-{topic}
connections: {{ kafka: {{ brokers: 'embedded:{log}', partitions: 3 }} }}
pipelines:
  show:
    - source: kafka
      with: {{ topic: {topic}, format: {format} }}
    - sink: stdout
"
    );
    let file = folder.join("read.yaml");
    std::fs::write(&file, yaml).unwrap();
    let output = run(&file, &["--once"]).output().unwrap();
    if !output.status.success() {
        return Err((output.status.code().unwrap(), said(&output)));
    }
    let rows = String::from_utf8(output.stdout).unwrap();
    Ok(rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect())
}

/// Waits until the process has ended by itself, and kills it when the time is up.
fn ends_within(child: &mut Child, time: Duration) -> (ExitStatus, bool) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        if let Some(status) = child.try_wait().unwrap() {
            return (status, true);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    (child.wait().unwrap(), false)
}

/// The named places that a run on the log on disk passes: all but `revoked`, as nobody shares it.
const POINTS: [&str; 9] = [
    "assigned",
    "replaying",
    "read",
    "window-closed",
    "appended",
    "sending-offsets",
    "offsets-sent",
    "transaction-committed",
    "committed",
];

#[test]
fn kills_at_any_moment_lose_nothing_and_double_nothing() {
    let kills: usize = std::env::var("PIPECTL_DISK_KILLS").map_or(14, |kills| kills.parse().unwrap());
    let job = Job::new(3_000 + 700 * kills, "500/s");
    let mut random = Random(std::env::var("PIPECTL_DISK_SEED").map_or(1, |seed| seed.parse().unwrap()));
    let mut at_points = BTreeMap::new();
    for kill in 0..kills {
        let mut command = run(&job.file(), &[]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        // Every second one at a named place, and all of those in turn.
        let point = (kill % 2 == 0).then(|| POINTS[kill / 2 % POINTS.len()]);
        if let Some(point) = point {
            let passages = if matches!(point, "assigned" | "replaying") { 1 } else { 1 + random.below(6) };
            command.env("PIPECTL_FAIL_POINT", format!("{point}:{passages}"));
        }
        let before = noted(&job.log());
        let mut child = command.spawn().unwrap();
        // The others while it starts, or soon after it has committed something.
        let mut time = 15_000;
        if point.is_none() {
            if kill % 4 == 1 {
                commits(&job.log(), before + 1);
            }
            time = random.below(600) as u64;
        }
        let (status, by_itself) = ends_within(&mut child, Duration::from_millis(time));
        assert!(!by_itself || (point.is_some() && status.code().is_none()), "it ended by itself: {status}");
        if by_itself {
            *at_points.entry(point.unwrap()).or_insert(0) += 1;
        }
    }
    let named: i32 = at_points.values().sum();
    eprintln!("{kills} kills, {named} of them at named places: {at_points:?}");
    assert!(named as usize >= kills / 4, "the named places were passed: {at_points:?}");
    job.finish();
    let again = job.finish();
    assert!(again.contains(&format!("goes on behind row {} of rows.csv", job.rows)), "{again}");
    job.recount();
}

#[test]
fn a_damaged_file_gives_all_rows_or_an_error_that_says_what_to_do() {
    let job = Job::new(4_000, "500/s");
    let mut child = run(&job.file(), &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    commits(&job.log(), 25);
    child.kill().unwrap();
    child.wait().unwrap();
    let copy = |to: &str| {
        let place = job.folder.path().join(to);
        std::fs::create_dir(&place).unwrap();
        for file in std::fs::read_dir(job.log()).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), place.join(file.file_name())).unwrap();
        }
        place.join("log.redb")
    };
    copy("whole");
    let expected = read(job.folder.path(), "whole", "ids", "text").unwrap();
    assert!(!expected.is_empty());
    let (mut errors, mut whole) = (0, 0);
    for seed in 0..14 {
        let mut random = Random(seed);
        let name = format!("damaged-{seed}");
        let path = copy(&name);
        let mut bytes = std::fs::read(&path).unwrap();
        let (length, at) = (bytes.len(), random.below(bytes.len() / 4096) * 4096);
        match seed % 5 {
            0 => bytes.truncate(random.below(length)),
            1 => bytes[length - 100..].iter_mut().for_each(|byte| *byte ^= 0x55),
            2 => bytes[at..at + 4096].fill(0),
            3 => bytes[random.below(320)] ^= 1,
            _ => (0..4096).for_each(|byte| bytes[at + byte] = random.below(256) as u8),
        }
        std::fs::write(&path, bytes).unwrap();
        match read(job.folder.path(), &name, "ids", "text") {
            Ok(rows) => {
                assert!(rows == expected, "seed {seed}: {} rows of {}", rows.len(), expected.len());
                whole += 1;
            }
            Err((code, said)) => {
                assert_eq!(code, 1, "seed {seed}: {said}");
                assert!(said.contains("error") && said.contains("= help: "), "seed {seed}: {said}");
                assert!(!said.contains("panicked"), "seed {seed}: {said}");
                errors += 1;
            }
        }
    }
    eprintln!("{errors} errors, {whole} with all rows");
    assert!(errors > 3, "some damage is met");
}

/// A pipeline that makes rows into a topic of a log in `place`.
fn maker(folder: &Path, place: &str) -> PathBuf {
    let file = folder.join("make.yaml");
    let yaml = format!(
        "name: make
connections: {{ kafka: {{ brokers: 'embedded:{place}' }} }}
pipelines:
  make:
    - source: generate
      with: {{ rate: 50/s, fields: {{ key: {{ values: ['0'] }} }} }}
    - sink: kafka
      with: {{ topic: t, value: key }}
  show:
    - source: kafka
      with: {{ topic: t, format: text }}
    - sink: stdout
"
    );
    std::fs::write(&file, yaml).unwrap();
    file
}

/// The error with which a run ends: the exit code, and the text from there on. Which of the chains meets it
/// first is not the matter.
fn refused(file: &Path) -> String {
    let mut child = run(file, &[]).stdout(Stdio::null()).spawn().unwrap();
    let (status, by_itself) = ends_within(&mut child, Duration::from_secs(60));
    let said = said(&child.wait_with_output().unwrap());
    assert!(by_itself, "it runs: {said}");
    let error: Vec<&str> = said.lines().skip_while(|line| !line.starts_with("error")).collect();
    let error = error.join("\n");
    let (_, what) = error.split_once("`: ").unwrap();
    format!("exit code {}\nerror: CHAINS: {what}", status.code().unwrap())
}

/// How many commits a log has.
fn noted(log: &Path) -> u64 {
    let bytes = std::fs::read(log.join("commits")).unwrap_or_default();
    bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Waits until a log has more commits than `before`; gives how many it has.
fn commits(log: &Path, before: u64) -> u64 {
    let begun = Instant::now();
    loop {
        let commits = noted(log);
        if commits > before {
            return commits;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{commits} commits");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A log with some rows, of a run that was killed.
fn some_log() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = maker(folder.path(), "log");
    let mut first = run(&file, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    commits(&folder.path().join("log"), 9);
    first.kill().unwrap();
    first.wait().unwrap();
    (folder, file)
}

#[test]
fn a_second_process_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = maker(folder.path(), "log");
    let mut first = run(&file, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    commits(&folder.path().join("log"), 2);
    let said = refused(&file);
    first.kill().unwrap();
    first.wait().unwrap();
    insta::assert_snapshot!("in-use", said);
}

#[test]
fn a_directory_of_another_version_is_told() {
    let (folder, file) = some_log();
    let database = redb::Database::open(folder.path().join("log/log.redb")).unwrap();
    let write = database.begin_write().unwrap();
    let meta: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("meta");
    write.open_table(meta).unwrap().insert("version", 2).unwrap();
    write.commit().unwrap();
    drop(database);
    insta::assert_snapshot!("of-another-version", refused(&file));
}

#[test]
fn files_that_are_no_log_or_are_damaged_are_told() {
    let (folder, file) = some_log();
    let path = folder.path().join("log/log.redb");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, "not a log").unwrap();
    insta::assert_snapshot!("no-log", refused(&file));
    std::fs::write(&path, &bytes[..bytes.len() - 5000]).unwrap();
    let said = refused(&file).replace(&(bytes.len() - 5000).to_string(), "N");
    insta::assert_snapshot!("truncated", said);
    std::fs::remove_file(&path).unwrap();
    insta::assert_snapshot!("without-its-file", refused(&file));
}

#[test]
fn a_copy_that_is_older_than_the_directory_is_told() {
    let (folder, file) = some_log();
    let path = folder.path().join("log/log.redb");
    let older = std::fs::read(&path).unwrap();
    let before = commits(&folder.path().join("log"), 0);
    let mut again = run(&file, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    commits(&folder.path().join("log"), before + 2);
    again.kill().unwrap();
    again.wait().unwrap();
    std::fs::write(&path, older).unwrap();
    let said = refused(&file);
    let (before, behind) = (said.split("it has ").next().unwrap(), said.split_once(" commits").unwrap().1);
    insta::assert_snapshot!("older", format!("{before}it has N of at least M commits{behind}"));
}

#[test]
fn a_file_in_the_place_of_the_directory_is_told() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("log"), "a file").unwrap();
    insta::assert_snapshot!("is-a-file", refused(&maker(folder.path(), "log")));
}

/// A file system in memory, for as long as it lives.
struct Mounted(PathBuf);

impl Mounted {
    /// `None` where this user may not mount one, or there is none.
    fn new(place: &Path, options: &str) -> Option<Self> {
        std::fs::create_dir_all(place).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "pipectl-test"]).arg(place);
        let done = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        if !done {
            eprintln!("SKIPPED what needs a file system of its own: this user may not mount one");
        }
        done.then(|| Self(place.to_owned()))
    }

    fn remount(&self, options: &str) {
        let mut mount = Command::new("mount");
        assert!(mount.args(["-o", &format!("remount,{options}")]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_told() {
    let folder = tempfile::tempdir().unwrap();
    // Modes do not hold root back; a file system that is read only does.
    let Some(_mounted) = Mounted::new(&folder.path().join("place"), "size=1m,ro") else { return };
    let said = refused(&maker(folder.path(), "place/log"));
    insta::assert_snapshot!("read-only", said);
}

/// Lines as they come.
fn lines(from: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (send, lines) = channel();
    std::thread::spawn(move || {
        BufReader::new(from).lines().map_while(Result::ok).for_each(|line| drop(send.send(line)));
    });
    lines
}

fn wait_for(lines: &Receiver<String>, text: &str) -> Vec<String> {
    let mut seen = Vec::new();
    while !seen.last().is_some_and(|line: &String| line.contains(text)) {
        match lines.recv_timeout(Duration::from_secs(120)) {
            Ok(line) => seen.push(line),
            Err(error) => panic!("no `{text}` ({error}) in {seen:#?}"),
        }
    }
    seen
}

#[test]
fn a_full_disk_is_waited_for_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mounted) = Mounted::new(&folder.path().join("place"), "size=3m") else { return };
    let (count, filler) = (3_000, "x".repeat(2_000));
    let rows: String = (0..count).map(|row| format!("{row}-{filler}\n")).collect();
    std::fs::write(folder.path().join("rows.csv"), format!("id\n{rows}")).unwrap();
    let file = folder.path().join("pipeline.yaml");
    let yaml = "name: full
connections: { kafka: { brokers: 'embedded:place/log' } }
pipelines:
  rows:
    - source: csv
      with: { path: rows.csv, rate: 5000/s }
    - sink: kafka
      with: { topic: ids, value: id }
";
    std::fs::write(&file, yaml).unwrap();
    let mut child = run(&file, &[]).stdout(Stdio::null()).spawn().unwrap();
    let lines = lines(child.stderr.take().unwrap());
    let mut told = wait_for(&lines, "is full").pop().unwrap();
    told.push('\n');
    told.push_str(&wait_for(&lines, "help").pop().unwrap());
    let (before, behind) = (told.split("again in ").next().unwrap(), told.split_once(" s, and").unwrap().1);
    insta::assert_snapshot!("full", format!("{before}again in N s, and{behind}"));
    std::thread::sleep(Duration::from_secs(2));
    assert!(child.try_wait().unwrap().is_none(), "it waits");
    mounted.remount("size=64m");
    wait_for(&lines, "works again");
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let rest: Vec<String> = lines.iter().collect();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rest:#?}");
    let output = run(&file, &["--once"]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let rows = read(folder.path(), "place/log", "ids", "text").unwrap();
    let mut ids: Vec<usize> = rows
        .iter()
        .map(|row| row["value"].as_str().unwrap().split('-').next().unwrap().parse().unwrap())
        .collect();
    ids.sort_unstable();
    assert!(ids == (0..count).collect::<Vec<_>>(), "{} rows of {count}", ids.len());
}

/// Two names of one log with the same settings are one connection: no writer fences another, and a directory
/// is opened once.
#[test]
fn two_names_of_one_directory_are_one_log() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rows.csv"), "n\n1\n2\n3\n").unwrap();
    let yaml = "name: twice
connections:
  first: { plugin: kafka, brokers: 'embedded:log' }
  second: { plugin: kafka, brokers: 'embedded:./log' }
pipelines:
  rows:
    - source: csv
      with: { path: rows.csv }
    - sink: kafka
      with: { connection: first, topic: one, value: n }
    - sink: kafka
      with: { connection: second, topic: two, value: n }
";
    let file = folder.path().join("pipeline.yaml");
    std::fs::write(&file, yaml).unwrap();
    let output = run(&file, &["--once"]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    for topic in ["one", "two"] {
        let rows = read(folder.path(), "log", topic, "text").unwrap();
        let values: Vec<&str> = rows.iter().map(|row| row["value"].as_str().unwrap()).collect();
        assert_eq!(values, ["1", "2", "3"]);
    }
}
