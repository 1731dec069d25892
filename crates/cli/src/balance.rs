//! The closing summary: the record balance of every step.

use std::fmt::Write as _;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use pipectl_framework::config::DurationText;
use pipectl_framework::metrics::{ChainFigures, StepMetrics};

/// A table of all steps. In each row, in = out + filtered + late + dead + in flight, once its chain is over.
pub(crate) fn summary(figures: &[ChainFigures], took: Duration) -> String {
    let head = ["chain", "step", "in", "out", "filtered", "late", "dead", "in flight"].map(str::to_owned);
    let mut rows = vec![head];
    let mut unbalanced = Vec::new();
    for chain in figures {
        for (index, (id, metrics)) in chain.steps.iter().enumerate() {
            let b = metrics.balance();
            if chain.is_over() && !b.holds() {
                unbalanced.push(format!("{}.{id}", chain.name));
            }
            let name = if index == 0 { chain.name.clone() } else { String::new() };
            let counts =
                [b.rows_in, b.rows_out, b.filtered, b.late, b.dead, b.in_flight].map(|n| n.to_string());
            let [a, c, d, e, f, g] = counts;
            rows.push([name, id.clone(), a, c, d, e, f, g]);
        }
    }
    let widths: Vec<usize> =
        (0..8).map(|column| rows.iter().map(|r| r[column].chars().count()).max().unwrap_or(0)).collect();
    let mut out = format!("ran {:.1} s\n", took.as_secs_f64());
    for row in rows {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = match column {
                0 | 1 => write!(out, "{cell:width$}  "),
                _ => write!(out, "{cell:>width$}  "),
            };
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    for chain in figures {
        let gone = chain.chain.gone.load(Relaxed);
        if gone > 0 {
            let _ = writeln!(
                out,
                "{} lost up to {gone} records, which were deleted before it was done with them",
                chain.name
            );
        }
        for (id, metrics) in &chain.steps {
            if let Some(late) = late(metrics) {
                let _ = writeln!(out, "{}.{id}: {late}", chain.name);
            }
            let reasons: Vec<String> =
                metrics.reasons().iter().map(|(kind, rows)| format!("{rows} {kind}")).collect();
            if !reasons.is_empty() {
                let _ = writeln!(out, "{}.{id} could not use: {}", chain.name, reasons.join("; "));
            }
        }
    }
    let cut: Vec<&str> = figures.iter().filter(|chain| !chain.is_over()).map(|chain| &*chain.name).collect();
    if !cut.is_empty() {
        let _ = writeln!(out, "did not stop, and counted no further: {}", cut.join(", "));
    }
    if !unbalanced.is_empty() {
        let _ = writeln!(out, "the balance does not hold in: {} (please report this)", unbalanced.join(", "));
    }
    out
}

/// How many rows were late, with what would have let them count.
fn late(metrics: &StepMetrics) -> Option<String> {
    let (rows, by) = (metrics.late.load(Relaxed), metrics.late_by.load(Relaxed));
    let wait = DurationText::at_least(i64::try_from(by).unwrap_or(i64::MAX));
    let rows = match rows {
        0 => return None,
        1 => "1 row".to_owned(),
        rows => format!("{rows} rows"),
    };
    let remedy = (by > 0).then(|| format!("; with `out_of_orderness: {wait}` none would have been late"));
    Some(format!("{rows} came too late for every window{}", remedy.unwrap_or_default()))
}

/// The same as log events, one a step.
pub(crate) fn log_balance(figures: &[ChainFigures]) {
    for chain in figures {
        let gone = chain.chain.gone.load(Relaxed);
        if gone > 0 {
            tracing::error!(chain = chain.name, records = gone, "lost");
        }
        for (step, metrics) in &chain.steps {
            let b = metrics.balance();
            tracing::info!(
                chain = chain.name,
                step,
                rows_in = b.rows_in,
                rows_out = b.rows_out,
                filtered = b.filtered,
                late = b.late,
                dead = b.dead,
                in_flight = b.in_flight,
                holds = b.holds(),
                over = chain.is_over(),
                "balance"
            );
            if let Some(late) = late(metrics) {
                tracing::info!(
                    chain = chain.name,
                    step,
                    late_by_ms = metrics.late_by.load(Relaxed),
                    "{late}"
                );
            }
            for (reason, rows) in metrics.reasons() {
                tracing::info!(chain = chain.name, step, rows, reason, "not used");
            }
        }
    }
}
