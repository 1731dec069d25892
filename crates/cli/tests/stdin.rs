//! Standard input as a source, met from outside by the real binary: `path: "-"`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use pipectl as _;

/// Longer than anything here should take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A pipeline from standard input to standard output.
fn yaml(source: &str, with: &str) -> String {
    format!(
        "name: piped\npipelines:\n  rows:\n    - source: {source}\n      with: {{ path: \"-\", {with} }}\n    - sink: stdout\n"
    )
}

fn folder(yaml: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pipeline.yaml"), yaml).unwrap();
    folder
}

fn pipectl(folder: &tempfile::TempDir, command: &str) -> Command {
    let mut pipectl = Command::new(env!("CARGO_BIN_EXE_pipectl"));
    pipectl.args([command, "pipeline.yaml"]).current_dir(folder.path());
    pipectl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    pipectl
}

/// What a run gives and says of this input.
fn run(yaml: &str, input: &[u8]) -> (Vec<String>, Option<i32>, String) {
    let folder = folder(yaml);
    let mut child = pipectl(&folder, "run").arg("--once").spawn().unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    // A run that ends before it has read everything is no fault of the writer's.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    said(output)
}

fn said(output: Output) -> (Vec<String>, Option<i32>, String) {
    let rows = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    (rows, output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn gzip(text: &[u8]) -> Vec<u8> {
    // A member without compression: each byte stands as it is.
    let mut packed = vec![0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3, 1];
    let length = u16::try_from(text.len()).unwrap();
    packed.extend(length.to_le_bytes());
    packed.extend((!length).to_le_bytes());
    packed.extend(text);
    let crc = text.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 * (crc & 1)))
    });
    packed.extend((!crc).to_le_bytes());
    packed.extend(u32::from(length).to_le_bytes());
    packed
}

fn zstd(text: &[u8]) -> Vec<u8> {
    // A frame of one raw block, of a single segment.
    let length = u8::try_from(text.len()).unwrap();
    let mut packed = vec![0x28, 0xB5, 0x2F, 0xFD, 0x20, length];
    packed.extend(((u32::from(length) << 3) | 1).to_le_bytes().iter().take(3));
    packed.extend(text);
    packed
}

#[test]
fn rows_are_read_as_those_of_a_file() {
    let both = ["{\"a\":\"1\",\"b\":\"2\"}", "{\"a\":\"3\",\"b\":\"4\"}"];
    let table = b"a,b\n1,2\n3,4\n";
    let utf_16: Vec<u8> = "\u{feff}a,b\n1,2\n3,4\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let twice = [gzip(b"a,b\n1,"), gzip(b"2\n3,4\n")].concat();
    let cases: [(&str, &str, &[u8], &[&str]); 22] = [
        ("csv", "", table, &both),
        ("csv", "columns: [a, b], header: true", b"x,y\n1,2\n3,4\n", &both),
        ("csv", "columns: [a, b]", b"1,2\n3,4", &both),
        ("csv", "", b"\xEF\xBB\xBF\"a\",b\r\n1,2\r\n\r\n3,4\r\n", &both),
        ("csv", "", b"sep=;\na;b\n1;2\n3;4\n", &both),
        ("csv", "skip_lines: 1, comment: \"#\"", b"\"Report\n# x\na,b\n1,2\n3,4\n", &both),
        ("csv", "", &gzip(table), &both),
        ("csv", "columns: [a, b], header: true", &twice, &both),
        ("csv", "", &zstd(table), &both),
        ("csv", "compression: gzip", &gzip(table), &both),
        ("csv", "encoding: utf-16le", &utf_16, &both),
        ("csv", "columns: [a, b], header: true, encoding: utf-16le", &utf_16, &both),
        ("csv", "last_line: row", b"a,b\n1,2\n3,4", &both),
        ("csv", "last_line: wait", b"a,b\n1,2\n3,4", &both[..1]),
        ("csv", "", b"a,b\n", &[]),
        ("csv", "", b"a,b", &[]),
        ("csv", "columns: [a, b]", b"", &[]),
        (
            "jsonl",
            "fields: { a: text, b: text }",
            b"{\"a\":\"1\",\"b\":\"2\"}\n\n{\"b\":\"4\",\"a\":\"3\"}",
            &both,
        ),
        (
            "jsonl",
            "fields: { a: text }, rows: \"$.x[*]\"",
            b"{\"x\":[{\"a\":\"1\"},{}]}\n",
            &["{\"a\":\"1\"}", "{\"a\":null}"],
        ),
        ("jsonl", "fields: { a: text }", &gzip(b"{\"a\":\"1\"}\n"), &["{\"a\":\"1\"}"]),
        ("jsonl", "fields: { a: text }, last_line: wait", b"{\"a\":\"1\"}\n{\"a\":\"", &["{\"a\":\"1\"}"]),
        ("jsonl", "fields: { a: text }", b"", &[]),
    ];
    for (source, with, input, rows) in cases {
        let (given, code, said) = run(&yaml(source, with), input);
        let given: Vec<&str> = given.iter().map(String::as_str).collect();
        assert_eq!((given.as_slice(), code), (rows, Some(0)), "{source} {with}: {said}");
    }
}

