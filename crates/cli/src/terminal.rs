//! What is said to a person: on standard error, once, with colour only where it is wanted.

use std::fmt::Display;
use std::io::{IsTerminal, Write};

use pipectl_framework::config::{Diagnostic, Severity, render};
use pipectl_framework::error::Error;

use crate::args::{Global, LogFormat, When};
use crate::stderr;

/// Standard error, as far as we use it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terminal {
    pub(crate) colour: bool,
    /// Standard error is a terminal, and a person reads along.
    pub(crate) live: bool,
    pub(crate) quiet: bool,
    format: LogFormat,
}

impl Terminal {
    pub(crate) fn new(global: &Global) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let colour = match global.color {
            When::Always => true,
            When::Never => false,
            When::Auto => is_terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
        };
        let live = is_terminal && !global.quiet && global.log_format == LogFormat::Text;
        let format = global.log_format;
        Self { colour: colour && format == LogFormat::Text, live, quiet: global.quiet, format }
    }

    /// Every line is a JSON object: what is said goes through the log.
    pub(crate) fn json(&self) -> bool {
        self.format == LogFormat::Json
    }

    /// A line that `--quiet` leaves out.
    pub(crate) fn say(&self, line: impl Display) {
        if self.json() {
            tracing::info!("{line}");
        } else if !self.quiet {
            stderr::write(format!("{line}\n").as_bytes());
        }
    }

    pub(crate) fn bold(&self, text: impl Display) -> String {
        if self.colour { format!("\x1b[1m{text}\x1b[0m") } else { text.to_string() }
    }

    pub(crate) fn dim(&self, text: impl Display) -> String {
        if self.colour { format!("\x1b[2m{text}\x1b[0m") } else { text.to_string() }
    }

    /// What is wrong with the file, and how many there are.
    pub(crate) fn diagnostics(&self, diagnostics: &[Diagnostic]) {
        let shown: Vec<Diagnostic> =
            diagnostics.iter().filter(|d| !self.quiet || d.severity == Severity::Error).cloned().collect();
        if self.json() {
            for shown in &shown {
                let (text, help) = (render(std::slice::from_ref(shown), false), shown.help.join("; "));
                match shown.severity {
                    Severity::Error => tracing::error!(text, help, "{}", shown.message),
                    Severity::Warning => tracing::warn!(text, help, "{}", shown.message),
                }
            }
            return;
        }
        if shown.is_empty() {
            return;
        }
        stderr::write(render(&shown, self.colour).as_bytes());
        let errors = shown.iter().filter(|d| d.severity == Severity::Error).count();
        if errors > 1 {
            stderr::write(format!("\n{errors} errors; nothing was started\n").as_bytes());
        }
    }

    /// Something that ends the command.
    pub(crate) fn error(&self, message: impl Display, help: Option<&str>) {
        if self.json() {
            return tracing::error!(help, "{message}");
        }
        let word = if self.colour { "\x1b[1;31merror\x1b[0m" } else { "error" };
        stderr::write(format!("{word}: {message}\n").as_bytes());
        if let Some(help) = help {
            stderr::write(format!("  = help: {help}\n").as_bytes());
        }
    }

    pub(crate) fn failure(&self, place: &str, error: &Error) {
        self.error(format!("{place}: {error}"), error.help());
    }
}

/// Writes what was asked for to standard output; false where nobody reads it any more.
pub(crate) fn write_out(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}
