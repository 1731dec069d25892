//! How long a durable commit takes, how much it writes, and how long a start takes.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::store::{Open, Random, STORES, change, files, open_bare};

const ROUNDS: u64 = 3;
/// Commits, batches in each, bytes of a batch.
const SHAPES: [(u64, u64, usize); 2] = [(2000, 4, 1_000), (600, 4, 64_000)];

pub fn run(directory: &Path) {
    for (commits, batches, length) in SHAPES {
        println!(
            "{commits} commits of {batches} batches of {length} bytes, the last 400 batches kept; {ROUNDS} rounds in turn"
        );
        for round in 0..ROUNDS {
            measure(directory, "bare", open_bare, (commits, batches, length), round);
            for (name, open) in STORES {
                measure(directory, name, open, (commits, batches, length), round);
            }
        }
    }
}

fn measure(
    directory: &Path,
    name: &str,
    open: Open,
    (commits, batches, length): (u64, u64, usize),
    round: u64,
) {
    let place = directory.join(format!("{name}-{round}"));
    let _ = std::fs::remove_dir_all(&place);
    let (mut random, mut times) = (Random(round), Vec::new());
    let (before, started) = (written(), Instant::now());
    let mut store = open(&place).expect("the store opens");
    let mut bytes = 0;
    for n in 0..commits {
        let change = change(&mut random, n, batches, length);
        bytes += change.put.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum::<u64>();
        let start = Instant::now();
        store.commit(&change).expect("the store commits");
        times.push(start.elapsed());
    }
    let took = started.elapsed();
    drop(store);
    let wrote = written() - before;
    let kept: u64 = files(&place).iter().map(|file| file.1).sum();
    let start = Instant::now();
    let found = open(&place).expect("the store opens again").load().expect("the store reads").len();
    let opened = start.elapsed();
    times.sort();
    println!(
        "  {name:<6} commit p50 {:>7.2} ms  p99 {:>7.2} ms  max {:>7.2} ms  all {:>5.1} s  written {:>5.2} times its bytes  \
         on disk {:>6.1} MB  start {:>6.1} ms with {found} entries",
        millis(times[times.len() / 2]),
        millis(times[times.len() * 99 / 100]),
        millis(times[times.len() - 1]),
        took.as_secs_f64(),
        wrote as f64 / bytes as f64,
        kept as f64 / 1e6,
        millis(opened),
    );
    let _ = std::fs::remove_dir_all(&place);
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Bytes that this process caused to be written to disks (proc(5), `write_bytes`).
fn written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|number| number.parse().ok()).unwrap_or(0)
}
