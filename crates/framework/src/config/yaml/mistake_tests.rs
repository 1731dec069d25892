//! Each mistake of YAML's own, made at each place of the shipped files and of the documents' YAML where it
//! can be made, is named at its line; and the files themselves have none.

use std::path::Path;

use super::*;
use crate::config::Document;

/// Where the line of a text can be told.
type Told = Result<(), Vec<(usize, String)>>;

/// What a text is told when it is read as a pipeline file: the lines, with the messages.
fn told(text: &str) -> Told {
    match Document::read(&SourceFile::new("t.yaml", text), &[], &|_| Some("x".into())) {
        Ok(document) if document.problems.is_empty() => Ok(()),
        Ok(Document { problems, .. }) | Err(problems) => Err(problems
            .iter()
            .map(|d| (d.primary.place.file.line_column(d.primary.place.start).0, d.message.clone()))
            .collect()),
    }
}

/// The shipped files, and each whole file or part of one in the documents.
fn files() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let with = |folder: &str, extension: &str| {
        let mut paths: Vec<_> = std::fs::read_dir(root.join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == extension))
            .collect();
        paths.sort();
        paths
    };
    let mut files = Vec::new();
    for folder in ["", "examples"] {
        files.extend(with(folder, "yaml").iter().map(|path| (path.display().to_string(), read(path))));
    }
    for path in with("docs", "md") {
        for (number, block) in read(&path).split("```yaml\n").skip(1).enumerate() {
            let block = block.split("```").next().unwrap();
            // Enough for a file; a part of one is planned elsewhere.
            let whole = match block.starts_with("name:") {
                true => block.to_owned(),
                false => format!("name: documented\n{block}"),
            };
            let whole = match whole.contains("pipelines:") {
                true => whole,
                false => whole + "pipelines:\n  a:\n    - source: csv\n    - sink: stdout\n",
            };
            files.push((format!("{} {number}", path.display()), whole));
        }
    }
    assert!(files.len() > 8, "the files are not there");
    files
}

/// A line with a mistake in it; the lines at which it may be told, counted from this one; and a word of what
/// is told.
type Made = Option<(String, &'static [isize], &'static str)>;

/// Where the key of a line ends, behind indentation and dashes, and what stands behind its colon.
fn key_of(line: &str) -> Option<(usize, &str)> {
    let start = line.len() - line.trim_start_matches([' ', '-']).len();
    let end = start + line[start..].find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'))?;
    let value = line[end..].strip_prefix(':')?;
    (end > start && (value.is_empty() || value.starts_with(' '))).then_some((end, value.trim()))
}

/// A key with a value that is a text without quotes, on one line: what stands before the value, and the
/// value.
fn text_of(line: &str) -> Option<(&str, &str)> {
    let (end, value) = key_of(line)?;
    let text = !value.is_empty()
        && !value.contains(['#', '"', '\'', '{', '[', '$', ':'])
        && !value.starts_with(['&', '*', '!', '|', '>']);
    text.then(|| (&line[..=end], value))
}

/// Replaces the last of some words.
fn instead(line: &str, from: &str, to: &str) -> Option<String> {
    let at = line.rfind(from)?;
    Some(format!("{}{to}{}", &line[..at], &line[at + from.len()..]))
}

const HERE: &[isize] = &[0];
/// Where the first of several stands wrongly, the next of them is told.
const BELOW: &[isize] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20];

fn with_value(line: &str, value: impl Fn(&str) -> String, word: &'static str) -> Made {
    let (before, text) = text_of(line)?;
    Some((format!("{before} {}", value(text)), HERE, word))
}

/// Makes a mistake in a line.
type Make = fn(&str) -> Made;

