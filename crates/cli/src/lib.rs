//! The command line. [`main`] is the whole of it: an author's own program calls it and has every command,
//! with the plugins of the author's crate beside those that ship with pipectl.
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     pipectl::main()
//! }
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))] // a test fails by panicking

mod args;
mod balance;
mod commands;
#[cfg(test)]
mod deploy_tests;
mod exit;
mod health;
mod load;
mod logging;
mod loss;
mod notices;
mod status;
mod stderr;
mod terminal;
mod trouble;
mod watch;

use std::process::ExitCode;

use clap::Parser;

// The plugins register themselves; this keeps their crate in the program.
use pipectl_plugins as _;

/// Runs the command that the program's arguments name.
pub fn main() -> ExitCode {
    let args = args::Args::parse();
    let terminal = terminal::Terminal::new(&args.global);
    logging::start(&args.global);
    let code = match args.command {
        args::Command::Run(run) => commands::run::main(&run, &args.global, &terminal),
        args::Command::Check(check) => commands::check::main(&check, &terminal),
        args::Command::Explain(explain) => commands::explain::main(&explain, &terminal),
        args::Command::Plugins(plugins) => commands::plugins::main(&plugins, &terminal),
    };
    code.into()
}
