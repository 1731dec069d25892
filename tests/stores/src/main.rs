//! redb and fjall under what the log on disk asks of a store: commits of some batches and positions that are
//! durable when they return, old batches dropped, everything read back at a start. And what each makes of a
//! damaged file.
//!
//! ```sh
//! cargo run --release -- speed DIR          # DIR on the disk to be measured
//! cargo run --release -- damage DIR 300     # so many damaged stores of each
//! ```

mod damage;
mod speed;
mod store;

use std::path::Path;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["speed", directory] => speed::run(Path::new(directory)),
        ["damage", directory, seeds] => {
            damage::run(Path::new(directory), seeds.parse().expect("a number of seeds"))
        }
        _ => {
            eprintln!("stores speed DIR | stores damage DIR SEEDS");
            std::process::exit(2);
        }
    }
}
