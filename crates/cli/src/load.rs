//! From a file's name to a plan.

use std::fs::File as OnDisk;
use std::io::Read;
use std::path::Path;
use std::string::FromUtf8Error;

use pipectl_framework::config::{Diagnostic, Document, MAX_BYTES, Place, SourceFile};
use pipectl_framework::graph::{Plan, PlanOptions, plan};
use pipectl_framework::plugin::{Purpose, Registry};

use crate::args::File;

/// Reads, parses and plans a file for this purpose; gives the plan with its warnings, or everything that is
/// wrong.
pub(crate) fn load(
    registry: &Registry,
    file: &File,
    purpose: Purpose,
) -> Result<(Plan, Vec<Diagnostic>), Vec<Diagnostic>> {
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
    if let Some((encoding, text)) = utf_16(&bytes) {
        let place = Place { file: SourceFile::new(&name, text), start: 0, end: 1 };
        return Err(vec![
            Diagnostic::error(place, format!("the file is {encoding}, not UTF-8"))
                .help(format!("save it as UTF-8, or convert it: `iconv -f {encoding} -t UTF-8 {name}`")),
        ]);
    }
    let text = String::from_utf8(bytes).map_err(|e| not_utf8(&name, &e))?;
    let source = SourceFile::new(&name, text);
    let document = Document::read(&source, &file.set, &|name| std::env::var(name).ok())?;
    let base = file.file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    plan(&document, PlanOptions { registry, base, only: &file.only, purpose })
}

/// What is there, up to one byte more than a file may have: it may be endless.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    OnDisk::open(path)?.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of a file in UTF-16, and what that is called: it begins with a mark, or every other byte is zero
/// in most of what it says.
fn utf_16(bytes: &[u8]) -> Option<(&'static str, String)> {
    let zeros = |first: usize| bytes.iter().skip(first).step_by(2).filter(|byte| **byte == 0).count();
    let mostly = |zeros: usize| bytes.len() >= 4 && zeros * 4 > bytes.len();
    let (encoding, skipped, unit): (_, _, fn([u8; 2]) -> u16) = match bytes {
        [0xff, 0xfe, ..] => ("UTF-16LE", 2, u16::from_le_bytes),
        [0xfe, 0xff, ..] => ("UTF-16BE", 2, u16::from_be_bytes),
        _ if mostly(zeros(1)) && zeros(0) == 0 => ("UTF-16LE", 0, u16::from_le_bytes),
        _ if mostly(zeros(0)) && zeros(1) == 0 => ("UTF-16BE", 0, u16::from_be_bytes),
        _ => return None,
    };
    let units = bytes.get(skipped..)?.as_chunks().0.iter().map(|pair| unit(*pair));
    Some((encoding, char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()))
}

/// At the line that has the byte, as far as it can be read.
fn not_utf8(name: &str, error: &FromUtf8Error) -> Vec<Diagnostic> {
    let start = error.utf8_error().valid_up_to();
    let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
    let place = Place { file: SourceFile::new(name, text), start, end: start + 1 };
    vec![Diagnostic::error(place, "the file is not UTF-8").help("save it as UTF-8")]
}