/// Mistakes of colons, dashes and the spaces around them.
fn signs() -> Vec<(&'static str, Make)> {
    vec![
        ("a tab in the indentation", |line| {
            let rest = line.strip_prefix("  ")?;
            Some((format!("\t{rest}"), HERE, "a tab"))
        }),
        ("a tab behind a colon", |line| {
            text_of(line)?;
            Some((instead(line, ": ", ":\t")?, HERE, "a tab behind `:`"))
        }),
        ("no colon behind a key with a value", |line| {
            key_of(line).filter(|(_, value)| !value.is_empty())?;
            let (end, _) = key_of(line)?;
            Some((format!("{}{}", &line[..end], &line[end + 1..]), HERE, "a colon is missing"))
        }),
        ("no colon behind a key without one", |line| {
            let (end, value) = key_of(line)?;
            value.is_empty().then(|| (line[..end].to_owned(), HERE, "a colon is missing"))
        }),
        ("no space behind a colon", |line| {
            let (end, value) = key_of(line).filter(|(_, value)| !value.is_empty())?;
            Some((format!("{}:{value}", &line[..end]), HERE, "a space is missing"))
        }),
        ("no space behind a colon in braces", |line| {
            let inside = line.find("{ ")?;
            let colon = inside + line[inside..].find(": ")?;
            // Behind it stands a brace or a bracket, which YAML takes for one within the text.
            let nested = line[colon + 2..].starts_with(['{', '[', '"', '\'']);
            let word = if nested { "`" } else { "a space is missing" };
            Some((format!("{}:{}", &line[..colon], &line[colon + 2..]), HERE, word))
        }),
        ("no space behind a dash", |line| {
            let rest = line.trim_start().strip_prefix("- ")?;
            let indent = line.len() - line.trim_start().len();
            Some((format!("{}-{rest}", &line[..indent]), HERE, "a space is missing behind `-`"))
        }),
        ("another dash", |line| {
            line.trim_start().strip_prefix("- ")?;
            Some((line.replacen("- ", "– ", 1), HERE, "where `-` is meant"))
        }),
    ]
}

/// Characters that look like others.
fn characters() -> Vec<(&'static str, Make)> {
    vec![
        ("a full-width colon", |line| {
            let (end, value) = key_of(line)?;
            Some((format!("{}：{value}", &line[..end]), HERE, "a full-width colon"))
        }),
        ("a full-width colon in braces", |line| {
            let inside = line.find("{ ")?;
            let colon = inside + line[inside..].find(": ")?;
            Some((format!("{}：{}", &line[..colon], &line[colon + 2..]), HERE, "a full-width colon"))
        }),
        ("a full-width comma", |line| {
            let inside = line.find("{ ")?;
            let comma = inside + line[inside..].find(", ")?;
            // In a list of texts it may be a part of one.
            let next = &line[comma + 2..];
            let key = next.find([':', ',', ']', '}'])?;
            next[key..]
                .starts_with(':')
                .then(|| (format!("{}，{}", &line[..comma], &line[comma + 2..]), HERE, "a full-width comma"))
        }),
        ("a full-width brace", |line| {
            Some((line.replacen("{ ", "｛ ", 1), HERE, "a full-width brace"))
                .filter(|(made, ..)| made != line)
        }),
        ("a full-width closing brace", |line| {
            Some((instead(line, " }", " ｝")?, HERE, "a full-width brace"))
        }),
        ("a full-width bracket", |line| Some((instead(line, "[", "［")?, HERE, "a full-width bracket"))),
        ("a full-width closing bracket", |line| {
            Some((instead(line, "]", "］")?, HERE, "a full-width bracket"))
        }),
        ("a no-break space behind a colon", |line| {
            let (end, value) = key_of(line).filter(|(_, value)| !value.is_empty())?;
            Some((format!("{}:\u{a0}{value}", &line[..end]), HERE, "a no-break space"))
        }),
        ("a no-break space behind the space behind a colon", |line| {
            let (end, value) = key_of(line).filter(|(_, value)| !value.is_empty())?;
            Some((format!("{}: \u{a0}{value}", &line[..end]), HERE, "a no-break space"))
        }),
        ("a full-width space in the indentation", |line| {
            let rest = line.strip_prefix("  ")?;
            Some((format!("\u{3000}\u{3000}{rest}"), HERE, "a full-width space"))
        }),
        ("a no-break space behind a dash", |line| {
            line.trim_start().strip_prefix("- ")?;
            Some((line.replacen("- ", "-\u{a0}", 1), HERE, "a no-break space"))
        }),
        ("a no-break space in braces", |line| {
            Some((line.replacen("{ ", "{\u{a0}", 1), HERE, "a no-break space"))
                .filter(|(made, ..)| made != line)
        }),
        ("a no-break space behind a comma", |line| {
            let inside = line.find("{ ")?;
            let comma = inside + line[inside..].find(", ")?;
            Some((format!("{},\u{a0}{}", &line[..comma], &line[comma + 2..]), HERE, "a no-break space"))
        }),
        ("a no-break space at the end", |line| {
            text_of(line)?;
            Some((format!("{line}\u{a0}"), HERE, "a no-break space"))
        }),
        ("a zero-width space in a key", |line| {
            let (end, _) = key_of(line)?;
            Some((format!("{}\u{200b}{}", &line[..end], &line[end..]), HERE, "a zero-width space"))
        }),
        ("a byte order mark in a text", |line| {
            with_value(line, |text| format!("\u{feff}{text}"), "a byte order mark")
        }),
    ]
}

