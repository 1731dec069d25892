//! The files that the checks read, by their names within the repository.

use std::fs;
use std::path::{Path, PathBuf};

/// A text file of the repository.
pub(crate) struct File {
    /// Its path from the top of the repository, with `/`.
    pub(crate) name: String,
    pub(crate) text: String,
}

impl File {
    /// The room that a file of the framework belongs to, and how many modules deep it is: `log/memory/mod.rs`
    /// is in `log`, two deep. Nothing for `lib.rs`, which stands above all rooms.
    pub(crate) fn module_path(&self) -> Option<(&str, usize)> {
        let path = self.name.strip_prefix("crates/framework/src/")?.strip_suffix(".rs")?;
        let path = path.strip_suffix("/mod").unwrap_or(path);
        let room = path.split('/').next()?;
        (room != "lib").then(|| (room, path.split('/').count()))
    }

    /// The files of the modules that this one declares under `#[cfg(test)]`, without `.rs` or `/mod.rs`.
    fn test_modules(&self) -> Vec<String> {
        let (folder, own_name) = self.name.rsplit_once('/').unwrap_or(("", &self.name));
        let own_name = own_name.trim_end_matches(".rs");
        let own_folder = match own_name {
            "mod" | "lib" | "main" => folder.to_owned(),
            _ => format!("{folder}/{own_name}"),
        };
        let mut found = Vec::new();
        let mut lines = self.text.lines().map(str::trim);
        while lines.any(|line| line == "#[cfg(test)]") {
            let mut next = lines.next().unwrap_or_default();
            let mut path = None;
            if let Some(given) = next.strip_prefix("#[path = \"") {
                path = Some(format!("{folder}/{}", given.trim_end_matches(".rs\"]")));
                next = lines.next().unwrap_or_default();
            }
            let declared = next.split_once("mod ").and_then(|(_, rest)| rest.strip_suffix(';'));
            found.extend(declared.map(|name| path.unwrap_or_else(|| format!("{own_folder}/{name}"))));
        }
        found
    }
}

/// Those of `files` that are compiled for tests only: what another declares under `#[cfg(test)]`, with all
/// that is in its folder.
pub(crate) fn test_files(files: &[File]) -> Vec<&str> {
    let modules: Vec<String> = files.iter().flat_map(File::test_modules).collect();
    let names = files.iter().map(|file| file.name.as_str());
    names
        .filter(|name| {
            modules.iter().any(|module| {
                name.strip_prefix(module.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
            })
        })
        .collect()
}

/// The top of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// All Rust files under a folder, in the order of their names.
pub(crate) fn rust_files(folder: &str) -> Vec<File> {
    files(&root().join(folder), "rs")
}

/// All documents of the repository.
pub(crate) fn markdown_files() -> Vec<File> {
    files(&root(), "md")
}

fn files(folder: &Path, extension: &str) -> Vec<File> {
    let mut paths = Vec::new();
    collect(folder, extension, &mut paths);
    paths.sort();
    let name = |path: &Path| path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
    paths.iter().map(|path| File { name: name(path), text: fs::read_to_string(path).unwrap() }).collect()
}

fn collect(folder: &Path, extension: &str, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        // What a build or a package manager wrote is not ours.
        let foreign = matches!(name, "target" | "node_modules" | "vendor") || name.starts_with('.');
        if path.is_dir() && !foreign {
            collect(&path, extension, paths);
        } else if path.extension().is_some_and(|found| found == extension) {
            paths.push(path);
        }
    }
}

#[test]
fn files_of_tests_are_known_by_their_declaration() {
    let file = |name: &str, text: &str| File { name: name.into(), text: text.into() };
    let files = [
        file("src/hub.rs", "#[cfg(test)]\n#[path = \"hub_tests.rs\"]\nmod tests;"),
        file("src/hub_tests.rs", ""),
        file("src/csv/mod.rs", "#[cfg(test)]\npub(crate) mod testing;\nmod reader;"),
        file("src/csv/testing.rs", ""),
        file("src/csv/reader.rs", "#[cfg(test)]\nmod tests;\n"),
        file("src/csv/reader/tests/mod.rs", ""),
        file("src/csv/tests.rs", ""),
    ];
    assert_eq!(test_files(&files), ["src/hub_tests.rs", "src/csv/testing.rs", "src/csv/reader/tests/mod.rs"]);
}
