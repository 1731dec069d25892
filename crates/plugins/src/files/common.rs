//! The settings that every source of files has.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use pipectl_framework::config::{ByteSize, Rate};
use pipectl_framework::plugin::{BindContext, BoundSource, Problem};

use super::encoding::Encoding;
use super::finder::{Paths, Wanted};
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
}

/// The files that planning looks at.
#[derive(Debug)]
pub(crate) struct Opening {
    settings: Settings,
    replay: Replay,
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
        let Self { compression, encoding, repeat, last_line, .. } = self;
        let origin = |path, name| Origin { path, name, compression, encoding, to: None };
        let (name, files, origins) = match Wanted::of(&self.path, context)? {
            Wanted::One(path) => {
                let origin = origin(context.path(&path), path.as_str().into());
                (context.file_name(&path), Files::One(origin.clone()), vec![origin])
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
        Ok(Opening { settings, replay, origins, max_line: self.max_line.0 as usize })
    }
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
        let looked = self.origins.iter().map(|origin| Ok((origin.name.clone(), look_at(origin, &mut look)?)));
        looked.collect()
    }

    /// The source of the files' rows.
    pub(crate) fn source<F: Form>(self, form: F) -> BoundSource {
        let (name, bounded) = (self.settings.name.clone(), !self.settings.repeat);
        let source = FileSource::new(self.settings, form, self.replay);
        BoundSource::custom(name, source.schema(), bounded, source)
    }
}

/// Looks into a file.
fn look_at<T>(origin: &Origin, look: &mut impl FnMut(Input) -> io::Result<T>) -> Result<T, Problem> {
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
