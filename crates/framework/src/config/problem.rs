//! A plugin's word that its `with:` cannot be used.

use super::suggest::nearest;

/// Something wrong with a value inside a plugin's `with:`, found while planning. Shown with the line it
/// stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, inside `with:`: `fields[0]`, `legacy.keys`; empty for the whole.
    pub path: String,
    /// What is wrong, one short sentence without a full stop.
    pub message: String,
    /// What stands beside the carets.
    pub label: String,
    /// What to do, one sentence each.
    pub help: Vec<String>,
    /// The field of the rows that it is about, where it depends on what comes in.
    field: Option<String>,
    /// The bytes of the text at `path` that it is about; all of it where there are none.
    part: Option<(usize, usize)>,
}

impl Problem {
    /// A problem with the value at `path`.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
            label: String::new(),
            help: Vec::new(),
            field: None,
            part: None,
        }
    }

    /// Adds what stands beside the carets.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Says that it is about field `name` of what comes in, and not about the `with:` alone. Where nobody
    /// knows what comes in, because a step before cannot be used, such a problem is not shown.
    #[must_use]
    pub fn of_field(mut self, name: impl Into<String>) -> Self {
        self.field = Some(name.into());
        self
    }

    /// Says that it is about a part of the text at its path: the bytes from `start` to `end`.
    #[must_use]
    pub fn part(mut self, start: usize, end: usize) -> Self {
        self.part = Some((start, end));
        self
    }

    /// The part of the text that it is about.
    pub(crate) fn about(&self) -> Option<(usize, usize)> {
        self.part
    }

    /// The field that it is about.
    pub(crate) fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// Adds `did you mean ...?` where one of the candidates looks like what was written.
    #[must_use]
    pub fn suggest<'a>(self, written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Self {
        match nearest(written, candidates) {
            Some(candidate) => self.help(format!("did you mean `{candidate}`?")),
            None => self,
        }
    }

    /// The same problem under a longer path; with `whole`, at `prefix` itself.
    #[must_use]
    pub fn within(mut self, prefix: &str, whole: bool) -> Self {
        self.path = match (whole || self.path.is_empty(), self.path.starts_with('[')) {
            (true, _) => prefix.to_owned(),
            (false, true) => format!("{prefix}{}", self.path),
            (false, false) => format!("{prefix}.{}", self.path),
        };
        self
    }
}
