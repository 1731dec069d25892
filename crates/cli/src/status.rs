//! The quiet status lines of a run on a terminal: one per chain, with a bar where a source knows its size.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use pipectl_framework::metrics::ChainFigures;

use crate::stderr;
use crate::terminal::Terminal;

/// The lines, or nothing where standard error is not a terminal.
pub(crate) struct Status {
    terminal: Terminal,
    figures: Arc<[ChainFigures]>,
    bars: Option<(MultiProgress, Vec<Line>)>,
}

struct Line {
    bar: ProgressBar,
    sized: bool,
    last: u64,
}

impl Status {
    /// No status lines where `busy`: something else writes to the terminal.
    pub(crate) fn new(terminal: &Terminal, figures: Arc<[ChainFigures]>, busy: bool) -> Self {
        let bars = (terminal.live && !busy).then(|| {
            // What was said before stands above them.
            stderr::flush(Duration::from_millis(100));
            let all = MultiProgress::new();
            let lines = figures
                .iter()
                .map(|chain| {
                    let bar = all.add(ProgressBar::no_length());
                    bar.set_style(style("  {prefix}  {wide_msg}"));
                    bar.set_prefix(chain.name.clone());
                    Line { bar, sized: false, last: 0 }
                })
                .collect();
            (all, lines)
        });
        Self { terminal: *terminal, figures, bars }
    }

    /// A line that stays, above the status.
    pub(crate) fn line(&self, text: &str) {
        match &self.bars {
            // An error means that the terminal is gone.
            Some((all, _)) => drop(all.println(text)),
            None => self.terminal.say(text),
        }
    }

    pub(crate) fn draw(&mut self) {
        let Some((_, lines)) = &mut self.bars else { return };
        for (line, chain) in lines.iter_mut().zip(self.figures.iter()) {
            let rows: u64 = chain.steps.first().map_or(0, |(_, m)| m.rows_in.load(Relaxed));
            let per_second = (rows - line.last.min(rows)) * 4;
            line.last = rows;
            let lag = chain.chain.lag.load(Relaxed);
            let lag = if lag > 0 { format!(", {lag} behind") } else { String::new() };
            line.bar.set_message(format!("{rows} rows, {per_second}/s{lag}"));
            let total = chain.chain.progress_total.load(Relaxed);
            if total > 0 {
                if !line.sized {
                    line.sized = true;
                    line.bar.set_style(style("  {prefix}  {wide_msg}  [{bar:10}] {percent}%, {eta} left"));
                    line.bar.set_length(total);
                }
                line.bar.set_position(chain.chain.progress_done.load(Relaxed));
            }
            line.bar.tick();
        }
        // Ctrl-C is echoed where the cursor stands. Behind a full line that would begin another one, and all
        // lines would be drawn one too low.
        drop(std::io::stderr().write_all(b"\r"));
    }

    pub(crate) fn clear(&mut self) {
        if let Some((all, _)) = self.bars.take() {
            // An error means that the terminal is gone.
            drop(all.clear());
            all.set_draw_target(ProgressDrawTarget::hidden());
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
