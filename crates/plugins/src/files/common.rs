//! The settings that every source of files has.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use pipectl_framework::config::{ByteSize, Rate};
use pipectl_framework::plugin::{BindContext, BoundSource, Problem};

use super::encoding::Encoding;
use super::finder::{Paths, Wanted};
use super::followed::FollowedSource;
use super::input::{Input, Origin};
use super::packed::Compression;
use super::records::{Form, LastLine};
use super::source::{FileSource, Files, Settings};
use crate::replay::{Replay, Speed};

/// The longest `max_line`, in bytes.
const MOST_MAX_LINE: u64 = 64 << 20;

/// The name of the source of several files: the files themselves stand in its position, so it goes on where
/// `path` is edited.
const SEVERAL: &str = "files";

/// The default of `max_line`.
pub(crate) fn one_mebibyte() -> ByteSize {
    ByteSize(1 << 20)
}

/// What the pipeline file says of a file, whatever its form.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) path: Paths,
    pub(crate) compression: Compression,
    pub(crate) encoding: Encoding,
    pub(crate) rate: Option<Rate>,
    pub(crate) speed: Speed,
    pub(crate) repeat: bool,
    pub(crate) last_line: Option<LastLine>,
    pub(crate) max_line: ByteSize,
    pub(crate) follow: bool,
}

/// The files that planning looks at.
#[derive(Debug)]
pub(crate) struct Opening {
    settings: Settings,
    replay: Replay,
    follow: bool,
    /// Those that are there, at least one.
    origins: Vec<Origin>,
    /// The longest record, in bytes.
    pub(crate) max_line: usize,
}

impl Common {
    /// Checks the settings.
    ///
    /// # Errors
    /// A [`Problem`] at the setting that cannot be what it is to be.
    pub(crate) fn check(self, context: &BindContext<'_>) -> Result<Opening, Problem> {
        if !(1..=MOST_MAX_LINE).contains(&self.max_line.0) {
            return Err(Problem::new("max_line", "a record may have from 1B to 64MiB"));
        }
        if self.repeat && self.last_line == Some(LastLine::Wait) {
            return Err(Problem::new(
                "last_line",
                "the last line of a file that is repeated has nothing to wait for",
            )
            .label("the file begins again at its end")
            .help("take away `last_line`, or `repeat`"));
        }
        let follow = self.follow;
        if follow {
            self.can_be_followed()?;
        }
        let Self { compression, encoding, repeat, last_line, .. } = self;
        let origin = |path, name| Origin { path, name, compression, encoding, to: None };
        let (name, files, origins) = match Wanted::of(&self.path, context)? {
            Wanted::One(path) => {
                let origin = origin(context.path(&path), path.as_str().into());
                (context.file_name(&path), Files::One(origin.clone()), vec![origin])
            }
            Wanted::Several(_) if follow => {
                return Err(cannot_follow(
                    "several files cannot be followed as one",
                    "`path` is a pattern or a list",
                )
                .help("give each file a source of its own, and join them: `from: [CHAIN.STEP, CHAIN.STEP]`")
                .help("a file and those that it is rotated to are followed by its one name"));
            }
            Wanted::Several(_) if repeat => {
                return Err(Problem::new("repeat", "several files cannot be repeated")
                    .label("`path` is a pattern or a list")
                    .help("name one file, or take `repeat` away"));
            }
            Wanted::Several(finder) => {
                let found = finder.find()?;
                // A file without anything in it says nothing of the others.
                let full = found.iter().filter(|found| found.len > 0).cloned().collect::<Vec<_>>();
                let found = if full.is_empty() { found } else { full };
                let origins = found.into_iter().map(|found| origin(found.path, found.name)).collect();
                (SEVERAL.to_owned(), Files::Several { finder, compression, encoding }, origins)
            }
        };
        let settings = Settings { files, name: name.as_str().into(), repeat, last_line };
        let replay = Replay::new(self.rate, self.speed);
        Ok(Opening { settings, replay, follow, origins, max_line: self.max_line.0 as usize })
    }

