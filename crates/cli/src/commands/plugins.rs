//! `pipectl plugins`: what a pipeline can be made of, from the registry alone.

use std::fmt::Write as _;

use pipectl_framework::plugin::{Kind, Registry};

use crate::args::{Format, Plugins};
use crate::exit::Exit;
use crate::terminal::{Terminal, write_out};

pub(crate) fn main(plugins: &Plugins, terminal: &Terminal) -> Exit {
    let registry = match Registry::collect() {
        Ok(registry) => registry,
        Err(error) => {
            terminal.failure("plugins", &error);
            return Exit::Failed;
        }
    };
    let text = match plugins.format {
        Format::Text => text(&registry),
        Format::Json => json(&registry),
    };
    write_out(&text);
    Exit::Done
}

fn text(registry: &Registry) -> String {
    let width = registry.iter().map(|p| p.name.len()).max().unwrap_or(0);
    let mut out = String::new();
    for kind in Kind::ALL {
        let mut plugins = registry.iter().filter(|p| p.kind == kind).peekable();
        if plugins.peek().is_none() {
            continue;
        }
        if !out.is_empty() {
            out.push('\n');
        }
        let _ = writeln!(out, "{kind}s");
        for plugin in plugins {
            let _ = writeln!(out, "  {:width$}  {}", plugin.name, plugin.summary);
        }
    }
    out
}

fn json(registry: &Registry) -> String {
    let plugins: Vec<_> = registry
        .iter()
        .map(|p| {
            serde_json::json!({
                "kind": p.kind,
                "name": p.name,
                "summary": p.summary,
                "capabilities": p.capabilities,
                "example": p.example,
                "with": (p.config_schema)(),
            })
        })
        .collect();
    format!("{:#}\n", serde_json::Value::Array(plugins))
}
