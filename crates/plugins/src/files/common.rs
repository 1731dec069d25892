//! The settings that every source of files has.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pipectl_framework::config::{ByteSize, Rate};
use pipectl_framework::plugin::{BindContext, BoundSource, Problem, Purpose};

use super::encoding::Encoding;
use super::finder::{Paths, Wanted};
use super::followed::FollowedSource;
use super::input::{Input, Origin};
use super::packed::Compression;
use super::passing::{Passing, PassingSource};
use super::pipe::STANDARD_INPUT;
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

/// How often planning looks again at a file whose header is still to come.
const LOOK: Duration = Duration::from_millis(200);
/// For how long it waits before it says so.
const PATIENCE: Duration = Duration::from_secs(2);

/// What planning looks at.
#[derive(Debug)]
pub(crate) struct Opening {
    reads: Reads,
    replay: Replay,
    purpose: Purpose,
    /// The longest record, in bytes.
    pub(crate) max_line: usize,
}

#[derive(Debug)]
enum Reads {
    Files {
        settings: Settings,
        follow: bool,
        /// Those that are there, at least one.
        origins: Vec<Origin>,
    },
    Standard(Passing),
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
        let (max_line, purpose) = (self.max_line.0 as usize, context.purpose);
        let replay = Replay::new(self.rate, self.speed);
        let (name, files, origins) = match Wanted::of(&self.path, context)? {
            Wanted::Standard => {
                let reads = Reads::Standard(self.standard()?);
                return Ok(Opening { reads, replay, purpose, max_line });
            }
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
        Ok(Opening { reads: Reads::Files { settings, follow, origins }, replay, purpose, max_line })
    }

    /// Checks what else is said of standard input.
    fn standard(&self) -> Result<Passing, Problem> {
        if self.follow {
            return Err(cannot_follow(format!("{STANDARD_INPUT} cannot be followed"), "`path` is `-`")
                .help("take `follow` away: it is read for as long as somebody writes to it"));
        }
        if self.repeat {
            return Err(Problem::new("repeat", format!("{STANDARD_INPUT} cannot be repeated"))
                .label("`path` is `-`")
                .help("it is gone once it was read: put it into a file, or take `repeat` away"));
        }
        Ok(Passing {
            compression: self.compression,
            encoding: self.encoding,
            last_line: self.last_line.unwrap_or(LastLine::Row),
            #[cfg(test)]
            pipe: None,
        })
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

fn cannot_follow(message: impl Into<String>, label: impl Into<String>) -> Problem {
    Problem::new("follow", message).label(label)
}

fn is_compressed(label: &str) -> Problem {
    cannot_follow("a compressed file cannot be followed", label).help(
        "follow the file that is written, and compress it once it is rotated; or read it once it is whole, without \
         `follow`",
    )
}

impl Opening {
    /// True where what is there now is not all that can be known.
    pub(crate) fn grows(&self) -> bool {
        self.is_standard() || self.is_followed()
    }

    /// True where it reads a file that is followed.
    pub(crate) fn is_followed(&self) -> bool {
        matches!(self.reads, Reads::Files { follow: true, .. })
    }

    /// True where it reads standard input.
    pub(crate) fn is_standard(&self) -> bool {
        matches!(self.reads, Reads::Standard(_))
    }

    /// Looks into each file, in order of name. `look` says as well whether it has seen all that it looks for;
    /// where that may still come and the plan is to be run, it is waited for.
    ///
    /// # Errors
    /// A [`Problem`] that says why that cannot be.
    pub(crate) fn look<T>(
        &self,
        mut look: impl FnMut(&mut Input) -> io::Result<(T, bool)>,
    ) -> Result<Vec<(Arc<str>, T)>, Problem> {
        let (follow, origins) = match &self.reads {
            Reads::Standard(passing) => return Ok(vec![(STANDARD_INPUT.into(), passing.look(look)?)]),
            Reads::Files { follow, origins, .. } => (*follow, origins),
        };
        let waits = follow && self.purpose == Purpose::Run { once: false };
        let looked = origins.iter().map(|origin| {
            let (begin, mut said) = (Instant::now(), false);
            loop {
                let looked = look_at(origin, |mut input| match follow && input.plain().is_none() {
                    true => Ok(None),
                    false => look(&mut input).map(Some),
                })?;
                let compressed = || is_compressed("it begins as compressed files do");
                let (seen, whole) = looked.ok_or_else(compressed)?;
                if whole || !waits {
                    return Ok((origin.name.clone(), seen));
                }
                if !said && begin.elapsed() >= PATIENCE {
                    said = true;
                    tracing::warn!("waits for the header of {}", origin.name);
                }
                std::thread::sleep(LOOK);
            }
        });
        looked.collect()
    }

    /// The source of the rows.
    pub(crate) fn source<F: Form>(self, form: F) -> BoundSource {
        let (settings, follow) = match self.reads {
            Reads::Files { settings, follow, .. } => (settings, follow),
            Reads::Standard(passing) => {
                let source = PassingSource::new(passing, form, self.replay);
                return BoundSource::custom(STANDARD_INPUT, source.schema(), true, source)
                    .passing(STANDARD_INPUT);
            }
        };
        let (name, bounded) = (settings.name.clone(), !settings.repeat);
        if let (true, Files::One(origin)) = (follow, &settings.files) {
            let origin = Origin { compression: Compression::None, ..origin.clone() };
            let source = FollowedSource::new(origin, name.clone(), form);
            return BoundSource::custom(name, source.schema(), false, source);
        }
        let source = FileSource::new(settings, form, self.replay);
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
        return Err(cannot("it is not a regular file".to_owned()).help(
            "what passes once is read on standard input: `path: \"-\"`, and `pipectl run FILE < PIPE`",
        ));
    }
    let file = Input::open(origin).map_err(|e| cannot(e.to_string()))?;
    look(file).map_err(|e| unreadable(cannot(e.to_string()), &e, *encoding))
}

/// A problem of what cannot be read, with the remedy where another encoding is one.
pub(super) fn unreadable(problem: Problem, error: &io::Error, encoding: Encoding) -> Problem {
    match (error.kind(), error.to_string()) {
        (ErrorKind::InvalidData, text) if encoding.is_utf8() => {
            let label = if text.contains("little") { "utf-16le" } else { "utf-16be" };
            problem.help(format!("say `encoding: {label}`, or save it as UTF-8"))
        }
        _ => problem,
    }
}
