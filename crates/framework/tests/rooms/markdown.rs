//! Links in documents: to files of this repository and to headings in them. Links to other hosts are not
//! followed.

use std::fs;
use std::path::Path;

use crate::files::File;

/// The links of a document that lead to no file or to no heading.
pub(crate) fn broken_links(root: &Path, file: &File) -> Vec<String> {
    let mut problems = Vec::new();
    for (line, link) in links(&file.text) {
        if let Some(why) = broken(root, file, &link) {
            problems.push(format!("{}:{line}: {link}: {why}", file.name));
        }
    }
    problems
}

fn broken(root: &Path, file: &File, link: &str) -> Option<&'static str> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, heading) = link.split_once('#').map_or((link, None), |(path, heading)| (path, Some(heading)));
    let target = if path.is_empty() {
        root.join(&file.name)
    } else {
        let folder = root.join(&file.name).parent()?.to_path_buf();
        let Ok(target) = folder.join(path).canonicalize() else { return Some("no such file") };
        target
    };
    if !target.starts_with(root) {
        return Some("outside the repository");
    }
    let heading = heading?;
    let text = if path.is_empty() { file.text.clone() } else { fs::read_to_string(target).ok()? };
    (!headings(&text).iter().any(|found| found == heading)).then_some("no such heading")
}

/// The lines of a document outside its code blocks, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(at, line)| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        (!fence && !in_code).then_some((at + 1, line))
    })
}

/// Where links lead to: `[text](target)` and `[name]: target`, not those within backticks.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (at, line) in prose(text) {
        let line: String = line.split('`').step_by(2).collect();
        let targets =
            line.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
        let named = line.strip_prefix('[').and_then(|rest| rest.split_once("]: ")).map(|(_, target)| target);
        for target in targets.chain(named) {
            // A title may follow the target: `(file.md "title")`.
            links.extend(target.split_whitespace().next().map(|target| (at, target.to_owned())));
        }
    }
    links
}

/// The names by which a document's headings are linked to: small letters, blanks as `-`, no other signs.
fn headings(text: &str) -> Vec<String> {
    prose(text)
        .filter(|(_, line)| line.starts_with('#'))
        .map(|(_, line)| {
            let name = line.trim_start_matches('#').trim().to_lowercase();
            let kept = |character: &char| character.is_alphanumeric() || " -_".contains(*character);
            name.chars()
                .filter(kept)
                .map(|character| if character == ' ' { '-' } else { character })
                .collect()
        })
        .collect()
}

#[test]
fn a_broken_link_is_found() {
    let broken = |text: &str| {
        broken_links(&crate::files::root(), &File { name: "data/NOTES.md".into(), text: text.into() })
    };
    assert_eq!(broken("see\n[a](gone.md)"), ["data/NOTES.md:2: gone.md: no such file"]);
    assert_eq!(broken("[a](README.md#gone)"), ["data/NOTES.md:1: README.md#gone: no such heading"]);
    assert_eq!(broken("[a](../../../)"), ["data/NOTES.md:1: ../../../: outside the repository"]);
    assert_eq!(broken("[a]\n\n[a]: gone.md").len(), 1);
    assert_eq!(broken("[a](../LICENSE) and [b](gone)").len(), 1);
    let right = [
        "[a](README.md)",
        "[a](README.md \"title\")",
        "[a](README.md#the-sample-log)",
        "# Two words, here\n[a](#two-words-here)",
        "[a](https://example.org/gone)",
        "`[a](gone.md)`",
        "```\n[a](gone.md)\n```",
        "[folder](../crates)",
    ];
    for text in right {
        assert_eq!(broken(text), [""; 0], "{text}");
    }
}