#[test]
fn more_than_a_pipe_holds_comes_whole_and_a_line_that_is_too_long_is_one() {
    let mut input = String::from("n,text\n");
    for n in 0..40_000 {
        writeln!(input, "{n},\"{}\"", "x\n".repeat(n % 7)).unwrap();
    }
    let (rows, code, said) = run(&yaml("csv", ""), input.as_bytes());
    assert_eq!((rows.len(), code), (40_000, Some(0)), "{said}");
    assert!(rows[39_999].contains("\"39999\""), "{}", rows[39_999]);

    let skip = yaml("csv", "max_line: 1KiB").replace("      with", "      on_error: skip\n      with");
    let long = format!("n,text\n1,a\n2,{}\n3,b\n", "x".repeat(3_000_000));
    let (rows, code, said) = run(&skip, long.as_bytes());
    assert_eq!((rows.len(), code), (2, Some(0)), "{said}");
}

/// A run whose input stays open, and the lines that it gives.
struct Open {
    child: Child,
    input: Option<ChildStdin>,
    rows: Receiver<String>,
    _folder: tempfile::TempDir,
}

impl Open {
    fn new(yaml: &str) -> Self {
        let folder = folder(yaml);
        let mut child = pipectl(&folder, "run").spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (told, rows) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| told.send(line)));
        Self { input: child.stdin.take(), child, rows, _folder: folder }
    }

    fn write(&mut self, text: &[u8]) {
        let input = self.input.as_mut().unwrap();
        input.write_all(text).unwrap();
        input.flush().unwrap();
    }

    fn row(&self) -> String {
        self.rows.recv_timeout(PATIENCE).unwrap()
    }

    fn ends(&mut self) -> (Option<i32>, String) {
        let since = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(since.elapsed() < PATIENCE, "does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn rows_are_given_while_the_pipe_is_open_however_they_are_cut() {
    for (source, with, pieces) in [
        ("csv", "", ["i", "d,x", "\n1,", "\"a\nb", "\"\n2,c\n3"]),
        ("csv", "columns: [id, x]", ["1", ",", "\"a", "\nb\"", "\n2,c\n3"]),
        (
            "jsonl",
            "fields: { id: text, x: text }",
            ["{\"id\":\"1\",", "\"x\":", "\"a\\nb\"", "}", "\n{\"id\":\"2\",\"x\":\"c\"}\n{"],
        ),
    ] {
        let mut open = Open::new(&yaml(source, with));
        for piece in pieces {
            // What is cut here may come together nevertheless: nothing depends on that.
            std::thread::sleep(Duration::from_millis(30));
            open.write(piece.as_bytes());
        }
        assert_eq!(open.row(), "{\"id\":\"1\",\"x\":\"a\\nb\"}", "{source} {with}");
        assert_eq!(open.row(), "{\"id\":\"2\",\"x\":\"c\"}");
        let rest = if source == "csv" { ",d" } else { "\"id\":\"3\",\"x\":\"d\"}" };
        open.write(rest.as_bytes());
        open.input = None;
        assert_eq!(open.row(), "{\"id\":\"3\",\"x\":\"d\"}");
        assert_eq!(open.ends().0, Some(0));
    }
}

#[test]
fn a_signal_ends_a_run_whose_pipe_stays_open_at_once_and_says_what_is_left() {
    let mut open = Open::new(&yaml("csv", "columns: [id]"));
    open.write(b"1\n2");
    assert_eq!(open.row(), "{\"id\":\"1\"}");
    let signalled = Instant::now();
    assert!(Command::new("kill").args(["-INT", &open.child.id().to_string()]).status().unwrap().success());
    let (code, said) = open.ends();
    assert!(signalled.elapsed() < Duration::from_secs(5), "{:?}", signalled.elapsed());
    assert_eq!(code, Some(0), "{said}");
    let left = "standard input was not read to its end: no later run can read what comes from line 2 on";
    assert!(said.contains(left), "{said}");
}

#[test]
fn what_is_wrong_with_the_input_is_said() {
    let cases: [(&str, &str, &[u8]); 11] = [
        ("nothing, where a header is to come", "", b""),
        ("nothing, where a header is to be passed over", "columns: [a, b], header: true", b""),
        ("a header of another width", "columns: [a, b, c], header: true", b"x,y\n1,2\n"),
        ("another delimiter", "columns: [a, b]", b"sep=;\n1;2\n"),
        ("a quote that is never closed", "", b"\"a,b\n1,2\n"),
        ("the same where the columns are known", "columns: [a, b], header: true", b"\"a,b\n1,2\n"),
        ("UTF-16", "", b"a\0,\0b\0\n\0"),
        ("gzip that is cut", "columns: [a, b]", &gzip(b"1,2\n")[..12]),
        ("bzip2", "columns: [a, b]", b"BZh91AY&SY\0\0\0"),
        ("a row that is too short", "columns: [a, b]", b"1,2\n3\n"),
        ("a last line without its end", "columns: [a, b], last_line: wait", b"1,2\n3"),
    ];
    let mut all = String::new();
    for (name, with, input) in cases {
        let (_, code, said) = run(&yaml("csv", with), input);
        let is_part = |line: &&str| !line.starts_with("ran ") && !line.starts_with("chain ");
        let lines: Vec<&str> = said.lines().filter(is_part).collect();
        writeln!(all, "# {name}: exit code {}\n{}\n", code.unwrap(), lines.join("\n")).unwrap();
    }
    insta::assert_snapshot!(all);
}

#[test]
fn what_only_looks_at_a_file_leaves_the_input_to_the_next_command() {
    for with in ["columns: [a, b]", ""] {
        for command in ["check", "explain"] {
            let folder = folder(&yaml("csv", with));
            let line =
                format!("'{}' {command} pipeline.yaml >&2; echo $?; cat", env!("CARGO_BIN_EXE_pipectl"));
            let mut shell = Command::new("sh");
            shell.args(["-c", &line]).current_dir(folder.path());
            let mut shell =
                shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            shell.stdin.take().unwrap().write_all(b"a,b\n1,2\n").unwrap();
            let (rows, _, said) = said(shell.wait_with_output().unwrap());
            let code = if with.is_empty() { "3" } else { "0" };
            assert_eq!(rows, [code, "a,b", "1,2"], "{command}: {said}");
        }
    }
}

#[test]
fn a_crash_loses_what_came_on_standard_input_and_explain_says_so() {
    let kafka = yaml("csv", "columns: [a]")
        .replace("- sink: stdout", "- sink: kafka\n      with: { topic: t, value: a }");
    for brokers in ["kafka.example.com:9092", "embedded:log"] {
        let yaml = kafka.replace(
            "pipelines:",
            &format!("connections: {{ kafka: {{ brokers: '{brokers}' }} }}\npipelines:"),
        );
        let folder = folder(&yaml);
        let output = pipectl(&folder, "explain").stdin(Stdio::null()).output().unwrap();
        let (lines, code, said) = said(output);
        assert_eq!(code, Some(0), "{said}");
        assert!(!lines.join("\n").contains("exactly once"), "{lines:#?}");
        insta::assert_snapshot!(
            format!("explain-{}", brokers.split(['.', ':']).next().unwrap()),
            lines.join("\n")
        );
    }
}

#[test]
fn a_closed_input_and_one_of_nothing_end_the_run_and_are_told() {
    let folder = folder(&yaml("csv", "columns: [a]"));
    for redirect in ["<&-", "</dev/null"] {
        let line = format!("'{}' run pipeline.yaml {redirect}", env!("CARGO_BIN_EXE_pipectl"));
        let output = Command::new("sh").args(["-c", &line]).current_dir(folder.path()).output().unwrap();
        let (rows, code, said) = said(output);
        assert_eq!((rows.len(), code), (0, Some(0)), "{said}");
        assert!(said.contains("standard input is closed or /dev/null: no row can come on it"), "{said}");
    }
    let line = format!("'{}' run pipeline.yaml <.", env!("CARGO_BIN_EXE_pipectl"));
    let output = Command::new("sh").args(["-c", &line]).current_dir(folder.path()).output().unwrap();
    let (_, code, said) = said(output);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("standard input cannot be read: Is a directory"), "{said}");
}

