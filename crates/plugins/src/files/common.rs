//! The settings that every source of files has.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use pipectl_framework::config::{ByteSize, Rate};
use pipectl_framework::plugin::{BindContext, BoundSource, Problem};

use super::encoding::Encoding;
use super::input::{Input, Origin};
use super::packed::Compression;
use super::records::{Form, LastLine};
use super::source::{FileSource, Settings};
use crate::replay::{Replay, Speed};

/// The longest `max_line`, in bytes.
const MOST_MAX_LINE: u64 = 64 << 20;

/// The default of `max_line`.
pub(crate) fn one_mebibyte() -> ByteSize {
    ByteSize(1 << 20)
}

/// What the pipeline file says of a file, whatever its form.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) path: String,
    pub(crate) compression: Compression,
    pub(crate) encoding: Encoding,
    pub(crate) rate: Option<Rate>,
    pub(crate) speed: Speed,
    pub(crate) repeat: bool,
    pub(crate) last_line: Option<LastLine>,
    pub(crate) max_line: ByteSize,
}

/// A file that planning looks at.
#[derive(Debug)]
pub(crate) struct Opening {
    common: Common,
    origin: Origin,
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
        let origin = Origin {
            path: context.path(&self.path),
            name: Arc::from(self.path.as_str()),
            compression: self.compression,
            encoding: self.encoding,
        };
        Ok(Opening { max_line: self.max_line.0 as usize, origin, common: self })
    }
}

impl Opening {
    /// The file's name for messages.
    pub(crate) fn name(&self) -> Arc<str> {
        self.origin.name.clone()
    }

    /// Looks into the file.
    ///
    /// # Errors
    /// A [`Problem`] that says why that cannot be.
    pub(crate) fn look<T>(&self, look: impl FnOnce(Input) -> io::Result<T>) -> Result<T, Problem> {
        let Origin { path, name, encoding, .. } = &self.origin;
        let cannot = |why: String| Problem::new("path", format!("cannot read `{name}`")).label(why);
        let metadata = std::fs::metadata(path)
            .map_err(|e| cannot(e.to_string()).help(format!("looked for {}", path.display())))?;
        if !metadata.is_file() {
            return Err(cannot("it is not a regular file".to_owned()));
        }
        let file = Input::open(&self.origin).map_err(|e| cannot(e.to_string()))?;
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

    /// The source of the file's rows.
    pub(crate) fn source<F: Form>(self, form: F, context: &BindContext<'_>) -> BoundSource {
        let Self { common, origin, .. } = self;
        let name = context.file_name(&common.path);
        let Common { rate, speed, repeat, last_line, .. } = common;
        let settings = Settings { origin, name: name.as_str().into(), repeat, last_line };
        let source = FileSource::new(settings, form, Replay::new(rate, speed));
        BoundSource::custom(name, source.schema(), !repeat, source)
    }
}
