//! How wide a line of a comment or of a document may be.

use std::path::Path;

use crate::files::File;

/// Wider lines are hard to read side by side.
pub(crate) const COLUMNS: usize = 110;

/// The lines of a file that are too wide, and could be broken.
pub(crate) fn wide_lines(file: &File) -> Vec<String> {
    let is_document = Path::new(&file.name).extension().is_some_and(|extension| extension == "md");
    let mut fenced = false;
    let mut problems = Vec::new();
    for (at, line) in file.text.lines().enumerate() {
        let Some(prose) = prose(line, is_document) else { continue };
        if prose.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        let columns = line.chars().count();
        if !fenced && columns > COLUMNS && can_be_broken(prose) {
            problems.push(format!("{}:{}: {columns} columns; break it", file.name, at + 1));
        }
    }
    problems
}

/// What is written for people in a line.
fn prose(line: &str, is_document: bool) -> Option<&str> {
    if is_document {
        return Some(line);
    }
    let comment = line.trim_start().strip_prefix("//")?;
    Some(comment.trim_start_matches(['/', '!']))
}

/// False for a row of a table, a heading, HTML, what stands in a block of code, and one long word such as a
/// link.
fn can_be_broken(prose: &str) -> bool {
    let text = prose.trim_start();
    let whole = text.starts_with(['|', '#', '<']) || prose.starts_with("     ");
    // What stands in `code` or in a [link](to) is one word.
    let (mut quoted, mut depth, mut words) = (false, 0, 1);
    for character in text.trim_start_matches(['-', '*', ' ']).chars() {
        match character {
            '`' => quoted = !quoted,
            '[' | '(' => depth += 1,
            ']' | ')' => depth -= 1,
            ' ' if !quoted && depth == 0 => words += 1,
            _ => {}
        }
    }
    !whole && words > 2
}
