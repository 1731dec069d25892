//! The arguments.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Streaming data pipelines from one YAML file.
#[derive(Debug, Parser)]
#[command(
    name = "pipectl",
    version,
    arg_required_else_help = true,
    after_help = "\
Examples:
  pipectl run pipeline.yaml              run until Ctrl-C
  pipectl run pipeline.yaml --once       run to the end of the data, print the balance
  pipectl check pipeline.yaml            find every mistake without starting anything
  pipectl explain pipeline.yaml          what a crash can lose or repeat
  pipectl plugins                        what a pipeline can be made of

Exit codes: 0 done, 1 the run failed, 2 wrong usage, 3 the file is not valid, 4 fenced or refused by the broker,
130 stopped by a second signal."
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Global {
    /// When to use colour; `NO_COLOR` in the environment means never.
    #[arg(long, global = true, value_enum, default_value_t = When::Auto)]
    pub(crate) color: When,
    /// Say only what is wrong.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Say more; twice for everything.
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// How log lines are written to standard error.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For a person.
    Text,
    /// One JSON object a line.
    Json,
}

/// How a listing is written to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For a person.
    Text,
    /// For a program.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build every chain of a file and run until Ctrl-C.
    #[command(after_help = "\
Examples:
  pipectl run pipeline.yaml
  pipectl run pipeline.yaml --only shoppers --only count-by-gender
  pipectl run pipeline.yaml --once --set pipelines.shoppers.csv.with.rate=max
  pipectl run pipeline.yaml --health 0.0.0.0:8081

The first Ctrl-C (or SIGTERM) stops in order: closed windows are written, positions committed, exit code 0. The second stops at once.")]
    Run(Run),
    /// Find every mistake in a file without starting anything.
    #[command(after_help = "Example:\n  pipectl check pipeline.yaml")]
    Check(Check),
    /// Say what each chain promises: what a crash can lose or repeat, and why.
    #[command(after_help = "Example:\n  pipectl explain pipeline.yaml")]
    Explain(Explain),
    /// List the plugins: what a pipeline can be made of.
    #[command(after_help = "Example:\n  pipectl plugins --format json")]
    Plugins(Plugins),
}

/// A file and how to read it.
#[derive(Debug, clap::Args)]
pub(crate) struct File {
    /// The pipeline file.
    pub(crate) file: PathBuf,
    /// Change one value of the file: a path of keys (a step by its number from 0, its id or its plugin) and
    /// the value.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub(crate) set: Vec<String>,
    /// Only this chain, with all that stand behind the same source; may be given several times.
    #[arg(long, value_name = "CHAIN")]
    pub(crate) only: Vec<String>,
}

/// `pipectl run`
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) file: File,
    /// Stop when every source is at its end and every topic is read to where it ended.
    #[arg(long)]
    pub(crate) once: bool,
    /// Give up what the open windows of this step hold where the file that wrote it had another window there,
    /// and make them of what can be read again; may be given several times.
    #[arg(long, value_name = "CHAIN.STEP", value_parser = step)]
    pub(crate) reset_state: Vec<String>,
    /// Answer `GET /livez` and `GET /readyz` at this address, such as 127.0.0.1:8081, or 0.0.0.0:8081 for
    /// probes from outside; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub(crate) health: Option<SocketAddr>,
}

fn step(text: &str) -> Result<String, String> {
    let named = text.split_once('.').is_some_and(|(chain, step)| !chain.is_empty() && !step.is_empty());
    let help = "a chain and a step are expected, such as count-by-gender.count-by-key";
    named.then(|| text.to_owned()).ok_or_else(|| help.to_owned())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let help = "an IP address and a port are expected, such as 127.0.0.1:8081 or [::1]:8081";
    text.parse().map_err(|_| help.to_owned())
}

/// `pipectl check`
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) file: File,
    /// How the result is written.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// `pipectl explain`
#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    #[command(flatten)]
    pub(crate) file: File,
    /// How the result is written.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// `pipectl plugins`
#[derive(Debug, clap::Args)]
pub(crate) struct Plugins {
    /// How the list is written.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}
