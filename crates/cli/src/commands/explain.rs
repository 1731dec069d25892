//! `pipectl explain`: what each chain promises.

use std::fmt::Write as _;

use pipectl_framework::config::render_json;
use pipectl_framework::graph::{Explained, explain};
use pipectl_framework::plugin::{Purpose, Registry};

use crate::args::{Explain, Format};
use crate::exit::Exit;
use crate::load::load;
use crate::terminal::{Terminal, write_out};

pub(crate) fn main(arguments: &Explain, terminal: &Terminal) -> Exit {
    let registry = match Registry::collect() {
        Ok(registry) => registry,
        Err(error) => {
            terminal.failure("plugins", &error);
            return Exit::Failed;
        }
    };
    match (load(&registry, &arguments.file, Purpose::Check), arguments.format) {
        (Ok((plan, warnings)), Format::Text) => {
            terminal.diagnostics(&warnings);
            write_out(&text(&explain(&plan)));
            Exit::Done
        }
        (Ok((plan, _)), Format::Json) => {
            write_out(&format!("{:#}\n", serde_json::json!({ "ok": true, "chains": explain(&plan) })));
            Exit::Done
        }
        (Err(problems), Format::Text) => {
            terminal.diagnostics(&problems);
            Exit::Invalid
        }
        (Err(problems), Format::Json) => {
            let problems = serde_json::json!({ "ok": false, "diagnostics": render_json(&problems) });
            write_out(&format!("{problems:#}\n"));
            Exit::Invalid
        }
    }
}

/// A paragraph a chain.
fn text(chains: &[Explained]) -> String {
    let mut out = String::new();
    for (index, chain) in chains.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        let _ = writeln!(out, "{}: {}", chain.chain, chain.delivery.name());
        for sentence in &chain.because {
            let _ = writeln!(out, "  {sentence}");
        }
        let width = chain.steps.iter().map(|(id, _)| id.chars().count()).max().unwrap_or(0);
        for (index, (id, fields)) in chain.steps.iter().enumerate() {
            let verb = if index == 0 { "gives" } else { "gets" };
            let _ = writeln!(out, "  {id:width$}  {verb:5}  {fields}");
        }
    }
    out
}
