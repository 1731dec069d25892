//! The whole of pipectl, with the `age-group` transform in it.

use std::process::ExitCode;

// Keeps this crate's plugins in the program.
use plugin_age_group as _;

fn main() -> ExitCode {
    pipectl::main()
}
