//! What the documents show is true: every YAML block is a file, or a part of one, that `pipectl check`
//! accepts; the error in the README is the one that the program gives.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The fenced blocks of a language in a document.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    document.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// Checks a text as a file in the root, where the paths that documents name begin.
fn check(name: &str, yaml: &str) -> Output {
    let path = root().join(name);
    std::fs::write(&path, yaml).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_pipectl"))
        .args(["check", name])
        .current_dir(root())
        .env_remove("KAFKA_BROKERS")
        .output()
        .unwrap();
    std::fs::remove_file(path).unwrap();
    output
}

/// Makes a whole file of a part of one.
fn whole(block: &str) -> String {
    let mut yaml = block.to_owned();
    if !block.contains("name: ") || block.starts_with("pipelines:") || block.starts_with("connections:") {
        yaml = format!("name: documented\n{yaml}");
    }
    if !block.contains("pipelines:") {
        yaml.push_str("pipelines:\n  a:\n    - source: generate\n      with: { count: 1, fields: { key: { values: [x] } } }\n    - sink: stdout\n");
    }
    yaml
}

#[test]
fn every_yaml_block_of_the_documents_is_valid() {
    let mut documents = vec![root().join("README.md"), root().join("CONTRIBUTING.md")];
    documents.extend(std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    let mut checked = 0;
    for path in documents.iter().filter(|p| p.extension().is_some_and(|e| e == "md")) {
        for block in blocks(&std::fs::read_to_string(path).unwrap(), "yaml") {
            let output = check(".documented.yaml", &whole(&block));
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}:\n{block}\n{said}", path.display());
            checked += 1;
        }
    }
    assert!(checked >= 4, "the documents lost their YAML");
}

#[test]
fn the_readme_shows_the_shipped_file_without_its_comments() {
    let strip = |text: &str| -> Vec<String> {
        let lines =
            text.lines().map(|line| line.split(" #").next().unwrap_or_default().trim_end().to_owned());
        lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
    };
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let shipped = std::fs::read_to_string(root().join("pipeline.yaml")).unwrap();
    assert_eq!(strip(&blocks(&readme, "yaml")[0]), strip(&shipped));
}

#[test]
fn the_error_in_the_readme_is_the_one_that_the_program_gives() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let shown =
        blocks(&readme, "text").into_iter().find(|block| block.starts_with("error: unknown field")).unwrap();
    let shipped = std::fs::read_to_string(root().join("pipeline.yaml")).unwrap();
    let output = check("misspelt.yaml", &shipped.replace("[gender]", "[gendr]"));
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(String::from_utf8(output.stderr).unwrap().replace("misspelt.yaml", "pipeline.yaml"), shown);
}
