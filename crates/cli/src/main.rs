//! The `pipectl` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    pipectl::main()
}
