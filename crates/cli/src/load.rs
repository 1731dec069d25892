//! From a file's name to a plan.

use std::path::Path;

use pipectl_framework::config::{Diagnostic, Document, Place, SourceFile};
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
    let bytes = std::fs::read(&file.file).map_err(|e| {
        unreadable(
            format!("the file cannot be read: {e}"),
            "give the path of a pipeline file, such as `pipectl run pipeline.yaml`",
        )
    })?;
    let text = String::from_utf8(bytes)
        .map_err(|e| unreadable(format!("the file is not UTF-8: {e}"), "save it as UTF-8"))?;
    let source = SourceFile::new(&name, text);
    let document = Document::parse(&source, &file.set, &|name| std::env::var(name).ok())?;
    let base = file.file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    plan(&document, PlanOptions { registry, base, only: &file.only })
}
