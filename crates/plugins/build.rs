//! Puts the files of `dashboards/` into the binary, so that it shows its pages wherever it stands.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let missing = |name| io::Error::other(format!("cargo did not set {name}"));
    let root = env::var_os("CARGO_MANIFEST_DIR").ok_or_else(|| missing("CARGO_MANIFEST_DIR"))?;
    let root = PathBuf::from(root).join("../../dashboards");
    let mut files = Vec::new();
    println!("cargo::rerun-if-changed={}", root.display());
    if root.is_dir() {
        collect(&root.canonicalize()?, "", &mut files)?;
    }
    files.sort();
    let mut code = String::from(
        "/// Every file of `dashboards/` by its path in there, sorted.\nstatic EMBEDDED: &[(&str, &[u8])] = &[\n",
    );
    for (name, path) in &files {
        // Writing to a String cannot fail.
        let _ = writeln!(code, "    ({name:?}, include_bytes!({:?})),", path.display().to_string());
    }
    code.push_str("];\n");
    let out = env::var_os("OUT_DIR").ok_or_else(|| missing("OUT_DIR"))?;
    fs::write(PathBuf::from(out).join("dashboards.rs"), code)
}

/// Adds the files below `folder`, whose own path inside `dashboards/` is `prefix`; hidden ones are left out.
fn collect(folder: &Path, prefix: &str, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') {
            continue;
        }
        let inside = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &inside, files)?;
        } else {
            files.push((inside, entry.path()));
        }
    }
    Ok(())
}
