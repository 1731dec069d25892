//! What a run has to say while it runs.

use std::time::Instant;

use pipectl_framework::run::Notice;

use crate::loss;
use crate::status::Status;
use crate::terminal::Terminal;
use crate::trouble::Troubles;

/// Says it, where it is news.
pub(crate) fn tell(notice: &Notice, troubles: &mut Troubles, status: &Status, terminal: &Terminal) {
    match notice {
        Notice::Retrying { chain, error, after, .. } if !troubles.met(chain, error, Instant::now()) => {
            return tracing::debug!(chain, again_in_seconds = after.as_secs_f64(), "{error}");
        }
        Notice::Recovered { chain } => troubles.over(chain),
        _ => {}
    }
    if !terminal.json() {
        return status.line(&told(notice, terminal));
    }
    match notice {
        Notice::Address { chain, address } => tracing::info!(chain, address, "open {address}"),
        Notice::Retrying { chain, error, help, after } => {
            tracing::warn!(chain, help, again_in_seconds = after.as_secs_f64(), "{error}");
        }
        Notice::Resumed { chain, source, row } => {
            tracing::info!(chain, source, row, "goes on where an earlier run stopped");
        }
        Notice::Restoring { chain, topic, done, total } => {
            tracing::info!(chain, topic, done, total, "reads the state of its open windows back");
        }
        Notice::Gone { chain, gone } => {
            let (partition, records) = (gone.partition.to_string(), gone.records());
            let (from, to) = (gone.from, gone.to);
            tracing::error!(
                chain,
                partition,
                from,
                to,
                records,
                help = loss::help(gone),
                "{}",
                loss::what(gone)
            );
        }
        Notice::Grown { chain, topic, before, now } => {
            tracing::warn!(
                chain,
                topic,
                before,
                now,
                help = loss::GROWN,
                "{}",
                loss::grown(topic, *before, *now)
            );
        }
        Notice::StateReset { chain, step } => {
            tracing::warn!(chain, step, "the state of window `{step}` was given up, as `--reset-state` asks");
        }
        Notice::WindowBegins { chain, step } => {
            tracing::warn!(
                chain,
                step,
                "window `{step}` is new: its first windows hold only what is read from here on"
            );
        }
        Notice::NothingUsed { chain, step, rows, reason } => {
            tracing::warn!(
                chain,
                step,
                rows,
                reason,
                help = NOTHING_USED,
                "{}",
                nothing_used(step, *rows, reason)
            );
        }
        Notice::Held { chain, held } => {
            let (place, help) = (&held.place, &held.remedy);
            tracing::warn!(chain, place, help, "{place} waits: {}", held.why);
        }
        Notice::BeginsAnew { chain, source, before, start, written } => {
            let what = loss::begins_anew(source, before, *start, written);
            tracing::warn!(chain, source, written, help = loss::renamed(before), "{what}");
        }
        Notice::StartsElsewhere { chain, partition, wanted, at } => {
            let what = loss::starts_elsewhere(partition, *wanted, *at);
            tracing::warn!(chain, partition = partition.to_string(), wanted, at, "{what}");
        }
        Notice::StandsBy { chain } => tracing::info!(chain, "stands by: another worker runs this chain"),
        Notice::TakesOver { chain } => tracing::info!(chain, "runs here now"),
        Notice::Recovered { chain } => tracing::info!(chain, "works again"),
    }
}

/// What to do where a step could use nothing.
const NOTHING_USED: &str = "look whether the step's settings are those of its data; with `on_error: fail` the run ends at the \
                            first such row and names it";

fn nothing_used(step: &str, rows: u64, reason: &str) -> String {
    let rows = if rows == 1 { "the only row".to_owned() } else { format!("any of the {rows} rows") };
    format!("{step} could not use {rows} that came in, most often: {reason}")
}

fn told(notice: &Notice, terminal: &Terminal) -> String {
    match notice {
        Notice::Address { address, .. } => format!("  open {}", terminal.bold(address)),
        Notice::Retrying { chain, error, help, after } => {
            let help = help.as_ref().map(|h| format!("\n  = help: {h}")).unwrap_or_default();
            format!(
                "warning: {chain}: {error}; again in {:.1} s, and until it works{help}",
                after.as_secs_f64()
            )
        }
        Notice::Resumed { chain, source, row } => {
            format!("{chain}: goes on behind row {row} of {source}, where an earlier run stopped")
        }
        Notice::Restoring { chain, topic, done, total } => {
            let percent = done * 100 / (*total).max(1);
            format!("{chain}: reads the state of its open windows back from `{topic}`: {percent} %")
        }
        Notice::Gone { chain, gone } => {
            format!("warning: {chain}: {}\n  = help: {}", loss::what(gone), loss::help(gone))
        }
        Notice::Grown { chain, topic, before, now } => {
            format!("warning: {chain}: {}\n  = help: {}", loss::grown(topic, *before, *now), loss::GROWN)
        }
        Notice::StateReset { chain, step } => {
            format!("{chain}: the state of window `{step}` was given up, as `--reset-state` asks")
        }
        Notice::WindowBegins { chain, step } => {
            format!("{chain}: window `{step}` is new: its first windows hold only what is read from here on")
        }
        Notice::NothingUsed { step, rows, reason, .. } => {
            format!("warning: {}\n  = help: {NOTHING_USED}", nothing_used(step, *rows, reason))
        }
        Notice::Held { chain, held } => {
            format!("warning: {chain}: {} waits: {}\n  = help: {}", held.place, held.why, held.remedy)
        }
        Notice::BeginsAnew { chain, source, before, start, written } => {
            let what = loss::begins_anew(source, before, *start, written);
            format!("warning: {chain}: {what}\n  = help: {}", loss::renamed(before))
        }
        Notice::StartsElsewhere { chain, partition, wanted, at } => {
            format!("warning: {chain}: {}", loss::starts_elsewhere(partition, *wanted, *at))
        }
        Notice::StandsBy { chain } => format!("{chain}: stands by: another worker runs this chain"),
        Notice::TakesOver { chain } => format!("{chain}: runs here now"),
        Notice::Recovered { chain } => format!("{chain}: works again"),
    }
}
