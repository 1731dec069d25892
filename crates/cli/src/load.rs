//! From a file's name to a plan.

use std::fs::File as OnDisk;
use std::io::Read;
use std::path::Path;
use std::string::FromUtf8Error;

use pipectl_framework::config::{Diagnostic, Document, MAX_BYTES, Place, SourceFile};
use pipectl_framework::graph::{Plan, PlanOptions, plan};
use pipectl_framework::plugin::Registry;

use crate::args::File;

/// Reads, parses and plans a file; gives the plan with its warnings, or everything that is wrong.
pub(crate) fn load(registry: &Registry, file: &File) -> Result<(Plan, Vec<Diagnostic>), Vec<Diagnostic>> {
    let name = file.file.display().to_string();
    let unreadable = |what: String, help: &str| {
        let place = Place { file: SourceFile::new(&name, ""), start: 0, end: 0 };
        vec![Diagnostic::error(place, what).help(help)]
    };
    let bytes = read(&file.file).map_err(|e| {
        unreadable(
            format!("the file cannot be read: {e}"),
            "give the path of a pipeline file, such as `pipectl run pipeline.yaml`",
        )
    })?;
    if bytes.len() > MAX_BYTES {
        return Err(unreadable(
            format!("the file is larger than {MAX_BYTES} bytes"),
            "a pipeline file is a few kilobytes; is this the right file?",
        ));
    }
    let text = String::from_utf8(bytes).map_err(|e| not_utf8(&name, &e))?;
    let source = SourceFile::new(&name, text);
    let document = Document::parse(&source, &file.set, &|name| std::env::var(name).ok())?;
    let base = file.file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    plan(&document, PlanOptions { registry, base, only: &file.only })
}

/// What is there, up to one byte more than a file may have: it may be endless.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    OnDisk::open(path)?.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// At the line that has the byte, as far as it can be read.
fn not_utf8(name: &str, error: &FromUtf8Error) -> Vec<Diagnostic> {
    let start = error.utf8_error().valid_up_to();
    let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
    let place = Place { file: SourceFile::new(name, text), start, end: start + 1 };
    vec![Diagnostic::error(place, "the file is not UTF-8").help("save it as UTF-8")]
}