/// Mistakes of what is opened, of columns, and of texts without quotes.
fn structures() -> Vec<(&'static str, Make)> {
    vec![
        ("an unclosed brace", |line| {
            (line.matches('{').count() == 1 && !line.contains("${")).then_some(())?;
            Some((instead(line, " }", "")?, HERE, "the brace `{` is never closed"))
        }),
        ("an unclosed brace of two", |line| {
            (line.matches('{').count() == 2 && line.trim_end().ends_with("} }")).then_some(())?;
            Some((instead(line, " }", "")?, HERE, "the brace `{` is never closed"))
        }),
        ("an unclosed bracket", |line| {
            Some((instead(line, "]", "")?, HERE, "the bracket `[` is never closed"))
        }),
        ("an unclosed quote", |line| {
            let (_, value) = key_of(line).filter(|(_, value)| !value.contains(['{', '[']))?;
            (value.len() > 2 && value.ends_with('"')).then_some(())?;
            Some((line.trim_end().trim_end_matches('"').to_owned(), HERE, "the quote `\"` is never closed"))
        }),
        ("an unclosed quote in braces", |line| {
            (line.contains('{') && line.matches('"').count() == 2).then_some(())?;
            Some((instead(line, "\"", "")?, HERE, "the quote `\"` is never closed"))
        }),
        ("an unclosed quote around a text", |line| {
            with_value(line, |text| format!("\"{text}"), "the quote `\"` is never closed")
        }),
        ("an unclosed single quote", |line| {
            with_value(line, |text| format!("'{text}"), "the quote `'` is never closed")
        }),
        ("a quote in a text in quotes", |line| {
            with_value(line, |text| format!("'it's {text}'"), "text behind the closing quote")
        }),
        ("a brace that closes nothing", |line| {
            line.trim_end().ends_with('}').then(|| (format!("{line}}}"), HERE, "that closes nothing"))
        }),
        ("a colon in a text", |line| with_value(line, |_| "Women: and men".into(), "a colon within a text")),
        ("a colon at the end of a text", |line| {
            with_value(line, |_| "Women:".into(), "a colon within a text")
        }),
        ("a colon in a text in braces", |line| {
            let inside = line.find("{ ")?;
            let colon = inside + line[inside..].find(": ")?;
            let text = line[colon + 2..].starts_with(char::is_alphabetic);
            text.then(|| {
                (format!("{}: Women: {}", &line[..colon], &line[colon + 2..]), HERE, "a second colon")
            })
        }),
        ("no comma", |line| {
            let inside = line.find("{ ")?;
            let comma = inside + line[inside..].find(", ")?;
            let (before, next) = (&line[..comma], &line[comma + 2..]);
            let key = next.find([':', ',', ']', '}'])?;
            (next[key..].starts_with(": ") && before.ends_with(char::is_alphanumeric))
                .then(|| (format!("{before} {next}"), HERE, "a comma is missing"))
        }),
        ("a key too deep", |line| {
            (line.starts_with(' ') && !line.trim_start().starts_with('#')).then_some(())?;
            // Where it is the first of several, those behind it are too far left.
            Some((format!(" {line}"), BELOW, "wrong indentation"))
        }),
        ("a key not deep enough", |line| {
            let rest = line.strip_prefix(' ').filter(|rest| !rest.trim_start().starts_with('#'))?;
            Some((rest.to_owned(), BELOW, "wrong indentation"))
        }),
        ("a key twice", |line| {
            key_of(line).filter(|_| !line.contains("- "))?;
            Some((format!("{line}\n{line}"), BELOW, "twice"))
        }),
        ("a percent sign", |line| with_value(line, |text| format!("%{text}"), "cannot begin with `%`")),
        ("an at sign", |line| with_value(line, |text| format!("@{text}"), "cannot begin with `@`")),
        ("a backtick", |line| with_value(line, |text| format!("`{text}`"), "cannot begin with a backtick")),
        ("an asterisk", |line| with_value(line, |text| format!("*{text}"), "an anchor or alias")),
        ("an ampersand", |line| with_value(line, |text| format!("&{text}"), "an anchor or alias")),
        ("an exclamation mark", |line| with_value(line, |text| format!("!{text}"), "a tag")),
        ("a text that begins with a brace", |line| {
            with_value(line, |text| format!("{{month}}-{text}"), "text behind the brace")
        }),
        ("a text that begins with a bracket", |line| {
            with_value(line, |text| format!("[a] {text}"), "text behind the bracket")
        }),
        ("a text that begins with a sign", |line| {
            with_value(line, |text| format!("> {text}"), "text behind `>`")
        }),
        ("a list behind its key", |line| {
            with_value(line, |text| format!("- {text}"), "a list begins behind")
        }),
        ("a second document", |line| {
            Some((format!("---\n{line}"), HERE, "a second document"))
                .filter(|_| line.trim_start() == line && !line.starts_with("name") && !line.starts_with('#'))
        }),
        ("typographic quotes", |line| with_value(line, |text| format!("“{text}”"), "a typographic quote")),
        ("typographic single quotes", |line| {
            with_value(line, |text| format!("‘{text}’"), "a typographic quote")
        }),
        ("typographic quotes in braces", |line| {
            (line.contains('{') && line.matches('"').count() == 2).then_some(())?;
            Some((line.replacen('"', "“", 1).replacen('"', "”", 1), HERE, "a typographic quote"))
        }),
    ]
}

