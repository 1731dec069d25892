//! The pipeline files that are shipped, found by looking: a new one is run without being named here.

use std::path::{Path, PathBuf};

/// Where they are, and whether folders in there are looked into as well.
const FOLDERS: [(&str, bool); 3] = [("", false), ("examples", true), ("deploy", true)];

/// A pipeline file.
#[derive(Debug)]
pub(crate) struct File {
    /// Its path in the repository; for one that stands in another file, with its name there.
    pub(crate) name: String,
    pub(crate) text: String,
    /// Its folder in the repository: where the paths in it begin.
    pub(crate) folder: PathBuf,
}

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub(crate) fn all() -> Vec<File> {
    let mut files = Vec::new();
    for (folder, deep) in FOLDERS {
        find(Path::new(folder), deep, &mut files);
    }
    assert!(files.iter().any(|file| file.name == "pipeline.yaml"), "nothing was found: {files:?}");
    files
}

fn find(folder: &Path, deep: bool, files: &mut Vec<File>) {
    let entries = std::fs::read_dir(root().join(folder)).expect("a folder");
    let mut entries: Vec<_> = entries.map(|entry| entry.expect("an entry")).collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = folder.join(entry.file_name());
        let is_yaml = path.extension().is_some_and(|end| end == "yaml" || end == "yml");
        if entry.file_type().expect("a type").is_dir() {
            if deep && entry.file_name() != "target" {
                find(&path, deep, files);
            }
        } else if is_yaml {
            read(&path, files);
        }
    }
}

/// Takes a file, or the pipeline files that stand in it as texts, as in a `ConfigMap`.
fn read(path: &Path, files: &mut Vec<File>) {
    let text = std::fs::read_to_string(root().join(path)).expect("a text");
    let name = path.to_str().expect("UTF-8").to_owned();
    let folder = path.parent().expect("a folder").to_owned();
    if is_pipeline(&text) {
        files.push(File { name, text, folder });
        return;
    }
    let inside = inside(&text);
    assert!(
        !inside.is_empty() || path.starts_with("deploy"),
        "{name} is no pipeline file: put it elsewhere, or tell `files.rs` of the simulation what it is"
    );
    files.extend(inside.into_iter().map(|(key, text)| File {
        name: format!("{key} in {name}"),
        text,
        folder: folder.clone(),
    }));
}

fn is_pipeline(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("pipelines:"))
}

/// The pipeline files that stand in a file under `NAME.yaml: |`.
fn inside(text: &str) -> Vec<(String, String)> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut lines = text.lines().peekable();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        let Some(key) = line.trim().strip_suffix(": |").filter(|key| key.ends_with("yaml")) else { continue };
        let mut body = String::new();
        let mut depth = None;
        while let Some(next) = lines.next_if(|next| next.trim().is_empty() || indent(next) > indent(line)) {
            let depth = *depth.get_or_insert(indent(next));
            body += next.get(depth..).unwrap_or_default();
            body.push('\n');
        }
        if is_pipeline(&body) {
            found.push((key.to_owned(), body));
        }
    }
    found
}