    /// Checks what else is said of a file that is to be followed.
    fn can_be_followed(&self) -> Result<(), Problem> {
        if self.repeat {
            return Err(cannot_follow(
                "a file that is followed has no end to begin again at",
                "`repeat` is set",
            )
            .help("take `repeat` away, or `follow`"));
        }
        if self.last_line == Some(LastLine::Row) {
            return Err(cannot_follow(
                "a file that is followed gives whole lines only",
                "`last_line` is `row`",
            )
            .help("take `last_line` away: the line is given once its end is there"));
        }
        if matches!(self.rate, Some(Rate::PerSecond(_))) {
            return Err(cannot_follow("a file that is followed has the pace of its writer", "`rate` is set")
                .help("take `rate` away, or `follow`"));
        }
        if let Compression::Gzip | Compression::Zstd = self.compression {
            return Err(is_compressed("`compression` says so"));
        }
        if !self.encoding.is_utf8() {
            let label = format!("`encoding` is {}", self.encoding);
            return Err(cannot_follow("only UTF-8 can be followed", label)
                .help("let the writer write UTF-8, or read the file once it is whole, without `follow`"));
        }
        Ok(())
    }
}

fn cannot_follow(message: &str, label: impl Into<String>) -> Problem {
    Problem::new("follow", message).label(label)
}

fn is_compressed(label: &str) -> Problem {
    cannot_follow("a compressed file cannot be followed", label).help(
        "follow the file that is written, and compress it once it is rotated; or read it once it is whole, without \
         `follow`",
    )
}

impl Opening {
    /// Looks into each file, in order of name.
    ///
    /// # Errors
    /// A [`Problem`] that says why that cannot be.
    pub(crate) fn look<T>(
        &self,
        mut look: impl FnMut(Input) -> io::Result<T>,
    ) -> Result<Vec<(Arc<str>, T)>, Problem> {
        let looked = self.origins.iter().map(|origin| {
            let looked = look_at(origin, |input| match self.follow && input.plain().is_none() {
                true => Ok(None),
                false => look(input).map(Some),
            })?;
            let compressed = || is_compressed("it begins as compressed files do");
            Ok((origin.name.clone(), looked.ok_or_else(compressed)?))
        });
        looked.collect()
    }

    /// The source of the files' rows.
    pub(crate) fn source<F: Form>(self, form: F) -> BoundSource {
        let (name, bounded) = (self.settings.name.clone(), !self.settings.repeat);
        if let (true, Files::One(origin)) = (self.follow, &self.settings.files) {
            let origin = Origin { compression: Compression::None, ..origin.clone() };
            let source = FollowedSource::new(origin, name.clone(), form);
            return BoundSource::custom(name, source.schema(), false, source);
        }
        let source = FileSource::new(self.settings, form, self.replay);
        BoundSource::custom(name, source.schema(), bounded, source)
    }
}

/// Looks into a file.
fn look_at<T>(origin: &Origin, look: impl FnOnce(Input) -> io::Result<T>) -> Result<T, Problem> {
    let Origin { path, name, encoding, .. } = origin;
    let cannot = |why: String| Problem::new("path", format!("cannot read `{name}`")).label(why);
    let metadata = std::fs::metadata(path)
        .map_err(|e| cannot(e.to_string()).help(format!("looked for {}", path.display())))?;
    if !metadata.is_file() {
        return Err(cannot("it is not a regular file".to_owned()));
    }
    let file = Input::open(origin).map_err(|e| cannot(e.to_string()))?;
    look(file).map_err(|e| {
        let problem = cannot(e.to_string());
        match (e.kind(), e.to_string()) {
            (ErrorKind::InvalidData, text) if encoding.is_utf8() => {
                let label = if text.contains("little") { "utf-16le" } else { "utf-16be" };
                problem.help(format!("say `encoding: {label}`, or save it as UTF-8"))
            }
            _ => problem,
        }
    })
}
