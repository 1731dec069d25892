//! From the `path` of a source to the files that are there.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use glob::{MatchOptions, Pattern};
use pipectl_framework::plugin::{BindContext, Error, Problem};
use schemars::JsonSchema;
use serde::de::{self, Deserialize, Deserializer};

/// The most files of one source: a position names each that is there.
const MOST_FILES: usize = 1000;

/// The `path` of a source as it is written.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(untagged)]
pub(crate) enum Paths {
    /// `data/user_log.csv`, or a pattern such as `logs/*.csv`.
    One(String),
    /// `[a.csv, "logs/*.csv"]`
    Several(Vec<String>),
}

impl<'de> Deserialize<'de> for Paths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Paths;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // As of every text, so that the help is the same where it lacks its quotes.
                f.write_str("a string")
            }

            fn visit_str<E: de::Error>(self, path: &str) -> Result<Paths, E> {
                Ok(Paths::One(path.to_owned()))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, list: A) -> Result<Paths, A::Error> {
                Deserialize::deserialize(de::value::SeqAccessDeserializer::new(list)).map(Paths::Several)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// What a `path` asks for.
#[derive(Debug)]
pub(super) enum Wanted {
    /// Standard input.
    Standard,
    /// The file of this path.
    One(String),
    /// Several files, of which there may be one at the moment.
    Several(Finder),
}

/// A path or a pattern of the pipeline file.
#[derive(Debug, Clone)]
struct Place {
    /// Where it stands in `with:`.
    at: String,
    written: String,
    /// One name however it is written: from the pipeline file's folder, or from the root.
    name: String,
}

/// A file that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Its one name: from the pipeline file's folder, or from the root.
    pub(super) name: Arc<str>,
    pub(super) path: PathBuf,
    /// Its length in bytes.
    pub(super) len: u64,
}

/// Looks for files.
#[derive(Debug, Clone)]
pub(super) struct Finder {
    /// The pipeline file's folder.
    base: PathBuf,
    /// The same as it is shown.
    shown: PathBuf,
    places: Vec<Place>,
}

/// How standard input is written; `./-` is a file of that name.
const STANDARD: &str = "-";

/// True where a name has a character that stands for others.
fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

impl Wanted {
    /// What is asked for. A file that is named as a pattern is written is that one.
    ///
    /// # Errors
    /// Where no path is there, or one is no pattern.
    pub(super) fn of(paths: &Paths, context: &BindContext<'_>) -> Result<Self, Problem> {
        let shown = context.path("");
        let base = std::path::absolute(&shown).unwrap_or_else(|_| shown.clone());
        let place = |at: String, written: &String| {
            let name = context.file_name(written);
            match Pattern::new(&name) {
                Err(e) if !base.join(&name).is_file() => {
                    let problem = Problem::new(at, format!("`{written}` is no pattern")).label(e.msg);
                    Err(problem.help("`[ab]` stands for one of two characters, `[[]` for a bracket"))
                }
                _ => Ok(Place { at, written: written.clone(), name }),
            }
        };
        let places = match paths {
            Paths::One(path) if path == STANDARD => return Ok(Self::Standard),
            Paths::One(path) if !is_pattern(path) || context.path(path).is_file() => {
                return Ok(Self::One(path.clone()));
            }
            Paths::One(path) => vec![place("path".to_owned(), path)?],
            Paths::Several(paths) if paths.is_empty() => {
                return Err(Problem::new("path", "at least one path is needed"));
            }
            Paths::Several(paths) if paths.iter().any(|path| path == STANDARD) => {
                let at = paths.iter().position(|path| path == STANDARD).unwrap_or_default();
                return Err(Problem::new(
                    format!("path[{at}]"),
                    "standard input cannot be one of several files",
                )
                .help("write `path: \"-\"` for standard input alone; `./-` is a file of that name"));
            }
            Paths::Several(paths) => {
                let places = paths.iter().enumerate().map(|(i, path)| place(format!("path[{i}]"), path));
                places.collect::<Result<_, _>>()?
            }
        };
        Ok(Self::Several(Finder { base, shown, places }))
    }
}

impl Finder {
    /// The path of a file of this name.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.base.join(name)
    }

    /// The file of this name, if it is there.
    pub(super) fn file(&self, name: &str) -> Option<Found> {
        let path = self.path(name);
        let metadata = std::fs::metadata(&path).ok().filter(std::fs::Metadata::is_file)?;
        Some(Found { name: name.into(), path, len: metadata.len() })
    }

    /// All that are there, in order of name, each once.
    ///
    /// # Errors
    /// Where a path leads to no file, or there are too many.
    pub(super) fn find(&self) -> Result<Vec<Found>, Problem> {
        let mut found = Vec::new();
        for wanted in &self.places {
            let before = found.len();
            match self.file(&wanted.name) {
                Some(file) => found.push(file),
                None if is_pattern(&wanted.name) => self.matching(wanted, &mut found)?,
                None => {}
            }
            if found.len() == before {
                return Err(self.nothing(wanted));
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found.dedup_by(|a, b| a.name == b.name);
        if found.len() > MOST_FILES {
            let problem = format!("{} files are too many for one source", found.len());
            return Err(Problem::new("path", problem)
                .label(format!("at most {MOST_FILES} are read as one"))
                .help("narrow the pattern, or move files that were read to another folder"));
        }
        Ok(found)
    }

    fn matching(&self, wanted: &Place, found: &mut Vec<Found>) -> Result<(), Problem> {
        let cannot = |why: String| {
            Problem::new(&*wanted.at, format!("cannot look for `{}`", wanted.written)).label(why)
        };
        let base = Pattern::escape(&self.base.to_string_lossy());
        let pattern = Path::new(&base).join(&wanted.name);
        let options = MatchOptions { require_literal_separator: true, ..MatchOptions::default() };
        let options = MatchOptions { require_literal_leading_dot: true, ..options };
        let paths = glob::glob_with(&pattern.to_string_lossy(), options).map_err(|e| cannot(e.msg.into()))?;
        for path in paths {
            let path = path.map_err(|e| cannot(format!("{}: {}", e.path().display(), e.error())))?;
            let name = path.strip_prefix(&self.base).unwrap_or(&path);
            let Some(name) = name.to_str() else {
                return Err(cannot(format!("the name of {} is not UTF-8", path.display())));
            };
            found.extend(self.file(name));
        }
        Ok(())
    }

    fn nothing(&self, wanted: &Place) -> Problem {
        let Place { at, written, name } = wanted;
        let path = self.shown.join(name);
        let mut folders = path.ancestors().skip(1);
        let folder = folders.find(|folder| !folder.to_str().is_some_and(is_pattern)).unwrap_or(&self.shown);
        let looked =
            match (is_pattern(name), self.base.join(folder.strip_prefix(&self.shown).unwrap_or(folder))) {
                (false, _) => format!("looked for {}", path.display()),
                (true, there) if there.is_dir() => format!("looked in {}", folder.display()),
                (true, _) => format!("there is no folder {}", folder.display()),
            };
        match is_pattern(name) {
            true => Problem::new(at, format!("no file matches `{written}`")).help(looked),
            false => Problem::new(at, format!("cannot read `{written}`")).label("no such file").help(looked),
        }
    }
}

/// A problem that shows once the run is under way.
pub(super) fn while_running(problem: Problem) -> Error {
    let why = if problem.label.is_empty() { String::new() } else { format!(": {}", problem.label) };
    Error::fatal(format!("{}{why}", problem.message)).remedy(problem.help.join("; "))
}