#[test]
fn a_reader_that_has_enough_ends_the_whole_pipe_quietly() {
    let folder = folder(&yaml("csv", "columns: [a]"));
    let line = format!("yes 1 | '{}' run pipeline.yaml | head -2", env!("CARGO_BIN_EXE_pipectl"));
    let output = Command::new("sh").args(["-c", &line]).current_dir(folder.path()).output().unwrap();
    let (rows, code, said) = said(output);
    assert_eq!((rows.len(), code), (2, Some(0)), "{said}");
    assert!(!said.contains("error") && !said.contains("WARN"), "{said}");
}

#[test]
fn a_terminal_is_read_to_its_end_and_told() {
    let folder = folder(&yaml("csv", "columns: [a]"));
    let line = format!("'{}' run pipeline.yaml", env!("CARGO_BIN_EXE_pipectl"));
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).current_dir(folder.path());
    script.stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut script) = script.spawn() else {
        eprintln!("SKIPPED standard input that is a terminal: there is no `script`");
        return;
    };
    let mut terminal = BufReader::new(script.stdout.take().unwrap()).lines();
    let told = terminal.by_ref().map_while(Result::ok).find(|line| line.contains("is a terminal"));
    assert!(told.is_some());
    let mut keyboard = script.stdin.take().unwrap();
    keyboard.write_all(b"5\n\x04").unwrap();
    let rest: Vec<String> = terminal.map_while(Result::ok).collect();
    assert!(rest.iter().any(|line| line.starts_with("{\"a\":\"5\"}")), "{rest:#?}");
    assert_eq!(script.wait().unwrap().code(), Some(0));
}
