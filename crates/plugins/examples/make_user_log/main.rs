//! Makes `data/user_log.csv`, the sample that the shipped pipeline reads. The same on every machine and every
//! time:
//!
//! ```console
//! cargo run -p pipectl-plugins --example make_user_log > data/user_log.csv
//! ```
//!
//! What the columns mean stands in `data/README.md`. The test `user_log` holds the committed file to this
//! program.

mod random;
mod shop;
mod user_log;

use std::io::{self, BufWriter, Write};

fn main() -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    user_log::write(&mut out)?;
    out.flush()
}
