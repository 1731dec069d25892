//! What `deploy/` ships fits this program: its arguments are ones, its file is valid, its probes are
//! answered.

use std::path::Path;

use clap::Parser;
use clap::error::ErrorKind;
use pipectl_framework::config::{Document, SourceFile, render};
use pipectl_framework::graph::{PlanOptions, plan};
use pipectl_framework::plugin::{Purpose, Registry};

use crate::args::{Args, Command, Run};
use crate::exit::Exit;
use crate::health::PATHS;

fn deployed(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// What stands behind each of these in a file.
fn behind<'a>(text: &'a str, mark: &str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.trim_start().strip_prefix(mark)).collect()
}

fn run(arguments: impl IntoIterator<Item = String>) -> Run {
    let parsed = Args::try_parse_from(std::iter::once("pipectl".to_owned()).chain(arguments));
    match parsed.unwrap_or_else(|e| panic!("{e}")).command {
        Command::Run(run) => run,
        other => panic!("not a run: {other:?}"),
    }
}

#[test]
fn the_manifest_of_kubernetes_fits() {
    let manifest = deployed("kubernetes.yaml");
    let [arguments] = behind(&manifest, "args: ")[..] else { panic!("one container has arguments") };
    let run = run(serde_json::from_str::<Vec<String>>(arguments).unwrap());
    let health = run.health.unwrap();
    assert!(health.ip().is_unspecified(), "a probe comes from outside");

    let mounted = run.file.file.parent().unwrap().display().to_string();
    assert!(manifest.contains(&format!("mountPath: {mounted},")), "the file is where it is mounted");
    let name = run.file.file.file_name().unwrap().to_str().unwrap();
    let (_, rest) = manifest.split_once(&format!("  {name}: |\n")).unwrap();
    let yaml = dedented(rest);
    let variable = |name: &str| (name == "KAFKA_BROKERS").then(|| "kafka:9092".to_owned());
    let registry = Registry::collect().unwrap();
    let document = Document::parse(&SourceFile::new(name, &yaml), &[], &variable);
    let planned = document.and_then(|document| {
        plan(
            &document,
            PlanOptions { registry: &registry, base: Path::new("."), only: &[], purpose: Purpose::Check },
        )
    });
    assert!(
        planned.is_ok(),
        "{}",
        planned.err().map(|problems| render(&problems, false)).unwrap_or_default()
    );
    assert!(manifest.contains("- name: KAFKA_BROKERS"), "what the file wants of the environment is given");

    let probes = behind(&manifest, "httpGet: ");
    assert_eq!(probes.len(), 3, "at the start, alive, ready");
    for probe in probes {
        assert!(PATHS.iter().any(|path| probe.contains(&format!("path: {path},"))), "{probe}");
        assert!(probe.contains("port: health "), "{probe}");
    }
    assert!(manifest.contains(&format!("{{ name: health, containerPort: {} }}", health.port())));
}

/// The lines of a block, which ends with its document.
fn dedented(block: &str) -> String {
    let lines = block.lines().take_while(|line| *line != "---");
    lines.map(|line| line.strip_prefix("    ").unwrap_or(line).to_owned() + "\n").collect()
}

#[test]
fn the_unit_of_systemd_fits() {
    let unit = deployed("pipectl.service");
    let [start] = behind(&unit, "ExecStart=/usr/local/bin/pipectl ")[..] else { panic!("it starts pipectl") };
    let set: Vec<_> = behind(&unit, "Environment=").iter().map(|set| set.split_once('=').unwrap()).collect();
    let word = |word: &str| {
        let given = set.iter().find(|(name, _)| word == format!("${{{name}}}")).map(|(_, value)| *value);
        let word = given.unwrap_or(word).replace("%i", "orders");
        assert!(!word.contains(['$', '%']), "{word} is not set");
        word
    };
    let run = run(start.split_whitespace().map(word));
    assert_eq!(run.file.file, Path::new("/etc/pipectl/orders.yaml"));
    // Two units on one machine do not get in each other's way.
    let health = run.health.unwrap();
    assert!(health.ip().is_loopback() && health.port() == 0, "{health}");
    let never: Vec<u8> =
        behind(&unit, "RestartPreventExitStatus=")[0].split(' ').map(|code| code.parse().unwrap()).collect();
    assert_eq!(never, [2, Exit::Invalid.code(), Exit::Refused.code()]);
    // A chain over Kafka has some 20 files and connections open.
    let files: u32 = behind(&unit, "LimitNOFILE=")[0].parse().unwrap();
    assert!(files >= 20 * 100, "{files}");
}

#[test]
fn the_image_runs_pipectl() {
    let file = deployed("Dockerfile");
    let list = |mark: &str| serde_json::from_str::<Vec<String>>(behind(&file, mark)[0]).unwrap();
    let whole = list("ENTRYPOINT ").into_iter().chain(list("CMD "));
    let shown = Args::try_parse_from(whole).unwrap_err();
    assert_eq!(shown.kind(), ErrorKind::DisplayHelp, "{shown}");
    // The example of how to run it.
    let example: Vec<String> =
        file.lines().filter_map(|line| line.strip_prefix("#   pipectl ")).map(str::to_owned).collect();
    let run = run(example[0].split(' ').map(str::to_owned));
    let port = run.health.unwrap().port();
    assert!(
        file.contains(&format!("-p 127.0.0.1:{port}:{port}"))
            && file.contains(&format!("curl http://127.0.0.1:{port}{}", PATHS[1]))
    );
}
