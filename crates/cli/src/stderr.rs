//! Standard error, written by a thread of its own during a run: where nobody reads it, as from a full pipe,
//! lines wait, then are dropped and counted; chains never wait for them.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// So many bytes wait at most.
const MOST_BYTES: usize = 1 << 20;

static LINES: OnceLock<Lines> = OnceLock::new();

/// What waits to be written.
struct Lines {
    queue: Mutex<Queue>,
    changed: Condvar,
    most_bytes: usize,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Vec<u8>>,
    bytes: usize,
    /// True while one is being written.
    writing: bool,
    /// How many have been written.
    written: u64,
    dropped: u64,
}

impl Lines {
    const fn new(most_bytes: usize) -> Self {
        let queue = Queue { waiting: VecDeque::new(), bytes: 0, writing: false, written: 0, dropped: 0 };
        Self { queue: Mutex::new(queue), changed: Condvar::new(), most_bytes }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Never waits.
    fn push(&self, text: &[u8]) {
        let mut queue = self.lock();
        if queue.bytes + text.len() > self.most_bytes {
            queue.dropped += 1;
            return;
        }
        queue.bytes += text.len();
        queue.waiting.push_back(text.to_vec());
        drop(queue);
        self.changed.notify_all();
    }

    /// Writes what comes, for ever. `missing` is told once how many were dropped, when the others have been
    /// written.
    fn write_to(&self, mut out: impl Write, missing: impl Fn(u64)) {
        loop {
            let mut queue = self.lock();
            queue.writing = false;
            self.changed.notify_all();
            let text = loop {
                if let Some(text) = queue.waiting.pop_front() {
                    break text;
                }
                let dropped = std::mem::take(&mut queue.dropped);
                if dropped > 0 {
                    drop(queue);
                    missing(dropped);
                    queue = self.lock();
                } else {
                    queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
                }
            };
            queue.bytes -= text.len();
            queue.writing = true;
            drop(queue);
            // Where nobody reads it any more, there is nobody to tell.
            let _ = out.write_all(&text);
            self.lock().written += 1;
        }
    }

    /// Waits until all is written, or for so long nothing was.
    fn flush(&self, patience: Duration) {
        let mut queue = self.lock();
        let (mut written, mut since) = (queue.written, Instant::now());
        while queue.writing || !queue.waiting.is_empty() {
            if queue.written != written {
                (written, since) = (queue.written, Instant::now());
            }
            let left = patience.saturating_sub(since.elapsed());
            if left.is_zero() {
                return;
            }
            queue = self.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// From now on a thread of its own writes.
pub(crate) fn start() {
    let lines = LINES.get_or_init(|| Lines::new(MOST_BYTES));
    let missing = |dropped| tracing::warn!(dropped, "standard error was not read: lines are missing here");
    let writer = std::thread::Builder::new().name("standard error".to_owned());
    if let Err(error) = writer.spawn(move || lines.write_to(std::io::stderr(), missing)) {
        // Nothing would be said at all.
        let _ = writeln!(std::io::stderr(), "error: cannot start a thread: {error}");
        std::process::exit(1);
    }
    // The usual hook writes by itself, and would wait.
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = std::backtrace::Backtrace::capture();
        let shown = match backtrace.status() {
            std::backtrace::BacktraceStatus::Captured => format!("{panic}\n{backtrace}\n"),
            _ => format!("{panic}\n"),
        };
        write(shown.as_bytes());
    }));
}

/// Writes a line, or several.
pub(crate) fn write(text: &[u8]) {
    match LINES.get() {
        Some(lines) => lines.push(text),
        // Where nobody reads it any more, there is nobody to tell.
        None => drop(std::io::stderr().lock().write_all(text)),
    }
}

/// Waits until all is written, but where nobody reads not longer than `patience`.
pub(crate) fn flush(patience: Duration) {
    if let Some(lines) = LINES.get() {
        lines.flush(patience);
    }
}

/// Standard error for what wants to write by itself: a whole line at a time.
pub(crate) struct Writer;

impl Write for Writer {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        write(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// Takes a line when it is let to.
    struct Slow {
        lines: Sender<String>,
        may: Receiver<()>,
    }

    impl Write for Slow {
        fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
            let _ = self.may.recv();
            let _ = self.lines.send(String::from_utf8_lossy(text).into_owned());
            Ok(text.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn slow(most_bytes: usize) -> (Arc<Lines>, Sender<()>, Receiver<String>) {
        let (lines, (sent, taken), (let_go, may)) = (Arc::new(Lines::new(most_bytes)), channel(), channel());
        let (writer, missing) = (lines.clone(), lines.clone());
        std::thread::spawn(move || {
            let missing = |dropped| missing.push(format!("{dropped} missing").as_bytes());
            writer.write_to(Slow { lines: sent, may }, missing);
        });
        (lines, let_go, taken)
    }

    #[test]
    fn lines_that_nobody_reads_are_dropped_and_told_once() {
        let (lines, let_go, taken) = slow(20);
        for line in 0..100 {
            lines.push(format!("line {line}").as_bytes());
        }
        for _ in 0..100 {
            let _ = let_go.send(());
        }
        let mut heard: Vec<String> = Vec::new();
        while !heard.last().is_some_and(|line| line.ends_with("missing")) {
            heard.push(taken.recv_timeout(Duration::from_secs(10)).unwrap());
        }
        let told: usize = heard.pop().unwrap().trim_end_matches(" missing").parse().unwrap();
        assert_eq!(heard.len() + told, 100, "{heard:?}");
        assert!(
            (3..=4).contains(&heard.len()),
            "as many as there is room for, and one on its way: {heard:?}"
        );
        lines.push(b"last");
        assert_eq!(taken.recv_timeout(Duration::from_secs(10)).unwrap(), "last", "and no more of it");
    }

    #[test]
    fn a_flush_waits_for_those_who_read_and_not_for_those_who_do_not() {
        let (lines, let_go, taken) = slow(1000);
        lines.push(b"first");
        lines.flush(Duration::from_millis(20));
        assert!(taken.try_recv().is_err(), "it gave up");
        let_go.send(()).unwrap();
        lines.flush(Duration::from_secs(60));
        assert_eq!(taken.try_recv().unwrap(), "first", "it waited");
        lines.flush(Duration::ZERO);
    }
}