#[test]
fn the_files_have_no_mistake() {
    for (name, text) in files() {
        assert_eq!(told(&text), Ok(()), "{name}");
        assert_eq!(scan::mistakes(&text), [], "{name}");
        let windows = text.replace('\n', "\r\n");
        assert_eq!(told(&windows), Ok(()), "{name} with the line ends of Windows");
        assert_eq!(scan::mistakes(&windows), [], "{name} with the line ends of Windows");
        assert_eq!(told(&format!("\u{feff}{text}")), Ok(()), "{name} with a mark before it");
        assert_eq!(told(&text.replace('\n', "\r")), Ok(()), "{name} with the line ends of old Macs");
    }
}

#[test]
fn each_mistake_at_each_place_is_named_at_its_line() {
    let files = files();
    let mut unnamed = Vec::new();
    for (kind, make) in signs().into_iter().chain(characters()).chain(structures()) {
        let (mut made, mut meaningless) = (0, 0);
        for (name, text) in &files {
            let lines: Vec<&str> = text.lines().collect();
            let tree = parse(&SourceFile::new("t.yaml", text.as_str())).map(|node| node.to_json());
            for (index, line) in lines.iter().enumerate() {
                let Some((wrong, at, word)) = make(line.split(" #").next().unwrap().trim_end()) else {
                    continue;
                };
                let end = ["\n", "\r\n"][index % 2];
                let mut wrong_lines = lines.clone();
                wrong_lines[index] = &wrong;
                let wrong_text = wrong_lines.join(end) + end;
                // Where YAML reads the same, or what the planner looks at, there is nothing to name here.
                let same = parse(&SourceFile::new("t.yaml", wrong_text.as_str())).map(|node| node.to_json());
                let said = told(&wrong_text);
                if same == tree || said.is_ok() {
                    meaningless += 1;
                    continue;
                }
                made += 1;
                let named = said.as_ref().is_err_and(|said| {
                    said.iter().any(|(line, message)| {
                        let off = line.cast_signed() - (index + 1).cast_signed();
                        at.contains(&off) && message.contains(word)
                    })
                });
                if !named {
                    unnamed.push(format!("{kind}: {name}:{}: {wrong}\n    {said:?}", index + 1));
                }
            }
        }
        assert!(made > 1 && made > meaningless, "{kind} was made {made} times");
    }
    assert!(unnamed.is_empty(), "{} are not named:\n{}", unnamed.len(), unnamed.join("\n"));
}
