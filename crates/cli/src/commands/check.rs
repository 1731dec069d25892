//! `pipectl check`: everything short of starting.

use pipectl_framework::config::render_json;
use pipectl_framework::graph::describe;
use pipectl_framework::plugin::{Purpose, Registry};

use crate::args::{Check, Format};
use crate::exit::Exit;
use crate::load::load;
use crate::terminal::{Terminal, write_out};

pub(crate) fn main(check: &Check, terminal: &Terminal) -> Exit {
    let registry = match Registry::collect() {
        Ok(registry) => registry,
        Err(error) => {
            terminal.failure("plugins", &error);
            return Exit::Failed;
        }
    };
    let loaded = load(&registry, &check.file, Purpose::Check);
    if check.format == Format::Json {
        let diagnostics = loaded.as_ref().map_or_else(std::vec::Vec::as_slice, |(_, w)| w.as_slice());
        write_out(&format!(
            "{:#}\n",
            serde_json::json!({ "ok": loaded.is_ok(), "diagnostics": render_json(diagnostics) })
        ));
        return if loaded.is_ok() { Exit::Done } else { Exit::Invalid };
    }
    match loaded {
        Ok((plan, warnings)) => {
            terminal.diagnostics(&warnings);
            terminal.say(format!("{}: {} is valid", plan.name, check.file.file.display()));
            terminal.say(describe(&plan).trim_end());
            Exit::Done
        }
        Err(problems) => {
            terminal.diagnostics(&problems);
            Exit::Invalid
        }
    }
}
